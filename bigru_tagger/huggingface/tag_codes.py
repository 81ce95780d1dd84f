"""From the tags of our components to the labels of Hugging Face models, and back.

Entities and chunks are BILUO there, since that tells the end of each, and IOB2 here, which is all
that `transformers` and data sets know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..pipeline.component import SequenceTagger
from ..pipeline.spans import SpanTagger
from ..schemes import BEGIN, INSIDE, LAST, UNIT, Spans, iob2_labels, iob2_tags

# Softmax in single precision has to tell the highest from the next.
_MARGIN = 1.001
_SMALLEST = 1e-30


@dataclass(frozen=True)
class TagCodes:
    """Which tag of a component is which label.

    component (SequenceTagger): the component.
    labels (List[str]): its labels.
    order (ndarray): ids of O, and of B- and I- of each label; or of each label of a component that
        does not find spans, int64 (n_labels,).
    """

    component: SequenceTagger
    labels: list[str]
    order: np.ndarray

    @classmethod
    def of(cls, component: SequenceTagger, tags: Sequence[str]) -> "TagCodes":
        """Find the component's labels among the tags of a model.

        component (SequenceTagger): the component, which need not have labels yet.
        tags (Sequence[str]): the tags by their ids, in any order.
        RETURNS (TagCodes): the codes.
        RAISES (ValueError): if a component of spans is given tags that are not O, and B- and I- of
            each label.
        """
        if not isinstance(component, SpanTagger):
            return cls(component, list(tags), np.arange(len(tags)))
        labels = iob2_labels(tags)
        if not labels:
            raise ValueError(
                f"{component.name}: id2label has to hold 'O', and 'B-' and 'I-' of each label; it "
                f"holds {list(tags)}"
            )
        ids = {tag: number for number, tag in enumerate(tags)}
        return cls(component, labels, np.array([ids[tag] for tag in iob2_tags(labels)]))

    @property
    def _is_spans(self) -> bool:
        return isinstance(self.component, SpanTagger)

    def label_logits(self, logits: Tensor) -> Tensor:
        """Sum the exponentiated logits of the tags that each label stands for.

        logits (Tensor): the component's logits, (n_tokens, n_tags).
        RETURNS (Tensor): logits by id, (n_tokens, n_labels).
        """
        if not self._is_spans:
            return logits
        parts = logits[:, 1:].unflatten(1, (len(self.labels), 4))
        begin = torch.logaddexp(parts[:, :, BEGIN], parts[:, :, UNIT])
        inside = torch.logaddexp(parts[:, :, INSIDE], parts[:, :, LAST])
        spans = torch.stack([begin, inside], 2).flatten(1)
        by_label = torch.cat([logits[:, :1], spans], 1)
        return by_label[:, torch.from_numpy(self.order.argsort()).to(logits.device)]

    def component_tags(
        self, ids: np.ndarray, lengths: Sequence[int], *, ignored: int
    ) -> np.ndarray:
        """Turn labels into the component's tags.

        As conlleval reads them, I- that does not go on with an entity of its label begins one.

        ids (ndarray): label of each token, int64 (n_tokens,).
        lengths (Sequence[int]): tokens of each text.
        ignored (int): the id of tokens without a label.
        RETURNS (ndarray): tag of each token, -1 where there is none, int64 (n_tokens,).
        RAISES (ValueError): if an id is out of range.
        """
        known = ids != ignored
        if ((ids < 0) | (ids >= len(self.order)))[known].any():
            raise ValueError(
                f"labels have to be ids from 0 to {len(self.order) - 1}, or {ignored}; "
                f"got {sorted(set(ids[known].tolist()))}"
            )
        tags = np.where(known, self.order.argsort()[np.where(known, ids, 0)], -1)
        if not self._is_spans:
            return tags
        columns = Spans.read(tags, lengths, "IOB2").write(len(tags))
        return np.where(known, columns, -1)

    def found_labels(
        self, found: Sequence[Any], lengths: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn what the component found into labels.

        found (Sequence[Any]): for each text, what `SequenceTagger.decode` returned.
        lengths (Sequence[int]): tokens of each text.
        RETURNS (Tuple[ndarray, ndarray]): label of each token, int64 (n_tokens,), and the
            probability of its entity, not a number where none is told, float64 (n_tokens,).
        """
        n_tokens = sum(lengths)
        sure = np.full(n_tokens, np.nan)
        component = self.component
        if not isinstance(component, SpanTagger):
            return np.concatenate([np.zeros(0, dtype=np.int64), *found]), sure
        numbers = {label: number for number, label in enumerate(component.labels)}
        offsets = np.cumsum([0, *lengths])[:-1].tolist()
        rows = [
            (offset + entity.start, offset + entity.end, numbers[entity.label])
            for offset, entities in zip(offsets, found, strict=True)
            for entity in entities
        ]
        spans = Spans(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)
        if component.with_probabilities:
            probabilities = [entity.probability for entities in found for entity in entities]
            for (start, end, _), probability in zip(rows, probabilities, strict=True):
                sure[start:end] = probability
        return self.order[spans.write(n_tokens, "IOB2")], sure


def tell_labels(probabilities: np.ndarray, labels: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Make a given label of each token its most probable one.

    probabilities (ndarray): of the labels, float64 (n_tokens, n_labels).
    labels (ndarray): the given label of each token, int64 (n_tokens,).
    sure (ndarray): the probability that it is to have, not a number for its own; lower than that
        of all others together at most as far as it remains the highest, float64 (n_tokens,).
    RETURNS (ndarray): probabilities whose highest is the given label's, (n_tokens, n_labels).
    """
    n_tokens, n_labels = probabilities.shape
    if n_labels == 1:
        return np.ones_like(probabilities)
    rows = np.arange(n_tokens)
    own = np.where(np.isnan(sure), probabilities[rows, labels], sure)
    # Even if all others are alike, none of them may have more.
    own = own.clip(_MARGIN / n_labels, 1.0)
    others = np.maximum(probabilities, _SMALLEST)
    others[rows, labels] = 0.0
    others *= ((1.0 - own) / others.sum(1))[:, None]
    level = others.max(1) * _MARGIN >= own
    others[level] = ((1.0 - own[level]) / (n_labels - 1))[:, None]
    others[rows, labels] = own
    return cast(np.ndarray, np.maximum(others, _SMALLEST))
