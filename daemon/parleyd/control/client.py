"""The other end of the control socket, for commands."""

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
from parleyd.control.protocol import PROTOCOL
from parleyd.core.errors import UserError
from parleyd.host.directories import SYSTEM_RUNTIME, runtime_place

SOCKET_NAME = "control.sock"
ENVIRONMENT = "PARLEYD_SOCKET"
ANSWER_S = 10.0
TURN_LOOK_S = 0.05
_RESTART = "restart it: sudo systemctl restart parleyd (a user's service: systemctl --user restart parleyd)"
_STUCK = f"the daemon does not answer within {ANSWER_S:g} s: it is stuck"


class NotRunningError(UserError):
    """No daemon answers. hint: how to start one."""

    hint: str


class NobodyListensError(NotRunningError):
    """There is no daemon, as far as one can see."""


class StuckError(NotRunningError):
    """One listens, and does not answer."""


class NotAllowedError(NotRunningError):
    """This user may not talk to it, if there is one."""


class TurnError(Exception):
    """Another program waits for an answer, for longer than this one would."""


class _GoneError(NotRunningError):
    def __init__(self) -> None:
        super().__init__("the daemon has ended, or dropped this connection", "see its log: journalctl -u parleyd")


class RefusedError(UserError):
    """The daemon's answer is an error. kind: see docs/control.md."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("text", "the daemon refuses")), error.get("hint"))
        self.kind = str(error.get("kind", ""))


def places() -> tuple[Path, ...]:
    """Where the socket may be: as told by the environment, or this user's daemon, then the system's."""
    told = os.environ.get(ENVIRONMENT)
    if told:
        return (Path(told),)
    try:
        return runtime_place() / SOCKET_NAME, SYSTEM_RUNTIME / SOCKET_NAME
    except OSError:
        return (SYSTEM_RUNTIME / SOCKET_NAME,)


class Client:
    """A context manager. socket_path: else the first of places() at which somebody listens. Raises NotRunningError."""

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
        self._lines.close()
        self._connection.close()

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        """The result. Raises RefusedError, and NotRunningError when the daemon ends or does not answer."""
        return self._ask(do, fields, [])

    def send_file(self, descriptor: int, name: str, text: str | None = None) -> int:
        """→ the upload's number, as the event that tells its end has it. Raises as ask() does."""
        return int(self._ask("send_file", {"name": name, "text": text}, [descriptor])["upload"])

    def stop(self, timeout_s: float) -> bool:
        """Ends the daemon. → whether it has ended within timeout_s. Raises RefusedError and StuckError."""
        with self._process() as ends:
            # It may be on its way already, and hang up.
            with contextlib.suppress(_GoneError):
                self.ask("stop")
            return bool(select.select([ends], [], [], timeout_s)[0])

    @property
    def daemon_pid(self) -> int:
        """The daemon's process, or 0 where it is in another namespace."""
        return peer(self._connection).pid

    @contextlib.contextmanager
    def _process(self) -> Iterator[int]:
        """A descriptor that can be read from as soon as the daemon's process has ended: pidfd_open(2).

        Where it is in another namespace, or the kernel has no such thing, the end of the connection has to do, which
        comes a little before.
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
        # Where the daemon has closed the connection, it may have said why: that is read below.
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
        """What happens, after ask("events"). Raises NotRunningError when the daemon ends, TimeoutError when nothing
        happens for timeout_s."""
        self._connection.settimeout(timeout_s)
        while True:
            yield self._events.pop(0) if self._events else self._read()

    def events_until(self, until_s: float) -> Iterator[dict[str, Any]]:
        """What happens, after ask("events"), up to that monotonic time. Raises NotRunningError."""
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                event = next(self.events(left_s))
            except TimeoutError:
                return
            yield event

    @contextlib.contextmanager
    def turn(self, until_s: float) -> Iterator[None]:
        """While it lasts, no other program that takes turns waits for an answer of the agent. Raises TurnError.

        Nothing in the agent's answers tells to which text they belong."""
        try:
            place = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # Whoever may use the socket need not be able to read where it is.
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
            raise _GoneError from error
        if not line.endswith(b"\n"):
            # Who reads too slowly is dropped in the middle of a line.
            raise _GoneError
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise _not_parleyd()
        return told


def _connect(paths: tuple[Path, ...]) -> tuple[socket.socket, Path]:
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Where many want to connect at once, the kernel's own timeout alone waits.
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
    """As that option takes it: its number says how long the kernel's time is (asm-generic/socket.h: 67 is
    SO_SNDTIMEO_NEW, with 64 bits on 32-bit machines, too)."""
    return struct.pack("@qq" if option == 67 else "@ll", int(seconds), int(seconds % 1 * 1e6))


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Not every file system of a network has locks (flock(2)); then nobody waits.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return True


def _not_parleyd() -> NotRunningError:
    return NotRunningError("what listens there is not parleyd", "name the daemon's socket with --socket PATH")
