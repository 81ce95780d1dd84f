"""The network as a token-classification model that `transformers` can load and train.

Importing this module registers the model type with `AutoConfig`, `AutoModelForTokenClassification`
and `AutoTokenizer`, and so with `transformers.pipeline`.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.modeling_outputs import TokenClassifierOutput

from ..decoding.targets import Targets
from ..errors import ConfigError, DataError, ModelError
from ..files import atomic_path
from ..model.batches import DocReader
from ..model.devices import use_bfloat16
from ..model.thinc_model import network_shim
from ..network.dropout import NO_DROPOUT
from ..network.network import Network
from ..pipeline.label_settings import label_weights, load_settings
from .files import (
    HUB_OPTIONS,
    check_loaded,
    check_shapes,
    check_weights,
    checksum_weights,
    find_weights,
    loading_from,
)
from .model_card import model_card
from .model_config import BiGRUConfig, describe_network, read_network
from .parts import Parts, checked_component, component_settings
from .tag_codes import TagCodes, set_top_labels
from .word_tokenizer import WordTokenizer, decode_characters

IGNORED = -100  # the label of tokens without a loss: the convention of transformers


class BiGRUForTokenClassification(PreTrainedModel):
    """The network of a spaCy component, as a model of `transformers`.

    A buffer of the model holds the serialized vocab of the spaCy pipeline, with its vectors. The
    spaCy component computes the word features and decodes the tags.

    The labels are those of `config.id2label`. For entities and chunks these are IOB2 tags, although
    the network itself predicts BILUO tags.
    """

    config_class = BiGRUConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"
    vocab: Tensor

    def __init__(self, config: BiGRUConfig) -> None:
        """Build the network.

        config (BiGRUConfig): the config. If its `network` is None, a network is initialized as in
            `spacy train`, and its shape is stored in the config.
        RAISES (ValueError): if the parts of the config are inconsistent, or a resource cannot be
            read.
        """
        super().__init__(config)
        # transformers may build models on the meta device, but these buffers need memory.
        with torch.device("cpu"):
            if config.network is None:
                self.network, vocab = _initialize(config)
            else:
                self.network = Network(read_network(config.network))
                vocab = torch.zeros(config.vocab_bytes, dtype=torch.uint8)
            stored = set(self.network.state_dict())
            constants = self.network.named_buffers()
            self._constants = {name: x.clone() for name, x in constants if name not in stored}
        self.register_buffer("vocab", vocab)
        self._parts: Parts | None = None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: the network initializes itself."""

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a model, see `transformers.PreTrainedModel.from_pretrained`.

        source (str | Path): a folder, or the name of a repository.
        *args, **kwargs (Any): the other arguments of that method.
        RETURNS (BiGRUForTokenClassification): the model; with `output_loading_info`, a tuple of the
            model and the information.
        RAISES (ModelError): if a file is damaged or has changed since it was saved, or if weights
            of the network are missing, have another shape, or do not belong to the network.
            (ConfigError): for weights in another precision than float32. (OSError): if there is no
            such folder or repository.
        """
        if kwargs.get("use_safetensors") is False:
            raise ModelError("only safetensors files are read: leave out use_safetensors = False")
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
        if dtype not in (None, "auto", "float32", torch.float32):
            raise ConfigError(f"weights are loaded in float32, not in {dtype}: leave out dtype")
        kwargs["dtype"] = torch.float32
        with_info = kwargs.pop("output_loading_info", False)
        kwargs |= {"use_safetensors": True, "trust_remote_code": False}
        kwargs["ignore_mismatched_sizes"] = True  # to list all wrong weights in one error below
        with loading_from(source):
            config = kwargs.get("config") or cls.config_class.from_pretrained(
                source, **{key: kwargs[key] for key in HUB_OPTIONS if key in kwargs}
            )
            if config.network and kwargs.get("state_dict") is None:
                files = find_weights(source, kwargs)
                check_shapes(files, read_network(config.network), config.vocab_bytes)
                check_weights(files, config.checksums or {})
            model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
            check_loaded(source, info)
        # transformers 5 leaves buffers that are not in the file uninitialized.
        for name, constant in model._constants.items():
            model.network.get_buffer(name).copy_(constant)
        return (model, info) if with_info else model

    def __getstate__(self) -> dict[str, Any]:
        """Leave the spaCy parts out of copies and pickles, since they are built on first access."""
        return {**self.__dict__, "_parts": None}

    @property
    def parts(self) -> Parts:
        """RETURNS (Parts): the spaCy parts, built on first access from the config and the vocab.

        RAISES (ValueError): if `id2label` does not fit the network.
        """
        if self._parts is None:
            nlp = self.config.build_pipeline()
            nlp.vocab.from_bytes(self.vocab.cpu().numpy().tobytes())
            parts = Parts.build(self.config, nlp)
            for label in parts.codes.labels:
                parts.component.add_label(label)
            if len(parts.component.tags) != self.network.spec.n_tags:
                raise ModelError(
                    f"id2label requires {len(parts.component.tags)} tags of the component, but "
                    f"the network has {self.network.spec.n_tags}: use the id2label with which the "
                    "model was created"
                )
            shim = network_shim(parts.component.model)
            shim.device = str(self.device)
            shim.network = self.network
            self._parts = parts
        load_settings(self._parts.component, self.config.settings or {}, "config.json: 'settings'")
        return self._parts

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        characters: Tensor | None = None,
        *,
        sentence_starts: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Predict the labels of tokens.

        In evaluation mode, the logits represent the decoded prediction of the component, and have
        no gradient. The highest logit of each token is that of the predicted label. If the
        component computes probabilities, the softmax of the logits gives that label the probability
        of its entity, unless this is too low to stay the highest. In training mode, the logits are
        those of the network, and have a gradient.

        input_ids (Tensor | None): output of the tokenizer, int64 (n_texts, n_tokens). Only the
            shape is used.
        attention_mask (Tensor | None): 1 for tokens and 0 for padding, (n_texts, n_tokens); None if
            there is no padding.
        characters (Tensor | None): required; the characters of the tokens, see
            `bigru_tagger.huggingface.word_tokenizer.encode_characters`, int64
            (n_texts, n_characters).
        sentence_starts (Tensor | None): 1 for the first token of each sentence and 0 for others,
            (n_texts, n_tokens); None for Docs without sentence boundaries.
        labels (Tensor | None): gold label ids, -100 for tokens without a label, int64
            (n_texts, n_tokens).
        return_dict (bool | None): whether to return a TokenClassifierOutput instead of a tuple;
            None for the value in the config.
        RETURNS (TokenClassifierOutput): `logits`, float32 (n_texts, n_tokens, n_labels), zero for
            padding. With `labels`, also the `loss` of the component, as a mean over the tokens that
            have a label.
        RAISES (ValueError): if `characters` is missing or does not hold one word per token; with a
            CRF, if the gold labels contain invalid transitions.
        """
        parts = self.parts
        if attention_mask is None:
            if input_ids is None:
                raise DataError("input_ids or attention_mask is required: pass one of them")
            attention_mask = torch.ones_like(input_ids)
        mask = attention_mask.bool()
        docs = self._read_docs(mask, characters, sentence_starts)
        tag_logits = self._tag_logits(docs)  # (n_tokens of all texts, n_tags)
        loss = None
        if labels is not None:
            loss = self._loss(tag_logits, docs, labels[mask])
        label_logits = parts.codes.label_logits(tag_logits.float())
        if not self.training:
            label_logits = self._decode(docs, tag_logits, label_logits)
        logits = label_logits.new_zeros((*mask.shape, label_logits.shape[1]))
        logits[mask] = label_logits
        if return_dict if return_dict is not None else self.config.return_dict:
            return TokenClassifierOutput(loss=loss, logits=logits)
        return (logits,) if loss is None else (loss, logits)

    def _read_docs(
        self, mask: Tensor, characters: Tensor | None, sentence_starts: Tensor | None
    ) -> list[Doc]:
        if characters is None:
            raise DataError(
                "characters is required: pass all outputs of the tokenizer to the model"
            )
        used = mask.cpu().numpy()
        starts = None if sentence_starts is None else sentence_starts.cpu().numpy()
        docs = []
        for text, numbers in enumerate(characters.cpu().numpy()):
            words = decode_characters(numbers)
            if len(words) != used[text].sum():
                raise DataError(
                    f"text {text}: 'characters' holds {len(words)} words, but 'attention_mask' "
                    f"has {used[text].sum()} tokens: pad both with the method `pad` of the "
                    "tokenizer"
                )
            given = None if starts is None else (starts[text][used[text]] == 1).tolist()
            docs.append(Doc(self.parts.nlp.vocab, words=words, sent_starts=given or None))
        return docs

    def _tag_logits(self, docs: list[Doc]) -> Tensor:
        parts, network = self.parts, self.network
        if not any(map(len, docs)):
            return torch.zeros((0, network.width), device=self.device)
        shim = network_shim(parts.component.model)
        if shim.device != str(self.device):
            shim.device = str(self.device)
            shim.features.clear()
        batch = DocReader(parts.words, parts.by_sentence).read(docs, shim)
        rates = NO_DROPOUT
        half = use_bfloat16(parts.predict_precision, str(self.device))
        if self.training:
            rates = parts.dropout.rates(parts.training_dropout)
            half = parts.mixed_precision
        # Not entered in full precision: Trainer may have its own autocast context around this.
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if half:
            context = torch.autocast(self.device.type, dtype=torch.bfloat16)
        with context:
            logits: Tensor = network(batch, rates)
        return logits

    def _loss(self, logits: Tensor, docs: list[Doc], labels: Tensor) -> Tensor:
        parts = self.parts
        lengths = [len(doc) for doc in docs]
        gold = parts.codes.component_tags(labels.cpu().numpy(), lengths, ignored=IGNORED)
        smoothing = parts.component.cfg["label_smoothing"]
        targets = Targets(torch.from_numpy(gold).to(logits.device), lengths, smoothing)
        weights = label_weights(parts.component, gold)
        if weights is not None:
            targets = replace(targets, weights=torch.from_numpy(weights).to(logits.device))
        if not targets.n_learned:
            return logits.sum() * 0.0
        valid = parts.component.valid_transitions
        losses = self.network.decoder.loss(logits.float(), targets, valid)
        for doc, loss in zip(docs, losses, strict=True):
            if torch.isinf(loss):
                raise DataError(
                    f"the labels of {doc.text[:60]!r} contain an invalid transition: fix them"
                )
        return (losses.sum() / targets.n_learned).float()

    def _decode(self, docs: list[Doc], tag_logits: Tensor, label_logits: Tensor) -> Tensor:
        parts = self.parts
        lengths = [len(doc) for doc in docs]
        decoded = parts.component.decode(docs, tag_logits.detach().float().cpu().numpy())
        labels, confidence = parts.codes.predicted_labels(decoded, lengths)
        probabilities = label_logits.detach().double().softmax(1).cpu().numpy()
        adjusted = set_top_labels(probabilities, labels, confidence)
        return torch.from_numpy(np.log(adjusted)).to(label_logits)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model and a model card, see `transformers.PreTrainedModel.save_pretrained`.

        save_directory (str | Path): the output folder. An existing README.md is not overwritten.
        *args, **kwargs (Any): the other arguments of that method.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        self._save_checksums(Path(save_directory))
        card = Path(save_directory) / "README.md"
        if not card.exists():
            self._write_card(card)

    def _save_checksums(self, folder: Path) -> None:
        files = list(folder.glob("model*.safetensors"))
        if files:  # only the main process of a distributed training writes them
            self.config.checksums = {"weights": checksum_weights(files)}
            self.config.save_pretrained(folder)

    def _upload_modified_files(self, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
        self._save_checksums(Path(working_dir))
        # `push_to_hub` replaces the card by that of the repository, or by an empty template.
        card = Path(working_dir) / "README.md"
        if not card.exists() or "[More Information Needed]" in card.read_text(encoding="utf8"):
            self._write_card(card)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    def _write_card(self, path: Path) -> None:
        parts = self.parts
        text = model_card(parts.nlp.config.interpolate(), self.config.meta, parts.codes.labels)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf8")


def _initialize(config: BiGRUConfig) -> tuple[Network, Tensor]:
    # As in `spacy train`, with the block [initialize] and the labels of the config.
    nlp = config.build_pipeline()
    component = checked_component(nlp, config.component)
    codes = TagCodes.of(component, config.tags)
    blocks = nlp.config["initialize"].setdefault("components", {})
    blocks[config.component] = {**blocks.get(config.component, {}), "labels": codes.labels}
    doc = Doc(nlp.vocab, words=["a"])
    nlp.initialize(lambda: [Example(doc, doc)])
    network = network_shim(component.model).network
    data = nlp.vocab.to_bytes()
    config.network = describe_network(network.spec)
    config.vocab_bytes = len(data)
    config.meta = nlp.meta
    if config.settings is None:
        config.settings = component_settings(component)
    return network, torch.frombuffer(bytearray(data), dtype=torch.uint8)


AutoConfig.register(BiGRUConfig.model_type, BiGRUConfig)
AutoModelForTokenClassification.register(BiGRUConfig, BiGRUForTokenClassification)
AutoTokenizer.register(BiGRUConfig, slow_tokenizer_class=WordTokenizer)
