"""The errors that end a command, or the service. Each has a hint."""

from __future__ import annotations


class ServiceError(Exception):
    """The service could not go on. hint: what to do about it."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class CommandError(Exception):
    """A command failed: one line for the user with the hint, and the exit code of sysexits."""

    def __init__(self, text: str, hint: str | None, exit_code: int) -> None:
        super().__init__(f"{text}; {hint}" if hint else text)
        self.exit_code = exit_code
