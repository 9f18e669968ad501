"""Runs programs, in bounded time and with bounded output. The output ends when the program does; a process that still
holds the pipes open is not waited for.

run() is for a program of the user's (a tool, a hook, the command of a dynamic variable): it is kept apart from the
daemon as host/apart.py says, and nothing of it is left when it is to be over. Between the daemon and the program stands
host/runner.py: the first program of a unit of systemd's, or a child process of this one. It makes the pipes, hands them
over, and tells the end of the program.

ask() is for a program of the system's (amixer, systemctl) and for a part of parleyd that runs in a process of its own.
Such a program is started directly, because it leaves nothing behind, and a second interpreter would cost more than it.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import pwd
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from parleyd.host import apart as apart_module
from parleyd.host import runner
from parleyd.host.apart import Apart, Way
from parleyd.host.stopping import Stop

MAX_OUTPUT_BYTES = 256 * 1024
# The limit of a program of the system's: far above the lists that such programs print.
MAX_ANSWER_BYTES = 8 * 2**20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIECE_BYTES = 64 * 1024
_PAUSE_S = 0.02
# A slow board under load; systemd has to prepare a unit, or Python to start.
_START_S = 20.0
# How long a runner may take to end after an order to kill; then it is killed itself. A program that was killed, and
# hangs in the kernel, is left behind after this time.
_KILLED_S = 3.0
_LOOK_S = 1.0
_KILLED = -9

# Children of this process that may do all that it may, for the configuration says so (run_as: daemon).
_trusted: set[int] = set()


class NotStartedError(Exception):
    """The program could not be started. The text is one sentence without secrets, for the agent and the person."""


class LateError(TimeoutError):
    """A program was not done in time, and was killed. strerror: that in words. output: what it had printed by then."""

    def __init__(self, timeout_s: float, output: bytes) -> None:
        super().__init__(errno.ETIMEDOUT, f"no answer within {timeout_s:g} s")
        self.output = output


class Ran(NamedTuple):
    """status: the exit code, or the negative number of the signal that ended it. data: the output as it was. Output
    beyond the limit is gone; then is_cut."""

    status: int
    output: str
    errors: str
    is_cut: bool = False
    data: bytes = b""

    def __repr__(self) -> str:
        return f"Ran(status={self.status!r}, output={self.output!r}, errors={self.errors!r}, is_cut={self.is_cut!r})"

    def last_words(self) -> str:
        """The last line that it wrote to standard error; empty if there is none."""
        return (self.errors.strip().splitlines() or [""])[-1]


def search_path(environment: Mapping[str, str]) -> str:
    """Where a program without a path is looked for. environment: what is given to it beside the usual."""
    return environment.get("PATH", _PATH)


def trusted_children() -> frozenset[int]:
    """Process numbers of those that run as the daemon because the configuration says so."""
    return frozenset(_trusted.copy())


def run(
    arguments: Sequence[str],
    *,
    apart: Apart | None,
    directory: str,
    environment: Mapping[str, str],
    stdin: bytes,
    stop: Stop,
    most_bytes: int | None = None,
    until_s: float | None = None,
) -> Ran:
    """Blocks until it is over; stop ends it with SIGKILL, and so does until_s, by the monotonic clock.

    apart: None runs it as the daemon, with all that this may. environment: beside PATH, HOME, LANG and TZ all that it
    gets; nothing of the daemon's own, which may hold its key. most_bytes: it is killed when it prints more. Raises
    NotStartedError.
    """
    name = Path(arguments[0]).name
    job = _job(arguments, apart, directory, environment, name)
    with _connected(apart, name) as runner_:
        stop.at(runner_.cut)
        try:
            started = runner_.start(job, name, directory)
            if started is None:
                return Ran(_KILLED, "", "")
            with started:
                stop.at(runner_.end)
                return _converse(started, runner_, stdin, most_bytes, until_s)
        finally:
            stop.at(None)


def ask(
    arguments: Sequence[str | bytes],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    most_bytes: int = MAX_ANSWER_BYTES,
) -> Ran:
    """Blocks until the program has ended, timeout_s at most (and a few seconds more if it hangs in the kernel).

    environment: in addition to that of this process. most_bytes: it is killed when it prints more. Raises OSError if it
    cannot be started, and LateError.
    """
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=os.environ if environment is None else os.environ | environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    until_s = time.monotonic() + timeout_s
    with _Pipes(process.stdin, process.stdout, process.stderr) as pipes, _Child(process) as child:
        ran = _converse(pipes, child, stdin, most_bytes, until_s)
    if ran.status == _KILLED and not ran.is_cut and time.monotonic() >= until_s:
        raise LateError(timeout_s, ran.data)
    return ran


def await_end(process: subprocess.Popen[bytes] | subprocess.Popen[str], patience_s: float) -> None:
    """Waits for the end of a process that was told to end, and kills it after patience_s."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _job(
    arguments: Sequence[str], apart: Apart | None, directory: str, environment: Mapping[str, str], name: str
) -> bytes:
    if apart is not None and apart.required and apart.ways.way is Way.NONE:
        why = "this machine cannot keep programs apart from the daemon, and tools.apart is required"
        raise NotStartedError(f"{name} was not run: {why}.")
    usual = {"PATH": _PATH, "LANG": "C.UTF-8"}
    hidden: Sequence[bytes] = ()
    how = runner.PLAIN
    if apart is not None and apart.ways.way is Way.UNIT:
        # Its home is that of its user; systemd has told it to the runner. Landlock adds only that calls do not see
        # each other.
        how = runner.IF_POSSIBLE
    else:
        usual["HOME"] = _home()
        if apart is not None and apart.ways.way is Way.LANDLOCK:
            how, hidden = runner.REQUIRED, apart.hidden
    if zone := os.environ.get("TZ"):
        usual["TZ"] = zone
    given = [os.fsencode(f"{variable}={value}") for variable, value in (usual | dict(environment)).items()]
    try:
        encoded = [os.fsencode(argument) for argument in arguments]
        return runner.Job(encoded, given, os.fsencode(directory), list(hidden), how).encoded()
    except ValueError:
        raise NotStartedError(f"{name} could not be started: it cannot be given these arguments.") from None


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


# ---------------------------------------------------------------- the runner


class _Pipes(NamedTuple):
    """This side's ends, without buffers. A context manager."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


class _Running(Protocol):
    """A program at the other end of pipes. ended_s: when it was told to end; None: it was not."""

    ended_s: float | None

    def fileno(self) -> int:
        """A descriptor that can be read when the program has ended."""

    def end(self) -> None:
        """Kills the program."""

    def told_end(self) -> int:
        """The exit code, or the negative number of a signal; only once the descriptor can be read."""


class _Child:
    """A _Running that is a child of this process. A context manager, after which it is over."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Raises OSError; then it is over, too."""
        self.ended_s: float | None = None
        self._process = process
        try:
            self._descriptor = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.wait()
            raise

    def fileno(self) -> int:
        return self._descriptor

    def end(self) -> None:
        if self.ended_s is None:
            self.ended_s = time.monotonic()
        self._process.kill()

    def told_end(self) -> int:
        return self._process.wait()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILLED_S)


class _Runner:
    """The connection to one. process: where it is a child of this process."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self.connection = connection
        self.ended_s: float | None = None  # when it was told to end
        self._process = process
        self._is_cut = False

    def fileno(self) -> int:
        return self.connection.fileno()

    def cut(self) -> None:
        """Before it has started the program: nobody waits for that any more."""
        self._is_cut = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """It kills the program with all that this has started, and tells so."""
        if self.ended_s is None:
            self.ended_s = time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def start(self, job: bytes, name: str, directory: str) -> _Pipes | None:
        """None: it was cut. Raises NotStartedError."""
        self.connection.settimeout(_START_S)
        try:
            self.connection.sendall(job)
            record, ancillary, _, _ = self.connection.recvmsg(
                runner.RECORD_BYTES, socket.CMSG_SPACE(3 * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError:
            raise NotStartedError(f"{name} could not be started within {_START_S:g} s.") from None
        except OSError:
            record, ancillary = b"", []
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if record[:1] == runner.STARTED and len(descriptors) == 3:
            stdin, stdout, stderr = descriptors
            return _Pipes(os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0), os.fdopen(stderr, "rb", 0))
        for descriptor in descriptors:
            os.close(descriptor)
        if record:
            raise _why_not(record, name, directory)
        if self._is_cut:
            return None
        raise NotStartedError(f"{name} could not be started: {self._why_silent()}.")

    def _why_silent(self) -> str:
        if self._process is not None:
            return f"its runner has ended with {self._process.wait()}"
        return f"too many run at once, or {apart_module.UNIT} fails (journalctl -u '{apart_module.UNIT}')"

    def told_end(self) -> int:
        """How the program ended; to be asked when the connection has something to say."""
        try:
            record = self.connection.recv(runner.RECORD_BYTES, socket.MSG_WAITALL)
        except OSError:
            record = b""
        if record[:1] != runner.ENDED or len(record) != runner.RECORD_BYTES:
            # The runner itself was ended, with all of its unit, as when memory was short.
            return _KILLED
        return int.from_bytes(record[1:], "big", signed=True)

    def close(self) -> None:
        """Nothing of it is left, at most a moment later."""
        self.connection.close()
        if self._process is None:
            return
        try:
            self._process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:
            # Somebody has stopped it; the program goes with it, by its parent-death signal.
            self._process.kill()
            self._process.wait()
        _trusted.discard(self._process.pid)


def _why_not(record: bytes, name: str, directory: str) -> NotStartedError:
    stage, code = record[:1], int.from_bytes(record[1:], "big")
    missing = directory if stage == runner.NO_DIRECTORY else name
    if stage == runner.NOT_APART:
        text = f"{name} was not run, for it could not be kept apart from the daemon: {os.strerror(code)}."
    elif code == 2:
        text = f"{missing} does not exist on this device."
    elif code == 13:
        text = f"{name} may not be run by this user."
    else:
        text = f"{name} could not be started: {os.strerror(code)}."
    return NotStartedError(text)


@contextlib.contextmanager
def _connected(apart: Apart | None, name: str) -> Iterator[_Runner]:
    try:
        found = _unit() if apart is not None and apart.ways.way is Way.UNIT else _child(is_trusted=apart is None)
    except (ConnectionError, FileNotFoundError, PermissionError, BlockingIOError, TimeoutError) as error:
        place = apart_module.SOCKET
        why = f"{place} does not answer ({error.strerror or error}); see systemctl status {place.name}"
        raise NotStartedError(f"{name} could not be started: {why}.") from None
    except OSError as error:
        raise NotStartedError(f"{name} could not be started: {error.strerror or error}.") from None
    try:
        yield found
    finally:
        found.close()


def _unit() -> _Runner:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_START_S)
        connection.connect(str(apart_module.SOCKET))
    except BaseException:
        connection.close()
        raise
    return _Runner(connection, None)


def _child(*, is_trusted: bool) -> _Runner:
    ours, theirs = socket.socketpair()
    try:
        # Without the site's packages, of which it needs none.
        command = [sys.executable, "-I", "-S", "-B", runner.__file__]
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd="/", env={}, start_new_session=True
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    if is_trusted:
        _trusted.add(process.pid)
    return _Runner(ours, process)


# ---------------------------------------------------------------- the conversation with the program


def _converse(pipes: _Pipes, program: _Running, stdin: bytes, most_bytes: int | None, until_s: float | None) -> Ran:
    limit_bytes = MAX_OUTPUT_BYTES if most_bytes is None else most_bytes
    collected = {pipes.stdout.fileno(): bytearray(), pipes.stderr.fileno(): bytearray()}
    waiting = memoryview(stdin)
    status: int | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(program, selectors.EVENT_READ)
        for pipe in collected:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        os.set_blocking(pipes.stdin.fileno(), False)
        selector.register(pipes.stdin, selectors.EVENT_WRITE)
        while status is None:
            now_s = time.monotonic()
            if until_s is not None and now_s >= until_s:
                program.end()
            if program.ended_s is not None and now_s >= program.ended_s + _KILLED_S:
                # Its answer is not waited for any longer.
                status = _KILLED
                break
            wait_s = _LOOK_S if until_s is None else min(_LOOK_S, max(0.0, until_s - now_s))
            for key, _ in selector.select(wait_s if program.ended_s is None else _LOOK_S):
                if key.fileobj is program:
                    status = program.told_end()
                elif key.fileobj is pipes.stdin:
                    waiting = _feed(key.fd, waiting)
                    if not waiting:
                        selector.unregister(pipes.stdin)
                        pipes.stdin.close()
                elif not _read(key.fd, collected[key.fd], limit_bytes):
                    selector.unregister(key.fd)
                elif len(collected[key.fd]) > limit_bytes:
                    if most_bytes is not None:
                        program.end()
                    # A program that writes without end must not keep this process busy with discarding the output.
                    time.sleep(_PAUSE_S)
    for pipe, data in collected.items():
        for _ in range(max(limit_bytes, MAX_OUTPUT_BYTES) // _PIECE_BYTES):
            if not _read(pipe, data, limit_bytes):
                break
    is_cut = len(collected[pipes.stdout.fileno()]) > limit_bytes
    written, said = (bytes(data[:limit_bytes]) for data in collected.values())
    return Ran(status, written.decode("utf-8", "replace"), said.decode("utf-8", "replace"), is_cut, written)


def _feed(pipe: int, waiting: memoryview) -> memoryview:
    """The rest that is still to be written; empty if nobody reads."""
    if not waiting:
        return waiting
    try:
        return waiting[os.write(pipe, waiting[:_PIECE_BYTES]) :]
    except BlockingIOError:
        return waiting
    except OSError:
        return waiting[:0]


def _read(pipe: int, data: bytearray, limit_bytes: int) -> bool:
    """Takes what is there, and keeps it up to one byte beyond the limit. False: at its end, or nothing more now."""
    try:
        piece = os.read(pipe, _PIECE_BYTES)
    except OSError:
        return False
    data += piece[: limit_bytes + 1 - len(data)]
    return bool(piece)
