"""Whether probabilities of spans mean what they say, and the temperature that mends them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..pipeline.spans import SpanTagger
from ..schemes import biluo_spans
from ..scoring.run import bare_copy

N_BINS = 15
_TEMPERATURES = (0.05, 20.0)  # where the best one is looked for
_SMALLEST = 1e-12  # a wrong span that is called certain costs this much's logarithm, not infinity


class Judged(NamedTuple):
    """Spans that were found, and whether gold data have them.

    probability (ndarray): of each, float64 (n_spans,).
    correct (ndarray): whether there is such a gold span, with its boundaries and label, bool
        (n_spans,).
    """

    probability: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True)
class Bin:
    """Spans of about the same probability.

    count (int): how many.
    probability (float): their mean probability.
    precision (float): share of them that is right.
    """

    count: int
    probability: float
    precision: float


def reliability(judged: Judged, n_bins: int = N_BINS) -> list[Bin]:
    """Sort spans into bins of equal width, for a reliability diagram.

    judged (Judged): the spans.
    n_bins (int): bins from 0 to 1; those without a span are left out.
    RETURNS (List[Bin]): by rising probability.
    """
    numbers = np.minimum((judged.probability * n_bins).astype(np.int64), n_bins - 1)
    return [
        Bin(
            int((numbers == number).sum()),
            float(judged.probability[numbers == number].mean()),
            float(judged.correct[numbers == number].mean()),
        )
        for number in np.unique(numbers)
    ]


def expected_calibration_error(judged: Judged, n_bins: int = N_BINS) -> float:
    """Compute by how much probabilities are off, on average.

    judged (Judged): at least one span.
    n_bins (int): see `reliability`.
    RETURNS (float): the mean over spans of |precision - mean probability| of their bin. Naeini et
        al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3.
    RAISES (ValueError): there is no span.
    """
    if not len(judged.probability):
        raise ValueError("no spans were found, so there is no calibration error")
    bins = reliability(judged, n_bins)
    return sum(b.count * abs(b.precision - b.probability) for b in bins) / sum(
        b.count for b in bins
    )


class Calibrator:
    """Spans that a component finds in gold data, at any temperature.

    The network runs once. The component's temperature is as it was before after each call.
    """

    def __init__(self, nlp: Language, name: str, examples: Iterable[Example]) -> None:
        """Run the pipeline up to the component.

        nlp (Language): the pipeline.
        name (str): the component, one that finds spans.
        examples (Iterable[Example]): gold data, and sentence starts of `predicted`. Gold annotation
            does not reach the pipeline.
        RAISES (ValueError): there is no such component.
        """
        pipe = nlp.get_pipe(name) if name in nlp.pipe_names else None
        if not isinstance(pipe, SpanTagger):
            ours = [name for name, pipe in nlp.pipeline if isinstance(pipe, SpanTagger)]
            raise ValueError(
                f"the pipeline has no component {name!r} of bigru_ner or bigru_chunker; it has "
                f"{', '.join(ours) or 'none at all'}"
            )
        self.pipe = pipe
        examples = list(examples)
        docs: Iterable[Doc] = [bare_copy(nlp, eg) for eg in examples]
        for earlier, component in nlp.pipeline:
            if earlier == name:
                break
            docs = component.pipe(docs) if hasattr(component, "pipe") else map(component, docs)
        self._docs = list(docs)
        self._logits = np.concatenate(
            [np.zeros((0, len(pipe.tags)), dtype=np.float32)]
            + [
                logits
                for batch in _batches(self._docs, nlp.batch_size)
                for logits in self.pipe.logits(batch)
            ]
        )
        copies = zip(self._docs, examples, strict=True)
        self._gold = [self.pipe.gold_tags(Example(doc, eg.reference)) for doc, eg in copies]

    def judge(self, temperature: float) -> Judged:
        """Find spans, and compare them to gold.

        temperature (float): the temperature of their probabilities.
        RETURNS (Judged): the spans, but for those on tokens whose gold tag is not known.
        """
        before = self.pipe.temperature
        self.pipe.temperature = temperature
        try:
            found = self.pipe.find_spans(self._docs, self._logits, with_probabilities=True)
        finally:
            self.pipe.temperature = before
        judged = [
            (span.probability, (span.start, span.end, span.label) in gold)
            for spans, tags in zip(found, self._gold, strict=True)
            for gold in [{(start, end, label) for label, start, end in biluo_spans(tags)}]
            for span in spans
            if None not in tags[span.start : span.end]
        ]
        probability, correct = zip(*judged, strict=True) if judged else ((), ())
        return Judged(np.array(probability, dtype=float), np.array(correct, dtype=bool))

    def fit(self) -> float:
        """Find the temperature under which it is likeliest that the right spans are right.

        RETURNS (float): that temperature: the minimum of the mean cross-entropy of the spans'
            probabilities. Guo et al. 2017, arXiv 1706.04599, with spans in place of classes.
        RAISES (ValueError): no span was found, or all are right, or all wrong.
        """
        correct = self.judge(1.0).correct
        if len(correct) == 0 or correct.all() or not correct.any():
            raise ValueError(
                f"{self.pipe.name}: of {len(correct)} spans that were found, {correct.sum()} are "
                "right, so there is nothing to calibrate by: give data that the pipeline was not "
                "trained on, with annotation for this component"
            )
        bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
        best = minimize_scalar(
            lambda value: _cross_entropy(self.judge(math.exp(value))),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-3},
        )
        return float(math.exp(best.x))


def _cross_entropy(judged: Judged) -> float:
    of_truth = np.where(judged.correct, judged.probability, 1.0 - judged.probability)
    return -float(np.log(np.maximum(of_truth, _SMALLEST)).mean())


def _batches(docs: Sequence[Doc], size: int) -> Iterator[Sequence[Doc]]:
    for begin in range(0, len(docs), size):
        yield docs[begin : begin + size]
