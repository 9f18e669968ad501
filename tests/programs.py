"""Processes of parleyd's for the tests, and waiting for them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import waiting

# Longer than anything takes here; what does not come fails the test.
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(done: Callable[[], bool], otherwise: str) -> None:
    waiting.until(otherwise, done, PATIENCE_S)


class Program:
    """A process of parleyd's, whose lines of standard error are kept. A context manager."""

    def __init__(self, *words: str | Path) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "parleyd", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()

    def says(self, text: str) -> str:
        """Waits for a line with this text."""
        with self._changed:
            found = self._changed.wait_for(lambda: [one for one in self.lines if text in one], PATIENCE_S)
        assert found, f"it never said {text!r}: {self.lines}"
        return found[0]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code
