"""What the components share that find labelled spans: from tags to spans and their probability."""

import itertools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from spacy.attrs import ENT_IOB, IS_SPACE, SENT_START
from spacy.tokens import Doc
from spacy.training import Example

from ..model.thinc_model import crf_of
from ..network.decoding import decode, decode_best
from ..network.marginals import span_probabilities, tag_probabilities
from ..network.transitions import Array, Transitions, array_like, to_numpy
from ..stages import DECODE, stage
from .component import SequenceTagger
from .gold import Gold, correct_gold

# Every batch asks for the same, and to make it takes a step for each pair of tags.
_biluo_transitions = lru_cache(maxsize=16)(Transitions.biluo)


def biluo_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the BILUO scheme.

    labels (Iterable[str]): the labels.
    RETURNS (List[str]): O, and B-, I-, L- and U- of each label.
    """
    return ["O", *(f"{part}-{label}" for label in labels for part in "BILU")]


class Entity(NamedTuple):
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

        tokens (int): how many tokens lie before the first of that count.
        RETURNS (Entity): the same span.
        """
        return self._replace(start=self.start + tokens, end=self.end + tokens)


@dataclass(frozen=True)
class Reading:
    """All spans of a sentence, or of a Doc that tells no sentence starts.

    start (int): its first token.
    end (int): token behind its last.
    spans (Tuple[Entity, ...]): the spans, each with its own probability.
    probability (float): share of this reading among all legal ones, by the model.
    """

    start: int
    end: int
    spans: tuple[Entity, ...]
    probability: float


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

    Probabilities are those of scores divided by the `temperature`, which is 1 until it is set, and
    stored with the component. It does not change which spans are found, only how sure the component
    says it is of them (Guo et al. 2017, arXiv 1706.04599).
    """

    @property
    def temperature(self) -> float:
        """What scores are divided by before they become probabilities.

        RAISES (ValueError): when set to what is not above zero.
        """
        return float(self.cfg.get("temperature", 1.0))

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not 0.0 < value < np.inf:
            raise ValueError(f"{self.name}: a temperature has to be above 0; got {value}")
        self.cfg["temperature"] = float(value)

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

    def findable(self, tags: Gold, example: Example) -> Gold:
        """Correct gold spans that decoding can never find, see `correct_gold`.

        The first span of each kind is reported by a warning.

        tags (List[Optional[str]]): a BILUO tag for each token of the predicted Doc.
        example (Example): the example.
        RETURNS (List[Optional[str]]): the tags to learn.
        """
        doc = example.predicted
        tags, corrections = correct_gold(tags, doc, cut_at_sentences=crf_of(self.model) is None)
        for correction in corrections:
            if correction.problem not in self._reported:
                self._reported.add(correction.problem)
                warnings.warn(
                    f"{self.name}: {correction.describe(doc)} Further cases are not reported: "
                    "`bigru-tagger check` lists all of them",
                    UserWarning,
                    stacklevel=2,
                )
        return tags

    @stage(DECODE)
    def decode(self, docs: Sequence[Doc], logits: Array) -> list[list[Entity]]:
        """Find the most probable spans.

        As with spaCy's entity recogniser, none reaches over a sentence start that its Doc tells. A
        CRF, which has learned the tags of whole Docs, is free to do that.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `SequenceTagger.decode`.
        RETURNS (list[list[Entity]]): the spans of each Doc, in their order, but for those less
            probable than the threshold.
        """
        found = self.find_spans(docs, logits, self.with_probabilities)
        threshold = self.cfg["threshold"]
        if threshold <= 0.0:
            return found
        return [[span for span in spans if span.probability >= threshold] for spans in found]

    def find_spans(
        self, docs: Sequence[Doc], logits: Array, with_probabilities: bool
    ) -> list[list[Entity]]:
        """Find the most probable spans, whatever their probability.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `SequenceTagger.decode`.
        with_probabilities (bool): compute the probabilities of spans; they are 1 otherwise.
        RETURNS (list[list[Entity]]): the spans of each Doc, in their order.
        """
        scores, lengths = self._scores(docs, logits)
        tags = decode(scores, lengths, self.transitions)
        sizes = np.array([len(doc) for doc in docs], dtype=np.int64)
        return self._entities(scores, lengths, tags, sizes, with_probabilities)

    def readings(self, docs: Sequence[Doc], n_best: int) -> list[list[list[Reading]]]:
        """Find several best readings of each sentence.

        docs (Sequence[Doc]): the Docs, which are not modified.
        n_best (int): readings of each sentence.
        RETURNS (List[List[List[Reading]]]): for each Doc, for each of the sentences that it tells,
            else for the whole Doc: the most probable readings, the best first, as many as there
            are. The spans of the first are those of `predict`, without its threshold.
        RAISES (ValueError): if `n_best` is not positive.
        """
        if n_best < 1:
            raise ValueError(f"{self.name}: 'n_best' has to be positive; got {n_best}")
        found: list[list[list[Reading]]] = []
        for doc, emissions in zip(docs, self.emissions(docs), strict=True):
            scores, lengths = self._scores([doc], emissions)
            found.append([])
            best = decode_best(scores, lengths, self.transitions, n_best)
            for end, tags in zip(lengths.cumsum().tolist(), best, strict=True):
                begin = end - tags.shape[1]
                found[-1].append([self._reading(scores[begin:end], begin, own) for own in tags])
        return found

    def _reading(self, scores: np.ndarray, begin: int, tags: np.ndarray) -> Reading:
        lengths, whole = np.array([len(tags)]), np.array([[0, len(tags)]])
        (spans,) = self._entities(scores, lengths, tags, lengths, with_probabilities=True)
        return Reading(
            begin,
            begin + len(tags),
            tuple(span.moved(begin) for span in spans),
            float(self._probabilities(scores, lengths, whole, tags)[0]) if len(tags) else 1.0,
        )

    def _scores(self, docs: Sequence[Doc], logits: Array) -> tuple[Array, np.ndarray]:
        # The constrained logits of all tokens, and the lengths of the sequences to decode.
        tokens = Tokens.from_docs(docs)
        if self.cfg["recall_bias"]:
            bias = np.full(len(self.tags), self.cfg["recall_bias"], dtype=np.float32)
            bias[0] = 0.0
            logits = logits + array_like(bias, logits)
        forbidden = self.forbidden(tokens)
        if forbidden is not None:
            lowest = array_like(np.where(forbidden, -np.inf, 0.0).astype(np.float32), logits)
            logits = logits + lowest
        if crf_of(self.model) is None:
            return logits, tokens.lengths
        return logits, np.array([len(doc) for doc in docs], dtype=np.int64)

    def tag_probabilities(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the probability of each tag at each token, among all legal readings.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (List[ndarray]): in the order of `tags`, float64 (n_tokens, n_tags) each.
        """
        found: list[np.ndarray] = []
        for run, logits in self._predict_logits(docs):
            scores, lengths = self._scores(run, logits)
            probabilities = tag_probabilities(*self._tempered(scores, lengths))
            found += np.split(probabilities, np.cumsum([len(doc) for doc in run]))[:-1]
        return found

    def _tempered(
        self, scores: Array, lengths: np.ndarray
    ) -> tuple[Array, np.ndarray, Transitions]:
        # What probabilities are computed from.
        transitions = self.transitions
        if self.temperature == 1.0:
            return scores, lengths, transitions
        return scores / self.temperature, lengths, transitions.scaled(1.0 / self.temperature)

    def forbidden(self, tokens: Tokens) -> np.ndarray | None:
        """Find the tags that tokens cannot have: no span begins or ends in a space.

        tokens (Tokens): the tokens.
        RETURNS (ndarray | None): bool (n_tokens, n_tags); None where all tokens can have all tags.
        """
        if not tokens.is_space.any():
            return None
        boundary = np.array([tag[0] in "BLU" for tag in self.tags])
        return cast(np.ndarray, tokens.is_space[:, None] & boundary)

    def _entities(
        self,
        scores: Array,
        lengths: np.ndarray,
        tags: Array,
        sizes: np.ndarray,
        with_probabilities: bool,
    ) -> list[list[Entity]]:
        # The spans of each Doc, counted from its first token. sizes: tokens of each Doc.
        winning = to_numpy(tags)
        label, part = np.divmod(winning - 1, 4)  # of the tags behind O: label, and B, I, L or U
        begin = np.flatnonzero((winning > 0) & ((part == 0) | (part == 3)))
        end = np.flatnonzero((winning > 0) & (part >= 2)) + 1
        probabilities = np.ones(len(begin))
        if with_probabilities:
            spans = np.stack([begin, end], 1)
            probabilities = self._probabilities(scores, lengths, spans, tags)
        ends = sizes.cumsum()
        offsets = np.repeat(ends - sizes, sizes)[begin]
        names = self.labels
        found = [
            Entity(start, stop, names[index], probability)
            for start, stop, index, probability in zip(
                (begin - offsets).tolist(),
                (end - offsets).tolist(),
                label[begin].tolist(),
                probabilities.tolist(),
                strict=True,
            )
        ]
        bounds = np.searchsorted(begin, ends).tolist()
        return [found[i:j] for i, j in itertools.pairwise([0, *bounds])]

    def _probabilities(
        self, scores: Array, lengths: np.ndarray, spans: np.ndarray, tags: Array
    ) -> np.ndarray:
        return span_probabilities(*self._tempered(scores, lengths), spans, tags)
