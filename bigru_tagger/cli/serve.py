"""The command `serve`: a web service for a pipeline."""

from typing import Annotated

import typer

from .app import app, report_errors
from .options import Device, GpuId, Model

_CONNECTIONS = 1000  # open ones, also those without a request
# Seconds without a request until a connection is closed. A request that is sent at that moment is
# lost, so that proxies must close theirs before: nginx does after 60 seconds.
_KEEP_ALIVE = 75


@app.command("serve")
def serve_command(
    model: Model,
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all networks.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for a free one.", min=0, max=65535)] = 8000,
    max_body: Annotated[
        int, typer.Option(help="Maximum size of a request, in KiB. Larger ones get 413.", min=1)
    ] = 256,
    max_requests: Annotated[
        int,
        typer.Option(help="Maximum number of requests in progress. Others get 429.", min=1),
    ] = 128,
    timeout: Annotated[
        float,
        typer.Option(help="Maximum time for a request, in seconds. Then it gets 503.", min=0.1),
    ] = 30.0,
    batch_size: Annotated[
        int, typer.Option(help="Maximum number of texts that are predicted together.", min=1)
    ] = 64,
    wait: Annotated[
        float,
        typer.Option(help="Maximum time to wait for texts of other requests, in ms.", min=0.0),
    ] = 3.0,
    device: Device = None,
    gpu_id: GpuId = -1,
) -> None:
    """Start a web service for a pipeline, with a page to try it.

    Concurrent requests are predicted together. It stops at SIGTERM or Ctrl+C, after requests that
    are in progress are answered.
    """
    from ..extras import require

    uvicorn = require("uvicorn", "bigru-tagger serve")
    require("fastapi", "bigru-tagger serve")
    require("prometheus_client", "bigru-tagger serve")

    from ..scoring.loading import load_pipeline
    from ..server.app import ServerSettings, make_app

    with report_errors():
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        settings = ServerSettings(
            max_body=1024 * max_body,
            max_requests=max_requests,
            timeout=timeout,
            batch_size=batch_size,
            wait=wait / 1000,
        )
        uvicorn.run(
            make_app(nlp, settings),
            host=host,
            port=port,
            access_log=False,
            ws="none",
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=int(timeout) + 1,
        )
