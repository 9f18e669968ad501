"""The connection to the agent, through the running daemon; from this process: own_link.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from parleyd.control.client import Client, NotRunningError, RefusedError, TurnError
from parleyd.control.protocol import MAX_TEXT

Event = dict[str, Any]
Take = Callable[[Event], None]


class LinkError(Exception):
    """The order was not carried out; the text contains the hint, too."""


def unsayable(text: str) -> str | None:
    """Why a text cannot be sent; None if it can. The reason follows the words `this` or `line 3`."""
    if len(text) > MAX_TEXT:
        return f"has {len(text)} characters; {MAX_TEXT} are allowed"
    # Python turns invalid UTF-8 into unpaired surrogates.
    return "is not UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in text) else None


class Link(Protocol):
    """Events come on other threads, in the form of the control socket; `gone` is the last one."""

    def say(self, text: str) -> None:
        """Raises LinkError."""

    def turn(self, until_s: float) -> AbstractContextManager[None]:
        """In this context nobody else waits for an answer. Raises LinkError if the turn does not come in time."""

    def send_file(self, descriptor: int, name: str, text: str | None) -> None:
        """The caller keeps the descriptor. Raises LinkError."""

    def close(self) -> None: ...


class DaemonLink:
    """Uses the control socket. Raises NotRunningError and RefusedError. status: at the beginning."""

    def __init__(self, socket_path: Path | None, take: Take) -> None:
        self._take = take
        self._closed = False
        self._client = Client(socket_path)
        self._follower = Client(socket_path)
        self._follower.ask("events")
        self.status: Event = next(self._follower.events())["status"]
        threading.Thread(target=self._follow, name="chat-events", daemon=True).start()

    def say(self, text: str) -> None:
        self._do(lambda: self._client.ask("say", text=text))

    @contextmanager
    def turn(self, until_s: float) -> Iterator[None]:
        try:
            with self._client.turn(until_s):
                yield
        except TurnError as error:
            raise LinkError(str(error)) from error

    def send_file(self, descriptor: int, name: str, text: str | None) -> None:
        self._do(lambda: self._client.send_file(descriptor, name, text))

    def close(self) -> None:
        """The session belongs to the daemon, and goes on."""
        self._closed = True

    def _do(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except (RefusedError, NotRunningError) as error:
            raise LinkError(error.with_hint) from error

    def _follow(self) -> None:
        try:
            for event in self._follower.events():
                self._take(event)
        except (NotRunningError, OSError, ValueError):
            if not self._closed:
                self._take({"event": "gone", "text": "the daemon has ended"})
