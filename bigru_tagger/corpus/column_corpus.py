"""The corpus reader for column files."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from glob import has_magic
from pathlib import Path

from spacy.util import registry

from ..schemes import LABELS_ALONE
from .conll import (
    Layout,
    align_layouts,
    find_columns_of_file,
    find_files,
    read_file,
)
from .folders import COLUMNS, files_by_format
from .layouts import check_columns
from .readers import SentenceReader
from .sentences import Sentence
from .splits import canonical_split, check_split, choose_files, files_by_split


@registry.readers("bigru_tagger.ConllCorpus.v1")
@dataclass
class ConllCorpus(SentenceReader):
    """Read column files: one token with its tags per line, a blank line after each sentence.

    Documents end at the end of a file and at lines that start with `-DOCSTART-`, `# newdoc`,
    `#begin document` or `#end document`. Other lines that start with `#` and do not have the
    columns of a token are comments. Comments within a sentence are an error.

    path (str | Path): A file, a folder of column files, or a glob pattern.
    split (str | None): The split to read from a folder or pattern. The files are chosen by their
        names, such as "NER-de-train.tsv" or "eng.testa" (the validation split of CoNLL-2003). None
        reads all files.
    columns (list[str] | None): The content of each column: tokens, ner, pos, chunk, document, or _
        to skip it. None infers it from the values, see `bigru_tagger.corpus.layouts`.
    separator (str | None): The column separator. None uses tabs if all lines have the same number
        of tabs, and runs of spaces and tabs otherwise.
    encoding (str): The encoding of the files.
    """

    path: str | Path
    _: KW_ONLY
    split: str | None = None
    columns: list[str] | None = None
    separator: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns is not None:
            check_columns(self.columns)

    @property
    def source(self) -> str:
        """RETURNS (str): The path and the split, for messages."""
        return str(self.path) if self.split is None else f"{self.path} [{self.split}]"

    def sentences(self) -> Iterator[Sentence]:
        """Read the sentences of the files. Each call starts at the first sentence.

        YIELDS (Sentence): The sentences.
        RAISES (CorpusError): A file does not exist or cannot be read.
        """
        for file, layout in self.layouts.items():
            yield from read_file(file, layout, self.encoding)

    @property
    def marks_documents(self) -> bool:
        """RETURNS (bool): Whether the files contain more than one document."""
        return len({sentence.document for sentence in self.sentences()}) > 1

    @cached_property
    def files(self) -> list[Path]:
        """RETURNS (list[Path]): The files of the split, found on first access."""
        path = Path(self.path)
        if (
            self.split is not None
            and path.is_dir()
            and (found := files_by_format(path).get(COLUMNS))
        ):
            return choose_files(path, found, self.split)
        files = find_files(path)
        if self.split is None:
            return files
        if path.is_file():
            check_split(str(path), self.split)
            return files
        folder = pattern_folder(path)
        by_split = files_by_split(folder, files)
        if by_split.get(canonical_split(self.split)) == files:
            return files  # the pattern matches only files of this split
        return choose_files(folder, files, self.split)

    @cached_property
    def layouts(self) -> dict[Path, Layout]:
        """RETURNS (dict[Path, Layout]): The layout of each file, inferred on first access.

        RAISES (CorpusError): The column of the entities is not the same in all files.
        """
        layouts = {
            file: find_columns_of_file(
                file,
                columns=self.columns,
                separator=self.separator,
                encoding=self.encoding,
                labels_alone=self.scheme == LABELS_ALONE,
                needs_annotation=self.needs_annotation,
            )
            for file in self.files
        }
        return align_layouts(layouts)

    def is_explicit(self, layer: str) -> bool:
        """Check whether the user named the column of a layer.

        layer (str): "ner", "pos" or "chunk".
        RETURNS (bool): False if the column was found by its content.
        """
        return layer in (self.columns or ())


def pattern_folder(pattern: Path) -> Path:
    """Get the folder in which a glob pattern looks for files.

    pattern (Path): The pattern, such as "data/*/x.conll".
    RETURNS (Path): The folder above its first wildcard, such as "data".
    """
    return next(parent for parent in pattern.parents if not has_magic(str(parent)))
