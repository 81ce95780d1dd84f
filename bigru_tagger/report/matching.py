"""Which prediction answers which gold entity, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from spacy.tokens import Span
from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..scoring.scoring import place_predictions, type_of
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
    """An entity or chunk, gold or predicted, on the reference's tokens.

    start, end (int): its first token, and the one behind its last; see `scoring.PlacedSpan`.
    label (str): its type.
    text (str): its words, with a space between them.
    aligned (bool): whether these tokens have exactly its text.
    probability (float | None): what the pipeline says of it, if anything.
    """

    start: int
    end: int
    label: str
    text: str
    aligned: bool = True
    probability: float | None = None


class Match(NamedTuple):
    """A gold entity beside the prediction that answers it, if there is one, or the reverse.

    gold (Mention | None): `None` for a spurious prediction.
    predicted (Mention | None): `None` for a missing entity.
    beside (bool): of a missing or spurious entity, whether it overlaps one of the other side, which
        is then matched with another: the rest of a split, or of a merge.
    """

    gold: Mention | None
    predicted: Mention | None
    beside: bool = False

    @property
    def kind(self) -> Kind:
        """What is wrong, if anything."""
        if self.gold is None:
            return "spurious"
        if self.predicted is None:
            return "missing"
        same_type = self.gold.label == self.predicted.label
        if _same_boundaries(self.gold, self.predicted):
            return "correct" if same_type else "wrong type"
        return "wrong boundaries" if same_type else "wrong type and boundaries"

    @property
    def start(self) -> int:
        """The first token of either side."""
        return min(side.start for side in (self.gold, self.predicted) if side is not None)

    @property
    def end(self) -> int:
        """The token behind the last of either side."""
        return max(side.end for side in (self.gold, self.predicted) if side is not None)


class MatchedDoc(NamedTuple):
    """The entities of one document, matched.

    number (int): which of the documents it is.
    words (list[str]): the reference's tokens.
    spaces (list[bool]): whether a space follows each.
    starts (list[int]): the tokens where its sentences start; the first alone where the gold data
        tell no sentences.
    unknown (frozenset[int]): the tokens without gold annotation, on which nothing is predicted.
    matches (list[Match]): from left to right; each entity of either side is in one of them.
    """

    number: int
    words: list[str]
    spaces: list[bool]
    starts: list[int]
    unknown: frozenset[int]
    matches: list[Match]


@dataclass(frozen=True)
class MucCounts:
    """The five categories of MUC-5, and the scores that are made of them.

    Chinchor and Sundheim 1993, aclanthology.org/M93-1007; as in SemEval-2013 task 9 (Segura-Bedmar
    et al., aclanthology.org/S13-2056) and nervaluate. Of a gold entity and the prediction that
    answers it, see `match_mentions`:

    correct (int): they are the same, as far as the schema asks.
    incorrect (int): they are not.
    partial (int): in the schema "partial", they overlap and have other boundaries.
    missing (int): gold entities that no prediction answers.
    spurious (int): predictions that answer no gold entity.
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
    """Sort matches into the five categories of MUC-5, by the four schemas of SemEval-2013.

    kinds (Counter[Kind]): how many matches there are of each kind.
    RETURNS (dict[Schema, MucCounts]): "strict" asks for boundaries and type, "exact" for
        boundaries alone. "partial" asks for boundaries alone, and half of one is given for an
        overlap. "type" asks for an overlap and the type.
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

    Entities match where they overlap. Where there is a choice, it falls on a pair with the same
    boundaries, then on one of the same type, then on the one that shares the most tokens, then on
    the first. So where one gold entity was split into two, one part has wrong boundaries and the
    other is spurious; where two were merged, one has wrong boundaries and the other is missing.
    In data without splits and merges, kinds are those of any such matching, nervaluate's too.

    gold, predicted (Sequence[Mention]): entities of one document.
    RETURNS (list[Match]): all of them, from left to right.
    """
    pairs = list(_overlapping(gold, predicted))
    pairs.sort(key=lambda pair: _preference(gold[pair[0]], predicted[pair[1]]))
    answers: dict[int, int] = {}
    answered: set[int] = set()
    for ours, theirs in pairs:
        if ours not in answers and theirs not in answered:
            answers[ours] = theirs
            answered.add(theirs)
    touched = [set(side) for side in zip(*pairs, strict=True)] or [set(), set()]
    matches = [
        Match(mention, predicted[answers[i]])
        if i in answers
        else Match(mention, None, i in touched[0])
        for i, mention in enumerate(gold)
    ]
    matches += [
        Match(None, mention, i in touched[1])
        for i, mention in enumerate(predicted)
        if i not in answered
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

    eg (Example): a prediction beside its reference.
    task (Task): which to match.
    confidence (Iterable[str]): see `Task.probabilities`.
    number (int): which of the documents it is.
    RETURNS (MatchedDoc | None): the matches, or `None` where the reference is not annotated.
    RAISES (ValueError): see `scoring.tag_example`.
    """
    reference = eg.reference
    if not task.is_annotated(reference):
        return None
    words = [token.text for token in reference]
    gold = [
        Mention(span.start, span.end, type_of(span), _text(span)) for span in task.spans(reference)
    ]
    probabilities = task.probabilities(eg.predicted, confidence)
    predicted = [
        Mention(
            start,
            end,
            type_of(span),
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
    )


def count_kinds(docs: Iterable[MatchedDoc]) -> Counter[Kind]:
    """Count the matches of documents by what is wrong with them.

    docs (Iterable[MatchedDoc]): the documents.
    RETURNS (Counter[Kind]): their number by kind.
    """
    return Counter(match.kind for doc in docs for match in doc.matches)


def _same_boundaries(gold: Mention, predicted: Mention) -> bool:
    return predicted.aligned and gold[:2] == predicted[:2]


def _overlapping(
    gold: Sequence[Mention], predicted: Sequence[Mention]
) -> Iterator[tuple[int, int]]:
    # Their numbers.
    of_token = {
        token: i for i, mention in enumerate(gold) for token in range(mention.start, mention.end)
    }
    for i, mention in enumerate(predicted):
        touched = {of_token.get(token) for token in range(mention.start, mention.end)}
        yield from ((other, i) for other in touched if other is not None)


def _preference(gold: Mention, predicted: Mention) -> tuple[bool, bool, int, int]:
    # What comes first is preferred.
    shared = min(gold.end, predicted.end) - max(gold.start, predicted.start)
    other_boundaries = not _same_boundaries(gold, predicted)
    return other_boundaries, gold.label != predicted.label, -shared, predicted.start


def _text(span: Span) -> str:
    return " ".join(token.text for token in span)
