"""The parts of a spaCy pipeline that a model of `transformers` uses."""

from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.util import registry

from ..embeddings.base import WordEmbedding
from ..embeddings.standard import standard_embed
from ..errors import ModelError
from ..model.devices import Precision
from ..model.thinc_model import DropoutSettings, network_shim
from ..pipeline.component import SequenceTagger
from .model_config import BiGRUConfig
from .tag_codes import TagCodes

_ARCHITECTURE = "bigru_tagger.BiGRUTagger.v1"


@dataclass(frozen=True)
class Parts:
    """The parts of a spaCy pipeline that a model uses.

    nlp (Language): the pipeline, whose vocab has the vectors and the lexical attributes of words.
    component (SequenceTagger): the component, which decodes. It shares the network of the model.
    codes (TagCodes): the mapping between the component's tags and label ids.
    words (dict[str, WordEmbedding]): the word embeddings by name.
    by_sentence (bool): whether each sentence is encoded separately.
    dropout (DropoutSettings): the dropout rates.
    training_dropout (float): the value of `[training] dropout`, for rates that are not set.
    mixed_precision (bool): whether to train with bfloat16 autocast.
    predict_precision (Precision): see `bigru_tagger.model.devices.use_bfloat16`.
    """

    nlp: Language
    component: SequenceTagger
    codes: TagCodes
    words: dict[str, WordEmbedding]
    by_sentence: bool
    dropout: DropoutSettings
    training_dropout: float
    mixed_precision: bool
    predict_precision: Precision

    @classmethod
    def build(cls, config: BiGRUConfig, nlp: Language) -> "Parts":
        """Get the parts of a pipeline.

        config (BiGRUConfig): the config of the model.
        nlp (Language): the pipeline that was built from the config.
        RETURNS (Parts): its parts.
        RAISES (ValueError): see `checked_component`.
        """
        component = checked_component(nlp, config.component)
        block = nlp.config.interpolate()["components"][config.component]["model"]
        embed = (
            standard_embed()
            if block["embed"] is None
            else registry.resolve({"embed": block["embed"]})["embed"]
        )
        return cls(
            nlp=nlp,
            component=component,
            codes=TagCodes.of(component, config.tags),
            words={
                name: embedding
                for name, embedding in embed.items()
                if isinstance(embedding, WordEmbedding)
            },
            by_sentence=block["by_sentence"],
            dropout=DropoutSettings(
                *(block[f"{name}_dropout"] for name in ("word", "input", "hidden", "recurrent"))
            ),
            training_dropout=float(nlp.config.interpolate()["training"]["dropout"]),
            mixed_precision=block["mixed_precision"],
            predict_precision=block["predict_precision"],
        )


def checked_component(nlp: Language, name: str) -> SequenceTagger:
    """Get a component and check that it can be converted to this format.

    nlp (Language): a pipeline.
    name (str): the name of the component.
    RETURNS (SequenceTagger): the component.
    RAISES (ValueError): if there is no component of this name, it is not a `bigru_ner`,
        `bigru_tagger` or `bigru_chunker`, its model is not a `bigru_tagger.BiGRUTagger.v1`, or the
        network uses a spaCy tok2vec or is an ensemble.
    """
    if name not in nlp.pipe_names:
        raise ModelError(f"no component {name!r}: choose one of {nlp.pipe_names}")
    component = nlp.get_pipe(name)
    if not isinstance(component, SequenceTagger):
        raise ModelError(
            f"the component {name!r} is a {type(component).__name__}: only bigru_ner, bigru_tagger "
            "and bigru_chunker have a Hugging Face format"
        )
    block = nlp.config.interpolate()["components"][name]["model"]
    if block.get("@architectures") != _ARCHITECTURE:
        raise ModelError(
            f"{name}: the model is a {block.get('@architectures')}: only {_ARCHITECTURE} has a "
            "Hugging Face format"
        )
    if component.model.layers:
        raise ModelError(
            f"{name}: the network uses a spaCy tok2vec, which has no Hugging Face format, neither "
            "as a listener nor after nlp.replace_listeners: train the component with word "
            "embeddings in its block [components.<name>.model.embed]"
        )
    if network_shim(component.model).is_initialised:
        members = network_shim(component.model).spec.members
        if members > 1:
            raise ModelError(
                f"{name}: the model is an ensemble of {members} networks, which has no Hugging "
                "Face format: convert its members"
            )
    return component


def component_settings(component: SequenceTagger) -> dict[str, Any]:
    """Get the settings that are stored with a component, without its labels.

    component (SequenceTagger): the component.
    RETURNS (dict[str, Any]): the settings, as JSON values.
    """
    return {name: value for name, value in component.cfg.items() if name != "labels"}
