r"""The columns of a file of predictions: escaping, and entities that do not align.

- Tokens: white space and zero bytes are replaced by "␣", and byte-order marks are removed. A "␣" is
  added to tokens that would otherwise be read as something else. These changes lose no information,
  because the original tokens are in the gold data.
- Labels: a space is written as "␣". Other white space, "␣" itself, zero bytes and byte-order marks
  are written as JSON escapes. For example, a no-break space is `\u00a0`.
- Entities that do not align with the gold tokens follow the tokens of their Doc. Their first column
  is "␣", the number of characters from the start of the entity to the end of the Doc,
  "␣", and the text of the entity, escaped like a label. White space is not counted. For example,
  `␣4␣York` is the last four characters of a Doc whose gold tokens end with `New-York`.
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

_WHITE_SPACE = "␣"  # replaces white space within a column
_BYTE_ORDER_MARK = "\ufeff"
_UNALIGNED = re.compile(f"{_WHITE_SPACE}([0-9]+){_WHITE_SPACE}(.*)", re.DOTALL)
# Characters that a label's column cannot contain, and backslashes that look like an escape.
_UNSAFE = re.compile(rf"\s|{_WHITE_SPACE}|{_BYTE_ORDER_MARK}|\0|\\(?=u[0-9a-f]{{4}})")
_ESCAPE = re.compile(rf"{_WHITE_SPACE}|\\u([0-9a-f]{{4}})")


class UnalignedEntity(NamedTuple):
    """A predicted entity that does not align with the gold tokens, as read from the file.

    text (str): the text of the entity.
    label (str): the label, as written in the file.
    distance (int): the number of characters, without white space, from the start of the entity to
        the end of the last token before it in the file.
    line (int): the line number of that token.
    """

    text: str
    label: str
    distance: int
    line: int


class PlacedEntity(NamedTuple):
    """A predicted entity that does not align, with its position in the gold tokens.

    first, last (int): indices of the first and the last gold token that overlap the entity. If the
        entity is only white space, both are the index of the last token before it in the file.
    skipped (int): the number of characters, without white space, of the first token that precede
        the entity.
    text, label (str): see `UnalignedEntity`.
    """

    first: int
    last: int
    skipped: int
    text: str
    label: str

    def moved(self, tokens: int) -> "PlacedEntity":
        """Shift the token indices.

        tokens (int): the number to add to both indices.
        RETURNS (PlacedEntity): the shifted entity.
        """
        return self._replace(first=self.first + tokens, last=self.last + tokens)


def token_column(text: str) -> str:
    """Escape a token for its column.

    text (str): the token, or an escaped token, which does not change.
    RETURNS (str): the column.
    """
    text = text.replace(_BYTE_ORDER_MARK, "") or _WHITE_SPACE
    text = "".join(_WHITE_SPACE if char.isspace() or char == "\0" else char for char in text)
    # conlleval reads a line with this token as a sentence boundary.
    if text == "-X-":
        return f"{text}{_WHITE_SPACE}"
    if text.startswith(DOCUMENT_START) or _UNALIGNED.fullmatch(text):
        return f"{_WHITE_SPACE}{text}"
    return text


def escape(text: str) -> str:
    """Escape a label or a tag for its column.

    text (str): the label or tag.
    RETURNS (str): the column.
    """
    return _UNSAFE.sub(
        lambda match: _WHITE_SPACE if match[0] == " " else f"\\u{ord(match[0]):04x}", text
    )


def unescape(column: str) -> str:
    """Undo `escape`.

    column (str): the escaped label or tag.
    RETURNS (str): the label or tag.
    """
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", column)


def unaligned_columns(eg: Example, task: Task) -> list[str]:
    """Make the first columns of the entities that do not align with the gold tokens.

    eg (Example): a prediction and its reference.
    task (Task): the kind of annotation.
    RETURNS (list[str]): one column per entity, in the order of `tag_example`.
    """
    counts = list(accumulate((len(_letters(token.text)) for token in eg.predicted), initial=0))
    return [
        f"{_WHITE_SPACE}{counts[-1] - counts[placed.span.start]}{_WHITE_SPACE}"
        f"{escape(placed.span.text)}"
        for placed in place_predictions(eg, task)
        if not placed.aligned
    ]


def read_unaligned(column: str, tag: str, line: int) -> UnalignedEntity | None:
    """Parse the line of an entity that does not align with the gold tokens.

    column (str): the first column of the line.
    tag (str): the tag of the line.
    line (int): the line number of the last token before it.
    RETURNS (UnalignedEntity | None): the entity, None if the line contains a token.
    """
    match = _UNALIGNED.fullmatch(column)
    if match is None or tag == OUTSIDE:
        return None
    return UnalignedEntity(unescape(match[2]), label_of(tag), int(match[1]), line)


def place_unaligned(
    path: Path,
    unaligned: Sequence[UnalignedEntity],
    lines: Iterable[int],
    references: Iterable[Doc],
) -> list[PlacedEntity]:
    """Find the gold tokens that overlap the entities that do not align.

    path (Path): the file of predictions, for error messages.
    unaligned (Sequence[UnalignedEntity]): the entities of the file.
    lines (Iterable[int]): the line number of each gold token in the file.
    references (Iterable[Doc]): the gold data.
    RETURNS (list[PlacedEntity]): the entities from left to right.
    RAISES (CorpusError): if the gold data do not contain the text of an entity at its position.
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
                f"{path}:{entity.line}: after this line is the entity {entity.text!r}, but the "
                f"gold text {entity.distance} characters before the end of this line's token is "
                "different: check that the file was written for these data and that no lines are "
                "missing"
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
    """Split the gold tokens so that all entities align with tokens.

    reference (Doc): the gold tokens.
    aligned (Iterable[tuple[str, int, int]]): the entities that align: label, index of the first
        gold token, and index after the last.
    unaligned (Sequence[PlacedEntity]): the entities that do not align, from left to right.
    RETURNS (tuple[Doc, list[tuple[str, int, int]]]): a Doc with the same text, except for white
        space, and all entities with token indices in this Doc.
    """
    words: list[str] = []
    spaces: list[bool] = []
    entities = []
    starts, ends = [], []  # for each gold token, the range of its new tokens
    joined: set[int] = set()  # tokens of an entity, except the entity's last token

    def add(word: str) -> None:
        if word:
            words.append(word)
            spaces.append(False)

    def add_entity(entity: PlacedEntity) -> None:
        # White space at the ends of the entity becomes separate tokens.
        start = len(words)
        core = entity.text.strip()
        for part in entity.text.partition(core) if core else (entity.text,):
            add(part)
        joined.update(range(start, len(words) - 1))
        entities.append((entity.label, start, len(words)))

    waiting = deque(entity for entity in unaligned if _letters(entity.text))
    left = 0  # characters of the last added entity that are still to be skipped
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
        # An entity of only white space overlaps no gold token, so any position will do.
        if not _letters(entity.text):
            add_entity(entity)
    entities += [(label, starts[start], ends[end - 1]) for label, start, end in aligned]
    if reference.has_unknown_spaces:
        spaces = [token not in joined for token in range(len(words))]
    doc = Doc(reference.vocab, words=words, spaces=spaces)
    doc.has_unknown_spaces = reference.has_unknown_spaces
    return doc, sorted(entities, key=lambda entity: entity[1])


def _letters(text: str) -> str:
    return "".join(char for char in text if not char.isspace())
