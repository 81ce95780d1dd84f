"""Responses to requests that cannot be answered: what is wrong, where, and what to do."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .schemas import AnnotateRequest

RETRY_AFTER = 1
"""Seconds after which a client should try again."""

_FIELDS = ", ".join(AnnotateRequest.model_fields)
_REMEDIES = {
    "extra_forbidden": f"leave it out: the fields are {_FIELDS}",
    "json_invalid": "send a JSON object",
    "missing": "send a JSON object, with the header Content-Type: application/json",
    "model_attributes_type": "send a JSON object, with the header Content-Type: application/json",
}


def error_response(
    status: int, message: str, remedy: str, where: str | None = None, *, retry: bool = False
) -> Response:
    """Create a response for an error.

    status (int): the HTTP status.
    message (str): what is wrong.
    remedy (str): what to do.
    where (str | None): the field of the request, such as "texts[1]".
    retry (bool): whether to ask the client to try again, in the header Retry-After.
    RETURNS (Response): the response, a JSON object `{"error": {...}}`.
    """
    error = {"message": message, "where": where, "remedy": remedy}
    # In ASCII, since the name of a field can have lone surrogates, which UTF-8 cannot represent.
    return Response(
        json.dumps({"error": error}),
        status,
        headers={"Retry-After": str(RETRY_AFTER)} if retry else None,
        media_type="application/json",
    )


def add_error_handlers(app: FastAPI) -> None:
    """Register the handlers of errors that FastAPI finds.

    app (FastAPI): the application.
    """
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    first = problems[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        message = f"the body is not valid JSON: {first['ctx']['error']}"
        where = f"character {first['loc'][-1]}"
    else:
        where = _where(first["loc"][1:])
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more errors)"
    remedy = _REMEDIES.get(first["type"], "change the request: its format is described at /docs")
    return error_response(422, message, remedy, where)


def _where(loc: Sequence[Any]) -> str:
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path or "body"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return error_response(
            422, "the body cannot be read as JSON", "send a JSON object in UTF-8", "body"
        )
    where = f"{request.method} {request.url.path}"
    return error_response(
        error.status_code, error.detail, "see /docs for the paths and their methods", where
    )


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(
        500, "internal error", "report it with the traceback in the log of the server"
    )
