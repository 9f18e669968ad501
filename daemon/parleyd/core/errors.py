"""The one kind of error that a person is told of: what is wrong, and what to do about it."""

from __future__ import annotations

import os
from typing import ClassVar


class UserError(Exception):
    """One line for the user, without secrets. hint: what to do about it. exit_code: of sysexits, with which a command
    ends that does not expect it.

    A subclass is for who catches it by its kind."""

    usual_exit_code: ClassVar[int] = os.EX_UNAVAILABLE

    def __init__(self, text: str, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.hint = hint
        self.exit_code = self.usual_exit_code if exit_code is None else exit_code

    @property
    def with_hint(self) -> str:
        text = str(self)
        if not self.hint:
            return text
        # A question has its mark already.
        return f"{text} {self.hint}" if text.endswith("?") else f"{text}; {self.hint}"
