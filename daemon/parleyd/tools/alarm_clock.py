"""The thread that lets timers go off, and keeps their file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from parleyd.core.health import Pulse
from parleyd.host.files import replace_file
from parleyd.tools import timers
from parleyd.tools.result import Fault, ToolError
from parleyd.tools.timers import Now, Timer, TimerBook

log = logging.getLogger(__name__)

# How often the wall clock is looked at; it may be set at any time.
LOOK_S = 30.0


class AlarmClock:
    """start(), close(). Thread-safe.

    folder: the state directory; None: timers are not kept. goes_off: called on the clock's own thread, with the timer
    and how many seconds late it is. told: called when timers cannot be saved, with what is wrong, and with None when
    they can again; at once, inside of whatever has changed them.
    """

    def __init__(
        self,
        folder: Path | None,
        goes_off: Callable[[Timer, float], None],
        told: Callable[[str | None], None] = lambda _trouble: None,
    ) -> None:
        self._path = None if folder is None else folder / timers.FILE_NAME
        self._goes_off = goes_off
        self._told = told
        # Why the timers that are set will not survive a restart.
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._book: TimerBook | None = None
        self._saved_at: Now | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self.pulse = Pulse("timers")

    def start(self) -> None:
        """Reads the file. What was due meanwhile goes off at once."""
        with self._changed:
            self._opened()
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(2.0)

    def set(self, seconds: float, label: str) -> Timer:
        """Raises ToolError."""
        with self._changed:
            book = self._opened()
            try:
                timer = book.add(seconds, label, timers.now())
            except ValueError as error:
                raise ToolError(Fault.BAD_PARAMETERS, f"No timer was set: {error}.") from None
            self._save()
            self._changed.notify_all()
            return timer

    def cancel(self, number: int) -> Timer | None:
        with self._changed:
            timer = self._opened().cancel(number)
            self._save()
            return timer

    def all(self) -> list[tuple[Timer, float]]:
        """(timer, seconds left), the next one first."""
        at = timers.now()
        with self._changed:
            book = self._opened()
            return [(timer, book.left_s(timer, at)) for timer in book.timers]

    def _run(self) -> None:
        while True:
            with self._changed:
                book = self._opened()
                at = timers.now()
                due = book.due(at)
                if not due and book.timers and (self._saved_at is None or at.stepped_since(self._saved_at)):
                    # The file is dated by a clock that has been set since; the next boot would believe it.
                    self._save()
                if not due:
                    if self._closed:
                        return
                    self.pulse.rest()
                    self._changed.wait(book.wait_s(at, LOOK_S))
                    continue
            self.pulse.beat()
            for timer, late_s in due:
                self._ring(timer, late_s)
            # After the ringing: a timer may go off twice when the power goes, but not never.
            with self._changed:
                self._save()

    def _ring(self, timer: Timer, late_s: float) -> None:
        if late_s > timers.MAX_LATE_S:
            late = timers.duration(late_s)
            log.warning("the timer %d (%s) was due %s ago, while this device was off", timer.number, timer.label, late)
        else:
            self._goes_off(timer, late_s)

    # ------------------------------------------------------------ inside the lock

    def _opened(self) -> TimerBook:
        if self._book is None:
            try:
                self._book = TimerBook() if self._path is None else timers.read(self._path, timers.now())
            except (OSError, ValueError) as error:
                log.warning("the timers of before cannot be read: %s", error)
                self._book = TimerBook()
        return self._book

    def _save(self) -> None:
        if self._path is None:
            return
        at = self._saved_at = timers.now()
        trouble = None
        try:
            replace_file(self._path, self._opened().saved(at))
        except OSError as error:
            trouble = f"timers cannot be saved and will not survive a restart: {error.strerror or error}"
        if trouble != self.trouble:
            self.trouble = trouble
            self._told(trouble)
