"""What the three components share: labels, updates, spaCy's life cycle."""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate
from thinc.types import Floats2d

from ..model.devices import join_arrays, to_torch
from ..model.thinc_model import (
    decoder_of,
    differentiate,
    network_shim,
    predict_runs,
    resize_output,
)
from ..network.constrained_softmax import cross_entropy
from ..network.decoder import Targets
from ..network.network import NEW_TAG_MARGIN
from ..network.transitions import Array, Transitions, to_numpy
from .factories import Scorer
from .finite import check_loss, check_vectors, check_weights
from .gold import Gold
from .soft_targets import SoftTargets, join


class SequenceTagger(TrainablePipe):
    """Tags the tokens of Docs by a model that computes logits, one tag per token."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str,
        *,
        scorer: Scorer | None,
        label_smoothing: float = 0.0,
        **cfg: Any,
    ) -> None:
        """Hold the model.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): Docs to logits.
        name (str): name of the component.
        scorer (Callable | None): the scoring method.
        label_smoothing (float): share of the gold probability that goes to the other tags, in
            equal parts, while training.
        **cfg: settings that are saved with the component.
        RAISES (ValueError): if `label_smoothing` is no probability below 1.
        """
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                f"{name}: label_smoothing has to be at least 0 and below 1; got {label_smoothing}"
            )
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"labels": [], "label_smoothing": label_smoothing, **cfg}
        self._rehearsal_model: Model[list[Doc], list[Floats2d]] | None = None
        self._reported: set[str] = set()

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): the labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """RETURNS (list[str]): what `spacy init labels` stores: enough to recreate the labels."""
        return list(self.labels)

    @property
    @abstractmethod
    def tags(self) -> list[str]:
        """RETURNS (list[str]): the tag of each of the model's outputs."""

    @property
    @abstractmethod
    def valid_transitions(self) -> Transitions:
        """RETURNS (Transitions): zero where the tag scheme allows, minus infinity elsewhere."""

    @property
    def transitions(self) -> Transitions:
        """RETURNS (Transitions): scores of tag pairs by the way of decoding."""
        return decoder_of(self.model).transitions(self.valid_transitions)

    @abstractmethod
    def find_labels(self, example: Example) -> Iterable[str]:
        """Find the labels of an example's reference.

        example (Example): an example.
        RETURNS (Iterable[str]): labels, possibly repeated.
        """

    @abstractmethod
    def gold_tags(self, example: Example) -> Gold:
        """Align an example's annotation with the tokens of its predicted Doc.

        example (Example): an example.
        RETURNS (list[str | None]): a tag for each token, None where there is none to learn.
        """

    def soft_targets(self, example: Example) -> SoftTargets | None:
        """Find what a teacher says of the tokens of an example's predicted Doc.

        example (Example): an example.
        RETURNS (SoftTargets | None): None where there is nothing to learn from a teacher.
        """
        return None

    def add_label(self, label: str) -> int:
        """Add a label; a trained model predicts what it predicted before, see `Network.resize`.

        label (str): the label.
        RETURNS (int): 0 if it is there already, otherwise 1.
        RAISES (ValueError): if it is no string, or empty.
        """
        if not isinstance(label, str) or not label:
            raise ValueError(f"{self.name}: a label has to be a non-empty string; got {label!r}")
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_dim("nO"):
            # Probabilities are those of scores divided by the temperature, if there is one.
            margin = NEW_TAG_MARGIN * max(1.0, self.cfg.get("temperature", 1.0))
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
        """Collect the labels, and build the network.

        get_examples (Callable[[], Iterable[Example]]): gives a representative sample.
        nlp (Language | None): the pipeline.
        labels (list[str] | None): the labels; None to find them in the sample. Give them where
            the sample may lack some, as when streaming.
        RAISES (ValueError): no labels, no tokens, label smoothing with a way of decoding that has
            no use for it, or vectors with NaN.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        if labels is None:
            found = {label for example in get_examples() for label in self.find_labels(example)}
            labels = sorted(found)
        for label in labels:
            self.add_label(label)
        if not self.labels:
            raise ValueError(
                f"{self.name}: the training examples hold no labels for this component. Check "
                "that the corpus reads the right column, or give the labels under "
                f"[initialize.components.{self.name}]"
            )
        docs = [example.x for example in itertools.islice(get_examples(), 10) if len(example.x)]
        if not docs:
            raise ValueError(f"{self.name}: the first training examples have no tokens at all")
        n_tags = len(self.tags)
        self.model.initialize(X=docs, Y=[self.model.ops.alloc2f(len(doc), n_tags) for doc in docs])
        self._check_soft_labels()
        check_vectors(self.name, self.model, self.vocab)
        check_weights(self.name, self.model, "trained")

    @abstractmethod
    def decode(self, docs: Sequence[Doc], logits: Array) -> list[Any]:
        """Turn logits into what `set_annotations` writes.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): those of all their tokens, one Doc after the other, float
            (n_tokens, n_tags); an array of NumPy, or a tensor of torch.
        RETURNS (list[Any]): one value for each Doc.
        """

    def predict(self, docs: Iterable[Doc]) -> list[Any]:
        """Find the most probable annotation, see `decode`.

        docs (Iterable[Doc]): the Docs, which are not modified.
        RETURNS (list[Any]): one value for each Doc.
        """
        docs = list(docs)
        return [
            prediction
            for run, logits in self._predict_logits(docs)
            for prediction in self.decode(run, logits)
        ]

    def best_tags(self, docs: Sequence[Doc], logits: Array) -> Array:
        """Find the best tag of each token; those of all tokens of a sequence are a valid sequence.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `decode`.
        RETURNS (Array): indices into `tags`, int64 (n_tokens,).
        """
        sequences = self._sequences(docs, logits)
        return decoder_of(self.model).decode(*sequences, self.valid_transitions)

    def _sequences(self, docs: Sequence[Doc], logits: Array) -> tuple[Array, np.ndarray]:
        # The logits to decode, and the tokens of each sequence.
        return logits, np.array([len(doc) for doc in docs], dtype=np.int64)

    def logits(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Score the tags of each token.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (list[ndarray]): logits, float32 (n_tokens, n_tags) each.
        """
        return [
            own
            for run, logits in self._predict_logits(docs)
            for own in np.split(to_numpy(logits), np.cumsum([len(doc) for doc in run])[:-1])
        ]

    def _predict_logits(self, docs: Sequence[Doc]) -> Iterator[tuple[list[Doc], Array]]:
        # Runs of Docs and their logits, (n_tokens, n_tags), on the network's device.
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
        """Learn from a batch.

        examples (Iterable[Example]): the batch.
        drop (float): the dropout rate.
        sgd (Optimizer | None): the optimizer; None to step later.
        losses (dict[str, float] | None): the losses, updated by the component's name.
        RETURNS (dict[str, float]): the losses.
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
        loss, gradient, backprop_decoder = self._loss(examples, logits)
        backprop(gradient)
        backprop_decoder()
        if sgd:  # spaCy's training loop passes False to step later
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """Compute the loss of the way of decoding, over the tokens that have a gold tag.

        Where examples hold a teacher's outputs, too, cross-entropy is mixed, see `SoftTargets`.

        examples (Iterable[Example]): the batch.
        scores (list[Floats2d]): the model's logits.
        RETURNS (tuple[float, list[Floats2d]]): the mean over the batch's annotated tokens, and
            its gradient with respect to the logits.
        RAISES (ValueError): if an example has a label that the component does not know; or, with a
            way of decoding that learns whole sequences, an invalid sequence of tags, or a teacher's
            outputs; or if the loss is not finite.
        """
        return self._loss(list(examples), scores)[:2]

    def _loss(
        self, examples: list[Example], logits: list[Floats2d]
    ) -> tuple[float, list[Floats2d], Callable[[], None]]:
        # Loss, its gradient with respect to the logits, and a function that adds the one with
        # respect to what the decoder learns to the network's gradients: `update` calls that,
        # `get_loss` does not.
        targets = self._targets(examples)
        if not targets.n_learned:
            return 0.0, [part * 0.0 for part in logits], lambda: None
        decoder, valid = decoder_of(self.model), self.valid_transitions
        losses, gradient, backprop_decoder = differentiate(
            self.model,
            logits,
            lambda joined: decoder.loss(joined, targets, valid) / targets.n_learned,
        )
        for example, loss, part in zip(examples, losses, logits, strict=True):
            if np.isinf(loss) and self.model.ops.xp.isfinite(part).all():
                raise ValueError(
                    f"{self.name}: the tags of the training text {example.reference.text[:60]!r} "
                    f"are no valid sequence: {self.gold_tags(example)}. Correct its annotation, or "
                    "leave it out"
                )
        loss = check_loss(self.name, self.model, float(losses.sum()), examples)
        return loss, gradient, backprop_decoder

    def _targets(self, examples: list[Example]) -> Targets:
        soft_targets = [self.soft_targets(example) for example in examples]
        is_taught = any(part is not None for part in soft_targets)
        self._check_soft_labels(is_taught=is_taught)
        device = network_shim(self.model).device
        lengths = [len(example.predicted) for example in examples]
        column = {tag: index for index, tag in enumerate(self.tags)}
        return Targets(
            to_torch(self._gold_columns(examples), device),
            lengths,
            self.cfg["label_smoothing"],
            join(soft_targets, lengths, column, device) if is_taught else None,
        )

    def _check_soft_labels(self, *, is_taught: bool = False) -> None:
        if decoder_of(self.model).soft_labels:
            return
        decode = f'decode = "{network_shim(self.model).network.spec.decode}"'
        smoothing = self.cfg["label_smoothing"]
        if smoothing:
            raise ValueError(
                f"{self.name}: label_smoothing = {smoothing} spreads the gold probability of "
                f"single tokens, but {decode} learns whole sequences: set label_smoothing = 0.0, "
                'or decode = "constrained"'
            )
        if is_taught:
            raise ValueError(
                f"{self.name}: a teacher's outputs are for single tokens, but {decode} learns "
                'whole sequences: set decode = "constrained"'
            )

    def _gold_columns(self, examples: list[Example]) -> np.ndarray:
        # The output that each token's gold tag belongs to, -1 where it is missing, (n_tokens,).
        column = {tag: index for index, tag in enumerate(self.tags)}
        return np.array(
            [self._column(tag, column, eg) for eg in examples for tag in self.gold_tags(eg)],
            dtype=np.int64,
        )

    def _column(self, tag: str | None, column: dict[str, int], example: Example) -> int:
        if tag is None:
            return -1
        if tag not in column:
            raise ValueError(
                f"{self.name}: the tag {tag!r} in the training text "
                f"{example.reference.text[:60]!r} has a label that the component does not know; "
                f"known are {list(self.labels)}. Was the component initialised on other data? Add "
                "the label by add_label, or list all labels under "
                f"[initialize.components.{self.name}]"
            )
        return column[tag]

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
        **config: Any,
    ) -> dict[str, float]:
        """Learn to predict what the model predicted when `nlp.resume_training` was called.

        The softmax of the logits is learned, whatever the way of decoding: a constant that is added
        to a token's logits changes no probability. The transitions of a CRF stay.

        examples (Iterable[Example]): a batch; only the texts count.
        drop (float): the dropout rate.
        sgd (Optimizer | None): the optimizer.
        losses (dict[str, float] | None): the losses, updated by the component's name.
        RETURNS (dict[str, float]): the losses.
        RAISES (ValueError): if the model listens to a shared encoder, or the loss is not finite.
        """
        losses = {} if losses is None else losses
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.rehearse")
        docs = [example.predicted for example in examples]
        if self._rehearsal_model is None or not any(len(doc) for doc in docs):
            return losses
        if any(isinstance(node, Tok2VecListener) for node in self.model.walk()):
            raise ValueError(
                f"{self.name}: cannot rehearse with a listener, since spaCy runs no shared encoder "
                "in nlp.rehearse: call nlp.replace_listeners first"
            )
        device = network_shim(self.model).device
        before = self._rehearsal_model.predict(docs)
        targets = join_arrays(before, device, len(self.tags)).softmax(1)
        set_dropout_rate(self.model, drop)
        logits, backprop = self.model.begin_update(docs)
        found, gradient, _ = differentiate(
            self.model, logits, lambda joined: cross_entropy(joined, targets) / len(targets)
        )
        loss = check_loss(self.name, self.model, float(found.sum()), examples)
        backprop(gradient)
        if sgd:  # spaCy's training loop passes False to step later
            self.finish_update(sgd)
        losses[self.name] = losses.get(self.name, 0.0) + loss
        return losses

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Save the component.

        exclude (Iterable[str]): names of fields to leave out.
        RETURNS (bytes): what `from_bytes` reads.
        RAISES (ValueError): if a weight is NaN or infinite.
        """
        check_weights(self.name, self.model, "saved")
        return bytes(super().to_bytes(exclude=tuple(exclude)))

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """Save the component, see `to_bytes`.

        path (Path): a folder, which is made if need be.
        exclude (Iterable[str]): names of fields to leave out.
        """
        check_weights(self.name, self.model, "saved")
        super().to_disk(path, exclude=tuple(exclude))

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "SequenceTagger":
        """Load the component.

        bytes_data (bytes): what `to_bytes` returned.
        exclude (Iterable[str]): names of fields to leave out.
        RETURNS (SequenceTagger): self.
        RAISES (ValueError): if a weight is NaN or infinite.
        """
        super().from_bytes(bytes_data, exclude=tuple(exclude))
        return self._restore_labels()

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> "SequenceTagger":
        """Load the component from a folder that `to_disk` wrote, see `from_bytes`."""
        super().from_disk(path, exclude=tuple(exclude))
        return self._restore_labels()

    def _restore_labels(self) -> "SequenceTagger":
        for label in self.labels:
            self.vocab.strings.add(label)
        check_weights(self.name, self.model, "loaded")
        return self
