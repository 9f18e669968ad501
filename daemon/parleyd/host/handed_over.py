"""Files that another program has handed over as an open descriptor.

They may be in a file system that hangs: on a server that is gone, or in one that a program serves. Then every call
waits for ever, fstat(2) and close(2) as well as read(2), and nothing can end that wait; so no thread for which somebody
else waits makes such a call.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

# How long somebody waits for the answer about a file. The client of the control socket waits for 10 s.
ANSWER_S = 3.0
# How long a piece of a file may take that is being sent or played. Nobody waits for it at the control socket.
PIECE_S = 20.0
# The most threads that wait for files. All of them hang: a file that does not takes milliseconds.
MOST_WAITING = 8
# The most threads that close files, so that one file that hangs does not keep all others open.
MOST_CLOSERS = 8
# The most files that wait to be closed; beyond that none is accepted.
MOST_CLOSING = 64

T = TypeVar("T")


class HangsError(Exception):
    """The file does not answer in time."""


class BusyError(HangsError):
    """This file was not looked at, because too many others hang."""


_places = threading.Semaphore(MOST_WAITING)


def in_time(work: Callable[[], T], timeout_s: float = ANSWER_S) -> T:
    """Runs the work on a thread of its own, and returns its result. Raises its errors; BusyError if it was not begun;
    HangsError if it does not end in time: it goes on then, and its result is dropped."""
    if not _places.acquire(blocking=False):
        raise BusyError
    outcome: Future[T] = Future()

    def run() -> None:
        # The place is free before the result is there: whoever has that may ask for the next file at once.
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            _places.release()
            outcome.set_exception(error)
        else:
            _places.release()
            outcome.set_result(result)

    try:
        threading.Thread(target=run, name="handed-over file", daemon=True).start()
    except RuntimeError:
        _places.release()
        raise BusyError from None
    if not wait([outcome], timeout_s).done:
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
