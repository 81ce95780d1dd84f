"""Predict texts with a pipeline, with the options of a request."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeAlias

from spacy.language import Language
from spacy.tokens import Doc

from ..annotation.records import doc_record
from ..pipeline.spans import Entity, Hypothesis, SpanTagger
from ..report.gates import components_with_gates, read_gates
from ..scoring.loading import confidence_attributes, run_before

Text: TypeAlias = str | tuple[str, ...]
"""A text, or the tokens of a text."""


class Options(NamedTuple):
    """The options of a request.

    threshold (float | None): drops entities with a lower probability; None for the thresholds of
        the components.
    n_best (int | None): number of hypotheses per sentence; None for no hypotheses.
    gates (bool): whether to return the gates of the GRU.
    """

    threshold: float | None = None
    n_best: int | None = None
    gates: bool = False


class Predictor:
    """Annotates texts with a pipeline. It must not be called from two threads at a time."""

    def __init__(
        self, nlp: Language, observe: Callable[[int, int], object] = lambda n_texts, n_tokens: None
    ) -> None:
        """Inspect the pipeline.

        nlp (Language): the pipeline.
        observe (Callable): called with the number of texts and of tokens of each batch.
        """
        self.nlp = nlp
        self._observe = observe
        self.span_taggers: dict[str, SpanTagger] = {
            name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, SpanTagger)
        }
        self.no_gates = _why_no_gates(nlp)
        self._attributes = confidence_attributes(nlp)

    def unsupported(self, options: Options) -> tuple[str, str] | None:
        """Find an option that the pipeline does not support.

        options (Options): the options.
        RETURNS (tuple[str, str] | None): the name of the option and the reason, None if all are
            supported.
        """
        if not self.span_taggers:
            reason = "no component of the pipeline is a bigru_ner or bigru_chunker"
            if options.threshold is not None:
                return "threshold", reason
            if options.n_best is not None:
                return "n_best", reason
        if options.gates and self.no_gates is not None:
            return "gates", self.no_gates
        return None

    def predict(self, texts: Sequence[Text], options: Options) -> list[str]:
        """Annotate texts. A result does not depend on the other texts.

        texts (Sequence[Text]): the texts.
        options (Options): the options, which `unsupported` accepts.
        RETURNS (list[str]): a JSON object for each text: `doc_record`, with "hypotheses" and
            "gates" if the options request them.
        RAISES (Exception): the pipeline raised an exception for one of the texts.
        """
        # Strings are only valid within the zone, so the results are JSON.
        with self.nlp.memory_zone(), _threshold(self.span_taggers, options.threshold):
            docs = list(self.nlp.pipe(map(self._make_doc, texts)))
            self._observe(len(docs), sum(map(len, docs)))
            records = [doc_record(doc, self._attributes) for doc in docs]
            if options.n_best is not None:
                self._add_hypotheses(records, texts, options.n_best)
            if options.gates:
                for record, text in zip(records, texts, strict=True):
                    record["gates"] = gates_record(self.nlp, self._make_doc(text))
            return [json.dumps(record, ensure_ascii=False) for record in records]

    def _make_doc(self, text: Text) -> Doc:
        if isinstance(text, str):
            return self.nlp.make_doc(text)
        return Doc(self.nlp.vocab, words=list(text))

    def _add_hypotheses(
        self, records: Sequence[dict[str, Any]], texts: Sequence[Text], n_best: int
    ) -> None:
        for record in records:
            record["hypotheses"] = {}
        for name, pipe in self.span_taggers.items():
            docs = run_before(self.nlp, name, map(self._make_doc, texts))
            found = pipe.hypotheses(docs, n_best)
            for record, doc, sentences in zip(records, docs, found, strict=True):
                record["hypotheses"][name] = [
                    [_hypothesis_record(doc, hypothesis) for hypothesis in sentence]
                    for sentence in sentences
                ]


@contextmanager
def _threshold(pipes: Mapping[str, SpanTagger], threshold: float | None) -> Iterator[None]:
    # No other thread uses the components.
    before = {name: pipe.cfg["threshold"] for name, pipe in pipes.items()}
    try:
        if threshold is not None:
            for pipe in pipes.values():
                pipe.cfg["threshold"] = threshold
        yield
    finally:
        for name, pipe in pipes.items():
            pipe.cfg["threshold"] = before[name]


def _hypothesis_record(doc: Doc, hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        **_characters(doc, hypothesis),
        "probability": hypothesis.probability,
        "spans": [
            {**_characters(doc, span), "label": span.label, "score": span.probability}
            for span in hypothesis.spans
        ],
    }


def _characters(doc: Doc, span: Hypothesis | Entity) -> dict[str, int]:
    found = doc[span.start : span.end]
    return {"start": found.start_char, "end": found.end_char}


def _why_no_gates(nlp: Language) -> str | None:
    if not components_with_gates(nlp):
        return "no component of the pipeline has a single GRU of bigru_tagger"
    if find_spec("torch") is None:
        return "PyTorch is not installed: pip install 'bigru-tagger[torch]'"
    return None


def gates_record(nlp: Language, doc: Doc) -> dict[str, Any] | None:
    """Convert the gates of a pipeline's GRU.

    nlp (Language): the pipeline.
    doc (Doc): the tokens.
    RETURNS (dict[str, Any] | None): the tokens, the predicted tags, and for each layer and
        direction the means of both gates over all units, at each token; the summands of the
        predicted tag's logit, see `Gates`. None for a Doc without tokens.
    """
    if not len(doc):
        return None
    gates = read_gates(nlp, doc)
    return {
        "component": gates.component,
        "tokens": gates.tokens,
        "tags": gates.tags,
        "layers": [
            {
                "layer": layer.layer,
                "direction": layer.direction,
                "update": layer.update.mean(1).tolist(),
                "reset": layer.reset.mean(1).tolist(),
            }
            for layer in gates.layers
        ],
        "shares": {name: values.tolist() for name, values in gates.shares.items()},
    }
