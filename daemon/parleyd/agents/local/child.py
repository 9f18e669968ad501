"""The embedded agent as a child process of the daemon (`provider: local`); it ends when the daemon does."""

from __future__ import annotations

import contextlib
import re
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO

# Loading the recogniser on a small board takes a while.
START_S = 60.0
STOP_S = 1.5
_LISTENING = re.compile(r"listening on ws://(?P<host>\S+)")


class AgentChildError(Exception):
    """The embedded agent did not start; the text is what it said."""


class AgentChild:
    """A context manager; base_url is where the agent listens inside it. Raises AgentChildError."""

    def __init__(self, scenario: str | Path | None, arguments: tuple[str, ...] = ()) -> None:
        self._command = [sys.executable, "-m", "parleyd", "agent", "--port", "0", "--quit-with-stdin", *arguments]
        if scenario is not None:
            self._command += ["--scenario", str(scenario)]
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    def __enter__(self) -> AgentChild:
        # A session of its own: Ctrl-C is for the daemon, which closes the conversation before this ends.
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self.base_url = f"http://{self._read_address(process)}"
        except BaseException:
            self._end(process)
            raise
        # Nobody reads what it prints from now on; it must not block on a full pipe.
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            threading.Thread(target=_drain, args=(stream,), name="agent-output", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._end(self._process)

    def _read_address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        assert process.stderr is not None
        until_s = time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < until_s:
                if not selector.select(timeout=0.5):
                    continue
                line = process.stdout.readline()
                if match := _LISTENING.search(line):
                    return match["host"].rstrip("/")
                if not line:
                    said = process.stderr.read().strip().splitlines()
                    raise AgentChildError(said[-1].removeprefix("parleyd: ") if said else "the embedded agent ended")
        raise AgentChildError(f"the embedded agent did not start within {START_S:g} s")

    def _end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _drain(stream: IO[str]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for _ in stream:
            pass
