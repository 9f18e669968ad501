"""The transcript's files: one for each day, more where it grows large; old ones are deleted.

The size of a day and of all files is limited, because the texts that an agent sends must not fill the disk. A full day
ends with a line that says so.

`2026-11-21.jsonl`, `2026-11-21.1.jsonl`, ...: name_key() gives their order.
"""

from __future__ import annotations

import contextlib
import os
import re
from datetime import date, timedelta
from pathlib import Path

from parleyd.host.files import open_own

_NAME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:\.(?P<part>\d+))?\.jsonl")
DIRECTORY_NAME = "transcripts"


def name_key(name: str) -> tuple[date, int] | None:
    """The sort key of a file name; None for files that are not part of the transcript."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    try:
        return date.fromisoformat(found["day"]), int(found["part"] or 0)
    except ValueError:
        return None


def listed(directory: Path) -> list[Path]:
    """The transcript's files, oldest first. Raises OSError."""
    keyed = [(key, path) for path in directory.iterdir() if (key := name_key(path.name))]
    return [path for _, path in sorted(keyed)]


def _day(path: Path) -> date | None:
    key = name_key(path.name)
    return key[0] if key else None


class Files:
    """One writer. Files are readable by their owner alone."""

    def __init__(
        self, directory: Path, *, keep_days: int, max_bytes: int, day_bytes: int = 2**62, total_bytes: int = 2**62
    ) -> None:
        self._directory = directory
        self._keep_days = keep_days
        # At least two files must fit, because the newest is never deleted.
        self._max_bytes = min(max_bytes, day_bytes, total_bytes // 2)
        self._day_bytes = day_bytes
        self._total_bytes = total_bytes
        self._day: date | None = None
        self._full: date | None = None

    def append(self, today: date, line: bytes, full_line: bytes = b"") -> bool:
        """Appends a line, completely or not at all. line: with its newline. full_line: the last line of a full day.
        Returns whether there was room for it. Raises OSError."""
        if self._full == today:
            return False
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sizes = {path: path.stat().st_size for path in listed(self._directory)}
        used_bytes = sum(size for path, size in sizes.items() if _day(path) == today)
        if used_bytes + len(line) > self._day_bytes:
            # After a restart the last line may be written again, as long as the limit allows it.
            if used_bytes <= self._day_bytes and full_line:
                self._write(self._current(today, len(full_line)), full_line)
            self._full = today
            return False
        self._make_room(sizes, len(line))
        self._write(self._current(today, len(line)), line)
        return True

    def _make_room(self, sizes: dict[Path, int], more_bytes: int) -> None:
        """Deletes the oldest files, but never the newest."""
        total_bytes = sum(sizes.values()) + more_bytes
        for path in list(sizes)[:-1]:
            if total_bytes <= self._total_bytes:
                return
            path.unlink(missing_ok=True)
            total_bytes -= sizes[path]

    def _write(self, path: Path, line: bytes) -> None:
        descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.fchmod(descriptor, 0o600)
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, "No space left on device")
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _current(self, today: date, more_bytes: int) -> Path:
        parts = [key[1] for path in listed(self._directory) if (key := name_key(path.name)) and key[0] == today]
        part = max(parts, default=0)
        path = self._path(today, part)
        full = path.exists() and path.stat().st_size > 0 and path.stat().st_size + more_bytes > self._max_bytes
        return self._path(today, part + 1) if full else path

    def _path(self, today: date, part: int) -> Path:
        return self._directory / (f"{today.isoformat()}.{part}.jsonl" if part else f"{today.isoformat()}.jsonl")

    def delete_old(self, today: date) -> None:
        """Deletes files older than keep_days; once a day is enough. Raises OSError."""
        if self._day == today or not self._directory.exists():
            return
        first = today - timedelta(days=min(self._keep_days, today.toordinal() - 1))
        for path in listed(self._directory):
            if (key := name_key(path.name)) and key[0] < first:
                path.unlink(missing_ok=True)
        self._day = today
