"""The server's side of the line: a WebSocket written out byte by byte, so that every byte of it can be wrong.

It shares no code with the daemon, nor with a WebSocket library that would refuse to misbehave. What goes over it is the
business of a protocol: convai.py, realtime.py.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import queue
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaos.voices import FRAME_BYTES, tone

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0
# So many frames that are no loud part of an utterance end the person's turn.
TURN_END_FRAMES = 30
# So many loud frames make a turn.
TURN_LEAST_FRAMES = 5
ANSWER_S = 0.6
# An answer sounds so much later than it could at best.
SOUNDED_S = 1.0
_LOOK_S = 0.02


class GoneError(Exception):
    """The other side has closed, or this side has."""


def frame(opcode: int, payload: bytes, *, final: bool = True, rsv: int = 0, mask: bool = False) -> bytes:
    """RFC 6455 section 5.2. mask: as a server must not."""
    head = bytes([(0x80 if final else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", len(payload))
    return head + (bytes(4) if mask else b"") + payload


def close_payload(code: int, reason: str = "") -> bytes:
    return struct.pack("!H", code) + reason.encode()[:120]


@dataclass
class Answer:
    """number: of its tone. to: the utterances that it answers. owed: also when the session ends at once. ends_s: when
    the last of it sounds, after all that was sent before."""

    number: int
    to: tuple[int, ...]
    session: int
    sent_s: float
    ends_s: float
    excused: str = ""
    owed: bool = False


@dataclass
class Session:
    """What the server saw of one conversation. frames: (when, utterance, number of the frame in it)."""

    number: int
    ready_s: float
    frames: list[tuple[float, int, int]] = field(default_factory=list)
    first_audio_s: float | None = None
    closed_s: float | None = None
    ended_by: str = ""


@dataclass
class Heard:
    """What all connections share: the ledger of one daemon's life. wrongs: by the daemon, against the protocol.
    sounds_until_s: when all that was sent has sounded, also what is no answer to an utterance."""

    known: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    trapped: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)
    connections: int = 0
    sounds_until_s: float = 0.0

    def interrupted(self, now_s: float) -> None:
        """The person is heard: what sounds now, or waits to sound, is cut."""
        for answer in self.answers:
            if answer.ends_s > now_s - SOUNDED_S and not answer.owed:
                answer.excused = answer.excused or "the person spoke into it"
                answer.ends_s = min(answer.ends_s, now_s)
        self.sounds_until_s = min(self.sounds_until_s, now_s)

    def sounds(self, now_s: float, seconds: float) -> None:
        """So much sound is sent, behind what waits."""
        self.sounds_until_s = max(self.sounds_until_s, now_s) + seconds


class Talk(Protocol):
    """The protocol of an agent, on one line: what the server says, and what it understands."""

    def read_opening(self) -> None:
        """After the upgrade, until the daemon has said what it wants. Raises GoneError."""

    def ready(self, conversation: str, *, takes: str = "pcm", gives: str = "pcm") -> dict[str, Any]:
        """The message with which a session begins. takes, gives: pcm, ulaw, or what no client knows."""

    def half_ready(self) -> list[bytes]:
        """Texts that look like the first message and are none."""

    def take(self, message: dict[str, Any]) -> bytes:
        """A message of the daemon's. → the sound in it."""

    def words(self, text: str) -> dict[str, Any]:
        """The words that the person is said to have said."""

    def saying(self, text: str) -> dict[str, Any]:
        """The words that the agent says."""

    def sound(self, pcm: bytes) -> dict[str, Any]:
        """A piece of the agent's sound that belongs to no answer."""

    def speech_begins(self) -> None:
        """Somebody has begun to speak."""

    def understand(self, said: tuple[int, ...]) -> None:
        """A transcript that names the utterances."""

    def answer(self, said: tuple[int, ...], answer: Answer, pcm: bytes) -> None:
        """The transcript, and the answer with its words and its sound."""


class Line:
    """One connection, served by one thread, which alone touches the socket; others ask it to do() something."""

    def __init__(self, server: Server, raw: socket.socket) -> None:
        self.server = server
        self.raw = raw
        self.session: Session | None = None
        self.deaf = False  # nothing that comes is answered
        self.inert = threading.Event()  # set: nothing is read or written any more, until release
        self.over = threading.Event()
        self.receive_delay_s = 0.0
        self._buffer = bytearray()
        self._fragments = bytearray()
        self._orders: queue.SimpleQueue[tuple[Callable[[Line], None], threading.Event]] = queue.SimpleQueue()
        self._sound = bytearray()
        self._quiet_frames = 0
        self._turn: dict[int, int] = {}
        self.talk = server.provider.talk(self)

    # ------------------------------------------------------------ bytes

    def read_some(self, timeout_s: float) -> bytes:
        """b"" after timeout_s. Raises GoneError."""
        pending = self.raw.pending() if isinstance(self.raw, ssl.SSLSocket) else 0
        try:
            if not pending and not select.select([self.raw], [], [], timeout_s)[0]:
                return b""
            self.raw.settimeout(5.0)
            data = self.raw.recv(65536)
        except ssl.SSLWantReadError:
            return b""
        except (OSError, ValueError) as error:
            raise GoneError from error
        if not data:
            raise GoneError
        return data

    def write(self, data: bytes, timeout_s: float = 20.0) -> None:
        """Raises GoneError."""
        try:
            self.raw.settimeout(timeout_s)
            self.raw.sendall(data)
        except (OSError, ValueError) as error:
            raise GoneError from error

    def read_request(self, timeout_s: float = 10.0) -> str:
        until_s = time.monotonic() + timeout_s
        while b"\r\n\r\n" not in self._buffer:
            if time.monotonic() > until_s:
                raise GoneError
            self._buffer += self.read_some(0.2)
        request, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        return request.decode("latin-1")

    def wait_gone(self, timeout_s: float) -> None:
        """Reads and forgets until the other side has gone."""
        until_s = time.monotonic() + timeout_s
        with contextlib.suppress(GoneError):
            while time.monotonic() < until_s and not self.server.stopping.is_set():
                self.read_some(0.1)

    def wait_or_serve(self, seconds: float) -> None:
        """A pause in which what comes is taken in."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not self.server.stopping.is_set():
            message = self.next_message(min(left_s, 0.1))
            while message is not None:
                self._take(*message)
                message = self._parse()

    def drain(self) -> None:
        """Takes in what is there; who floods and does not read would wait for ever for one who answers."""
        while (message := self.next_message(0.0)) is not None:
            self._take(*message)

    def reset(self) -> None:
        """RST instead of FIN."""
        with contextlib.suppress(OSError):
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.raw.close()

    # ------------------------------------------------------------ WebSocket

    def upgrade_answer(self, request: str, *more: str, accept: str | None = None, version: str = "1.1") -> bytes:
        lines = (line.split(":", 1) for line in request.splitlines()[1:] if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, value in lines}
        digest = hashlib.sha1((headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        told = base64.b64encode(digest.digest()).decode() if accept is None else accept
        wanted = [f"HTTP/{version} 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        wanted += [f"Sec-WebSocket-Accept: {told}"] if told else []
        return "\r\n".join([*wanted, *more, "", ""]).encode("latin-1")

    def send(self, message: object, opcode: int = TEXT) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.write(frame(opcode, data))

    def next_message(self, timeout_s: float) -> tuple[int, bytes] | None:
        """One whole frame, unmasked, or None. Raises GoneError."""
        found = self._parse()
        if found is None:
            self._buffer += self.read_some(timeout_s)
            found = self._parse()
        return found

    def _parse(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length == 126:
            if len(data) < 4:
                return None
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            if len(data) < 10:
                return None
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + 4 + length:
            return None
        opcode = data[0] & 0x0F
        mask, body = bytes(data[at : at + 4]), bytes(data[at + 4 : at + 4 + length])
        del data[: at + 4 + length]
        pad = (mask * (length // 4 + 1))[:length]
        plain = (int.from_bytes(body, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
        return opcode, plain

    # ------------------------------------------------------------ a conversation

    def do(self, act: Callable[[Line], None], timeout_s: float = 60.0) -> bool:
        """Has the line's own thread do something; waits. → whether it was done."""
        done = threading.Event()
        self._orders.put((act, done))
        until_s = time.monotonic() + timeout_s
        while not done.wait(0.02):
            if self.over.is_set() or time.monotonic() > until_s:
                return done.is_set()
        return True

    def read_text(self, timeout_s: float = 10.0) -> bytes:
        """The next text; what comes before it is passed over. Raises GoneError."""
        until_s = time.monotonic() + timeout_s
        while (message := self.next_message(0.2)) is None or message[0] != TEXT:
            if time.monotonic() > until_s:
                raise GoneError
        return message[1]

    def begin(self, *, announce: bool = True) -> None:
        """After the upgrade: reads the opening, and begins the session."""
        self.talk.read_opening()
        heard = self.server.heard
        with self.server.lock:
            number = len(heard.sessions) + 1
            self.session = Session(number, time.monotonic())
            heard.sessions.append(self.session)
        if announce:
            self.send(self.talk.ready(f"conv_{number}"))
        self.session.ready_s = time.monotonic()
        self.server.current = self

    def converse(self) -> None:
        """Until the line is over. Raises GoneError."""
        while not self.server.stopping.is_set():
            with contextlib.suppress(queue.Empty):
                act, done = self._orders.get_nowait()
                try:
                    act(self)
                finally:
                    done.set()
            if self.inert.is_set():
                # A peer that gives up is noticed by what it does to the socket.
                if select.select([], [], [self.raw], 0.05)[2] or self._peer_is_gone():
                    raise GoneError
                continue
            if self.receive_delay_s:
                time.sleep(self.receive_delay_s)  # A line that is slow.
            message = self.next_message(_LOOK_S)
            while message is not None:
                self._take(*message)
                message = self._parse()

    def _peer_is_gone(self) -> bool:
        """By the kernel's state of the connection; what is queued stays unread."""
        # The first byte of tcp_info is the state, and 1 is ESTABLISHED.
        try:
            return self.raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1
        except OSError:
            return True

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if not self.deaf:
                self.write(frame(PONG, payload))
        elif opcode == CLOSE:
            with contextlib.suppress(GoneError):
                self.write(frame(CLOSE, payload[:2]))
            if self.session is not None:
                self.session.ended_by = "daemon"
            raise GoneError
        elif opcode == TEXT:
            pcm = self.talk.take(json.loads(payload))
            if pcm:
                self._hear(pcm)

    def _hear(self, pcm: bytes) -> None:
        session = self.session
        assert session is not None
        now_s = time.monotonic()
        if session.first_audio_s is None:
            session.first_audio_s = now_s
        self._sound += pcm
        while len(self._sound) >= FRAME_BYTES:
            piece = bytes(self._sound[:FRAME_BYTES])
            del self._sound[:FRAME_BYTES]
            found = self.server.heard.known.get(piece)
            loud = False
            if found is not None:
                utterance, index, loud = found
                session.frames.append((now_s, utterance, index))
                if loud:
                    self._turn[utterance] = self._turn.get(utterance, 0) + 1
                    if sum(self._turn.values()) == TURN_LEAST_FRAMES and not self.deaf:
                        self.talk.speech_begins()
            self._quiet_frames = 0 if loud else self._quiet_frames + 1
            if self._quiet_frames == TURN_END_FRAMES and sum(self._turn.values()) >= TURN_LEAST_FRAMES:
                self._turn_is_over()

    def _turn_is_over(self) -> None:
        said = tuple(sorted(self._turn))
        self._turn.clear()
        if not self.deaf:
            self.answer(said)

    def answer(self, said: tuple[int, ...]) -> None:
        """A transcript that names the utterances, and a tone that nobody else makes."""
        assert self.session is not None
        number = self.server.next_tone()
        answers = self.server.heard.answers
        before_s = answers[-1].ends_s if answers else 0.0
        now_s = time.monotonic()
        answer = Answer(number, said, self.session.number, now_s, max(now_s, before_s) + ANSWER_S)
        answers.append(answer)
        self.talk.answer(said, answer, tone(number, ANSWER_S))
        answer.sent_s = time.monotonic()
        answer.ends_s = max(max(answer.sent_s, before_s) + ANSWER_S, self.server.heard.sounds_until_s)


Behaviour = Callable[[Line], bool]


@dataclass(frozen=True)
class Provider:
    """A protocol, and the daemons that speak it.

    section: the configuration's, for a base URL and the secret's reference, if there is one. admits: whether a request
    has the key; another is answered, and over. acknowledges: the utterances that the daemon knows to be heard since an
    event of its own.
    """

    name: str
    talk: Callable[[Line], Talk]
    section: Callable[[str, dict[str, Any] | None], dict[str, Any]]
    admits: Callable[[Line, str, str], bool]
    acknowledges: Callable[[Heard, dict[str, Any]], Sequence[int]]


class Server:
    """At 127.0.0.1. arm(): what the next connections meet, instead of a good server; each returns whether the
    connection is done with.

    key: of a private agent. tls: what a good connection is wrapped in.
    """

    def __init__(
        self,
        heard: Heard,
        provider: Provider,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heard = heard
        self.provider = provider
        self.lock = threading.Lock()
        self.current: Line | None = None
        self.stopping = threading.Event()
        self._key = key
        self._tls = tls
        self._armed: queue.SimpleQueue[Behaviour] = queue.SimpleQueue()
        self.met = 0
        self._tones = self._event_ids = 0
        self._lines: list[Line] = []
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._trap = socket.create_server(("127.0.0.1", 0))
        self.trap_port: int = self._trap.getsockname()[1]
        self._listens = threading.Event()
        self._listens.set()
        threading.Thread(target=self._accept, name="server", daemon=True).start()
        threading.Thread(target=self._watch_trap, name="trap", daemon=True).start()

    def next_tone(self) -> int:
        self._tones += 1
        return self._tones

    def next_event_id(self) -> int:
        self._event_ids += 1
        return self._event_ids

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port:
            listener.bind(("127.0.0.1", port))
        else:
            # Below what the kernel gives to others, so that it is still there after a while without a listener.
            for candidate in range(21_000 + time.monotonic_ns() % 9000, 32_000):
                try:
                    listener.bind(("127.0.0.1", candidate))
                    break
                except OSError:
                    continue
        listener.listen(64)
        return listener

    def refuse(self) -> None:
        """Nobody listens any more, until accept_again()."""
        self._listens.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def accept_again(self) -> None:
        for _ in range(100):
            try:
                self._listener = self._listen(self.port)
                break
            except OSError:
                # The kernel does not tell when a port is free again.
                time.sleep(0.05)
        self._listens.set()

    def arm(self, behaviour: Behaviour, times: int) -> None:
        for _ in range(times):
            self._armed.put(behaviour)

    def disarm(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._armed.get_nowait()

    @property
    def armed(self) -> int:
        return self._armed.qsize()

    @property
    def live(self) -> Line | None:
        """The line of a session that is ready and not over."""
        line = self.current
        return line if line is not None and not line.over.is_set() else None

    def _accept(self) -> None:
        while not self.stopping.is_set():
            if not self._listens.wait(0.5):
                continue
            try:
                raw, _ = self._listener.accept()
            except OSError:
                # It was closed meanwhile, or this process has no file handle left.
                self.stopping.wait(0.02)
                continue
            self.heard.connections += 1
            line = Line(self, raw)
            with contextlib.suppress(queue.Empty):
                behaviour = self._armed.get_nowait()
                self.met += 1
                threading.Thread(target=self._misbehave, args=(line, behaviour), daemon=True).start()
                continue
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _watch_trap(self) -> None:
        while True:
            try:
                raw, _ = self._trap.accept()
            except OSError:
                return
            raw.settimeout(1.0)
            with contextlib.suppress(OSError):
                self.heard.trapped.append(raw.recv(1000).decode("latin-1").partition("\r\n")[0])
            raw.close()

    def _misbehave(self, line: Line, behaviour: Behaviour) -> None:
        self._lines.append(line)
        try:
            if not behaviour(line):
                line.converse()
        except GoneError:
            pass
        except Exception as error:  # noqa: BLE001 - told in the report as the harness's own fault
            self.heard.errors.append(f"{type(error).__name__}: {error}")
        finally:
            self._over(line)

    def _serve(self, line: Line) -> None:
        self._lines.append(line)
        try:
            if self._tls is not None:
                line.raw.settimeout(10.0)
                line.raw = self._tls.wrap_socket(line.raw, server_side=True)
            request = line.read_request()
            if self._key is not None and not self.provider.admits(line, request, self._key):
                return
            line.write(line.upgrade_answer(request))
            line.begin()
            line.converse()
        except (GoneError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - told in the report as the harness's own fault
            self.heard.errors.append(f"{type(error).__name__}: {error}")
        finally:
            self._over(line)

    def _over(self, line: Line) -> None:
        line.close()
        if line.session is not None and line.session.closed_s is None:
            line.session.closed_s = time.monotonic()
        line.over.set()

    def stop(self) -> None:
        self.stopping.set()
        for listener in (self._listener, self._trap):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for line in self._lines:
            line.close()
