"""Requests with a body: files that clients send into a running conversation (`POST
/v1/convai/conversations/{id}/files`, multipart), and JSON for the other parts of the API.

The WebSocket library accepts only GET, so this module handles a connection that begins with another method.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import ServerConnection

from parleyd.embedded import messages

MOST_BYTES = 10 * 2**20
MOST_HEAD_BYTES = 16 * 1024
_PATH = re.compile(r"/v1/convai/conversations/(?P<conversation>[^/]+)/files$")
# The methods of requests that the WebSocket library does not accept.
_METHODS = (b"POST ", b"PATCH ", b"DELETE ")


@dataclass(frozen=True, slots=True)
class Upload:
    """conversation_id: of the conversation that gets the file. key: the client's API key."""

    conversation_id: str
    key: str | None
    name: str
    media_type: str
    size_bytes: int


class RefusedUploadError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# Returns the file's id; raises RefusedUploadError.
Take = Callable[[Upload], str]
# (method, path with query, API key or None, body) -> (status, content); None: there is no such path.
Handle = Callable[[str, str, str | None, bytes], tuple[int, Any] | None]


def connection_with_uploads(take: Take, handle: Handle) -> type[ServerConnection]:
    """For serve(create_connection=…). take and handle are called on the server's loop."""

    class Connection(ServerConnection):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self._buffer: bytearray | None = bytearray()
            self._has_body = False

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
            answer = _answer(self._buffer, take, handle)
            if answer is not None:
                self._buffer = bytearray()
                assert isinstance(self.transport, asyncio.Transport)
                self.transport.write(answer)
                self.transport.close()

    return Connection


def _answer(received: bytearray, take: Take, handle: Handle) -> bytes | None:
    """The answer; None: the request is not complete yet."""
    head_bytes = received.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
    try:
        if head_bytes < 0:
            if len(received) > MOST_HEAD_BYTES:
                raise RefusedUploadError(431, "Request header fields too large")
            return None
        line, _, fields = received[:head_bytes].partition(b"\r\n")
        body_bytes = len(received) - head_bytes - 4
        headers = BytesParser(policy=HTTP).parsebytes(bytes(fields) + b"\r\n\r\n", headersonly=True)
        method = line.partition(b" ")[0].decode("ascii", "replace")
        length = str(headers.get("Content-Length", "0" if method == "DELETE" else ""))
        if not length.isascii() or not length.isdigit():
            raise RefusedUploadError(411, "Content-Length required")
        if int(length) > MOST_BYTES + MOST_HEAD_BYTES:
            # The rest is read up to a limit, because a client that is answered too early sees a broken connection.
            if body_bytes < min(int(length), 4 * MOST_BYTES):
                return None
            raise RefusedUploadError(413, "File too large")
        if body_bytes < int(length):
            return None
        target = line.split(b" ")[1].decode("utf-8", "replace")
        body = bytes(received[head_bytes + 4 :])
        key = headers.get("xi-api-key")
        found = _PATH.search(urlsplit(target).path)
        if found is None or method != "POST":
            answer = handle(method, target, None if key is None else str(key), body)
            return _http(*answer) if answer else _http(404, {"detail": "Not Found"})
        name, media_type, size_bytes = _file(str(headers.get("Content-Type", "")), body)
        conversation_id = unquote(found["conversation"])
        file_id = take(Upload(conversation_id, None if key is None else str(key), name, media_type, size_bytes))
    except RefusedUploadError as error:
        return _http(error.status, {"detail": {"status": "invalid_file", "message": str(error)}})
    return _http(200, {"file_id": file_id})


def _file(content_type: str, body: bytes) -> tuple[str, str, int]:
    """Name, media type and size of the field `file`."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise RefusedUploadError(415, "multipart/form-data expected")
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            size_bytes = len(content) if isinstance(content, bytes) else 0
            return part.get_filename("") or "file", part.get_content_type(), size_bytes
    raise RefusedUploadError(422, "Field required: file")


def _http(status: int, content: Any) -> bytes:
    body = messages.as_text(content).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
