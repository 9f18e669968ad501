"""The interface of every button, however it is connected."""

from __future__ import annotations

from typing import Protocol

from parleyd.core.errors import UserError


class ButtonGoneError(UserError):
    """The button does not exist, or may not be read; that may change."""


class Contact(Protocol):
    """name: shown to people."""

    name: str

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        """Waits for changes: (closed, monotonic time), the oldest first; empty after timeout_s. Raises
        ButtonGoneError."""

    def close(self) -> None: ...
