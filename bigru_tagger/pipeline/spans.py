"""What the components share that find labelled spans: from tags to spans and their probability."""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from spacy.attrs import ENT_IOB, IS_SPACE, SENT_START
from spacy.tokens import Doc
from spacy.training import Example

from ..model.thinc_model import decoder_of
from ..network.transitions import Array, Transitions, array_like, to_numpy
from ..schemes import Spans, TagParts, biluo_tags
from ..stages import DECODE, stage
from .component import SequenceTagger
from .gold import Gold, correct_gold

# Every batch asks for the same, and to make it takes a step for each pair of tags.
_biluo_transitions = lru_cache(maxsize=16)(Transitions.biluo)


class Entity(NamedTuple):
    """A labelled span of a Doc, with its probability.

    start (int): first token.
    end (int): token behind the last.
    label (str): its label.
    probability (float): share of the tag sequences with this entity among all valid ones, by the
        model.
    """

    start: int
    end: int
    label: str
    probability: float


@dataclass(frozen=True)
class Hypothesis:
    """All spans of a sentence, or of a Doc without sentence starts.

    start (int): its first token.
    end (int): token behind its last.
    spans (tuple[Entity, ...]): the spans, each with its own probability.
    probability (float): share of this hypothesis among all valid ones, by the model.
    """

    start: int
    end: int
    spans: tuple[Entity, ...]
    probability: float


class Tokens(NamedTuple):
    """What decoding needs of the tokens of Docs, one after the other.

    starts (ndarray): whether a Doc, or a sentence that it marks, begins here, bool (n_tokens,).
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

    The setting `recall_bias` is added to the logits of all tags but O: above zero, more spans
    are found, and more of them are wrong. Where names are rare and new, as in social media, F1
    gains from that; it shifts the prior, as the logit adjustment of Menon et al. 2021,
    arXiv 2007.07314, and the probabilities with it. Spans less probable than the setting
    `threshold` are dropped.

    Probabilities are those of logits divided by the `temperature`, which is 1 until it is set, and
    stored with the component. It does not change which spans are found, only their probabilities
    (Guo et al. 2017, arXiv 1706.04599).
    """

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities.

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
        """RETURNS (list[str]): O, and B-, I-, L- and U- of each label."""
        return biluo_tags(self.labels)

    @property
    def valid_transitions(self) -> Transitions:
        """RETURNS (Transitions): those of the BILUO scheme."""
        return _biluo_transitions(tuple(self.tags))

    def findable(self, tags: Gold, example: Example) -> Gold:
        """Correct gold spans that decoding can never find, see `correct_gold`.

        The first span of each kind is reported by a warning.

        tags (list[str | None]): a BILUO tag for each token of the predicted Doc.
        example (Example): the example.
        RETURNS (list[str | None]): the tags to learn.
        """
        doc = example.predicted
        tags, corrections = correct_gold(
            tags, doc, cut_at_sentences=decoder_of(self.model).cut_at_sentences
        )
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

        As with spaCy's entity recogniser, no span crosses a sentence boundary that is set on its
        Doc, unless the way of decoding learns the tags of whole Docs, as a CRF does.

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
        logits, lengths = self._sequences(docs, logits)
        tags = decoder_of(self.model).decode(logits, lengths, self.valid_transitions)
        spans, probabilities = self._read_spans(logits, lengths, tags, with_probabilities)
        sizes = np.array([len(doc) for doc in docs], dtype=np.int64)
        ends = sizes.cumsum()
        offsets = np.repeat(ends - sizes, sizes)[spans.start]
        found = self._entities(spans, offsets, probabilities)
        bounds = np.searchsorted(spans.start, ends).tolist()
        return [found[i:j] for i, j in itertools.pairwise([0, *bounds])]

    def hypotheses(self, docs: Sequence[Doc], n_best: int) -> list[list[list[Hypothesis]]]:
        """Find the best hypotheses about all spans of each sentence.

        docs (Sequence[Doc]): the Docs, which are not modified.
        n_best (int): hypotheses of each sentence.
        RETURNS (list[list[list[Hypothesis]]]): for each Doc, for each of its sentences, or for the
            whole Doc where no sentence boundaries are set: the most probable hypotheses, the best
            first, as many as there are. The spans of the first are those of `predict`, without its
            threshold.
        RAISES (ValueError): if `n_best` is not positive.
        """
        if n_best < 1:
            raise ValueError(f"{self.name}: 'n_best' has to be positive; got {n_best}")
        found: list[list[list[Hypothesis]]] = []
        for doc, own in zip(docs, self.logits(docs), strict=True):
            logits, lengths = self._sequences([doc], own)
            best = decoder_of(self.model).decode_best(
                logits, lengths, self.valid_transitions, n_best
            )
            ends = lengths.cumsum().tolist()
            begins = [end - tags.shape[1] for end, tags in zip(ends, best, strict=True)]
            found.append(
                [
                    [self._hypothesis(logits[begin:end], begin, tags) for tags in sentence]
                    for begin, end, sentence in zip(begins, ends, best, strict=True)
                ]
            )
        return found

    def readings(self, docs: Sequence[Doc], n_best: int) -> list[list[list[Hypothesis]]]:
        """Call `hypotheses`: this is its deprecated name."""
        warnings.warn(
            f"{self.name}: readings() is now called hypotheses()", DeprecationWarning, stacklevel=2
        )
        return self.hypotheses(docs, n_best)

    def _hypothesis(self, logits: np.ndarray, begin: int, tags: np.ndarray) -> Hypothesis:
        lengths, whole = np.array([len(tags)]), np.array([[0, len(tags)]])
        spans, probabilities = self._read_spans(logits, lengths, tags, with_probabilities=True)
        offsets = np.full(len(spans.start), -begin)
        return Hypothesis(
            begin,
            begin + len(tags),
            tuple(self._entities(spans, offsets, probabilities)),
            float(self._marginals(logits, lengths, whole, tags)[0]) if len(tags) else 1.0,
        )

    def _sequences(self, docs: Sequence[Doc], logits: Array) -> tuple[Array, np.ndarray]:
        # With the recall bias, and minus infinity for tags that a token cannot have.
        tokens = Tokens.from_docs(docs)
        if self.cfg["recall_bias"]:
            bias = np.full(len(self.tags), self.cfg["recall_bias"], dtype=np.float32)
            bias[0] = 0.0
            logits = logits + array_like(bias, logits)
        forbidden = self.forbidden(tokens)
        if forbidden is not None:
            lowest = array_like(np.where(forbidden, -np.inf, 0.0).astype(np.float32), logits)
            logits = logits + lowest
        if decoder_of(self.model).cut_at_sentences:
            return logits, tokens.lengths
        return super()._sequences(docs, logits)

    def tag_probabilities(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the probability of each tag at each token, among all valid tag sequences.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (list[ndarray]): in the order of `tags`, float64 (n_tokens, n_tags) each.
        """
        found: list[np.ndarray] = []
        for run, logits in self._predict_logits(docs):
            probabilities = decoder_of(self.model).marginals(
                *self._sequences(run, logits), self.valid_transitions, self.temperature
            )
            found += np.split(probabilities, np.cumsum([len(doc) for doc in run]))[:-1]
        return found

    def forbidden(self, tokens: Tokens) -> np.ndarray | None:
        """Find the tags that tokens cannot have: no span begins or ends in a space.

        tokens (Tokens): the tokens.
        RETURNS (ndarray | None): bool (n_tokens, n_tags); None where all tokens can have all tags.
        """
        if not tokens.is_space.any():
            return None
        return cast(np.ndarray, tokens.is_space[:, None] & TagParts.of(self.tags).bounds)

    def _read_spans(
        self, logits: Array, lengths: np.ndarray, tags: Array, with_probabilities: bool
    ) -> tuple[Spans, np.ndarray]:
        spans = Spans.read(to_numpy(tags), lengths)
        if not with_probabilities:
            return spans, np.ones(len(spans.start))
        bounds = np.stack([spans.start, spans.end], 1)
        return spans, self._marginals(logits, lengths, bounds, tags)

    def _marginals(
        self, logits: Array, lengths: np.ndarray, bounds: np.ndarray, tags: Array
    ) -> np.ndarray:
        return decoder_of(self.model).span_marginals(
            logits, lengths, self.valid_transitions, bounds, tags, self.temperature
        )

    def _entities(
        self, spans: Spans, offsets: np.ndarray, probabilities: np.ndarray
    ) -> list[Entity]:
        # offsets: of each span, the token that becomes token 0.
        names = self.labels
        columns = (spans.start - offsets, spans.end - offsets, spans.label, probabilities)
        return [
            Entity(start, end, names[label], probability)
            for start, end, label, probability in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]
