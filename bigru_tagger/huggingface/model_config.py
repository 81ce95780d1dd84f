"""The config of a Hugging Face model: a spaCy config, labels and the shape of the network."""

import copy
import json
from typing import Any

from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config
from transformers import PretrainedConfig

from ..errors import ModelError
from ..runtime.spec import NetworkSpec
from ..runtime.storage import check, checksum
from .word_tokenizer import PAD_ID

# The values with a checksum: what predictions depend on, and the card's content.
_CHECKED = ("pipeline", "settings", "network", "vocab_bytes", "meta", "id2label", "dtype")


class BiGRUConfig(PretrainedConfig):
    """The spaCy config and the labels from which a model is built.

    A converted model has the config of its pipeline, without the other components. For a new model,
    the following is enough; other settings have spaCy's defaults::

        BiGRUConfig(
            {"nlp": {"lang": "en"}, "components": {"ner": {"factory": "bigru_ner"}}},
            id2label={0: "O", 1: "B-PER", 2: "I-PER"},
        )
    """

    model_type = "bigru_tagger"

    def __init__(
        self,
        pipeline: dict[str, Any] | None = None,
        *,
        settings: dict[str, Any] | None = None,
        network: dict[str, Any] | None = None,
        vocab_bytes: int = 0,
        meta: dict[str, Any] | None = None,
        checksums: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create a config.

        pipeline (dict[str, Any] | None): a spaCy config with one component: `bigru_ner`,
            `bigru_tagger` or `bigru_chunker`; None for an English `bigru_ner` with default
            settings. A new model is initialized by its block `[initialize]`, so it can have
            vectors.
        settings (dict[str, Any] | None): the settings that are stored with a component, and can be
            changed after training, such as `threshold`, `recall_bias` and `label_smoothing`; None
            for those of `pipeline`.
        network (dict[str, Any] | None): the shape of the network, see `describe_network`; None for
            a new model.
        vocab_bytes (int): the size of the serialized vocab in bytes.
        meta (dict[str, Any] | None): the pipeline's `meta.json`.
        checksums (dict[str, Any] | None): the checksum of the weights, as "weights"; None if there
            are no saved weights, or an earlier version saved them.
        **kwargs (Any): arguments of `PretrainedConfig`, such as `id2label`. For `bigru_ner` and
            `bigru_chunker` its values are IOB2 tags, for `bigru_tagger` the tags themselves.
        """
        if pipeline is None:
            pipeline = {"nlp": {"lang": "en"}, "components": {"ner": {"factory": "bigru_ner"}}}
        self.pipeline = pipeline
        self.settings = settings
        self.network = network
        self.vocab_bytes = vocab_bytes
        self.meta = meta
        self.checksums = checksums
        id2label = kwargs.get("id2label")
        if id2label is not None and kwargs.get("label2id") is None:
            kwargs["label2id"] = {label: int(number) for number, label in id2label.items()}
        super().__init__(**{"pad_token_id": PAD_ID, **kwargs})

    @property
    def component(self) -> str:
        """RETURNS (str): the name of the component.

        RAISES (ValueError): if the config of the pipeline does not have exactly one component.
        """
        names = list(self.pipeline.get("components", {}))
        if len(names) != 1:
            raise ModelError(f"the config must have exactly one component, not {names or 'none'}")
        return str(names[0])

    @property
    def tags(self) -> list[str]:
        """RETURNS (list[str]): the labels in the order of their ids."""
        return [self.id2label[number] for number in range(len(self.id2label))]

    def to_json_string(self, use_diff: bool = True) -> str:
        """Serialize the config to JSON, with the blocks of the spaCy config in their order.

        use_diff (bool): whether to leave out values that are defaults of `PretrainedConfig`.
        RETURNS (str): the text of config.json.
        """
        data = json.loads(super().to_json_string(use_diff))
        for name in ("pipeline", "network", "meta"):  # transformers sorts their keys
            data[name] = getattr(self, name)
        data["checksums"] = {**(self.checksums or {}), "config": _checksum(data)}
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read the content of a config.json, see `transformers.PretrainedConfig.from_dict`.

        config_dict (dict[str, Any]): the content.
        **kwargs (Any): the other arguments of that method.
        RETURNS (BiGRUConfig): the config; with `return_unused_kwargs`, a tuple.
        RAISES (ModelError): if it has changed since it was saved.
        """
        if not isinstance(config_dict, dict):
            raise ModelError("config.json holds no values by name: download the model again")
        checksums = config_dict.get("checksums") or {}
        if not isinstance(checksums, dict):
            raise ModelError("'checksums' in config.json is damaged: download the model again")
        advice = "If it was changed on purpose, remove 'checksums' from it"
        check(checksums.get("config"), _checksum(config_dict), "config.json", advice)
        rest = {name: value for name, value in checksums.items() if name != "config"}
        return super().from_dict({**config_dict, "checksums": rest}, **kwargs)

    def build_pipeline(self) -> Language:
        """Build the pipeline. Its component is not initialized.

        RETURNS (Language): the pipeline.
        RAISES (ValueError): if spaCy cannot build it.
        """
        config = copy.deepcopy(self.pipeline)
        config.setdefault("nlp", {})["pipeline"] = [self.component]
        return load_model_from_config(
            Config(config, is_interpolated=False), meta=self.meta or {}, auto_fill=True
        )


def _checksum(data: dict[str, Any]) -> str:
    # Of sorted keys, since other programs sort them.
    checked = {name: data.get(name) for name in _CHECKED}
    return checksum([json.dumps(checked, sort_keys=True).encode()])


def describe_network(spec: NetworkSpec) -> dict[str, Any]:
    """Convert the shape of a network to JSON values for a config.

    spec (NetworkSpec): the shape.
    RETURNS (dict[str, Any]): JSON values. The embeddings are a list because their order, which is
        the order of their columns in the concatenated vector, must be kept.
    """
    embed = [{"name": name, **arguments} for name, arguments in spec.embed.items()]
    return {**spec.to_json(), "embed": embed}


def read_network(described: dict[str, Any]) -> NetworkSpec:
    """Convert the output of `describe_network` to a shape.

    described (dict[str, Any]): the output of `describe_network`.
    RETURNS (NetworkSpec): the shape.
    RAISES (ModelError): if it is not a valid shape.
    """
    try:
        embed = {
            block["name"]: {key: value for key, value in block.items() if key != "name"}
            for block in described["embed"]
        }
        return NetworkSpec.read({**described, "embed": embed})
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"'network' in config.json is not a valid network: {error!r}: convert or download the "
            "model again"
        ) from error
