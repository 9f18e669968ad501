"""The audit log: everything that was run, approved or refused on behalf of the agent, as JSON lines.

Each line is appended with one write to a file opened for it (O_APPEND), so that several processes can write, and a
power cut costs the last line at most. Who calls never waits for the disk: a thread of its own writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import queue
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from parleyd.config.secrets import mask_by_name
from parleyd.health import Pulse
from parleyd.tools.parameters import MAX_BYTES
from parleyd.tools.result import bounded, without

log = logging.getLogger(__name__)

FILE_NAME = "audit.jsonl"
OLD_FILES = 3
MAX_PARAMETERS_CHARS = 2000
MAX_TEXT_CHARS = 500
# What may wait for a slow disk; more is dropped, and the log says how much.
MAX_WAITING = 500
CLOSE_S = 2.0


def bounded_parameters(parameters: Mapping[str, object], secrets: tuple[str, ...] = ()) -> object:
    """As they shall be seen: masked by name and by value, cut to text when they are long, and not at all when no tool
    would take them: looking through a megabyte takes time that the line does not have."""
    try:
        # Half a character, which can come by hand alone, has no UTF-8.
        with contextlib.suppress(UnicodeEncodeError):
            size_bytes = len(msgspec.json.encode(parameters))
            if size_bytes > MAX_BYTES:
                return f"(of {size_bytes} bytes)"
        masked = mask_by_name(parameters)
        text = without(json.dumps(masked, ensure_ascii=True), secrets)
    except (TypeError, ValueError, RecursionError):
        return "(not JSON)"
    if len(text) > MAX_PARAMETERS_CHARS:
        return bounded(text, MAX_PARAMETERS_CHARS)
    # What has been masked may have lost its form.
    try:
        return json.loads(text)
    except ValueError:
        return text


class Audit:
    """folder: the state directory; None: nothing is written. limit_bytes: size at which a new file begins.

    close() writes what is waiting, within CLOSE_S; what is added later is written, too.
    """

    def __init__(self, folder: Path | None, limit_bytes: int) -> None:
        self._is_kept = folder is not None
        self._path = (folder or Path("/")) / FILE_NAME
        self._limit_bytes = limit_bytes
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._lost = 0
        self._in_trouble = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told_no_thread = False
        self.pulse = Pulse("tools-audit")

    def add(self, **fields: object) -> None:
        """One line; `at` is added. Never blocks, never raises."""
        if not self._is_kept:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = {
            key: bounded(value, MAX_TEXT_CHARS) if isinstance(value, str) and key != "parameters" else value
            for key, value in fields.items()
        }
        line = json.dumps({"at": at, **shown}, ensure_ascii=True, default=str).encode("ascii") + b"\n"
        with self._lock:
            self._ensure_thread()
            try:
                self._waiting.put_nowait(line)
            except queue.Full:
                self._lost += 1

    def close(self) -> None:
        with self._lock:
            if not self._waiting.empty():
                self._ensure_thread()
            thread = self._thread
        if thread is not None and thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=CLOSE_S)
            thread.join(CLOSE_S)

    def _ensure_thread(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._write_all, name="tools-audit", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # What waits is written when there is a thread again; the next entry asks for one.
            if not self._told_no_thread:
                log.warning("the audit log waits: the system has no thread left for it (%s)", error)
            self._told_no_thread = True
        else:
            self._thread, self._told_no_thread = thread, False

    # ------------------------------------------------------------ the thread

    def _write_all(self) -> None:
        going_on = True
        while going_on:
            self.pulse.rest()
            lines, going_on = self._take()
            self.pulse.beat()
            try:
                self._write(lines)
            except OSError as error:
                if not self._in_trouble:
                    log.warning("the audit log %s cannot be written: %s", self._path, error.strerror or error)
                self._in_trouble = True
            else:
                if self._in_trouble:
                    log.warning("the audit log can be written again")
                self._in_trouble = False
            with self._lock:
                lost, self._lost = self._lost, 0
            if lost:
                log.warning("%d entries of the audit log were lost: the disk is too slow", lost)
        self.pulse.rest()

    def _take(self) -> tuple[bytes, bool]:
        """Blocks. (what is waiting: one wait for the disk serves several lines; whether more may come)"""
        lines = b""
        line = self._waiting.get()
        while line is not None:
            lines += line
            if len(lines) >= self._limit_bytes // 8 or self._waiting.empty():
                return lines, True
            line = self._waiting.get()
        return lines, False

    def _write(self, lines: bytes) -> None:
        if not lines:
            return
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size + len(lines) > self._limit_bytes:
                self._rotate(descriptor)
                os.close(descriptor)
                descriptor = self._open()
            if not _ends_with_line_feed(descriptor):
                lines = b"\n" + lines  # the rest of a line that a power cut has torn
            os.write(descriptor, lines)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        # Not through a link that somebody has put there.
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _rotate(self, descriptor: int) -> None:
        """Unless another process has done it while we waited for the lock."""
        here = os.fstat(descriptor)
        with contextlib.suppress(FileNotFoundError):
            if here.st_ino == self._path.stat().st_ino and here.st_size:
                for number in range(OLD_FILES, 0, -1):
                    younger = self._path if number == 1 else self._path.with_name(f"{FILE_NAME}.{number - 1}")
                    with contextlib.suppress(FileNotFoundError):
                        younger.replace(self._path.with_name(f"{FILE_NAME}.{number}"))


def _ends_with_line_feed(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
