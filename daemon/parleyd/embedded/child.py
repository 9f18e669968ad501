"""The embedded agent as a child process of the daemon (`provider: local`, `fallback: local`); it ends when the daemon
does."""

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
from urllib.parse import urlsplit

from parleyd.core.log_fields import NOTICE
from parleyd.host import python_env
from parleyd.host.reaching import Deadline
from parleyd.host.requests import open_http
from parleyd.host.resolving import NoThreadLeftError
from parleyd.host.subprocesses import await_end

log = logging.getLogger(__name__)

# How long the start may take: on a small board loading the recogniser is slow.
START_S = 60.0
STOP_S = 1.5
# The delay between a crash and the next start: long enough to save processor time, short enough for a person. An agent
# that ends again within HELD_S is started after twice the delay before, up to RESTART_MOST_S, and told of once.
RESTART_S, RESTART_MOST_S, HELD_S = 2.0, 60.0, 60.0
# The interval of requests that check whether it still answers, the timeout of one request, and the number of failures
# after which it counts as hanging. On a small board an answer may be late during speech recognition.
ASK_EVERY_S, ANSWER_S, MOST_MISSED = 10.0, 5.0, 3
_LISTENING = re.compile(r"listening on ws://(?P<host>\S+?):(?P<port>\d+)")


class AgentChildError(Exception):
    """The embedded agent did not start; the text is its output."""


class AgentChild:
    """A context manager; inside it, the agent listens at base_url. An agent that crashes or hangs is started again at
    the same address.

    key: what every client must send; None: nothing. most_bytes: of memory; one that has more is ended and started
    again, and where the system runs out of memory it goes before the daemon. Entering raises AgentChildError.
    """

    def __init__(self, scenario: str | Path | None, *, key: str | None = None, most_bytes: int | None = None) -> None:
        self._options = [] if scenario is None else ["--scenario", str(scenario)]
        self._key = key
        self._most_bytes = most_bytes
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="agent-child", daemon=True)
        self._port = "0"
        self._is_up = threading.Event()
        self.base_url = ""

    def wait_up(self, timeout_s: float) -> bool:
        """Whether it listens, perhaps only after it was started again."""
        until_s = time.monotonic() + timeout_s
        while self._is_up.wait(max(0.0, until_s - time.monotonic())):
            if self._process.poll() is None:
                return True
            # Its end has not been noticed yet.
            if self._closing.wait(0.05):
                break
        return False

    def __enter__(self) -> AgentChild:
        self._start()
        try:
            self._watcher.start()
        except RuntimeError:
            self._closing.set()
            _end(self._process)
            raise AgentChildError("the system has no thread left to watch over it") from None
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
        with contextlib.ExitStack() as held:
            inherited: tuple[int, ...] = ()
            if self._key is not None:
                inherited = (_only_in_memory(self._key),)
                held.callback(os.close, inherited[0])
                command += ["--key-file", f"/dev/fd/{inherited[0]}"]
            # A separate process session: Ctrl-C stops the daemon only, which closes the conversation before the agent
            # ends.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                pass_fds=inherited,
                env=os.environ,
            )
        if self._most_bytes is not None:
            _goes_first(process.pid)
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
        self._is_up.set()
        # Nobody reads its output from now on; it must not block on a full pipe.
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            try:
                threading.Thread(target=_drain, args=(stream,), name="agent-output", daemon=True).start()
            except RuntimeError:
                _end(process)
                raise AgentChildError("the system has no thread left to read what it prints") from None

    def _watch(self) -> None:
        delay_s = RESTART_S
        while True:
            began_s = time.monotonic()
            why = self._ended()
            self._is_up.clear()
            if self._closing.is_set():
                return
            has_held = time.monotonic() - began_s >= HELD_S
            delay_s = RESTART_S if has_held else delay_s
            # One that ends again and again is told of once.
            is_first = delay_s == RESTART_S
            log.log(logging.WARNING if is_first else logging.DEBUG, "the embedded agent %s; it is started again", why)
            level = logging.ERROR if is_first else logging.DEBUG
            while not self._closing.wait(delay_s):
                delay_s = min(RESTART_MOST_S, 2 * delay_s)
                try:
                    self._start()
                    log.log(NOTICE if is_first else logging.DEBUG, "the embedded agent runs again")
                    break
                except (AgentChildError, OSError) as error:
                    if self._closing.is_set():
                        return
                    log.log(level, "the embedded agent does not start again: %s", error)
                    level = logging.DEBUG

    def _ended(self) -> str:
        """Waits until the agent has ended, and kills it if it hangs or has too much memory. Returns the event in
        words."""
        missed = 0
        while not self._has_ended(ASK_EVERY_S):
            missed = 0 if _answers(self.base_url) else missed + 1
            used_bytes = resident_bytes(self._process.pid)
            is_too_big = self._most_bytes is not None and used_bytes > self._most_bytes
            if missed >= MOST_MISSED or is_too_big:
                self._process.kill()
                self._process.wait()
                return f"has taken {used_bytes >> 20} MB of memory" if is_too_big else "does not answer any more"
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


def _only_in_memory(key: str) -> int:
    """A descriptor of a file with the key, which no other process can name. Raises OSError."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, key.encode())
    return descriptor


def _goes_first(pid: int) -> None:
    """Where the system has no memory left, it ends this process and not the daemon: proc(5), oom_score_adj."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("800", encoding="ascii")


def resident_bytes(pid: int) -> int:
    """The memory of a process: proc(5), statm. 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _answers(base_url: str) -> bool:
    """Whether it answers an HTTP request, with any status; also True if no request could be made."""
    try:
        with Deadline(ANSWER_S) as deadline:
            way = open_http(urlsplit(base_url), (), deadline, tls=None)
            with contextlib.closing(way.connection) as connection:
                connection.request("GET", f"{way.prefix}/", headers={**way.headers, "Connection": "close"})
                way.answer().close()
    except NoThreadLeftError:
        return True
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    except http.client.HTTPException:
        return False
    return not deadline.is_over


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
    await_end(process, STOP_S)


def _drain(stream: IO[str]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for _ in stream:
            pass
