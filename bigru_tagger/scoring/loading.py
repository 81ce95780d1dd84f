"""Loading of pipelines and gold data from command-line arguments, and parts of pipelines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import require_gpu

from ..corpus.corpus import (
    Reader,
    SentenceReader,
    group_where_marked,
    open_corpus,
    settings_for,
)
from ..errors import ConfigError, ModelError
from ..tasks import TASKS


def load_pipeline(model: str, *, gpu_id: int = -1, device: str | None = None) -> Language:
    """Load a pipeline for evaluation.

    model (str): a folder, or the name of an installed package.
    gpu_id (int): the GPU for all components, as in spaCy's commands (requires CuPy); -1 for CPU.
    device (str | None): torch's device, such as "cuda:0", for all components with a `device`
        setting in their config (does not require CuPy).
    RETURNS (Language): the pipeline.
    RAISES (ValueError): if the GPU is not available, no component has a `device` setting, or the
        pipeline cannot be loaded.
    """
    if gpu_id >= 0:
        require_gpu(gpu_id)
    nlp = _load(model, {})
    if device is None:
        return nlp
    overrides = [f"components.{path}" for path in setting_paths("device", nlp.config["components"])]
    if not overrides:
        raise ConfigError(
            f"No component of {model} ({', '.join(nlp.pipe_names)}) has the setting 'device': use "
            "`gpu_id`, which applies to all components."
        )
    return _load(model, dict.fromkeys(overrides, device))


def open_gold(
    nlp: Language,
    data: str,
    *,
    split: str | None,
    n_sents: int | None,
    spans_key: str,
    options: Mapping[str, Any] | None = None,
) -> Reader:
    """Open gold data with the settings of the pipeline's development corpus.

    nlp (Language): the pipeline.
    data (str): the data, see `bigru_tagger.corpus.corpus.open_corpus`.
    split (str | None): the split, see `open_corpus`.
    n_sents (int | None): sentences per Doc, 0 for whole documents; None for the
        setting of the development corpus.
    spans_key (str): the key of `doc.spans` for chunks.
    options (Mapping[str, Any] | None): settings of the reader, which override those of the
        pipeline's config.
    RETURNS (Reader): the reader.
    RAISES (ValueError): if the data cannot be read with these settings.
    """
    dev = dev_corpus(nlp)
    settings = {**settings_for(data, dev), **(options or {})}
    if n_sents is not None:
        settings["sentences_per_doc"] = n_sents
    corpus = open_corpus(data, split=split, **settings)
    # The spans of a .spacy file already have a key.
    if isinstance(corpus, SentenceReader):
        corpus.spans_key = spans_key
        # Docs should have as many sentences, and the same boundaries, as in training.
        corpus.given_sentences = dev.get("given_sentences", True)
        if n_sents is None:
            corpus.sentences_per_doc = dev.get("sentences_per_doc", 1)
            group_where_marked(corpus)
    return corpus


def read_gold(nlp: Language, data: str, **settings: Any) -> Iterable[Example]:
    """Read gold data with the pipeline's corpus settings.

    nlp, data, settings: see `open_gold`.
    RETURNS (Iterable[Example]): the examples.
    RAISES (ValueError): if the data cannot be read with these settings.
    """
    return open_gold(nlp, data, **settings)(nlp)


def dev_corpus(nlp: Language) -> Mapping[str, Any]:
    """Find the config block of a pipeline's development corpus, see `training.dev_corpus`.

    nlp (Language): the pipeline.
    RETURNS (Mapping[str, Any]): the block, empty if there is none.
    """
    block: Any = nlp.config.interpolate()
    for name in block.get("training", {}).get("dev_corpus", "corpora.dev").split("."):
        block = block.get(name) if isinstance(block, Mapping) else None
    return block if isinstance(block, Mapping) else {}


def declared_labels(nlp: Language) -> set[str] | None:
    """List the labels of the entities and spans that a pipeline can set.

    nlp (Language): the pipeline.
    RETURNS (set[str] | None): the labels, None if a component has no `labels` attribute.
    """
    if not all(hasattr(pipe, "labels") for _, pipe in nlp.pipeline):
        return None
    setters = setters_of(nlp, *(task.assigns for task in TASKS.values() if not task.per_token))
    return {str(label) for name in setters for label in nlp.pipe_labels[name]}


def setters_of(nlp: Language, *attributes: str) -> list[str]:
    """List the components that declare to assign one of the attributes.

    nlp (Language): the pipeline.
    attributes (str): attributes such as "doc.ents".
    RETURNS (list[str]): the names of the components.
    """
    return [
        name
        for name in nlp.pipe_names
        if not set(attributes).isdisjoint(nlp.get_pipe_meta(name).assigns)
    ]


def confidence_attributes(nlp: Language) -> tuple[str, ...]:
    """List the attributes `span._.NAME` that hold the probability of an entity.

    nlp (Language): the pipeline.
    RETURNS (tuple[str, ...]): the values of the setting `confidence` of its components.
    """
    names = (getattr(pipe, "confidence", None) for _, pipe in nlp.pipeline)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def run_before(nlp: Language, name: str, docs: Iterable[Doc]) -> list[Doc]:
    """Run the components before one, so that Docs are as this component gets them.

    nlp (Language): the pipeline.
    name (str): the name of the component.
    docs (Iterable[Doc]): the Docs, which are modified.
    RETURNS (list[Doc]): the Docs.
    """
    for earlier, component in nlp.pipeline:
        if earlier == name:
            break
        docs = component.pipe(docs) if hasattr(component, "pipe") else map(component, docs)
    return list(docs)


def _load(model: str, overrides: Mapping[str, Any]) -> Language:
    try:
        return spacy.load(model, config=dict(overrides))
    except (OSError, ImportError, ValueError) as error:
        raise ModelError(
            f"Cannot load {model!r} as a spaCy pipeline. It must be a folder with config.cfg and "
            "meta.json, such as output/model-best of `spacy train`, or the name of an installed "
            f"pipeline package. Error of spaCy: {error}"
        ) from error


def setting_paths(name: str, block: Mapping[str, Any]) -> Iterator[str]:
    """Find all settings with a given name in a config block.

    name (str): the name, such as "device".
    block (Mapping[str, Any]): the block of the config.
    YIELDS (str): the dotted path of each setting within the block.
    """
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in setting_paths(name, value))
        elif key == name:
            yield key
