"""Timers that survive a restart and a reboot: the set of them (pure), and its file.

Within one boot the kernel's clock since boot counts, because nobody can set it. After a reboot the wall clock shows how
long the device was off. If that clock is wrong, a timer goes on with the time that was left at the last save, and rings
as soon as the clock has been set and shows that it is due. The file's times follow the wall clock at the time of
saving, not of setting the timer: the clock may have been set between the two.
"""

from __future__ import annotations

import contextlib
import time
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from parleyd.core.wall_clock import EARLIEST_S
from parleyd.host.files import read_file

FILE_NAME = "timers.json"
# The largest file that is read; MAX_TIMERS need far less.
MOST_BYTES = 256 * 1024
MAX_TIMERS = 50
MAX_LABEL_CHARS = 100
MAX_S = 7 * 86_400.0
# A timer that was due longer ago than this does not ring any more: the tea is cold.
MAX_LATE_S = 3600.0
# Smaller corrections of the wall clock do not change a timer.
STEP_S = 2.0


class Now(Struct, frozen=True):
    """wall_s: since the epoch. boot_s: since boot, suspend included. boot: identifies the boot."""

    wall_s: float
    boot_s: float
    boot: str

    @property
    def clock_is_set(self) -> bool:
        return self.wall_s >= EARLIEST_S

    def stepped_since(self, other: Now) -> bool:
        """Returns whether the wall clock was set in between, or the device was booted again."""
        moved_s = (self.wall_s - self.boot_s) - (other.wall_s - other.boot_s)
        return self.boot != other.boot or abs(moved_s) > STEP_S


def now() -> Now:
    try:
        boot = _boot()
    except OSError:
        boot = ""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot)


@cache
def _boot() -> str:
    """Reads the boot's id, once: it never changes, and later no file handle may be left. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """due_boot_s: by the clock of the book's boot. carried: from an earlier boot, so the wall clock counts as well.

    due_wall_s: by the wall clock at the time of saving; None: that clock was not set.
    left_s: seconds left at the time of saving; None in files of older versions.
    """

    number: int
    label: str
    due_boot_s: float
    due_wall_s: float | None
    carried: bool = False
    left_s: float | None = None


class _File(msgspec.Struct, kw_only=True):
    saved_wall_s: float
    boot: str
    next_number: int
    timers: list[Timer]


class TimerBook:
    """Pure. Numbers are never used again, so that a late `cancel` never hits another timer."""

    def __init__(self, timers: list[Timer] | None = None, next_number: int = 1) -> None:
        self._timers = {timer.number: timer for timer in timers or []}
        self._next_number = next_number

    @property
    def timers(self) -> list[Timer]:
        """Returns all timers; the next one comes first."""
        return sorted(self._timers.values(), key=lambda timer: timer.due_boot_s)

    def add(self, seconds: float, label: str, at: Now) -> Timer:
        """Raises ValueError, with a text for people, if there are too many timers or the duration is out of range."""
        if len(self._timers) >= MAX_TIMERS:
            raise ValueError(f"there are {MAX_TIMERS} timers already")
        if not 1 <= seconds <= MAX_S:
            raise ValueError("a timer runs for a second at least and for seven days at most")
        timer = Timer(
            number=self._next_number,
            label=label[:MAX_LABEL_CHARS],
            due_boot_s=at.boot_s + seconds,
            due_wall_s=at.wall_s + seconds if at.clock_is_set else None,
        )
        self._next_number += 1
        self._timers[timer.number] = timer
        return timer

    def cancel(self, number: int) -> Timer | None:
        return self._timers.pop(number, None)

    def due(self, at: Now) -> list[tuple[Timer, float]]:
        """Removes the timers that are due. Returns them with the seconds by which they are late."""
        late = [(timer, self._late_s(timer, at)) for timer in self.timers]
        due = [(timer, late_s) for timer, late_s in late if late_s >= 0]
        for timer, _ in due:
            del self._timers[timer.number]
        return due

    def wait_s(self, at: Now, longest_s: float) -> float:
        """Returns the seconds until the next timer, or until the wall clock has to be checked again."""
        return max(0.0, min([longest_s, *(-self._late_s(timer, at) for timer in self._timers.values())]))

    def left_s(self, timer: Timer, at: Now) -> float:
        return max(0.0, -self._late_s(timer, at))

    @staticmethod
    def _late_s(timer: Timer, at: Now) -> float:
        late_s = at.boot_s - timer.due_boot_s
        if not timer.carried or timer.due_wall_s is None:
            return late_s
        return max(late_s, at.wall_s - timer.due_wall_s)

    # ------------------------------------------------------------ the file's content

    def saved(self, at: Now) -> bytes:
        timers = [self._dated(timer, at) for timer in self.timers]
        file = _File(saved_wall_s=at.wall_s, boot=at.boot, next_number=self._next_number, timers=timers)
        return msgspec.json.encode(file)

    def _dated(self, timer: Timer, at: Now) -> Timer:
        """Dates the timer by the present wall clock; a timer of an earlier boot keeps its date, which may be better."""
        left_s = -self._late_s(timer, at)
        due_wall_s = timer.due_wall_s
        if not timer.carried or (due_wall_s is None and at.clock_is_set):
            due_wall_s = at.wall_s + left_s if at.clock_is_set else None
        return msgspec.structs.replace(timer, due_wall_s=due_wall_s, left_s=left_s)

    @classmethod
    def loaded(cls, data: bytes, at: Now) -> TimerBook:
        """Raises ValueError if the data is not such a file."""
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        timers = file.timers
        if not at.boot or file.boot != at.boot:
            # The time for which the device was off is known if the clock was set at the time of saving. A clock that
            # is before the time of saving has not been set yet.
            passed_s = max(0.0, at.wall_s - file.saved_wall_s) if file.saved_wall_s >= EARLIEST_S else 0.0
            timers = [
                msgspec.structs.replace(
                    timer, due_boot_s=at.boot_s + _left_s(timer, file.saved_wall_s) - passed_s, carried=True
                )
                for timer in timers
            ]
        return cls(timers, file.next_number)


def _left_s(timer: Timer, saved_wall_s: float) -> float:
    if timer.left_s is not None:
        return timer.left_s
    return 0.0 if timer.due_wall_s is None else timer.due_wall_s - saved_wall_s


# ---------------------------------------------------------------- the file


def read(path: Path, at: Now) -> TimerBook:
    """Returns an empty book if there is no file. Raises OSError if it cannot be read, and ValueError if it is unusable;
    then the file is renamed, so that nothing writes over it."""
    try:
        return TimerBook.loaded(read_file(path, MOST_BYTES), at)
    except FileNotFoundError:
        return TimerBook()
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            path.replace(path.with_name(path.name + ".bad"))
        raise


def duration(seconds: float) -> str:
    """Returns a text such as `1 hour 25 minutes`; seconds only below an hour."""
    whole = max(0, round(seconds))
    parts = [(whole // 86_400, "day"), (whole // 3600 % 24, "hour"), (whole // 60 % 60, "minute")]
    if whole < 3600:
        parts.append((whole % 60, "second"))
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(words) or "0 seconds"
