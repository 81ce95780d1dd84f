"""From Examples to IOB2 tags, from tags to seqeval's numbers, and the spaCy scorer over both.

The scorer that runs during training and the evaluation command call the same functions here, so
what they report agrees to the last digit.
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

from ..schemes import OUTSIDE, iob2_span_tags
from ..tasks import CHUNKS, ENTITIES, Task

NO_LABEL = "_"  # as seqeval reads "B-"; written out, it is a tag that seqeval knows

Mode = Literal["default", "strict"]


class TaggedDoc(NamedTuple):
    """The IOB2 tags of one document, gold and predicted, over the reference's tokens.

    words (list[str]): the reference's tokens, then the text of every predicted entity that
        does not align with them.
    gold (list[str]): one IOB2 tag per word, "O" for the words that follow the tokens.
    predicted (list[str]): one IOB2 tag per word, "B-label" for the words that follow the tokens.
    """

    words: list[str]
    gold: list[str]
    predicted: list[str]


class PlacedSpan(NamedTuple):
    """A predicted entity on the reference's tokens.

    start, end (int): the first of them, and the one behind the last.
    aligned (bool): whether they have exactly its text. If not, they are those that it shares
        characters with, and it cannot be right.
    span (Span): the entity in the predicted document.
    """

    start: int
    end: int
    aligned: bool
    span: Span


@dataclass(frozen=True)
class Counts:
    """How many entities gold and prediction hold, and how many they share.

    Quotients with an empty denominator are 0.0, as with seqeval's `zero_division=0`.
    """

    gold: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float:
        """Correct entities per predicted entity."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Correct entities per gold entity."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, in seqeval's order of operations."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def same_words(example: Example) -> bool:
    """Tell whether both Docs of an example have the same tokens, so that there is no aligning.

    example (Example): an example.
    RETURNS (bool): True if so.
    """
    return np.array_equal(example.predicted.to_array("ORTH"), example.reference.to_array("ORTH"))


def tag_example(eg: Example, task: Task = ENTITIES) -> TaggedDoc | None:
    """Write gold and predicted entities, spans or tags as IOB2 tags.

    Both sides are tagged on the reference's tokens. Where the tokens of the prediction differ, a
    predicted entity goes to the reference's tokens that have exactly its text. An entity without
    such tokens cannot be right, but it is still a prediction: it is appended behind the document's
    tokens as a word of its own, outside in gold, so that each count over the tags is the true one.

    A predicted entity that touches a token without gold annotation (`token.ent_iob == 0`, or no
    `token.tag`) is neither right nor wrong and is left out, as spaCy's own scorer does.

    eg (Example): a prediction beside its reference.
    task (Task): what to write.
    RETURNS (TaggedDoc | None): the tags, or `None` where the reference is not annotated.
    RAISES (ValueError): the texts of prediction and reference differ, or spans overlap and
        therefore have no IOB2 tags.
    """
    if not task.is_annotated(eg.reference):
        return None
    reference = eg.reference
    words = [token.text for token in reference]
    gold = [OUTSIDE] * len(words)
    for span in task.spans(reference):
        gold[span.start : span.end] = iob2_span_tags(type_of(span), span.end - span.start)
    predicted = [OUTSIDE] * len(words)
    unaligned = []
    for placed in place_predictions(eg, task):
        if placed.aligned:
            tags = iob2_span_tags(type_of(placed.span), placed.end - placed.start)
            predicted[placed.start : placed.end] = tags
        else:
            unaligned.append(placed.span)
    return TaggedDoc(
        words=words + [span.text for span in unaligned],
        gold=gold + [OUTSIDE] * len(unaligned),
        predicted=predicted + [iob2_span_tags(type_of(span), 1)[0] for span in unaligned],
    )


def place_predictions(eg: Example, task: Task = ENTITIES) -> list[PlacedSpan]:
    """Find the reference's tokens of each predicted entity that counts, see `tag_example`.

    eg (Example): a prediction beside its reference.
    task (Task): which to take.
    RETURNS (list[PlacedSpan]): the entities in their order, without those on tokens that lack gold
        annotation.
    RAISES (ValueError): see `tag_example`.
    """
    missing = task.unknown_tokens(eg.reference)
    # Read once: at each access, spaCy looks through all tokens of both Docs for changes.
    alignment = None if same_words(eg) else eg.alignment.x2y
    taken = np.zeros(len(eg.reference), dtype=bool)
    found = []
    for span in task.spans(eg.predicted):
        if alignment is None:
            touched = np.arange(span.start, span.end)
            aligned: Span | None = span
        else:
            touched = alignment[span.start : span.end]
            aligned = _aligned(eg.reference, span, touched)
        if missing[touched].any():
            continue
        # The texts of two entities can only both match one token where they are white space.
        if aligned is not None and not taken[aligned.start : aligned.end].any():
            found.append(PlacedSpan(aligned.start, aligned.end, True, span))
            taken[aligned.start : aligned.end] = True
        elif len(touched):
            found.append(PlacedSpan(int(touched.min()), int(touched.max()) + 1, False, span))
        else:
            found.append(PlacedSpan(len(taken), len(taken), False, span))
    return found


def tag_examples(examples: Iterable[Example], task: Task = ENTITIES) -> list[TaggedDoc]:
    """Tag the examples whose reference is annotated, see `tag_example`."""
    tagged = (tag_example(eg, task) for eg in examples)
    return [doc for doc in tagged if doc is not None]


def count_entities(
    gold: Sequence[list[str]], predicted: Sequence[list[str]], *, mode: Mode = "default"
) -> dict[str, Counts]:
    """Count entities per type in one pass over the tags.

    The entities are those that seqeval reads from the tags: in its default mode by the rules of
    conlleval.pl (Tjong Kim Sang and Buchholz 2000), which also read ill-formed tags; in its strict
    mode only where they are well-formed IOB2. seqeval's own metrics read the same entities anew
    for every average, and in strict mode go through all of them once per type (seqeval issue 62);
    the counts hold all that these metrics are made of.

    gold (Sequence[list[str]]): IOB2 tags per sequence.
    predicted (Sequence[list[str]]): as many tags for as many sequences.
    mode (Literal["default", "strict"]): seqeval's mode.
    RETURNS (dict[str, Counts]): the types that occur on either side, sorted.
    RAISES (ValueError): the sequences differ in number or length.
    """
    lengths = [len(tags) for tags in gold], [len(tags) for tags in predicted]
    if lengths[0] != lengths[1]:
        raise ValueError(
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
    """Add up the counts of all types: their precision, recall and F1 are the micro averages."""
    counts = per_type.values()
    return Counts(
        gold=sum(c.gold for c in counts),
        predicted=sum(c.predicted for c in counts),
        correct=sum(c.correct for c in counts),
    )


def count_tagged(docs: Sequence[TaggedDoc], *, mode: Mode = "default") -> dict[str, Counts]:
    """Count the entities of tagged documents per type, see `count_entities`."""
    return count_entities([doc.gold for doc in docs], [doc.predicted for doc in docs], mode=mode)


def count_documents(
    docs: Sequence[TaggedDoc], labels: Sequence[str], *, mode: Mode = "default"
) -> np.ndarray:
    """Count the entities of each document by itself, for `resampling`.

    docs (Sequence[TaggedDoc]): the documents.
    labels (Sequence[str]): the types to count, and their order.
    mode (Literal["default", "strict"]): seqeval's mode.
    RETURNS (ndarray): gold, predicted and correct entities, int64 (n_docs, n_labels, 3). Their sums
        over documents are what `count_tagged` counts.
    """
    counts = np.zeros((len(docs), len(labels), 3), dtype=np.int64)
    for row, doc in zip(counts, docs, strict=True):
        found = count_tagged([doc], mode=mode)
        for column, label in enumerate(labels):
            if label in found:
                of_type = found[label]
                row[column] = of_type.gold, of_type.predicted, of_type.correct
    return counts


class SeqevalScorer:
    """Score a task the way conlleval does, under the keys spaCy prints.

    Returns `{attr}_p`, `{attr}_r`, `{attr}_f` and `{attr}_per_type`, where `attr` is `ents`, or
    `spans_{spans_key}` for spans. All are `None` where no reference is annotated.

    It is a class, not a function, because it remembers which labels it has warned of; unlike a
    closure, it can be pickled with its component.
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
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Score predictions.

        examples (Iterable[Example]): predictions beside their references.
        labels (Iterable[str] | None): what the component can predict; spaCy passes this.
        spans_key (str | None): where the component writes spans, which spaCy passes, too; a scorer
            of spans follows it. None for the key that the scorer was made with.
        **kwargs: the rest of what spaCy passes (the component's `cfg`), which changes nothing.
        RETURNS (dict[str, Any]): the scores, JSON-serialisable.
        RAISES (ValueError): see `tag_example`.
        """
        task = self.task.with_key(spans_key)
        names = task.scores
        of_types = f"{task.score_prefix}_per_type"
        docs = tag_examples(examples, task)
        if not docs:
            return dict.fromkeys((*names, of_types))
        per_type = count_tagged(docs)
        if labels is not None:
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
            "a label that the component does not know and can never predict; they count as "
            "missing. Add examples of the label to the training data, or name it under `labels` in "
            "[initialize.components.<name>], and train again.",
            UserWarning,
            stacklevel=3,
        )


def make_seqeval_scorer(
    target: Literal["ents", "spans"] = "ents", spans_key: str = "chunks"
) -> SeqevalScorer:
    """Create a scorer for entities or chunks.

    There is no mode to choose: the tags are made from spans, so they are well-formed IOB2, for
    which seqeval's default and strict modes agree.

    target (Literal["ents", "spans"]): score `doc.ents` or `doc.spans[spans_key]`.
    spans_key (str): where the spans are, unless the component has a key of its own; without
        meaning for `"ents"`.
    RETURNS (SeqevalScorer): `scorer(examples, **kwargs)`, for a component's `scorer` setting.
    """
    return SeqevalScorer(ENTITIES if target == "ents" else CHUNKS.with_key(spans_key))


# A call, not a decorator: catalogue has no types, and would take them from the function.
registry.scorers("bigru_tagger.seqeval_scorer.v1", func=make_seqeval_scorer)


def _aligned(doc: Doc, span: Span, touched: np.ndarray) -> Span | None:
    """Find the tokens that have exactly a span's text, as `Example.get_aligned_spans_x2y` does.

    doc (Doc): the Doc to find them in.
    span (Span): a span of a Doc with the same text and other tokens.
    touched (ndarray): the tokens that share characters with the span, int (n_touched,).
    RETURNS (Span | None): the tokens, or `None` where they have more text than the span.
    """
    if not len(touched):
        return None
    found = doc[int(touched[0]) : int(touched[-1]) + 1]
    return found if _letters(found) == _letters(span) else None


def _letters(span: Span) -> str:
    return span.text.lower().strip().replace(" ", "")


def type_of(span: Span) -> str:
    """Tell the type that a span is counted under.

    span (Span): the span.
    RETURNS (str): its label, or NO_LABEL if that is empty.
    """
    return span.label_ or NO_LABEL


def _read_entities(tags: Sequence[list[str]], mode: Mode) -> set[tuple[str, int, int, int]]:
    """Read (type, sequence, start, end) with seqeval."""
    # seqeval imports scikit-learn, and so SciPy and pandas: more than the rest of a pipeline.
    if mode == "strict":
        from seqeval.scheme import IOB2, Entities  # noqa: PLC0415 - see above

        sequences = Entities(tags, scheme=IOB2).entities
        return {(e.tag, e.sent_id, e.start, e.end) for found in sequences for e in found}
    from seqeval.metrics.sequence_labeling import get_entities  # noqa: PLC0415 - see above

    # In default mode seqeval strings the sequences together, so offsets alone tell them apart.
    return {(label, 0, start, end) for label, start, end in get_entities(list(tags))}
