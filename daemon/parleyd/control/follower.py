"""A thread that stays connected to the daemon, over daemons that end and come again: for programs that run beside it.

It connects, asks its first request, hands on what the daemon says, and connects again after a pause when the daemon is
gone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parleyd.control.client import Client, NotRunningError, RefusedError
from parleyd.core.errors import UserError

LOOK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Here:
    """The daemon is there, and has answered the first request."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the daemon, as the control socket has it."""

    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gone:
    """The daemon cannot be reached, or is no longer there. error: the reason."""

    error: UserError


News = Here | Told | Gone


class Follower:
    """Use start(), then stop(). socket: of the daemon; None: it is searched for in the usual places.

    first: the request that follows each connection, because the daemon disconnects a client that asks nothing. After
    "events" all events come; after another one none do, and the connection only shows whether the daemon is there.
    tell: called on this thread with a Here for each connection, then with each event, and with a Gone at its end and
    after each attempt that fails. While it blocks, nothing is read, and in the end the daemon disconnects the program.
    """

    def __init__(self, socket: Path | None, first: str, tell: Callable[[News], None], name: str) -> None:
        self._socket = socket
        self._first = first
        self._tell = tell
        self._stopping = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further connection is made. The thread ends with the process."""
        self._stopping.set()

    def connect_again(self) -> None:
        """Ends the present connection, from any thread; a new one follows after the pause. It is for a daemon that has
        stopped answering: what such a connection delivers later would be old."""
        if (client := self._client) is not None:
            with contextlib.suppress(OSError):
                client.__exit__(None, None, None)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with Client(self._socket) as client:
                    self._client = client
                    client.ask(self._first)
                    self._tell(Here())
                    for event in client.events():
                        self._tell(Told(event))
            except (NotRunningError, RefusedError) as error:
                self._tell(Gone(error))
            except (ValueError, OSError):
                # connect_again() has closed the connection, in the middle of a line or before the first one.
                self._tell(Gone(UserError("the daemon does not answer")))
            finally:
                self._client = None
            self._stopping.wait(LOOK_AGAIN_S)
