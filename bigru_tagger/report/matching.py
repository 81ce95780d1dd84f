"""Match predictions with gold entities, and classify the errors."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from spacy.tokens import Span
from spacy.training import Example

from ..corpus.sentences import document_name, sentence_starts
from ..scoring.scoring import counted_label, place_predictions
from ..tasks import ENTITIES, Task

Kind = Literal[
    "correct", "wrong type", "wrong boundaries", "wrong type and boundaries", "missing", "spurious"
]
ERROR_KINDS: tuple[Kind, ...] = (
    "wrong type",
    "wrong boundaries",
    "wrong type and boundaries",
    "missing",
    "spurious",
)
Schema = Literal["strict", "exact", "partial", "type"]


class Mention(NamedTuple):
    """A gold or predicted entity, on the tokens of the reference.

    start, end (int): the first token, and the token after the last; see `scoring.PlacedSpan`.
    label (str): the type.
    text (str): the words, joined by spaces.
    aligned (bool): whether these tokens have exactly the text of the entity.
    probability (float | None): the probability from the pipeline; `None` if there is none.
    """

    start: int
    end: int
    label: str
    text: str
    aligned: bool = True
    probability: float | None = None


class Match(NamedTuple):
    """A gold entity with its prediction, a missing entity, or a spurious prediction.

    gold (Mention | None): the gold entity; `None` for a spurious prediction.
    predicted (Mention | None): the prediction; `None` for a missing entity.
    remainder (bool): whether a missing or spurious entity overlaps an entity of the other side that
        has another match. It then remains from a split or a merge.
    """

    gold: Mention | None
    predicted: Mention | None
    remainder: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of error, or "correct"."""
        if self.gold is None:
            return "spurious"
        if self.predicted is None:
            return "missing"
        same_type = self.gold.label == self.predicted.label
        if _same_boundaries(self.gold, self.predicted):
            return "correct" if same_type else "wrong type"
        return "wrong boundaries" if same_type else "wrong type and boundaries"

    @property
    def types(self) -> tuple[str | None, str | None]:
        """The types of the gold entity and of the prediction; `None` where there is none."""
        return self.gold and self.gold.label, self.predicted and self.predicted.label

    @property
    def start(self) -> int:
        """The first token of either side."""
        return min(side.start for side in (self.gold, self.predicted) if side is not None)

    @property
    def end(self) -> int:
        """The token after the last of either side."""
        return max(side.end for side in (self.gold, self.predicted) if side is not None)


class MatchedDoc(NamedTuple):
    """The entities of one Doc, matched.

    number (int): the number of the Doc, from 1.
    words (list[str]): the tokens of the reference.
    spaces (list[bool]): whether a space follows each token.
    starts (list[int]): the first token of each sentence; only the first token of the Doc if
        the gold data have no sentence boundaries.
    unknown (frozenset[int]): the tokens without gold annotation. Predictions on them do not count.
    matches (list[Match]): the matches, from left to right. Each entity of either side is in one.
    document (str): the name of its document; "" if the data have no names.
    """

    number: int
    words: list[str]
    spaces: list[bool]
    starts: list[int]
    unknown: frozenset[int]
    matches: list[Match]
    document: str = ""

    @property
    def name(self) -> str:
        """RETURNS (str): the name of the document, or "Doc" and the number of the Doc."""
        if self.document.isdecimal():
            return f"document {self.document}"
        return self.document or f"Doc {self.number}"


@dataclass(frozen=True)
class MucCounts:
    """The five categories of MUC-5, and the scores computed from them.

    Chinchor and Sundheim 1993, aclanthology.org/M93-1007; as in SemEval-2013 task 9 (Segura-Bedmar
    et al., aclanthology.org/S13-2056) and nervaluate. Entities are matched by `match_mentions`.

    correct (int): matches that fulfil the requirements of the schema.
    incorrect (int): matches that do not.
    partial (int): in the schema "partial", matches whose boundaries differ.
    missing (int): gold entities without a match.
    spurious (int): predictions without a match.
    """

    correct: int
    incorrect: int
    partial: int
    missing: int
    spurious: int

    @property
    def precision(self) -> float:
        """(correct + partial / 2) / predicted entities; 0 where there are none."""
        predicted = self.correct + self.incorrect + self.partial + self.spurious
        return (self.correct + self.partial / 2) / predicted if predicted else 0.0

    @property
    def recall(self) -> float:
        """(correct + partial / 2) / gold entities; 0 where there are none."""
        gold = self.correct + self.incorrect + self.partial + self.missing
        return (self.correct + self.partial / 2) / gold if gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def muc_counts(kinds: Counter[Kind]) -> dict[Schema, MucCounts]:
    """Count matches in the five categories of MUC-5, for the four schemas of SemEval-2013.

    kinds (Counter[Kind]): number of matches of each kind.
    RETURNS (dict[Schema, MucCounts]): the counts of each schema. "strict" requires the same
        boundaries and type. "exact" requires the same boundaries. "partial" requires the same
        boundaries, and counts an overlap as one half. "type" requires an overlap and the same type.
    """
    n_missing, n_spurious = kinds["missing"], kinds["spurious"]
    correct, of_type, boundaries, both = (
        kinds[kind]
        for kind in ("correct", "wrong type", "wrong boundaries", "wrong type and boundaries")
    )
    return {
        "strict": MucCounts(correct, of_type + boundaries + both, 0, n_missing, n_spurious),
        "exact": MucCounts(correct + of_type, boundaries + both, 0, n_missing, n_spurious),
        "partial": MucCounts(correct + of_type, 0, boundaries + both, n_missing, n_spurious),
        "type": MucCounts(correct + boundaries, of_type + both, 0, n_missing, n_spurious),
    }


def match_mentions(gold: Sequence[Mention], predicted: Sequence[Mention]) -> list[Match]:
    """Match each gold entity with at most one prediction, and each prediction with at most one.

    Entities can match if they overlap. If there are several candidates, a pair with the same
    boundaries is preferred, then a pair with the same type, then the pair that shares the most
    tokens, then the first. If one gold entity is split into two predictions, one part has wrong
    boundaries and the other is spurious. If two are merged, one has wrong boundaries and the other
    is missing. In data without splits and merges, the result equals that of nervaluate.

    gold, predicted (Sequence[Mention]): the entities of one Doc.
    RETURNS (list[Match]): the matches of all entities, from left to right.
    """
    pairs = list(_overlapping(gold, predicted))
    pairs.sort(key=lambda pair: _preference(gold[pair[0]], predicted[pair[1]]))
    matched: dict[int, int] = {}  # from gold to predicted
    taken: set[int] = set()
    for mention, other in pairs:
        if mention not in matched and other not in taken:
            matched[mention] = other
            taken.add(other)
    touched = [set(side) for side in zip(*pairs, strict=True)] or [set(), set()]
    matches = [
        Match(mention, predicted[matched[i]])
        if i in matched
        else Match(mention, None, i in touched[0])
        for i, mention in enumerate(gold)
    ]
    matches += [
        Match(None, mention, i in touched[1])
        for i, mention in enumerate(predicted)
        if i not in taken
    ]
    return sorted(matches, key=lambda match: (match.start, match.end))


def match_example(
    eg: Example,
    task: Task = ENTITIES,
    *,
    confidence: Iterable[str] = (),
    number: int = 1,
) -> MatchedDoc | None:
    """Match the gold and predicted annotation of an example.

    eg (Example): a prediction with its reference.
    task (Task): the task to match.
    confidence (Iterable[str]): see `Task.probabilities`.
    number (int): the number of the Doc, from 1.
    RETURNS (MatchedDoc | None): the matches, or `None` where the reference is not annotated.
    RAISES (ValueError): see `scoring.tag_example`.
    """
    reference = eg.reference
    if not task.is_annotated(reference):
        return None
    words = [token.text for token in reference]
    gold = [
        Mention(span.start, span.end, counted_label(span), _text(span))
        for span in task.spans(reference)
    ]
    probabilities = task.probabilities(eg.predicted, confidence)
    predicted = [
        Mention(
            start,
            end,
            counted_label(span),
            " ".join(words[start:end]) if aligned else _text(span),
            aligned,
            probabilities.get((span.start, span.end, span.label_)),
        )
        for start, end, aligned, span in place_predictions(eg, task)
    ]
    spaces = [bool(token.whitespace_) for token in reference]
    unknown = frozenset(np.flatnonzero(task.unknown_tokens(reference)).tolist())
    return MatchedDoc(
        number,
        words,
        spaces,
        sentence_starts(reference),
        unknown,
        match_mentions(gold, predicted),
        document_name(reference),
    )


def count_kinds(docs: Iterable[MatchedDoc]) -> Counter[Kind]:
    """Count the matches of Docs by kind.

    docs (Iterable[MatchedDoc]): the Docs.
    RETURNS (Counter[Kind]): number of matches of each kind.
    """
    return Counter(match.kind for doc in docs for match in doc.matches)


def _same_boundaries(gold: Mention, predicted: Mention) -> bool:
    return predicted.aligned and gold[:2] == predicted[:2]


def _overlapping(
    gold: Sequence[Mention], predicted: Sequence[Mention]
) -> Iterator[tuple[int, int]]:
    # Yields pairs of indices into `gold` and `predicted`.
    of_token = {
        token: i for i, mention in enumerate(gold) for token in range(mention.start, mention.end)
    }
    for i, mention in enumerate(predicted):
        touched = {of_token.get(token) for token in range(mention.start, mention.end)}
        yield from ((other, i) for other in touched if other is not None)


def _preference(gold: Mention, predicted: Mention) -> tuple[bool, bool, int, int, int]:
    # The lowest value is preferred.
    shared = min(gold.end, predicted.end) - max(gold.start, predicted.start)
    other_boundaries = not _same_boundaries(gold, predicted)
    other_type = gold.label != predicted.label
    return other_boundaries, other_type, -shared, predicted.start, gold.start


def _text(span: Span) -> str:
    return " ".join(token.text for token in span)
