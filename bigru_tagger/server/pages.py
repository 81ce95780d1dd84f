"""The pages of the web service: one to try the pipeline, and one about its requests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from .. import report
from .schemas import MAX_DETAILED

_ASSETS = {
    "report.css": Path(report.__file__).parent / "assets" / "report.css",
    "page.css": Path(__file__).parent / "assets" / "page.css",
    "page.js": Path(__file__).parent / "assets" / "page.js",
}
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    # Browsers load nothing from other hosts and run no script in the page, whatever a text holds.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_pages(app: FastAPI, model: Mapping[str, Any]) -> None:
    """Add the routes of the pages and of their style sheets and script.

    app (FastAPI): the application.
    model (Mapping[str, Any]): the description of the pipeline, as `/model` returns it.
    """
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(("html.jinja",)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    index = environment.get_template("index.html.jinja").render(
        model=model, max_detailed=MAX_DETAILED
    )
    assets = {name: path.read_text(encoding="utf8") for name, path in _ASSETS.items()}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(index, media_type="text/html", headers=_HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        template = environment.get_template("docs.html.jinja")
        text = template.render(schema=app.openapi(), base=str(request.base_url))
        return Response(text, media_type="text/html", headers=_HEADERS)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in assets:
            return Response(status_code=404)
        media_type = _MEDIA_TYPES[Path(name).suffix]
        return Response(assets[name], media_type=media_type, headers=_HEADERS)
