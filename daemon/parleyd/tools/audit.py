"""The audit log: all calls that were run, approved or refused for the agent, as JSON lines.

Each line is appended with a single write to a file opened with O_APPEND, so that several processes can write, and a
power cut costs the last line at most. A thread of its own writes; callers never wait for the disk.

An agent decides how often its calls are refused. Therefore refusals have files of their own and never displace the
entries of calls that were run or approved; a few refusals of each kind per minute are written, the others are counted.
An agent also decides how often it makes an allowed call. Therefore each tool has a share of bytes, which is refilled
over a day; calls beyond the share are counted by the hour, and the entries of other tools stay. A person's answer is
always written. Each line is logged as well (under systemd in the journal), where programs that can write these files
cannot change it; the logged line has no parameters, because more people may read the log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct, field

from parleyd.config.secrets import mask_by_name
from parleyd.core.health import Pulse
from parleyd.core.log_fields import NOTICE
from parleyd.core.log_fields import fields as log_fields
from parleyd.core.text import bounded, name_text, without
from parleyd.host.files import open_own
from parleyd.tools.parameters import MAX_BYTES

log = logging.getLogger(__name__)

FILE_NAME = "audit.jsonl"
OLD_FILES = 3
REFUSED_NAME = "audit-refused.jsonl"
OLD_REFUSED = 1
# Refusals of one kind that are written in a minute; for the others, one entry has their number and some tools' names.
MOST_ALIKE = 20
FOLD_S = 60.0
_MAX_NAMES = 10
# The bytes that one tool may write at once, unless this part of a file is less. The share is refilled within a day.
SHARE_BYTES = 32 * 1024
_SHARE_OF_FILE = 4
DAY_S = 86_400.0
# The interval at which the number of a tool's calls beyond its share is written.
HOUR_S = 3600.0
_MAX_NAME_CHARS = 80
MAX_PARAMETERS_CHARS = 2000
MAX_TEXT_CHARS = 500
# The most lines that wait for a slow disk; further lines are dropped, and the log has their number.
MAX_WAITING = 500
CLOSE_S = 2.0


def bounded_parameters(parameters: Mapping[str, object], secrets: tuple[str, ...] = ()) -> object:
    """Returns the parameters for the audit log: masked by name and by value, and as cut text if they are long.

    Parameters that are too large for every tool are replaced by their size, because the session must not wait until a
    megabyte has been masked.
    """
    try:
        # A lone surrogate has no UTF-8. Only a call by hand can contain one.
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
    # Masking may have made the JSON invalid.
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Alike(Struct):
    """The refusals of one kind since began_s."""

    began_s: float
    seen: int = 0
    folded: int = 0
    first_at: str = ""
    last_at: str = ""
    tools: dict[str, None] = field(default_factory=dict)


class Folding:
    """Decides which refusals are written, and counts the others. now_s: monotonic; at: the time as in the log.

    A kind is the sort of call and the reason of its refusal, never a name that the agent chose: so there are few kinds.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[str, str], _Alike] = {}

    def takes(self, now_s: float, at: str, what: str, outcome: str, tool: str) -> bool:
        """Counts this refusal instead of writing it: returns True if so. Call over() first."""
        alike = self._alike.setdefault((what, outcome), _Alike(now_s))
        alike.seen += 1
        if alike.seen <= MOST_ALIKE:
            return False
        alike.folded += 1
        alike.first_at, alike.last_at = alike.first_at or at, at
        if len(alike.tools) < _MAX_NAMES:
            alike.tools.setdefault(bounded(tool, _MAX_NAME_CHARS))
        return True

    def over(self, now_s: float) -> list[dict[str, object]]:
        """Returns the entries for all kinds whose minute is over."""
        over = {kind: alike for kind, alike in self._alike.items() if now_s - alike.began_s >= FOLD_S}
        self._alike = {kind: alike for kind, alike in self._alike.items() if kind not in over}
        return [
            {
                "what": what,
                "outcome": outcome,
                "more": alike.folded,
                "first": alike.first_at,
                "last": alike.last_at,
                "tools": ", ".join(alike.tools),
            }
            for (what, outcome), alike in over.items()
            if alike.folded
        ]

    def due_s(self, now_s: float) -> float | None:
        """Returns the seconds until over() has entries; None: nothing is counted."""
        due = [alike.began_s + FOLD_S - now_s for alike in self._alike.values() if alike.folded]
        return max(0.0, min(due)) if due else None


class _Share(Struct):
    """One tool: the bytes that it may still write, as of at_s; and its counted calls since began_s."""

    left_bytes: float
    at_s: float
    began_s: float = 0.0
    folded: int = 0
    first_at: str = ""
    last_at: str = ""
    outcomes: dict[str, int] = field(default_factory=dict)


class Shares:
    """Decides which entries of calls are written, and counts the others. now_s: monotonic; at: the time as in the log.

    The tools are those of the configuration, so there are few.
    """

    def __init__(self, share_bytes: int) -> None:
        self._share_bytes = share_bytes
        self._of: dict[str, _Share] = {}

    def takes(self, now_s: float, at: str, tool: str, outcome: str, size_bytes: int, is_written: bool | None) -> bool:
        """Counts this entry instead of writing it: returns True if so. Call over() first.

        is_written: for an entry that continues an earlier one, whether the earlier one was written. Then this one is
        treated in the same way, so that no call is recorded by half. None: this is a first entry.
        """
        share = self._of.setdefault(tool, _Share(self._share_bytes, now_s))
        grown_bytes = (now_s - share.at_s) / DAY_S * self._share_bytes
        share.left_bytes, share.at_s = min(self._share_bytes, share.left_bytes + grown_bytes), now_s
        if share.left_bytes >= size_bytes if is_written is None else is_written:
            share.left_bytes -= size_bytes
            return False
        if not share.folded:
            share.began_s, share.first_at = now_s, at
        share.folded += 1
        share.last_at = at
        share.outcomes[outcome] = share.outcomes.get(outcome, 0) + 1
        return True

    def over(self, now_s: float) -> list[dict[str, object]]:
        """Returns the entries for all tools whose hour is over."""
        told: list[dict[str, object]] = []
        for tool, share in self._of.items():
            if share.folded and now_s - share.began_s >= HOUR_S:
                outcomes = ", ".join(f"{outcome} {count}" for outcome, count in share.outcomes.items())
                entry = {"what": "counted", "tool": tool, "more": share.folded, "outcomes": outcomes}
                told.append({**entry, "first": share.first_at, "last": share.last_at})
                share.folded = 0
                share.outcomes.clear()
        return told

    def due_s(self, now_s: float) -> float | None:
        """Returns the seconds until over() has entries; None: nothing is counted."""
        due = [share.began_s + HOUR_S - now_s for share in self._of.values() if share.folded]
        return max(0.0, min(due)) if due else None


class _Entry(Struct, frozen=True):
    data: bytes
    is_refusal: bool = False


class Audit:
    """folder: the state directory; None: nothing is written. limit_bytes: the size at which a new file begins.

    close() waits CLOSE_S at most until all waiting lines are written; lines that are added later are written as well.
    """

    def __init__(self, folder: Path | None, limit_bytes: int) -> None:
        self._is_kept = folder is not None
        self._path = (folder or Path("/")) / FILE_NAME
        self._limit_bytes = limit_bytes
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(MAX_WAITING)
        self._folding = Folding()
        self._shares = Shares(min(SHARE_BYTES, limit_bytes // _SHARE_OF_FILE))
        self._lost = 0
        self._in_trouble = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told_no_thread = False
        self.pulse = Pulse("tools-audit")

    def add(self, is_written: bool | None = None, /, **fields: object) -> bool:
        """Adds one line, with the time as `at`. Never blocks, never raises. Returns whether the line itself is written.

        is_written: the result of add() for the beginning of the same call, if there was one.
        """
        at, now_s = _now(), time.monotonic()
        is_refusal = _is_refusal(fields)
        # Counted entries are not encoded, so that a flood costs little.
        data = b"" if is_refusal or is_written is False else _encoded(at, fields)
        with self._lock:
            self._put_over(now_s)
            was_due_s = self._due_s(now_s)
            what, outcome, tool = (str(fields.get(name, "")) for name in ("what", "outcome", "tool"))
            if is_refusal:
                is_counted = self._folding.takes(now_s, at, what, outcome, tool)
            elif fields.get("by") == "person":
                is_counted = False
            else:
                # The agent chooses the names of the calls that it wants approved; all of these have one share.
                kind = what if what == "approval" else tool or what
                is_counted = self._shares.takes(now_s, at, kind, outcome or what, len(data), is_written)
            if not is_counted:
                self._put_line(_Entry(data or _encoded(at, fields), is_refusal), fields)
            elif was_due_s is None or self._due_s(now_s) != was_due_s:
                # The thread wakes and computes when the counts are due.
                self._put(_Entry(b""))
        return not is_counted

    def _due_s(self, now_s: float) -> float | None:
        """Returns the seconds until counted entries are due. The lock is held."""
        due_s = (self._folding.due_s(now_s), self._shares.due_s(now_s))
        return min((one for one in due_s if one is not None), default=None)

    def _put_over(self, now_s: float) -> None:
        """Queues the counted entries that are due. The lock is held."""
        for fields in self._folding.over(now_s):
            self._put_line(_Entry(_encoded(_now(), fields), is_refusal=True), fields)
        for fields in self._shares.over(now_s):
            self._put_line(_Entry(_encoded(_now(), fields)), fields)

    def _put_line(self, line: _Entry, fields: Mapping[str, object]) -> None:
        """Logs and queues a line. The lock is held."""
        log.log(NOTICE, "audit: %s", _told(fields), extra=_journal_fields(fields))
        self._put(line)

    def _put(self, line: _Entry) -> None:
        """Queues a line for the thread. The lock is held."""
        if not self._is_kept:
            return
        self._ensure_thread()
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        with self._lock:
            self._put_over(math.inf)
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
            # Waiting lines are written as soon as a thread can be started; the next add() tries again.
            if not self._told_no_thread:
                log.warning("the audit log is not written for now: the system has no thread left for it (%s)", error)
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
                self._write(self._path, [line.data for line in lines if not line.is_refusal], OLD_FILES)
                refused = self._path.with_name(REFUSED_NAME)
                self._write(refused, [line.data for line in lines if line.is_refusal], OLD_REFUSED)
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

    def _take(self) -> tuple[list[_Entry], bool]:
        """Blocks. Returns the lines that wait, to be written together, and whether more may come."""
        lines: list[_Entry] = []
        size_bytes = 0
        line = self._next()
        while line is not None:
            lines.append(line)
            size_bytes += len(line.data)
            if size_bytes >= self._limit_bytes // 8 or self._waiting.empty():
                return lines, True
            line = self._waiting.get()
        return lines, False

    def _next(self) -> _Entry | None:
        """Blocks until a line waits; queues counted entries when they are due. None: close() was called."""
        while True:
            with self._lock:
                due_s = self._due_s(time.monotonic())
            try:
                return self._waiting.get(timeout=due_s)
            except queue.Empty:
                with self._lock:
                    self._put_over(time.monotonic())

    def _write(self, path: Path, data: list[bytes], old_files: int) -> None:
        lines = b"".join(data)
        if not lines:
            return
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size + len(lines) > self._limit_bytes:
                _rotate(path, descriptor, old_files)
                os.close(descriptor)
                descriptor = _open(path)
            if not _ends_with_line_feed(descriptor):
                lines = b"\n" + lines  # ends the rest of a line that a power cut has torn
            os.write(descriptor, lines)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _is_refusal(fields: Mapping[str, object]) -> bool:
    """Returns whether the call was not made, without a person having decided it."""
    what = fields.get("what")
    is_denied = what in ("approval", "confirmation") and fields.get("outcome") == "denied"
    return what == "refused" or (is_denied and fields["by"] != "person")


def _encoded(at: str, fields: Mapping[str, object]) -> bytes:
    shown = {
        key: bounded(value, MAX_TEXT_CHARS) if isinstance(value, str) and key != "parameters" else value
        for key, value in fields.items()
    }
    return json.dumps({"at": at, **shown}, default=str).encode("ascii") + b"\n"


def _journal_fields(told: Mapping[str, object]) -> dict[str, object]:
    """Returns the fields for the journal: journalctl -u parleyd PARLEYD_TOOL=door_open."""

    def text(name: str) -> str | None:
        return str(told[name]) if name in told else None

    def number(name: str) -> int | None:
        value = told.get(name)
        return value if isinstance(value, int) else None

    return log_fields(
        audit=text("what"),
        tool=text("tool"),
        service=text("service"),
        outcome=text("outcome"),
        by=text("by"),
        uid=number("uid"),
        pid=number("pid"),
        role=text("role"),
    )


def _told(fields: Mapping[str, object]) -> str:
    """Returns the text for the log: without parameters, results and labels."""
    names = ("tool", "service", "outcome", "by", "uid", "pid", "role", "more", "outcomes", "tools", "call_id", "number")
    told = (f"{name} {name_text(bounded(str(fields[name]), MAX_TEXT_CHARS))}" for name in names if name in fields)
    return f"{fields.get('what')}: {', '.join(told)}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _open(path: Path) -> int:
    # O_NOFOLLOW: a symbolic link that somebody has put there is not followed.
    return open_own(path, os.O_RDWR | os.O_APPEND)


def _rotate(path: Path, descriptor: int, old_files: int) -> None:
    """Renames the files, unless another process has done it while this one waited for the lock."""
    here = os.fstat(descriptor)
    with contextlib.suppress(FileNotFoundError):
        if here.st_ino == path.stat().st_ino and here.st_size:
            for number in range(old_files, 0, -1):
                younger = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
                with contextlib.suppress(FileNotFoundError):
                    younger.replace(path.with_name(f"{path.name}.{number}"))


def _ends_with_line_feed(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
