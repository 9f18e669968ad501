"""Makes safe entries of log records, formats entries as lines, and writes lines to standard error.

Texts from servers appear in the log. An entry is cut to size and made printable first, so that no line, no field and no
terminal sequence can be forged in any format.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from parleyd.core.log_fields import NOTICE
from parleyd.core.text import one_line

MESSAGE_CHARS = 2000
FIELD_CHARS = 500
TRACEBACK_LINES = 60

Value = str | int | float


def printable(text: str, limit: int) -> str:
    """One line without control characters, which are shown as escapes (\\n, \\x1b), and not too long."""
    shown = one_line(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class Entry(Struct, frozen=True, kw_only=True):
    """at_s: wall clock. fields: named as in log_fields.Fields. traceback: lines."""

    at_s: float
    level: int
    logger: str
    message: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    traceback: tuple[str, ...] = ()
    thread: str = ""
    file: str = ""
    line: int = 0

    @property
    def priority(self) -> int:
        """sd-daemon(3)."""
        for level, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5)):
            if self.level >= level:
                return priority
        return 6 if self.level >= logging.INFO else 7


def entry_of(record: logging.LogRecord, context: Mapping[str, object]) -> Entry:
    """Makes an entry of a record. context: fields that are used if the record does not set them. Raises the errors that
    formatting the record's arguments raises."""
    values = {**context, **getattr(record, "fields", {})}
    lines: list[str] = []
    if record.exc_info and record.exc_info[0] is not None:
        lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
        if len(lines) > TRACEBACK_LINES:
            # The end of a traceback is its most useful part.
            lines = ["…", *lines[-TRACEBACK_LINES:]]
    return Entry(
        at_s=record.created,
        level=record.levelno,
        logger=record.name,
        message=printable(record.getMessage(), MESSAGE_CHARS),
        fields={name: _bounded(value) for name, value in values.items() if value is not None},
        traceback=tuple(printable(line, FIELD_CHARS) for line in lines),
        thread=printable(record.threadName or "", FIELD_CHARS),
        file=record.pathname,
        line=record.lineno,
    )


def _bounded(value: object) -> Value:
    return value if isinstance(value, int | float) else printable(str(value), FIELD_CHARS)


def note(level: int, message: str) -> Entry:
    """An entry of the logging itself."""
    return Entry(at_s=time.time(), level=level, logger="parleyd.app.logs", message=message)


# ---------------------------------------------------------------- formats


def text(entry: Entry, time_format: str = "%H:%M:%S") -> str:
    at = time.strftime(time_format, time.localtime(entry.at_s))
    # Indented: no line of a traceback looks like the beginning of an entry.
    first = f"{at} {logging.getLevelName(entry.level).lower()} {entry.message}"
    return "\n    ".join((first, *entry.traceback))


def dated_text(entry: Entry) -> str:
    return text(entry, "%Y-%m-%d %H:%M:%S")


def json_line(entry: Entry) -> str:
    milliseconds = int(entry.at_s % 1 * 1000)
    values: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.at_s)) + f".{milliseconds:03}Z",
        "level": logging.getLevelName(entry.level).lower(),
        "where": entry.logger,
        "message": entry.message,
        **entry.fields,
    }
    if entry.traceback:
        values["traceback"] = list(entry.traceback)
    return json.dumps(values, ensure_ascii=False)


def prefixed(entry: Entry) -> str:
    """For standard error under systemd, which takes the priority from the beginning of each line: sd-daemon(3)."""
    return "\n".join(f"<{entry.priority}>{line}" for line in (entry.message, *("    " + s for s in entry.traceback)))


# ---------------------------------------------------------------- standard error


class StandardError:
    """Without Python's buffers and locks: a thread that is stuck in them would stop the whole program from ending."""

    def __init__(self, form: Callable[[Entry], str]) -> None:
        self._form = form

    def put(self, entry: Entry) -> bool:
        """Writes the entry; blocks until the reader accepts it. Returns whether it was accepted."""
        data = (self._form(entry) + "\n").encode("utf-8", "backslashreplace")
        try:
            descriptor = descriptor_of_stderr()
            while data:
                try:
                    data = data[os.write(descriptor, data) :]
                except BlockingIOError:
                    # Another program on the same terminal may have made the descriptor non-blocking.
                    select.select([], [descriptor], [])
        except OSError:
            return False
        return True


def descriptor_of_stderr() -> int:
    # The descriptor is not always 2, because PortAudio's endless messages about a lost device are kept from 2.
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return 2
