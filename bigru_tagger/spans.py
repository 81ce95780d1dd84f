"""What the components share that find labelled spans: from tags to spans and their probability."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from spacy.attrs import IS_SPACE
from spacy.tokens import Doc

from .component import SequenceTagger
from .decoding import Transitions, decode, span_probabilities

# Every batch asks for the same, and to make it takes a step for each pair of tags.
_biluo_transitions = lru_cache(maxsize=16)(Transitions.biluo)


@dataclass(frozen=True)
class Entity:
    """A labelled span of a Doc, with its probability.

    start (int): first token.
    end (int): token behind the last.
    label (str): its label.
    probability (float): share of this entity among all legal readings, by the model.
    """

    start: int
    end: int
    label: str
    probability: float


class SpanTagger(SequenceTagger):
    """Finds spans that do not overlap, as BILUO tags of their tokens.

    The setting `recall_bias` is added to the emissions of all tags but O: above zero, more spans
    are found, and more of them are wrong. Where names are rare and new, as in social media, F1
    gains from that; it shifts the prior, as the logit adjustment of Menon et al. 2021,
    arXiv 2007.07314, and the probabilities with it. Spans less probable than the setting
    `threshold` are dropped.
    """

    @property
    def with_probabilities(self) -> bool:
        """RETURNS (bool): whether spans need their probability; it is 1 otherwise."""
        return True

    @property
    def tags(self) -> list[str]:
        """RETURNS (List[str]): O, and B-, I-, L- and U- of each label."""
        return ["O", *(f"{part}-{label}" for label in self.labels for part in "BILU")]

    @property
    def legal_transitions(self) -> Transitions:
        """RETURNS (Transitions): those of the BILUO scheme."""
        return _biluo_transitions(tuple(self.tags))

    def predict(self, docs: Iterable[Doc]) -> list[list[Entity]]:
        """Find the most probable spans.

        docs (Iterable[Doc]): the Docs, which are not modified.
        RETURNS (List[List[Entity]]): the spans of each Doc, in their order.
        """
        docs = list(docs)
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        emissions = np.concatenate([np.zeros((0, len(self.tags))), *self.emissions(docs)])
        for doc, end in zip(docs, lengths.cumsum(), strict=True):
            self.constrain(doc, emissions[end - len(doc) : end])
        found = self._find_spans(emissions, lengths)
        threshold = self.cfg["threshold"]
        return [[span for span in spans if span.probability >= threshold] for spans in found]

    def constrain(self, doc: Doc, emissions: np.ndarray) -> None:
        """Shift emissions by `recall_bias`, and rule readings out by minus infinity.

        No span begins or ends in a space.

        doc (Doc): the Doc.
        emissions (ndarray): its emissions, changed in place, (n_tokens, n_tags).
        """
        emissions[:, 1:] += self.cfg["recall_bias"]
        spaces = doc.to_array(IS_SPACE).reshape(-1).astype(bool)
        if spaces.any():
            boundary = np.array([tag[0] in "BLU" for tag in self.tags])
            emissions[np.ix_(spaces, boundary)] = -np.inf

    def _find_spans(self, scores: np.ndarray, lengths: np.ndarray) -> list[list[Entity]]:
        transitions = self.transitions
        tags = decode(scores, lengths, transitions)
        label, part = np.divmod(tags - 1, 4)  # of the tags behind O: which label, which of BILU
        begin = np.flatnonzero((tags > 0) & np.isin(part, (0, 3)))
        end = np.flatnonzero((tags > 0) & np.isin(part, (2, 3))) + 1
        spans = np.stack([begin, end], 1)
        probabilities = np.ones(len(spans))
        if self.with_probabilities:
            probabilities = span_probabilities(scores, lengths, transitions, spans, tags)
        first_token = np.repeat(lengths.cumsum() - lengths, lengths)
        doc_of_token = np.repeat(np.arange(len(lengths)), lengths)
        found: list[list[Entity]] = [[] for _ in lengths]
        for (start, stop), probability in zip(spans.tolist(), probabilities.tolist(), strict=True):
            offset = int(first_token[start])
            name = self.labels[label[start]]
            entity = Entity(start - offset, stop - offset, name, probability)
            found[doc_of_token[start]].append(entity)
        return found
