"""Show errors in their sentences."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from .blocks import ErrorGroup, Excerpt, Piece
from .matching import Kind, Match, MatchedDoc, Mention

CONTEXT = 40  # tokens on each side of an error; longer sentences are cut
_CUT = "… "
_NEIGHBOURS = 6  # words on each side of an error in a table


def group_errors(docs: Iterable[MatchedDoc], *, only_error: bool = False) -> list[ErrorGroup]:
    """Group all errors by their kind and types.

    docs (Iterable[MatchedDoc]): the Docs.
    only_error (bool): whether to mark only the error, and no other entities of the sentence.
    RETURNS (list[ErrorGroup]): the groups, the largest first. In each group, the most probable
        predictions come first, because they are the most likely errors of the gold data. Errors
        without a probability come last, in the order of the data.
    """
    grouped: dict[tuple[Kind, str | None, str | None], list[Excerpt]] = {}
    for doc in docs:
        places = MatchPlaces(doc.matches)
        for match in doc.matches:
            if match.kind != "correct":
                grouped.setdefault((match.kind, *match.types), []).append(
                    make_excerpt(doc, match, None if only_error else places)
                )
    for excerpts in grouped.values():
        excerpts.sort(key=lambda one: (one.probability is None, -(one.probability or 0.0)))
    groups = [ErrorGroup(*key, excerpts) for key, excerpts in grouped.items()]
    return sorted(groups, key=lambda group: -len(group.excerpts))


class MatchPlaces:
    """An index of the matches of a document by position, for fast lookup."""

    def __init__(self, matches: Sequence[Match]) -> None:
        """Index matches.

        matches (Sequence[Match]): the matches, from left to right.
        """
        self._matches = matches
        self._starts = [match.start for match in matches]
        self._furthest = list(accumulate((match.end for match in matches), max))

    def between(self, begin: int, end: int) -> Sequence[Match]:
        """Find the matches in a part of the document.

        begin, end (int): the first token of the part, and the token after its last.
        RETURNS (Sequence[Match]): all matches with a token in the part, from left to right. They
            may include matches outside it.
        """
        first = bisect_right(self._furthest, begin)
        return self._matches[first : bisect_left(self._starts, end)]


def make_excerpt(doc: MatchedDoc, match: Match, others: MatchPlaces | None) -> Excerpt:
    """Show an error in its sentence, with the other entities of the sentence.

    doc (MatchedDoc): the Doc.
    match (Match): the error.
    others (MatchPlaces | None): all matches of the document; `None` to mark only the error.
    RETURNS (Excerpt): the sentence, or CONTEXT tokens around the error.
    """
    begin, end = _sentence(doc, match)
    begin, end = max(begin, match.start - CONTEXT), min(end, match.end + CONTEXT)
    shown = [match] if others is None else others.between(begin, end)
    gold, predicted = (
        _pieces(doc, begin, end, [getattr(other, side) for other in shown], mention)
        for side, mention in (("gold", match.gold), ("predicted", match.predicted))
    )
    place = doc.name
    if len(doc.starts) > 1:
        place += f", sentence {bisect_right(doc.starts, match.start)}"
    probability = None if match.predicted is None else match.predicted.probability
    return Excerpt(place, gold, predicted, probability)


def shorten_excerpt(excerpt: Excerpt) -> str:
    """Show the words around an error in one line.

    excerpt (Excerpt): the error.
    RETURNS (str): the text with the error in brackets, and a few words on each side.
    """
    pieces = excerpt.gold if any(piece.focus for piece in excerpt.gold) else excerpt.predicted
    place = next(i for i, piece in enumerate(pieces) if piece.focus)
    sides = (pieces[:place], pieces[place + 1 :])
    before, after = ("".join(piece.text for piece in side).split() for side in sides)
    start = before[-_NEIGHBOURS:]
    end = after[:_NEIGHBOURS]
    words = (
        *(["…"] if len(start) < len(before) else []),
        *start,
        f"[{pieces[place].text.strip()}]",
        *end,
        *(["…"] if len(end) < len(after) else []),
    )
    return " ".join(words)


def _sentence(doc: MatchedDoc, match: Match) -> tuple[int, int]:
    # From the last sentence start before the match to the first one after it.
    before = bisect_right(doc.starts, match.start) - 1
    after = bisect_left(doc.starts, max(match.end, match.start + 1))
    return doc.starts[before], doc.starts[after] if after < len(doc.starts) else len(doc.words)


def _is_start(doc: MatchedDoc, token: int) -> bool:
    place = bisect_left(doc.starts, token)
    return place < len(doc.starts) and doc.starts[place] == token


def _pieces(
    doc: MatchedDoc,
    begin: int,
    end: int,
    mentions: Sequence[Mention | None],
    focus: Mention | None,
) -> list[Piece]:
    inside = [
        mention
        for mention in mentions
        if mention is not None and mention.start < end and mention.end > begin
    ]
    # If tokens differ, two predictions may share a token. The one in focus is shown.
    inside.sort(key=lambda mention: (mention is not focus, mention.start))
    shown: dict[int, Mention] = {}
    for mention in inside:
        tokens = range(max(begin, mention.start), min(end, mention.end))
        if not any(token in shown for token in tokens):
            shown |= dict.fromkeys(tokens, mention)
    pieces = [Piece(_CUT)] if not _is_start(doc, begin) else []
    token = begin
    while token < end:
        current, first = shown.get(token), token
        while token < end and shown.get(token) is current:
            token += 1
        pieces += _piece(doc, first, token, current, current is not None and current is focus)
    if end < len(doc.words) and not _is_start(doc, end):
        pieces.append(Piece(_CUT))
    if focus is not None and focus.start == focus.end:  # its tokens are not in the reference
        pieces.append(Piece(focus.text, focus.label, True))
    return pieces


def _piece(
    doc: MatchedDoc, first: int, end: int, mention: Mention | None, focus: bool
) -> list[Piece]:
    # The space after an entity is not marked.
    text = "".join(
        word + " " * space
        for word, space in zip(doc.words[first:end], doc.spaces[first:end], strict=True)
    )
    if mention is None:
        return [Piece(text)]
    label = mention.label if mention.aligned else f"{mention.label}: {mention.text}"
    space_after = [Piece(" ")] if text.endswith(" ") else []
    return [Piece(text.removesuffix(" "), label, focus), *space_after]
