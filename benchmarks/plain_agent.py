"""An agent for measurements, on the `websockets` package alone: it shares no code with parleyd.

It speaks as much of the ElevenLabs Agents protocol as a client needs for a session with sound, does what it is told,
and notes when what arrived. Nothing in it understands words.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

RATE_HZ = 16_000
SECOND_BYTES = 2 * RATE_HZ
FORMATS = {"agent_output_audio_format": "pcm_16000", "user_input_audio_format": "pcm_16000"}
# Speech, for the end of a turn: the loudness of 20 ms; and how long it must be missing.
SPEECH_DBFS = -40.0
TURN_END_S = 0.5


class PlainAgent:
    """Accepts every session. All times are monotonic.

    live: a session is open. opened_s: when each was opened. sound_s: when the first sound of each session arrived.
    pieces: (arrival, sound) of the session's sound, while keep is set. received_bytes: of all messages so far.
    """

    def __init__(self) -> None:
        self.live = threading.Event()
        self.talks = threading.Event()
        self.opened_s: list[float] = []
        self.sound_s: list[float] = []
        self.pieces: list[tuple[float, bytes]] = []
        self.keep = False
        self.received_bytes = 0
        self.results = 0
        self.reply: bytes | None = None
        self.turn_ended = threading.Event()
        self.voice = b""
        self.chunk_s = 1.0
        self._changed = threading.Condition()
        self._connection: ServerConnection | None = None
        self._event_id = 0
        self._server = serve(self._handle, "127.0.0.1", 0, max_size=None)
        self.port = int(self._server.socket.getsockname()[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        threading.Thread(target=self._talk, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def wait_session(self, known: int, timeout_s: float = 30.0) -> float:
        """→ when the session after the first `known` ones was opened. Raises TimeoutError."""
        return self._wait(self.opened_s, known, timeout_s, "a session")

    def wait_sound(self, known: int, timeout_s: float = 30.0) -> float:
        """→ when the first sound of that session arrived. Raises TimeoutError."""
        return self._wait(self.sound_s, known, timeout_s, "sound")

    def _wait(self, times: list[float], known: int, timeout_s: float, what: str) -> float:
        with self._changed:
            if not self._changed.wait_for(lambda: len(times) > known, timeout_s):
                raise TimeoutError(f"no {what} within {timeout_s:g} s")
            return times[known]

    def say(self, sound: bytes, chunk_s: float) -> float:
        """Sends it at once, in chunks. → when the first of them was sent."""
        step = round(chunk_s * RATE_HZ) * 2
        began_s = time.monotonic()
        for begin in range(0, len(sound), step):
            self._send_sound(sound[begin : begin + step])
        return began_s

    def interrupt(self) -> float:
        """The person interrupts: all sound so far is void. → when that was sent."""
        self._event_id += 1
        at_s = time.monotonic()
        self.send({"type": "interruption", "interruption_event": {"event_id": self._event_id}})
        return at_s

    def call_tool(self, name: str, **parameters: object) -> None:
        self._event_id += 1
        call = {"tool_name": name, "tool_call_id": f"call-{self._event_id}", "parameters": parameters}
        self.send({"type": "client_tool_call", "client_tool_call": call})

    def send(self, message: dict[str, Any]) -> None:
        """Dropped when no session is open."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(ConnectionClosed):
                connection.send(json.dumps(message))

    def hang_up(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.close()

    def _send_sound(self, sound: bytes) -> None:
        self._event_id += 1
        chunk = {"audio_base_64": base64.b64encode(sound).decode(), "event_id": self._event_id}
        self.send({"type": "audio", "audio_event": chunk})

    def _handle(self, connection: ServerConnection) -> None:
        begin = {"conversation_id": f"benchmark-{len(self.opened_s)}", **FORMATS}
        listens = _TurnEnd()
        has_sound = False
        try:
            connection.recv()
            metadata = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": begin}
            connection.send(json.dumps(metadata))
            self._connection = connection
            self._note(self.opened_s)
            self.live.set()
            for text in connection:
                arrived_s = time.monotonic()
                self.received_bytes += len(text)
                message = json.loads(text)
                if message.get("type") == "client_tool_result":
                    self.results += 1
                if "user_audio_chunk" not in message:
                    continue
                sound = base64.b64decode(message["user_audio_chunk"])
                if not has_sound:
                    has_sound = True
                    self._note(self.sound_s)
                if self.keep:
                    self.pieces.append((arrived_s, sound))
                if self.reply is not None and listens.step(sound):
                    reply, self.reply = self.reply, None
                    self.turn_ended.set()
                    self.say(reply, 0.1)
        except ConnectionClosed:
            pass
        finally:
            if self._connection is connection:
                self._connection = None
                self.live.clear()

    def _note(self, times: list[float]) -> None:
        with self._changed:
            times.append(time.monotonic())
            self._changed.notify_all()

    def _talk(self) -> None:
        """While `talks` is set: `voice` again and again, in chunks of `chunk_s`, in real time and one chunk ahead."""
        while self.talks.wait():
            due_s = time.monotonic()
            step = round(self.chunk_s * RATE_HZ) * 2
            for begin in range(0, len(self.voice) - step, step):
                if not self.talks.is_set():
                    break
                self._send_sound(self.voice[begin : begin + step])
                due_s += self.chunk_s
                time.sleep(max(0.0, due_s - self.chunk_s - time.monotonic()))


class _TurnEnd:
    """Tells the end of a turn from the loudness alone, by the count of samples, as a server does."""

    def __init__(self) -> None:
        self._rest = b""
        self._spoken = 0
        self._quiet = 0

    def step(self, sound: bytes) -> bool:
        """→ whether a turn has ended: 0.1 s of speech at least, then TURN_END_S without."""
        data = self._rest + sound
        step = RATE_HZ // 50 * 2
        whole = len(data) // step * step
        self._rest = data[whole:]
        for begin in range(0, whole, step):
            samples = np.frombuffer(data[begin : begin + step], "<i2").astype(np.float32) / 32768
            loud = 20 * np.log10(max(1e-6, float(np.sqrt(np.mean(samples**2))))) > SPEECH_DBFS
            self._spoken += loud
            self._quiet = 0 if loud else self._quiet + 1
            if self._spoken >= 5 and self._quiet >= TURN_END_S * 50:
                self._spoken = 0
                return True
        return False
