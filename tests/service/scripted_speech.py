"""A text-to-speech server that does as each test tells it, over real WebSockets on loopback; shares no code with us."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

WAIT_S = 60.0
RATE_HZ = 24_000


def tone(seconds: float, hz: float = 700.0, peak: int = 8000) -> bytes:
    return (peak * np.sin(np.arange(round(RATE_HZ * seconds)) * 2 * np.pi * hz / RATE_HZ)).astype("<i2").tobytes()


class Spoken:
    """One connection, seen from the server. messages: what came, up to the empty text."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        assert connection.request is not None
        self.path = connection.request.path
        self.key = connection.request.headers.get("xi-api-key")
        self.messages: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        return "".join(message["text"] for message in self.messages).strip()

    def hear_out(self) -> None:
        while not self.messages or self.messages[-1]["text"] != "":
            self.messages.append(json.loads(self.connection.recv(WAIT_S)))

    def sound(self, pcm: bytes) -> None:
        data = base64.b64encode(pcm).decode()
        self.connection.send(json.dumps({"audio": data, "isFinal": None, "alignment": {"chars": ["a"]}}))

    def drip(self, pcm: bytes) -> None:
        """As sound(), but the message arrives in pieces, with pauses even inside its header."""
        payload = json.dumps({"audio": base64.b64encode(pcm).decode()}).encode()
        frame = bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload
        for first, last in pairwise((0, 1, 3, 500, len(frame))):
            self.connection.socket.sendall(frame[first:last])
            threading.Event().wait(0.07)

    def final(self) -> None:
        self.connection.send(json.dumps({"audio": None, "isFinal": True}))
        self.connection.close(1000)

    def error(self, error: str, message: str) -> None:
        self.connection.send(json.dumps({"message": message, "error": error, "code": 1008}))
        self.connection.close(1008, message[:100])

    def speak(self, seconds: float = 0.4) -> None:
        """All as it should be."""
        self.sound(tone(seconds))
        self.final()


class SpeechServer:
    """play(request) for each connection, after all of the text has come. status: the handshake is refused with it."""

    def __init__(self, play: Callable[[Spoken], None], status: int | None = None, body: str = "") -> None:
        self._play = play
        self._status = status
        self._body = body
        self._server: Server | None = None
        self.requests: list[Spoken] = []
        self.tries = 0
        self.ending = threading.Event()

    @property
    def base_url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _shake_hands(self, _connection: ServerConnection, _request: Request) -> Response | None:
        self.tries += 1
        if self._status is None:
            return None
        body = self._body.encode()
        return Response(self._status, "No", Headers([("Content-Length", str(len(body)))]), body)

    def _handle(self, connection: ServerConnection) -> None:
        request = Spoken(connection)
        self.requests.append(request)
        with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
            request.hear_out()
            self._play(request)

    def __enter__(self) -> SpeechServer:
        self._server = serve(self._handle, "127.0.0.1", 0, process_request=self._shake_hands, close_timeout=1)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        assert self._server is not None
        self._server.shutdown()
