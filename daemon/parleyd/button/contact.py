"""What every button is to this program, whichever way it is connected."""

from __future__ import annotations

from typing import Protocol

from parleyd.core.errors import UserError


class ButtonGoneError(UserError):
    """The button is not there, or may not be read: it may come (back)."""


class Contact(Protocol):
    """name: for people."""

    name: str

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        """Waits for changes: (closed, monotonic time), the oldest first; none after timeout_s. Raises
        ButtonGoneError."""

    def close(self) -> None: ...
