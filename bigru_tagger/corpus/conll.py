"""Read column files: one token a line, its tags beside it, a blank line behind each sentence."""

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from ..schemes import OUTSIDE, is_tag
from .layouts import find_layout, has_misc_tags, is_index, is_no_token, misc_tag
from .sentences import CorpusError, Sentence
from .textfiles import BYTE_ORDER_MARK, content_suffix, read_lines

SPLIT_ENDINGS = frozenset((".dev", ".test", ".testa", ".testb", ".train"))
"""Endings that say which split a file is, as in CoNLL-2003's eng.train."""

FILE_ENDINGS = SPLIT_ENDINGS | {
    *(".bio", ".bioes", ".bmes", ".conll", ".conllu", ".iob", ".iob2", ".tsv", ".txt")
}
"""By these endings a column file is known in a folder."""

DOCUMENT_START = "-DOCSTART-"
# The comments of CoNLL-U and CoNLL-2012 that start or end a document.
_DOCUMENT_COMMENT = re.compile(r"#\s*(newdoc|begin document|end document)\b")
# Not str.split(): tokens may hold no-break and other spaces.
_BLANKS = " \t"
_BLANK_RUN = re.compile(r"[ \t]+")


class Layout(NamedTuple):
    """How the lines of a column file are to be read.

    columns (tuple[str, ...]): What each column holds, of `layouts.COLUMN_NAMES`.
    separator (str | None): What stands between columns; None for blanks and tabs.
    indexed (bool): Whether the first column, which is skipped, numbers the tokens.
    misc (bool): Whether entities stand among other features, as in CoNLL-U's last column.
    tags (frozenset[str]): The tags in lines that cannot be comments.
    labels_alone (bool): Whether tags may be labels without prefixes, so that any word may be one.
    """

    columns: tuple[str, ...]
    separator: str | None = None
    indexed: bool = False
    misc: bool = False
    tags: frozenset[str] = frozenset()
    labels_alone: bool = False

    def has_tags(self, fields: Sequence[str]) -> bool:
        """Whether a line has as many columns, and tags where its file has them.

        fields (Sequence[str]): The line's columns.
        RETURNS (bool): True for the line of a token.
        """
        return len(fields) == len(self.columns) and all(
            tag == OUTSIDE
            or tag in self.tags
            or (not self.labels_alone and is_tag(tag, bare=False))
            for tag in self.tags_of(fields)
        )

    def tags_of(self, fields: Sequence[str]) -> Iterator[str]:
        """Take the tags out of a line.

        fields (Sequence[str]): The line's columns.
        YIELDS (str): The tags of its entity and its chunk, as far as there are such columns.
        """
        for name, field in zip(self.columns, fields, strict=True):
            if name in ("ner", "chunk"):
                yield misc_tag(field) if self.misc and name == "ner" else field


def find_files(path: str | Path) -> list[Path]:
    """List the column files that a path names.

    path (str | Path): A file, a folder (files with one of `FILE_ENDINGS`), or a glob pattern.
    RETURNS (list[Path]): The files, sorted by name.
    RAISES (CorpusError): There are none.
    """
    folder = Path(path)
    if folder.is_file():
        return [folder]
    if folder.is_dir():
        found = [file for file in folder.iterdir() if content_suffix(file) in FILE_ENDINGS]
        wanted = f"no file that ends in {', '.join(sorted(FILE_ENDINGS))}: give a pattern (dir/*)"
    else:
        found = [Path(name) for name in glob(str(path))] if has_magic(str(path)) else []
        wanted = "no such file, folder, or file of that pattern"
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not files:
        raise CorpusError(f"{path}: {wanted}")
    return files


def find_columns_of_file(
    file: Path,
    *,
    columns: Sequence[str] | None,
    separator: str | None,
    encoding: str,
    labels_alone: bool = False,
    needs_annotation: bool = True,
) -> Layout:
    """Find out how the columns of a file are separated, and what they hold.

    file (Path): The file.
    columns (Sequence[str] | None): What each column holds; None to find it out, see `find_layout`.
    separator (str | None): What stands between columns; None for tabs where each line has as many
        of them, else for blanks and tabs.
    encoding (str): The file's encoding.
    labels_alone (bool): Whether tags may be labels without prefixes.
    needs_annotation (bool): Whether one column, the tokens, is too little.
    RETURNS (Layout): The layout.
    RAISES (CorpusError): It is not certain what a column holds; a file that cannot be read.
    """
    lines: list[list[str]] = [[]]
    numbers: list[int] = []
    hashed: list[str] = []
    for number, text in read_lines(file, encoding):
        if not text.strip(_BLANKS) or text.startswith(DOCUMENT_START):
            if lines[-1]:
                lines.append([])
        elif text.startswith("#"):
            # It may be a comment: the others decide, if there are any.
            hashed.append(text)
        else:
            lines[-1].append(text)
            numbers.append(number)
    flat = [text for sentence in lines for text in sentence]
    if not flat:
        flat = [text for text in hashed if is_tag(split_columns(text, separator)[-1])]
        lines = [flat]
    if separator is None and _separated_by_tabs(flat):
        separator = "\t"
    sentences = [[split_columns(text, separator) for text in sentence] for sentence in lines]
    width = len(columns) if columns else len(split_columns(flat[0], separator)) if flat else 0
    # Lines of another width are reported when they are read.
    kept = [[row for row in rows if len(row) == width] for rows in sentences]
    kept = [rows for rows in kept if rows]
    if not kept:
        return Layout(tuple(columns or ("tokens", "ner")), separator)
    indexed = width > 1 and is_index([row[0] for rows in kept for row in rows], width)
    if indexed:
        kept = [[row for row in rows if not is_no_token(row[0])] for rows in kept]
        kept = [rows for rows in kept if rows]
    if columns is None:
        columns = find_layout(
            file,
            kept,
            numbers[0] if numbers else 1,
            labels_alone=labels_alone,
            needs_annotation=needs_annotation,
        )
    misc = "ner" in columns and has_misc_tags(
        row[list(columns).index("ner")] for rows in kept for row in rows
    )
    layout = Layout(
        tuple(columns), separator, indexed and columns[0] == "_", misc, labels_alone=labels_alone
    )
    tags = frozenset(tag for rows in kept for row in rows for tag in layout.tags_of(row))
    return layout._replace(tags=tags)


def _separated_by_tabs(lines: Sequence[str]) -> bool:
    """Whether single tabs stand between all columns, so that a token may contain blanks."""
    return (
        len({line.count("\t") for line in lines}) == 1
        and "\t" in lines[0]
        and all(field == field.strip(_BLANKS) != "" for line in lines for field in line.split("\t"))
    )


def read_file(file: Path, layout: Layout, encoding: str) -> Iterator[Sentence]:
    """Read the sentences of a column file. Documents end at `-DOCSTART-`, `# newdoc` and the like.

    A line that starts with "#" and has not the columns of a token is a comment in front of a
    sentence, and an error within one.

    file (Path): The file.
    layout (Layout): How to read its lines.
    encoding (str): Its encoding.
    YIELDS (Sentence): One at a time.
    RAISES (CorpusError): A line with too few or too many columns; a file that cannot be read.
    """
    names = layout.columns
    documents = 0
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, text in read_lines(file, encoding):
        boundary = text.startswith(DOCUMENT_START) or bool(_DOCUMENT_COMMENT.match(text))
        if boundary and text.startswith("#"):
            boundary = not layout.has_tags(split_columns(text, layout.separator))
        if not boundary and text.strip(_BLANKS):
            fields = split_columns(text, layout.separator)
            if text.startswith("#") and not layout.has_tags(fields):
                _check_comment(file, number, text, names, inside=bool(rows))
            elif len(fields) != len(names):
                raise CorpusError(_wrong_number(file, number, len(fields), names))
            elif not (layout.indexed and is_no_token(fields[0])):
                rows.append(fields)
                numbers.append(number)
            continue
        if rows:
            yield _sentence(file, layout, rows, numbers, documents)
            rows, numbers = [], []
        documents += boundary
    if rows:
        yield _sentence(file, layout, rows, numbers, documents)


def _wrong_number(file: Path, number: int, n_fields: int, names: Sequence[str]) -> str:
    return (
        f"{file}:{number}: {n_fields} columns instead of {len(names)} ({', '.join(names)}): fix "
        "the line, or give columns and separator"
    )


def _check_comment(
    file: Path, number: int, text: str, names: Sequence[str], *, inside: bool
) -> None:
    if inside:
        raise CorpusError(
            f"{file}:{number}: {text.strip()!r} starts with '#' within a sentence, but has not the "
            f"columns of a token ({', '.join(names)}): fix the line, or move the comment in front "
            "of the sentence"
        )
    if len(names) > 1 and len(text.split()) == 1:
        raise CorpusError(
            f"{file}:{number}: {text.strip()!r} is a token without its columns "
            f"({', '.join(names)}) or a comment: fix the token, or write the comment as '# text'"
        )


def _sentence(
    file: Path, layout: Layout, rows: list[list[str]], lines: list[int], document: int
) -> Sentence:
    by_name = dict(zip(layout.columns, zip(*rows, strict=True), strict=True))
    ner = by_name.get("ner")
    return Sentence(
        source=str(file),
        words=by_name["tokens"],
        ner=[misc_tag(value) for value in ner] if ner and layout.misc else ner,
        pos=by_name.get("pos"),
        chunks=by_name.get("chunk"),
        document=(file, document, *by_name.get("document", ())[:1]),
        lines=lines,
    )


def split_columns(text: str, separator: str | None = None) -> list[str]:
    """Split a line. Byte-order marks in it, left where texts were joined, are dropped.

    text (str): The line.
    separator (str | None): What stands between columns; None for blanks and tabs.
    RETURNS (list[str]): Its columns; without a separator, of an empty line [""].
    """
    text = text.replace(BYTE_ORDER_MARK, "")
    return text.split(separator) if separator else _BLANK_RUN.split(text.strip(_BLANKS))
