"""Convert a component of a spaCy pipeline to a Hugging Face model, and back, without loss."""

import json
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language

from ..errors import ModelError
from ..files import atomic_folder
from ..model.thinc_model import network_shim
from ..pipeline.component import SequenceTagger
from ..pipeline.label_settings import load_settings
from ..pipeline.spans import SpanTagger
from ..schemes import iob2_tags
from .files import loading_from
from .model_config import BiGRUConfig, describe_network
from .parts import checked_component, component_settings
from .token_classification import BiGRUForTokenClassification
from .word_tokenizer import WordTokenizer


def choose_component(nlp: Language) -> str:
    """Find the component to convert.

    nlp (Language): a pipeline.
    RETURNS (str): the name of its only `bigru_ner`, `bigru_tagger` or `bigru_chunker`.
    RAISES (ValueError): if there is none, or several.
    """
    names = [name for name, pipe in nlp.pipeline if isinstance(pipe, SequenceTagger)]
    if not names:
        raise ModelError(
            "the pipeline has no bigru_ner, bigru_tagger or bigru_chunker to convert: choose "
            "another pipeline"
        )
    if len(names) > 1:
        raise ModelError(
            "the pipeline has several components that can be converted: choose one of "
            f"{', '.join(names)}"
        )
    return names[0]


def to_transformers(nlp: Language, name: str) -> tuple[BiGRUForTokenClassification, WordTokenizer]:
    """Convert a component of a pipeline, with the pipeline's tokenizer and vocab.

    The other components are not converted. `to_spacy` restores everything else.

    nlp (Language): a pipeline with a trained `bigru_ner`, `bigru_tagger` or `bigru_chunker`.
    name (str): the name of the component.
    RETURNS (tuple[BiGRUForTokenClassification, WordTokenizer]): the model, on the CPU, and its
        tokenizer.
    RAISES (ValueError): if there is no such component, or it cannot be converted.
    """
    component = checked_component(nlp, name)
    network = network_shim(component.model).network
    vocab = torch.frombuffer(bytearray(nlp.vocab.to_bytes()), dtype=torch.uint8)
    tags = component.tags
    if isinstance(component, SpanTagger):
        tags = iob2_tags(component.labels)
    config = BiGRUConfig(
        _pipeline_of_one(nlp, name),
        settings=component_settings(component),
        network=describe_network(network.spec),
        vocab_bytes=len(vocab),
        meta=_plain(nlp.meta),
        id2label=dict(enumerate(tags)),
    )
    model = BiGRUForTokenClassification(config)
    model.network.load_state_dict(network.state_dict())
    model.vocab.copy_(vocab)
    return model.eval(), WordTokenizer.from_spacy(nlp)


def _pipeline_of_one(nlp: Language, name: str) -> dict[str, Any]:
    config: dict[str, Any] = _plain(nlp.config)
    config["nlp"] |= {"pipeline": [name], "disabled": []}
    config["components"] = {name: config["components"][name]}
    blocks = config["initialize"].get("components", {})
    config["initialize"]["components"] = {key: blocks[key] for key in blocks if key == name}
    return config


def _plain(config: Any) -> Any:
    return json.loads(json.dumps(config, default=float))  # scores may be NumPy floats


def to_spacy(model: BiGRUForTokenClassification, tokenizer: WordTokenizer) -> Language:
    """Convert a model to a pipeline with one component.

    model (BiGRUForTokenClassification): the model.
    tokenizer (WordTokenizer): its tokenizer.
    RETURNS (Language): the pipeline. It shares no memory with the model.
    RAISES (ValueError): if the parts of the model's config are inconsistent.
    """
    config = model.config
    nlp: Language = config.build_pipeline()
    nlp.vocab.from_bytes(model.vocab.cpu().numpy().tobytes())
    nlp.vocab.vectors.name = config.meta["vectors"]["name"]
    rules: Any = nlp.tokenizer
    rules.from_bytes(tokenizer.rules.to_bytes(exclude=["vocab"]))
    component = checked_component(nlp, config.component)
    for label in model.parts.component.labels:
        component.add_label(label)
    load_settings(component, config.settings or {}, "config.json: 'settings'")
    component.model.set_dim("nO", len(component.tags))
    network_shim(component.model).from_bytes(model.network.to_bytes())
    return nlp


def save_transformers(nlp: Language, name: str, folder: Path) -> None:
    """Write a component as a folder that `transformers` can load, with a model card.

    nlp (Language): see `to_transformers`.
    name (str): the name of the component.
    folder (Path): the output folder. It is written atomically.
    RAISES (ValueError): see `to_transformers`. (FileExistsError): if the folder exists and is not
        empty.
    """
    model, tokenizer = to_transformers(nlp, name)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def load_transformers(source: str) -> Language:
    """Convert a folder or a model on the hub to a pipeline.

    source (str): a folder written by `save_transformers` or `transformers`, or the name of a model
        on the hub.
    RETURNS (Language): see `to_spacy`.
    RAISES (ModelError): if it holds a different kind of model, or is damaged. (OSError): if it does
        not exist.
    """
    with loading_from(source):
        model = BiGRUForTokenClassification.from_pretrained(source, trust_remote_code=False)
        tokenizer = WordTokenizer.from_pretrained(source, trust_remote_code=False)
        return to_spacy(model, tokenizer)
