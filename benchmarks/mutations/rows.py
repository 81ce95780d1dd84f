"""Mutations of JSON lines, above all of rows with tokens and tags."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

from .cases import Case, Cases, Record, Rng, either, flip, pick
from .columns import tags_of

Row = dict[str, Any]
_LAYERS = {"ner_tags": "entities", "chunk_tags": "chunks", "pos_tags": "tags"}
# Values that are neither a list of strings nor null.
WRONG: tuple[Any, ...] = (
    *(5, -1.5, True, {"a": ["O"]}, {}, float("nan"), float("inf"), 10**400),
    *([5], [None], [["O"]], [True], [{}], [float("nan")], ["a", 5], [10**30]),
)


def row_of(record: Record, scheme: str = "IOB2") -> Row:
    """Write a sentence as a row."""
    n = len(record.words)
    return {
        "id": "7",
        "tokens": list(record.words),
        "pos_tags": list(record.tags or ()),
        "chunk_tags": tags_of(record.chunks or (), n, scheme),
        "ner_tags": tags_of(record.entities or (), n, scheme),
    }


def dump_lines(rows: Sequence[object], end: str = "\n", **options: Any) -> bytes:
    """Write rows as JSON lines."""
    return "".join(json.dumps(row, **options) + end for row in rows).encode()


def mutate_forms(
    rng: Rng, rows: Sequence[Any], records: list[Record], *, raw: bool = False
) -> Cases:
    """Mutate a file of JSON in ways that do not depend on what its rows hold.

    rng (Rng): the source of randomness.
    rows (Sequence[Any]): the rows, at least two.
    records (list[Record]): their records.
    raw (bool): whether characters that are not in ASCII are written without escapes.
    YIELDS (Case): the mutated files.
    """
    index = rng.randrange(len(rows))
    place = rf"x\.jsonl:{index + 1}\b"
    anywhere = r"x\.json"
    lines = [json.dumps(row, ensure_ascii=not raw) for row in rows]
    whole = "".join(f"{line}\n" for line in lines)
    indented = json.dumps(rows, ensure_ascii=not raw, indent=1)

    def right(kind: str, content: bytes, name: str = "x.jsonl") -> Case:
        return Case(kind, name, content, records)

    def wrong(kind: str, content: bytes, where: str = place, name: str = "x.jsonl") -> Case:
        return Case(kind, name, content, None, where)

    def with_line(line: str) -> bytes:
        return "".join(f"{each}\n" for each in (*lines[:index], line, *lines[index + 1 :])).encode()

    yield right("unchanged", whole.encode())
    yield right("no newline at the end", whole[:-1].encode())
    yield right("CRLF", whole.replace("\n", "\r\n").encode())
    yield right("byte-order mark", whole.encode("utf-8-sig"))
    yield right("blank lines", whole.replace("\n", "\n\n \n").encode())
    yield right("a list", indented.encode(), "x.json")
    yield right("a list on one line", json.dumps(rows).encode(), "x.json")
    yield right("a list with CRLF", indented.replace("\n", "\r\n").encode(), "x.json")
    yield right("a list with CR", indented.replace("\n", "\r").encode(), "x.json")
    yield right("gz", gzip.compress(whole.encode()), "x.jsonl.gz")
    packed = gzip.compress(whole.encode())
    yield wrong("gz cut off", packed[: rng.randrange(1, len(packed))], anywhere, "x.jsonl.gz")
    yield wrong("empty", b"", anywhere)
    yield wrong("blank", b" \n\n", anywhere)
    yield wrong("an empty list", b"[]", anywhere, "x.json")
    yield wrong("UTF-16", whole.encode("utf-16"), anywhere)
    yield wrong("UTF-16 without a byte-order mark", whole.encode("utf-16-le"), anywhere)
    if not whole.isascii():
        yield wrong("Latin-1", whole.encode("latin-1", "replace"), r"x\.jsonl:\d")
    for end in ("\r", "\x85", "\u2028", " ", ""):
        yield wrong(f"{end!r} as a line end", whole.replace("\n", end).encode(), anywhere)
    yield wrong(
        "a list that is cut off",
        indented[: rng.randrange(1, len(indented))].encode(),
        anywhere,
        "x.json",
    )
    for other in (
        "5",
        "null",
        "[]",
        '"x"',
        "true",
        "NaN",
        "{}",
        "[5]",
        "{",
        "}",
        "x",
        '{"a": 1}',
        "[[]]",
    ):
        yield wrong(f"{other} as a row", with_line(other))
    yield wrong("nested deeply", with_line("[" * 100_000 + "]" * 100_000))
    yield wrong("a huge number", with_line('{"tokens": ' + "9" * 5000 + "}"))
    line = lines[index]
    yield wrong("a line that is cut off", with_line(line[: rng.randrange(2, len(line))]))
    yield wrong("a zero byte", with_line(line + "\0"))
    if line.startswith("{"):
        key = rng.choice(list(rows[index]))
        yield wrong("a repeated key", with_line(f"{{{json.dumps(key)}: [], {line[1:]}"))
    start = len("".join(f"{each}\n" for each in lines[:index]).encode())
    for _ in range(6):
        changed = flip(rng, whole.encode(), start, start + len(line.encode()))
        yield Case("flipped bit", "x.jsonl", changed, records, r"x\.jsonl:\d", either(index))


def mutate(rng: Rng) -> Cases:
    """Mutate one random file of rows with tokens and tags in all ways.

    rng (Rng): the source of randomness.
    YIELDS (Case): the mutated files.
    """
    records = pick(rng)
    scheme = rng.choice(("IOB1", "IOB2", "IOBES", "BILUO"))
    rows = [row_of(record, scheme) for record in records]
    yield from mutate_forms(rng, rows, records, raw=rng.random() < 0.5)
    index = rng.randrange(len(rows))
    column = rng.choice(("tokens", "ner_tags"))
    layer = rng.choice(("pos_tags", "chunk_tags"))
    place = rf"x\.jsonl:{index + 1}\b"
    name = "x.jsonl"

    def with_row(**changed: Any) -> bytes:
        return dump_lines([*rows[:index], {**rows[index], **changed}, *rows[index + 1 :]])

    def without(key: str) -> list[Row]:
        row = {other: value for other, value in rows[index].items() if other != key}
        return [*rows[:index], row, *rows[index + 1 :]]

    lost: dict[str, Any] = {_LAYERS[layer]: None}
    dropped = records[index]._replace(**lost)
    without_layer = [*records[:index], dropped, *records[index + 1 :]]
    columns = {"pos_column": "pos_tags", "chunk_column": "chunk_tags"}

    def optional(kind: str, content: bytes) -> Cases:
        # An error only if the column is named.
        yield Case(f"optional: {kind}", name, content, without_layer, place, warns=True)
        yield Case(f"named: {kind}", name, content, None, place, options=columns)

    for wrong in (*WRONG, None):
        yield Case(f"{str(wrong)[:20]} in {column}", name, with_row(**{column: wrong}), None, place)
        yield from optional(f"{str(wrong)[:20]}", with_row(**{layer: wrong}))
    items = rows[index][column]
    position = rng.randrange(len(items))
    odd = (5, None, True, ["O"], {"a": 1}, float("nan"), "", "\ud800", "a\udfff")
    for item in odd if column == "tokens" else (*odd, "5", "C-PER", "B-PER\n", " O"):
        changed = [*items[:position], item, *items[position + 1 :]]
        content = with_row(**{column: changed})
        yield Case(f"an item {item!r} in {column}", name, content, None, place)
    for n, kind in ((-1, "short"), (1, "long")):
        longer = [*items, "O"] if n > 0 else items[:-1]
        yield Case(f"{column} too {kind}", name, with_row(**{column: longer}), None, place)
        other = rows[index][layer]
        other = [*other, other[0]] if n > 0 else other[:-1]
        yield from optional(f"too {kind}", with_row(**{layer: other}))
    yield Case(f"no {column}", name, dump_lines(without(column)), None, place)
    yield from optional("no column", dump_lines(without(layer)))
    renamed = without(column)
    renamed[index][column.upper()] = rows[index][column]
    yield Case(f"{column} misspelt", name, dump_lines(renamed), None, place)
    numbers = [{**row, "ner_tags": [5 for _ in row["ner_tags"]]} for row in rows]
    yield Case("numbers without names", name, dump_lines(numbers), None, r"x\.jsonl")
    yield from _numbered(rng, records, rows)


def _numbered(rng: Rng, records: list[Record], rows: list[Row]) -> Cases:
    names = sorted({tag for row in rows for tag in row["ner_tags"]})
    numbers = [{**row, "ner_tags": [names.index(tag) for tag in row["ner_tags"]]} for row in rows]
    options = {"tag_names": {"ner_tags": names}}
    yield Case("numbers", "x.jsonl", dump_lines(numbers), records, options=options)
    index = rng.randrange(len(rows))
    place = rf"x\.jsonl:{index + 1}\b"
    odd: list[Any] = [-1, len(names), 10**20, True, False, "0", "1", 0.5, None, [0], {}]
    for item in odd:
        tags = [*numbers[index]["ner_tags"][:-1], item]
        changed = [*numbers[:index], {**numbers[index], "ner_tags": tags}, *numbers[index + 1 :]]
        yield Case(f"number {item!r}", "x.jsonl", dump_lines(changed), None, place, options=options)
