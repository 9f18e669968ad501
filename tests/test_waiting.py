"""Tests wait for events. What sleeps says beside it for what: sound or a fault that lasts, hardware that is slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from waiting import rest_of, until, until_ended

TESTS = Path(__file__).parent


def unexplained(source: str) -> list[int]:
    """The lines that sleep without a comment, beside it or above it."""
    lines = source.splitlines()
    return [
        number
        for number, line in enumerate(lines, 1)
        if "time.sleep(" in line and "#" not in line and not lines[number - 2].strip().startswith("#")
    ]


def test_every_sleep_says_what_takes_that_long() -> None:
    found = {
        path.relative_to(TESTS).as_posix(): lines
        for path in TESTS.rglob("*.py")
        if path != Path(__file__) and (lines := unexplained(path.read_text()))
    }
    assert found == {}, "wait for an event, or with waiting.until; or say what lasts so long"


def test_a_sleep_without_a_word_is_found() -> None:
    assert unexplained("x\ntime.sleep(1)\n# Sound.\ntime.sleep(1)\ntime.sleep(2)  # Sound.\ntime.sleep(3)\n") == [2, 6]


def test_a_wait_ends_with_what_it_waits_for_or_says_that_it_did_not_come() -> None:
    answers = iter([False, 0, "", True])
    until("it never comes", lambda: next(answers))
    assert next(answers, "over") == "over"
    with pytest.raises(AssertionError, match="the tea"):
        until("the tea", lambda: False, 0.05)


def test_the_end_of_a_process_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(AssertionError, match="still runs"):
            until_ended(process.pid, 0.05)
        process.kill()
        until_ended(process.pid)
        assert Path(f"/proc/{process.pid}").exists(), "it is a zombie, which has ended"
    until_ended(process.pid)


def test_the_rest_of_an_output_begins_behind_the_line_that_was_read() -> None:
    program = "import sys; print('one\\ntwo', flush=True); sys.stdin.read(); print('three')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.stdin.close()
        assert rest_of(process) == ("two\nthree\n", "")
