"""Files that another program has handed over as an open descriptor.

They may be in a file system that hangs: on a server that is gone, or in one that a program serves. Then every call
waits for ever, fstat(2) and close(2) as well as read(2), and nothing can end that wait; so no thread for which somebody
else waits makes such a call. A file that hangs takes one of a few places until its file system answers; one user gets
most of them, but never all.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import NamedTuple, TypeVar

from parleyd.core.log_fields import NOTICE, fields

log = logging.getLogger(__name__)

# How long somebody waits for the answer about a file. The client of the control socket waits for 10 s.
ANSWER_S = 3.0
# How long a piece of a file may take that is being sent or played. Nobody waits for it at the control socket.
PIECE_S = 20.0
# The most threads that wait for files. All of them hang: a file that does not takes milliseconds.
MOST_WAITING = 8
# The most of these for files of one user. As many are in use at a time where none hangs: one for each worker of the
# control socket, one that is played, and one that is sent.
MOST_OF_ONE = 6
# The most threads that close files, so that one file that hangs does not keep all others open.
MOST_CLOSERS = 8
# The most files that wait to be closed; beyond that none is accepted.
MOST_CLOSING = 64

HINT = "see whether the disk or the network that it is on hangs, and copy it to this machine"

T = TypeVar("T")


class Whose(NamedTuple):
    """The file, for people: the name that the client gave it, printable, and the client's user."""

    name: str
    uid: int

    def in_words(self) -> str:
        return f"{self.name} of the user {self.uid}"


def of_this_process(name: str) -> Whose:
    """A file that is not another program's."""
    return Whose(name, os.geteuid())


class HangsError(Exception):
    """The file does not answer in time."""


class BusyError(HangsError):
    """This file was not looked at, because too many others hang."""


class _Place:
    """hangs_since_s: monotonic; None: it does not, or not yet. A place that is free has no file to tell about."""

    def __init__(self, whose: Whose) -> None:
        self.whose = whose
        self.hangs_since_s: float | None = None


class _Places:
    """Tells in the log which files hang, and when they do not any more. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: list[_Place] = []

    @property
    def free(self) -> int:
        return MOST_WAITING - len(self._taken)

    def take(self, whose: Whose) -> _Place:
        """Raises BusyError."""
        with self._lock:
            of_this_user = sum(one.whose.uid == whose.uid for one in self._taken)
            if len(self._taken) >= MOST_WAITING or of_this_user >= MOST_OF_ONE:
                raise BusyError
            place = _Place(whose)
            self._taken.append(place)
        return place

    def hangs(self, place: _Place, since_s: float) -> None:
        with self._lock:
            if place not in self._taken:
                # It has ended at this moment.
                return
            place.hangs_since_s = since_s
            free = self.free
        text = f"a file does not answer: {place.whose.in_words()}; of the places for files that hang {free} are left"
        log.warning("%s; %s", text, HINT, extra=fields(hint=HINT, uid=place.whose.uid))

    def give_back(self, place: _Place) -> None:
        with self._lock:
            self._taken.remove(place)
            since_s = place.hangs_since_s
        if since_s is not None:
            words = f"a file hangs no longer: {place.whose.in_words()}, after {time.monotonic() - since_s:.0f} s"
            log.log(NOTICE, "%s", words, extra=fields(uid=place.whose.uid))

    def hanging(self) -> tuple[Whose, ...]:
        with self._lock:
            return tuple(one.whose for one in self._taken if one.hangs_since_s is not None)


_places = _Places()


def hanging() -> tuple[Whose, ...]:
    """The files that have not answered in time, and still do not."""
    return _places.hanging()


def in_time(work: Callable[[], T], whose: Whose, timeout_s: float = ANSWER_S) -> T:
    """Runs the work on a thread of its own, and returns its result. Raises its errors; BusyError if it was not begun,
    because too many others hang, or too many of this user; HangsError if it does not end in time: it goes on then, and
    its result is dropped."""
    place = _places.take(whose)
    began_s = time.monotonic()
    outcome: Future[T] = Future()

    def run() -> None:
        # The place is free before the result is there: whoever has that may ask for the next file at once.
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            _places.give_back(place)
            outcome.set_exception(error)
        else:
            _places.give_back(place)
            outcome.set_result(result)

    try:
        threading.Thread(target=run, name="handed-over file", daemon=True).start()
    except RuntimeError:
        _places.give_back(place)
        raise BusyError from None
    if not wait([outcome], timeout_s).done:
        _places.hangs(place, began_s)
        raise HangsError
    return outcome.result()


class _Closer:
    """Closes on threads, which are there while there is something to close."""

    def __init__(self) -> None:
        # A finalizer may want to close something while this thread holds the lock.
        self._lock = threading.RLock()
        self._waiting: deque[int] = deque()
        self._threads = 0

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < MOST_CLOSING

    def close(self, descriptor: int) -> None:
        with self._lock:
            self._waiting.append(descriptor)
            if self._threads >= MOST_CLOSERS:
                return
            # Those that are there may all hang.
            self._threads += 1
            try:
                # Not Thread.start(), which waits until the thread runs: a finalizer may come where its own thread holds
                # one of the locks of `threading`, which the new thread wants first. Both would wait for ever.
                _thread.start_new_thread(self._run, ())
            except RuntimeError:
                # Without a thread it is closed with the next one.
                self._threads -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                descriptor = self._waiting.popleft()
            # With an error it is closed, too (close(2)), for example when its file system has been given up meanwhile.
            with contextlib.suppress(OSError):
                os.close(descriptor)


_closer = _Closer()


def close(descriptor: int) -> None:
    """Closes the file soon; returns at once."""
    _closer.close(descriptor)


def may_come() -> bool:
    """Returns whether a further file may be accepted: not if many wait to be closed already."""
    return _closer.has_room
