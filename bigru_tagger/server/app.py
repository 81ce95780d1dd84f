"""The web service: routes, and the settings of the server."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST
from spacy.language import Language

from .. import __version__
from ..scoring.loading import setters_of
from .batching import Answer, Batcher, PredictionError
from .bounds import Bounds
from .errors import add_error_handlers, error_response
from .metrics import CountRequests, Metrics
from .pages import add_pages
from .prediction import Options, Predictor, Text
from .schemas import AnnotateRequest, AnnotateResponse, ErrorResponse


@dataclass(frozen=True)
class ServerSettings:
    """The bounds of a server.

    max_body (int): maximum size of the body of a request, in bytes.
    max_requests (int): maximum number of requests in progress.
    timeout (float): maximum time for a request, in seconds.
    batch_size (int): maximum number of texts that are predicted together.
    wait (float): maximum time to wait for other texts, in seconds.
    """

    max_body: int = 256 * 1024
    max_requests: int = 128
    timeout: float = 30.0
    batch_size: int = 64
    wait: float = 0.003


def make_app(nlp: Language, settings: ServerSettings | None = None) -> FastAPI:
    """Create the web service of a pipeline.

    nlp (Language): the pipeline. Only the service may use it.
    settings (ServerSettings | None): the bounds; None for the defaults.
    RETURNS (FastAPI): the application.
    """
    settings = settings or ServerSettings()
    metrics = Metrics()
    predictor = Predictor(nlp, metrics.observe_batch)
    description = _describe(predictor)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = Batcher(predictor.predict, batch_size=settings.batch_size, wait=settings.wait)
        metrics.queued.set_function(lambda: batcher.n_queued)
        app.state.batcher = batcher
        yield
        batcher.stop()

    app = FastAPI(
        title=f"bigru-tagger: {description['name']}",
        version=__version__,
        description="Entities, spans and tags of texts, as a pipeline predicts them.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    add_error_handlers(app)
    add_pages(app, description)

    @app.post(
        "/annotate",
        summary="Annotate texts",
        response_model=AnnotateResponse,
        responses={
            408: {"model": ErrorResponse, "description": "The body was sent too slowly."},
            413: {"model": ErrorResponse, "description": "The body is too large."},
            422: {"model": ErrorResponse, "description": "The request is not valid."},
            429: {"model": ErrorResponse, "description": "Too many requests are in progress."},
            503: {"model": ErrorResponse, "description": "The request took too long."},
        },
    )
    async def annotate(request: AnnotateRequest) -> Response:
        """Predict the annotation of each text. Offsets count Unicode code points."""
        options = Options(request.threshold, request.n_best, request.gates)
        if (unsupported := predictor.unsupported(options)) is not None:
            option, reason = unsupported
            return error_response(422, reason, "leave this option out", option)
        texts: Sequence[Text] = (
            request.texts
            if request.texts is not None
            else [tuple(tokens) for tokens in request.tokens or []]
        )
        answers = await app.state.batcher.submit(texts, options)
        metrics.failed.inc(sum(isinstance(answer, PredictionError) for answer in answers))
        return Response(_join(answers), media_type="application/json")

    @app.get("/model", summary="Describe the pipeline")
    async def model() -> dict[str, Any]:
        """Return the name of the pipeline, its components and their labels."""
        return description

    @app.get("/healthz", summary="Check the server", responses={503: {"model": ErrorResponse}})
    async def healthz() -> Response:
        """Report whether the server predicts."""
        if not app.state.batcher.is_alive:
            return error_response(503, "the thread that predicts has ended", "restart the server")
        return Response('{"status": "ok"}', media_type="application/json")

    @app.get("/metrics", summary="Metrics", response_class=Response)
    async def render_metrics() -> Response:
        """Return counts and times in Prometheus' text format."""
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.add_middleware(
        Bounds,
        max_body=settings.max_body,
        max_requests=settings.max_requests,
        timeout=settings.timeout,
    )
    # The last one is the outermost, so that refused requests count, too.
    paths = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    app.add_middleware(CountRequests, metrics=metrics, paths=paths)
    return app


def _describe(predictor: Predictor) -> dict[str, Any]:
    nlp = predictor.nlp
    return {
        "name": "{lang}_{name}".format(**nlp.meta),
        "version": nlp.meta["version"],
        "bigru_tagger": __version__,
        "components": nlp.pipe_names,
        "labels": {name: list(labels) for name, labels in nlp.pipe_labels.items() if labels},
        "entities": setters_of(nlp, "doc.ents"),
        "threshold": {name: pipe.cfg["threshold"] for name, pipe in predictor.span_taggers.items()},
        "no_gates": predictor.no_gates,
    }


def _join(answers: Sequence[Answer]) -> str:
    # The records are JSON already.
    docs = ["null" if isinstance(answer, PredictionError) else answer for answer in answers]
    errors = [
        {"index": i, "message": str(answer)}
        for i, answer in enumerate(answers)
        if isinstance(answer, PredictionError)
    ]
    return f'{{"docs": [{", ".join(docs)}], "errors": {json.dumps(errors)}}}'
