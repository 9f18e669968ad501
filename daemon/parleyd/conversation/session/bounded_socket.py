"""A WebSocket with bounds that the library does not have: on the length of a message, and on the time it may take."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import websocket
from websocket._abnf import continuous_frame, frame_buffer
from websocket._socket import recv

# As in the official clients; the usual limit of 1 MiB is too small for long answers.
MOST_MESSAGE_BYTES = 16 * 2**20


class MessageTooLongError(websocket.WebSocketProtocolException):
    """A message beyond MOST_MESSAGE_BYTES; the connection cannot be read any further."""

    def __init__(self) -> None:
        super().__init__(f"the server sent a message of more than {MOST_MESSAGE_BYTES // 2**20} MiB")


class _Frames(frame_buffer):
    def recv_length(self) -> None:
        super().recv_length()
        if (self.length or 0) > MOST_MESSAGE_BYTES:
            raise MessageTooLongError


class _Fragments(continuous_frame):
    def add(self, frame: websocket.ABNF) -> None:
        super().add(frame)
        if self.cont_data is not None and len(self.cont_data[1]) > MOST_MESSAGE_BYTES:
            raise MessageTooLongError


class BoundedWebSocket(websocket.WebSocket):
    """Takes the options of websocket.WebSocket. UTF-8 is not checked: in pure Python, that is 200 times the rest.

    until_s: when reading ends with WebSocketTimeoutException, however many bytes drip in; None: never for that.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(skip_utf8_validation=True, **options)
        self.until_s: float | None = None
        self.frame_buffer = _Frames(self._recv, True)
        self.cont_frame = _Fragments(False, True)

    def _recv(self, bufsize: int) -> bytes:
        """The library closes the socket when the server has closed it. Here its owner does, when nobody uses it any
        more: another thread may be sending, and the number of a closed socket may soon be another file's."""
        if self.sock is None:
            raise websocket.WebSocketConnectionClosedException
        if self.until_s is not None:
            left_s = self.until_s - time.monotonic()
            if left_s <= 0:
                raise websocket.WebSocketTimeoutException
            self.settimeout(left_s)
        return recv(self.sock, bufsize)

    def pong(self, payload: str | bytes = "") -> None:
        """Called while reading. Where it fails, the server has gone; but what it said before may still be read."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            super().pong(payload)

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        """As pong: a close is read to its end whether or not it can be answered."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            super().send_close(status, reason)
