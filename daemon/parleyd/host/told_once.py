"""A trouble that lasts, told when it begins and when it ends."""

from __future__ import annotations

import logging

from parleyd.core.log_fields import NOTICE, fields


class ToldOnce:
    """Not thread-safe: one owner."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told = ""

    def trouble(self, text: str, hint: str) -> bool:
        """Whether it is a new one."""
        if self._told == text:
            return False
        self._told = text
        self._log.warning("%s; %s", text, hint, extra=fields(reason=text, hint=hint))
        return True

    def over(self, text: str) -> None:
        if self._told:
            self._told = ""
            self._log.log(NOTICE, "%s", text)
