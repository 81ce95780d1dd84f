"""The config of a model in Hugging Face's format: a spaCy config, labels, the network's shape."""

import copy
import json
from dataclasses import asdict
from typing import Any

from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config
from transformers import PretrainedConfig

from ..network.network import NetworkSpec
from .word_tokenizer import PAD_ID


class BiGRUConfig(PretrainedConfig):
    """What a model is built from: the spaCy config of its component, and its labels.

    A converted model has the config of its whole pipeline, without the other components. For a new
    one, this is enough, and what is left out takes spaCy's defaults::

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
        **kwargs: Any,
    ) -> None:
        """Hold the settings.

        pipeline (Optional[Dict]): a spaCy config with one component, `bigru_ner`, `bigru_tagger` or
            `bigru_chunker`; None for an English `bigru_ner` with its defaults. A new model is
            initialised by its block `[initialize]`, so it can have vectors.
        settings (Optional[Dict]): what is stored with a component and may be changed later:
            `threshold`, `recall_bias`, `label_smoothing` and others; None for those of `pipeline`.
        network (Optional[Dict]): what `describe_network` tells of it; None for a new model.
        vocab_bytes (int): size of the vocab in the model's file.
        meta (Optional[Dict]): the pipeline's `meta.json`.
        **kwargs: those of every config, such as `id2label`: tags in IOB2, or for `bigru_tagger`
            tags as they are.
        """
        if pipeline is None:
            pipeline = {"nlp": {"lang": "en"}, "components": {"ner": {"factory": "bigru_ner"}}}
        self.pipeline = pipeline
        self.settings = settings
        self.network = network
        self.vocab_bytes = vocab_bytes
        self.meta = meta
        id2label = kwargs.get("id2label")
        if id2label is not None and kwargs.get("label2id") is None:
            kwargs["label2id"] = {label: int(number) for number, label in id2label.items()}
        super().__init__(**{"pad_token_id": PAD_ID, **kwargs})

    @property
    def component(self) -> str:
        """RETURNS (str): name of the component.

        RAISES (ValueError): if the pipeline's config has not exactly one.
        """
        names = list(self.pipeline.get("components", {}))
        if len(names) != 1:
            raise ValueError(f"the config has to have one component; it has {names or 'none'}")
        return str(names[0])

    @property
    def tags(self) -> list[str]:
        """RETURNS (List[str]): the labels by their ids."""
        return [self.id2label[number] for number in range(len(self.id2label))]

    def to_json_string(self, use_diff: bool = True) -> str:
        """Write the config as JSON, and keep the order of a spaCy config's blocks.

        use_diff (bool): leave out what every config has by default.
        RETURNS (str): the text of config.json.
        """
        data = json.loads(super().to_json_string(use_diff))
        for name in ("pipeline", "network", "meta"):  # transformers sorts them by name
            data[name] = getattr(self, name)
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    def build_pipeline(self) -> Language:
        """Build the pipeline, with its component as it is before it is initialised or loaded.

        RETURNS (Language): the pipeline.
        RAISES (ValueError): if spaCy cannot build it.
        """
        config = copy.deepcopy(self.pipeline)
        config.setdefault("nlp", {})["pipeline"] = [self.component]
        return load_model_from_config(
            Config(config, is_interpolated=False), meta=self.meta or {}, auto_fill=True
        )


def describe_network(spec: NetworkSpec) -> dict[str, Any]:
    """Write a network's shape for a config.

    spec (NetworkSpec): the shape.
    RETURNS (Dict[str, Any]): plain JSON, with the embeddings as a list: their order tells which
        columns of their vectors are whose, and a mapping in JSON has none.
    """
    embed = [{"name": name, **arguments} for name, arguments in spec.embed.items()]
    return {**asdict(spec), "embed": embed}


def read_network(described: dict[str, Any]) -> NetworkSpec:
    """Read what `describe_network` wrote.

    described (Dict[str, Any]): a network's shape.
    RETURNS (NetworkSpec): the shape.
    RAISES (ValueError): if it is none.
    """
    try:
        embed = {
            block["name"]: {key: value for key, value in block.items() if key != "name"}
            for block in described["embed"]
        }
        return NetworkSpec.read({**described, "embed": embed})
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"'network' in config.json describes no network: {error!r}") from error
