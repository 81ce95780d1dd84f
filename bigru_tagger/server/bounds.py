"""Bounds of a request: the size of its body, its time, and the number of requests in progress."""

import asyncio
import contextlib

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import error_response

_DISCARDED = 64
"""A refused body is read, and discarded, up to this multiple of the largest accepted body."""


class BodyTooLargeError(Exception):
    """The body of a request is larger than the bound."""


class Bounds:
    """ASGI middleware that refuses POST requests that are too many, too large or too slow.

    It bounds the memory of the server: at most `max_requests` bodies are held at a time. If a
    request is answered before its body is complete, the connection is closed.
    """

    def __init__(self, app: ASGIApp, *, max_body: int, max_requests: int, timeout: float) -> None:
        """Wrap an application.

        app (ASGIApp): the application.
        max_body (int): maximum size of a body, in bytes; larger ones are answered with 413.
        max_requests (int): maximum number of requests in progress; others are answered with 429.
        timeout (float): maximum time from the headers of a request to its answer, in seconds. A
            request whose body is incomplete then is answered with 408, others with 503.
        """
        self.app = app
        self.max_body = max_body
        self.max_requests = max_requests
        self.timeout = timeout
        self.n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        receive, send = _close_early(scope, receive, send)
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif self.n_requests >= self.max_requests:
            response = error_response(
                429,
                f"{self.n_requests} requests are in progress, which is the limit",
                "send the request again later",
                retry=True,
            )
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._discard(scope, receive), self.timeout)
            await response(scope, receive, send)
        else:
            self.n_requests += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self.n_requests -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        end = asyncio.get_running_loop().time() + self.timeout
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self.timeout)
        except BodyTooLargeError:
            response = error_response(
                413,
                f"the body is larger than {self.max_body} bytes",
                "send fewer or shorter texts in one request",
                "body",
            )
        except asyncio.TimeoutError:
            response = error_response(
                408,
                f"the body was not complete after {self.timeout:g} seconds",
                "send smaller requests",
                "body",
            )
        else:
            if body is not None:  # the client is still connected
                await self._run(body, end, scope, receive, send)
            return
        await response(scope, receive, send)

    async def _run(
        self, body: bytes, end: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started = False
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        answer = asyncio.ensure_future(self.app(scope, replay, watched))
        gone = asyncio.ensure_future(receive())  # returns if the client disconnects
        left = end - asyncio.get_running_loop().time()
        try:
            await asyncio.wait({answer, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            timed_out = not answer.done() and not gone.done()
            for task in (answer, gone):
                task.cancel()
            await asyncio.wait({answer, gone})
        if timed_out and not started:
            response = error_response(
                503,
                f"the request was not answered within {self.timeout:g} seconds",
                "send it again later, or send fewer or shorter texts",
                retry=True,
            )
            await response(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read a body. None if the client disconnects."""
        if _content_length(scope) > self.max_body:
            await self._discard(scope, receive)
            raise BodyTooLargeError
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.max_body:
                if more:
                    await self._discard(scope, receive)
                raise BodyTooLargeError
            if not more:
                return bytes(body)

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        # Many clients read the response only after they sent the body. If the server closed the
        # connection before, they would report a broken connection instead.
        if any(name == b"expect" for name, _ in scope["headers"]):
            return  # the client waits for permission to send the body
        left = _DISCARDED * self.max_body
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _close_early(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Let the server close the connection after a response to an incomplete request.

    Otherwise, it would read and discard the rest of the body, however long.
    """
    complete = not any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )

    async def watched_receive() -> Message:
        nonlocal complete
        message = await receive()
        complete = complete or not message.get("more_body", False)
        return message

    async def closing_send(message: Message) -> None:
        if message["type"] == "http.response.start" and not complete:
            MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    return watched_receive, closing_send


def _content_length(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
