"""The client of the control socket, for commands and other programs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from parleyd.control.peer import peer
from parleyd.control.protocol import PROTOCOL, SOCKET_NAME
from parleyd.core.errors import UserError
from parleyd.host.directories import SYSTEM_RUNTIME, runtime_place

ENVIRONMENT = "PARLEYD_SOCKET"
ANSWER_S = 10.0
TURN_LOOK_S = 0.05
_RESTART = "restart it: sudo systemctl restart parleyd (a user's service: systemctl --user restart parleyd)"
_STUCK = f"the daemon does not answer within {ANSWER_S:g} s: it is stuck"


class NotRunningError(UserError):
    """No daemon answers. hint: how to start one."""

    hint: str


class NobodyListensError(NotRunningError):
    """No daemon runs, as far as this user can see."""


class StuckError(NotRunningError):
    """A daemon listens, and does not answer."""


class NotAllowedError(NotRunningError):
    """This user may not connect to the daemon, if there is one."""


class TurnError(Exception):
    """Another program waits for an answer of the agent, for longer than this one may wait."""


class GoneError(NotRunningError):
    """The daemon was there, and has ended, or ended the connection."""

    def __init__(self) -> None:
        super().__init__("the daemon has ended, or dropped this connection", "see its log: journalctl -u parleyd")


class RefusedError(UserError):
    """The daemon's answer is an error. kind: see docs/control.md."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("text", "the daemon refuses")), error.get("hint"))
        self.kind = str(error.get("kind", ""))


def places() -> tuple[Path, ...]:
    """Returns the possible paths of the socket: that in the environment, or this user's daemon, then the system's."""
    told = os.environ.get(ENVIRONMENT)
    if told:
        return (Path(told),)
    try:
        return runtime_place() / SOCKET_NAME, SYSTEM_RUNTIME / SOCKET_NAME
    except OSError:
        return (SYSTEM_RUNTIME / SOCKET_NAME,)


class Client:
    """A context manager. socket_path: None: the first of places() at which somebody listens. Raises NotRunningError."""

    def __init__(self, socket_path: Path | None = None) -> None:
        self._connection, self._path = _connect((socket_path,) if socket_path else places())
        self._connection.settimeout(ANSWER_S)
        self._lines = self._connection.makefile("rb")
        greeting = self._read_answer()
        if "parleyd" not in greeting:
            raise _not_parleyd()
        if greeting.get("protocol") != PROTOCOL:
            text = f"the daemon is parleyd {greeting['parleyd']}, and speaks another protocol than this program"
            raise NotRunningError(text, _RESTART)
        self._asked = 0
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that reads here would hold up the closing until the next line.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        """Returns the result. Raises RefusedError, and NotRunningError if the daemon ends or does not answer."""
        return self._ask(do, fields, [])

    def send_file(self, descriptor: int, name: str, text: str | None = None) -> int:
        """Returns the upload's number, which the event about its end has too. Raises the errors of ask()."""
        return int(self._ask("send_file", {"name": name, "text": text}, [descriptor])["upload"])

    def announce_sound(self, descriptor: int, name: str, *, now: bool = False) -> int:
        """descriptor: of an open WAV file. Returns the announcement's number. Raises the errors of ask()."""
        return int(self._ask("announce_sound", {"name": name, "now": now}, [descriptor])["announcement"])

    def stop(self, timeout_s: float) -> bool:
        """Ends the daemon. Returns whether it has ended within timeout_s. Raises RefusedError and StuckError."""
        with self._process() as ends:
            # The daemon may be stopping already, and close the connection.
            with contextlib.suppress(GoneError):
                self.ask("stop")
            return bool(select.select([ends], [], [], timeout_s)[0])

    @property
    def daemon_pid(self) -> int:
        """Returns the daemon's process id, or 0 if it is in another namespace."""
        return peer(self._connection).pid

    @contextlib.contextmanager
    def _process(self) -> Iterator[int]:
        """Yields a descriptor that becomes readable when the daemon's process has ended: pidfd_open(2).

        If the process is in another namespace, or the kernel has no pidfd, the descriptor is that of the connection,
        which ends a little earlier.
        """
        try:
            descriptor = os.pidfd_open(self.daemon_pid)
        except OSError:
            yield self._connection.fileno()
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _ask(self, do: str, fields: dict[str, object], descriptors: list[int]) -> dict[str, Any]:
        self._asked += 1
        request = {"do": do, "id": self._asked} | fields
        line = json.dumps(request).encode() + b"\n"
        # If the daemon has closed the connection, its reason may be waiting; it is read below.
        with contextlib.suppress(OSError):
            sent_bytes = socket.send_fds(self._connection, [line], descriptors) if descriptors else 0
            self._connection.sendall(line[sent_bytes:])
        while True:
            told = self._read_answer()
            if "event" in told:
                self._events.append(told)
            elif told["ok"]:
                result: dict[str, Any] = told["result"]
                return result
            else:
                raise RefusedError(told["error"])

    def events(self, timeout_s: float | None = None) -> Iterator[dict[str, Any]]:
        """Yields the events, after ask("events"). Raises NotRunningError when the daemon ends, TimeoutError when no
        event comes for timeout_s."""
        self._connection.settimeout(timeout_s)
        while True:
            yield self._events.pop(0) if self._events else self._read()

    def events_until(self, until_s: float) -> Iterator[dict[str, Any]]:
        """Yields the events up to that monotonic time, after ask("events"). Raises NotRunningError."""
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                event = next(self.events(left_s))
            except TimeoutError:
                return
            yield event

    @contextlib.contextmanager
    def turn(self, until_s: float) -> Iterator[None]:
        """Holds the turn: no other program that takes turns waits for an answer of the agent. Raises TurnError.

        Turns are needed because nothing in the agent's answers shows to which text they belong.
        """
        try:
            place = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # A user who may use the socket may be unable to open its folder; then nobody waits.
            yield
            return
        try:
            while not _locked(place):
                if time.monotonic() >= until_s:
                    raise TurnError("another program still waits for the answer to its own text")
                time.sleep(TURN_LOOK_S)
            yield
        finally:
            os.close(place)

    def _read_answer(self) -> dict[str, Any]:
        try:
            return self._read()
        except TimeoutError as error:
            raise StuckError(_STUCK, _RESTART) from error

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except ConnectionError as error:
            raise GoneError from error
        if not line.endswith(b"\n"):
            # The daemon drops a slow reader in the middle of a line.
            raise GoneError
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise _not_parleyd()
        return told


def _connect(paths: tuple[Path, ...]) -> tuple[socket.socket, Path]:
    for path in paths:
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            hint = "the kernel gives this program no file handle or no memory: see the limits of its unit"
            raise NotRunningError(f"cannot talk to the daemon: {error.strerror or error}", hint) from error
        try:
            # While many clients connect at once, only the kernel's own timeout ends the wait.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(ANSWER_S))
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
        except PermissionError as error:
            connection.close()
            hint = "sudo adduser $USER parleyd, then log in again"
            raise NotAllowedError(f"this user may not talk to the daemon at {path}", hint) from error
        except BlockingIOError as error:
            connection.close()
            raise StuckError(_STUCK, _RESTART) from error
        except OSError as error:
            connection.close()
            raise NotRunningError(f"cannot talk to the daemon at {path}: {error.strerror or error}", "") from error
        else:
            return connection, path
    where = " or ".join(str(path) for path in paths)
    hint = (
        "start it: sudo systemctl start parleyd (a user's service: systemctl --user start parleyd; "
        "in a terminal: parleyd run -c FILE)"
    )
    raise NobodyListensError(f"parleyd is not running: nobody listens at {where}", hint)


def timeval(seconds: float, option: int = socket.SO_SNDTIMEO) -> bytes:
    """Returns the bytes that the socket option takes. Its number tells the size of the kernel's time:
    asm-generic/socket.h: 67 is SO_SNDTIMEO_NEW, with 64 bits on 32-bit machines, too."""
    return struct.pack("@qq" if option == 67 else "@ll", int(seconds), int(seconds % 1 * 1e6))


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks (flock(2)); then nobody waits.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return True


def _not_parleyd() -> NotRunningError:
    return NotRunningError("what listens there is not parleyd", "name the daemon's socket with --socket PATH")
