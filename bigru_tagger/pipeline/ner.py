"""The component `bigru_ner`: named entities, written to `doc.ents`."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from spacy.attrs import ENT_IOB, ENT_TYPE, IS_SPACE
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..schemes import OUTSIDE, biluo_tag
from ..scoring.scoring import same_words
from ..stages import ANNOTATE, stage
from .factories import Scorer
from .gold import Gold
from .soft_targets import SoftTargets
from .spans import Entity, SpanTagger, Tokens

_MISSING, _INSIDE, _BEGIN = 0, 1, 3  # values of ENT_IOB; 2 is outside


class BiGRUNer(SpanTagger):
    """Named-entity recogniser."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "bigru_ner",
        *,
        confidence: str | None = "confidence",
        threshold: float = 0.0,
        recall_bias: float = 0.0,
        label_smoothing: float = 0.0,
        scorer: Scorer | None = None,
    ) -> None:
        """Hold the model.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): Docs to logits.
        name (str): name of the component.
        confidence (str | None): see `make_bigru_ner`.
        threshold (float): see `make_bigru_ner`.
        recall_bias (float): see `make_bigru_ner`.
        label_smoothing (float): see `make_bigru_ner`.
        scorer (Callable | None): the scoring method.
        """
        super().__init__(
            vocab,
            model,
            name,
            scorer=scorer,
            label_smoothing=label_smoothing,
            threshold=threshold,
            recall_bias=recall_bias,
        )
        self.confidence = confidence
        self._register_extension()

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
        taught = [] if targets is None else targets.labels
        return [*(entity.label_ for entity in example.reference.ents), *taught]

    def soft_targets(self, example: Example) -> SoftTargets | None:
        """See `SequenceTagger.soft_targets`.

        RAISES (ValueError): if the teacher spoke of other tokens.
        """
        targets = SoftTargets.of(example.reference)
        if targets is not None and not same_words(example):
            raise ValueError(
                f"{self.name}: the training text {example.reference.text[:60]!r} comes with a "
                "teacher's outputs, but its predicted Doc has other tokens than the teacher saw: "
                "let no augmenter or tokenizer change them"
            )
        return targets

    def gold_tags(self, example: Example) -> Gold:
        """See `SequenceTagger.gold_tags`."""
        if same_words(example):
            return self.findable(biluo(example.reference), example)
        aligned = example.get_aligned_ner()
        return self.findable([None if tag in (None, "-") else tag for tag in aligned], example)

    def forbidden(self, tokens: Tokens) -> np.ndarray | None:
        """Keep entities that are there already, and tokens that `doc.set_ents` blocked, outside.

        tokens (Tokens): the tokens.
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
        """Write the entities to `doc.ents`, beside those that are there already.

        docs (Iterable[Doc]): the Docs.
        predictions (list[list[Entity]]): what `predict` returned.
        """
        self._register_extension()  # a pickled component may wake up in a new process
        labels = {label: self.vocab.strings.add(label) for label in self.labels}
        for doc, entities in zip(docs, predictions, strict=True):
            spans = [Span(doc, found.start, found.end, labels[found.label]) for found in entities]
            # Called also without entities, or the tokens would count as not annotated.
            if doc.to_array(ENT_IOB).any():
                doc.set_ents([*doc.ents, *spans], blocked=_blocked(doc), default="outside")
            else:
                doc.set_ents(spans, default="outside")
            if self.confidence is not None:
                # As `span._.set` does it, at half the cost.
                data = cast(dict[Any, Any], doc.user_data)
                for span, found in zip(spans, entities, strict=True):
                    key = ("._.", self.confidence, span.start_char, span.end_char)
                    data[key] = found.probability


def biluo(doc: Doc) -> Gold:
    """Read the entities of a Doc as tags.

    doc (Doc): the Doc.
    RETURNS (list[str | None]): a tag for each token, None where it is not annotated or blocked.
    """
    # What `Example.get_aligned_ner` gives for Docs with the same words, at a tenth of its cost.
    # It calls spaces outside where nobody says more, and does not tell about blocked tokens.
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


def _blocked(doc: Doc) -> list[Span]:
    iob, label = doc.to_array([ENT_IOB, ENT_TYPE]).reshape(len(doc), 2).T
    return [doc[i : i + 1] for i in np.flatnonzero((iob == _BEGIN) & (label == 0)).tolist()]
