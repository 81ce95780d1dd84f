r"""What a file of predictions writes in its columns.

- Of a token, white space and zero bytes are written as "␣", and byte-order marks are left out. A
  "␣" is added to tokens that would be read as something else. The gold data have the token itself.
- Of a label, a blank is written as "␣", and other white space, "␣" itself, zero bytes and
  byte-order marks as in JSON: a no-break space is `\\u00a0`.
- An entity that does not align with the gold tokens is written behind those of its document. In
  place of a token it has "␣", the number of characters from its start to the end of the document,
  "␣", and its text, written like a label. White space is not counted. `␣4␣York` are the last four
  characters of a document whose gold tokens end in `New-York`.
"""

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc
from spacy.training import Example

from ..corpus.conll import DOCUMENT_START
from ..corpus.sentences import CorpusError
from ..schemes import OUTSIDE, label_of
from ..tasks import Task
from .scoring import place_predictions

_WHITE_SPACE = "␣"  # what stands for it within a column
_BYTE_ORDER_MARK = "\ufeff"
_UNALIGNED = re.compile(f"{_WHITE_SPACE}([0-9]+){_WHITE_SPACE}(.*)", re.DOTALL)
# What a label cannot hold in a column, and a backslash that would be read as an escape.
_UNSAFE = re.compile(rf"\s|{_WHITE_SPACE}|{_BYTE_ORDER_MARK}|\0|\\(?=u[0-9a-f]{{4}})")
_ESCAPE = re.compile(rf"{_WHITE_SPACE}|\\u([0-9a-f]{{4}})")


class UnalignedEntity(NamedTuple):
    """A predicted entity that does not align with the gold tokens.

    text (str): its text.
    label (str): its type, as it is written in the file.
    distance (int): characters from its start to the end of the token before it in the file; white
        space does not count.
    line (int): the line of that token.
    """

    text: str
    label: str
    distance: int
    line: int


class PlacedEntity(NamedTuple):
    """An entity that does not align with the gold tokens, by its place among them.

    first, last (int): the first and the last gold token that it has characters of; if it is white
        space alone, both are the token before it in the file.
    skipped (int): characters of the first token that are not part of it, without white space.
    text, label (str): as in `UnalignedEntity`.
    """

    first: int
    last: int
    skipped: int
    text: str
    label: str

    def moved(self, tokens: int) -> "PlacedEntity":
        """Count from another token on.

        tokens (int): how many further behind the entity then is.
        RETURNS (PlacedEntity): the same entity.
        """
        return self._replace(first=self.first + tokens, last=self.last + tokens)


def token_column(text: str) -> str:
    """Write a token as a column.

    text (str): the token, or the column itself.
    RETURNS (str): the column.
    """
    text = text.replace(_BYTE_ORDER_MARK, "") or _WHITE_SPACE
    text = "".join(_WHITE_SPACE if char.isspace() or char == "\0" else char for char in text)
    # conlleval takes this token, and its tags, for a sentence boundary.
    if text == "-X-":
        return f"{text}{_WHITE_SPACE}"
    if text.startswith(DOCUMENT_START) or _UNALIGNED.fullmatch(text):
        return f"{_WHITE_SPACE}{text}"
    return text


def escape(text: str) -> str:
    """Write a label or a tag as a column.

    text (str): the text.
    RETURNS (str): the column, which `unescape` reads.
    """
    return _UNSAFE.sub(
        lambda found: _WHITE_SPACE if found[0] == " " else f"\\u{ord(found[0]):04x}", text
    )


def unescape(column: str) -> str:
    """Read a label.

    column (str): what `escape` wrote.
    RETURNS (str): the label.
    """
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", column)


def unaligned_columns(eg: Example, task: Task) -> list[str]:
    """Write the first columns of the entities that do not align with the gold tokens.

    eg (Example): a prediction beside its reference.
    task (Task): which entities to take.
    RETURNS (list[str]): a column for each, in the order of `tag_example`.
    """
    counts = list(accumulate((len(_letters(token.text)) for token in eg.predicted), initial=0))
    return [
        f"{_WHITE_SPACE}{counts[-1] - counts[placed.span.start]}{_WHITE_SPACE}"
        f"{escape(placed.span.text)}"
        for placed in place_predictions(eg, task)
        if not placed.aligned
    ]


def read_unaligned(column: str, tag: str, line: int) -> UnalignedEntity | None:
    """Read an entity that does not align with the gold tokens.

    column (str): the first column of a line.
    tag (str): its tag.
    line (int): the line of the token before it.
    RETURNS (UnalignedEntity | None): the entity; `None` where the line has a token.
    """
    found = _UNALIGNED.fullmatch(column)
    if found is None or tag == OUTSIDE:
        return None
    return UnalignedEntity(unescape(found[2]), label_of(tag), int(found[1]), line)


def place_unaligned(
    path: Path,
    unaligned: Sequence[UnalignedEntity],
    lines: Iterable[int],
    references: Iterable[Doc],
) -> list[PlacedEntity]:
    """Place entities that do not align among the gold tokens.

    path (Path): the file of predictions, for messages.
    unaligned (Sequence[UnalignedEntity]): its entities.
    lines (Iterable[int]): the line of each gold token in it.
    references (Iterable[Doc]): the gold data.
    RETURNS (list[PlacedEntity]): the entities from left to right.
    RAISES (CorpusError): the gold data do not have the text of an entity at its place.
    """
    if not unaligned:
        return []
    texts = [_letters(token.text) for doc in references for token in doc]
    ends = list(accumulate(map(len, texts)))
    text = "".join(texts)
    token_of_line = {line: token for token, line in enumerate(lines)}
    placed = []
    for entity in unaligned:
        letters = _letters(entity.text)
        before = token_of_line.get(entity.line, -1)
        start = ends[before] - entity.distance
        end = start + len(letters)
        if before < 0 or start < 0 or text[start:end].lower() != letters.lower():
            raise CorpusError(
                f"{path}:{entity.line}: behind this line is the entity {entity.text!r}, which the "
                f"gold data do not have {entity.distance} characters before the line's end: check "
                "that the file was written for these data and that its lines are all in place"
            )
        first = bisect_right(ends, start) if letters else before
        last = bisect_left(ends, end) if letters else before
        skipped = start - (ends[first] - len(texts[first])) if letters else 0
        placed.append(PlacedEntity(first, last, skipped, entity.text, entity.label))
    return sorted(placed)


def split_tokens(
    reference: Doc,
    aligned: Iterable[tuple[str, int, int]],
    unaligned: Sequence[PlacedEntity],
) -> tuple[Doc, list[tuple[str, int, int]]]:
    """Make each entity that does not align a token of its own.

    reference (Doc): the gold tokens.
    aligned (Iterable[tuple[str, int, int]]): label, first gold token, and the one behind the last,
        of the other entities.
    unaligned (Sequence[PlacedEntity]): the entities, from left to right.
    RETURNS (tuple[Doc, list[tuple[str, int, int]]]): a Doc of the same text but for white space,
        and all entities by its tokens.
    """
    words: list[str] = []
    spaces: list[bool] = []
    found = []
    starts, ends = [], []  # the new tokens of each gold one
    joined: set[int] = set()  # tokens of an entity that another of its tokens follows

    def add(word: str) -> None:
        if word:
            words.append(word)
            spaces.append(False)

    def add_entity(entity: PlacedEntity) -> None:
        # White space at its ends stands alone, so that it belongs to the gold tokens around it.
        start = len(words)
        core = entity.text.strip()
        for part in entity.text.partition(core) if core else (entity.text,):
            add(part)
        joined.update(range(start, len(words) - 1))
        found.append((entity.label, start, len(words)))

    waiting = deque(entity for entity in unaligned if _letters(entity.text))
    left = 0  # characters of the entity just added that are still to be passed over
    for token in reference:
        starts.append(len(words))
        piece, position = "", 0
        for char in token.text:
            if char.isspace():
                piece += "" if left else char
                continue
            if waiting and (waiting[0].first, waiting[0].skipped) == (token.i, position):
                add(piece)
                piece = ""
                if words and waiting[0].text[0].isspace():
                    words[-1] = words[-1].rstrip() or words[-1]
                left = len(_letters(waiting[0].text))
                add_entity(waiting.popleft())
            if left:
                left -= 1
            else:
                piece += char
            position += 1
        add(piece)
        ends.append(len(words))
        if words:
            spaces[-1] = bool(token.whitespace_)
    for entity in unaligned:
        # Of white space alone: it is on no gold token, wherever it stands.
        if not _letters(entity.text):
            add_entity(entity)
    found += [(label, starts[start], ends[end - 1]) for label, start, end in aligned]
    if reference.has_unknown_spaces:
        spaces = [token not in joined for token in range(len(words))]
    doc = Doc(reference.vocab, words=words, spaces=spaces)
    doc.has_unknown_spaces = reference.has_unknown_spaces
    return doc, sorted(found, key=lambda entity: entity[1])


def _letters(text: str) -> str:
    return "".join(char for char in text if not char.isspace())
