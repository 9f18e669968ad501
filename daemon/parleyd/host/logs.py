"""Where log records go: text or JSON lines on standard error, or structured fields to journald.

Records leave on a thread of their own, through a bounded queue, so that a terminal that is not read or a journald that
is stuck never holds up the line: beyond the bound records are dropped, and counted in the next one that gets through.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import queue
import socket
import sys
import time

from parleyd.config.schema import Log

log = logging.getLogger(__name__)

MOST_WAITING = 1000
STOP_S = 0.5
JOURNAL_SOCKET = "/run/systemd/journal/socket"
# sd-daemon(3): syslog priorities.
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class _Bounded(logging.handlers.QueueHandler):
    """Drops records rather than wait."""

    def __init__(self, records: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(records)
        self._dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                record.msg = f"{record.msg} ({self._dropped} records before this one were dropped)"
            self.queue.put_nowait(record)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1


class _Listener(logging.handlers.QueueListener):
    """Ends even when its reader does not read: what is left then is lost."""

    def stop(self) -> None:
        thread = getattr(self, "_thread", None)
        with contextlib.suppress(queue.Full):
            self.enqueue_sentinel()
        if thread is not None:
            thread.join(STOP_S)


class _NoLock:
    """One thread writes; there is nothing to lock. Python 3.13 wants a context manager, older ones the methods."""

    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _StandardError(logging.Handler):
    """Without Python's buffers and locks: a thread that is stuck in them would stop the whole program from ending."""

    def createLock(self) -> None:  # noqa: N802 - the library's name
        self.lock = _NoLock()  # type: ignore[assignment]  # typed as the library's own kind of lock

    def emit(self, record: logging.LogRecord) -> None:
        _write(self.format(record))


def _write(line: str) -> None:
    data = (line + "\n").encode("utf-8", "backslashreplace")
    # Not always 2: PortAudio's endless complaints about a device that is gone are kept from that one.
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        descriptor = 2
    # The reader may have gone.
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
                "level": record.levelname.lower(),
                "where": record.name,
                "message": record.getMessage(),
            },
            ensure_ascii=False,
        )


class JournalHandler(logging.Handler):
    """journald's native protocol over a socket that never blocks (systemd.io/JOURNAL_NATIVE_PROTOCOL).

    python-systemd's handler sends while it holds the interpreter lock, so that a stuck journald stops every thread.
    """

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_PRIORITIES.get(record.levelname, 6)),
            "SYSLOG_IDENTIFIER": "parleyd",
            "LOGGER": record.name,
            "THREAD_NAME": record.threadName or "",
        }
        try:
            self._socket.sendto(b"".join(_field(name, value) for name, value in fields.items()), self._path)
        except OSError:
            # Absent or stuck: standard error is what is left, and systemd collects it too.
            _write(f"<{fields['PRIORITY']}>{fields['MESSAGE']}")

    def close(self) -> None:
        self._socket.close()
        super().close()


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def start(settings: Log) -> logging.handlers.QueueListener:
    """Sends everything logged from now on where the configuration says. stop() of the result writes what is left."""
    handler: logging.Handler
    if settings.format == "journal":
        handler = JournalHandler()
    else:
        handler = _StandardError()
        handler.setFormatter(_Json() if settings.format == "json" else _Text())
    records: queue.Queue[logging.LogRecord] = queue.Queue(MOST_WAITING)
    root = logging.getLogger("parleyd")
    root.setLevel(settings.level.upper())
    root.propagate = False
    root.handlers[:] = [_Bounded(records)]
    listener = _Listener(records, handler)
    listener.start()
    return listener
