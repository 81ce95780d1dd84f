"""Map the tags of a spaCy component to the labels of a Hugging Face model, and back.

Components of entities and chunks use BILUO tags, which mark the end of each span. The labels of the
Hugging Face model are IOB2 tags, the scheme of `transformers` and most datasets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..pipeline.component import SequenceTagger
from ..pipeline.spans import SpanTagger
from ..schemes import iob2_labels, iob2_tags
from ..tag_arrays import BEGIN, INSIDE, LAST, UNIT, Spans

# The highest probability must stay the highest after a softmax in single precision.
_MARGIN = 1.001
_SMALLEST = 1e-30


@dataclass(frozen=True)
class TagCodes:
    """The mapping between the tags of a component and the label ids of a model.

    component (SequenceTagger): the component.
    labels (list[str]): the labels of the component.
    order (ndarray): int64 (n_labels,). For a component of spans, the ids of O, and of B- and I- of
        each label; for any other component, the id of each label.
    """

    component: SequenceTagger
    labels: list[str]
    order: np.ndarray

    @classmethod
    def of(cls, component: SequenceTagger, tags: Sequence[str]) -> "TagCodes":
        """Create the mapping from the labels of a model.

        component (SequenceTagger): the component. Its own labels are not used.
        tags (Sequence[str]): the labels of the model, in the order of their ids.
        RETURNS (TagCodes): the mapping.
        RAISES (ValueError): if the component predicts spans, and the tags are not O, and B- and I-
            of each label.
        """
        if not isinstance(component, SpanTagger):
            return cls(component, list(tags), np.arange(len(tags)))
        labels = iob2_labels(tags)
        if not labels:
            raise ConfigError(
                f"{component.name}: id2label must contain 'O', and 'B-' and 'I-' of each label, "
                f"not {list(tags)}"
            )
        ids = {tag: number for number, tag in enumerate(tags)}
        return cls(component, labels, np.array([ids[tag] for tag in iob2_tags(labels)]))

    @property
    def _is_spans(self) -> bool:
        return isinstance(self.component, SpanTagger)

    def label_logits(self, tag_logits: Tensor) -> Tensor:
        """Convert tag logits to label logits.

        The logit of a label is the logarithm of the summed exponentials (logaddexp) of the logits
        of its tags. So the softmax of the labels sums the probabilities of their tags.

        tag_logits (Tensor): logits of the component's tags, (n_tokens, n_tags).
        RETURNS (Tensor): logits of the labels, in the order of their ids, (n_tokens, n_labels).
        """
        if not self._is_spans:
            return tag_logits
        parts = tag_logits[:, 1:].unflatten(1, (len(self.labels), 4))
        begin = torch.logaddexp(parts[:, :, BEGIN], parts[:, :, UNIT])
        inside = torch.logaddexp(parts[:, :, INSIDE], parts[:, :, LAST])
        spans = torch.stack([begin, inside], 2).flatten(1)
        logits = torch.cat([tag_logits[:, :1], spans], 1)
        return logits[:, torch.from_numpy(self.order.argsort()).to(logits.device)]

    def component_tags(
        self, ids: np.ndarray, lengths: Sequence[int], *, ignored: int
    ) -> np.ndarray:
        """Convert label ids to tags of the component.

        An I- tag that does not continue an entity of its label starts one, as in conlleval.

        ids (ndarray): label id of each token, int64 (n_tokens,).
        lengths (Sequence[int]): number of tokens of each text.
        ignored (int): the id of tokens without a label.
        RETURNS (ndarray): tag index of each token, -1 if it has no label, int64 (n_tokens,).
        RAISES (ValueError): if an id is out of range.
        """
        labelled = ids != ignored
        if ((ids < 0) | (ids >= len(self.order)))[labelled].any():
            raise DataError(
                f"labels must be ids from 0 to {len(self.order) - 1}, or {ignored}; "
                f"got {sorted(set(ids[labelled].tolist()))}"
            )
        tags = np.where(labelled, self.order.argsort()[np.where(labelled, ids, 0)], -1)
        if not self._is_spans:
            return tags
        columns = Spans.read(tags, lengths, "IOB2").write(len(tags))
        return np.where(labelled, columns, -1)

    def predicted_labels(
        self, decoded: Sequence[Any], lengths: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Convert predictions of the component to label ids.

        decoded (Sequence[Any]): the output of `SequenceTagger.decode`, one item per text.
        lengths (Sequence[int]): number of tokens of each text.
        RETURNS (tuple[ndarray, ndarray]): label id of each token, int64 (n_tokens,), and the
            probability of its entity, float64 (n_tokens,). The probability is NaN for tokens
            outside entities, and if the component does not compute probabilities.
        """
        n_tokens = sum(lengths)
        confidence = np.full(n_tokens, np.nan)
        component = self.component
        if not isinstance(component, SpanTagger):
            return np.concatenate([np.zeros(0, dtype=np.int64), *decoded]), confidence
        numbers = {label: number for number, label in enumerate(component.labels)}
        offsets = np.cumsum([0, *lengths])[:-1].tolist()
        rows = [
            (offset + entity.start, offset + entity.end, numbers[entity.label])
            for offset, entities in zip(offsets, decoded, strict=True)
            for entity in entities
        ]
        spans = Spans(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)
        if component.with_probabilities:
            probabilities = [entity.probability for entities in decoded for entity in entities]
            for (start, end, _), probability in zip(rows, probabilities, strict=True):
                confidence[start:end] = probability
        return self.order[spans.write(n_tokens, "IOB2")], confidence


def set_top_labels(
    probabilities: np.ndarray, labels: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
    """Adjust probabilities so that a given label of each token is its most probable one.

    The other labels share the remaining probability in proportion to their own probabilities. If
    one of them would not stay below the given label, they share it equally.

    probabilities (ndarray): label probabilities, float64 (n_tokens, n_labels).
    labels (ndarray): the given label id of each token, int64 (n_tokens,).
    confidence (ndarray): the probability of the given label, float64 (n_tokens,); NaN keeps its
        value in `probabilities`. It is raised to just above 1 / n_labels if it is lower.
    RETURNS (ndarray): the adjusted probabilities, float64 (n_tokens, n_labels).
    """
    n_tokens, n_labels = probabilities.shape
    if n_labels == 1:
        return np.ones_like(probabilities)
    rows = np.arange(n_tokens)
    top = np.where(np.isnan(confidence), probabilities[rows, labels], confidence)
    # With a lower value, at least one other label would be more probable.
    top = top.clip(_MARGIN / n_labels, 1.0)
    adjusted = np.maximum(probabilities, _SMALLEST)
    adjusted[rows, labels] = 0.0
    adjusted *= ((1.0 - top) / adjusted.sum(1))[:, None]
    too_high = adjusted.max(1) * _MARGIN >= top
    adjusted[too_high] = ((1.0 - top[too_high]) / (n_labels - 1))[:, None]
    adjusted[rows, labels] = top
    return cast(np.ndarray, np.maximum(adjusted, _SMALLEST))
