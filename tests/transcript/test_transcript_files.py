from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from parleyd.cli.main import main
from parleyd.config.retention import Transcript
from parleyd.core import events
from parleyd.core.log_fields import NOTICE
from parleyd.transcript import reading
from parleyd.transcript import writer as writer_module
from parleyd.transcript.files import Files, listed
from parleyd.transcript.reading import Page, entries, follow, moment, next_page
from parleyd.transcript.redaction import REDACTED, WITHHELD, Redaction
from parleyd.transcript.writer import TranscriptWriter

TODAY = date(2026, 11, 21)


def names(directory: Path) -> list[str]:
    return [path.name for path in listed(directory)]


def test_a_file_a_day_more_when_it_is_large_and_the_old_ones_go(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "transcripts"
    files = Files(directory, keep_days=2, max_bytes=25)
    for day in range(5):
        files.delete_old(TODAY + timedelta(days=day))
        for _ in range(3):
            files.append(TODAY + timedelta(days=day), b"0123456789\n")
    assert names(directory) == [f"2026-11-{day}{part}.jsonl" for day in (23, 24, 25) for part in ("", ".1")]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in listed(directory)} == {0o600}
    (directory / "notes.txt").write_text("not ours")
    files.delete_old(TODAY + timedelta(days=100))
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_a_flood_fills_neither_the_day_nor_the_disk(tmp_path: Path) -> None:
    files = Files(tmp_path, keep_days=30, max_bytes=300, day_bytes=1000, total_bytes=2500)
    line = b"x" * 99 + b"\n"
    for day in range(5):
        taken = [files.append(TODAY + timedelta(days=day), line, b"full\n") for _ in range(50)]
        assert taken == [True] * 10 + [False] * 40
        written = [path for path in listed(tmp_path) if path.name.startswith(f"2026-11-{21 + day}")]
        assert written[-1].read_bytes().endswith(line + b"full\n")
        assert size(tmp_path) <= 2500 + len(b"full\n") * 3
    # The oldest went first, and of the newest day nothing.
    assert names(tmp_path)[0].startswith("2026-11-23")
    assert sum(path.stat().st_size for path in written) == 1005
    again = Files(tmp_path, keep_days=30, max_bytes=300, day_bytes=1000, total_bytes=2500)
    assert not again.append(TODAY + timedelta(days=4), line, b"full\n")
    assert sum(path.stat().st_size for path in written) == 1005


def test_bounds_that_do_not_fit_each_other_are_kept_all_the_same(tmp_path: Path) -> None:
    files = Files(tmp_path, keep_days=30, max_bytes=10_000, day_bytes=100_000, total_bytes=1000)
    for _ in range(100):
        assert files.append(TODAY, b"x" * 99 + b"\n")
    assert size(tmp_path) <= 1000


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "2026-11-21.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        Files(tmp_path / "t", keep_days=2, max_bytes=1000).append(TODAY, b"line\n")
    assert victim.read_text() == "precious"


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "2026-11-21.jsonl")
    files = Files(tmp_path, keep_days=2, max_bytes=1000)
    with pytest.raises(OSError, match="No such device"):
        files.append(TODAY, b"line\n")
    reader = os.open(tmp_path / "2026-11-21.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="regular"):
            files.append(TODAY, b"line\n")
    finally:
        os.close(reader)


def test_what_fits_a_pattern_is_not_written_and_what_cannot_be_judged_is_withheld() -> None:
    redacted = Redaction([r"\d{4,}", "(?i)secret"])("The Secret is 12345, or 12.")
    assert redacted == f"The {REDACTED} is {REDACTED}, or 12."
    assert Redaction([])("x" * 100_000).endswith("…")
    catastrophic = Redaction([r"(a|aa)+$"])
    began_s = time.monotonic()
    assert catastrophic("a" * 5000 + "b") == WITHHELD
    assert time.monotonic() - began_s < 30


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


NOON_S = datetime(2026, 11, 21, 12).timestamp()


def said(text: str) -> events.Heard:
    return events.Heard(at_s=time.monotonic(), text=text, final=True)


def wait_for(directory: Path, lines: int) -> list[str]:
    found: list[str] = []
    poll = threading.Event()
    for _ in range(300):
        paths = listed(directory) if directory.is_dir() else []
        found = [line for path in paths for line in path.read_text().splitlines()]
        if len(found) >= lines:
            break
        poll.wait(0.05)
    assert len(found) == lines
    return found


def test_a_disk_that_cannot_be_written_is_told_once_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    caplog.set_level(NOTICE)
    directory = tmp_path / "t"
    directory.write_text("a file where the directory should be")
    writer = TranscriptWriter(Transcript(enabled=True, redact=["two"]), directory, Wall(NOON_S))
    writer.start()
    try:
        for text in ("one", "two", "three"):
            writer(said(text))
        poll = threading.Event()
        for _ in range(500):
            if "cannot be written" in caplog.text:
                break
            poll.wait(0.02)
        writer(said("four"))
        directory.unlink()
        writer(said("five"))
        lines = wait_for(directory, 5)
    finally:
        writer.stop()
    # Now that its thread has ended, all is said.
    assert [json.loads(line)["text"] for line in lines] == ["one", REDACTED, "three", "four", "five"]
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("can be written again") == 1


def test_a_day_that_is_full_says_so_once_in_the_log_and_in_the_transcript(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Transcript(enabled=True, day_mb=0.02, max_mb=0.01)
    writer = TranscriptWriter(settings, tmp_path, Wall(NOON_S))
    for number in range(100):
        writer(said(f"{number} " + "x" * 900))
    writer.start()
    writer.stop()
    writer._thread.join(60)
    assert size(tmp_path) <= 20_000 + 500
    last = [entry for _, entry in entries(tmp_path, None)][-1]
    assert (last.speaker, last.text[:38]) == ("parleyd", "The transcript of this day is full (0.")
    assert caplog.text.count("is full (0.02 MB)") == 1


def test_a_clock_that_is_not_set_yet_is_waited_for(tmp_path: Path) -> None:
    wall = Wall(30.0)
    writer = TranscriptWriter(Transcript(enabled=True), tmp_path, wall)
    writer.start()
    writer(said("early"))
    wall.now_s = NOON_S
    writer(said("late"))
    wait_for(tmp_path, 2)
    writer.stop()
    assert names(tmp_path) == ["2026-11-21.jsonl"]


def test_a_reader_sees_whole_lines_across_a_new_file_and_survives_rubbish(tmp_path: Path) -> None:
    files = Files(tmp_path, keep_days=9, max_bytes=10)
    line = b'{"time": "2026-11-21T12:00:00+01:00", "speaker": "user", "text": "%d"}\n'
    files.append(TODAY, line % 1)
    files.append(TODAY, b"\xff{ rubbish\n")

    def happens() -> list[str]:
        seen = []
        steps: Iterator[Callable[[], object]] = iter(
            [
                lambda: (tmp_path / "2026-11-21.1.jsonl").open("ab").write(line[:20]),
                lambda: (tmp_path / "2026-11-21.1.jsonl").open("ab").write((line % 2)[20:]),
                lambda: files.append(TODAY + timedelta(days=1), line % 3),
            ]
        )

        def wait(_s: float) -> None:
            next(steps)()

        try:
            for _, entry in follow(tmp_path, None, wait=wait):
                seen.append(entry.text)
        except (StopIteration, RuntimeError):
            pass
        return seen

    assert happens() == ["1", "2", "3"]
    after = datetime.fromisoformat("2026-11-21T12:00:01+01:00")
    assert list(entries(tmp_path, after)) == []


def test_pages_have_every_line_once_across_files_and_go_on_where_they_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = '{"time": "2026-11-21T12:00:00+01:00", "speaker": "user", "text": "%d"}\n'
    monkeypatch.setattr(reading, "PAGE_BYTES", 3 * len(line % 0) + 20)
    assert next_page(tmp_path / "none", None, None) == Page([], "", more=False)
    numbers = iter(range(100))
    for day in (0, 1, 2):
        text = "".join(line % next(numbers) for _ in range(7))
        (tmp_path / f"2026-11-2{day + 1}.jsonl").write_text(text + ("x" * 9 if day == 0 else ""))
    # A line that is being written, and one that is longer than a page.
    with (tmp_path / "2026-11-23.jsonl").open("a") as file:
        file.write("y" * 500 + "\n" + (line % 21)[:30])

    def rest(after: str | None, since: datetime | None = None) -> tuple[list[int], str]:
        found = []
        while True:
            page = next_page(tmp_path, since, after)
            assert len("".join(page.lines)) <= reading.PAGE_BYTES
            found += [json.loads(one)["text"] for one in page.lines]
            after = page.after
            if not page.more:
                return list(map(int, found)), after

    found, after = rest(None)
    assert found == list(range(21))
    assert rest(after) == ([], after)
    with (tmp_path / "2026-11-23.jsonl").open("a") as file:
        file.write((line % 21)[30:])
    assert rest(after)[0] == [21]
    assert rest(None, datetime.fromisoformat("2026-11-21T12:00:01+01:00"))[0] == []
    for wrong in ("x:1", "2026-11-21.jsonl:x", "2026-11-21.jsonl", "../2026-11-21.jsonl:0"):
        with pytest.raises(ValueError, match="no place in the transcript"):
            next_page(tmp_path, None, wrong)


def test_moments() -> None:
    now = datetime(2026, 11, 21, 12).astimezone()
    assert moment("90m", now) == now - timedelta(minutes=90)
    assert moment("today", now).hour == 0
    assert moment("2026-11-20", now).tzinfo is not None
    for wrong in ("yesterday", "2h3", "9" * 40 + "w", ""):
        with pytest.raises(ValueError):  # noqa: PT011 - in whatever words
            moment(wrong, now)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text(f"provider: local\ntranscript: {{enabled: true, directory: {tmp_path}/t}}\n")
    assert main(["transcript", "-c", str(config)]) == 0
    assert "There is nothing in the transcript" in capsys.readouterr().err
    Files(tmp_path / "t", keep_days=9, max_bytes=10).append(
        TODAY,
        b'{"time": "2026-11-21T12:00:00+01:00", "speaker": "agent", "text": "It\\u001b[2J is", "heard_ms": 500, '
        b'"interrupted": true}\n',
    )
    assert main(["transcript", "-c", str(config)]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("agent  It [2J is … (interrupted after 0.5 s)\n")
    assert main(["transcript", "-c", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heard_ms"] == 500
    assert main(["transcript", "-c", str(config), "--since", "noon"]) == 64
    assert "--since noon is not a time" in capsys.readouterr().err
