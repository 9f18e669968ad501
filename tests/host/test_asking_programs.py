"""Programs of the system's: their answer in bounded time, with bounded output, and nothing of them is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parleyd.doctor import machine
from parleyd.doctor.examination import Examination
from parleyd.host import subprocesses
from parleyd.host.subprocesses import LateError, ask


def shell(script: str, timeout_s: float = 30.0, most_bytes: int = subprocesses.MAX_ANSWER_BYTES) -> subprocesses.Ran:
    return ask(["sh", "-c", script], timeout_s=timeout_s, most_bytes=most_bytes)


def what_is_open() -> tuple[list[str], list[str]]:
    """The descriptors and the children of this process."""
    children = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return sorted(path.name for path in Path("/proc/self/fd").iterdir()), sorted(" ".join(children).split())


def test_an_answer_has_both_outputs_and_the_status() -> None:
    answer = shell("echo one; echo two >&2; echo three >&2; exit 3")
    assert (answer.status, answer.output, answer.data, answer.is_cut) == (3, "one\n", b"one\n", False)
    assert (answer.errors, answer.last_words()) == ("two\nthree\n", "three")


def test_a_program_reads_what_is_given_and_is_not_kept_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "kept")
    long = b"x" * 300_000
    answer = ask(["sh", "-c", 'cat; echo "$OURS $ADDED"'], timeout_s=30, stdin=long, environment={"ADDED": "too"})
    assert answer.data == long + b"kept too\n"


def test_a_program_that_is_killed_by_a_signal_has_its_negative_number() -> None:
    assert shell("kill -TERM $$").status == -15
    # It ended by itself, long before its time was over.
    assert shell("kill -KILL $$").status == -9


def test_a_program_that_takes_too_long_is_killed_and_what_it_printed_is_told() -> None:
    with pytest.raises(LateError) as late:
        shell("echo begun; exec sleep 1000", timeout_s=0.5)
    assert (late.value.output, late.value.strerror) == (b"begun\n", "no answer within 0.5 s")


def test_a_program_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        ask(["/no/such/program"], timeout_s=30)


def test_output_without_end_ends_the_program_and_not_this_process() -> None:
    answer = shell("exec yes", most_bytes=100_000)
    assert (answer.status, len(answer.data), answer.is_cut) == (-9, 100_000, True)


def test_a_process_that_holds_the_pipes_open_is_not_waited_for(tmp_path: Path) -> None:
    left = tmp_path / "left"
    os.mkfifo(left)
    try:
        # It lives until somebody writes into the pipe.
        assert shell(f"cat {left} & echo done", timeout_s=300).output == "done\n"
    finally:
        left.write_bytes(b"")


def test_nothing_is_left_of_any_of_them() -> None:
    before = what_is_open()
    shell("true")
    for script in ("exec sleep 1000", "exec yes"):
        with pytest.raises(LateError):
            shell(script, timeout_s=0.2, most_bytes=2**30)
    with pytest.raises(FileNotFoundError):
        ask(["/no/such/program"], timeout_s=1)
    assert what_is_open() == before


def test_a_firmware_tool_that_hangs_or_cannot_run_is_no_fault_of_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "vcgencmd"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for program in ("#!/bin/sh\nexec sleep 1000\n", "#!/no/such/interpreter\n"):
        tool.write_text(program)
        tool.chmod(0o755)
        assert len(list(machine.power(Examination()))) == 1
