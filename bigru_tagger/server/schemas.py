"""Requests and responses of the web service."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_TEXTS = 1000
MAX_N_BEST = 20
MAX_DETAILED = 20_000
"""Characters of a request with hypotheses or gates. They are many times larger than the texts."""


class AnnotateRequest(BaseModel):
    """Texts to annotate, and options."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"texts": ["Ada Lovelace lived in London."], "threshold": 0.5}]
        },
    )

    texts: Annotated[list[str], Field(max_length=MAX_TEXTS)] | None = Field(
        None, description="The texts. Give either this or `tokens`."
    )
    tokens: (
        Annotated[
            list[list[Annotated[str, StringConstraints(min_length=1)]]],
            Field(max_length=MAX_TEXTS),
        ]
        | None
    ) = Field(None, description="The texts as lists of tokens, which the tokenizer does not split.")
    threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="Leaves out entities with a lower probability. Default: the setting of the "
        "pipeline's components.",
    )
    n_best: int | None = Field(
        None,
        ge=1,
        le=MAX_N_BEST,
        description="Also return this many of the most probable hypotheses for each sentence.",
    )
    gates: bool = Field(False, description="Also return the gates of the GRU at each token.")

    @model_validator(mode="after")
    def _check_input(self) -> "AnnotateRequest":
        if (self.texts is None) == (self.tokens is None):
            raise ValueError("give either `texts` or `tokens`")
        if self.n_best is not None or self.gates:
            n_characters = sum(sum(map(len, text)) for text in self.texts or self.tokens or [])
            if n_characters > MAX_DETAILED:
                raise ValueError(
                    f"`n_best` and `gates` need texts of at most {MAX_DETAILED} characters in "
                    f"total; these have {n_characters}"
                )
        return self


class SpanRecord(BaseModel):
    """An entity or another labelled span."""

    model_config = ConfigDict(extra="allow")

    start: int = Field(description="Offset of its first character, in Unicode code points.")
    end: int = Field(description="Offset after its last character.")
    label: str
    score: float | None = Field(None, description="Its probability, if the component computes it.")


class HypothesisRecord(BaseModel):
    """A possible set of spans of a sentence, or of a text without sentence boundaries."""

    start: int = Field(description="Offset of the sentence's first character.")
    end: int = Field(description="Offset after its last character.")
    probability: float = Field(description="Its probability among all valid tag sequences.")
    spans: list[SpanRecord]


class GateRecord(BaseModel):
    """The gates of one layer and direction, as means over all units at each token."""

    layer: int = Field(description="Number of the layer, from 0 at the bottom.")
    direction: str = Field(description='"forward" or "backward".')
    update: list[float]
    reset: list[float]


class GatesRecord(BaseModel):
    """The gates of the GRU on a text."""

    component: str
    tokens: list[str]
    tags: list[str]
    layers: list[GateRecord]
    shares: dict[str, list[float]] = Field(description="Summands of the predicted tag's logit.")


class TextRecord(BaseModel):
    """The annotation of a text, as in spaCy's `Doc.to_json`, with scores."""

    model_config = ConfigDict(extra="allow")

    text: str
    ents: list[SpanRecord]
    tokens: list[dict[str, Any]]
    spans: dict[str, list[SpanRecord]] = Field({}, description="The spans of each key.")
    hypotheses: dict[str, list[list[HypothesisRecord]]] | None = Field(
        None, description="The hypotheses by component and sentence, the most probable first."
    )
    gates: GatesRecord | None = None


class TextError(BaseModel):
    """An error that the pipeline raised for a text."""

    index: int = Field(description="The position of the text in the request, from 0.")
    message: str


class AnnotateResponse(BaseModel):
    """The annotation of each text."""

    docs: list[TextRecord | None] = Field(
        description="A record per text, in the order of the request; null for a text in `errors`."
    )
    errors: list[TextError]


class Problem(BaseModel):
    """What is wrong, where, and what to do."""

    message: str
    where: str | None = None
    remedy: str


class ErrorResponse(BaseModel):
    """A request that was not answered."""

    error: Problem
