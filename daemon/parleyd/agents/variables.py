"""Dynamic variables: their values are read again for each session, from the environment, files and commands.

A session waits for them no longer than LONGEST_S, before the connection is opened. If a value cannot be read, its last
value is used, otherwise its default: a device that stays silent because a forecast is late would be worse. Without
either the variable is left out, and an agent that needs it says so.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence

from parleyd.config.schema import Scalar, Variable
from parleyd.core.no_memory import in_words
from parleyd.host import apart as apart_module
from parleyd.host import subprocesses
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop
from parleyd.host.told_once import ToldOnce

log = logging.getLogger(__name__)

LONGEST_S = 3.0
MOST_BYTES = 4096
# The only variables of the environment that a command gets; others may contain secrets.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_TIME")


class NotFoundError(Exception):
    """Why there is no value, in a few words and without it."""


class Variables:
    """configured: plain values, and where others are found. apart: how commands are kept apart from the daemon; None:
    as this machine can. Thread-safe."""

    def __init__(self, configured: Mapping[str, Scalar | Variable], apart: Apart | None = None) -> None:
        self._apart = apart
        self._plain = {name: value for name, value in configured.items() if not isinstance(value, Variable)}
        self._sources = {name: value for name, value in configured.items() if isinstance(value, Variable)}
        self._changed = threading.Condition()
        self._last: dict[str, Scalar] = {
            name: source.default for name, source in self._sources.items() if source.default is not None
        }
        self._failures: dict[str, str] = {}
        self._told = {name: ToldOnce(log) for name in self._sources}
        self._looking: set[str] = set()
        self._until_s = 0.0

    @property
    def plain(self) -> dict[str, Scalar]:
        """The values that stand in the configuration itself."""
        return dict(self._plain)

    @property
    def failures(self) -> dict[str, str]:
        """For each name the reason why its value could not be read the last time."""
        with self._changed:
            return dict(self._failures)

    def refresh(self) -> None:
        """Starts reading the values; returns at once."""
        with self._changed:
            self._until_s = time.monotonic() + LONGEST_S
            # A value that is still being read, in a file system that hangs, is not read twice.
            names = self._sources.keys() - self._looking
            self._looking |= names
        for name in names:
            try:
                threading.Thread(target=self._look, args=(name,), name="dynamic variable", daemon=True).start()
            except RuntimeError:
                with self._changed:
                    self._looking.discard(name)
                    self._failures[name] = "the system has no thread left to look for it"

    def values(self) -> dict[str, Scalar]:
        """All values that are known; waits for those that are being read."""
        with self._changed:
            while self._looking and (left_s := self._until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            for name in self._looking:
                self._failures[name] = f"it was not found within {LONGEST_S:g} s"
            for name, told in self._told.items():
                if (why := self._failures.get(name)) is None:
                    told.over(f"the dynamic variable {name} is found again")
                else:
                    instead = "its last value or default is used" if name in self._last else "it is left out"
                    told.trouble(f"the dynamic variable {name}: {why}; {instead}", "fix its source, or give a default")
            # In the order of the configuration, plain values first.
            found = {name: self._last[name] for name in self._sources if name in self._last}
            return {**self._plain, **found}

    def _look(self, name: str) -> None:
        value: str | None = None
        why = ""
        try:
            value = find(self._sources[name], LONGEST_S, self._apart)
        except NotFoundError as error:
            why = str(error)
        except OSError as error:
            # There is no file handle left to wait for a command's output.
            why = error.strerror or str(error)
        except MemoryError as error:
            why = in_words(error)
        with self._changed:
            self._looking.discard(name)
            if value is None:
                self._failures[name] = why
            else:
                self._last[name] = value
                self._failures.pop(name, None)
            self._changed.notify_all()


def find(source: Variable, timeout_s: float, apart: Apart | None = None) -> str:
    """Reads a value. Blocks, for a file on a network perhaps longer than the limit. Raises NotFoundError."""
    if source.env is not None:
        value = os.environ.get(source.env)
        if value is None:
            raise NotFoundError(f"the environment variable {source.env} is not set")
        content = value.encode("utf-8", "replace")
    elif source.file is not None:
        content = _read(source.file)
    else:
        content = _output(source, source.command or [], timeout_s, apart)
    if len(content) > MOST_BYTES:
        raise NotFoundError(f"it has more than {MOST_BYTES} bytes")
    return content.decode("utf-8", "replace").strip()


def _read(path: str) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe without a writer must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        raise NotFoundError(f"{path} cannot be read: {reason}") from None


def _output(source: Variable, command: Sequence[str], timeout_s: float, apart: Apart | None) -> bytes:
    until_s = time.monotonic() + timeout_s
    try:
        ran = subprocesses.run(
            command,
            apart=None if source.run_as == "daemon" else apart or apart_module.here(),
            directory="/",
            environment={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            stdin=b"",
            stop=Stop(),
            most_bytes=MOST_BYTES,
            until_s=until_s,
        )
    except subprocesses.NotStartedError as error:
        raise NotFoundError(str(error).rstrip(".")) from None
    if ran.is_cut:
        return b" " * (MOST_BYTES + 1)
    if ran.status != 0:
        if time.monotonic() >= until_s:
            raise NotFoundError(f"{command[0]} took longer than {timeout_s:g} s")
        how = f"signal {-ran.status}" if ran.status < 0 else f"exit code {ran.status}"
        raise NotFoundError(f"{command[0]} ended with {how}")
    return ran.output.encode("utf-8", "replace")
