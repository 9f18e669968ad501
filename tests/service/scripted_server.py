"""A server that speaks the ElevenLabs protocol as each test tells it to, over real WebSockets on loopback.

It shares no code with the daemon or with the embedded agent.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

WAIT_S = 60.0


class Line:
    """One connection, seen from the server."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.opening: dict[str, Any] = {}
        self.audio = bytearray()
        self.chunks_bytes: list[int] = []  # of the messages that brought it
        self.messages: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.over = threading.Event()
        self._changed = threading.Condition()
        self._event_id = 0
        self._turn_from = 0

    def send(self, message: dict[str, Any]) -> None:
        self.connection.send(json.dumps(message))

    def ready(self, *, in_format: str = "pcm_16000", out_format: str = "pcm_16000") -> None:
        self.send(
            {
                "type": "conversation_initiation_metadata",
                "conversation_initiation_metadata_event": {
                    "conversation_id": f"conv_{id(self):x}",
                    "agent_output_audio_format": out_format,
                    "user_input_audio_format": in_format,
                },
            }
        )

    def hears(self, text: str) -> None:
        self.send({"type": "user_transcript", "user_transcription_event": {"user_transcript": text}})

    def says(self, text: str, seconds: float = 1.0, *, new_turn: bool = True, chunk_s: float = 0.25) -> int:
        """A text, and a tone of that length as its voice. Returns the event id."""
        self._event_id += new_turn
        if text:
            self.send(
                {
                    "type": "agent_response",
                    "agent_response_event": {"agent_response": text, "event_id": self._event_id},
                }
            )
        tone = (8000 * np.sin(np.arange(int(16000 * seconds)) * 2 * np.pi * 440 / 16000)).astype("<i2").tobytes()
        step = int(chunk_s * 16000) * 2
        for i in range(0, len(tone), step):
            self.audio_chunk(tone[i : i + step], self._event_id)
        return self._event_id

    def audio_chunk(self, pcm: bytes, event_id: int) -> None:
        self.send(
            {
                "type": "audio",
                "audio_event": {"audio_base_64": base64.b64encode(pcm).decode(), "event_id": event_id},
            }
        )

    def interrupts(self) -> None:
        self._event_id += 1
        self.send({"type": "interruption", "interruption_event": {"event_id": self._event_id}})

    def wait(self, what: str, test: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not test():
                left_s = until_s - time.monotonic()
                assert left_s > 0, f"{what}: not within {timeout_s} s; closed={self.closed}"
                assert not self.over.is_set() or test(), f"{what}: the connection is over ({self.closed})"
                self._changed.wait(min(left_s, 0.5))

    def wait_speech(self, seconds: float, timeout_s: float = WAIT_S) -> None:
        """Until that much sound other than silence has arrived."""
        self.wait(f"{seconds} s of speech", lambda: self.speech_s() >= seconds, timeout_s)

    def speech_s(self) -> float:
        return float(np.count_nonzero(np.abs(np.frombuffer(bytes(self.audio), "<i2")) > 200)) / 16000

    def wait_turn(self) -> None:
        """Until the person has spoken and been quiet for half a second of sound; the next wait is for the next turn."""
        spoken = self._turn_from

        def over() -> bool:
            sound = np.abs(np.frombuffer(bytes(self.audio[spoken:]), "<i2"))
            return bool(np.count_nonzero(sound > 200) > 1600 and not (sound[-8000:] > 200).any())

        self.wait("the end of a turn", over)
        self._turn_from = len(self.audio)

    def wait_message(self, kind: str) -> dict[str, Any]:
        self.wait(kind, lambda: any(m.get("type") == kind for m in self.messages))
        return next(m for m in self.messages if m.get("type") == kind)

    def hang_up(self, code: int = 1000, reason: str = "") -> None:
        self.connection.close(code, reason)

    def drop(self) -> None:
        """The line is cut without a word."""
        with contextlib.suppress(OSError):
            self.connection.socket.shutdown(socket.SHUT_RDWR)

    def receive_all(self) -> None:
        try:
            for raw in self.connection:
                message = json.loads(raw)
                with self._changed:
                    if "user_audio_chunk" in message:
                        chunk = base64.b64decode(message["user_audio_chunk"], validate=True)
                        self.audio += chunk
                        self.chunks_bytes.append(len(chunk))
                    elif message.get("type") == "conversation_initiation_client_data":
                        self.opening = message
                    else:
                        self.messages.append(message)
                    self._changed.notify_all()
        except (ConnectionClosed, OSError):
            pass
        with self._changed:
            self.closed = (self.connection.close_code or 1006, self.connection.close_reason or "")
            self.over.set()
            self._changed.notify_all()


class ScriptedServer:
    """play(line) runs in a thread of its own for each connection, after the opening has arrived.

    key: of a private agent; for it there are signed URLs that hold the signature. tls: the server is at localhost then.
    """

    def __init__(
        self,
        play: Callable[[Line], None],
        port: int = 0,
        key: str | None = None,
        signature: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._key = key
        self._signature = signature
        self._play = play
        self._port = port
        self._server: Server | None = None
        self.lines: list[Line] = []
        self._new: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self.errors: list[BaseException] = []

    @property
    def base_url(self) -> str:
        assert self._server is not None
        where = "http://127.0.0.1" if self._tls is None else "https://localhost"
        return f"{where}:{self._server.socket.getsockname()[1]}"

    def next_line(self, timeout_s: float = WAIT_S) -> Line:
        return self._new.get(timeout=timeout_s)

    def _handle(self, connection: ServerConnection) -> None:
        line = Line(connection)
        reader = threading.Thread(target=line.receive_all, daemon=True)
        reader.start()
        self.lines.append(line)
        try:
            line.wait("the opening", lambda: line.opening)
            self._new.put(line)
            self._play(line)
        except (ConnectionClosed, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - handed to the test
            # A line that ends before its play is over is the daemon's right; anything else is for the test.
            if not line.over.is_set():
                self.errors.append(error)
        reader.join()

    def _sign(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._key is None or self._signature in request.path:
            return None
        if request.headers.get("xi-api-key") != self._key:
            return connection.respond(401, "{}")
        address = f"{self.base_url.replace('http', 'ws')}/?conversation_signature={self._signature}"
        return connection.respond(200, json.dumps({"signed_url": address}))

    def __enter__(self) -> ScriptedServer:
        self._server = serve(
            self._handle, "127.0.0.1", self._port, max_size=2**24, process_request=self._sign, ssl=self._tls
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        for line in self.lines:
            line.drop()
        if error is None:
            assert not self.errors, self.errors
