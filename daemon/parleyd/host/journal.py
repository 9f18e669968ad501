"""journald's native protocol, over a socket that never blocks: systemd.io/JOURNAL_NATIVE_PROTOCOL.

systemd-python tells systemd how the service is doing (notify.py), but its handler for logging is not used: it sends
while it holds the interpreter's lock, so that a stuck journald stops every thread.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from parleyd.core.log_fields import NOTICE
from parleyd.host.log_lines import Entry, StandardError, descriptor_of_stderr, note, prefixed

SOCKET = "/run/systemd/journal/socket"
# How long to wait for journald: a burst may fill the receive queue of a healthy journald.
SEND_TIMEOUT_S = 0.2


def reads_stderr() -> bool:
    """systemd.exec(5): JOURNAL_STREAM is device and inode of the stream that systemd connected with the journal."""
    try:
        status = os.fstat(descriptor_of_stderr())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Journal:
    """Sends entries to journald, from one thread. Entries that journald does not accept go to standard error, which
    systemd collects in another way.

    An entry is bounded far below what a datagram holds (the 208 KiB of net.core.wmem_default).
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path or SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._stderr = StandardError(prefixed)
        self._away = False
        self._elsewhere = 0

    def put(self, entry: Entry) -> bool:
        """Returns whether journald or standard error has accepted the entry."""
        # The address is resolved each time, because after a restart journald has a new socket.
        error = self._send(entry, 0.0 if self._away else SEND_TIMEOUT_S)
        if error is None:
            if self._away:
                self._tell_return()
            return True
        if not self._away:
            self._away = True
            why = "it is stuck" if isinstance(error, BlockingIOError) else error.strerror
            words = f"journald takes no log records ({why}); they go to standard error until it does"
            self._stderr.put(note(logging.WARNING, words))
        taken = self._stderr.put(entry)
        self._elsewhere += taken
        return taken

    def close(self) -> None:
        self._socket.close()

    def _tell_return(self) -> None:
        words = f"journald takes log records again; {self._elsewhere} went to standard error"
        # If the queue is full again, the note is sent later.
        if self._send(note(NOTICE, words), 0.0) is None:
            self._away = False
            self._elsewhere = 0

    def _send(self, entry: Entry, timeout_s: float) -> OSError | None:
        data = _datagram(entry)
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                self._socket.sendto(data, self._path)
                return None
            except BlockingIOError as error:
                if time.monotonic() >= until_s:
                    return error
                time.sleep(0.01)
            except OSError as error:
                return error


def _datagram(entry: Entry) -> bytes:
    fields: dict[str, object] = {
        "MESSAGE": "\n    ".join((entry.message, *entry.traceback)),
        "PRIORITY": entry.priority,
        "SYSLOG_IDENTIFIER": "parleyd",
        "LOGGER": entry.logger,
        **{f"PARLEYD_{name.upper()}": value for name, value in entry.fields.items()},
    }
    if entry.file:
        fields |= {"THREAD_NAME": entry.thread, "CODE_FILE": entry.file, "CODE_LINE": entry.line}
    return b"".join(_field(name, str(value)) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
