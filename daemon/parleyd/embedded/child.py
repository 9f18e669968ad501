"""The embedded agent as a child process of the daemon (`provider: local`); it ends when the daemon does."""

from __future__ import annotations

import contextlib
import errno
import http.client
import logging
import os
import re
import select
import selectors
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from parleyd.core.log_fields import NOTICE
from parleyd.host import python_env

log = logging.getLogger(__name__)

# How long the start may take: on a small board loading the recogniser is slow.
START_S = 60.0
STOP_S = 1.5
# The delay between a crash and the next start: long enough to save processor time, short enough for a person.
RESTART_S = 2.0
# The interval of requests that check whether it still answers, the timeout of one request, and the number of failures
# after which it counts as hanging. On a small board an answer may be late during speech recognition.
ASK_EVERY_S, ANSWER_S, MOST_MISSED = 10.0, 5.0, 3
_LISTENING = re.compile(r"listening on ws://(?P<host>\S+?):(?P<port>\d+)")


class AgentChildError(Exception):
    """The embedded agent did not start; the text is its output."""


class AgentChild:
    """A context manager; inside it, the agent listens at base_url. An agent that crashes or hangs is started again at
    the same address.

    Entering raises AgentChildError.
    """

    def __init__(self, scenario: str | Path | None) -> None:
        self._options = [] if scenario is None else ["--scenario", str(scenario)]
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="agent-child", daemon=True)
        self._port = "0"
        self.base_url = ""

    def __enter__(self) -> AgentChild:
        self._start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        _end(self._process)
        self._watcher.join(STOP_S)

    def _start(self) -> None:
        command = [*python_env.command(), "-m", "parleyd", "agent", "--port", self._port, "--quit-with-stdin"]
        command += self._options
        # A separate process session: Ctrl-C stops the daemon only, which closes the conversation before the agent ends.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # Stored before it is ready, so that __exit__ finds it; a process that is started after __exit__ must not stay.
        self._process = process
        try:
            if self._closing.is_set():
                raise AgentChildError("it is not needed any more")
            host, self._port = _read_address(process)
        except BaseException:
            _end(process)
            raise
        self.base_url = f"http://{host}:{self._port}"
        # Nobody reads its output from now on; it must not block on a full pipe.
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            try:
                threading.Thread(target=_drain, args=(stream,), name="agent-output", daemon=True).start()
            except RuntimeError:
                _end(process)
                raise AgentChildError("the system has no thread left to read what it prints") from None

    def _watch(self) -> None:
        while True:
            why = self._ended()
            if self._closing.is_set():
                return
            log.warning("the embedded agent %s; it is started again", why)
            level = logging.ERROR
            while not self._closing.wait(RESTART_S):
                try:
                    self._start()
                    log.log(NOTICE, "the embedded agent runs again")
                    break
                except (AgentChildError, OSError) as error:
                    if self._closing.is_set():
                        return
                    log.log(level, "the embedded agent does not start again: %s", error)
                    level = logging.DEBUG

    def _ended(self) -> str:
        """Waits until the agent has ended, and kills it if it hangs. Returns the event in words."""
        missed = 0
        while not self._has_ended(ASK_EVERY_S):
            missed = 0 if _answers(self.base_url) else missed + 1
            if missed >= MOST_MISSED:
                self._process.kill()
                self._process.wait()
                return "does not answer any more"
        return f"has ended with {self._process.wait()}"

    def _has_ended(self, patience_s: float) -> bool:
        """Waits this long for its end. Returns whether it has ended."""
        try:
            process = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            # __exit__ has already waited for the process.
            return True
        except OSError:
            # There is no file handle left to wait with.
            self._closing.wait(1.0)
            return self._process.poll() is not None
        try:
            return bool(select.select([process], [], [], patience_s)[0])
        finally:
            os.close(process)


def _answers(base_url: str) -> bool:
    """Whether it answers an HTTP request, with any status; also True if no request could be made."""
    agent = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=ANSWER_S)
    try:
        agent.request("GET", "/")
        agent.getresponse()
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    except http.client.HTTPException:
        return False
    finally:
        agent.close()
    return True


def _read_address(process: subprocess.Popen[str]) -> tuple[str, str]:
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
                return match["host"], match["port"]
            if not line:
                said = process.stderr.read().strip().splitlines()
                raise AgentChildError(said[-1].removeprefix("parleyd: ") if said else "the embedded agent ended")
    raise AgentChildError(f"the embedded agent did not start within {START_S:g} s")


def _end(process: subprocess.Popen[str]) -> None:
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
