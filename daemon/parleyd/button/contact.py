"""The interface of every button, however it is connected."""

from __future__ import annotations

from typing import Protocol


class ButtonError(Exception):
    """An error that does not pass by itself. hint: what to do about it."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


class ButtonGoneError(ButtonError):
    """The button does not exist, or may not be read; that may change."""


class Contact(Protocol):
    """name: shown to people."""

    name: str

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        """Waits for changes: (closed, monotonic time), the oldest first; empty after timeout_s. Raises
        ButtonGoneError."""

    def close(self) -> None: ...
