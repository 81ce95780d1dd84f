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

from ..model.devices import split_array
from ..model.thinc_model import crf_loss, crf_of, predict_runs, resize_output
from ..network.crf import CRF
from ..network.network import NEW_TAG_MARGIN
from ..network.transitions import Array, Transitions, to_numpy
from .factories import Scorer
from .finite import check_loss, check_vectors, check_weights
from .gold import Gold
from .soft_targets import SoftTargets, cross_entropy, join


class SequenceTagger(TrainablePipe):
    """Tags the tokens of Docs by a model that puts out emissions, one tag per token."""

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
        model (Model[List[Doc], List[Floats2d]]): Docs to emissions.
        name (str): name of the component.
        scorer (Optional[Callable]): the scoring method.
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
        """RETURNS (Tuple[str, ...]): the labels."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """RETURNS (List[str]): what `spacy init labels` stores: enough to recreate the labels."""
        return list(self.labels)

    @property
    @abstractmethod
    def tags(self) -> list[str]:
        """RETURNS (List[str]): the tag of each of the model's outputs."""

    @property
    @abstractmethod
    def legal_transitions(self) -> Transitions:
        """RETURNS (Transitions): zero where the tag scheme allows, minus infinity elsewhere."""

    @property
    def transitions(self) -> Transitions:
        """RETURNS (Transitions): the legal ones, scored by the CRF if the network has one."""
        crf = crf_of(self.model)
        return self.legal_transitions if crf is None else crf.transitions(self.legal_transitions)

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
        RETURNS (List[Optional[str]]): a tag for each token, None where there is none to learn.
        """

    def soft_targets(self, example: Example) -> SoftTargets | None:
        """Find what a teacher says of the tokens of an example's predicted Doc.

        example (Example): an example.
        RETURNS (Optional[SoftTargets]): None where there is nothing to learn from a teacher.
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
        nlp (Optional[Language]): the pipeline.
        labels (Optional[List[str]]): the labels; None to find them in the sample. Give them where
            the sample may lack some, as when streaming.
        RAISES (ValueError): no labels, no tokens, label smoothing with a CRF, or vectors with NaN.
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
        self._check_smoothing()
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
        RETURNS (List[Any]): one value for each Doc.
        """
        docs = list(docs)
        return [
            prediction
            for run, logits in self._predict_logits(docs)
            for prediction in self.decode(run, logits)
        ]

    def emissions(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Score the tags of each token.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (List[ndarray]): log scores, not normalised, float32 (n_tokens, n_tags) each.
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
        sgd (Optional[Optimizer]): the optimizer; None to step later.
        losses (Optional[Dict[str, float]]): the losses, updated by the component's name.
        RETURNS (Dict[str, float]): the losses.
        RAISES (ValueError): see `get_loss`.
        """
        crf = crf_of(self.model)
        if crf is None:
            updated: dict[str, float] = super().update(examples, drop=drop, sgd=sgd, losses=losses)
            return updated
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        docs = [example.predicted for example in examples]
        if not any(len(doc) for doc in docs):
            return losses
        set_dropout_rate(self.model, drop)
        scores, backprop = self.model.begin_update(docs)
        loss, gradient, backprop_transitions = self._crf_loss(crf, examples, scores)
        backprop(gradient)
        backprop_transitions()
        if sgd:  # spaCy's training loop passes False to step later
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """Compute the loss over the tokens that have a gold tag: cross-entropy, or the CRF's.

        Where examples hold a teacher's outputs, too, cross-entropy is mixed, see `SoftTargets`.

        examples (Iterable[Example]): the batch.
        scores (List[Floats2d]): the model's emissions.
        RETURNS (Tuple[float, List[Floats2d]]): the mean over the batch's annotated tokens, and
            its gradient with respect to the emissions.
        RAISES (ValueError): if an example has a label that the component does not know, or, with a
            CRF, an illegal sequence of tags, or a teacher's outputs; or if the loss is not finite.
        """
        examples = list(examples)
        crf = crf_of(self.model)
        if crf is not None:
            return self._crf_loss(crf, examples, scores)[:2]
        loss, gradient = self._token_loss(examples, scores)
        check_loss(self.name, self.model, loss, examples)
        return loss, split_array(gradient, [len(part) for part in scores])

    def _token_loss(
        self, examples: list[Example], scores: list[Floats2d]
    ) -> tuple[float, Floats2d]:
        gold = self._gold_columns(examples)
        xp = self.model.ops.xp
        known = np.flatnonzero(gold >= 0)
        n_tags = len(self.tags)
        smoothing = self.cfg["label_smoothing"] if n_tags > 1 else 0.0
        targets = xp.full((len(gold), n_tags), smoothing / max(n_tags - 1, 1), dtype="float32")
        targets[xp.asarray(known), xp.asarray(gold[known])] = 1.0 - smoothing
        emissions = xp.concatenate(scores)
        lengths = [len(part) for part in scores]
        soft_targets = [self.soft_targets(example) for example in examples]
        if all(part is None for part in soft_targets):
            weight = (gold >= 0) / max(len(known), 1)
            return cross_entropy(emissions, targets, xp.asarray(weight))
        column = {tag: index for index, tag in enumerate(self.tags)}
        lesson = join(soft_targets, lengths, column)
        share = lesson.share(gold >= 0)
        n_learned = max(int(((gold >= 0) | lesson.known).sum()), 1)
        loss, gradient = cross_entropy(
            emissions, targets, xp.asarray((gold >= 0) * (1.0 - share) / n_learned)
        )
        scale = xp.asarray(lesson.temperature)
        soft_loss, soft_gradient = cross_entropy(
            emissions / scale[:, None],
            xp.asarray(lesson.distributions),
            xp.asarray(share / n_learned) * scale**2,
        )
        gradient += soft_gradient / scale[:, None]
        return loss + soft_loss, gradient

    def _crf_loss(
        self, crf: CRF, examples: list[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d], Callable[[], None]]:
        # Loss, its gradient with respect to the emissions, and what adds the one with respect to
        # the transitions to the network's gradients: `update` calls that, `get_loss` does not.
        self._check_smoothing()
        if any(self.soft_targets(example) is not None for example in examples):
            raise ValueError(
                f'{self.name}: a teacher\'s outputs say what single tokens are, but decode = "crf" '
                'learns whole sequences: set decode = "legal"'
            )
        gold = self._gold_columns(examples)
        if not (gold >= 0).any():
            return 0.0, [part * 0.0 for part in scores], lambda: None
        losses, gradient, backprop_transitions = crf_loss(
            crf, scores, gold, self.legal_transitions, self.model.ops
        )
        for example, loss, part in zip(examples, losses, scores, strict=True):
            if np.isinf(loss) and self.model.ops.xp.isfinite(part).all():
                raise ValueError(
                    f"{self.name}: the tags of the training text {example.reference.text[:60]!r} "
                    f"are no legal sequence: {self.gold_tags(example)}. Correct its annotation, or "
                    "leave it out"
                )
        loss = check_loss(self.name, self.model, float(losses.sum()), examples)
        return loss, gradient, backprop_transitions

    def _check_smoothing(self) -> None:
        if self.cfg["label_smoothing"] and crf_of(self.model) is not None:
            raise ValueError(
                f"{self.name}: label_smoothing = {self.cfg['label_smoothing']} spreads the gold "
                'probability of single tokens, but decode = "crf" learns whole sequences: set '
                'label_smoothing = 0.0, or decode = "legal"'
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

        With a CRF, that is what the emissions of each token say by themselves: they are pulled
        back up to a constant, which no probability depends on, and the transitions stay.

        examples (Iterable[Example]): a batch; only the texts count.
        drop (float): the dropout rate.
        sgd (Optional[Optimizer]): the optimizer.
        losses (Optional[Dict[str, float]]): the losses, updated by the component's name.
        RETURNS (Dict[str, float]): the losses.
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
        xp = self.model.ops.xp
        before = xp.concatenate(self._rehearsal_model.predict(docs))
        targets = xp.exp(before - before.max(1, keepdims=True))
        targets /= targets.sum(1, keepdims=True)
        set_dropout_rate(self.model, drop)
        scores, backprop = self.model.begin_update(docs)
        weight = xp.full(len(targets), 1.0 / len(targets))
        loss, gradient = cross_entropy(xp.concatenate(scores), targets, weight)
        check_loss(self.name, self.model, loss, examples)
        backprop(split_array(gradient, [len(doc) for doc in docs]))
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
