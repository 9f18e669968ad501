"""The errors that end a command, or the service. Each says what to do about it."""

from __future__ import annotations


class ServiceError(Exception):
    """The service could not go on. hint: what to do about it."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class CommandError(Exception):
    """A command cannot do what it was asked for: one line for the user with the hint, and the sysexits code."""

    def __init__(self, text: str, hint: str | None, exit_code: int) -> None:
        super().__init__(f"{text}; {hint}" if hint else text)
        self.exit_code = exit_code
