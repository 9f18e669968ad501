"""The errors of the embedded agent, its speech recognition and its voice."""

from __future__ import annotations

from parleyd.host import python_env

EXTRA_HINT = python_env.install("websockets", "pocketsphinx")


class UnavailableError(Exception):
    """The text is one line for the user; `hint` says what to do about it."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint
