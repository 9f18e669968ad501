"""What was typed rather than spoken: kept, like speech, until the agent shows that it has heard it. Pure."""

from __future__ import annotations

from collections import deque

MOST_TEXTS = 20


class Typed:
    """Bounded: beyond MOST_TEXTS the oldest goes. What goes unread is returned: (text, when it was typed)."""

    def __init__(self) -> None:
        self._texts: deque[tuple[str, float]] = deque()
        self._read_until_s = float("-inf")

    def add(self, text: str, now_s: float) -> list[tuple[str, float]]:
        self._texts.append((text, now_s))
        return self._unread([self._texts.popleft()] if len(self._texts) > MOST_TEXTS else [])

    def read(self) -> None:
        """A session has been told all of it."""
        if self._texts:
            self._read_until_s = self._texts[-1][1]

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

    def forget(self, before_s: float) -> list[tuple[str, float]]:
        """Gives up what was typed before that."""
        gone: list[tuple[str, float]] = []
        while self._texts and self._texts[0][1] < before_s:
            gone.append(self._texts.popleft())
        return self._unread(gone)

    def _unread(self, gone: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [(text, typed_s) for text, typed_s in gone if typed_s > self._read_until_s]
