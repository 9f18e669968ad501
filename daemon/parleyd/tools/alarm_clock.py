"""The thread that rings the timers, and saves them in a file."""

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

# The interval at which the thread compares the timers with the wall clock, which may be set at any time.
LOOK_S = 30.0


class AlarmClock:
    """Owns the timers and their thread: start(), close(). Thread-safe.

    folder: the state directory; None: timers are not saved. goes_off: called on the clock's own thread, with the timer
    and by how many seconds it is late. told: called with the trouble when timers cannot be saved, and with None when
    they can be saved again; it runs inside the call that changed the timers.
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
        # The reason why the timers would not survive a restart; None: they would.
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._book: TimerBook | None = None
        self._saved_at: Now | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self.pulse = Pulse("timers")

    def start(self) -> None:
        """Reads the file. Timers that came due while the daemon was off go off at once."""
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
        """Adds a timer. Raises ToolError if there are too many timers, or if the duration is out of range."""
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
        """Returns the timers with their seconds left; the next one comes first."""
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
                    # The file's times are those of the clock before it was set; the next boot would rely on them.
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
            # The file is saved after the ringing: if the power fails, a timer may ring twice, but never not at all.
            with self._changed:
                self._save()

    def _ring(self, timer: Timer, late_s: float) -> None:
        if late_s > timers.MAX_LATE_S:
            late = timers.duration(late_s)
            log.warning("the timer %d was due %s ago, while this device was off", timer.number, late)
        else:
            self._goes_off(timer, late_s)

    # ------------------------------------------------------------ inside the lock

    def _opened(self) -> TimerBook:
        if self._book is None:
            try:
                self._book = TimerBook() if self._path is None else timers.read(self._path, timers.now())
            except (OSError, ValueError) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or error
                log.warning("the saved timers cannot be read: %s: %s; what there was is beside it", self._path, why)
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
