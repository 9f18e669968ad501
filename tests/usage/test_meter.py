"""What is counted is kept: across restarts, power cuts and disks that cannot be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.log_fields import NOTICE
from parleyd.usage import meter as meter_module
from parleyd.usage.ledger import Amount, Book
from parleyd.usage.meter import UsageMeter, save_due_s
from parleyd.usage.store import FILE_NAME, Store

TODAY = datetime.now().date().isoformat()


def opened() -> events.SessionOpened:
    return events.SessionOpened(at_s=time.monotonic(), conversation_id="c", handshake_ms=1, resent_ms=0, tries=1)


def ended() -> events.SessionEnded:
    return events.SessionEnded(at_s=time.monotonic(), ending=Ending(EndingKind.USER, "quiet"), conversation_id="c")


def some_time() -> None:
    threading.Event().wait(0.05)


def test_sessions_are_counted_and_found_again(tmp_path: Path) -> None:
    totals = Amount()
    meter = UsageMeter(Store(tmp_path), lambda: totals)
    meter.start()
    meter(ended())  # an attempt that failed
    began_s = time.monotonic()
    meter(opened())
    some_time()
    totals = Amount(sent_bytes=1000, received_bytes=500, heard_s=10, left_s=1)
    today, month, _ = meter.used()
    assert 0 < today.session_s <= time.monotonic() - began_s
    assert month == today
    meter(ended())
    before, _, _ = meter.used()
    some_time()
    after, _, _ = meter.used()
    assert after.session_s == before.session_s, "asleep costs nothing"
    meter.stop()
    found = Store(tmp_path).load()
    assert found.days[TODAY].sent_bytes == 1000
    assert found.days[TODAY].session_s == pytest.approx(after.session_s, abs=0.001)
    again = UsageMeter(Store(tmp_path), Amount)
    assert again.used()[0].session_s == pytest.approx(after.session_s, abs=0.001)


def test_the_end_of_a_session_is_saved_and_so_is_every_minute_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_module, "SAVE_S", 0.05)
    meter = UsageMeter(Store(tmp_path), Amount)
    meter.start()
    meter(opened())

    def saved() -> float:
        for _ in range(200):
            some_time()
            if (amount := Store(tmp_path).load().days.get(TODAY)) and amount.session_s:
                break
        return Store(tmp_path).load().days[TODAY].session_s

    assert saved() > 0, "while it is live"
    (tmp_path / FILE_NAME).unlink()
    meter(ended())
    assert saved() > 0
    meter.stop()


def test_how_often_a_card_is_written() -> None:
    assert save_due_s(100.0, live=True, ended=False) == 160.0
    assert save_due_s(100.0, live=False, ended=True) == 160.0, "a line that flaps is no reason to write more"
    assert save_due_s(100.0, live=False, ended=False) == 3700.0


@pytest.mark.parametrize("content", [b"", b"{", b'{"days": {"2026-11-21": {"session_s": -5}}}', b"[]", b"\xff\x00"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert Store(tmp_path).load() == Book()
    assert "damaged" in caplog.text
    assert (tmp_path / "usage.damaged").read_bytes() == content


def test_a_file_that_cannot_be_read_is_set_aside_before_it_would_be_overwritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be another user's; there is a bill in it. A pipe: root can read every file."""
    os.mkfifo(tmp_path / FILE_NAME)
    store = Store(tmp_path)
    assert store.load() == Book()
    assert "cannot be read" in caplog.text
    store.save(Book())
    assert (tmp_path / "usage.damaged").is_fifo()
    assert (tmp_path / FILE_NAME).is_file()


def test_a_directory_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(NOTICE)
    store = Store(tmp_path / "gone")
    store.save(Book())
    store.save(Book())
    (tmp_path / "gone").mkdir()
    store.save(Book())
    assert caplog.text.count("cannot be kept") == 1
    assert caplog.text.count("can be kept again") == 1


SAVER = """
import sys
from pathlib import Path
from parleyd.usage.ledger import Amount, Book
from parleyd.usage.store import Store

store, seconds = Store(Path(sys.argv[1])), float(sys.argv[2])
while True:
    seconds += 1
    store.save(Book({f"2026-11-{day:02}": Amount(session_s=seconds) for day in range(1, 31)}))
    print(seconds, flush=True)
"""


def test_an_end_in_the_middle_of_a_save_leaves_a_whole_book(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept_s = 0.0
    for saves in (1, 7, 20, 33):
        command = [sys.executable, "-c", SAVER, str(tmp_path), str(kept_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            saved_s = [float(process.stdout.readline()) for _ in range(saves)][-1]
            # Somewhere in one of the next.
            process.kill()
        days = {amount.session_s for amount in Store(tmp_path).load().days.values()}
        assert len(days) == 1
        (kept_s,) = days
        assert kept_s >= saved_s
    assert not caplog.records


def test_a_damaged_file_that_stays_is_not_said_to_be_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing can be written; that root cannot have as a plain directory."""

    def refuse(_self: Path, _target: Path) -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / FILE_NAME).write_bytes(b"{")
    monkeypatch.setattr(Path, "replace", refuse)
    assert Store(tmp_path).load() == Book()
    assert "is damaged, and cannot be set aside (Read-only file system)" in caplog.text
    assert "usage.damaged" not in caplog.text
