"""Mutations of column files."""

import gzip
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bigru_tagger.schemes import iob2_span_tags, span_tags

from .cases import Case, Cases, Record, Rng, Span, either, flip, pick


def tags_of(spans: Sequence[Span], length: int, scheme: str) -> list[str]:
    """Write spans as tags.

    spans (Sequence[Span]): the spans from left to right.
    length (int): the number of tokens.
    scheme (str): "IOB1", "IOB2", "IOBES" or "BILUO".
    RETURNS (list[str]): one tag per token.
    """
    tags = ["O"] * length
    for start, end, label in spans:
        if scheme in ("IOBES", "BILUO"):
            tags[start:end] = span_tags(label, end - start)
        else:
            adjacent = start > 0 and tags[start - 1].endswith(f"-{label}")
            tags[start:end] = iob2_span_tags(label, end - start)
            if scheme == "IOB1" and not adjacent:
                tags[start] = f"I-{label}"
    if scheme == "IOBES":
        names = str.maketrans("LU", "ES")
        tags = [tag[:1].translate(names) + tag[1:] for tag in tags]
    return tags


class Format(NamedTuple):
    """The form of the lines: `columns` of words (w), tags (t), chunks (c), entities (e), index."""

    columns: str
    separator: str
    scheme: str
    ending: str = ".conll"

    def rows(self, record: Record) -> list[list[str]]:
        """Write the columns of a sentence."""
        n = len(record.words)
        entities = tags_of(record.entities or (), n, self.scheme)
        chunks = tags_of(record.chunks or (), n, self.scheme)
        misc = ["_" if tag == "O" else f"name={tag}|SpaceAfter=No" for tag in entities]
        columns = {
            **{"w": record.words, "t": record.tags or (), "c": chunks, "e": entities},
            **{"i": [str(i + 1) for i in range(n)], "_": ["_"] * n, "m": misc},
        }
        return [list(row) for row in zip(*(columns[name] for name in self.columns), strict=True)]

    def read(self, record: Record) -> Record:
        """Leave out the layers that the format does not have."""
        chunks = record.chunks if "c" in self.columns else None
        return record._replace(chunks=chunks, tags=record.tags if "t" in self.columns else None)


FORMATS = (
    *(Format("wtce", " ", scheme) for scheme in ("IOB1", "IOB2", "IOBES", "BILUO")),
    *(Format("wtce", "\t", scheme) for scheme in ("IOB2", "BILUO")),
    Format("we", " ", "IOB2"),
    Format("we", "\t", "IOBES", ".tsv"),
    Format("wte", "  ", "IOB1"),
    Format("iw_t_____m", "\t", "IOB2", ".conllu"),
    Format("iwte", "\t", "BILUO"),
)
Lines = list[str]  # of a file, with "" between sentences


def write(format: Format, records: Sequence[Record]) -> Lines:
    """Write the lines of a file.

    format (Format): the form of the lines.
    records (Sequence[Record]): the sentences.
    RETURNS (list[str]): the lines.
    """
    lines: Lines = []
    for record in records:
        lines += [format.separator.join(row) for row in format.rows(record)]
        lines.append("")
    return lines


def _join(lines: Lines, end: str = "\n") -> bytes:
    return "".join(f"{line}{end}" for line in lines).encode()


def mutate(rng: Rng) -> Cases:
    """Mutate one random file in all ways.

    rng (Rng): the source of randomness.
    YIELDS (Case): the mutated files.
    """
    format = rng.choice(FORMATS)
    sentences = pick(rng)
    lines = write(format, sentences)
    records = [format.read(sentence) for sentence in sentences]
    # Without a valid tag, a line that starts with "#" is a comment, unless there is another tag.
    is_open = format.columns.startswith("w") and "c" in format.columns
    number = rng.choice(
        [i for i, line in enumerate(lines) if line and (is_open or "#" not in line)]
    )
    sentence = lines[:number].count("")
    fields = lines[number].split(format.separator)
    name = f"x{format.ending}"
    line = rf"x\{format.ending}(\.gz)?:{number + 1}: "
    anywhere = rf"x\{format.ending}"
    numbered = rf"{anywhere}(\.gz)?:\d+: "

    def right(kind: str, content: bytes, file: str = name) -> Case:
        return Case(kind, file, content, records)

    def wrong(kind: str, content: bytes | Lines, place: str = line, file: str = name) -> Case:
        return Case(
            kind, file, content if isinstance(content, bytes) else _join(content), None, place
        )

    def with_fields(changed: Sequence[str]) -> Lines:
        return [*lines[:number], format.separator.join(changed), *lines[number + 1 :]]

    whole = _join(lines)
    yield right("unchanged", whole)
    yield right("CRLF", _join(lines, "\r\n"))
    yield right("byte-order mark", b"\xef\xbb\xbf" + whole)
    yield right("no newline at the end", whole.rstrip())
    yield right(
        "more blank lines",
        _join([part for each in lines for part in ([each] if each else ["", " ", ""])]),
    )
    yield right("gz", gzip.compress(whole), f"{name}.gz")
    yield right(
        "comments between sentences",
        _join([part for each in lines for part in ([each] if each else ["", "# a note"])]),
    )
    yield right(
        "byte-order mark within",
        _join([*lines[:number], "\ufeff" + lines[number], *lines[number + 1 :]]),
    )
    if format.separator != "\t":
        yield right("trailing space", _join(with_fields([*fields[:-1], fields[-1] + " "])))
    yield wrong("CR", _join(lines, "\r"), anywhere)
    if "m" not in format.columns:  # features may end with white space
        yield wrong("CR CR LF in a line", with_fields([*fields[:-1], fields[-1] + "\r\r"]))
    for end in ("\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1e"):
        if "#" in lines[number]:
            continue  # a comment has any number of words
        if lines[number + 1]:
            fused = [*lines[:number], lines[number] + end + lines[number + 1], *lines[number + 2 :]]
        elif "m" in format.columns:
            continue  # features may end with white space
        else:
            fused = [*lines[:number], lines[number] + end, *lines[number + 1 :]]
        yield wrong(f"{end!r} as a line end", fused)
    yield wrong("UTF-16", "\n".join(lines).encode("utf-16"), anywhere)
    yield wrong("UTF-16 without a byte-order mark", "\n".join(lines).encode("utf-16-le"), anywhere)
    yield wrong("Latin-1", "\n".join(lines).encode("latin-1", "replace"), numbered)
    yield wrong("empty", b"", anywhere)
    yield wrong("blank", b"\n \n\n", anywhere)
    packed = gzip.compress(whole)
    yield wrong("gz cut off", packed[: rng.randrange(1, len(packed))], anywhere, f"{name}.gz")
    yield wrong("zero byte", with_fields([fields[0] + "\0", *fields[1:]]))
    place = rng.randrange(len(fields))
    if len(fields) > 1:
        yield wrong("missing column", with_fields(fields[:place] + fields[place + 1 :]))
        yield wrong("extra column", with_fields([*fields[:place], "x", *fields[place:]]))
        yield wrong("empty column", with_fields([*fields[:place], "", *fields[place + 1 :]]))
    if "e" in format.columns or "c" in format.columns:
        column = rng.choice([i for i, kind in enumerate(format.columns) if kind in "ec"])
        for tag in ("C-PER", "X", "B_", "5", "null", "NaN", "B-PER\r\r", "I-NP\u2028"):
            changed = [*fields[:column], tag, *fields[column + 1 :]]
            yield wrong(f"tag {tag!r}", with_fields(changed))
    if "m" in format.columns and fields[-1] != "_":
        yield wrong("tag in MISC", with_fields([*fields[:-1], fields[-1].replace("=", "=C")]))
    if "i" in format.columns and fields[0] not in ("1", "2"):
        yield wrong("index", with_fields([rng.choice(("77", "x", "-1", "2.5x")), *fields[1:]]))
    if number and lines[number - 1] and not fields[0].startswith("#"):
        comment = [*lines[:number], "# a comment of some words here", *lines[number:]]
        yield wrong("comment within a sentence", comment, line)
    start = len(_join(lines[:number]))
    end = start + len(_join([lines[number]]))
    for _ in range(8):
        changed_bytes = flip(rng, whole, start, end)
        yield Case("flipped bit", name, changed_bytes, records, numbered, either(sentence, 2))
    cut = rng.randrange(len(_join(lines[: lines.index("")])), len(whole))
    kept = whole[:cut].decode("utf-8", "ignore").count("\n\n")
    yield Case("cut off", name, whole[:cut], records[: kept + 1], anywhere, either(kept, 1))


Mutate = Callable[[Rng], Cases]
