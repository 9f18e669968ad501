"""Records utterances, to find out why they were misunderstood: the sound that passed the gate, as it is sent.

Number and size are limited: the oldest recordings are deleted. The ears never wait for the disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
import time
import wave
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from parleyd.audio.gate.gate import Passed
from parleyd.audio.pcm import FRAME_MS, PIPELINE_RATE_HZ
from parleyd.config.retention import Debug
from parleyd.core.health import Pulse
from parleyd.host.files import open_own
from parleyd.host.told_once import ToldOnce

log = logging.getLogger(__name__)

DIRECTORY_NAME = "recordings"
# The longest recording; longer speech is recorded in pieces.
LONGEST_FRAMES = 60_000 // FRAME_MS
MOST_WAITING = 4
STOP_S = 1.0
_NAME = r"\d{8}T\d{6}-\d{3}\.wav"


class Recorder:
    """Only the ears thread calls take()."""

    def __init__(self, settings: Debug, directory: Path) -> None:
        self._directory = directory
        self._most_files = settings.record_files
        self._most_bytes = round(settings.record_mb * 1e6)
        self._frames: list[bytes] = []
        # The number of calls of forget(), and the number at the time of the collected frames.
        self._forgotten = self._frames_of = 0
        self._waiting: queue.Queue[tuple[int, bytes] | None] = queue.Queue(MOST_WAITING)
        self._told = ToldOnce(log)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.pulse = Pulse("recorder")

    def start(self) -> None:
        log.warning("utterances are recorded in %s, the newest %d (debug.record)", self._directory, self._most_files)
        self._thread.start()

    def stop(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def take(self, passed: Sequence[Passed], *, closed: bool) -> None:
        """Takes frames that have passed the gate; closed: the utterance is over."""
        if (forgotten := self._forgotten) != self._frames_of:
            self._frames, self._frames_of = [], forgotten
        self._frames.extend(one.frame.pcm for one in passed if one.speech)
        if self._frames and (closed or len(self._frames) >= LONGEST_FRAMES):
            sound, self._frames = b"".join(self._frames), []
            try:
                self._waiting.put_nowait((forgotten, sound))
            except queue.Full:
                log.debug("a recording was dropped: the disk is too slow")

    def forget(self) -> None:
        """Discards recordings that are not complete yet. May be called from any thread; does not wait for the disk."""
        self._forgotten += 1

    def _run(self) -> None:
        number = 0
        while (waiting := self._waiting.get()) is not None:
            forgotten, sound = waiting
            if forgotten != self._forgotten:
                continue
            self.pulse.beat()
            number = number % 999 + 1
            try:
                name = f"{datetime.fromtimestamp(time.time()):%Y%m%dT%H%M%S}-{number:03}.wav"
                self._write(name, sound)
                if forgotten != self._forgotten:
                    (self._directory / name).unlink(missing_ok=True)
                self._delete_oldest()
            except OSError as error:
                with contextlib.suppress(OSError):
                    # It makes room, if the disk is full.
                    self._delete_oldest()
                text = f"utterances cannot be recorded: {self._directory}: {error.strerror}"
                self._told.trouble(text, "make room, or make the directory writable, or set debug.record to false")
            else:
                self._told.over("utterances can be recorded again")
            self.pulse.rest()

    def _write(self, name: str, sound: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / name
        descriptor = open_own(path, os.O_WRONLY | os.O_TRUNC)
        try:
            with os.fdopen(descriptor, "wb") as file, wave.open(file, "wb") as recording:
                recording.setnchannels(1)
                recording.setsampwidth(2)
                recording.setframerate(PIPELINE_RATE_HZ)
                recording.writeframes(sound)
        except OSError:
            # No part of it stays on a full disk.
            path.unlink(missing_ok=True)
            raise

    def _delete_oldest(self) -> None:
        """The order is that of the files' times, because names are wrong if the clock was not set."""
        paths = [path for path in self._directory.iterdir() if re.fullmatch(_NAME, path.name)]
        newest_first = sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        room = self._most_bytes
        for number, path in enumerate(newest_first):
            room -= path.stat().st_size
            if number >= self._most_files or room < 0:
                path.unlink(missing_ok=True)
