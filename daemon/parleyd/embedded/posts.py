"""Requests with a body, which the WebSocket library does not accept: a connection that begins with one is read here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection

from parleyd.embedded import messages

MOST_BODY_BYTES = 10 * 2**20
MOST_HEAD_BYTES = 16 * 1024
# No length of a body has more digits.
_MOST_DIGITS = 18
_METHODS = (b"POST ", b"PATCH ", b"PUT ", b"DELETE ")

_log = logging.getLogger("parleyd.agent")


@dataclass(frozen=True, slots=True)
class Post:
    """target: the path with the query."""

    method: str
    target: str
    headers: Message
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def header(self, name: str, default: str = "") -> str:
        return str(self.headers.get(name, default))


class RefusedPostError(Exception):
    """The request is refused with this status; content: the JSON of the answer, by default in ElevenLabs' form."""

    def __init__(self, status: int, text: str, content: Any = None) -> None:
        super().__init__(text)
        self.status = status
        self.content = content or {"detail": {"status": "invalid_file", "message": text}}


# Answers by writing to the transport; raises RefusedPostError before it has written anything.
Answer = Callable[[Post, asyncio.Transport], Awaitable[None]]


def connection_with_posts(answer: Answer) -> type[ServerConnection]:
    """For serve(create_connection=…). answer is called on the server's loop."""

    class Connection(ServerConnection):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._buffer: bytearray | None = bytearray()
            self._has_body = False
            self._answering: asyncio.Task[None] | None = None

        def data_received(self, data: bytes) -> None:
            if self._buffer is None:
                super().data_received(data)
                return
            self._buffer += data
            if not self._has_body:
                begun = bytes(self._buffer)
                if any(len(begun) < len(method) and method.startswith(begun) for method in _METHODS):
                    return
                if not begun.startswith(_METHODS):
                    self._buffer = None
                    super().data_received(begun)
                    return
                self._has_body = True
            if self._answering is not None:
                return
            try:
                post = _read(self._buffer)
            except RefusedPostError as error:
                self._refuse(error)
                return
            if post is not None:
                self._buffer = bytearray()
                self._answering = asyncio.create_task(self._answer(post))
                self._answering.add_done_callback(self._answered)

        async def handshake(self, *args: Any, **more: Any) -> None:
            try:
                await super().handshake(*args, **more)
            except asyncio.CancelledError:
                # The time limit of the handshake ends requests, and not answers: speech takes its time.
                if self._answering is not None:
                    await self.wait_closed()
                raise

        async def _answer(self, post: Post) -> None:
            assert isinstance(self.transport, asyncio.Transport)
            try:
                await answer(post, self.transport)
            except RefusedPostError as error:
                self._refuse(error)
            else:
                self.transport.close()

        def _answered(self, task: asyncio.Task[None]) -> None:
            """A client whose request meets a defect would wait for its answer as long as it likes."""
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a defect in the embedded agent", exc_info=error)
                self._refuse(RefusedPostError(500, "Internal Server Error", {"detail": "Internal Server Error"}))

        def _refuse(self, error: RefusedPostError) -> None:
            self._buffer = bytearray()
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(json_answer(error.status, error.content))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._answering is not None:
                self._answering.cancel()
            super().connection_lost(exc)

    return Connection


def _read(received: bytearray) -> Post | None:
    """The request; None: it is not complete yet. Raises RefusedPostError."""
    head_bytes = received.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
    if head_bytes < 0:
        if len(received) > MOST_HEAD_BYTES:
            raise RefusedPostError(431, "Request header fields too large")
        return None
    line, _, fields = received[:head_bytes].partition(b"\r\n")
    body_bytes = len(received) - head_bytes - 4
    headers = BytesParser(policy=HTTP).parsebytes(bytes(fields) + b"\r\n\r\n", headersonly=True)
    method = line.partition(b" ")[0].decode("ascii", "replace")
    length = str(headers.get("Content-Length", "0" if method == "DELETE" else ""))
    if not length.isascii() or not length.isdigit():
        raise RefusedPostError(411, "Content-Length required")
    if len(length) > _MOST_DIGITS:
        raise RefusedPostError(400, "Content-Length is too large")
    if int(length) > MOST_BODY_BYTES + MOST_HEAD_BYTES:
        # The rest is read up to a limit, because a client that is answered too early sees a broken connection.
        if body_bytes < min(int(length), 4 * MOST_BODY_BYTES):
            return None
        raise RefusedPostError(413, "File too large")
    if body_bytes < int(length):
        return None
    target = line.split(b" ")[1].decode("utf-8", "replace")
    return Post(method, target, headers, bytes(received[head_bytes + 4 :]))


def head(status: int, content_type: str, *more: str) -> bytes:
    """The head of an answer; more: further header lines."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        "Connection: close",
        *more,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def json_answer(status: int, content: Any) -> bytes:
    body = messages.as_text(content).encode()
    return head(status, "application/json", f"Content-Length: {len(body)}") + body
