"""Reads the transcript's files, also while they are being written."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from parleyd.host.files import open_regular
from parleyd.transcript.files import listed, name_key

POLL_S = 0.3


class Entry(msgspec.Struct, frozen=True):
    """A line of a transcript; see turns.Turn."""

    time: datetime
    speaker: str
    text: str
    conversation: str = ""
    heard_ms: int | None = None
    answered_ms: int | None = None
    interrupted: bool = False


def entries(directory: Path, since: datetime | None) -> Iterator[tuple[str, Entry]]:
    """Yields (the line itself, its entry), in order. Raises OSError."""
    for path in listed(directory):
        # The file's name is a local date, and a line's time has its own offset; therefore one more day is read.
        if since is not None and (key := name_key(path.name)) and key[0] < since.date() - timedelta(days=1):
            continue
        with os.fdopen(open_regular(path), encoding="utf-8", errors="replace") as file:
            yield from _good(file, since)


def follow(
    directory: Path, since: datetime | None, wait: Callable[[float], None] = time.sleep
) -> Iterator[tuple[str, Entry]]:
    """Like entries(), and then all new lines; never ends."""
    read_bytes: dict[Path, int] = {}
    while True:
        try:
            paths = listed(directory)
        except FileNotFoundError:
            paths = []
        for path in paths:
            with os.fdopen(open_regular(path), "rb") as file:
                file.seek(read_bytes.get(path, 0))
                whole, _, _ = file.read().rpartition(b"\n")
                if whole:
                    read_bytes[path] = read_bytes.get(path, 0) + len(whole) + 1
                    yield from _good(whole.decode("utf-8", "replace").split("\n"), since)
        wait(POLL_S)


def _good(lines: Iterator[str] | list[str], since: datetime | None) -> Iterator[tuple[str, Entry]]:
    for raw in lines:
        line = raw.rstrip("\n")
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.MsgspecError, UnicodeError):
            continue
        if entry.time.tzinfo is not None and (since is None or entry.time >= since):
            yield line, entry


_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str, now: datetime) -> datetime:
    """Parses a time: `90m`, `2h` or `3d` before now; `today`; or a date or time such as 2026-11-21T18:00. Raises
    ValueError."""
    if found := _SPAN.fullmatch(text.strip()):
        try:
            return now - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        except OverflowError:
            raise ValueError(text) from None
    if text.strip() == "today":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    then = datetime.fromisoformat(text.strip())
    return then if then.tzinfo is not None else then.astimezone()
