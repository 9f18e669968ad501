"""Sends log records to their destination: text or JSON lines on standard error, or structured fields to journald.

A separate thread writes them, behind a bounded queue, so that a terminal that is not read or a stuck journald never
delays the conversation. Beyond the limit records are lost, and their number is logged as soon as there is room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Literal

from parleyd.app.log_context import Context
from parleyd.config.schema import Log
from parleyd.host import journal
from parleyd.host.log_lines import (
    Entry,
    StandardError,
    dated_text,
    descriptor_of_stderr,
    entry_of,
    json_line,
    note,
    text,
)

# Takes a text and the columns of the terminal.
Wrap = Callable[[str, int], str]

MOST_WAITING = 1000
STOP_S = 0.5


class Logs:
    """Takes all records from start() until stop(). format: the one in force, after `auto` was decided.

    follow: a subscriber for the bus; records then contain state, conversation and utterance. wrap: puts a line into the
    rows of a terminal.
    """

    def __init__(self, settings: Log, wrap: Wrap | None = None) -> None:
        self.format: Literal["text", "json", "journal"] = _decided(settings.format)
        self._level = settings.level.upper()
        self._sink = _sink(self.format, wrap)
        self._context = Context()
        self.follow = self._context.follow
        self._entries: queue.Queue[Entry | None] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._lost = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        root = logging.getLogger("parleyd")
        root.setLevel(self._level)
        root.propagate = False
        root.handlers[:] = [_Inlet(self)]
        self._thread.start()

    def stop(self) -> None:
        """Writes waiting records, and ends. If the reader does not read, the rest is lost."""
        self._stopping = True
        with contextlib.suppress(queue.Full):
            self._entries.put_nowait(None)
        self._thread.join(STOP_S)

    def take(self, record: logging.LogRecord) -> None:
        """Queues a record. May be called from any thread; never waits."""
        try:
            self._entries.put_nowait(entry_of(record, self._context.now))
        except queue.Full:
            self._lose(1)

    def _lose(self, entries: int) -> None:
        with self._lock:
            self._lost += entries

    def _run(self) -> None:
        over = False
        while not over:
            entry = self._entries.get()
            if entry is not None and not self._sink.put(entry):
                self._lose(1)
            # A queue that was full at the stop has no end mark.
            over = self._stopping and self._entries.empty()
            if over or self._entries.qsize() < MOST_WAITING // 2:
                self._tell_lost()

    def _tell_lost(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        words = f"{lost} log records were lost: nobody took them in time"
        if lost and not self._sink.put(note(logging.WARNING, words)):
            self._lose(lost)


class _Inlet(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logs.take(record)
        except Exception:  # noqa: BLE001 - like the library's handlers: logging must never end the program
            self.handleError(record)


def _decided(wanted: Literal["auto", "text", "json", "journal"]) -> Literal["text", "json", "journal"]:
    if wanted != "auto":
        return wanted
    return "journal" if journal.reads_stderr() else "text"


def _sink(form: Literal["text", "json", "journal"], wrap: Wrap | None) -> journal.Journal | StandardError:
    match form:
        case "journal":
            return journal.Journal()
        case "json":
            return StandardError(json_line)
        case "text":
            return StandardError(partial(_on_terminal, wrap) if os.isatty(descriptor_of_stderr()) else dated_text)


def _on_terminal(wrap: Wrap | None, entry: Entry) -> str:
    shown = text(entry)
    if wrap is None:
        return shown
    try:
        columns = os.get_terminal_size(descriptor_of_stderr()).columns
    except OSError:
        return shown
    # A terminal that does not know its width says 0.
    return wrap(shown, columns) if columns else shown


def start(settings: Log, wrap: Wrap | None = None) -> Logs:
    """Sends all following records to the destination of the configuration."""
    logs = Logs(settings, wrap)
    logs.start()
    return logs
