"""The component `bigru_chunker`: labelled spans such as chunks, written to `doc.spans`."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import DataError
from ..schemes import OUTSIDE, span_tags
from ..scoring.scoring import same_words
from ..stages import ANNOTATE, stage
from ..tasks import CHUNKS, SpanGroupTask
from .factories import Scorer
from .gold import Gold
from .label_settings import learns
from .spans import Entity, SpanTagger


class BiGRUChunker(SpanTagger):
    """Finds labelled spans that do not overlap."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "bigru_chunker",
        *,
        spans_key: str = "chunks",
        threshold: float = 0.0,
        recall_bias: float | Mapping[str, float] | None = None,
        incorrect_spans_key: str | None = None,
        label_smoothing: float = 0.0,
        label_weights: Mapping[str, float] | None = None,
        labels: Sequence[str] | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        """Initialize the component.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
        name (str): name of the component.
        spans_key (str): see `make_bigru_chunker`.
        threshold (float): see `make_bigru_chunker`.
        recall_bias (float | Mapping[str, float] | None): see `make_bigru_chunker`.
        incorrect_spans_key (str | None): see `make_bigru_chunker`.
        label_smoothing (float): see `make_bigru_chunker`.
        label_weights (Mapping[str, float] | None): see `make_bigru_chunker`.
        labels (Sequence[str] | None): see `make_bigru_chunker`.
        scorer (Callable | None): the scoring method.
        """
        super().__init__(
            vocab,
            model,
            name,
            scorer=scorer,
            label_smoothing=label_smoothing,
            label_weights=label_weights,
            learned_labels=labels,
            spans_key=spans_key,
            threshold=threshold,
            recall_bias=recall_bias,
            incorrect_spans_key=incorrect_spans_key,
        )

    def find_labels(self, example: Example) -> Iterable[str]:
        """See `SequenceTagger.find_labels`."""
        return [span.label_ for span in example.reference.spans.get(self.cfg["spans_key"], [])]

    def annotated_labels(self, example: Example) -> Collection[str] | None:
        """See `SequenceTagger.annotated_labels`."""
        return CHUNKS.with_key(self.cfg["spans_key"]).annotated_labels(example.reference)

    def gold_tags(self, example: Example) -> Gold:
        """See `SequenceTagger.gold_tags`.

        RAISES (ValueError): if gold spans overlap.
        """
        reference = example.reference
        key = self.cfg["spans_key"]
        if key not in reference.spans:
            return [None] * len(example.predicted)
        spans = [
            span for span in reference.spans[key] if len(span) and learns(self.cfg, span.label_)
        ]
        covered = [token for span in spans for token in range(span.start, span.end)]
        if len(set(covered)) < len(covered):
            raise DataError(
                f"{self.name}: the spans under doc.spans[{key!r}] of {reference.text[:60]!r} "
                "overlap: BILUO tags cannot represent overlapping spans. Use one component for "
                "each layer of spans that do not overlap, and select their labels by the setting "
                "`labels`"
            )
        tags: Gold = [OUTSIDE] * len(example.predicted)
        if not same_words(example):
            # Read once: at each access, spaCy compares the tokens of both Docs again.
            alignment = example.alignment.y2x
            for span in spans:
                for token in alignment[span.start : span.end]:
                    tags[token] = None  # remains None if the span does not align
            spans = example.get_aligned_spans_y2x(spans)
        for span in spans:
            tags[span.start : span.end] = span_tags(span.label_, len(span))
        return self.findable(tags, example)

    @stage(ANNOTATE)
    def set_annotations(self, docs: Iterable[Doc], predictions: list[list[Entity]]) -> None:
        """Write spans to `doc.spans[spans_key]` and probabilities to its `attrs["scores"]`.

        Existing spans are replaced. With the setting `labels`, spans with other labels are kept.

        docs (Iterable[Doc]): the Docs, which are modified.
        predictions (list[list[Entity]]): the predictions of `predict`, one list per Doc.
        """
        key = self.cfg["spans_key"]
        for doc, found in zip(docs, predictions, strict=True):
            spans = [Span(doc, span.start, span.end, label=span.label) for span in found]
            scores: list[float | None] = [span.probability for span in found]
            if "learned_labels" in self.cfg and key in doc.spans:
                others = [
                    (span, score)
                    for span, score in SpanGroupTask.scored(doc.spans[key])
                    if not learns(self.cfg, span.label_)
                ]
                spans = [*(span for span, _ in others), *spans]
                scores = [*(score for _, score in others), *scores]
            doc.spans[key] = SpanGroup(doc, name=key, spans=spans, attrs={"scores": scores})
