"""The component `bigru_chunker`: labelled spans such as chunks, written to `doc.spans`."""

from collections.abc import Iterable
from dataclasses import replace

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..evaluation.scoring import same_words
from .component import DEFAULT_MODEL, Scorer
from .gold import Gold, span_tags
from .spans import Entity, SpanTagger


def _score_weights(spans_key: str) -> dict[str, float | None]:
    prefix = f"spans_{spans_key}"
    return {f"{prefix}_f": 1.0, f"{prefix}_p": 0.0, f"{prefix}_r": 0.0, f"{prefix}_per_type": None}


@Language.factory(
    "bigru_chunker",
    assigns=["doc.spans"],
    default_config={
        "model": DEFAULT_MODEL,
        "spans_key": "chunks",
        "threshold": 0.0,
        "recall_bias": 0.0,
        "label_smoothing": 0.0,
        "scorer": {
            "@scorers": "bigru_tagger.seqeval_scorer.v1",
            "target": "spans",
            "spans_key": "chunks",
        },
    },
    default_score_weights=_score_weights("chunks"),
)
def make_bigru_chunker(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    *,
    spans_key: str,
    threshold: float,
    recall_bias: float,
    label_smoothing: float,
    scorer: Scorer | None,
) -> "BiGRUChunker":
    """Construct the component.

    nlp (Language): the pipeline.
    name (str): name of the component.
    model (Model[List[Doc], List[Floats2d]]): Docs to emissions.
    spans_key (str): the key of `doc.spans` to read the gold spans from and write to. The scorer
        and the default score weights follow it.
    threshold (float): probability below which a span is dropped.
    recall_bias (float): added to the scores of all tags but O: above zero, more spans are found,
        less surely.
    label_smoothing (float): share of the gold probability that goes to the other tags, in equal
        parts, while training.
    scorer (Optional[Callable]): the scoring method.
    RETURNS (BiGRUChunker): the component.
    """
    # spaCy takes the default score weights from the factory's meta, right after this call.
    meta = nlp.get_factory_meta("bigru_chunker")
    weights = _score_weights(spans_key)
    nlp.set_factory_meta(
        "bigru_chunker", replace(meta, scores=list(weights), default_score_weights=weights)
    )
    return BiGRUChunker(
        nlp.vocab,
        model,
        name,
        spans_key=spans_key,
        threshold=threshold,
        recall_bias=recall_bias,
        label_smoothing=label_smoothing,
        scorer=scorer,
    )


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
        recall_bias: float = 0.0,
        label_smoothing: float = 0.0,
        scorer: Scorer | None = None,
    ) -> None:
        """Hold the model.

        vocab (Vocab): the shared vocabulary.
        model (Model[List[Doc], List[Floats2d]]): Docs to emissions.
        name (str): name of the component.
        spans_key (str): see `make_bigru_chunker`.
        threshold (float): see `make_bigru_chunker`.
        recall_bias (float): see `make_bigru_chunker`.
        label_smoothing (float): see `make_bigru_chunker`.
        scorer (Optional[Callable]): the scoring method.
        """
        super().__init__(
            vocab,
            model,
            name,
            scorer=scorer,
            label_smoothing=label_smoothing,
            spans_key=spans_key,
            threshold=threshold,
            recall_bias=recall_bias,
        )

    def find_labels(self, example: Example) -> Iterable[str]:
        """See `SequenceTagger.find_labels`."""
        return [span.label_ for span in example.reference.spans.get(self.cfg["spans_key"], [])]

    def gold_tags(self, example: Example) -> Gold:
        """See `SequenceTagger.gold_tags`.

        RAISES (ValueError): if gold spans overlap.
        """
        reference = example.reference
        key = self.cfg["spans_key"]
        if key not in reference.spans:
            return [None] * len(example.predicted)
        spans = [span for span in reference.spans[key] if len(span)]
        covered = [token for span in spans for token in range(span.start, span.end)]
        if len(set(covered)) < len(covered):
            raise ValueError(
                f"{self.name}: the spans under doc.spans[{key!r}] of {reference.text[:60]!r} "
                "overlap, which a tagger cannot learn"
            )
        tags: Gold = ["O"] * len(example.predicted)
        if not same_words(example):
            for span in spans:
                for token in example.alignment.y2x[span.start : span.end]:
                    tags[token] = None  # stays so where the predicted Doc has no such span
            spans = example.get_aligned_spans_y2x(spans)
        for span in spans:
            tags[span.start : span.end] = span_tags(span.label_, len(span))
        return self.findable(tags, example)

    def set_annotations(self, docs: Iterable[Doc], predictions: list[list[Entity]]) -> None:
        """Write the spans to `doc.spans`, their probabilities to the group's `attrs["scores"]`.

        docs (Iterable[Doc]): the Docs.
        predictions (List[List[Entity]]): what `predict` returned.
        """
        key = self.cfg["spans_key"]
        for doc, found in zip(docs, predictions, strict=True):
            spans = [Span(doc, span.start, span.end, label=span.label) for span in found]
            scores = [span.probability for span in found]
            doc.spans[key] = SpanGroup(doc, name=key, spans=spans, attrs={"scores": scores})
