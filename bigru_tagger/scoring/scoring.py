"""Counts of Examples by seqeval's rules, and the scorer of the components.

The scorer that runs in training and the command `evaluate` use the same functions, so their scores
are equal.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry

from ..errors import DataError
from ..extras import require
from ..schemes import OUTSIDE, iob2_span_tags
from ..tasks import CHUNKS, ENTITIES, Task

NO_LABEL = "_"  # seqeval's name for the empty label

Mode = Literal["default", "strict"]


class TaggedDoc(NamedTuple):
    """The gold and predicted IOB2 tags of one Doc, or of the Docs of one document.

    words (list[str]): the reference's tokens, followed by the texts of predicted entities that do
        not align with these tokens, one word each.
    gold (list[str]): one IOB2 tag per word, "O" for the words after the tokens.
    predicted (list[str]): one IOB2 tag per word, "B-label" for the words after the tokens.
    """

    words: list[str]
    gold: list[str]
    predicted: list[str]


class PlacedSpan(NamedTuple):
    """A predicted entity, with its position in the reference.

    start, end (int): index of the first token of the reference, and index after the last.
    aligned (bool): whether these tokens have exactly the text of the entity. If not, they are the
        tokens that overlap the entity, and the entity is a false positive.
    span (Span): the entity in the predicted Doc.
    """

    start: int
    end: int
    aligned: bool
    span: Span


@dataclass(frozen=True)
class Counts:
    """The number of gold, predicted and correct entities.

    Scores are 0.0 if the denominator is 0, as with seqeval's `zero_division=0`.
    """

    gold: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float:
        """The share of predicted entities that are correct."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of gold entities that are predicted correctly."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, in seqeval's order of operations."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def same_words(example: Example) -> bool:
    """Check whether both Docs of an example have the same tokens.

    example (Example): an example.
    RETURNS (bool): True if all tokens are equal, so that no alignment is needed.
    """
    return np.array_equal(example.predicted.to_array("ORTH"), example.reference.to_array("ORTH"))


def tag_example(eg: Example, task: Task = ENTITIES) -> TaggedDoc | None:
    """Convert gold and predicted annotation to IOB2 tags.

    All tags are for the reference's tokens. If the predicted Doc has other tokens, each predicted
    entity is aligned with the reference's tokens that have exactly its text. An entity without such
    tokens is a false positive. To count it, its text is appended to the Doc's tokens as one
    word with the gold tag O.

    A predicted entity that overlaps a token without gold annotation (`token.ent_iob == 0`, or no
    `token.tag`) is ignored, as in spaCy's scorer. If only some labels are annotated (see
    `Task.annotated_labels`), a predicted entity with another label is ignored unless it overlaps a
    gold entity.

    eg (Example): a prediction and its reference.
    task (Task): the kind of annotation.
    RETURNS (TaggedDoc | None): the tags, None if the reference is not annotated.
    RAISES (ValueError): if the texts of prediction and reference differ, or if spans overlap, which
        IOB2 cannot represent.
    """
    if not task.is_annotated(eg.reference):
        return None
    reference = eg.reference
    words = [token.text for token in reference]
    gold = [OUTSIDE] * len(words)
    for span in task.spans(reference):
        gold[span.start : span.end] = iob2_span_tags(counted_label(span), span.end - span.start)
    predicted = [OUTSIDE] * len(words)
    unaligned = []
    for placed in place_predictions(eg, task):
        if placed.aligned:
            tags = iob2_span_tags(counted_label(placed.span), placed.end - placed.start)
            predicted[placed.start : placed.end] = tags
        else:
            unaligned.append(placed.span)
    return TaggedDoc(
        words=words + [span.text for span in unaligned],
        gold=gold + [OUTSIDE] * len(unaligned),
        predicted=predicted + [iob2_span_tags(counted_label(span), 1)[0] for span in unaligned],
    )


def place_predictions(eg: Example, task: Task = ENTITIES) -> list[PlacedSpan]:
    """Align predicted entities with the reference's tokens, see `tag_example`.

    eg (Example): a prediction and its reference.
    task (Task): the kind of annotation.
    RETURNS (list[PlacedSpan]): the entities from left to right, without those that are ignored.
    RAISES (ValueError): see `tag_example`.
    """
    missing = task.unknown_tokens(eg.reference)
    annotated = task.annotated_labels(eg.reference)
    gold = np.zeros(len(eg.reference), dtype=bool)
    if annotated is not None:
        for span in task.spans(eg.reference):
            gold[span.start : span.end] = True
    # Read once: at each access, spaCy compares the tokens of both Docs again.
    alignment = None if same_words(eg) else eg.alignment.x2y
    taken = np.zeros(len(eg.reference), dtype=bool)
    placed = []
    for span in task.spans(eg.predicted):
        if alignment is None:
            touched = np.arange(span.start, span.end)
            aligned: Span | None = span
        else:
            touched = alignment[span.start : span.end]
            aligned = _aligned(eg.reference, span, touched)
        if missing[touched].any():
            continue
        if annotated is not None and span.label_ not in annotated and not gold[touched].any():
            continue
        # Two entities can align with the same token only if they are white space.
        if aligned is not None and not taken[aligned.start : aligned.end].any():
            placed.append(PlacedSpan(aligned.start, aligned.end, True, span))
            taken[aligned.start : aligned.end] = True
        elif len(touched):
            placed.append(PlacedSpan(int(touched.min()), int(touched.max()) + 1, False, span))
        else:
            placed.append(PlacedSpan(len(taken), len(taken), False, span))
    return placed


def tag_examples(examples: Iterable[Example], task: Task = ENTITIES) -> list[TaggedDoc]:
    """Convert the examples with an annotated reference, see `tag_example`."""
    tagged = (tag_example(eg, task) for eg in examples)
    return [doc for doc in tagged if doc is not None]


def count_entities(
    gold: Sequence[list[str]], predicted: Sequence[list[str]], *, mode: Mode = "default"
) -> dict[str, Counts]:
    """Count entities per label in one pass over the tags.

    seqeval reads the entities from the tags. Its default mode follows the rules of conlleval.pl
    (Tjong Kim Sang and Buchholz 2000), also for invalid tag sequences. Its strict mode reads
    entities only from valid IOB2. All metrics of seqeval can be computed from these counts.
    seqeval's own functions are slower: they parse the tags for every average and, in strict mode,
    pass over all entities once per label (seqeval issue 62).

    gold (Sequence[list[str]]): the gold IOB2 tags of each sequence.
    predicted (Sequence[list[str]]): the predicted IOB2 tags of each sequence.
    mode (Literal["default", "strict"]): seqeval's mode.
    RETURNS (dict[str, Counts]): counts by label, sorted by label.
    RAISES (ValueError): if gold and predicted sequences differ in number or length.
    """
    lengths = [len(tags) for tags in gold], [len(tags) for tags in predicted]
    if lengths[0] != lengths[1]:
        raise DataError(
            f"gold and predicted tags differ in length: {len(gold)} and {len(predicted)} "
            f"sequences with {sum(lengths[0])} and {sum(lengths[1])} tags"
        )
    gold_entities, predicted_entities = _read_entities(gold, mode), _read_entities(predicted, mode)
    n_gold, n_predicted, n_correct = (
        Counter(entity[0] for entity in entities)
        for entities in (gold_entities, predicted_entities, gold_entities & predicted_entities)
    )
    return {
        label: Counts(n_gold[label], n_predicted[label], n_correct[label])
        for label in sorted(n_gold.keys() | n_predicted.keys())
    }


def micro_counts(per_type: Mapping[str, Counts]) -> Counts:
    """Sum the counts of all labels, for micro-averaged precision, recall and F1."""
    counts = per_type.values()
    return Counts(
        gold=sum(c.gold for c in counts),
        predicted=sum(c.predicted for c in counts),
        correct=sum(c.correct for c in counts),
    )


def count_tagged(docs: Sequence[TaggedDoc], *, mode: Mode = "default") -> dict[str, Counts]:
    """Count the entities of tagged documents per label, see `count_entities`."""
    return count_entities([doc.gold for doc in docs], [doc.predicted for doc in docs], mode=mode)


def count_documents(
    docs: Sequence[TaggedDoc], labels: Sequence[str], *, mode: Mode = "default"
) -> np.ndarray:
    """Count the entities of each document separately, for resampling.

    docs (Sequence[TaggedDoc]): the documents.
    labels (Sequence[str]): the labels to count, in this order.
    mode (Literal["default", "strict"]): seqeval's mode.
    RETURNS (ndarray): the number of gold, predicted and correct entities, int64
        (n_docs, n_labels, 3). The sums over documents equal the counts of `count_tagged`.
    """
    counts = np.zeros((len(docs), len(labels), 3), dtype=np.int64)
    for row, doc in zip(counts, docs, strict=True):
        counted = count_tagged([doc], mode=mode)
        for column, label in enumerate(labels):
            if label in counted:
                of_type = counted[label]
                row[column] = of_type.gold, of_type.predicted, of_type.correct
    return counts


class SeqevalScorer:
    """Scores a task by conlleval's rules, with spaCy's names of the scores.

    The scores are `{attr}_p`, `{attr}_r`, `{attr}_f` and `{attr}_per_type`, where `attr` is `ents`
    for entities or `spans_{spans_key}` for spans. All are None if no reference is annotated.

    This is a class because it stores the labels it has warned about, and because it can be pickled
    with its component, unlike a closure.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._warned: set[frozenset[str]] = set()

    def __call__(
        self,
        examples: Iterable[Example],
        *,
        labels: Iterable[str] | None = None,
        spans_key: str | None = None,
        learned_labels: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Score predictions. Warns about gold labels that the component cannot predict.

        examples (Iterable[Example]): the predictions and their references.
        labels (Iterable[str] | None): the component's labels, which spaCy passes.
        spans_key (str | None): the component's key of `doc.spans`, which spaCy passes. None for the
            key that was set when the scorer was created.
        learned_labels (Sequence[str] | None): the labels that the component was set to learn, which
            spaCy passes. All labels are scored, since other components can predict the others.
        **kwargs: other settings of the component, which spaCy passes and which are ignored.
        RETURNS (dict[str, Any]): the scores, JSON-serializable.
        RAISES (ValueError): see `tag_example`.
        """
        task = self.task.with_key(spans_key)
        names = task.scores
        of_types = f"{task.score_prefix}_per_type"
        docs = tag_examples(examples, task)
        if not docs:
            return dict.fromkeys((*names, of_types))
        per_type = count_tagged(docs)
        if labels is not None and learned_labels is None:
            self._warn_of_unknown(per_type, frozenset(labels))
        total = micro_counts(per_type)
        return {
            **{name: getattr(total, metric) for name, metric in names.items()},
            of_types: {
                label: {"p": counts.precision, "r": counts.recall, "f": counts.f1}
                for label, counts in per_type.items()
            },
        }

    def _warn_of_unknown(self, per_type: Mapping[str, Counts], labels: frozenset[str]) -> None:
        unknown = {
            label: counts.gold
            for label, counts in per_type.items()
            if counts.gold and label not in labels
        }
        if not unknown or frozenset(unknown) in self._warned:
            return
        self._warned.add(frozenset(unknown))
        named = ", ".join(f"{label} ({n} gold)" for label, n in unknown.items())
        warnings.warn(
            f"{named}: {sum(unknown.values())} of {micro_counts(per_type).gold} gold entities have "
            "a label that the component does not have and cannot predict. They count as missing. "
            "Add examples of the label to the training data, or add it to `labels` in "
            "[initialize.components.<name>], and train again.",
            UserWarning,
            stacklevel=3,
        )


def make_seqeval_scorer(
    target: Literal["ents", "spans"] = "ents", spans_key: str = "chunks"
) -> SeqevalScorer:
    """Create a scorer for entities or spans, by seqeval's (and conlleval's) rules.

    There is no setting for seqeval's mode. The IOB2 tags are made from spans, so they are always
    valid, and seqeval's default and strict modes agree.

    target (Literal["ents", "spans"]): "ents" scores `doc.ents`, "spans" scores
        `doc.spans[spans_key]`.
    spans_key (str): the key of `doc.spans`. A component's own `spans_key` setting overrides it.
        Ignored for "ents".
    RETURNS (SeqevalScorer): the scorer, for the `scorer` setting of a component.
    """
    return SeqevalScorer(ENTITIES if target == "ents" else CHUNKS.with_key(spans_key))


# Not used as a decorator, because catalogue is untyped and would remove the function's types.
registry.scorers("bigru_tagger.seqeval_scorer.v1", func=make_seqeval_scorer)


def _aligned(doc: Doc, span: Span, touched: np.ndarray) -> Span | None:
    """Find the tokens with exactly a span's text, by the rules of `Example.get_aligned_spans_x2y`.

    doc (Doc): the Doc to search.
    span (Span): a span of a Doc with the same text and other tokens.
    touched (ndarray): indices of the tokens of `doc` that overlap the span, int (n_touched,).
    RETURNS (Span | None): the tokens, None if they have more text than the span.
    """
    if not len(touched):
        return None
    tokens = doc[int(touched[0]) : int(touched[-1]) + 1]
    return tokens if _letters(tokens) == _letters(span) else None


def _letters(span: Span) -> str:
    return span.text.lower().strip().replace(" ", "")


def counted_label(span: Span) -> str:
    """Return the label under which a span is counted.

    span (Span): the span.
    RETURNS (str): the span's label, or `NO_LABEL` if it is empty.
    """
    return span.label_ or NO_LABEL


def _read_entities(tags: Sequence[list[str]], mode: Mode) -> set[tuple[str, int, int, int]]:
    """Read (type, sequence, start, end) with seqeval."""
    # Imported here, because seqeval imports scikit-learn, SciPy and pandas, which is slow.
    if mode == "strict":
        scheme = require("seqeval.scheme", "scoring")
        sequences = scheme.Entities(tags, scheme=scheme.IOB2).entities
        return {(e.tag, e.sent_id, e.start, e.end) for entities in sequences for e in entities}
    labeling = require("seqeval.metrics.sequence_labeling", "scoring")
    # In default mode, seqeval concatenates the sequences, so positions are unique without a
    # sequence number.
    return {(label, 0, start, end) for label, start, end in labeling.get_entities(list(tags))}
