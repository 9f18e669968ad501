"""What every button is to this program, whichever way it is connected."""

from __future__ import annotations

from typing import Protocol


class ButtonError(Exception):
    """What will not pass by itself. hint: what to do about it."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


class ButtonGoneError(ButtonError):
    """The button is not there, or may not be read: it may come (back)."""


class Contact(Protocol):
    """name: for people."""

    name: str

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        """Waits for changes: (closed, monotonic time), the oldest first; none after timeout_s. Raises
        ButtonGoneError."""

    def close(self) -> None: ...
