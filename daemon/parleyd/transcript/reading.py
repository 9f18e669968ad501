"""Reads the transcript's files, also while they are being written."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec

from parleyd.host.files import open_regular
from parleyd.transcript.files import listed, name_key

POLL_S = 0.3
# The most that is read from the files for one answer of the control socket. A line is a string in the answer, in which
# each quote needs a byte more.
PAGE_BYTES = 128 * 1024


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
            yield from read(file, since)


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
                    yield from read(whole.decode("utf-8", "replace").split("\n"), since)
        wait(POLL_S)


def read(lines: Iterable[str], since: datetime | None) -> Iterator[tuple[str, Entry]]:
    """Yields (the line itself, its entry) of the lines that are entries, and not before `since`."""
    for raw in lines:
        line = raw.rstrip("\n")
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.MsgspecError, UnicodeError):
            continue
        if entry.time.tzinfo is not None and (since is None or entry.time >= since):
            yield line, entry


class Page(msgspec.Struct, frozen=True):
    """Lines of the transcript. after: where the next page begins; "" while there is no file. more: there are further
    lines already."""

    lines: list[str]
    after: str
    more: bool


def next_page(directory: Path, since: datetime | None, after: str | None) -> Page:
    """The lines behind the place `after` (None: from the beginning), as many as fit into PAGE_BYTES. Raises OSError,
    and ValueError if `after` is not of an earlier page."""
    first, offset = _place(after)
    try:
        paths = listed(directory)
    except FileNotFoundError:
        paths = []
    lines: list[str] = []
    left_bytes = PAGE_BYTES
    reached = after or ""
    for path in paths:
        key = name_key(path.name)
        assert key is not None
        if first is not None and key < first:
            continue
        if since is not None and key[0] < since.date() - timedelta(days=1):
            continue
        with os.fdopen(open_regular(path), "rb") as file:
            begin = offset if key == first else 0
            file.seek(begin)
            piece = file.read(left_bytes)
            is_whole = not file.read(1)
        whole, _, _ = piece.rpartition(b"\n")
        if whole:
            begin += len(whole) + 1
            lines += [line for line, _ in read(whole.decode("utf-8", "replace").split("\n"), since)]
        elif not is_whole:
            # No line that the daemon writes is as long.
            begin += len(piece)
        reached = f"{path.name}:{begin}"
        left_bytes -= len(piece)
        if not is_whole or left_bytes <= 0:
            return Page(lines, reached, more=True)
    return Page(lines, reached, more=False)


def _place(after: str | None) -> tuple[tuple[date, int] | None, int]:
    if not after:
        return None, 0
    name, _, offset = after.rpartition(":")
    key = name_key(name)
    if key is None or not offset.isascii() or not offset.isdigit():
        raise ValueError(f"{after!r} is no place in the transcript")
    return key, int(offset)


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
