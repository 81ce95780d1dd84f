"""Mutations of column files."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
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


class _File:
    """A file, the line to mutate, and what its reader has to say of it."""

    def __init__(self, rng: Rng) -> None:
        self.format = rng.choice(FORMATS)
        sentences = pick(rng)
        self.lines = write(self.format, sentences)
        self.records = [self.format.read(sentence) for sentence in sentences]
        # Without a valid tag, a line that starts with "#" is a comment.
        tagged_twice = self.format.columns.startswith("w") and "c" in self.format.columns
        numbers = [i for i, x in enumerate(self.lines) if x and (tagged_twice or "#" not in x)]
        self.number = rng.choice(numbers)
        self.fields = self.lines[self.number].split(self.format.separator)
        self.name = f"x{self.format.ending}"
        self.anywhere = rf"x\{self.format.ending}"
        self.numbered = rf"{self.anywhere}(\.gz)?:\d+: "

    def right(self, kind: str, content: bytes | Lines, ending: str = "") -> Case:
        """Make a file with the same content."""
        data = content if isinstance(content, bytes) else _join(content)
        return Case(kind, self.name + ending, data, self.records)

    def wrong(
        self, kind: str, content: bytes | Lines, place: str | None = None, ending: str = ""
    ) -> Case:
        """Make a file with an error, by default in the line to mutate."""
        data = content if isinstance(content, bytes) else _join(content)
        line = rf"{self.anywhere}:{self.number + 1}: "
        return Case(kind, self.name + ending, data, None, line if place is None else place)

    def with_line(self, *changed: str, n: int = 1) -> Lines:
        """Replace the line to mutate, or `n` lines from there on."""
        return [*self.lines[: self.number], *changed, *self.lines[self.number + n :]]

    def with_fields(self, *changed: str) -> Lines:
        """Replace the columns of the line to mutate."""
        return self.with_line(self.format.separator.join(changed))

    def between(self, *changed: str) -> Lines:
        """Replace the blank lines."""
        return [part for line in self.lines for part in ([line] if line else changed)]


def mutate(rng: Rng) -> Cases:
    """Mutate one random file in all ways.

    rng (Rng): the source of randomness.
    YIELDS (Case): the mutated files.
    """
    file = _File(rng)
    yield from _same_content(file)
    yield from _encodings(file, rng)
    yield from _line_ends(file)
    yield from _fields(file, rng)
    yield from _tags(file, rng)
    whole = _join(file.lines)
    sentence = file.lines[: file.number].count("")
    start, end = (len(_join(file.lines[:n])) for n in (file.number, file.number + 1))
    for _ in range(8):
        content = flip(rng, whole, start, end)
        changed = either(sentence, 2)
        yield Case("flipped bit", file.name, content, file.records, file.numbered, changed)
    first = len(_join(file.lines[: file.lines.index("")]))
    content = whole[: rng.randrange(first, len(whole))]
    kept = content.decode("utf-8", "ignore").count("\n\n")
    expected = file.records[: kept + 1]
    if "m" in file.format.columns and not any(record.entities for record in expected[:-1]):
        return  # CoNLL-U without entities has no such layer
    yield Case("cut off", file.name, content, expected, file.anywhere, either(kept))


def _same_content(file: _File) -> Cases:
    whole = _join(file.lines)
    yield file.right("unchanged", whole)
    yield file.right("CRLF", _join(file.lines, "\r\n"))
    yield file.right("byte-order mark", b"\xef\xbb\xbf" + whole)
    yield file.right("no newline at the end", whole.rstrip())
    yield file.right("more blank lines", file.between("", " ", ""))
    yield file.right("gz", gzip.compress(whole), ".gz")
    yield file.right("comments between sentences", file.between("", "# a note"))
    line = file.lines[file.number]
    yield file.right("byte-order mark within", file.with_line(f"\ufeff{line}"))
    if file.format.separator != "\t":
        yield file.right("white space around", file.with_line(f" {line} \t"))


def _encodings(file: _File, rng: Rng) -> Cases:
    text = "\n".join(file.lines)
    yield file.wrong("UTF-16", text.encode("utf-16"), file.anywhere)
    yield file.wrong("UTF-16 without a byte-order mark", text.encode("utf-16-le"), file.anywhere)
    yield file.wrong("Latin-1", text.encode("latin-1", "replace"), file.numbered)
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        case = file.right(f"{encoding} that is named", text.encode(encoding))
        yield replace(case, options={"encoding": encoding})
    yield file.wrong("empty", b"", file.anywhere)
    yield file.wrong("blank", b"\n \n\n", file.anywhere)
    packed = gzip.compress(_join(file.lines))
    cut = packed[: rng.randrange(1, len(packed))]
    yield file.wrong("gz cut off", cut, file.anywhere, ".gz")


def _line_ends(file: _File) -> Cases:
    yield file.wrong("CR", _join(file.lines, "\r"), file.anywhere)
    line, following = file.lines[file.number : file.number + 2]
    for end in ("\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1e"):
        if "#" in line or (not following and "m" in file.format.columns):
            continue  # a comment has any number of words, and features may end with white space
        lines = file.with_line(line + end + following, *([] if following else [""]), n=2)
        yield file.wrong(f"{end!r} as a line end", lines)
    if "m" not in file.format.columns:
        yield file.wrong("CR CR LF", file.with_line(line + "\r\r"))
    if file.number and file.lines[file.number - 1] and not line.startswith("#"):
        comment = file.with_line("# a comment of some words here", line)
        yield file.wrong("comment within a sentence", comment)


def _fields(file: _File, rng: Rng) -> Cases:
    fields = file.fields
    place = rng.randrange(len(fields))
    before, after = fields[:place], fields[place + 1 :]
    yield file.wrong("zero byte", file.with_fields(fields[0] + "\0", *fields[1:]))
    yield file.wrong("missing column", file.with_fields(*before, *after))
    yield file.wrong("extra column", file.with_fields(*before, "x", fields[place], *after))
    if fields[0] != "#":  # such lines do not decide whether single tabs separate the columns
        yield file.wrong("empty column", file.with_fields(*before, "", *after))
    if "i" in file.format.columns and fields[0] not in ("1", "2"):
        for index in ("77", "x", "-1", "2.5x"):
            yield file.wrong(f"index {index}", file.with_fields(index, *fields[1:]))


def _tags(file: _File, rng: Rng) -> Cases:
    columns = [i for i, kind in enumerate(file.format.columns) if kind in "ec"]
    if not columns:
        if file.fields[-1] != "_":
            tag = file.fields[-1].replace("=", "=C")
            yield file.wrong("tag in MISC", file.with_fields(*file.fields[:-1], tag))
        return
    column = rng.choice(columns)
    for tag in ("C-PER", "X", "B_", "5", "null", "NaN", "B-PER\r\r", "I-NP\u2028"):
        changed = [*file.fields[:column], tag, *file.fields[column + 1 :]]
        yield file.wrong(f"tag {tag!r}", file.with_fields(*changed))
