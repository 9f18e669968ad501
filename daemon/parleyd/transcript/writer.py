"""The thread that writes the transcript. The conversation never waits for it, nor for the disk."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from parleyd.config.retention import Transcript
from parleyd.core import events
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.host.told_once import ToldOnce
from parleyd.transcript.files import DIRECTORY_NAME, Files
from parleyd.transcript.redaction import Redaction
from parleyd.transcript.turns import Turn, Turns

log = logging.getLogger(__name__)

MOST_WAITING = 500
MOST_CHARS = 4_000_000
# How many turns may wait for a full disk, or for a clock that is not set yet; the oldest are dropped first.
MOST_UNWRITTEN = 200
LOOK_S = 1.0
# How often old files are searched and deleted; there is no event at midnight.
TIDY_S = 3600.0
RETRY_S = 10.0
STOP_S = 1.0


class TranscriptWriter:
    """A subscriber of the bus. wall: seconds since 1970."""

    def __init__(self, settings: Transcript, directory: Path, wall: Callable[[], float] = time.time) -> None:
        self._files = Files(
            directory,
            keep_days=settings.keep_days,
            max_bytes=round(settings.max_mb * 1e6),
            day_bytes=round(settings.day_mb * 1e6),
            total_bytes=round(settings.total_mb * 1e6),
        )
        self._day_mb = settings.day_mb
        self._full: date | None = None
        self.directory = directory
        self._redact = Redaction(settings.redact)
        self._wall = wall
        self._events: queue.Queue[events.Event | None] = queue.Queue(MOST_WAITING)
        self._waiting_chars = 0
        self._counting = threading.Lock()
        self._turns = Turns()
        self._unwritten: deque[Turn] = deque()
        self._told = ToldOnce(log)
        self._dropped = 0
        self._retry_s = 0.0
        self._thread = threading.Thread(target=self._run, name="transcript", daemon=True)
        self.pulse = Pulse("transcript")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes the remaining turns, for STOP_S at most."""
        try:
            self._events.put_nowait(None)
        except queue.Full:
            return
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def __call__(self, event: events.Event) -> None:
        chars = events.text_chars(event)
        with self._counting:
            if self._waiting_chars + chars > MOST_CHARS:
                self._dropped += 1
                return
            try:
                self._events.put_nowait(event)
            except queue.Full:
                self._dropped += 1
            else:
                self._waiting_chars += chars

    def _run(self) -> None:
        while True:
            self.pulse.beat()
            self._tidy()
            try:
                idle = not self._turns.waits and not self._unwritten
                self.pulse.rest()
                event = self._events.get(timeout=TIDY_S if idle else LOOK_S)
            except queue.Empty:
                self.pulse.beat()
                self._write(self._turns.settle(time.monotonic()))
                continue
            self.pulse.beat()
            if event is None:
                self._retry_s = 0.0
                self._write(self._turns.finish(), at_last=True)
                return
            with self._counting:
                self._waiting_chars -= events.text_chars(event)
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning("%d events came too fast: turns may be missing in the transcript", dropped)
            self._write(self._turns.take(event) + self._turns.settle(time.monotonic()))

    def _tidy(self) -> None:
        wall_s = self._wall()
        if wall_s >= EARLIEST_S:
            # A problem with deleting is also a problem with writing, and is reported there.
            with contextlib.suppress(OSError):
                self._files.delete_old(datetime.fromtimestamp(wall_s).date())

    def _write(self, turns: list[Turn], *, at_last: bool = False) -> None:
        self._unwritten.extend(turns)
        self._bound()
        now_s, wall_s = time.monotonic(), self._wall()
        # Without a set clock the day is unknown; usually the network sets it soon.
        if now_s < self._retry_s or (wall_s < EARLIEST_S and not at_last):
            return
        while self._unwritten:
            turn = self._unwritten[0]
            at = datetime.fromtimestamp(wall_s - (now_s - turn.at_s)).astimezone()
            try:
                full_line = line(self._last_of_day(turn), at, str)
                if not self._files.append(at.date(), line(turn, at, self._redact), full_line):
                    self._tell_full(at.date())
            except OSError as error:
                self._retry_s = now_s + RETRY_S
                text = f"the transcript cannot be written: {self.directory}: {error.strerror}"
                self._told.trouble(text, "make room, or make the directory writable; it is tried again")
                return
            self._unwritten.popleft()
            self._told.over("the transcript can be written again")

    def _last_of_day(self, turn: Turn) -> Turn:
        text = f"The transcript of this day is full ({self._day_mb:g} MB); what was said after this is not written."
        return Turn(turn.at_s, "parleyd", text, turn.conversation_id)

    def _tell_full(self, day: date) -> None:
        """Once a day."""
        if self._full != day:
            hint = "set transcript.day_mb higher, if this much is said in a day"
            text = "the transcript of %s is full (%g MB): the rest of the day is not written; %s"
            log.warning(text, day, self._day_mb, hint, extra=fields(hint=hint))
        self._full = day

    def _bound(self) -> None:
        lost, chars = 0, sum(len(turn.text) for turn in self._unwritten)
        while len(self._unwritten) > MOST_UNWRITTEN or chars > MOST_CHARS:
            chars -= len(self._unwritten.popleft().text)
            lost += 1
        if lost:
            log.warning("the oldest turns that could not be written are given up: %d", lost)


def transcript_writer(settings: Transcript, state_directory: Path | None) -> TranscriptWriter | None:
    """The writer; None if transcripts are switched off, or if there is no state directory."""
    if not settings.enabled:
        return None
    directory = Path(settings.directory) if settings.directory else state_directory and state_directory / DIRECTORY_NAME
    if directory is None:
        log.warning("no transcript: there is no directory for it; set transcript.directory")
        return None
    return TranscriptWriter(settings, directory)


def line(turn: Turn, at: datetime, redact: Callable[[str], str]) -> bytes:
    """One JSON object and a newline. at: local time with its offset."""
    entry: dict[str, object] = {
        "time": at.isoformat(timespec="milliseconds"),
        "conversation": turn.conversation_id,
        "speaker": turn.speaker,
        "text": redact(turn.text),
    }
    for name in ("speech_ms", "answered_ms", "heard_ms"):
        if (value := getattr(turn, name)) is not None:
            entry[name] = value
    if turn.speaker == "agent":
        entry["interrupted"] = turn.interrupted
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
