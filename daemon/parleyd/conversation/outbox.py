"""The one queue between everybody who has something to say to the agent and the session's sender thread.

Control messages (pongs first of all) overtake audio. Audio is bounded by the uplink; control messages are few: answers
to what the server asked and the user's own commands.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from parleyd.audio.gate import Passed
from parleyd.conversation.uplink import Uplink, UplinkCounters

# What waited during the handshake goes up in messages of 100 ms; live speech in single frames as it comes.
MOST_FRAMES_PER_MESSAGE = 5


class Outbox:
    """Thread-safe. There is at most one sender at a time: begin() admits it, end() releases it."""

    def __init__(self, uplink: Uplink) -> None:
        self._changed = threading.Condition()
        self._uplink = uplink
        self._control: deque[bytes] = deque()
        self._sender: object | None = None
        self._last_lost = 0

    def push(self, passed: Sequence[Passed]) -> int:
        """Frames from the gate. Returns how many frames of speech have been lost to the bound since the last call."""
        with self._changed:
            for one in passed:
                self._uplink.push(one)
            if self._uplink.live:
                self._changed.notify()
            lost = self._uplink.counters.lost - self._last_lost
            self._last_lost += lost
            return lost

    def send(self, message: bytes) -> None:
        """A control message; forgotten when no session is there to carry it."""
        with self._changed:
            if self._sender is not None:
                self._control.append(message)
                self._changed.notify()

    def admit(self, sender: object) -> None:
        """From now on control messages are for this sender; audio waits for begin()."""
        with self._changed:
            self._sender = sender
            self._control.clear()

    def begin(self, sender: object) -> int:
        """Audio may flow. Returns the ms of kept speech that go up first."""
        with self._changed:
            if self._sender is not sender:
                return 0
            resent_ms = self._uplink.begin()
            self._changed.notify()
            return resent_ms

    def end(self, sender: object) -> None:
        """This sender is done; harmless when another has taken its place."""
        with self._changed:
            if self._sender is sender:
                self._sender = None
                self._control.clear()
                self._uplink.end()
            self._changed.notify_all()

    def take(self, sender: object) -> bytes | list[bytes] | None:
        """Blocks. A control message, or frames of audio, or None when this sender is to stop."""
        with self._changed:
            while self._sender is sender:
                if self._control:
                    return self._control.popleft()
                if len(self._uplink):
                    return self._uplink.take(MOST_FRAMES_PER_MESSAGE)
                self._changed.wait()
            return None

    def heard(self, until_s: float, *, settled: bool) -> None:
        """See Uplink.heard."""
        with self._changed:
            self._uplink.heard(until_s, settled=settled)

    def talk_goes_on(self) -> None:
        """See Uplink.talk_goes_on."""
        with self._changed:
            self._uplink.talk_goes_on()

    def forget(self, before_s: float = float("inf")) -> int:
        """Gives up kept speech from before before_s; returns how many ms of it had never been sent."""
        with self._changed:
            return self._uplink.forget(before_s)

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
