"""Why the daemon could not go on."""

from __future__ import annotations


class ServiceError(Exception):
    """The service could not go on. mend: what to do about it."""

    def __init__(self, text: str, mend: str | None = None) -> None:
        super().__init__(text)
        self.mend = mend
