"""The network in Hugging Face's format: a config, and a model that `transformers` loads and trains.

Importing this module makes `AutoConfig`, `AutoModelForTokenClassification`, `AutoTokenizer` and
`transformers.pipeline` know the format.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.modeling_outputs import TokenClassifierOutput

from ..embeddings.base import WordEmbedding
from ..embeddings.standard import standard_embed
from ..files import atomic_path
from ..model.batches import read_batch
from ..model.devices import Precision, use_bfloat16
from ..model.thinc_model import DropoutSettings, network_shim
from ..network.decoder import Targets
from ..network.encoder import NO_DROPOUT
from ..network.network import Network
from ..pipeline.component import SequenceTagger
from .model_card import model_card
from .model_config import BiGRUConfig, describe_network, read_network
from .tag_codes import TagCodes, tell_labels
from .word_tokenizer import WordTokenizer, decode_characters

IGNORED = -100  # the label of tokens that the loss leaves out, as everywhere in transformers
_ARCHITECTURE = "bigru_tagger.BiGRUTagger.v1"


@dataclass(frozen=True)
class Parts:
    """What a model needs of spaCy.

    nlp (Language): the pipeline; its vocab tells what the words are like.
    component (SequenceTagger): labels, gold tags and decoding; it shares the model's network.
    codes (TagCodes): from the component's tags to the labels' ids, and back.
    words (Dict[str, WordEmbedding]): what the network reads of words.
    by_sentence (bool): encode sentence by sentence.
    dropout (DropoutSettings): dropout rates.
    training_dropout (float): what fills in those that follow `[training] dropout`.
    mixed_precision (bool): train in bfloat16 where that is safe.
    predict_precision (str): see `bigru_tagger.model.devices.use_bfloat16`.
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
        """Take a pipeline apart.

        config (BiGRUConfig): the model's config.
        nlp (Language): the pipeline that it describes.
        RETURNS (Parts): its parts.
        RAISES (ValueError): if the component is none of ours, or its network reads what is not
            here.
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
    """Find a component that this format can hold.

    nlp (Language): a pipeline.
    name (str): the component's name.
    RETURNS (SequenceTagger): the component.
    RAISES (ValueError): if there is none of ours under that name, or its network is not built by
        `bigru_tagger.BiGRUTagger.v1` or reads what other networks put out.
    """
    if name not in nlp.pipe_names:
        raise ValueError(f"there is no component {name!r}; there are {nlp.pipe_names}")
    component = nlp.get_pipe(name)
    if not isinstance(component, SequenceTagger):
        raise ValueError(
            f"the component {name!r} is a {type(component).__name__}: only bigru_ner, bigru_tagger "
            "and bigru_chunker have a Hugging Face format"
        )
    block = nlp.config.interpolate()["components"][name]["model"]
    if block.get("@architectures") != _ARCHITECTURE:
        raise ValueError(
            f"{name}: the model is a {block.get('@architectures')}: only {_ARCHITECTURE} has a "
            "Hugging Face format"
        )
    if component.model.layers:
        raise ValueError(
            f"{name}: the network reads a spaCy tok2vec, which has no Hugging Face format, neither "
            "as a listener nor after nlp.replace_listeners: train the component with embeddings "
            "of words in its [...model.embed]"
        )
    return component


class BiGRUForTokenClassification(PreTrainedModel):
    """The network of a spaCy component, as a model of `transformers`.

    The model holds what the spaCy pipeline has beside the network, the vocab with its vectors, as
    bytes among its buffers. Words are read, and tags decoded, by the component's own code.

    Its logits are by label as `config.id2label` has them: tags in IOB2 for entities and chunks,
    while the network's own are BILUO.
    """

    config_class = BiGRUConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"
    vocab: Tensor

    def __init__(self, config: BiGRUConfig) -> None:
        """Build the network.

        config (BiGRUConfig): if it has no `network`, one is initialised as spaCy would do that,
            and noted in it.
        RAISES (ValueError): if the config does not fit together, or a resource cannot be read.
        """
        super().__init__(config)
        # transformers loads a model by building it without memory; our buffers need some.
        with torch.device("cpu"):
            if config.network is None:
                self.network, vocab = _initialise(config)
            else:
                self.network = Network(read_network(config.network))
                vocab = torch.zeros(config.vocab_bytes, dtype=torch.uint8)
        self.register_buffer("vocab", vocab)
        self._parts: Parts | None = None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave all as it is: the network initialises itself."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a model, see `transformers.PreTrainedModel.from_pretrained`.

        *args, **kwargs: see there.
        RETURNS (BiGRUForTokenClassification): the model.
        RAISES (ValueError): if the file lacks some of the network, or has more than it. (OSError):
            if there is no such folder or repository.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs["ignore_mismatched_sizes"] = True  # or it would raise before it tells all
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        wrong = {
            kind: sorted(map(str, info[kind]))
            for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
            if info.get(kind)
        }
        if wrong:
            raise ValueError(
                f"{model.name_or_path}: the weights are not those of the network in config.json: "
                f"{wrong}. Convert or download the model anew"
            )
        model._restore_constants()
        return (model, info) if wants_info else model

    def _restore_constants(self) -> None:
        # transformers 5 takes buffers that no file holds for empty memory, whatever is in them.
        with torch.device("cpu"):
            fresh = Network(self.network.spec)
        stored = set(self.network.state_dict())
        for name, constant in fresh.named_buffers():
            if name not in stored:
                self.network.get_buffer(name).copy_(constant)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind in copies and pickles what is made anew."""
        return {**self.__dict__, "_parts": None}

    @property
    def parts(self) -> Parts:
        """RETURNS (Parts): what the model needs of spaCy, from its config and vocab."""
        if self._parts is None:
            nlp = self.config.build_pipeline()
            nlp.vocab.from_bytes(self.vocab.cpu().numpy().tobytes())
            parts = Parts.build(self.config, nlp)
            for label in parts.codes.labels:
                parts.component.add_label(label)
            if len(parts.component.tags) != self.network.spec.n_tags:
                raise ValueError(
                    f"id2label stands for {len(parts.component.tags)} tags of the component, but "
                    f"the network has {self.network.spec.n_tags}: they are of different models"
                )
            shim = network_shim(parts.component.model)
            shim.device = self.device
            shim.network = self.network
            self._parts = parts
        self._parts.component.cfg.update(self.config.settings or {})
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
        """Tag texts.

        In evaluation, the logits are those of the labels that the component finds: the highest of
        each token is its label, and their softmax gives it the probability that the component
        gives to the entity. They have no gradient. In training, they are log scores of the labels.

        input_ids (Optional[Tensor]): what the tokenizer gave; only the shape counts, int64
            (n_texts, n_tokens).
        attention_mask (Optional[Tensor]): 1 for tokens and 0 for padding, (n_texts, n_tokens); None
            for no padding.
        characters (Tensor): the tokens' characters, see
            `bigru_tagger.huggingface.word_tokenizer.encode_characters`, int64
            (n_texts, n_characters).
        sentence_starts (Optional[Tensor]): 1 for tokens that begin a sentence and 0 for others,
            (n_texts, n_tokens); None to find out, as in a Doc without sentence starts.
        labels (Optional[Tensor]): ids of the gold labels, or -100 for tokens without, int64
            (n_texts, n_tokens).
        return_dict (Optional[bool]): return no tuple; None for what the config says.
        RETURNS (TokenClassifierOutput): `logits`, float32 (n_texts, n_tokens, n_labels), zeros at
            padding; and with labels the component's `loss`, a mean over the gold labels.
        RAISES (ValueError): if there are no characters, or they are not of as many words as there
            are tokens; or, with a way of decoding that learns whole sequences, if gold labels
            are no valid sequence.
        """
        parts = self.parts
        if attention_mask is None:
            if input_ids is None:
                raise ValueError("give the model input_ids, or the attention_mask")
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
            raise ValueError(
                "the model reads words by their characters: give it all that its tokenizer returns"
            )
        used = mask.cpu().numpy()
        starts = None if sentence_starts is None else sentence_starts.cpu().numpy()
        docs = []
        for text, numbers in enumerate(characters.cpu().numpy()):
            words = decode_characters(numbers)
            if len(words) != used[text].sum():
                raise ValueError(
                    f"text {text}: 'characters' are of {len(words)} words, but 'attention_mask' "
                    f"has {used[text].sum()} tokens: pad them by the tokenizer's own `pad`"
                )
            given = None if starts is None else (starts[text][used[text]] == 1).tolist()
            docs.append(Doc(self.parts.nlp.vocab, words=words, sent_starts=given or None))
        return docs

    def _tag_logits(self, docs: list[Doc]) -> Tensor:
        parts, network = self.parts, self.network
        if not any(map(len, docs)):
            return torch.zeros((0, network.width), device=self.device)
        shim = network_shim(parts.component.model)
        if shim.device != self.device:
            shim.device = self.device
            shim.features.clear()
        batch = read_batch(
            docs,
            parts.words,
            shim,
            by_sentence=parts.by_sentence,
            with_groups=network.spec.occurrences > 0 or network.spec.global_context > 0,
        )
        rates = NO_DROPOUT
        half = use_bfloat16(parts.predict_precision, self.device)
        if self.training:
            rates = parts.dropout.rates(parts.training_dropout)
            half = parts.mixed_precision
        # Entered only for that, since Trainer has its own around this.
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
        if not targets.n_learned:
            return logits.sum() * 0.0
        valid = parts.component.valid_transitions
        losses = self.network.decoder.loss(logits.float(), targets, valid)
        for doc, loss in zip(docs, losses, strict=True):
            if torch.isinf(loss):
                raise ValueError(f"the labels of {doc.text[:60]!r} are no valid sequence")
        return (losses.sum() / targets.n_learned).float()

    def _decode(self, docs: list[Doc], tag_logits: Tensor, label_logits: Tensor) -> Tensor:
        parts = self.parts
        lengths = [len(doc) for doc in docs]
        found = parts.component.decode(docs, tag_logits.detach().float().cpu().numpy())
        labels, sure = parts.codes.found_labels(found, lengths)
        probabilities = label_logits.detach().double().softmax(1).cpu().numpy()
        told = tell_labels(probabilities, labels, sure)
        return torch.from_numpy(np.log(told)).to(label_logits)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model, see `transformers.PreTrainedModel.save_pretrained`, and a model card.

        save_directory (Union[str, Path]): the folder; a README.md that it has stays as it is.
        *args, **kwargs: see there.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        card = Path(save_directory) / "README.md"
        if not card.exists():
            self._write_card(card)

    def _upload_modified_files(self, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
        # `push_to_hub` has put a card in place of ours: the repository's own, or an empty form.
        card = Path(working_dir) / "README.md"
        if not card.exists() or "[More Information Needed]" in card.read_text(encoding="utf8"):
            self._write_card(card)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    def _write_card(self, path: Path) -> None:
        parts = self.parts
        text = model_card(parts.nlp.config.interpolate(), self.config.meta, parts.codes.labels)
        with atomic_path(path) as place:
            place.write_text(text, encoding="utf8")


def _initialise(config: BiGRUConfig) -> tuple[Network, Tensor]:
    # As `spacy train` does, from [initialize], with the labels given.
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


def component_settings(component: SequenceTagger) -> dict[str, Any]:
    """Give what is stored with a component, but for its labels.

    component (SequenceTagger): the component.
    RETURNS (Dict[str, Any]): its settings, plain JSON.
    """
    return {name: value for name, value in component.cfg.items() if name != "labels"}


AutoConfig.register(BiGRUConfig.model_type, BiGRUConfig)
AutoModelForTokenClassification.register(BiGRUConfig, BiGRUForTokenClassification)
AutoTokenizer.register(BiGRUConfig, slow_tokenizer_class=WordTokenizer)
