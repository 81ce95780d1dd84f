"""Convert any corpus to `.spacy` files, and count its contents."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus
from tqdm import tqdm

from ..files import atomic_path
from .conll import SPLIT_ENDINGS
from .corpus import SPACY_ENDING, choose_splits, open_corpus
from .sentences import CorpusError, sentence_starts

logger = logging.getLogger(__name__)

NOT_IN_TRAIN = "*"


@dataclass
class SplitCounts:
    """Counts of one split.

    documents (int): Number of Docs.
    sentences (int): Number of sentences; a Doc without sentence starts counts as one.
    tokens (int): Number of tokens.
    entities (Counter[str]): Number of entities per label.
    chunks (Counter[str]): Number of chunks per label.
    """

    documents: int = 0
    sentences: int = 0
    tokens: int = 0
    entities: Counter[str] = field(default_factory=Counter)
    chunks: Counter[str] = field(default_factory=Counter)

    def add(self, doc: Doc) -> None:
        """Count one Doc.

        doc (Doc): A gold Doc.
        """
        self.documents += 1
        self.sentences += len(sentence_starts(doc))
        self.tokens += len(doc)
        self.entities.update(ent.label_ for ent in doc.ents)
        for group in doc.spans.values():
            self.chunks.update(span.label_ for span in group)


def convert(
    source: str,
    output_dir: str | Path,
    *,
    splits: Sequence[str] | None = None,
    progress: bool = True,
    lang: str = "xx",
    **options: Any,
) -> dict[str, SplitCounts]:
    """Convert each split of a corpus to a `.spacy` file named after the split.

    A source without splits is converted to one file named after the source. Each file is written
    atomically. If files of these names exist, they are replaced, and a warning lists them.

    source (str): The source, see `open_corpus`. It must not hold `.spacy` files.
    output_dir (str | Path): The output folder. It is created if it does not exist.
    splits (Sequence[str] | None): The splits to convert; None for all.
    progress (bool): Whether to show progress on a terminal.
    lang (str): The language of the tokenizer, for texts with character offsets.
    options (Any): Settings of the reader, see `open_corpus`.
    RETURNS (dict[str, SplitCounts]): The counts of each file, by its name without suffix.
    RAISES (CorpusError): The source cannot be read, does not have one of `splits`, or is already in
        spaCy's format; or the reader does not have one of the settings.
    """
    chosen = choose_splits(source, splits or (), **options)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    counts, replaced = {}, []
    for split in chosen or [""]:
        name = split or _output_name(source)
        corpus = open_corpus(source, split=split or None, **options)
        if isinstance(corpus, Corpus):
            raise CorpusError(f"{source}: already in spaCy's format: use it directly")
        output = output_dir / f"{name}{SPACY_ENDING}"
        replaced += [output.name] * output.exists()
        docs = (example.reference for example in corpus(spacy.blank(lang)))
        counts[name] = _write(
            tqdm(docs, desc=name, unit=" docs", disable=None if progress else True),
            output,
        )
    if replaced:
        logger.warning(
            "%s: replaced %s: to keep the data of several sources, rename them, or use an output "
            "folder for each",
            *(output_dir, ", ".join(replaced)),
        )
    return counts


def _output_name(source: str) -> str:
    path = Path(source).resolve()
    if has_magic(path.name):
        path = path.parent
    return path.name if path.is_dir() or path.suffix in SPLIT_ENDINGS else path.stem


def _write(docs: Iterable[Doc], path: Path) -> SplitCounts:
    counts = SplitCounts()
    # Weights, the names of documents, and marks of partial annotation are user data.
    doc_bin = DocBin(store_user_data=True)
    for doc in docs:
        doc_bin.add(doc)
        counts.add(doc)
    with atomic_path(path) as temporary:
        doc_bin.to_disk(temporary)
    return counts


def counts_table(counts: Mapping[str, SplitCounts]) -> str:
    """Format the counts of splits as a table.

    Labels that do not occur in the split "train" are marked with a star.

    counts (Mapping[str, SplitCounts]): The counts by split, see `convert`.
    RETURNS (str): The lines of the table, without a newline at the end.
    """
    splits = list(counts.values())
    rows = [
        ("Docs", [split.documents for split in splits]),
        ("sentences", [split.sentences for split in splits]),
        ("tokens", [split.tokens for split in splits]),
    ]
    train = counts.get("train")
    unseen = False
    for layer in ("entities", "chunks"):
        by_label: list[Counter[str]] = [getattr(split, layer) for split in splits]
        labels = sorted(set().union(*by_label))
        if labels:
            rows.append((layer, [labelled.total() for labelled in by_label]))
        for label in labels:
            new = train is not None and label not in getattr(train, layer)
            unseen |= new
            mark = NOT_IN_TRAIN if new else " "
            rows.append((f"{mark} {label}", [labelled[label] for labelled in by_label]))
    cells = [["", *counts], *([title, *(f"{n:,}" for n in numbers)] for title, numbers in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    ]
    if unseen:
        lines.append(f"{NOT_IN_TRAIN} not in train")
    return "\n".join(lines)
