"""The registered factories of the components.

spaCy imports this module in every process that creates a pipeline, even if the pipeline has none of
these components. To keep that import fast, the module imports only what `import spacy` imports. The
factories import their classes when they are called.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

Scorer = Callable[..., dict[str, Any]]

# `embed` is None, so that the architecture sets the default embeddings. spaCy merges this config
# with the user's, so embeddings listed here would be added to every config that omits them.
DEFAULT_MODEL = {
    "@architectures": "bigru_tagger.BiGRUTagger.v1",
    "embed": None,
    "hidden": 128,
    "word_dropout": 0.05,
}
_SHARED = {
    "model": DEFAULT_MODEL,
    "label_smoothing": 0.0,
    "label_weights": None,
    "labels": None,
}
_SPANS = {**_SHARED, "threshold": 0.0, "recall_bias": None, "incorrect_spans_key": None}


def _span_scorer(target: str) -> dict[str, str]:
    return {
        "@scorers": "bigru_tagger.seqeval_scorer.v1",
        "target": target,
        "spans_key": "chunks",
    }


@Language.factory(
    "bigru_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        **_SPANS,
        "confidence": "confidence",
        "scorer": _span_scorer("ents"),
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_bigru_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    *,
    confidence: str | None,
    threshold: float,
    recall_bias: float | dict[str, float] | None,
    incorrect_spans_key: str | None,
    label_smoothing: float,
    label_weights: dict[str, float] | None,
    labels: list[str] | None,
    scorer: Scorer | None,
) -> TrainablePipe:
    """Create the component.

    nlp (Language): the pipeline.
    name (str): name of the component.
    model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
    confidence (str | None): name of the extension attribute for the probability of an entity.
        With the default, it is `span._.confidence`. None sets no attribute.
    threshold (float): minimum probability of an entity, from 0 to 1. Entities below it are
        dropped; 0 keeps all.
    recall_bias (float | dict[str, float] | None): added to the logits of all tags except O. With a
        positive value, more spans are predicted, which usually raises recall and lowers precision.
        A dict has a number for each label, 0 for labels that it does not have. With None, a number
        is chosen when training starts: the fewer spans in the training data, the larger it is.
    incorrect_spans_key (str | None): key of `doc.spans` for spans of the training data that are
        known to be incorrect, as in spaCy's `ner`. A span without a label is incorrect with any
        label. None for no key.
    label_smoothing (float): share of the gold tag's probability that training distributes equally
        over the other tags, at least 0 and below 1.
    label_weights (dict[str, float] | None): weights in the loss, by label: the loss of a token is
        multiplied by the weight of its gold tag's label. "O" is the label of tokens outside of all
        spans. Labels without a weight have the weight 1. See `SequenceTagger.get_loss`.
    labels (list[str] | None): the labels that the component learns and predicts; None for all
        labels of the training data. Gold spans with other labels count as O.
    scorer (Callable | None): the scoring method. None computes no scores.
    RETURNS (BiGRUNer): the component.
    """
    from .ner import BiGRUNer  # noqa: PLC0415 - imports torch

    return BiGRUNer(
        nlp.vocab,
        model,
        name,
        confidence=confidence,
        threshold=threshold,
        recall_bias=recall_bias,
        incorrect_spans_key=incorrect_spans_key,
        label_smoothing=label_smoothing,
        label_weights=label_weights,
        labels=labels,
        scorer=scorer,
    )


@Language.factory(
    "bigru_tagger",
    assigns=["token.tag"],
    default_config={
        **_SHARED,
        "overwrite": True,
        "scorer": {"@scorers": "spacy.tagger_scorer.v1"},
    },
    default_score_weights={"tag_acc": 1.0},
)
def make_bigru_tagger(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    *,
    overwrite: bool,
    label_smoothing: float,
    label_weights: dict[str, float] | None,
    labels: list[str] | None,
    scorer: Scorer | None,
) -> TrainablePipe:
    """Create the component.

    nlp (Language): the pipeline.
    name (str): name of the component.
    model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
    overwrite (bool): whether to replace tags that are already set on the Doc.
    label_smoothing (float): share of the gold tag's probability that training distributes equally
        over the other tags, at least 0 and below 1.
    label_weights (dict[str, float] | None): weights in the loss, by label: the loss of a token is
        multiplied by the weight of its gold tag, 1 for tags without a weight.
    labels (list[str] | None): the tags that the component learns and predicts; None for all tags of
        the training data. Tokens with other gold tags are not used for training.
    scorer (Callable | None): the scoring method. None computes no scores.
    RETURNS (BiGRUTokenTagger): the component.
    """
    from .tagger import BiGRUTokenTagger  # noqa: PLC0415 - imports torch

    return BiGRUTokenTagger(
        nlp.vocab,
        model,
        name,
        overwrite=overwrite,
        label_smoothing=label_smoothing,
        label_weights=label_weights,
        labels=labels,
        scorer=scorer,
    )


def _score_weights(spans_key: str) -> dict[str, float | None]:
    prefix = f"spans_{spans_key}"
    return {f"{prefix}_f": 1.0, f"{prefix}_p": 0.0, f"{prefix}_r": 0.0, f"{prefix}_per_type": None}


@Language.factory(
    "bigru_chunker",
    assigns=["doc.spans"],
    default_config={
        **_SPANS,
        "spans_key": "chunks",
        "scorer": _span_scorer("spans"),
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
    recall_bias: float | dict[str, float] | None,
    incorrect_spans_key: str | None,
    label_smoothing: float,
    label_weights: dict[str, float] | None,
    labels: list[str] | None,
    scorer: Scorer | None,
) -> TrainablePipe:
    """Create the component.

    nlp (Language): the pipeline.
    name (str): name of the component.
    model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
    spans_key (str): the key of `doc.spans` for gold and predicted spans. The scorer and the
        default score weights use the same key.
    threshold (float): minimum probability of a span, from 0 to 1. Spans below it are dropped; 0
        keeps all.
    recall_bias (float | dict[str, float] | None): added to the logits of all tags except O. With a
        positive value, more spans are predicted, which usually raises recall and lowers precision.
        A dict has a number for each label, 0 for labels that it does not have. With None, a number
        is chosen when training starts: the fewer spans in the training data, the larger it is.
    incorrect_spans_key (str | None): key of `doc.spans` for spans of the training data that are
        known to be incorrect, as in spaCy's `ner`. A span without a label is incorrect with any
        label. None for no key.
    label_smoothing (float): share of the gold tag's probability that training distributes equally
        over the other tags, at least 0 and below 1.
    label_weights (dict[str, float] | None): weights in the loss, by label: the loss of a token is
        multiplied by the weight of its gold tag's label. "O" is the label of tokens outside of all
        spans. Labels without a weight have the weight 1. See `SequenceTagger.get_loss`.
    labels (list[str] | None): the labels that the component learns and predicts; None for all
        labels of the training data. Gold spans with other labels count as O.
    scorer (Callable | None): the scoring method. None computes no scores.
    RETURNS (BiGRUChunker): the component.
    """
    from .chunker import BiGRUChunker  # noqa: PLC0415 - imports torch

    # spaCy reads the default score weights from the factory's meta after this call.
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
        incorrect_spans_key=incorrect_spans_key,
        label_smoothing=label_smoothing,
        label_weights=label_weights,
        labels=labels,
        scorer=scorer,
    )
