"""Base class of the components: labels, training, prediction and serialization."""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate
from thinc.types import Floats2d

from .. import __version__
from ..decoding.transitions import Array, Transitions, to_numpy
from ..errors import ConfigError, DataError
from ..model.thinc_model import decoder_of, network_shim, predict_runs, resize_output
from ..runtime.spec import NEW_TAG_MARGIN
from .factories import Scorer
from .finite import check_vectors, check_weights
from .gold import Gold
from .label_settings import (
    check_names,
    check_settings,
    choose_labels,
    learns,
    store_settings,
)
from .saving import SavedComponent
from .soft_targets import SoftTargets


class SequenceTagger(SavedComponent):
    """Predicts one tag per token from the logits of a model."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str,
        *,
        scorer: Scorer | None,
        label_smoothing: float = 0.0,
        label_weights: Mapping[str, float] | None = None,
        learned_labels: Sequence[str] | None = None,
        **cfg: Any,
    ) -> None:
        """Initialize the component.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
        name (str): name of the component.
        scorer (Callable | None): the scoring method.
        label_smoothing (float): share of the gold tag's probability that training distributes
            equally over the other tags, at least 0 and below 1.
        label_weights (Mapping[str, float] | None): weights in the loss of the tokens whose gold tag
            has the label, see `make_bigru_ner`.
        learned_labels (Sequence[str] | None): the labels to learn, None for all.
        **cfg: settings that are saved with the component.
        RAISES (ConfigError): if a setting has a value that is not valid, see `check_settings`.
        """
        cfg |= store_settings(label_weights, learned_labels)
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": [], "label_smoothing": label_smoothing, **cfg}
        check_settings(name, self.cfg)
        self._rehearsal_model: Model[list[Doc], list[Floats2d]] | None = None
        self._reported: set[str] = set()

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): the labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """RETURNS (list[str]): the labels, as `spacy init labels` saves them."""
        return list(self.labels)

    @property
    @abstractmethod
    def tags(self) -> list[str]:
        """RETURNS (list[str]): the tags, in the order of the model's outputs."""

    def label_of(self, tag: str) -> str:
        """Get the name of a tag in settings per label.

        tag (str): one of `tags`.
        RETURNS (str): the label, "O" for the tag of tokens outside of all spans.
        """
        return tag

    @property
    @abstractmethod
    def valid_transitions(self) -> Transitions:
        """RETURNS (Transitions): 0 for the tag scheme's valid transitions, otherwise -infinity."""

    @property
    def transitions(self) -> Transitions:
        """RETURNS (Transitions): the decoder's transition scores, in the units of logits."""
        return decoder_of(self.model).transitions(self.valid_transitions)

    @abstractmethod
    def find_labels(self, example: Example) -> Iterable[str]:
        """List the labels of an example's reference.

        example (Example): an example.
        RETURNS (Iterable[str]): the labels, which may contain duplicates.
        """

    @abstractmethod
    def gold_tags(self, example: Example) -> Gold:
        """Align the gold annotation with the tokens of the predicted Doc.

        example (Example): an example.
        RETURNS (list[str | None]): a tag per token, None for tokens without a gold tag.
        """

    @property
    def predicts_spans(self) -> bool:
        """RETURNS (bool): whether tags are BILUO tags, so that O is a tag."""
        return False

    def choose_settings(self, get_examples: Callable[[], Iterable[Example]]) -> None:
        """Choose settings by the training data.

        get_examples (Callable[[], Iterable[Example]]): see `initialize`.
        """

    def annotated_labels(self, example: Example) -> Collection[str] | None:
        """Get the labels that are annotated in an example, see `Task.annotated_labels`.

        example (Example): an example.
        RETURNS (Collection[str] | None): the labels, None for all labels.
        """
        return None

    def incorrect_spans(self, example: Example) -> list[tuple[int, int, str]]:
        """List the spans of an example that are known to be incorrect.

        example (Example): an example.
        RETURNS (list[tuple[int, int, str]]): index of the first token of the predicted Doc, index
            after the last token, and label, "" for any label.
        """
        return []

    def soft_targets(self, example: Example) -> SoftTargets | None:
        """Get a teacher's outputs for the tokens of the predicted Doc.

        example (Example): an example.
        RETURNS (SoftTargets | None): the soft targets, None if the example has none.
        """
        return None

    def add_label(self, label: str, *, margin: float = NEW_TAG_MARGIN) -> int:
        """Add a label.

        The predictions of a trained model do not change until it is trained further, see
        `Network.resize`.

        label (str): the label.
        margin (float): see `Network.resize`. Confidences change by about exp(-margin), and the
            smaller it is, the faster the label is learned.
        RETURNS (int): 0 if the label already exists, otherwise 1.
        RAISES (ValueError): if the label is not a string or is empty.
        """
        if not isinstance(label, str) or not label:
            raise ConfigError(f"{self.name}: a label must be a non-empty string; got {label!r}")
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        if not learns(self.cfg, label):
            self.cfg["learned_labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_dim("nO"):
            # Probabilities are computed from logits divided by the temperature.
            margin *= max(1.0, self.cfg.get("temperature", 1.0))
            for model in filter(None, (self.model, self._rehearsal_model)):
                resize_output(model, len(self.tags), margin)
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Collect the labels and initialize the network.

        get_examples (Callable[[], Iterable[Example]]): returns a representative sample of the
            training data.
        nlp (Language | None): the pipeline.
        labels (list[str] | None): the labels; None to collect them from the sample. Set them if
            the sample may not contain all labels, for instance with a streamed corpus.
        RAISES (ValueError): if there are no labels or no tokens, if the decoder does not support
            label smoothing, or if vectors or weights are NaN or infinite.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        if isinstance(labels, str):
            raise ConfigError(f"{self.name}: labels must be a list of labels; got {labels!r}")
        if labels is None:
            found = {label for example in get_examples() for label in self.find_labels(example)}
            labels = choose_labels(self, found)
        for label in labels:
            self.add_label(label)
        if not self.labels:
            raise DataError(
                f"{self.name}: the training examples contain no labels for this component. Check "
                "that the corpus reads the right column, or set `labels` under "
                f"[initialize.components.{self.name}]"
            )
        check_names(self)
        docs = [example.x for example in itertools.islice(get_examples(), 10) if len(example.x)]
        if not docs:
            raise DataError(f"{self.name}: the first 10 training examples have no tokens")
        n_tags = len(self.tags)
        self.model.initialize(X=docs, Y=[self.model.ops.alloc2f(len(doc), n_tags) for doc in docs])
        self.check_soft_labels()
        self.choose_settings(get_examples)
        check_vectors(self.name, self.model, self.vocab)
        check_weights(self.name, self.model, "trained")
        if nlp is not None:
            _require_extras(nlp)

    @abstractmethod
    def decode(self, docs: Sequence[Doc], logits: Array) -> list[Any]:
        """Convert logits to predictions for `set_annotations`.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): the logits of all tokens of the Docs, concatenated, float
            (n_tokens, n_tags); a NumPy array or a torch tensor.
        RETURNS (list[Any]): one prediction per Doc.
        """

    def predict(self, docs: Iterable[Doc]) -> list[Any]:
        """Predict the most probable annotation, see `decode`.

        docs (Iterable[Doc]): the Docs, which are not modified.
        RETURNS (list[Any]): one prediction per Doc, an empty list if no Doc has tokens.
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):  # needs no trained model
            return [[] for _ in docs]
        return [
            prediction
            for run, logits in self._predict_logits(docs)
            for prediction in self.decode(run, logits)
        ]

    def best_tags(self, docs: Sequence[Doc], logits: Array) -> Array:
        """Find the best valid tag sequence.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `decode`.
        RETURNS (Array): indices into `tags`, int64 (n_tokens,).
        """
        sequences = self._sequences(docs, logits)
        return decoder_of(self.model).decode(*sequences, self.valid_transitions)

    def _sequences(self, docs: Sequence[Doc], logits: Array) -> tuple[Array, np.ndarray]:
        # The logits to decode, and the number of tokens of each sequence.
        return logits, np.array([len(doc) for doc in docs], dtype=np.int64)

    def logits(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the logits of each token.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (list[ndarray]): the logits of each Doc, float32 (n_tokens, n_tags).
        """
        return [
            doc_logits
            for run, logits in self._predict_logits(docs)
            for doc_logits in np.split(to_numpy(logits), np.cumsum([len(doc) for doc in run])[:-1])
        ]

    def _predict_logits(self, docs: Sequence[Doc]) -> Iterator[tuple[list[Doc], Array]]:
        # Consecutive groups of Docs and their logits, (n_tokens, n_tags), on the network's device.
        if any(len(doc) for doc in docs):
            yield from predict_runs(self.model, list(docs))
        else:
            yield list(docs), np.zeros((0, len(self.tags)), dtype=np.float32)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Update the model from a batch.

        examples (Iterable[Example]): the batch.
        drop (float): the dropout rate.
        sgd (Optimizer | None): the optimizer; None to accumulate gradients only.
        losses (dict[str, float] | None): losses by component name. The batch's loss is added.
        RETURNS (dict[str, float]): the updated losses.
        RAISES (ValueError): see `get_loss`.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        docs = [example.predicted for example in examples]
        if not any(len(doc) for doc in docs):
            return losses
        set_dropout_rate(self.model, drop)
        logits, backprop = self.model.begin_update(docs)
        from .training import compute_loss  # noqa: PLC0415 - imports torch

        loss, gradient, backprop_decoder = compute_loss(self, examples, logits)
        backprop(gradient)
        backprop_decoder()
        if sgd:  # spaCy's training loop passes False and calls finish_update itself
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """Compute the decoder's loss over the tokens with a gold tag or a teacher's output.

        If examples have a teacher's outputs, the loss is a weighted sum of two cross-entropies,
        see `SoftTargets`.

        The weight of a token is the weight of its gold tag's label (the setting `label_weights`)
        times the weight of its example (`doc._.training_weight` of the reference), each 1 by
        default. It multiplies the loss of the token. For a CRF, see `weighted_nll`. The sum is
        divided by the number of learned tokens, not by the sum of the weights.

        examples (Iterable[Example]): the batch.
        scores (list[Floats2d]): the model's logits, (n_tokens, n_tags) for each example.
        RETURNS (tuple[float, list[Floats2d]]): the mean loss per learned token, and its gradient
            with respect to the logits.
        RAISES (ValueError): if an example has an unknown label, or a teacher's outputs that the
            decoder does not support; if its gold tags are not a valid sequence, with a CRF; or if
            the loss is not finite.
        """
        from .training import compute_loss  # noqa: PLC0415 - imports torch

        return compute_loss(self, list(examples), scores)[:2]

    def check_soft_labels(self, *, has_soft: bool = False) -> None:
        """Check that the decoder supports soft labels, if they are used.

        has_soft (bool): whether examples have a teacher's outputs.
        RAISES (ValueError): if it does not support label smoothing or a teacher's outputs.
        """
        if decoder_of(self.model).soft_labels:
            return
        decode = f'decode = "{network_shim(self.model).spec.decode}"'
        smoothing = self.cfg["label_smoothing"]
        if smoothing:
            raise ConfigError(
                f"{self.name}: label_smoothing = {smoothing} is not supported by {decode}: set "
                'label_smoothing = 0.0 or decode = "constrained"'
            )
        if has_soft:
            raise ConfigError(
                f"{self.name}: a teacher's outputs are not supported by {decode}: set "
                'decode = "constrained"'
            )

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
        **config: Any,
    ) -> dict[str, float]:
        """Train the model to reproduce its predictions from before `nlp.resume_training`.

        The loss is the cross-entropy between the softmax of the current logits and that of the
        earlier ones, with any decoder. The transition scores of a CRF are not updated.

        examples (Iterable[Example]): a batch. Only the predicted Docs are used.
        drop (float): the dropout rate.
        sgd (Optimizer | None): the optimizer; None to accumulate gradients only.
        losses (dict[str, float] | None): losses by component name. The batch's loss is added.
        RETURNS (dict[str, float]): the updated losses.
        RAISES (ValueError): if the model has a listener for a shared encoder, or if the loss is
            not finite.
        """
        losses = {} if losses is None else losses
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.rehearse")
        docs = [example.predicted for example in examples]
        if self._rehearsal_model is None or not any(len(doc) for doc in docs):
            return losses
        if any(isinstance(node, Tok2VecListener) for node in self.model.walk()):
            raise ConfigError(
                f"{self.name}: cannot rehearse with a listener, since nlp.rehearse does not run "
                "the shared encoder: first call "
                f'nlp.replace_listeners("tok2vec", "{self.name}", ["model.embed.NAME.tok2vec"]), '
                "where NAME is that of the embedding in the config"
            )
        from .training import compute_rehearsal_loss  # noqa: PLC0415 - imports torch

        before = self._rehearsal_model.predict(docs)
        set_dropout_rate(self.model, drop)
        logits, backprop = self.model.begin_update(docs)
        loss, gradient = compute_rehearsal_loss(self, examples, logits, before)
        backprop(gradient)
        if sgd:  # spaCy's training loop passes False and calls finish_update itself
            self.finish_update(sgd)
        losses[self.name] = losses.get(self.name, 0.0) + loss
        return losses


def _require_extras(nlp: Language) -> None:
    # `spacy package` requires this distribution without extras, unless the meta data names it. No
    # upper bound, since the requirement is saved, and later versions load the pipeline, too.
    models = [getattr(component, "model", None) for _, component in nlp.components]
    layers = (layer for model in models if isinstance(model, Model) for layer in model.walk())
    if any(layer.name == "bigru_transformer" for layer in layers):
        required = nlp.meta.setdefault("requirements", [])
        if not any(name.startswith("bigru-tagger") for name in required):
            required.append(f"bigru-tagger[transformers]>={__version__}")
