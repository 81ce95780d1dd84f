"""Base class of the components that predict labelled spans with probabilities."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from spacy.attrs import ENT_IOB, IS_SPACE, SENT_START
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..decoding.transitions import Array, Transitions, array_like, to_numpy
from ..errors import ConfigError
from ..model.thinc_model import decoder_of
from ..schemes import OUTSIDE, biluo_spans, biluo_tags, label_of
from ..stages import DECODE, stage
from ..tag_arrays import Spans, TagParts
from ..time_steps import lengths_from
from .component import SequenceTagger
from .gold import Gold, correct_gold
from .label_settings import per_tag
from .partial import aligned_spans


@lru_cache(maxsize=16)
def _biluo_transitions(labels: tuple[str, ...]) -> Transitions:
    # The same for every batch, and slow to build: one step for each pair of tags.
    return Transitions.biluo(biluo_tags(labels))


class Entity(NamedTuple):
    """A labelled span of a Doc, with its probability.

    start (int): index of the first token.
    end (int): index after the last token.
    label (str): the label.
    probability (float): the total probability of all valid tag sequences that contain this span.
    """

    start: int
    end: int
    label: str
    probability: float


def bias_for_count(n_spans: int) -> float | None:
    """Choose a recall bias by the number of spans in the training data.

    A network that was trained on few spans finds too few of them. The bias is 0 from 1,000 spans
    on, and below that, ln(1000 / n_spans) / 2. Fewer than 30 spans count as 30. This was chosen on
    development data, see "Few training data" in the documentation.

    n_spans (int): the number of gold spans; 0 if it is not known.
    RETURNS (float | None): the bias, from 0 to 1.75; None for 0 spans.
    """
    return max(0.0, 0.5 * math.log(1000 / max(n_spans, 30))) if n_spans else None


@dataclass(frozen=True)
class Hypothesis:
    """One possible set of spans of a sentence, or of a Doc without sentence boundaries.

    start (int): index of the sentence's first token.
    end (int): index after the sentence's last token.
    spans (tuple[Entity, ...]): the spans, each with its own probability.
    probability (float): the probability of this hypothesis among all valid tag sequences.
    """

    start: int
    end: int
    spans: tuple[Entity, ...]
    probability: float


class Tokens(NamedTuple):
    """Token attributes that decoding uses, concatenated over Docs.

    starts (ndarray): whether the token starts a Doc or a sentence, bool (n_tokens,).
    is_space (ndarray): whether the token is white space, bool (n_tokens,).
    ent_iob (ndarray): spaCy's `ENT_IOB`: 0 for not annotated, 1 for inside an entity, 2 for
        outside, 3 for the beginning of an entity, int (n_tokens,).
    """

    starts: np.ndarray
    is_space: np.ndarray
    ent_iob: np.ndarray

    @classmethod
    def from_docs(cls, docs: Sequence[Doc]) -> "Tokens":
        """Read the attributes from Docs.

        docs (Sequence[Doc]): the Docs.
        RETURNS (Tokens): the attributes of all tokens.
        """
        none = np.zeros((0, 3), dtype=np.uint64)
        attrs = [SENT_START, IS_SPACE, ENT_IOB]
        columns = [doc.to_array(attrs).reshape(len(doc), 3) for doc in docs]
        starts, is_space, ent_iob = np.concatenate([none, *columns]).T
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        starts = starts == 1  # -1 is not a start, 0 unknown
        starts[(lengths.cumsum() - lengths)[lengths > 0]] = True
        return cls(starts, is_space != 0, ent_iob)

    @property
    def lengths(self) -> np.ndarray:
        """RETURNS (ndarray): the number of tokens of each sequence, int64 (n_starts,)."""
        return lengths_from(self.starts)


class SpanTagger(SequenceTagger):
    """Predicts spans that do not overlap, as BILUO tags of their tokens.

    The setting `recall_bias` is added to the logits of all tags except O. A dict has a number for
    each label. With a positive value, more spans are predicted, and more of them are wrong. This
    can improve F1 on texts with many rare and new names, such as social media. The bias shifts the
    prior of the tags, and with it the probabilities, like the logit adjustment of Menon et al.
    2021, arXiv 2007.07314. If the setting is None, `initialize` chooses the bias by the number of
    spans in the training data, see `bias_for_count`. The number is saved as `n_spans`.

    Spans with a probability below the setting `threshold` are dropped.

    Probabilities are computed from the logits divided by `temperature` (Guo et al. 2017, arXiv
    1706.04599). The temperature is 1 by default and is saved with the component. It changes the
    probabilities, but not the most probable tag sequence.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str,
        *,
        recall_bias: float | Mapping[str, float] | None,
        **settings: Any,
    ) -> None:
        """Initialize the component.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
        name (str): name of the component.
        recall_bias (float | Mapping[str, float] | None): see `make_bigru_ner`. With None, there is
            none until `count_spans` is called.
        **settings: see `SequenceTagger`.
        """
        if recall_bias is None:
            settings["n_spans"] = 0
        super().__init__(vocab, model, name, recall_bias=recall_bias, **settings)

    def choose_settings(self, get_examples: Callable[[], Iterable[Example]]) -> None:
        """See `SequenceTagger.choose_settings`. This chooses the recall bias."""
        self.count_spans(get_examples)

    def count_spans(
        self, get_examples: Callable[[], Iterable[Example]], *, add: bool = False
    ) -> None:
        """Count the gold spans of training data, and choose the recall bias by their number.

        This has no effect if the bias was set in the config, or was changed since it was chosen.

        get_examples (Callable[[], Iterable[Example]]): returns the training data.
        add (bool): whether the component is trained further, so that the spans that were counted
            before are added.
        """
        counted = self.cfg.get("n_spans")
        if counted is None or self.cfg["recall_bias"] != bias_for_count(counted):
            return
        spans = (biluo_spans(self.gold_tags(example)) for example in get_examples())
        n_spans = sum(1 for found in spans for _ in found) + (counted if add else 0)
        self.cfg.update(n_spans=n_spans, recall_bias=bias_for_count(n_spans))

    @contextmanager
    def changed_settings(self, **settings: Any) -> Iterator[None]:
        """Change settings within a block, such as `recall_bias` and `temperature`.

        **settings (Any): the settings.
        """
        before = dict(self.cfg)
        try:
            self.cfg.update(settings)
            yield
        finally:
            self.cfg.clear()
            self.cfg.update(before)

    @property
    def temperature(self) -> float:
        """The divisor of the logits for probabilities.

        RAISES (ValueError): if it is set to a value that is not positive and finite.
        """
        return float(self.cfg.get("temperature", 1.0))

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not 0.0 < value < np.inf:
            raise ConfigError(f"{self.name}: temperature must be above 0; got {value}")
        self.cfg["temperature"] = float(value)

    @property
    def with_probabilities(self) -> bool:
        """RETURNS (bool): whether `predict` computes probabilities. If not, they are all 1."""
        return True

    @property
    def predicts_spans(self) -> bool:
        """See `SequenceTagger.predicts_spans`."""
        return True

    def incorrect_spans(self, example: Example) -> list[tuple[int, int, str]]:
        """See `SequenceTagger.incorrect_spans`."""
        key = self.cfg.get("incorrect_spans_key")
        return aligned_spans(example, key) if key else []

    @property
    def tags(self) -> list[str]:
        """RETURNS (list[str]): O, followed by B-, I-, L- and U- for each label."""
        return biluo_tags(self.labels)

    def label_of(self, tag: str) -> str:
        """See `SequenceTagger.label_of`."""
        return label_of(tag) or OUTSIDE

    @property
    def valid_transitions(self) -> Transitions:
        """RETURNS (Transitions): the valid transitions of the BILUO scheme."""
        return _biluo_transitions(self.labels)

    def findable(self, tags: Gold, example: Example) -> Gold:
        """Correct gold spans that the decoder can never predict, see `correct_gold`.

        Warns once for each kind of problem.

        tags (list[str | None]): a BILUO tag per token of the predicted Doc, None for tokens
            without a gold tag.
        example (Example): the example.
        RETURNS (list[str | None]): the corrected tags.
        """
        doc = example.predicted
        tags, corrections = correct_gold(
            tags, doc, cut_at_sentences=decoder_of(self.model).cut_at_sentences
        )
        for correction in corrections:
            if correction.problem not in self._reported:
                self._reported.add(correction.problem)
                warnings.warn(
                    f"{self.name}: {correction.describe(doc)} Further cases are not reported. "
                    "Run `bigru-tagger check` to list all of them",
                    UserWarning,
                    stacklevel=2,
                )
        return tags

    @stage(DECODE)
    def decode(self, docs: Sequence[Doc], logits: Array) -> list[list[Entity]]:
        """Find the spans of the most probable tag sequence, without spans below the threshold.

        As in spaCy's entity recognizer, no span crosses a sentence boundary that is set on the Doc.
        The exception is a decoder that processes whole Docs, such as a CRF.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `SequenceTagger.decode`.
        RETURNS (list[list[Entity]]): the spans of each Doc, from left to right.
        """
        found = self.find_spans(docs, logits, self.with_probabilities)
        threshold = self.cfg["threshold"]
        if threshold <= 0.0:
            return found
        return [[span for span in spans if span.probability >= threshold] for spans in found]

    def find_spans(
        self, docs: Sequence[Doc], logits: Array, with_probabilities: bool
    ) -> list[list[Entity]]:
        """Find the spans of the most probable tag sequence, without a threshold.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `SequenceTagger.decode`.
        with_probabilities (bool): whether to compute the probabilities. If not, they are all 1.
        RETURNS (list[list[Entity]]): the spans of each Doc, from left to right.
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
        """Find the `n_best` most probable hypotheses for each sentence.

        A Doc without sentence boundaries counts as one sentence, as does each Doc if the decoder
        processes whole Docs.

        docs (Sequence[Doc]): the Docs, which are not modified.
        n_best (int): the maximum number of hypotheses per sentence.
        RETURNS (list[list[list[Hypothesis]]]): the hypotheses by Doc and sentence, in descending
            order of probability. The spans of the first hypothesis are those that `predict`
            returns without a threshold.
        RAISES (ValueError): if `n_best` is below 1.
        """
        if n_best < 1:
            raise ConfigError(f"{self.name}: 'n_best' must be at least 1; got {n_best}")
        found: list[list[list[Hypothesis]]] = []
        for doc, doc_logits in zip(docs, self.logits(docs), strict=True):
            logits, lengths = self._sequences([doc], doc_logits)
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
        """Call `hypotheses`. Deprecated alias."""
        warnings.warn(
            f"{self.name}: readings() is deprecated; use hypotheses()",
            DeprecationWarning,
            stacklevel=2,
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
        # Adds the recall bias, and minus infinity for forbidden tags.
        tokens = Tokens.from_docs(docs)
        bias = self.cfg["recall_bias"]
        if bias:
            values = bias if isinstance(bias, Mapping) else dict.fromkeys(self.labels, bias)
            logits = logits + array_like(per_tag(self, {**values, OUTSIDE: 0.0}, 0.0), logits)
        forbidden = self.forbidden(tokens)
        if forbidden is not None:
            lowest = array_like(np.where(forbidden, -np.inf, 0.0).astype(np.float32), logits)
            logits = logits + lowest
        if decoder_of(self.model).cut_at_sentences:
            return logits, tokens.lengths
        return super()._sequences(docs, logits)

    def tag_probabilities(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the marginal probabilities of tags, over all valid tag sequences.

        docs (Sequence[Doc]): the Docs, which are not modified.
        RETURNS (list[ndarray]): the marginals of each Doc, in the order of `tags`, float64
            (n_tokens, n_tags).
        """
        found: list[np.ndarray] = []
        for run, logits in self._predict_logits(docs):
            probabilities = decoder_of(self.model).marginals(
                *self._sequences(run, logits), self.valid_transitions, self.temperature
            )
            found += np.split(probabilities, np.cumsum([len(doc) for doc in run]))[:-1]
        return found

    def forbidden(self, tokens: Tokens) -> np.ndarray | None:
        """Find the tags that are not allowed for each token: no span starts or ends in white space.

        tokens (Tokens): the tokens.
        RETURNS (ndarray | None): whether each tag is forbidden, bool (n_tokens, n_tags); None if no
            tag is.
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
        # offsets: for each span, the index of its Doc's first token, int (n_spans,).
        names = self.labels
        columns = (spans.start - offsets, spans.end - offsets, spans.label, probabilities)
        return [
            Entity(start, end, names[label], probability)
            for start, end, label, probability in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]
