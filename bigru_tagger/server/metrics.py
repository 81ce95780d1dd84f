"""Metrics in Prometheus' text format."""

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        """Create the metrics, all zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "bigru_tagger_requests", "Requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "bigru_tagger_request_seconds",
            "Time from the headers of a request to the end of its response.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "bigru_tagger_requests_in_progress", "Requests in progress.", registry=self.registry
        )
        self.queued = Gauge(
            "bigru_tagger_queued_texts", "Texts in the queue.", registry=self.registry
        )
        self.batches = Histogram(
            "bigru_tagger_batch_texts", "Texts per batch.", buckets=_TEXTS, registry=self.registry
        )
        self.tokens = Counter(
            "bigru_tagger_tokens", "Tokens that were predicted.", registry=self.registry
        )
        self.failed = Counter(
            "bigru_tagger_failed_texts",
            "Texts for which the pipeline raised an exception.",
            registry=self.registry,
        )

    def observe_batch(self, n_texts: int, n_tokens: int) -> None:
        """Count a predicted batch.

        n_texts (int): number of texts.
        n_tokens (int): number of tokens of all texts.
        """
        self.batches.observe(n_texts)
        self.tokens.inc(n_tokens)

    def render(self) -> bytes:
        """Write the current values.

        RETURNS (bytes): the values, in Prometheus' text format.
        """
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts requests and their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        """Wrap an application.

        app (ASGIApp): the application.
        metrics (Metrics): the metrics.
        paths (frozenset[str]): the paths to count one by one. All others count as "other", so that
            the number of time series is limited.
        """
        self.app = app
        self.metrics = metrics
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 499  # nginx's code for a client that disconnected

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in self.paths else "other"
        begin = time.perf_counter()
        try:
            with self.metrics.in_progress.track_inprogress():
                await self.app(scope, receive, watched)
        except Exception:
            status = 500  # which the caller sends
            raise
        finally:
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - begin)
