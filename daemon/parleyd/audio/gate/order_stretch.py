"""Decides which sound may be a spoken order: a short stretch of talk that begins while the agent is audible. Pure."""

from __future__ import annotations

from collections import deque

from parleyd.audio.gate.gate import PAUSE_MS
from parleyd.audio.pcm import FRAME_MS

# "Say that again, please" takes 1.7 s. A person who talks for longer talks to the agent.
LONGEST_MS = 2000
# The gate notices talk so long after its beginning, and a soft first sound lies before that.
BEFORE_MS = 400


class OrderStretch:
    """step() once for each frame of the microphone, after the echo canceller."""

    def __init__(self) -> None:
        self._before: deque[bytes] = deque(maxlen=BEFORE_MS // FRAME_MS)
        self._sound: list[bytes] | None = None

    def step(self, pcm: bytes, *, talk_started: bool, talk_stopped: bool, agent_sounds: bool) -> bytes | None:
        """Returns the whole stretch when it is over, and was short enough."""
        if self._sound is None:
            self._before.append(pcm)
            if talk_started and agent_sounds:
                self._sound = list(self._before)
            return None
        self._sound.append(pcm)
        if len(self._sound) * FRAME_MS > BEFORE_MS + LONGEST_MS + PAUSE_MS:
            self._forget()
        elif talk_stopped:
            sound = b"".join(self._sound)
            self._forget()
            return sound
        return None

    def _forget(self) -> None:
        self._sound = None
        self._before.clear()
