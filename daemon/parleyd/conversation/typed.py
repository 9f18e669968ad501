"""What was typed rather than spoken: kept, like speech, until the agent shows that it has heard it. Pure."""

from __future__ import annotations

from collections import deque

MOST_TEXTS = 20


class Typed:
    """Bounded: beyond MOST_TEXTS the oldest goes."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=MOST_TEXTS)
        self._newest_s: float | None = None

    def add(self, text: str, now_s: float) -> None:
        self._texts.append(text)
        self._newest_s = now_s

    @property
    def waiting(self) -> tuple[str, ...]:
        """In order; what a new session has to be told."""
        return tuple(self._texts)

    @property
    def newest_s(self) -> float | None:
        """When the newest of them was typed."""
        return self._newest_s

    def answered(self) -> tuple[str, ...]:
        """The agent answers: → all that it has heard now, which is kept no longer."""
        heard = self.waiting
        self._texts.clear()
        self._newest_s = None
        return heard
