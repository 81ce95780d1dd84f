"""Loading and evaluation of systems: pipelines and files of predictions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import spacy
from spacy.language import Language
from spacy.training import Example

from ..corpus.augment import change_example
from ..corpus.conll import FILE_ENDINGS
from ..corpus.corpus import Reader, SentenceReader
from ..corpus.sentences import CorpusError, group_sentences
from ..errors import ConfigError
from ..tasks import list_tasks, rename_labels
from .loading import declared_labels, load_pipeline, open_gold
from .predictions import Predictions, align_predictions, read_predictions
from .run import Evaluation, evaluate, score_predictions

System: TypeAlias = Language | Predictions


@dataclass(frozen=True)
class GoldData:
    """The gold data of an evaluation, as named on the command line.

    data (str): the data, see `bigru_tagger.corpus.corpus.open_corpus`.
    split (str | None): the split, see `open_corpus`.
    sentences_per_doc (int | None): sentences per Doc, 0 for whole documents; None for the
        setting of the pipeline's development corpus.
    spans_key (str): the key of `doc.spans` for chunks.
    rename (Mapping[str, str]): new names of gold and predicted labels. Spans with the new name ""
        are removed.
    options (Mapping[str, Any]): settings of the reader, which override those of the pipeline's
        config.
    case (str | None): change the texts to this case, see `change_case`; None for no change.
    """

    data: str
    split: str | None = None
    sentences_per_doc: int | None = None
    spans_key: str = "chunks"
    rename: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    case: str | None = None

    @property
    def name(self) -> str:
        """RETURNS (str): the data and the change of case, for reports."""
        return self.data if self.case is None else f"{self.data} ({self.case} case)"


def open_system(name: str, *, gpu_id: int = -1, device: str | None = None) -> System:
    """Load a pipeline, or read a file of predictions.

    name (str): a pipeline's folder, the name of an installed pipeline package, or a file of
        predictions.
    gpu_id, device: see `load_pipeline`; ignored for files.
    RETURNS (System): the pipeline or the predictions.
    RAISES (ValueError): if there is no such file or pipeline, or it cannot be read.
    """
    path = Path(name)
    if path.is_file():
        return read_predictions(path)
    if path.suffix in FILE_ENDINGS and not path.exists():
        raise CorpusError(f"{path}: no such file of predictions")
    return load_pipeline(name, gpu_id=gpu_id, device=device)


def pipeline_of(system: System) -> Language | None:
    """Return a system if it is a pipeline.

    system (System): the system.
    RETURNS (Language | None): the pipeline, None for a file of predictions.
    """
    return system if isinstance(system, Language) else None


def read_examples(system: System, gold: GoldData) -> Iterable[Example]:
    """Read gold data for a system and rename their labels.

    system (System): the system. For a pipeline, the settings of its development corpus apply; for
        a file of predictions, the reader's defaults.
    gold (GoldData): the data.
    RETURNS (Iterable[Example]): the examples.
    RAISES (ValueError): see `open_gold`.
    """
    for original in _read_unrenamed(system, gold):
        eg = original if gold.case is None else change_example(original, gold.case)
        rename_labels(eg.reference, gold.rename)
        yield eg


def _read_unrenamed(system: System, gold: GoldData) -> Iterable[Example]:
    nlp = _reading_pipeline(system)
    return _open(nlp, gold, gold.sentences_per_doc)(nlp)


def _reading_pipeline(system: System) -> Language:
    return pipeline_of(system) or spacy.blank("xx")


def _open(nlp: Language, gold: GoldData, n_sents: int | None) -> Reader:
    return open_gold(
        nlp,
        gold.data,
        split=gold.split,
        n_sents=n_sents,
        spans_key=gold.spans_key,
        options=gold.options,
    )


def evaluate_system(
    system: System, name: str, gold: GoldData, *, batch_size: int | None = None
) -> Evaluation:
    """Evaluate a system on gold data.

    system (System): the system.
    name (str): the name of the system in the report.
    gold (GoldData): the gold data.
    batch_size (int | None): Docs per batch, None for the pipeline's setting.
    RETURNS (Evaluation): the scores and the predictions.
    RAISES (ValueError): see `open_gold`, `evaluate` and `align_predictions`.
    """
    examples = read_examples(system, gold)
    if isinstance(system, Language):
        return evaluate(
            system,
            examples,
            spans_key=gold.spans_key,
            rename=gold.rename,
            batch_size=batch_size,
            model=name,
            data=gold.name,
            split=gold.split or "",
        )
    return score_predictions(
        align_predictions(system, (eg.reference for eg in examples), spans_key=gold.spans_key),
        spans_key=gold.spans_key,
        rename=gold.rename,
        model=name,
        data=gold.name,
        split=gold.split or "",
    )


def evaluate_systems(
    systems: Mapping[str, System], gold: GoldData, *, batch_size: int | None = None
) -> dict[str, Evaluation]:
    """Evaluate several systems on gold data.

    Files of predictions are scored first, so that their errors are raised before a pipeline runs.

    systems (Mapping[str, System]): the systems by name.
    gold, batch_size: see `evaluate_system`.
    RETURNS (dict[str, Evaluation]): the evaluations by name.
    RAISES (ValueError): see `evaluate_system`; or if neither the gold data nor a system has a label
        of `gold.rename`.
    """
    _check_names(systems, gold)
    ordered = sorted(systems, key=lambda name: isinstance(systems[name], Language))
    return {
        name: evaluate_system(systems[name], name, gold, batch_size=batch_size) for name in ordered
    }


def _check_names(systems: Mapping[str, System], gold: GoldData) -> None:
    known: set[str] = set()
    for system in systems.values():
        labels = declared_labels(system) if isinstance(system, Language) else system.labels
        if labels is None:
            return  # the pipeline can set any label
        known |= labels
    if gold.rename.keys() <= known:
        return
    for eg in _read_unrenamed(next(iter(systems.values())), gold):
        for task in list_tasks(gold.spans_key):
            if not task.per_token:
                known.update(span.label_ for span in task.stored(eg.reference))
    unknown = sorted(gold.rename.keys() - known)
    if unknown:
        raise ConfigError(
            f"`rename` {unknown[0]}: neither the gold data nor {' nor '.join(systems)} has this "
            f"label. The labels are: {', '.join(sorted(known)) or 'none'}"
        )


def document_lengths(gold: GoldData, system: System) -> list[int] | None:
    """Compute the lengths of the documents of gold data. A Doc can be a part of a document.

    gold (GoldData): the data.
    system (System): the system, for the settings of the reader.
    RETURNS (list[int] | None): the number of tokens of each document, None if the data do not mark
        documents or are already Docs.
    RAISES (CorpusError): if the data cannot be read.
    """
    corpus = _open(_reading_pipeline(system), gold, None)
    if not isinstance(corpus, SentenceReader) or corpus.holds_texts:
        return None
    documents = group_sentences(corpus.sentences(), 0)
    lengths = [sum(len(sentence.words) for sentence in document) for document in documents]
    # A source that does not mark documents is read as a single document.
    return lengths if len(lengths) > 1 else None
