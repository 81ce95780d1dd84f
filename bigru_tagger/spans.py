"""What the components share that find labelled spans: from tags to spans and their probability."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from spacy.attrs import ENT_IOB, IS_SPACE, SENT_START
from spacy.tokens import Doc

from .adapter import crf_of
from .component import SequenceTagger
from .decoding import Transitions, decode, span_probabilities, tag_probabilities

# Every batch asks for the same, and to make it takes a step for each pair of tags.
_biluo_transitions = lru_cache(maxsize=16)(Transitions.biluo)


def biluo_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the BILUO scheme.

    labels (Iterable[str]): the labels.
    RETURNS (List[str]): O, and B-, I-, L- and U- of each label.
    """
    return ["O", *(f"{part}-{label}" for label in labels for part in "BILU")]


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

    def moved(self, tokens: int) -> "Entity":
        """Count from another token on.

        tokens (int): how many further behind the span then is.
        RETURNS (Entity): the same span.
        """
        return Entity(self.start + tokens, self.end + tokens, self.label, self.probability)


class Tokens(NamedTuple):
    """What decoding has to know of the tokens of Docs, one after the other.

    starts (ndarray): whether a Doc, or a sentence that it tells, begins here, bool (n_tokens,).
    is_space (ndarray): whether it is white space, bool (n_tokens,).
    ent_iob (ndarray): spaCy's attribute: 0 for not annotated, 1 inside of an entity, 2 outside, 3
        at its beginning, int (n_tokens,).
    """

    starts: np.ndarray
    is_space: np.ndarray
    ent_iob: np.ndarray

    @classmethod
    def from_docs(cls, docs: Sequence[Doc]) -> "Tokens":
        """Read Docs.

        docs (Sequence[Doc]): the Docs.
        RETURNS (Tokens): their tokens.
        """
        none = np.zeros((0, 3), dtype=np.uint64)
        attrs = [SENT_START, IS_SPACE, ENT_IOB]
        columns = [doc.to_array(attrs).reshape(len(doc), 3) for doc in docs]
        starts, is_space, ent_iob = np.concatenate([none, *columns]).T
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        starts = starts == 1  # -1 and 0 are no and unknown
        starts[(lengths.cumsum() - lengths)[lengths > 0]] = True
        return cls(starts, is_space != 0, ent_iob)

    @property
    def lengths(self) -> np.ndarray:
        """RETURNS (ndarray): tokens from each start to the next, int64 (n_starts,)."""
        return np.diff(np.append(np.flatnonzero(self.starts), len(self.starts)))


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
        return biluo_tags(self.labels)

    @property
    def legal_transitions(self) -> Transitions:
        """RETURNS (Transitions): those of the BILUO scheme."""
        return _biluo_transitions(tuple(self.tags))

    def predict(self, docs: Iterable[Doc]) -> list[list[Entity]]:
        """Find the most probable spans.

        As with spaCy's entity recogniser, none reaches over a sentence start that its Doc tells. A
        CRF, which has learned the tags of whole Docs, is free to do that.

        docs (Iterable[Doc]): the Docs, which are not modified.
        RETURNS (List[List[Entity]]): the spans of each Doc, in their order.
        """
        docs = list(docs)
        sizes = np.array([len(doc) for doc in docs], dtype=np.int64)
        found = self._find_spans(*self._sequences(docs))
        by_doc: list[list[Entity]] = [[] for _ in docs]
        begins = sizes.cumsum() - sizes
        doc_of_token = np.repeat(np.arange(len(docs)), sizes)
        for entity in found:
            if entity.probability >= self.cfg["threshold"]:
                doc = doc_of_token[entity.start]
                by_doc[doc].append(entity.moved(-int(begins[doc])))
        return by_doc

    def tag_probabilities(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the probability of each tag at each token, among all readings of `predict`.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (List[ndarray]): in the order of `tags`, float64 (n_tokens, n_tags) each.
        """
        probabilities = tag_probabilities(*self._sequences(docs), self.transitions)
        return np.split(probabilities, np.cumsum([len(doc) for doc in docs], dtype=np.int64))[:-1]

    def _sequences(self, docs: Sequence[Doc]) -> tuple[np.ndarray, np.ndarray]:
        # What is decoded: the Docs' emissions, one after the other, and the sequences' lengths.
        tokens = Tokens.from_docs(docs)
        emissions = np.concatenate([np.zeros((0, len(self.tags))), *self.emissions(docs)])
        self.constrain(tokens, emissions)
        if crf_of(self.model) is None:
            return emissions, tokens.lengths
        return emissions, np.array([len(doc) for doc in docs], dtype=np.int64)

    def constrain(self, tokens: Tokens, emissions: np.ndarray) -> None:
        """Shift emissions by `recall_bias`, and rule readings out by minus infinity.

        No span begins or ends in a space.

        tokens (Tokens): the tokens.
        emissions (ndarray): their emissions, changed in place, (n_tokens, n_tags).
        """
        emissions[:, 1:] += self.cfg["recall_bias"]
        if tokens.is_space.any():
            boundary = np.array([tag[0] in "BLU" for tag in self.tags])
            emissions[np.ix_(tokens.is_space, boundary)] = -np.inf

    def _find_spans(self, scores: np.ndarray, lengths: np.ndarray) -> list[Entity]:
        transitions = self.transitions
        tags = decode(scores, lengths, transitions)
        label, part = np.divmod(tags - 1, 4)  # of the tags behind O: which label, which of BILU
        begin = np.flatnonzero((tags > 0) & ((part == 0) | (part == 3)))
        end = np.flatnonzero((tags > 0) & (part >= 2)) + 1
        spans = np.stack([begin, end], 1)
        probabilities = np.ones(len(spans))
        if self.with_probabilities:
            probabilities = span_probabilities(scores, lengths, transitions, spans, tags)
        labels = self.labels
        return [
            Entity(start, stop, labels[index], probability)
            for (start, stop), index, probability in zip(
                spans.tolist(), label[begin].tolist(), probabilities.tolist(), strict=True
            )
        ]
