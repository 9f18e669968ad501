"""Counts the work of the embedded agent since its start: sessions, turns, the parts of their delay, failures.

Parts behind an address fail on worker threads, so a lock guards the counters.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

# The upper edges of the buckets; a last bucket has no upper edge.
EDGES_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)

Front = Literal["convai", "realtime"]
Refusal = Literal["full", "draining"]
FailedPart = Literal["mind", "ears", "voice"]
# As turn_times.TurnTimes has them, without the silence.
DelayPart = Literal["ears", "mind", "voice", "first_sound"]


@dataclass(slots=True)
class Delays:
    """A distribution of durations. buckets: the number up to each of EDGES_S, and beyond; not cumulative."""

    count: int = 0
    sum_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(EDGES_S) + 1))

    def add(self, seconds: float) -> None:
        self.count += 1
        self.sum_s += seconds
        self.buckets[bisect.bisect_left(EDGES_S, seconds)] += 1


class Figures:
    """Any thread may count; the server's loop reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sessions_now = 0
        self.is_draining = False
        self.sessions: Counter[Front] = Counter()
        self.refused: Counter[Refusal] = Counter()
        self.failures: Counter[FailedPart] = Counter()
        self.turns = 0
        self.interruptions = 0
        self.guesses = 0
        self.guesses_used = 0
        self.delays: dict[DelayPart, Delays] = {
            "ears": Delays(), "mind": Delays(), "voice": Delays(), "first_sound": Delays(),
        }  # fmt: skip
        # Each sentence, until the voice begins with it: others are spoken before it.
        self.voice_queue = Delays()

    def begun(self, front: Front) -> None:
        self.sessions_now += 1
        self.sessions[front] += 1

    def ended(self) -> None:
        self.sessions_now -= 1

    def failed(self, part: FailedPart) -> None:
        with self._lock:
            self.failures[part] += 1
