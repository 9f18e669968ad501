"""A signal that arrives right before a blocking call is acted upon, as one that arrives during it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from parleyd.host.interruptible import interruptible

WAIT_S = 60.0
# A signal that another thread takes leaves the main thread in the same state as one that arrives right before its call:
# the interpreter has its note, and nothing interrupts the call. That is so each time, unlike the moment before a call.
CHILD = """
import pathlib, signal, sys, threading, time
from parleyd.host.interruptible import interruptible

def note_without_interruption():
    until_blocked()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

def until_blocked():
    # Where a kernel does not tell, the signal comes after a second; then the test is weaker, and never wrong.
    status = pathlib.Path(f"/proc/self/task/{threading.main_thread().native_id}/wchan")
    for _ in range(100):
        if (where := status.read_text()) != "0" and "futex" not in where:
            return
        time.sleep(0.01)  # Nobody tells that another thread blocks.

def end(number, frame):
    print("ended by", number, flush=True)
    raise SystemExit(7)

signal.signal(signal.SIGTERM, end)
thread = threading.Thread(target=note_without_interruption, daemon=True)
"""


def child(text: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("call", ["input()", "sys.stdin.read()", "import select; select.select([0], [], [])"])
def test_a_signal_right_before_a_blocking_call_ends_it(call: str) -> None:
    with child(f"thread.start()\nwith interruptible():\n    {call}") as process:
        assert process.stdout is not None
        # The pipe stays open: only the signal can end it.
        assert process.wait(WAIT_S) == 7
        assert process.stdout.read() == f"ended by {signal.SIGTERM}\n"


def test_what_was_set_before_is_set_again() -> None:
    before, fd = signal.getsignal(signal.SIGURG), signal.set_wakeup_fd(-1)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGURG) is not before
            os.kill(os.getpid(), signal.SIGURG)
        assert signal.getsignal(signal.SIGURG) is before
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(fd)


@pytest.mark.parametrize("step", ["start", "join"])
def test_a_handler_that_raises_at_a_step_leaves_nothing_behind(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(threading.Thread, step)

    def interrupted(thread: threading.Thread) -> None:
        real(thread)
        if thread.name == "interruptible":
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGURG)
    monkeypatch.setattr(threading.Thread, step, interrupted)
    with pytest.raises(KeyboardInterrupt), interruptible():
        pass
    assert signal.getsignal(signal.SIGURG) is before
    assert signal.set_wakeup_fd(-1) == -1
