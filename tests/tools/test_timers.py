"""Timers: over restarts, reboots, and clocks that are wrong."""

from __future__ import annotations

import errno
import os
import queue
import stat
import threading
import time
from pathlib import Path

import pytest

from parleyd.host.files import replace_file
from parleyd.tools import alarm_clock, timers
from parleyd.tools.alarm_clock import AlarmClock
from parleyd.tools.result import ToolError
from parleyd.tools.timers import Now, Timer, TimerBook, duration

WAIT_S = 60.0
NOON = 1_800_000_000.0
FIRST = Now(NOON, 1000.0, "boot 1")


def later(s: float, *, clock_moved_s: float = 0.0) -> Now:
    return Now(NOON + s + clock_moved_s, 1000.0 + s, "boot 1")


def after_reboot(s: float, *, up_s: float, wall_s: float | None = None) -> Now:
    """s after FIRST, up_s after the new boot; wall_s: what the clock says, when it is wrong."""
    return Now(NOON + s if wall_s is None else wall_s, up_s, "boot 2")


def book_with(seconds: float, label: str = "tea") -> TimerBook:
    book = TimerBook()
    book.add(seconds, label, FIRST)
    return book


def due(book: TimerBook, at: Now) -> list[tuple[str, float]]:
    return [(timer.label, late_s) for timer, late_s in book.due(at)]


def test_the_next_one_is_first_and_goes_off_once() -> None:
    book = book_with(300)
    book.add(60, "eggs", FIRST)
    assert [timer.label for timer in book.timers] == ["eggs", "tea"]
    assert due(book, later(59.9)) == []
    assert book.wait_s(later(50), 30) == 10
    assert due(book, later(61)) == [("eggs", 1)]
    assert due(book, later(61)) == []
    assert book.wait_s(later(61), 30) == 30


@pytest.mark.parametrize("moved_s", [-86_400 * 365, 86_400 * 365])
def test_setting_the_clock_moves_no_timer(moved_s: float) -> None:
    book = book_with(300)
    assert due(book, later(299, clock_moved_s=moved_s)) == []
    book = TimerBook.loaded(book.saved(later(10)), later(20, clock_moved_s=moved_s))
    assert due(book, later(299, clock_moved_s=moved_s)) == []
    assert due(book, later(300, clock_moved_s=moved_s)) == [("tea", 0)]


@pytest.mark.parametrize("moved_s", [-3 * 3600, 3 * 3600])
def test_a_clock_that_was_set_before_the_reboot_moves_no_timer_after_it(moved_s: float) -> None:
    saved = book_with(7200).saved(later(300, clock_moved_s=moved_s))
    rebooted = after_reboot(400, up_s=20, wall_s=NOON + 400 + moved_s)
    book = TimerBook.loaded(saved, rebooted)
    assert book.left_s(book.timers[0], rebooted) == 6800
    # And once more: what was carried over is still right.
    again = TimerBook.loaded(book.saved(rebooted), Now(NOON + 500 + moved_s, 10, "boot 3"))
    assert again.left_s(again.timers[0], Now(NOON + 500 + moved_s, 10, "boot 3")) == 6700


@pytest.mark.parametrize("set_again", [False, True])
def test_a_timer_that_was_set_before_the_clock_was_known_is_not_lost_at_a_reboot(set_again: bool) -> None:
    unset = Now(1000.0, 1000.0, "boot 1")
    book = TimerBook()
    book.add(600, "tea", unset)
    rebooted = Now(NOON, 20, "boot 2")
    if set_again:
        # The clock was set, and the book saved again, before the power went 100 s later.
        saved = book.saved(Now(NOON - 50, 1100.0, "boot 1"))
        assert due(TimerBook.loaded(saved, rebooted), Now(NOON + 449, 469, "boot 2")) == []
        assert due(TimerBook.loaded(saved, rebooted), Now(NOON + 450, 470, "boot 2")) == [("tea", 0)]
    else:
        book = TimerBook.loaded(book.saved(unset), rebooted)
        assert due(book, Now(NOON + 599, 619, "boot 2")) == []
        assert due(book, Now(NOON + 600, 620, "boot 2")) == [("tea", 0)]


def test_two_boots_without_a_clock_and_then_one_with_it() -> None:
    book = TimerBook.loaded(book_with(3600).saved(FIRST), Now(5.0, 5.0, "boot 2"))
    book = TimerBook.loaded(book.saved(Now(105.0, 105.0, "boot 2")), Now(5.0, 5.0, "boot 3"))
    assert book.left_s(book.timers[0], Now(5.0, 5.0, "boot 3")) == 3500
    assert due(book, Now(NOON + 3599, 30.0, "boot 3")) == []
    assert due(book, Now(NOON + 3610, 31.0, "boot 3")) == [("tea", 10)]


def test_a_file_of_an_older_version_is_read() -> None:
    old = (
        b'{"saved_wall_s":1800000000.0,"boot":"boot 1","next_number":2,'
        b'"timers":[{"number":1,"label":"tea","due_boot_s":1300.0,"due_wall_s":1800000300.0,"carried":false}]}'
    )
    book = TimerBook.loaded(old, after_reboot(100, up_s=20))
    assert book.left_s(book.timers[0], after_reboot(100, up_s=20)) == 200


def test_over_a_reboot_with_a_good_clock() -> None:
    saved = book_with(300).saved(later(5))
    book = TimerBook.loaded(saved, after_reboot(120, up_s=20))
    assert due(book, after_reboot(299, up_s=199)) == []
    assert due(book, after_reboot(300, up_s=200)) == [("tea", 0)]
    overdue = TimerBook.loaded(saved, after_reboot(1000, up_s=20))
    assert due(overdue, after_reboot(1000, up_s=20)) == [("tea", 700)]


@pytest.mark.parametrize("wall_s", [0.0, NOON - 3600, NOON])
def test_over_a_reboot_without_a_clock_what_was_left_counts(wall_s: float) -> None:
    book = TimerBook.loaded(book_with(300).saved(FIRST), after_reboot(100, up_s=20, wall_s=wall_s))
    assert due(book, after_reboot(100, up_s=319, wall_s=wall_s + 299)) == []
    book_2 = TimerBook.loaded(book.saved(after_reboot(100, up_s=20, wall_s=wall_s)), Now(wall_s + 9, 2, "boot 3"))
    assert due(book_2, Now(wall_s + 9, 2, "boot 3")) == []
    assert [label for label, _ in due(book, after_reboot(100, up_s=320, wall_s=wall_s + 300))] == ["tea"]


def test_when_the_clock_is_set_after_a_reboot_an_overdue_timer_goes_off() -> None:
    book = TimerBook.loaded(book_with(300).saved(FIRST), after_reboot(280, up_s=20, wall_s=NOON - 3600))
    assert due(book, after_reboot(290, up_s=30, wall_s=NOON - 3590)) == []
    assert due(book, after_reboot(305, up_s=45)) == [("tea", 5)]


def test_numbers_are_never_used_again() -> None:
    book = book_with(300)
    assert book.cancel(1) is not None
    assert book.cancel(1) is None
    assert TimerBook.loaded(book.saved(FIRST), FIRST).add(5, "", FIRST).number == 2


@pytest.mark.parametrize("seconds", [0, 0.5, -5, 8 * 86_400])
def test_times_that_are_none(seconds: float) -> None:
    with pytest.raises(ValueError, match="a second at least"):
        TimerBook().add(seconds, "", FIRST)


def test_there_are_not_too_many() -> None:
    book = TimerBook()
    for _ in range(timers.MAX_TIMERS):
        book.add(60, "", FIRST)
    with pytest.raises(ValueError, match="already"):
        book.add(60, "", FIRST)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (61, "1 minute 1 second"), (5100, "1 hour 25 minutes"), (90_000, "1 day 1 hour")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ---------------------------------------------------------------- the thread and the file


class Clock:
    def __init__(self, folder: Path) -> None:
        self.rung: queue.SimpleQueue[tuple[Timer, float]] = queue.SimpleQueue()
        self.clock = AlarmClock(folder, lambda timer, late_s: self.rung.put((timer, late_s)))

    def __enter__(self) -> Clock:
        self.clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.clock.close()


def test_a_timer_goes_off_on_time_and_leaves_the_file(tmp_path: Path) -> None:
    with Clock(tmp_path) as clock:
        clock.clock.set(60, "later")
        timer = clock.clock.set(1, "soon")
        rung, late_s = clock.rung.get(timeout=WAIT_S)
        assert rung == timer
        assert 0 <= late_s < 1
        assert [one.label for one, _ in clock.clock.all()] == ["later"]
    with Clock(tmp_path) as again:
        assert [one.label for one, _ in again.clock.all()] == ["later"]
        assert again.rung.empty()
    assert stat.S_IMODE((tmp_path / timers.FILE_NAME).stat().st_mode) == 0o600


def test_a_clock_that_is_set_is_written_down_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_now, moved_s = timers.now, [0.0]

    def now() -> Now:
        at = true_now()
        return Now(at.wall_s + moved_s[0], at.boot_s, at.boot)

    monkeypatch.setattr(timers, "now", now)
    monkeypatch.setattr(alarm_clock, "LOOK_S", 0.05)
    path = tmp_path / timers.FILE_NAME
    with Clock(tmp_path) as clock:
        clock.clock.set(7200, "tea")
        before = path.read_bytes()
        moved_s[0] = 3 * 3600.0
        pause = threading.Event()
        end_s = time.monotonic() + WAIT_S
        while path.read_bytes() == before:
            assert time.monotonic() < end_s, "the file is still dated by the old clock"
            pause.wait(0.02)
        at = now()
    rebooted = Now(at.wall_s + 60, 20, "another boot")
    book = timers.read(path, rebooted)
    assert book.left_s(book.timers[0], rebooted) == pytest.approx(7140, abs=15)


def test_what_was_due_meanwhile_goes_off_at_the_start_unless_it_is_too_old(tmp_path: Path) -> None:
    now = timers.now()
    book = TimerBook()
    book.add(60, "missed", Now(now.wall_s - 100, now.boot_s - 100, now.boot))
    book.add(60, "ages ago", Now(now.wall_s - 9000, now.boot_s - 9000, now.boot))
    replace_file(tmp_path / timers.FILE_NAME, book.saved(now))
    with Clock(tmp_path) as clock:
        rung, late_s = clock.rung.get(timeout=WAIT_S)
        assert rung.label == "missed"
        assert 39 < late_s < 60
        clock.clock.set(60, "x")
    assert clock.rung.empty()


@pytest.mark.parametrize("content", [b"", b'{"saved', b"[]", b'{"timers": [{}]}', b"\xff"])
def test_a_broken_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / timers.FILE_NAME
    path.write_bytes(content)
    with Clock(tmp_path) as clock:
        assert clock.clock.all() == []
        clock.clock.set(60, "new")
    assert path.with_name(path.name + ".bad").read_bytes() == content
    with Clock(tmp_path) as clock:
        assert len(clock.clock.all()) == 1


def test_a_file_that_this_user_may_not_read_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: Path, _most_bytes: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    path = tmp_path / timers.FILE_NAME
    path.write_bytes(b"root's")
    monkeypatch.setattr(timers, "read_file", refused)
    with Clock(tmp_path) as clock:
        clock.clock.set(60, "new")
    assert path.with_name(path.name + ".bad").read_bytes() == b"root's"
    assert str(path) in caplog.text


def test_without_a_place_to_keep_them_they_run_all_the_same(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "gone"):
        clock = AlarmClock(folder, lambda *_: None)
        assert clock.set(60, "").number == 1
        assert clock.cancel(1) is not None
        with pytest.raises(ToolError, match="a second at least"):
            clock.set(0, "")
