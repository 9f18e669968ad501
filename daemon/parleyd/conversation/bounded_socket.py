"""A WebSocket that refuses messages beyond a limit: the library takes whatever length a server announces."""

from __future__ import annotations

from typing import Any

import websocket
from websocket._abnf import continuous_frame, frame_buffer

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
    """Takes the options of websocket.WebSocket. UTF-8 is not checked: in pure Python, that is 200 times the rest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(skip_utf8_validation=True, **options)
        self.frame_buffer = _Frames(self._recv, True)
        self.cont_frame = _Fragments(False, True)
