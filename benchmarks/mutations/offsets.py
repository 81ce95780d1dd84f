"""Mutations of texts with entities by character offsets, in the formats of annotation tools."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .cases import Case, Cases, Record, Rng, either
from .rows import dump_lines, mutate_forms

# Texts with their entities. Tokens are separated by single spaces.
_TEXTS: tuple[tuple[str, tuple[tuple[int, int, str], ...]], ...] = (
    ("Zoë 😀 met Ada in Köln now .", ((0, 3, "PER"), (10, 13, "PER"), (17, 21, "LOC"))),
    ("It rained .", ()),
    ("東京 and New York City met", ((0, 2, "LOC"), (7, 20, "LOC"))),
    ("Acme Corp fell hard", ((0, 9, "ORG"),)),
)
Entities = Sequence[tuple[Any, Any, Any]]


def _objects(entities: Entities, start: str = "start", end: str = "end") -> list[dict[str, Any]]:
    return [{start: s, end: e, "label": label} for s, e, label in entities]


def _studio(text: str, entities: Entities) -> list[dict[str, Any]]:
    return [{"start": s, "end": e, "text": text[s:e], "labels": [x]} for s, e, x in entities]


def _label_studio(text: str, entities: Entities) -> Any:
    result = [{"type": "labels", "value": value} for value in _studio(text, entities)]
    return {"id": 3, "data": {"text": text}, "annotations": [{"id": 1, "result": result}]}


FORMATS: dict[str, Callable[[str, Entities], Any]] = {
    "doccano": lambda text, found: {"id": 1, "text": text, "label": [list(one) for one in found]},
    "doccano, objects": lambda text, found: {
        **{"id": 1, "text": text},
        "entities": _objects(found, "start_offset", "end_offset"),
    },
    "Prodigy": lambda text, found: {"text": text, "spans": _objects(found), "answer": "accept"},
    "Label Studio": _label_studio,
    "Label Studio, JSON-MIN": lambda text, found: {"text": text, "label": _studio(text, found)},
    "spaCy": lambda text, found: [text, {"entities": [list(one) for one in found]}],
}


def _record(text: str, entities: Entities) -> Record:
    # Tokens are separated by single spaces.
    words = tuple(text.split(" "))
    token_at = {0: 0}
    position = 0
    for index, word in enumerate(words):
        token_at[position] = index
        position += len(word) + 1
    token_at[position] = len(words)
    return Record(words, tuple((token_at[s], token_at[e + 1], x) for s, e, x in entities))


def mutate(rng: Rng) -> Cases:
    """Mutate one random file of texts in all ways.

    rng (Rng): the source of randomness.
    YIELDS (Case): the mutated files.
    """
    tool = rng.choice(list(FORMATS))
    texts = [_TEXTS[0], _TEXTS[1], *rng.choices(_TEXTS, k=2)]
    rng.shuffle(texts)
    rows = [FORMATS[tool](*text) for text in texts]
    records = [_record(*text) for text in texts]
    yield from mutate_forms(rng, rows, records, raw=rng.random() < 0.5)
    file = _File(rng, tool, texts, rows, records)
    yield from _offsets(file)
    yield from _labels(file)
    yield from _units(file)
    for keys in _paths(rows[file.index]):
        row = copy.deepcopy(rows[file.index])
        if _rename(row, keys):
            yield file.case(f"misspelt {keys[-1]}", row)
    for odd in (None, 5, ["a"], {"a": "b"}, True):
        yield file.case(f"text {odd!r}", _with_text(rows[file.index], odd))
    if tool == "Prodigy":
        yield from _answers(file)


class _File:
    """A file, and the row to mutate: a text with entities."""

    def __init__(
        self, rng: Rng, tool: str, texts: Sequence[Any], rows: Sequence[Any], records: list[Record]
    ) -> None:
        self.tool, self.rows, self.records = tool, rows, records
        self.index = rng.choice([i for i, (_, entities) in enumerate(texts) if entities])
        self.text, self.entities = texts[self.index]
        self.place = rf"x\.jsonl:{self.index + 1}\b"

    @property
    def has_texts(self) -> bool:
        """RETURNS (bool): Whether entities have their own text."""
        return self.tool.startswith("Label Studio")

    def write(self, row: Any) -> bytes:
        """Write the file with another row."""
        return dump_lines([*self.rows[: self.index], row, *self.rows[self.index + 1 :]])

    def case(self, kind: str, row: Any, expected: list[Record] | None = None) -> Case:
        """Make the file with another row; its reader has to find an error in it by default."""
        return Case(f"{self.tool}: {kind}", "x.jsonl", self.write(row), expected, self.place)

    def format(self, entities: Entities) -> Any:
        """Write the row with other entities."""
        return FORMATS[self.tool](self.text, entities)


def _offsets(file: _File) -> Cases:
    (start, end, label), *others = file.entities
    wrong = {
        "negative": (-1, end),
        "negative end": (start, -1),
        "reversed": (end, start),
        "empty": (start, start),
        "outside": (start, len(file.text) + 1),
        "within a token": (start, end - 1),
        "half": (start + 0.5, end),
        "NaN": (float("nan"), end),
        "infinite": (start, float("inf")),
        "huge": (start, 10**30),
        "text": (str(start), str(end)),
        "null": (None, end),
        "true": (start, True),
        "a list": ([start], end),
        "an object": (start, {"offset": end}),
    }
    for kind, (s, e) in wrong.items():
        if file.has_texts and not (isinstance(s, int) and isinstance(e, int)):
            continue  # there is no such part of the text
        yield file.case(f"{kind} offset", file.format([(s, e, label), *others]))
    entities = file.entities
    yield file.case("overlap", file.format([*entities, (start, len(file.text), "X")]))
    yield file.case("twice", file.format([entities[0], *entities]), file.records)
    yield file.case("other order", file.format(entities[::-1]), file.records)
    if not file.has_texts:
        row = file.format([(float(start), float(end), label), *others])
        yield file.case("whole float", row, file.records)


def _labels(file: _File) -> Cases:
    (start, end, _), *others = file.entities
    for odd in (None, 5, "", [], ["PER", "LOC"], {"a": 1}, True):
        yield file.case(f"label {odd!r}", file.format([(start, end, odd), *others]))


def _units(file: _File) -> Cases:
    text = file.text
    for kind, encoding, size in (("UTF-16 units", "utf-16-le", 2), ("bytes", "utf-8", 1)):
        shifted = [
            (len(text[:s].encode(encoding)) // size, len(text[:e].encode(encoding)) // size, x)
            for s, e, x in file.entities
        ]
        if shifted == list(file.entities):
            continue
        row = file.format(file.entities)
        _shift(row, file.entities, shifted)
        case = file.case(f"offsets in {kind}", row)
        # Without the texts of entities, only offsets within a token or outside are known as wrong.
        if not file.has_texts:
            case = replace(case, expected=file.records, changed=either(file.index))
        yield case


def _shift(row: Any, entities: Entities, shifted: Entities) -> None:
    """Replace offsets in a row, and keep the texts of its entities."""
    moved = {(s, e): new for (s, e, _), new in zip(entities, shifted, strict=True)}
    values = list(row.values()) if isinstance(row, dict) else row if isinstance(row, list) else []
    if isinstance(row, list) and len(row) == 3 and isinstance(row[2], str):
        row[:2] = moved[tuple(row[:2])][:2]
        return
    for first, last in (("start", "end"), ("start_offset", "end_offset")):
        if isinstance(row, dict) and (row.get(first), row.get(last)) in moved:
            row[first], row[last], _ = moved[row[first], row[last]]
            return
    for value in values:
        _shift(value, entities, shifted)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the keys in a row on which its annotation depends, each with those around it."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if (
            isinstance(key, str)
            and key not in ("id", "answer", "type")
            and (path, key) != ((), "id")
        ):
            found.append((*path, key))
        if isinstance(item, dict | list):
            found += _paths(item, (*path, key))
    return found


def _rename(row: Any, keys: tuple[Any, ...]) -> bool:
    """Misspell a key. RETURNS: False if the row's meaning stays the same."""
    for key in keys[:-1]:
        row = row[key]
    last = keys[-1]
    row[f"{last}x"] = row.pop(last)
    # The entity's own text is only compared, and the only text has any name in Label Studio.
    return last != "text" or not ("start" in row or keys[0] == "data")


def _with_text(row: Any, other: Any) -> Any:
    if isinstance(row, list):
        return [other, row[1]]
    if "data" in row:
        return {**row, "data": {"text": other}}
    return {**row, "text": other}


def _answers(file: _File) -> Cases:
    row = file.rows[file.index]
    without = [*file.records[: file.index], *file.records[file.index + 1 :]]
    for answer in ("reject", "ignore"):
        case = file.case(f"answer {answer}", {**row, "answer": answer}, without)
        yield replace(case, place="rejected or ignored", warns=True)
    for view in ({"_view_id": "ner"}, {"_is_binary": True}):
        case = file.case("yes or no", {**row, **view}, file.records)
        yield replace(case, place="are read as unknown", warns=True)
    for odd in (None, "", "Accept", 5, ["accept"]):
        yield file.case(f"answer {odd!r}", {**row, "answer": odd})
