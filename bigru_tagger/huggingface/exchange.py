"""From a spaCy pipeline to a Hugging Face model, and back, without loss."""

import json
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language

from ..files import atomic_folder
from ..model.thinc_model import network_shim
from ..network.network import Network
from ..pipeline.component import SequenceTagger
from ..pipeline.spans import SpanTagger
from ..schemes import iob2_tags
from .model_config import BiGRUConfig, describe_network
from .token_classification import (
    BiGRUForTokenClassification,
    checked_component,
    component_settings,
)
from .word_tokenizer import WordTokenizer


def choose_component(nlp: Language) -> str:
    """Find the component to convert.

    nlp (Language): a pipeline.
    RETURNS (str): the name of its only component of ours.
    RAISES (ValueError): if it has none, or several.
    """
    ours = [name for name, pipe in nlp.pipeline if isinstance(pipe, SequenceTagger)]
    if len(ours) != 1:
        raise ValueError(
            "choose one component to convert: those of ours in the pipeline are "
            f"{', '.join(ours) or 'none'}"
        )
    return ours[0]


def to_transformers(nlp: Language, name: str) -> tuple[BiGRUForTokenClassification, WordTokenizer]:
    """Convert a component of a pipeline, with the pipeline's tokenizer and vocab.

    What the other components do is lost; `to_spacy` restores all the rest.

    nlp (Language): a pipeline with a trained `bigru_ner`, `bigru_tagger` or `bigru_chunker`.
    name (str): the component's name.
    RETURNS (Tuple[BiGRUForTokenClassification, WordTokenizer]): the model, on the CPU, and its
        tokenizer.
    RAISES (ValueError): if there is no such component, or it has no Hugging Face format.
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
    return json.loads(json.dumps(config, default=float))  # scores may be NumPy's


def to_spacy(model: BiGRUForTokenClassification, tokenizer: WordTokenizer) -> Language:
    """Convert a model back to a pipeline with its one component.

    model (BiGRUForTokenClassification): the model.
    tokenizer (WordTokenizer): its tokenizer.
    RETURNS (Language): the pipeline, which shares nothing with the model.
    RAISES (ValueError): if the config of the model does not fit together.
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
    component.cfg.update(config.settings or {})
    component.model.set_dim("nO", len(component.tags))
    network_shim(component.model).network = Network.from_bytes(model.network.to_bytes())
    return nlp


def save_transformers(nlp: Language, name: str, folder: Path) -> None:
    """Write a component as a folder that `transformers` loads, with a model card.

    nlp (Language): see `to_transformers`.
    name (str): the component's name.
    folder (Path): the folder, which is there whole or not at all.
    RAISES (ValueError): see `to_transformers`. (FileExistsError): if the folder is there and holds
        anything.
    """
    model, tokenizer = to_transformers(nlp, name)
    with atomic_folder(folder) as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)


def load_transformers(source: str) -> Language:
    """Convert a folder, or a model of the hub, to a pipeline.

    source (str): a folder that `save_transformers`, or `transformers`, wrote, or a model's name.
    RETURNS (Language): see `to_spacy`.
    RAISES (ValueError): if it holds no such model, or is damaged. (OSError): if it is not there.
    """
    model = BiGRUForTokenClassification.from_pretrained(source, trust_remote_code=False)
    tokenizer = WordTokenizer.from_pretrained(source, trust_remote_code=False)
    return to_spacy(model, tokenizer)
