"""Why the embedded agent, its ears or its voice cannot work here."""

from __future__ import annotations

from parleyd.host import python_env

EXTRA_MEND = python_env.install("websockets", "pocketsphinx")


class UnavailableError(Exception):
    """The text is one line for the user; `mend` says what to do about it."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.mend = mend
