"""One session: one connection to the agent, with a thread that receives and one that sends.

Every session reports its end exactly once, with the reason; nobody else decides that it is over.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import websocket

from parleyd.agents.commands import Command, EndOfTurn, KeepAlive
from parleyd.agents.events import AgentError, AgentEvent, Ready
from parleyd.agents.provider import Address, Agent, Codec, Received, SessionWish
from parleyd.audio.pcm import FRAME_MS, Frame
from parleyd.conversation.session.bounded_socket import BoundedWebSocket
from parleyd.conversation.session.connecting import close_frame, connect, words
from parleyd.conversation.session.in_flight import InFlight, Lines
from parleyd.conversation.session.outbox import Outbox, Pause
from parleyd.conversation.session.retries import no_memory, no_thread, retry
from parleyd.conversation.session.traffic import Traffic
from parleyd.conversation.session.wire_audio import WireEncoder
from parleyd.core.endings import NORMAL_CLOSURE, DialError, Ending, EndingKind
from parleyd.core.health import Pulse
from parleyd.host.reaching import abort, shut, unacknowledged_bytes

# How long the server may take to answer our close before we go without.
CLOSE_ANSWER_S = 1.0
# A server that has said nothing for so long is pinged, and has as long again to say anything: for one that hangs behind
# a line that stands, we would wait without end.
SILENT_S = 10.0
# An error explains the end of the session that comes within this, and not one that comes later. A server that hangs
# after its error is noticed after twice SILENT_S.
ERROR_COUNTS_S = 30.0
# A line on which more of the room than this is still on its way is not left to the system when the microphone is muted,
# or when the session is over: it is reset. On a line that keeps up, less than that is unacknowledged.
MOST_IN_FLIGHT_MS = 200
# Bytes per second: five times what speech takes. Without a bound the system hands over all that a slow line has to
# wait for to the network card's queue, from which nothing can be taken back; with it, that waits in the socket.
# socket(7) has no word of it: tcp(7)'s pacing, SO_MAX_PACING_RATE in asm-generic/socket.h.
PACE, SO_MAX_PACING_RATE = 256 * 1024, 47
# How long mute() waits for a line to be closed that cannot be reset at once.
RESET_S = 0.5
MUTED_ON_A_SLOW_LINE = "the line was reset, because speech from before the muting was still on it"


class Sink(Protocol):
    """Takes what happens in a session, on its receiver thread."""

    def ready(self, session: Session, ready: Ready) -> None:
        """The formats are known. Audio flows up, and events come, after the return."""

    def event(self, session: Session, event: AgentEvent) -> None:
        """Must not block."""

    def ended(self, session: Session, ending: Ending) -> None:
        """Exactly once, the last call."""


class Session:
    """start() returns at once; what follows goes into the sink.

    wish: asked for on the session's own thread, once the address is known. timeout_s: for the address, for the
    connection with its handshake, and for the metadata, each. on_death: told when a thread ends by a fault of this
    program; nothing else is reported then.
    """

    def __init__(
        self,
        agent: Agent,
        outbox: Outbox,
        sink: Sink,
        *,
        wish: Callable[[], SessionWish],
        timeout_s: float,
        on_death: Callable[[str, BaseException], None],
        traffic: Traffic | None = None,
        lines: Lines | None = None,
    ) -> None:
        self._agent = agent
        self._outbox = outbox
        self._sink = sink
        self._timeout_s = timeout_s
        self._traffic = traffic or Traffic()
        self._lines = lines or Lines()
        self._on_death = on_death
        self._wish = wish
        self.wished: SessionWish | None = None
        # Held for each call of the codec, and until its messages are in the outbox: they stay in order. The outbox's
        # own lock comes after it.
        self._codec_lock = threading.Lock()
        self._codec: Codec | None = None
        self._lock = threading.Lock()
        self._raw: socket.socket | None = None
        self._socket: BoundedWebSocket | None = None
        self._hung_up: str | None = None
        self._last_error: AgentError | None = None
        self._last_error_s = 0.0
        self._encoder: WireEncoder | None = None
        # Held while it is decided which sound a message carries, and while the sent sound is counted.
        self._on_wire = threading.Lock()
        self._in_flight = InFlight()
        self._was_reset = False
        self._no_memory: MemoryError | None = None  # of the sender, which has shut the line
        self._closed = threading.Event()
        self._receiver = threading.Thread(target=self._receive, name="session-receiver", daemon=True)
        self._sender = threading.Thread(target=self._send, name="session-sender", daemon=True)
        self._over = threading.Event()
        self.receiver_pulse = Pulse("session receiver")
        self.sender_pulse = Pulse("session sender")

    def start(self) -> None:
        self._outbox.admit(self)
        try:
            self._receiver.start()
        except RuntimeError:
            self._outbox.end(self)
            self._over.set()
            self._sink.ended(self, no_thread())

    def hang_up(self, reason: str) -> None:
        """Ends the session with 1000; returns at once. A session that is not connected yet is abandoned."""
        with self._lock:
            if self._hung_up is not None:
                return
            self._hung_up = reason
            ready, connection, raw = self._sender.is_alive(), self._socket, self._raw
        if ready:
            # The sender closes: a close must not overtake a message that is half on the wire.
            self._outbox.end(self)
        elif connection is not None and raw is not None:
            # It may have to wait for the line.
            closer = threading.Thread(target=self._close_early, args=(connection, raw), name="session-closer")
            closer.daemon = True
            try:
                closer.start()
            except RuntimeError:
                # The system has no thread left: the line ends without a close frame.
                shut(raw)
        else:
            # There is nothing that could be closed properly; its thread finds out by itself.
            self._over.set()

    def _close_early(self, connection: BoundedWebSocket, raw: socket.socket) -> None:
        # Somebody may be stuck in sending, and hold the line for longer.
        timer = threading.Timer(CLOSE_ANSWER_S, shut, (raw,))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            # The system has no thread left, and nothing else would end the wait for a stuck line: no close frame.
            pass
        else:
            self._say_goodbye(connection)
            timer.cancel()
        shut(raw)

    def mute(self) -> bool:
        """After Outbox.mute(): resets the line if too much of the room is still on its way, which the system would go
        on sending. Returns whether it did."""
        # Nobody closes it meanwhile, so that its number stays its own.
        with self._lock:
            raw = self._raw
            if raw is None or self._closed.is_set() or self._unsent_room_ms(raw) <= MOST_IN_FLIGHT_MS:
                return False
            self._was_reset = True
            is_aborted = abort(raw)
            shut(raw)
        if not is_aborted:
            # The socket's holder closes it.
            self._closed.wait(RESET_S)
        return True

    def _unsent_room_ms(self, raw: socket.socket) -> int:
        with self._on_wire:
            return self._in_flight.room_ms(unacknowledged_bytes(raw))

    def send(self, command: Command) -> None:
        """Any thread; from Sink.ready() on. After the session's end it has no effect."""
        with self._codec_lock:
            if self._codec is not None:
                for message in self._codec.send(command, time.monotonic()):
                    self._outbox.send(message, self)

    @property
    def asked_for_silence(self) -> bool:
        """The agent was asked not to speak first."""
        return self.wished is not None and not self.wished.greet

    @property
    def ignored(self) -> tuple[int, int, int]:
        """The numbers of messages that could not be read, of those of unknown types, and of refused calls of tools."""
        codec = self._codec
        return (0, 0, 0) if codec is None else (codec.malformed, codec.unknown, codec.refused_calls)

    def wait_over(self, timeout_s: float) -> bool:
        """Until nothing more can be said to the server; False when that takes longer."""
        return self._over.wait(timeout_s)

    # ------------------------------------------------------------ receiver thread

    def _receive(self) -> None:
        try:
            ending = self._converse()
        except DialError as error:
            ending = error.ending
        except MemoryError as error:
            # Part of a message may be read already, so nothing more can be read from this line.
            ending = no_memory(error)
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("session-receiver", error)
            return
        if self._hung_up is not None:
            ending = Ending(EndingKind.USER, self._hung_up, code=NORMAL_CLOSURE)
        elif self._was_reset:
            ending = retry(MUTED_ON_A_SLOW_LINE)
        elif self._no_memory is not None:
            ending = no_memory(self._no_memory)
        self._outbox.end(self)
        self._over.set()
        with self._lock:
            raw = self._raw
        if raw is not None:
            shut(raw)
            if self._sender.is_alive():
                self._sender.join()
            self._close(raw)
        self._lines.remove(self)
        self._sink.ended(self, ending)

    def _close(self, raw: socket.socket) -> None:
        """Takes back the sound of the room that is still on its way: nobody could, once the socket is closed."""
        if self._was_reset or self._unsent_room_ms(raw) > MOST_IN_FLIGHT_MS:
            with contextlib.suppress(OSError):
                # socket(7): closing it discards what waits, and resets the line.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._lock:
            raw.close()
            self._closed.set()

    def _converse(self) -> Ending:
        address = self._agent.dial(self._timeout_s)
        if self._hung_up is not None:
            # The next session may have made its wish already: a wish uses up what a session can be told only once.
            raise DialError(Ending(EndingKind.USER, "abandoned"))
        # Before connecting: to make a session ready may take a while, such as for a program that gives a variable its
        # value, and a server that waits too long for the opening message begins without it.
        self.wished = self._wish()
        codec = self._agent.session(self.wished)
        with self._codec_lock:
            self._codec = codec
            opening = codec.opening()
        connection = self._connect(address)
        self._send_first(connection, opening)
        connection.until_s = time.monotonic() + self._timeout_s
        while True:
            message = self._next(connection)
            if isinstance(message, Ending):
                return message
            self._traffic.received_bytes += len(message)
            for event in self._understood(connection, codec, message).events:
                if (ending := self._take(connection, event)) is not None:
                    return ending

    def _send_first(self, connection: BoundedWebSocket, messages: Sequence[bytes]) -> None:
        """Before the session is ready, there is no sender yet."""
        # When this fails the server has gone already, but the reason may still be readable.
        with contextlib.suppress(websocket.WebSocketException, OSError):
            for message in messages:
                connection.send(message, websocket.ABNF.OPCODE_TEXT)
                self._traffic.sent_bytes += len(message)

    def _understood(self, connection: BoundedWebSocket, codec: Codec, message: bytes) -> Received:
        with self._codec_lock:
            received = codec.receive(message, time.monotonic())
            is_early = self._encoder is None and not any(isinstance(event, Ready) for event in received.events)
            for reply in () if is_early else received.replies:
                self._outbox.send(reply, self)
        if is_early and received.replies:
            self._send_first(connection, received.replies)
        return received

    def _next(self, connection: BoundedWebSocket) -> bytes | Ending:
        """Blocks for a message, or for the end of them."""
        pinged = False
        while True:
            self.receiver_pulse.rest()
            try:
                opcode, data = connection.recv_data(control_frame=True)
                self.receiver_pulse.beat()
            except websocket.WebSocketTimeoutException:
                if self._hung_up is not None:
                    return Ending(EndingKind.USER, self._hung_up, code=NORMAL_CLOSURE)
                if self._encoder is None:
                    return self._agent.judge_silence(self._timeout_s)
                if pinged:
                    return retry(f"the server has been silent for {2 * SILENT_S:g} s")
                pinged = True
                # Where this fails, nothing comes back either.
                with contextlib.suppress(websocket.WebSocketException, OSError):
                    connection.ping()
                continue
            except (websocket.WebSocketException, OSError, UnicodeDecodeError) as error:
                return self._agent.judge_close(None, words(error), self._fresh_error)
            pinged = False
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                code, reason = close_frame(data)
                return self._agent.judge_close(code, reason, self._fresh_error)
            if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
                return bytes(data)

    @property
    def _fresh_error(self) -> AgentError | None:
        """The last error that the agent reported, unless the session has outlived it."""
        return self._last_error if time.monotonic() - self._last_error_s <= ERROR_COUNTS_S else None

    def _take(self, connection: BoundedWebSocket, event: AgentEvent) -> Ending | None:
        """Returns why the session cannot go on, if so."""
        if isinstance(event, AgentError):
            self._last_error, self._last_error_s = event, time.monotonic()
            if event.hopeless:
                self._say_goodbye(connection)
                return self._agent.judge_close(None, "", event)
        if not isinstance(event, Ready) or self._encoder is not None:
            self._sink.event(self, event)
            return None
        connection.until_s = None
        connection.settimeout(SILENT_S)
        self._encoder = WireEncoder(event.input_format)
        self._sink.ready(self, event)
        with self._lock:
            if self._hung_up is None:
                try:
                    self._sender.start()
                except RuntimeError:
                    return no_thread()
        if self._hung_up is not None:
            self._say_goodbye(connection)
        return None

    def _connect(self, address: Address) -> BoundedWebSocket:
        connection = connect(address, self._timeout_s, self._agent.judge_refusal, key=self._agent.server().key)
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, PACE)
        self._lines.add(self)
        with self._lock:
            self._raw = connection.sock
            self._socket = connection
            abandoned = self._hung_up is not None
        if abandoned:
            self._say_goodbye(connection)
            raise DialError(Ending(EndingKind.USER, "abandoned"))
        return connection

    def _say_goodbye(self, connection: websocket.WebSocket) -> None:
        with contextlib.suppress(websocket.WebSocketException, OSError):
            connection.settimeout(CLOSE_ANSWER_S)
            connection.send_close(NORMAL_CLOSURE, b"")

    # ------------------------------------------------------------ sender thread

    def _send(self) -> None:
        connection, encoder, codec = self._socket, self._encoder, self._codec
        assert connection is not None
        assert encoder is not None
        assert codec is not None
        self._outbox.begin(self)
        try:
            can, wished = self._agent.capabilities, self.wished
            idle_s = can.keep_alive_s
            has_manual_turns = can.manual_turns or (wished is not None and wished.manual_turns)
            while (message := self._outbox.take(self, idle_s)) is not None:
                self.sender_pulse.beat()
                if isinstance(message, Pause):
                    # Its messages come next, before any further sound.
                    if message is Pause.IDLE:
                        self.send(KeepAlive())
                    elif has_manual_turns:
                        self.send(EndOfTurn())
                    self.sender_pulse.rest()
                    continue
                if isinstance(message, list):
                    message = self._spoken(message, encoder, codec)
                else:
                    with self._on_wire:
                        self._in_flight.sent(len(message), 0)
                connection.send(message, websocket.ABNF.OPCODE_TEXT)
                self._traffic.sent_bytes += len(message)
                self.sender_pulse.rest()
        except ConnectionError:
            # The other side has gone. The receiver learns of it too, after it has read why.
            return
        except (websocket.WebSocketException, OSError):
            # The receiver may not have noticed; it reports what is to be reported.
            if (raw := self._raw) is not None:
                shut(raw)
            return
        except MemoryError as error:
            # Part of the stream is missing for the server; the next session begins with all that it may not have had.
            self._no_memory = error
            if (raw := self._raw) is not None:
                shut(raw)
            return
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("session-sender", error)
            return
        if self._hung_up is not None:
            self._say_goodbye(connection)
            if not self._over.wait(CLOSE_ANSWER_S) and (raw := self._raw) is not None:
                shut(raw)

    def _spoken(self, frames: list[Frame], encoder: WireEncoder, codec: Codec) -> bytes:
        """The message with this sound. The microphone may have been muted since it was taken."""
        with self._on_wire:
            if self._outbox.muted:
                frames = [Frame.silence(frame.start_s) for frame in frames]
            sound = encoder.encode(b"".join(frame.pcm for frame in frames))
            with self._codec_lock:
                message = codec.audio(sound)
            room_ms = FRAME_MS * sum(not frame.is_silent for frame in frames)
            self._in_flight.sent(len(message), room_ms)
            return message
