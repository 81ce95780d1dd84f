"""The component `bigru_ner`: named entities, written to `doc.ents`."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from spacy.attrs import ENT_IOB, ENT_TYPE, IS_SPACE
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import DataError
from ..schemes import OUTSIDE, biluo_tag, label_of
from ..scoring.scoring import same_words
from ..stages import ANNOTATE, stage
from ..tasks import ENTITIES
from .factories import Scorer
from .gold import Gold
from .label_settings import learns
from .soft_targets import SoftTargets
from .spans import Entity, SpanTagger, Tokens

_MISSING, _INSIDE, _BEGIN = 0, 1, 3  # values of ENT_IOB; 2 is outside


class BiGRUNer(SpanTagger):
    """Named-entity recognizer."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "bigru_ner",
        *,
        confidence: str | None = "confidence",
        threshold: float = 0.0,
        recall_bias: float | Mapping[str, float] | None = None,
        incorrect_spans_key: str | None = None,
        label_smoothing: float = 0.0,
        label_weights: Mapping[str, float] | None = None,
        labels: Sequence[str] | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        """Initialize the component.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
        name (str): name of the component.
        confidence (str | None): see `make_bigru_ner`.
        threshold (float): see `make_bigru_ner`.
        recall_bias (float | Mapping[str, float] | None): see `make_bigru_ner`.
        incorrect_spans_key (str | None): see `make_bigru_ner`.
        label_smoothing (float): see `make_bigru_ner`.
        label_weights (Mapping[str, float] | None): see `make_bigru_ner`.
        labels (Sequence[str] | None): see `make_bigru_ner`.
        scorer (Callable | None): the scoring method.
        """
        super().__init__(
            vocab,
            model,
            name,
            scorer=scorer,
            label_smoothing=label_smoothing,
            label_weights=label_weights,
            learned_labels=labels,
            threshold=threshold,
            recall_bias=recall_bias,
            incorrect_spans_key=incorrect_spans_key,
        )
        self.confidence = confidence
        self._register_extension()
        if confidence is None:
            return
        _, method, getter, _ = Span.get_extension(confidence)
        if method is not None or getter is not None:
            warnings.warn(
                f"{name}: the extension span._.{confidence} has a getter or a method, so it does "
                "not hold the probability of an entity: set `confidence` to another name, or to "
                "null",
                UserWarning,
                stacklevel=2,
            )

    def _register_extension(self) -> None:
        if self.confidence is not None and not Span.has_extension(self.confidence):
            Span.set_extension(self.confidence, default=None)

    @property
    def with_probabilities(self) -> bool:
        """See `SpanTagger.with_probabilities`."""
        return self.confidence is not None or self.cfg["threshold"] > 0.0

    def find_labels(self, example: Example) -> Iterable[str]:
        """See `SequenceTagger.find_labels`."""
        targets = SoftTargets.of(example.reference)
        soft = [] if targets is None else targets.labels
        return [*(entity.label_ for entity in example.reference.ents), *soft]

    def soft_targets(self, example: Example) -> SoftTargets | None:
        """See `SequenceTagger.soft_targets`.

        RAISES (ValueError): if the predicted Doc and the reference have different tokens.
        """
        targets = SoftTargets.of(example.reference)
        if targets is not None and not same_words(example):
            raise DataError(
                f"{self.name}: the training text {example.reference.text[:60]!r} has a teacher's "
                "outputs, but its predicted Doc has other tokens than the teacher's input. Remove "
                "augmenters that change tokens"
            )
        if targets is not None and "learned_labels" in self.cfg:
            return targets.select(self.cfg["learned_labels"])
        return targets

    def annotated_labels(self, example: Example) -> Collection[str] | None:
        """See `SequenceTagger.annotated_labels`."""
        return ENTITIES.annotated_labels(example.reference)

    def gold_tags(self, example: Example) -> Gold:
        """See `SequenceTagger.gold_tags`."""
        if same_words(example):
            tags = biluo(example.reference)
        else:
            aligned = example.get_aligned_ner()
            tags = [None if tag in (None, "-") else tag for tag in aligned]
        if "learned_labels" in self.cfg:
            tags = [
                tag if tag is None or learns(self.cfg, label_of(tag)) else OUTSIDE for tag in tags
            ]
        return self.findable(tags, example)

    def forbidden(self, tokens: Tokens) -> np.ndarray | None:
        """Also forbid all tags except O on tokens of existing entities and on blocked tokens.

        tokens (Tokens): the tokens. `doc.set_ents` marks blocked tokens.
        RETURNS (ndarray | None): see `SpanTagger.forbidden`.
        """
        forbidden = super().forbidden(tokens)
        taken = (tokens.ent_iob == _INSIDE) | (tokens.ent_iob == _BEGIN)
        if not taken.any():
            return forbidden
        if forbidden is None:
            forbidden = np.zeros((len(taken), len(self.tags)), dtype=bool)
        forbidden[taken, 1:] = True
        return forbidden

    @stage(ANNOTATE)
    def set_annotations(self, docs: Iterable[Doc], predictions: list[list[Entity]]) -> None:
        """Add the entities to `doc.ents`, and their probabilities to the extension attribute.

        Existing entities and blocked tokens do not change.

        docs (Iterable[Doc]): the Docs, which are modified.
        predictions (list[list[Entity]]): the predictions of `predict`, one list per Doc.
        """
        self._register_extension()  # a pickled component may run in a new process
        labels = {label: self.vocab.strings.add(label) for label in self.labels}
        for doc, entities in zip(docs, predictions, strict=True):
            spans = [Span(doc, found.start, found.end, labels[found.label]) for found in entities]
            # Also without entities: otherwise, the tokens would count as not annotated.
            if doc.to_array(ENT_IOB).any():
                doc.set_ents([*doc.ents, *spans], blocked=_blocked(doc), default="outside")
            else:
                doc.set_ents(spans, default="outside")
            if self.confidence is not None:
                # Equivalent to `span._.set`, in half the time.
                data = cast(dict[Any, Any], doc.user_data)
                for span, found in zip(spans, entities, strict=True):
                    key = ("._.", self.confidence, span.start_char, span.end_char)
                    data[key] = found.probability


def biluo(doc: Doc) -> Gold:
    """Convert the entities of a Doc to BILUO tags.

    doc (Doc): the Doc.
    RETURNS (list[str | None]): a tag per token, None for tokens that are not annotated or blocked.
    """
    # Same result as `Example.get_aligned_ner` for Docs with equal words, in a tenth of the time.
    # White space without annotation is tagged O if other tokens are annotated.
    iob, label, space = doc.to_array([ENT_IOB, ENT_TYPE, IS_SPACE]).reshape(len(doc), 3).T
    begins = (iob == _BEGIN) & (label != 0)
    inside = iob == _INSIDE
    ends = (begins | inside) & ~np.append(inside[1:], False)
    blocked = (iob == _BEGIN) & (label == 0)
    unknown = ((iob == _MISSING) | blocked) & ((space == 0) | (not iob.any()))
    tags: Gold = [OUTSIDE] * len(doc)
    for i in np.flatnonzero(unknown).tolist():
        tags[i] = None
    for i in np.flatnonzero(begins | inside).tolist():
        name = doc.vocab.strings[int(label[i])]
        tags[i] = biluo_tag(name, first=bool(begins[i]), last=bool(ends[i]))
    return tags


def certain_biluo(doc: Doc) -> Gold:
    """Convert the entities of a Doc to BILUO tags, without tags that are not certain.

    doc (Doc): the Doc.
    RETURNS (list[str | None]): as `biluo`. If only some labels are annotated, also None for tokens
        outside of all entities, see `Task.annotated_labels`.
    """
    tags = biluo(doc)
    if ENTITIES.annotated_labels(doc) is None:
        return tags
    return [None if tag == OUTSIDE else tag for tag in tags]


def _blocked(doc: Doc) -> list[Span]:
    iob, label = doc.to_array([ENT_IOB, ENT_TYPE]).reshape(len(doc), 2).T
    return [doc[i : i + 1] for i in np.flatnonzero((iob == _BEGIN) & (label == 0)).tolist()]
