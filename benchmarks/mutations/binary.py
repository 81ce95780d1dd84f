"""Mutations of parquet and `.spacy` files."""

import io
from collections.abc import Sequence

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import spacy
from spacy.tokens import Doc, DocBin, Span

from .cases import Case, Cases, Record, Rng, either, flip, pick
from .columns import tags_of
from .rows import Row, row_of


def mutate(rng: Rng) -> Cases:
    """Mutate a parquet file and a `.spacy` file.

    rng (Rng): the source of randomness.
    YIELDS (Case): the mutated files.
    """
    records = pick(rng)
    yield from _spacy(rng, records)
    if rng.random() < 0.2:  # `datasets` needs 0.1 seconds for a file
        yield from _parquet(rng, records)


def _spacy(rng: Rng, records: list[Record]) -> Cases:
    vocab = spacy.blank("xx").vocab
    doc_bin = DocBin()
    for record in records:
        entities = tags_of(record.entities or (), len(record.words), "IOB2")
        doc = Doc(vocab, words=list(record.words), tags=list(record.tags or ()), ents=entities)
        doc.spans["chunks"] = [Span(doc, *span) for span in record.chunks or ()]
        doc_bin.add(doc)
    whole = doc_bin.to_bytes()
    yield Case("DocBin", "x.spacy", whole, records)
    yield Case("DocBin cut off", "x.spacy", whole[: rng.randrange(len(whole))], None, "x.spacy")
    yield Case("DocBin with more bytes", "x.spacy", whole + b"x", records, "x.spacy", either(0, 9))
    for _ in range(8):
        content = flip(rng, whole, 0, len(whole))
        # A bit that changes nothing is possible; the data have a checksum.
        yield Case("DocBin: flipped bit", "x.spacy", content, records, "x.spacy", range(0))


def _parquet(rng: Rng, records: list[Record]) -> Cases:
    rows = [row_of(record) for record in records]

    def dump(changed: Sequence[Row]) -> bytes:
        buffer = io.BytesIO()
        pa.parquet.write_table(pa.Table.from_pylist(list(changed)), buffer)
        return buffer.getvalue()

    name, anywhere = f"x{rng.randrange(10**9)}.parquet", r"\.parquet"  # `datasets` keeps a cache
    index = rng.randrange(len(rows))
    place = rf"row {index}\b"
    whole = dump(rows)
    yield Case("parquet", name, whole, records)
    yield Case("parquet cut off", "2" + name, whole[: rng.randrange(1, len(whole))], None, anywhere)
    yield Case("empty parquet", "3" + name, b"", None, anywhere)
    for key, value in (("tokens", None), ("ner_tags", None), ("ner_tags", [])):
        changed = [*rows[:index], {**rows[index], key: value}, *rows[index + 1 :]]
        yield Case(
            f"parquet: {value} in {key}", f"{key}{value is None}{name}", dump(changed), None, place
        )
    numbers = [{**row, "ner_tags": [1 for _ in row["ner_tags"]]} for row in rows]
    yield Case("parquet: numbers", "4" + name, dump(numbers), None, "row 0")
    changed_bytes = flip(rng, whole, 0, len(whole))
    # Pages have no checksum: a changed word is a word, and a changed column name is a name.
    yield Case("parquet: flipped bit", "5" + name, changed_bytes, [], anywhere, range(0))
