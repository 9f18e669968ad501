"""Sound of the room that has been handed to the system and may not have left this device yet."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

# No send buffer of the system's is larger by default (tcp(7), tcp_wmem).
MOST_BYTES = 8 * 2**20


class InFlight:
    """One connection's record of which of the bytes that were sent last hold sound of the room. Pure; callers lock."""

    def __init__(self) -> None:
        self._messages: deque[tuple[int, int]] = deque()
        self._bytes = self._room_ms = 0

    def sent(self, message_bytes: int, room_ms: int) -> None:
        """A message that is about to be handed over. room_ms: what it holds of the room; zeros are nothing."""
        if message_bytes:
            self._messages.append((message_bytes, room_ms))
            self._bytes += message_bytes
            self._room_ms += room_ms
            while self._bytes > MOST_BYTES:
                self._drop_oldest()

    def room_ms(self, unacknowledged_bytes: int) -> int:
        """The sound of the room that may be in the last so many bytes, and in the message that was sent last: that one
        may still be in the sender's hand.

        Frames and TLS add bytes to each message, so that this is rather too much than too little. The bytes before are
        forgotten: the other side has acknowledged it.
        """
        while len(self._messages) > 1 and self._before_last_bytes - self._messages[0][0] >= unacknowledged_bytes:
            self._drop_oldest()
        return self._room_ms

    @property
    def _before_last_bytes(self) -> int:
        return self._bytes - self._messages[-1][0]

    def _drop_oldest(self) -> None:
        message_bytes, room_ms = self._messages.popleft()
        self._bytes -= message_bytes
        self._room_ms -= room_ms


class OpenLine(Protocol):
    """A connection that may hold sound of the room."""

    def mute(self) -> bool: ...


class Lines:
    """All connections that are open, those of sessions that are over included. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[OpenLine] = set()

    def add(self, line: OpenLine) -> None:
        with self._lock:
            self._open.add(line)

    def remove(self, line: OpenLine) -> None:
        with self._lock:
            self._open.discard(line)

    def mute(self) -> int:
        """Those on which too much of the room is still on its way are reset. Returns how many."""
        with self._lock:
            lines = list(self._open)
        return sum(line.mute() for line in lines)
