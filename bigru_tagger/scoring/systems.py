"""Systems to score: pipelines, and files of predictions, by their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import spacy
from spacy.language import Language
from spacy.training import Example

from ..corpus.conll import FILE_ENDINGS
from ..corpus.corpus import SentenceReader
from ..corpus.sentences import CorpusError, group_sentences
from ..tasks import list_tasks
from .loading import load_pipeline, open_gold, read_gold, told_labels
from .predictions import Predictions, align_predictions, read_predictions
from .renaming import rename_labels
from .run import Evaluation, evaluate, score_predictions

System: TypeAlias = Language | Predictions


@dataclass(frozen=True)
class GoldData:
    """Gold data, by the words in which a command is asked for them.

    data (str): what `bigru_tagger.corpus.corpus.open_corpus` takes.
    split (str | None): the split; `None` as for `open_corpus`.
    n_sents (int | None): sentences per Doc, 0 for whole documents; `None` for as in training.
    spans_key (str): where chunks are, in `doc.spans`.
    rename (Mapping[str, str]): other names of labels, of the gold data and of systems, "" for what
        is to count as no entity.
    options (Mapping[str, Any]): settings of the reader, in place of those of a pipeline's config.
    """

    data: str
    split: str | None = None
    n_sents: int | None = None
    spans_key: str = "chunks"
    rename: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def open_system(name: str, *, gpu_id: int = -1, device: str | None = None) -> System:
    """Load a pipeline, or read a file of predictions.

    name (str): a folder or the name of an installed package, for a pipeline; or a file.
    gpu_id, device: of a pipeline, see `load_pipeline`.
    RETURNS (System): the pipeline, or what the file says.
    RAISES (ValueError): it is neither, or cannot be read.
    """
    path = Path(name)
    if path.is_file():
        return read_predictions(path)
    if path.suffix in FILE_ENDINGS and not path.exists():
        raise CorpusError(f"{path}: no such file of predictions")
    return load_pipeline(name, gpu_id=gpu_id, device=device)


def pipeline_of(system: System) -> Language | None:
    """Tell pipelines from files.

    system (System): the system.
    RETURNS (Language | None): the system, if it is a pipeline.
    """
    return system if isinstance(system, Language) else None


def read_examples(system: System, gold: GoldData) -> Iterable[Example]:
    """Read gold data for a system.

    system (System): a pipeline gets Docs such as it was trained on, a file single sentences.
    gold (GoldData): the data.
    RETURNS (Iterable[Example]): the examples.
    RAISES (ValueError): see `read_gold`.
    """
    for eg in _read_as_they_are(system, gold):
        rename_labels(eg.reference, gold.rename, spans_key=gold.spans_key)
        yield eg


def _read_as_they_are(system: System, gold: GoldData) -> Iterable[Example]:
    return read_gold(
        pipeline_of(system) or spacy.blank("xx"),
        gold.data,
        split=gold.split,
        n_sents=gold.n_sents,
        spans_key=gold.spans_key,
        options=gold.options,
    )


def evaluate_system(
    system: System, name: str, gold: GoldData, *, batch_size: int | None = None
) -> Evaluation:
    """Score a system: each by itself, whatever it will be compared to.

    system (System): the system.
    name (str): what to call it in the report.
    gold (GoldData): what to score it on.
    batch_size (int | None): documents per batch of a pipeline; `None` takes its own.
    RETURNS (Evaluation): the numbers and the predictions.
    RAISES (ValueError): see `read_gold`, `evaluate` and `align_predictions`.
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
            data=gold.data,
            split=gold.split or "",
        )
    return score_predictions(
        align_predictions(system, (eg.reference for eg in examples), spans_key=gold.spans_key),
        spans_key=gold.spans_key,
        rename=gold.rename,
        model=name,
        data=gold.data,
        split=gold.split or "",
    )


def evaluate_systems(
    systems: Mapping[str, System], gold: GoldData, *, batch_size: int | None = None
) -> dict[str, Evaluation]:
    """Score systems, files first: what is wrong with one is told before a pipeline runs.

    systems (Mapping[str, System]): the systems by their names.
    gold, batch_size: see `evaluate_system`.
    RETURNS (dict[str, Evaluation]): the numbers by the same names.
    RAISES (ValueError): see `evaluate_system`; or nobody has a label that is to be renamed.
    """
    _check_names(systems, gold)
    in_turn = sorted(systems, key=lambda name: isinstance(systems[name], Language))
    return {
        name: evaluate_system(systems[name], name, gold, batch_size=batch_size) for name in in_turn
    }


def _check_names(systems: Mapping[str, System], gold: GoldData) -> None:
    told: set[str] = set()
    for system in systems.values():
        own = told_labels(system) if isinstance(system, Language) else system.labels
        if own is None:
            return  # it may have any
        told |= own
    if gold.rename.keys() <= told:
        return
    for eg in _read_as_they_are(next(iter(systems.values())), gold):
        for task in list_tasks(gold.spans_key):
            if not task.per_token:
                told.update(span.label_ for span in task.stored(eg.reference))
    unknown = sorted(gold.rename.keys() - told)
    if unknown:
        raise ValueError(
            f"--rename {unknown[0]}: neither the gold data nor {' nor '.join(systems)} has this "
            f"label: they have {', '.join(sorted(told)) or 'none'}"
        )


def document_lengths(gold: GoldData, system: System) -> list[int] | None:
    """Ask gold data for their documents, which Docs need not be.

    gold (GoldData): the data.
    system (System): the system for which they are read.
    RETURNS (list[int] | None): the number of tokens of each document; `None` where the data do not
        tell documents, or are Docs already.
    RAISES (CorpusError): the data cannot be read.
    """
    corpus = open_gold(
        pipeline_of(system) or spacy.blank("xx"),
        gold.data,
        split=gold.split,
        n_sents=None,
        spans_key=gold.spans_key,
        options=gold.options,
    )
    if not isinstance(corpus, SentenceReader) or corpus.holds_texts:
        return None
    documents = group_sentences(corpus.sentences(), 0)
    lengths = [sum(len(sentence.words) for sentence in document) for document in documents]
    # All in one is what a source looks like that does not know of documents.
    return lengths if len(lengths) > 1 else None
