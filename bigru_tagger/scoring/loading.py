"""Pipelines and gold data, by the words in which a command is asked for them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import require_gpu

from ..corpus.corpus import (
    Reader,
    SentenceReader,
    group_where_marked,
    open_corpus,
    settings_for,
)
from ..tasks import TASKS


def load_pipeline(model: str, *, gpu_id: int = -1, device: str | None = None) -> Language:
    """Load a pipeline for evaluation.

    model (str): a folder, or the name of an installed package.
    gpu_id (int): the GPU that all components use through CuPy, as in spaCy's commands; -1 for none.
    device (str | None): the device, such as "cuda:0", for the components that have a setting
        `device` in their config; they use it through torch alone.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): there is no such GPU, no such setting, or the pipeline cannot be loaded.
    """
    if gpu_id >= 0:
        require_gpu(gpu_id)
    nlp = _load(model, {})
    if device is None:
        return nlp
    overrides = [f"components.{path}" for path in setting_paths("device", nlp.config["components"])]
    if not overrides:
        raise ValueError(
            f"No component of {model} ({', '.join(nlp.pipe_names)}) has a setting `device`: use "
            "--gpu-id, which moves all components."
        )
    return _load(model, dict.fromkeys(overrides, device))


def read_gold(
    nlp: Language,
    data: str,
    *,
    split: str | None,
    n_sents: int | None,
    spans_key: str,
    options: Mapping[str, Any] | None = None,
) -> Iterable[Example]:
    """Read gold data in Docs such as a pipeline was trained on.

    nlp (Language): the pipeline.
    data, split, n_sents, spans_key, options: see `open_gold`.
    RETURNS (Iterable[Example]): the examples.
    RAISES (ValueError): the data cannot be read so.
    """
    reader = open_gold(
        nlp, data, split=split, n_sents=n_sents, spans_key=spans_key, options=options
    )
    return reader(nlp)


def open_gold(
    nlp: Language,
    data: str,
    *,
    split: str | None,
    n_sents: int | None,
    spans_key: str,
    options: Mapping[str, Any] | None = None,
) -> Reader:
    """Open gold data with the settings of the corpus that a pipeline was evaluated on in training.

    nlp (Language): the pipeline.
    data (str): what `bigru_tagger.corpus.corpus.open_corpus` takes.
    split (str | None): the split; `None` as for `open_corpus`.
    n_sents (int | None): sentences per Doc, 0 for whole documents; `None` for as in training.
    spans_key (str): where to put chunks, in `doc.spans`.
    options (Mapping[str, Any] | None): settings of the reader, in place of those of the pipeline's
        config.
    RETURNS (Reader): the reader.
    RAISES (ValueError): the data cannot be read so.
    """
    dev = dev_corpus(nlp)
    settings = {**settings_for(data, dev), **(options or {})}
    if n_sents is not None:
        settings["sentences_per_doc"] = n_sents
    try:
        corpus = open_corpus(data, split=split, **settings)
    except TypeError as error:  # a .spacy file has its documents already, and so has no --n-sents
        raise ValueError(str(error).replace("sentences_per_doc", "--n-sents", 1)) from error
    # A reader makes the spans; those of a .spacy file are where they are.
    if isinstance(corpus, SentenceReader):
        corpus.spans_key = spans_key
        # A pipeline that learned to use the context of a Doc should find as much of it here.
        corpus.given_sentences = dev.get("given_sentences", True)
        if n_sents is None:
            corpus.sentences_per_doc = dev.get("sentences_per_doc", 1)
            group_where_marked(corpus)
    return corpus


def dev_corpus(nlp: Language) -> Mapping[str, Any]:
    """Find the corpus that a pipeline was evaluated on in training.

    nlp (Language): the pipeline.
    RETURNS (Mapping[str, Any]): its block of the config, which `training.dev_corpus` names; empty
        where there is none.
    """
    block: Any = nlp.config.interpolate()
    for name in block.get("training", {}).get("dev_corpus", "corpora.dev").split("."):
        block = block.get(name) if isinstance(block, Mapping) else None
    return block if isinstance(block, Mapping) else {}


def told_labels(nlp: Language) -> set[str] | None:
    """Ask a pipeline for the labels of the entities and spans that it may set.

    nlp (Language): the pipeline.
    RETURNS (set[str] | None): the labels; `None` where a component is a function, which tells none.
    """
    if not all(hasattr(pipe, "labels") for _, pipe in nlp.pipeline):
        return None
    setters = setters_of(nlp, *(task.assigns for task in TASKS.values() if not task.per_token))
    return {str(label) for name in setters for label in nlp.pipe_labels[name]}


def setters_of(nlp: Language, *attributes: str) -> list[str]:
    """Find the components that set something.

    nlp (Language): the pipeline.
    attributes (str): such as "doc.ents".
    RETURNS (list[str]): the names of those that assign one of them, by their own account.
    """
    return [
        name
        for name in nlp.pipe_names
        if not set(attributes).isdisjoint(nlp.get_pipe_meta(name).assigns)
    ]


def _load(model: str, overrides: Mapping[str, Any]) -> Language:
    try:
        return spacy.load(model, config=dict(overrides))
    except (OSError, ImportError, ValueError) as error:
        raise ValueError(
            f"Cannot load {model!r} as a spaCy pipeline. Expected is a folder with config.cfg and "
            "meta.json, as `spacy train` writes output/model-best, or the name of an installed "
            f"pipeline package. spaCy says: {error}"
        ) from error


def setting_paths(name: str, block: Mapping[str, Any]) -> Iterator[str]:
    """Find all settings of a name in a config.

    name (str): such as "device".
    block (Mapping[str, Any]): a block of the config.
    YIELDS (str): their dotted paths within the block.
    """
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in setting_paths(name, value))
        elif key == name:
            yield key
