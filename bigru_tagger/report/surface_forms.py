"""Find texts that are annotated or predicted in different ways: often annotation errors."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .matching import Kind, MatchedDoc, Mention

NONE = "none"
"""The type that counts occurrences which are not an entity."""


@dataclass(frozen=True)
class SurfaceForm:
    """How often a text occurs with each type.

    text (str): the words, joined by spaces.
    gold, predicted (Counter[str]): number of occurrences by type or NONE. Occurrences that are a
        part of another entity, or have tokens without gold annotation, do not count.
    """

    text: str
    gold: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Confusion:
    """An error that occurs several times, with the same texts and types on both sides.

    kind (Kind): the kind of error.
    gold, predicted (tuple[str, str] | None): text and type; `None` where that side has no entity.
    count (int): number of occurrences.
    """

    kind: Kind
    gold: tuple[str, str] | None
    predicted: tuple[str, str] | None
    count: int


def find_surface_forms(docs: Sequence[MatchedDoc]) -> list[SurfaceForm]:
    """Count all occurrences of the texts that are a gold or predicted entity somewhere.

    docs (Sequence[MatchedDoc]): the Docs.
    RETURNS (list[SurfaceForm]): the texts, in the order of their first entity.
    """
    forms: dict[tuple[str, ...], SurfaceForm] = {}
    for doc in docs:
        for match in doc.matches:
            for mention in (match.gold, match.predicted):
                if mention is not None and mention.aligned:
                    words = tuple(doc.words[mention.start : mention.end])
                    forms.setdefault(words, SurfaceForm(mention.text))
    lengths: dict[str, set[int]] = defaultdict(set)  # of the texts, by their first word
    for words in forms:
        lengths[words[0]].add(len(words))
    for doc in docs:
        sides = [
            (_by_token(match.gold for match in doc.matches), "gold"),
            (_by_token(match.predicted for match in doc.matches), "predicted"),
        ]
        for start, words in _occurrences(doc, forms, lengths):
            for by_token, side in sides:
                label = _label_at(by_token, start, start + len(words))
                if label is not None:
                    getattr(forms[words], side)[label] += 1
    return list(forms.values())


def inconsistent(forms: Iterable[SurfaceForm], side: str) -> list[SurfaceForm]:
    """List the texts with several types on one side.

    forms (Iterable[SurfaceForm]): the texts.
    side (str): "gold", or "predicted" for texts with several types in the predictions and at most
        one in the gold data.
    RETURNS (list[SurfaceForm]): the texts, by falling number of occurrences that do not have their
        most common type.
    """
    several = [
        form
        for form in forms
        if len(getattr(form, side)) > 1 and (side == "gold" or len(form.gold) <= 1)
    ]
    return sorted(several, key=lambda form: -_n_minority(getattr(form, side)))


def frequent_confusions(docs: Iterable[MatchedDoc], at_least: int = 2) -> list[Confusion]:
    """Count errors with the same texts and types.

    docs (Iterable[MatchedDoc]): the Docs.
    at_least (int): the least number of occurrences.
    RETURNS (list[Confusion]): the errors, the most frequent first.
    """
    counts = Counter(
        (match.kind, _text_and_type(match.gold), _text_and_type(match.predicted))
        for doc in docs
        for match in doc.matches
        if match.kind != "correct"
    )
    return [Confusion(*key, n) for key, n in counts.most_common() if n >= at_least]


def _by_token(mentions: Iterable[Mention | None]) -> dict[int, Mention]:
    return {
        token: mention
        for mention in mentions
        if mention is not None
        for token in range(mention.start, mention.end)
    }


def _occurrences(
    doc: MatchedDoc, forms: Mapping[tuple[str, ...], SurfaceForm], lengths: Mapping[str, set[int]]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    for start, word in enumerate(doc.words):
        for length in lengths.get(word, ()):
            tokens = range(start, start + length)
            words = tuple(doc.words[start : tokens.stop])
            if len(words) == length and words in forms and doc.unknown.isdisjoint(tokens):
                yield start, words


def _label_at(by_token: dict[int, Mention], start: int, end: int) -> str | None:
    # The type, NONE, or `None` if an entity with other boundaries has some of the tokens.
    touched = [by_token[token] for token in range(start, end) if token in by_token]
    if not touched:
        return NONE
    mention = touched[0]
    same = mention.aligned and (mention.start, mention.end) == (start, end)
    return mention.label if same else None


def _n_minority(counts: Counter[str]) -> int:
    return counts.total() - max(counts.values())


def _text_and_type(mention: Mention | None) -> tuple[str, str] | None:
    return None if mention is None else (mention.text, mention.label)
