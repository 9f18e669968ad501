"""The one queue between everybody who has something to say to the agent and the session's sender thread.

Control messages (pongs first of all) overtake audio. Audio is bounded by the uplink, control messages in number and in
size: they are answers to what the server asked, and the user's own commands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum

from msgspec.structs import replace

from parleyd.audio.gate.gate import Passed, Verdict
from parleyd.audio.pcm import Frame
from parleyd.conversation.session.uplink import GivenUp, Loss, Uplink, UplinkCounters

log = logging.getLogger(__name__)

# Speech that waited during the handshake goes up in messages of 100 ms; live speech as the ears bring it.
MOST_FRAMES_PER_MESSAGE = 5
# A server that asks without end and reads nothing gets no answer to its first questions any more.
MOST_CONTROL = 10_000
# Pictures are messages of megabytes: so much waits for a line that takes nothing, and then the oldest message goes.
MOST_CONTROL_BYTES = 24 * 2**20


class Pause(Enum):
    """The person's turn is over, and all of its sound has been taken; or nothing has been sent for a while."""

    TURN_ENDED = "turn ended"
    IDLE = "idle"


class Outbox:
    """Thread-safe. There is at most one sender at a time: begin() admits it, end() releases it.

    lost: told, on the thread that noticed it and without a lock, of speech that is beyond the bounds.
    """

    def __init__(self, uplink: Uplink, lost: Callable[[Loss], None] = lambda _loss: None) -> None:
        self._changed = threading.Condition()
        self._uplink = uplink
        self._lost = lost
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._drop_told = False  # of this sender
        self._sender: object | None = None
        # To be looked at without the lock, by a sender that has taken frames before the order came.
        self.muted = False

    def hear(self, verdict: Verdict, *, wanted: bool) -> None:
        """The gate's verdict on a frame: whether somebody talks, and the frames that pass. wanted: they are for the
        agent."""
        with self._changed:
            # First, for what passes now may be the beginning of it.
            if verdict.talk_started:
                self._uplink.talk_started(verdict.speech_s)
            if wanted:
                self._push(verdict.passed)
            if verdict.talk_stopped:
                self._uplink.talk_stopped(verdict.speech_s)
            if verdict.closed:
                self._uplink.gate_closed()
                self._changed.notify()
            losses = self._uplink.take_losses()
        self._tell(losses)

    def push(self, passed: Sequence[Passed]) -> None:
        """Frames that the gate has let through."""
        with self._changed:
            self._push(passed)
            losses = self._uplink.take_losses()
        self._tell(losses)

    def _push(self, passed: Sequence[Passed]) -> None:
        for one in passed:
            self._uplink.push(one)
        if self._uplink.live:
            self._changed.notify()

    def _tell(self, losses: Sequence[Loss]) -> None:
        for loss in losses:
            self._lost(loss)

    def send(self, message: bytes, sender: object) -> None:
        """A control message; forgotten when this sender is not there any more to carry it. Those beyond the bounds are
        dropped, and the log tells it once for each sender."""
        is_first_drop = False
        with self._changed:
            if self._sender is sender:
                self._control.append(message)
                self._control_bytes += len(message)
                while len(self._control) > MOST_CONTROL or (
                    self._control_bytes > MOST_CONTROL_BYTES and len(self._control) > 1
                ):
                    self._next_control()
                    is_first_drop |= not self._drop_told
                    self._drop_told = True
                self._changed.notify()
        if is_first_drop:
            log.warning("the line takes nothing: messages to the agent are dropped, the oldest first")

    def admit(self, sender: object) -> None:
        """From now on control messages are for this sender; audio waits for begin()."""
        with self._changed:
            if self._uplink.live:
                # The line of the sender before broke, and it was given up before anybody had noticed.
                self._uplink.end()
            self._sender = sender
            self._drop_told = False
            self._forget_control()
            losses = self._uplink.take_losses()
        self._tell(losses)

    def begin(self, sender: object) -> None:
        """Audio may flow, kept speech first."""
        with self._changed:
            if self._sender is sender:
                self._uplink.begin()
                self._changed.notify()

    def end(self, sender: object) -> None:
        """This sender is done; harmless when another has taken its place."""
        with self._changed:
            if self._sender is sender:
                self._sender = None
                self._forget_control()
                self._uplink.end()
            self._changed.notify_all()
            losses = self._uplink.take_losses()
        self._tell(losses)

    def take(self, sender: object, idle_s: float | None = None) -> bytes | list[Frame] | Pause | None:
        """Blocks. A control message, or frames of audio, or a pause in them, or None when this sender is to stop.

        idle_s: for how long there may be nothing to send; None: for ever.
        """
        until_s = None if idle_s is None else time.monotonic() + idle_s
        with self._changed:
            while self._sender is sender:
                if self._control:
                    return self._next_control()
                if self._uplink.turn_ended:
                    self._uplink.turn_ended = False
                    return Pause.TURN_ENDED
                if len(self._uplink):
                    return self._uplink.take(MOST_FRAMES_PER_MESSAGE, time.monotonic())
                # Frames that are not to be sent wake it, too.
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return Pause.IDLE
                self._changed.wait(left_s)
            return None

    def _next_control(self) -> bytes:
        message = self._control.popleft()
        self._control_bytes -= len(message)
        return message

    def _forget_control(self) -> None:
        self._control.clear()
        self._control_bytes = 0

    def transcribed(self, now_s: float) -> None:
        """See Uplink.transcribed."""
        with self._changed:
            self._uplink.transcribed(now_s)

    def answered(self, now_s: float, *, has_transcripts: bool) -> None:
        """See Uplink.answered."""
        with self._changed:
            self._uplink.answered(now_s, has_transcripts=has_transcripts)

    def taken(self, until_ms: int) -> None:
        """See Uplink.taken."""
        with self._changed:
            self._uplink.taken(until_ms)

    def closed(self, now_s: float) -> bool:
        """See Uplink.closed."""
        with self._changed:
            return self._uplink.closed(now_s)

    def mute(self, on: bool, now_s: float) -> None:
        """See Uplink.mute. From the return on take() gives zeros, until it is switched off."""
        with self._changed:
            self.muted = on
            self._uplink.mute(on, now_s)

    def forget(self, before_s: float = float("inf"), now_s: float = float("inf")) -> GivenUp:
        """See Uplink.forget."""
        with self._changed:
            return self._uplink.forget(before_s, now_s)

    def forget_ended(self, before_s: float, now_s: float) -> GivenUp:
        """See Uplink.forget_ended."""
        with self._changed:
            return self._uplink.forget_ended(before_s, now_s)

    @property
    def kept_from_s(self) -> float | None:
        """See Uplink.kept_from_s."""
        with self._changed:
            return self._uplink.kept_from_s

    @property
    def kept_until_s(self) -> float | None:
        """When the newest speech that no agent has heard was spoken."""
        with self._changed:
            return self._uplink.kept_until_s

    @property
    def kept_ms(self) -> int:
        with self._changed:
            return self._uplink.kept_ms

    @property
    def counters(self) -> UplinkCounters:
        """A copy."""
        with self._changed:
            return replace(self._uplink.counters)
