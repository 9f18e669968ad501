"""Reports a lasting trouble once when it begins, and once when it ends."""

from __future__ import annotations

import logging

from parleyd.core.log_fields import NOTICE, fields


class ToldOnce:
    """Remembers the present trouble. Not thread-safe."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told = ""

    def trouble(self, text: str, hint: str) -> bool:
        """Returns whether the trouble is new."""
        if self._told == text:
            return False
        self._told = text
        self._log.warning("%s; %s", text, hint, extra=fields(reason=text, hint=hint))
        return True

    def over(self, text: str) -> None:
        if self._told:
            self._told = ""
            self._log.log(NOTICE, "%s", text)
