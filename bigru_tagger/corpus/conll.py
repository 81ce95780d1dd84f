"""Read column files: one token with its tags per line, a blank line after each sentence."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..schemes import OUTSIDE, column_labels, is_tag, tag_label
from .conllu import EXAMPLE, N_CONLLU_COLUMNS, columns_of_header, find_key, has_misc_tags, misc_tag
from .layouts import check_counts, find_layout, is_non_token, misfits_of_index
from .other_forms import check_is_column_file
from .sentences import CorpusError, Sentence
from .textfiles import BYTE_ORDER_MARK, content_suffix, read_lines

logger = logging.getLogger(__name__)

SPLIT_ENDINGS = frozenset((".dev", ".test", ".testa", ".testb", ".train"))
"""Suffixes that name the split of a file, as in CoNLL-2003's eng.train."""

FILE_ENDINGS = SPLIT_ENDINGS | {
    *(".annotated", ".bio", ".bioes", ".bmes", ".col", ".conll", ".conllu", ".conllup", ".iob"),
    *(".iob2", ".ner", ".tsv", ".txt"),
}
"""Suffixes of column files: in a folder, only files with these suffixes are read."""

DOCUMENT_START = "-DOCSTART-"
_DOCUMENT_LINE = re.compile(rf"{DOCUMENT_START}|[-<]+/?DOC(?:START|END)[->]+(?!\w)", re.IGNORECASE)
# The comments of CoNLL-U and CoNLL-2012 that start or end a document.
_DOCUMENT_COMMENT = re.compile(r"#\s*(newdoc|begin document|end document)\b")
_LONG_SENTENCE = 1000  # tokens
_END_SENTENCES = "add an empty line after each sentence"
# Not str.split(): tokens may contain no-break and other spaces.
_SPACES = " \t"
_SPACE_RUN = re.compile(r"[ \t]+")
_Row: TypeAlias = tuple[int, list[str]]  # the number of a line, and its columns


class Layout(NamedTuple):
    """The format of the lines of a column file.

    columns (tuple[str, ...]): The content of each column, from `layouts.COLUMN_NAMES`.
    separator (str | None): The column separator; None for spaces and tabs.
    indexed (bool): Whether the first column is skipped because it numbers the tokens.
    misc (bool): Whether entity tags are among other features, as in CoNLL-U's last column.
    key (str): The key of these tags, see `conllu.find_key`.
    tags (frozenset[str]): The tags in all lines that do not start with "#".
    labels (frozenset[str]): The labels of these tags.
    labels_alone (bool): Whether tags may be labels without prefixes. Any word is then a valid tag.
    """

    columns: tuple[str, ...]
    separator: str | None = None
    indexed: bool = False
    misc: bool = False
    key: str = ""
    tags: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    labels_alone: bool = False

    def has_tags(self, fields: Sequence[str]) -> bool:
        """Check whether a line that starts with "#" is the line of a token.

        The last word of a comment may look like a tag ("# id s-101"). The tags of a token are O, or
        have a label of the lines that do not start with "#".

        fields (Sequence[str]): The columns of the line.
        RETURNS (bool): True if the line has the file's number of columns, with such tags in the tag
            columns. False if the first column numbers the tokens, or if the line is a comment such
            as "# key = value".
        """
        return (
            len(fields) == len(self.columns)
            and not self.indexed
            and not self._is_key_and_value(fields)
            and all(tag == OUTSIDE or self._is_known(tag) for tag in self.tags_of(fields))
        )

    def is_almost_token(self, text: str) -> bool:
        """Check whether a line that starts with "#" may be the damaged line of a token.

        A damaged line of a file with numbered tokens is found by the other numbers.

        text (str): The line, which is not the valid line of a token.
        RETURNS (bool): True if one of its tags is valid; or, if it has a column too many or too
            few, the last. A tag with a new label is valid unless the line may be a comment of
            several words.
        """
        fields = split_columns(text, self.separator)
        is_comment = self.indexed and self.separator is None
        if self.misc or is_comment or self._is_key_and_value(fields):
            return False
        if len(fields) == len(self.columns):
            may_be_new = not self.labels_alone and (self.separator is not None or fields[0] != "#")
            return any(
                tag in self.tags or (may_be_new and is_tag(tag, bare=False))
                for tag in self.tags_of(fields)
            )
        return abs(len(fields) - len(self.columns)) == 1 and fields[-1] in self.tags

    def _is_known(self, tag: str) -> bool:
        return tag in self.tags or (
            not self.labels_alone and is_tag(tag, bare=False) and tag_label(tag) in self.labels
        )

    def _is_key_and_value(self, fields: Sequence[str]) -> bool:
        return self.separator is None and "=" in fields[1:3]

    def tags_of(self, fields: Sequence[str]) -> Iterator[str]:
        """Extract the tags of a line.

        fields (Sequence[str]): The columns of the line.
        YIELDS (str): The tags in its entity and chunk columns, in the order of the columns.
        """
        for name, field in zip(self.columns, fields, strict=True):
            if name in ("ner", "chunk"):
                yield misc_tag(field, self.key) if self.misc and name == "ner" else field


def find_files(path: str | Path) -> list[Path]:
    """List the column files at a path.

    path (str | Path): A file, a folder (files with one of `FILE_ENDINGS`), or a glob pattern.
    RETURNS (list[Path]): The files, sorted by name.
    RAISES (CorpusError): No file was found.
    """
    folder = Path(path)
    if folder.is_file():
        return [folder]
    if folder.is_dir():
        found = [file for file in folder.iterdir() if content_suffix(file) in FILE_ENDINGS]
        problem = f"no file ends in {', '.join(sorted(FILE_ENDINGS))}: use a pattern (dir/*)"
    else:
        found = [Path(name) for name in glob(str(path))] if has_magic(str(path)) else []
        problem = "no such file or folder, and no file that matches it as a pattern"
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not files:
        raise CorpusError(f"{path}: {problem}")
    return files


def find_columns_of_file(
    file: Path,
    *,
    columns: Sequence[str] | None,
    separator: str | None,
    encoding: str,
    labels_alone: bool = False,
    needs_annotation: bool = True,
    n_lines: int | None = None,
) -> Layout:
    """Infer the separator and the content of the columns of a file.

    file (Path): The file.
    columns (Sequence[str] | None): The content of each column; None to infer it with
        `find_layout`.
    separator (str | None): The column separator. None uses tabs if all lines have the same number
        of tabs, and runs of spaces and tabs otherwise.
    encoding (str): The encoding of the file.
    labels_alone (bool): Whether tags may be labels without prefixes.
    needs_annotation (bool): Whether a file that holds only tokens is an error.
    n_lines (int | None): The number of lines to look at; None for all.
    RETURNS (Layout): The layout.
    RAISES (CorpusError): The content of a column is ambiguous, or the file cannot be read.
    """
    lines, hashed = _lines_of_sentences(file, encoding, n_lines)
    named = columns is not None
    columns = columns or columns_of_header(text for _, text in hashed)
    if not any(lines):
        # Lines with "#" are used only if there are no others.
        lines = [[line for line in hashed if is_tag(split_columns(line[1], separator)[-1])]]
    if separator is None and _separated_by_tabs([text for rows in lines for _, text in rows]):
        separator = "\t"
    sentences = [[(n, split_columns(text, separator)) for n, text in rows] for rows in lines]
    if columns is None:
        check_is_column_file(
            file,
            (text for _, text in hashed),
            [row for rows in sentences for row in rows],
            splits_spaces=separator is None,
        )
    # `read_file` reports lines with a different number of columns.
    widths = Counter(len(fields) for rows in sentences for _, fields in rows)
    width = len(columns) if columns else max(widths, key=widths.__getitem__, default=0)
    sentences = [[row for row in rows if len(row[1]) == width] for rows in sentences]
    is_certain = len(widths) == 1 and not named
    indexed, sentences = _number_tokens(file, sentences, width, check=is_certain)
    kept = [[fields for _, fields in rows] for rows in sentences]
    if n_lines is None and len(kept) == 1 and len(kept[0]) > _LONG_SENTENCE:
        logger.warning("%s: one sentence of %d tokens: %s", file, len(kept[0]), _END_SENTENCES)
    if not kept:
        return Layout(tuple(columns or ("tokens", "ner")), separator)
    if columns is None:
        columns = find_layout(
            file,
            kept,
            [number for rows in sentences for number, _ in rows],
            indexed=indexed,
            labels_alone=labels_alone,
            needs_annotation=needs_annotation,
        )
    rows = [row for rows in kept for row in rows]
    entities = [row[i] for i, name in enumerate(columns) if name == "ner" for row in rows]
    # A column that was named may hold nothing but tags, in any notation.
    only_tags = (named or columns[-1] != "ner") and column_labels(set(entities)) is not None
    misc = has_misc_tags(entities) or (
        bool(entities) and indexed and width == N_CONLLU_COLUMNS and not only_tags
    )
    layout = Layout(
        tuple(columns),
        separator,
        indexed and columns[0] == "_",
        misc,
        find_key(entities) if misc else "",
        labels_alone=labels_alone,
    )
    tags = frozenset(tag for row in rows for tag in layout.tags_of(row))
    return layout._replace(tags=tags, labels=frozenset(map(tag_label, tags)) - {""})


def _lines_of_sentences(
    file: Path, encoding: str, n_lines: int | None
) -> tuple[list[list[tuple[int, str]]], list[tuple[int, str]]]:
    """Read the numbered lines of each sentence, and those that start with "#" and may be comments.

    RETURNS (tuple[list[list[tuple[int, str]]], list[tuple[int, str]]]): The lines of each sentence,
        and the lines with "#".
    RAISES (CorpusError): The file cannot be read.
    """
    lines: list[list[tuple[int, str]]] = [[]]
    hashed: list[tuple[int, str]] = []
    for number, text in islice(read_lines(file, encoding), n_lines):
        if not text.strip(_SPACES) or _DOCUMENT_LINE.match(text):
            if lines[-1]:
                lines.append([])
        elif text.startswith("#"):
            hashed.append((number, text))
        else:
            lines[-1].append((number, text))
    return lines, hashed


def _number_tokens(
    file: Path, sentences: list[list[_Row]], width: int, *, check: bool
) -> tuple[bool, list[list[_Row]]]:
    """Find out whether the first column numbers the tokens, and leave out lines that are no tokens.

    width (int): The number of columns.
    check (bool): Whether a wrong number is an error.
    RETURNS (tuple[bool, list[list[_Row]]]): Whether it does, and the sentences.
    RAISES (CorpusError): A number is wrong.
    """
    index = [(fields[0], number) for rows in sentences for number, fields in rows]
    misfits = misfits_of_index([value for value, _ in index], width) if width > 2 else None
    if misfits and check:
        value, number = index[misfits[0]]
        raise CorpusError(
            f"{file}:{number}: {value!r} in the first column, which numbers the tokens of most "
            "sentences: fix the number, or name the columns"
        )
    indexed = misfits is not None
    if indexed:
        sentences = [[row for row in rows if not is_non_token(row[1][0])] for rows in sentences]
    sentences = [rows for rows in sentences if rows]
    if indexed and check:
        check_counts(file, sentences)
    return indexed, sentences


def align_layouts(layouts: Mapping[Path, Layout]) -> dict[Path, Layout]:
    """Check that the entities are in the same column of all files.

    A CoNLL-U file without an entity has no tags in its last column. If other files have some there,
    its tokens are no entities.

    layouts (Mapping[Path, Layout]): The inferred layouts of the files of one split.
    RETURNS (dict[Path, Layout]): The layouts to read the files with.
    RAISES (CorpusError): Two files with the same number of columns differ in that of the entities.
    """
    aligned = dict(layouts)
    first: dict[int, tuple[Path, Layout]] = {}
    for file, layout in layouts.items():
        if "ner" in layout.columns:
            other, expected = first.setdefault(len(layout.columns), (file, layout))
            places = [each.columns.index("ner") + 1 for each in (expected, layout)]
            if places[0] != places[1]:
                raise CorpusError(
                    f"{other} and {file}: the entities seem to be in the columns {places[0]} and "
                    f"{places[1]}: name the columns, as in {EXAMPLE}"
                )
    for file, layout in layouts.items():
        _, like = first.get(len(layout.columns), (file, layout))
        if like.misc and layout.indexed and "ner" not in layout.columns:
            columns = (*layout.columns[:-1], "ner")
            aligned[file] = layout._replace(columns=columns, misc=True, key=like.key)
    return aligned


def _separated_by_tabs(lines: Sequence[str]) -> bool:
    """Check whether single tabs separate all columns, so that a token may contain spaces."""
    return (
        len({line.count("\t") for line in lines}) == 1
        and "\t" in lines[0]
        and all(field == field.strip(_SPACES) != "" for line in lines for field in line.split("\t"))
    )


def read_file(file: Path, layout: Layout, encoding: str) -> Iterator[Sentence]:
    """Read the sentences of a column file.

    A document starts at `-DOCSTART-`, `# newdoc` and `#begin document`, and ends at `-DOCEND-` and
    `#end document`. Any other line that starts with "#" and is not a valid token line is a comment:
    it is allowed before a sentence, and an error within one.

    file (Path): The file.
    layout (Layout): The format of its lines.
    encoding (str): Its encoding.
    YIELDS (Sentence): The sentences in order.
    RAISES (CorpusError): A line has the wrong number of columns, or the file cannot be read.
    """
    names = layout.columns
    documents = 0
    rows: list[list[str]] = []
    numbers: list[int] = []
    damaged: CorpusError | None = None
    for number, text in read_lines(file, encoding):
        fields = split_columns(text, layout.separator)
        is_comment = text.startswith("#") and not layout.has_tags(fields)
        boundary = bool((_DOCUMENT_COMMENT if is_comment else _DOCUMENT_LINE).match(text))
        if not boundary and text.strip(_SPACES):
            if is_comment:
                damaged = damaged or _check_comment(file, number, text, layout, inside=bool(rows))
            elif len(fields) != len(names):
                raise CorpusError(_wrong_number(file, number, len(fields), names))
            elif damaged:
                raise damaged
            elif not (layout.indexed and is_non_token(fields[0])):
                rows.append(fields)
                numbers.append(number)
            continue
        if rows:
            yield _sentence(file, layout, rows, numbers, documents)
            rows, numbers = [], []
        documents += boundary
        damaged = None
    if rows:
        yield _sentence(file, layout, rows, numbers, documents)


def _wrong_number(file: Path, number: int, n_fields: int, names: Sequence[str]) -> str:
    columns = "1 column" if n_fields == 1 else f"{n_fields} columns"
    return (
        f"{file}:{number}: {columns} instead of {len(names)} ({', '.join(names)}): fix the line, "
        "or set columns and separator"
    )


def _check_comment(
    file: Path, number: int, text: str, layout: Layout, *, inside: bool
) -> CorpusError | None:
    """Check a line that starts with "#" and is no token.

    inside (bool): Whether it is within a sentence.
    RETURNS (CorpusError | None): The error if a token follows directly. A single word is then the
        first token without its tags, and a comment otherwise.
    RAISES (CorpusError): The line may be a damaged token in any case.
    """
    names = layout.columns
    if inside:
        raise CorpusError(
            f"{file}:{number}: {text.strip()!r} starts with '#' within a sentence, but does not "
            f"have the columns of a token ({', '.join(names)}): fix the line, or move the comment "
            "before the sentence"
        )
    damaged = CorpusError(
        f"{file}:{number}: {text.strip()!r} is a token without valid columns "
        f"({', '.join(names)}) or a comment: fix the token, or write the comment as '# text', "
        "with another number of words, or with an empty line below it"
    )
    if len(names) > 1 and layout.is_almost_token(text):
        raise damaged
    return damaged if len(names) > 1 and len(text.split()) == 1 and not layout.indexed else None


def _sentence(
    file: Path, layout: Layout, rows: list[list[str]], lines: list[int], document: int
) -> Sentence:
    by_name = dict(zip(layout.columns, zip(*rows, strict=True), strict=True))
    ner = by_name.get("ner")
    return Sentence(
        source=str(file),
        words=by_name["tokens"],
        ner=[misc_tag(value, layout.key) for value in ner] if ner and layout.misc else ner,
        pos=by_name.get("pos"),
        chunks=by_name.get("chunk"),
        document=(file, document, *by_name.get("document", ())[:1]),
        lines=lines,
    )


def split_columns(text: str, separator: str | None = None) -> list[str]:
    """Split a line into columns and remove byte-order marks, which joined files contain.

    text (str): The line.
    separator (str | None): The column separator; None for runs of spaces and tabs.
    RETURNS (list[str]): The columns. An empty line gives [""].
    """
    text = text.replace(BYTE_ORDER_MARK, "")
    return text.split(separator) if separator else _SPACE_RUN.split(text.strip(_SPACES))
