"""How a command ends when it cannot do what it was asked for."""

from __future__ import annotations


class CommandError(Exception):
    """One line for the user with the mend, and the sysexits code."""

    def __init__(self, text: str, mend: str | None, exit_code: int) -> None:
        super().__init__(f"{text}; {mend}" if mend else text)
        self.exit_code = exit_code
