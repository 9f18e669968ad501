"""What was typed rather than spoken: kept, like speech, until the agent shows that it has heard it. Pure."""

from __future__ import annotations

from collections import deque

MOST_TEXTS = 20


class Typed:
    """Bounded: beyond MOST_TEXTS the oldest goes."""

    def __init__(self) -> None:
        self._texts: deque[tuple[str, float]] = deque(maxlen=MOST_TEXTS)

    def add(self, text: str, now_s: float) -> None:
        self._texts.append((text, now_s))

    @property
    def waiting(self) -> tuple[str, ...]:
        """In order; what a new session has to be told."""
        return tuple(text for text, _ in self._texts)

    @property
    def newest_s(self) -> float | None:
        """When the newest of them was typed."""
        return self._texts[-1][1] if self._texts else None

    def answered(self) -> tuple[str, ...]:
        """The agent answers: → all that it has heard now, which is kept no longer."""
        heard = self.waiting
        self._texts.clear()
        return heard

    def forget(self, before_s: float) -> None:
        """Gives up what was typed before that."""
        while self._texts and self._texts[0][1] < before_s:
            self._texts.popleft()
