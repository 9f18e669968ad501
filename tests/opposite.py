"""A provider that exists for the tests alone, and that can do what ElevenLabs cannot, and cannot do what that can.

Its agents do not speak first, keep their memory true to what was heard, say how far they have taken the stream, learn
of tools in the session and take calls back, announce the end of a session, and give handles to continue it. They bill
tokens. They know no context, no files, no ratings, and their rates in and out differ.

Each message of its protocol is a JSON object with one key, the kind of the message. The server is in the same file, and
shares only the names of the kinds with the codec.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server as WebSocketServer
from websockets.sync.server import ServerConnection, serve

from parleyd.agents.commands import Command, Cut, EndOfTurn, KeepAlive, Offer, Prepared, Say, SpeakNow, ToolDone
from parleyd.agents.events import (
    AgentAudio,
    AgentError,
    AgentEvent,
    AnswerBegins,
    AnswerEnds,
    AnswerFailed,
    AnswerText,
    AnswerTextEnds,
    EndsSoon,
    Interrupted,
    Malformed,
    Ready,
    Resumable,
    SpeechTaken,
    Spent,
    Token,
    ToolCall,
    ToolsCancelled,
    Unknown,
    UserTranscript,
)
from parleyd.agents.provider import (
    Address,
    Attachment,
    Capabilities,
    Check,
    Interrupts,
    Received,
    Server,
    SessionWish,
    UploadError,
)
from parleyd.audio.pcm import AudioFormat
from parleyd.config.schema import Config
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.findings import good

INPUT = AudioFormat("ulaw", 8_000)
OUTPUT = AudioFormat("pcm", 24_000)
CAPABILITIES = Capabilities(
    speaks_first=False,
    interrupts=frozenset(Interrupts),
    text_interrupts=False,
    truncates=True,
    corrects_text=False,
    transcribes=True,
    announces_speech=True,
    context="none",
    history="items",
    attachments={},
    approvals=False,
    feedback=False,
    activity=False,
    tools="session",
    text_only=False,
    bills=frozenset(("tokens",)),
    manual_turns=True,
    keep_alive_s=0.2,
)
WAIT_S = 60.0


def encoded(kind: str, value: object) -> bytes:
    return json.dumps({kind: value}).encode("utf-8", "replace")


class OppositeCodec:
    """Implements agents.provider.Codec. A text while an answer is being given waits until that has ended."""

    def __init__(self, wish: SessionWish) -> None:
        self.malformed = 0
        self.unknown = 0
        self.refused_calls = 0
        self._wish = wish
        self._sent_bytes = 0
        self._is_ready = False
        # The answer that is being given, and the commands that wait for its end.
        self._open: str | None = None
        self._deferred: deque[bytes] = deque()
        self._void: set[str] = set()

    def opening(self) -> Sequence[bytes]:
        wish = self._wish
        setup = {
            "tools": [{"name": tool.name, "parameters": dict(tool.parameters)} for tool in wish.tools],
            "history": [[said.who, said.text] for said in wish.history],
            "handle": wish.resume,
            "interrupts": wish.interrupts.value,
        }
        return (encoded("setup", setup),)

    # ------------------------------------------------------------ receiving

    def receive(self, message: str | bytes, now_s: float) -> Received:
        try:
            told = json.loads(message)
            ((kind, value),) = told.items()
            read = _READERS.get(kind)
            if read is None:
                self.unknown += 1
                return Received((Unknown(str(kind)[:80]),))
            event = read(value)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as problem:
            self.malformed += 1
            return Received((Malformed(type(problem).__name__),))
        return self._understood(event)

    def _understood(self, event: AgentEvent) -> Received:
        match event:
            case Ready() if self._is_ready:
                self.malformed += 1
                return Received((Malformed("a second ready"),))
            case Ready():
                self._is_ready = True
            case AnswerBegins(answer=answer):
                self._open = answer
            case AgentAudio(answer=answer) if answer in self._void or not event.data:
                return Received()
            case AnswerEnds(answer=answer):
                self._void.add(answer)
                return Received((event,), self._ended())
            case Interrupted(answer=answer) if answer is not None:
                self._void.add(answer)
            case _:
                pass
        return Received((event,))

    def _ended(self) -> Sequence[bytes]:
        self._open = None
        deferred = tuple(self._deferred)
        self._deferred.clear()
        return deferred

    # ------------------------------------------------------------ sending

    def audio(self, data: bytes) -> bytes:
        self._sent_bytes += len(data)
        return encoded("sound", base64.b64encode(data).decode())

    def send(self, command: Command, now_s: float) -> Sequence[bytes]:
        match command:
            case Say(text=text):
                return self._when_free(encoded("say", text))
            case SpeakNow(instructions=instructions):
                return self._when_free(encoded("speak", instructions))
            case Cut(heard=heard):
                self._void |= {part.answer for part in heard}
                return tuple(encoded("cut", [part.answer, part.heard_ms, part.total_ms]) for part in heard)
            case EndOfTurn():
                return (encoded("turn", self._sent_bytes * 1000 // INPUT.rate_hz),)
            case KeepAlive():
                return (encoded("alive", None),)
            case Offer(tools=tools):
                return (encoded("tools", [tool.name for tool in tools]),)
            case ToolDone(call_id=call_id, text=text, fault=fault):
                return (encoded("result", [call_id, text, fault is None]),)
            case _:
                return ()

    def _when_free(self, message: bytes) -> Sequence[bytes]:
        if self._open is None:
            return (message,)
        self._deferred.append(message)
        return ()


def _text(value: Any) -> AnswerText:
    return AnswerText(str(value["answer"]), str(value["text"]), bool(value["final"]))


def _failed(value: Any) -> AnswerFailed:
    after_s = value.get("retry_after_s")
    return AnswerFailed(None, str(value["reason"]), "wait a little", None if after_s is None else float(after_s))


def _call(value: Any) -> ToolCall:
    return ToolCall(str(value["name"]), str(value["id"]), dict(value["parameters"]))


def _ready(value: Any) -> Ready:
    ends_in_s = value.get("ends_in_s")
    return Ready(str(value["id"]), INPUT, OUTPUT, None if ends_in_s is None else float(ends_in_s))


_READERS: Mapping[str, Callable[[Any], AgentEvent]] = {
    "ready": _ready,
    "begin": lambda value: AnswerBegins(str(value)),
    "sound": lambda value: AgentAudio(str(value["answer"]), base64.b64decode(value["data"], validate=True)),
    "text": _text,
    "text_ends": lambda value: AnswerTextEnds(str(value)),
    "end": lambda value: AnswerEnds(str(value)),
    "failed": _failed,
    "interrupted": lambda value: Interrupted(str(value)),
    "taken": lambda value: SpeechTaken(int(value)),
    "heard": lambda value: UserTranscript(str(value["utterance"]), str(value["text"]), bool(value["final"])),
    "call": _call,
    "cancelled": lambda value: ToolsCancelled(tuple(str(one) for one in value)),
    "handle": lambda value: Resumable(str(value)),
    "ends": lambda value: EndsSoon(float(value)),
    "tokens": lambda value: Spent("opposite-1", {Token(kind): int(count) for kind, count in value.items()}),
}


class OppositeAgent:
    """Implements agents.provider.Agent."""

    name = "opposite"
    capabilities = CAPABILITIES

    def __init__(self, port: int) -> None:
        self._port = port

    def load(self) -> None:
        pass

    def dial(self, timeout_s: float) -> Address:
        return Address(f"ws://127.0.0.1:{self._port}/")

    def reach(self, timeout_s: float) -> None:
        socket.create_connection(("127.0.0.1", self._port), timeout_s).close()

    def session(self, wish: SessionWish) -> OppositeCodec:
        return OppositeCodec(wish)

    def prepare(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> Prepared:
        raise UploadError("this agent takes no files", "describe it in words")

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        if code == 1000:
            return Ending(EndingKind.AGENT, "the agent hung up", code=code)
        if code == 4000:
            return Ending(EndingKind.FINAL, "refused", "set opposite.key", code)
        return Ending(EndingKind.RETRY, "the line was lost", code=code)

    def judge_silence(self, waited_s: float) -> Ending:
        return Ending(EndingKind.RETRY, f"nothing came within {waited_s:g} s")

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        return Ending(EndingKind.FINAL, f"HTTP {http_status}", "set opposite.port")

    def server(self) -> Server:
        return Server("127.0.0.1", self._port, False, "opposite.port")

    def checks(self, config: Config) -> Sequence[Check]:
        return (Check("key", lambda: [good("there is none")]),)


# ---------------------------------------------------------------- the server


class Line:
    """One connection, seen from the server. sound: what came of the room, µ-law at 8 kHz."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.setup: dict[str, Any] = {}
        self.sound = bytearray()
        self.told: list[tuple[str, Any]] = []
        self.over = threading.Event()
        self._changed = threading.Condition()
        self._turn_from = 0

    def send(self, kind: str, value: object) -> None:
        self.connection.send(json.dumps({kind: value}))

    def says(self, answer: str, text: str, seconds: float, *, ends: bool = True) -> None:
        """An answer: a text in two pieces, a tone of that length as its voice, the whole text last."""
        self.send("begin", answer)
        self.voice(answer, seconds)
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            self.send("text", {"answer": answer, "text": piece, "final": False})
        self.send("text_ends", answer)
        if ends:
            self.send("text", {"answer": answer, "text": text, "final": True})
            self.send("end", answer)

    def voice(self, answer: str, seconds: float) -> None:
        steps = np.arange(int(OUTPUT.rate_hz * seconds))
        tone = (8000 * np.sin(steps * 2 * np.pi * 440 / OUTPUT.rate_hz)).astype("<i2").tobytes()
        chunk = OUTPUT.rate_hz // 4 * 2
        for i in range(0, len(tone), chunk):
            data = base64.b64encode(tone[i : i + chunk]).decode()
            self.send("sound", {"answer": answer, "data": data})

    def wait(self, what: str, test: Callable[[], object]) -> None:
        until_s = time.monotonic() + WAIT_S
        with self._changed:
            while not test():
                assert time.monotonic() < until_s, f"{what}: not within {WAIT_S} s; {self.told}"
                assert not self.over.is_set() or test(), f"{what}: the connection is over; {self.told}"
                self._changed.wait(0.5)

    def wait_told(self, kind: str, count: int = 1) -> Any:
        """Until that many messages of this kind have come. Returns the last of them."""
        self.wait(kind, lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def of(self, kind: str) -> list[Any]:
        return [value for one, value in self.told if one == kind]

    def wait_turn(self) -> int:
        """Until the person has spoken and paused for half a second. Returns the position in the stream, in ms."""

        def is_over() -> bool:
            # In µ-law 0xff and 0x7f are zero; anything far from them is loud.
            loud = (np.frombuffer(bytes(self.sound[self._turn_from :]), np.uint8) & 0x7F) < 0x60
            return bool(np.count_nonzero(loud) > 800 and len(loud) > 4000 and not loud[-4000:].any())

        self.wait("the end of a turn", is_over)
        self._turn_from = len(self.sound)
        return self._turn_from * 1000 // INPUT.rate_hz

    def receive_all(self) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            for raw in self.connection:
                ((kind, value),) = json.loads(raw).items()
                with self._changed:
                    if kind == "sound":
                        self.sound += base64.b64decode(value, validate=True)
                    elif kind == "setup":
                        self.setup = value
                        self.told.append((kind, value))
                    else:
                        self.told.append((kind, value))
                    self._changed.notify_all()
        with self._changed:
            self.over.set()
            self._changed.notify_all()


class OppositeServer:
    """A context manager. play(line) runs in a thread of its own for each connection, after its setup has come."""

    def __init__(self, play: Callable[[Line], None]) -> None:
        self._play = play
        self._server: WebSocketServer | None = None
        self._new: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self.errors: list[BaseException] = []

    def agent(self) -> OppositeAgent:
        assert self._server is not None
        return OppositeAgent(self._server.socket.getsockname()[1])

    def next_line(self) -> Line:
        return self._new.get(timeout=WAIT_S)

    def _handle(self, connection: ServerConnection) -> None:
        line = Line(connection)
        reader = threading.Thread(target=line.receive_all, daemon=True)
        reader.start()
        try:
            line.wait("the setup", lambda: line.setup)
            self._new.put(line)
            self._play(line)
            line.over.wait(WAIT_S)
        except (ConnectionClosed, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - handed to the test
            if not line.over.is_set():
                self.errors.append(error)
        reader.join()

    def __enter__(self) -> OppositeServer:
        self._server = serve(self._handle, "127.0.0.1", 0, max_size=2**24)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        if error is None:
            assert not self.errors, self.errors
