"""Read the data of a training, and store them as `.spacy` files."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from tqdm import tqdm

from ..corpus.corpus import SPACY_ENDING, Reader, corpus_splits, open_corpus
from ..corpus.holdout import are_in_order, hold_out
from ..corpus.readers import SentenceReader
from ..corpus.sentences import CorpusError
from ..corpus.splits import canonical_split
from ..errors import ConfigError
from ..files import atomic_path
from ..report.corpus_check import CorpusCheck, SplitCounts, check_corpus
from ..report.corpus_check_text import render_findings
from ..tasks import CHUNKS, ENTITIES, TASKS, Task

if TYPE_CHECKING:
    import datasets  # type: ignore[import-untyped]

    Source: TypeAlias = str | Path | datasets.Dataset | datasets.DatasetDict
logger = logging.getLogger(__name__)

TRAIN, DEV = "train", "dev"
VALIDATION = "validation"
_WINDOW = 32  # sentences per Doc, if neighbouring sentences belong together


@dataclass(frozen=True)
class TrainingData:
    """The data of a training.

    files (dict[str, Path]): the `.spacy` files with the splits "train" and "dev".
    check (CorpusCheck): counts and findings of both.
    task (Task): the task that is trained.
    sentences_per_doc (int): sentences per Doc: 1; a number for a window of neighbouring sentences;
        0 for whole documents or texts.
    held_out (bool): whether the development data were held out from the training data.
    """

    files: dict[str, Path]
    check: CorpusCheck
    task: Task
    sentences_per_doc: int
    held_out: bool

    @property
    def counts(self) -> SplitCounts:
        """The counts of the training data."""
        return self.check.splits[TRAIN]

    @property
    def labels(self) -> list[str]:
        """The labels of the task in the training data, the most frequent first."""
        return [label for label, _ in self.counts.layers[self.task.name].labels.most_common()]


def prepare_data(
    source: "Source",
    folder: Path,
    *,
    lang: str,
    nlp: Language | None = None,
    dev: "Source | None" = None,
    dev_share: float = 0.1,
    task: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> TrainingData:
    """Read training and development data, check them, and store them as `.spacy` files.

    If the source has development data, they are used unless `dev` is set. Otherwise, documents are
    held out, see `corpus.holdout.hold_out`.

    source (str | Path | Dataset | DatasetDict): the data, in any format of `open_corpus`, or a
        dataset of the library `datasets`.
    folder (Path): the folder for the files. It is created if it does not exist.
    lang (str): the language of the tokenizer, for texts with character offsets.
    nlp (Language | None): a pipeline whose tokenizer is used instead.
    dev (str | Path | Dataset | DatasetDict | None): the development data.
    dev_share (float): the share of the Docs to hold out, if there are no development data.
    task (str | None): the name of the task, see `tasks.TASKS`; None for the first that is
        annotated.
    seed (int): the seed of the choice of documents to hold out.
    options (Mapping[str, Any] | None): settings of the reader, see `open_corpus`.
    RETURNS (TrainingData): the files, counts and findings.
    RAISES (CorpusError): the data cannot be read, or do not have the task. (ValueError): spaCy
        does not have the language; or see `hold_out`.
    """
    try:
        nlp = nlp or spacy.blank(lang)
    except ImportError as error:
        raise ConfigError(
            f"`lang` = {lang!r}: spaCy has no such language. For a language without support: xx"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    path, dev_path = (
        _path(source, folder / "data"),
        None if dev is None else _path(dev, folder / "dev-data"),
    )
    options = dict(options or {})
    splits = _splits(path, options)
    train_split = _choose_split(path, splits, TRAIN)
    dev_split = splits.get(VALIDATION) if len(splits) > 1 else None
    training = _read(path, train_split, nlp, options)
    held_out = dev_path is None and dev_split is None
    docs = {TRAIN: training.docs}
    if held_out:
        docs[TRAIN], docs[DEV] = hold_out(training.docs, dev_share, seed)
    else:
        place = path if dev_path is None else dev_path
        if dev_path is not None:
            dev_split = _choose_split(dev_path, _splits(dev_path, options), VALIDATION, TRAIN)
        docs[DEV] = _read(place, dev_split, nlp, options, like=training.sentences_per_doc).docs
    check = check_corpus(
        {name: [Example(doc.copy(), doc) for doc in found] for name, found in docs.items()}
    )
    errors = check.level("error")
    if errors:
        raise CorpusError(
            f"{path}: {render_findings(errors)}\nTo see all findings: bigru-tagger check {path}"
        )
    chosen = _choose_task(check, path, task)
    if not any(chosen.stored(doc) for doc in docs[DEV]):
        place = dev_path or path
        raise CorpusError(
            f"{place}: the development data have no {chosen.name}: use other development data"
        )
    return TrainingData(
        {name: write_docs(found, folder / f"{name}{SPACY_ENDING}") for name, found in docs.items()},
        check,
        chosen,
        training.sentences_per_doc,
        held_out,
    )


class _Read(NamedTuple):
    docs: list[Doc]
    sentences_per_doc: int


def _path(source: "Source", folder: Path) -> str:
    """Get the path of a source; a dataset of the library `datasets` is saved first."""
    if isinstance(source, str | Path):
        return str(source)
    if not hasattr(source, "save_to_disk"):
        raise CorpusError(
            f"data must be a path, or a Dataset or DatasetDict of `datasets`, not {type(source)}"
        )
    source.save_to_disk(folder)
    return str(folder)


def _splits(source: str, options: Mapping[str, Any]) -> dict[str, str]:
    """List the splits of a source by their canonical names."""
    splits = reversed(corpus_splits(source, **options))
    return {canonical_split(split): split for split in splits}


def _choose_split(source: str, splits: Mapping[str, str], *names: str) -> str | None:
    """Choose the first split that has one of the names; None if the source has no splits."""
    if len(splits) < 2:  # it is all of the source, whatever its name
        return next(iter(splits.values()), None)
    for name in names:
        if name in splits:
            return splits[name]
    known = ", ".join(reversed(list(splits.values())))
    raise CorpusError(
        f"{source}: none of the splits {known} is {' or '.join(names)}: give one file"
    )


def _read(
    source: str,
    split: str | None,
    nlp: Language,
    options: Mapping[str, Any],
    *,
    like: int | None = None,
) -> _Read:
    """Read a split: whole documents, or single sentences if neighbours do not belong together.

    like (int | None): the number of sentences per Doc of other data with which these are used.
    """
    reader = open_corpus(source, split=split, **options)
    name = split or Path(source).name
    if not isinstance(reader, SentenceReader) or reader.holds_texts:
        return _Read(_docs(reader, nlp, name), 0)
    size = reader.sentences_per_doc = 0 if reader.marks_documents else 1
    docs = _docs(reader, nlp, name)
    if size and like is None and are_in_order([[token.text for token in doc] for doc in docs]):
        like = _WINDOW
    if size and like not in (None, size):
        size = reader.sentences_per_doc = like
        docs = _docs(reader, nlp, name)
    return _Read(docs, size)


def _docs(reader: Reader, nlp: Language, name: str) -> list[Doc]:
    progress = tqdm(reader(nlp), desc=name, unit=" docs", disable=None, leave=False)
    return [example.reference for example in progress if len(example.reference)]


def _choose_task(check: CorpusCheck, source: str, name: str | None) -> Task:
    """Choose the task: the user's, or the first that has labels."""
    layers = [name for name, counts in check.splits[TRAIN].layers.items() if counts.labels]
    known = [*TASKS.values()]
    known += [replace(CHUNKS, name=key, key=key) for key in layers if key not in TASKS]
    known.sort(key=lambda task: task.per_token)
    for task in known:
        if task.name in layers and name in (None, task.name, task.factory):
            if name is None and ENTITIES.name not in layers:
                logger.warning("%s: no entities were found: the task is %s", source, task.name)
            return task
    has = ", ".join(layers) or "no annotation"
    raise CorpusError(f"{source}: no {name or 'entities, chunks or tags'}: it has {has}")


def write_docs(docs: Iterable[Doc], path: Path) -> Path:
    """Write Docs to a `.spacy` file, atomically.

    docs (Iterable[Doc]): the Docs.
    path (Path): the file.
    RETURNS (Path): the file.
    """
    with atomic_path(path) as temporary:
        DocBin(docs=docs).to_disk(temporary)
    return path
