"""The two threads that talk to the daemon: one follows its events, the other gives it orders and asks it questions.

Both put what the daemon says into one bounded queue, and wake the owner by a pipe. An order has a connection of its
own, since the daemon may have been restarted in the meantime.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parleyd.control import follower
from parleyd.control.client import Client, GoneError, NotRunningError, RefusedError, StuckError
from parleyd.mqtt.orders import Order, Reply
from parleyd.mqtt.publications import Ask

MOST_WAITING = 500
MOST_ORDERS = 16


@dataclass(frozen=True, slots=True)
class Known:
    """The answer to a question; None: there was none, and error says why."""

    ask: Ask
    answer: dict[str, Any] | None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to an order."""

    reply: Reply
    answer: dict[str, Any]


News = follower.News | Known | Answered


class DaemonLink:
    """Use start(), then stop(). socket: the socket of the daemon; None: it is searched for in the usual places. wake:
    called after each news."""

    def __init__(self, socket: Path | None, wake: Callable[[], None]) -> None:
        self._socket = socket
        self._wake = wake
        self.news: queue.Queue[News] = queue.Queue(MOST_WAITING)
        self._orders: queue.Queue[Order | Ask] = queue.Queue(MOST_ORDERS)
        self._stopping = threading.Event()
        self._follower = follower.Follower(socket, "events", self._tell, "daemon-events")
        self._working = threading.Thread(target=self._work, name="daemon-orders", daemon=True)

    def start(self) -> None:
        self._follower.start()
        self._working.start()

    def stop(self) -> None:
        """The threads end with the process; no order is begun any more."""
        self._stopping.set()
        self._follower.stop()

    def give(self, order: Order | Ask) -> bool:
        """Hands an order or a question to the thread. Returns whether its queue had room."""
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            return False
        return True

    def _tell(self, news: News) -> None:
        # When the owner is busy, this thread reads no more, and the daemon disconnects it in the end.
        self.news.put(news)
        self._wake()

    def _work(self) -> None:
        while True:
            order = self._orders.get()
            if self._stopping.is_set():
                return
            if isinstance(order, Ask):
                self._tell(self._question(order))
            else:
                self._tell(Answered(order.reply, self._order(order)))

    def _question(self, ask: Ask) -> Known:
        try:
            with Client(self._socket) as client:
                return Known(ask, client.ask(ask.what, **ask.fields))
        except RefusedError as error:
            return Known(ask, None, _error(error.kind, str(error), error.hint))
        except NotRunningError as error:
            if isinstance(error, StuckError):
                self._follower.connect_again()
            return Known(ask, None, _error("not_running", str(error), error.hint))

    def _order(self, order: Order) -> dict[str, Any]:
        if time.monotonic() > order.until_s:
            return _refused("expired", "the command came too late to be carried out", "")
        try:
            with Client(self._socket) as client:
                return {"ok": True, "result": client.ask(order.do, **order.fields)}
        except RefusedError as error:
            return _refused(error.kind, str(error), error.hint)
        except NotRunningError as error:
            if order.do == "stop" and isinstance(error, GoneError):
                # It may be gone before its answer was read. One that is away, or hangs, restarts nothing.
                return {"ok": True, "result": {}}
            return _refused("not_running", str(error), error.hint)


def _refused(kind: str, text: str, hint: str | None) -> dict[str, Any]:
    return {"ok": False, "error": _error(kind, text, hint)}


def _error(kind: str, text: str, hint: str | None) -> dict[str, Any]:
    return {"kind": kind, "text": text, "hint": hint or ""}


def make_pipe() -> tuple[int, int]:
    """Returns the two ends of a pipe for waking a loop, which never blocks."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing
