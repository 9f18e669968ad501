"""The display of `parleyd tune` while it listens: a level meter with the gate's mark, and the remaining time."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Detector
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, SILENCE_DBFS, Frame
from parleyd.audio.resample import Resampler
from parleyd.tuning.recording import Listener

LOWEST_DBFS = -90.0
_WIDTH, _LEAST_WIDTH = 45, 8
# The columns that the figures beside the bar need.
_BESIDE_COLUMNS = 31
# The interval of lines in a pipe.
_LINE_S = 5.0
_ERASE_LINE = "\r\x1b[K"


def line(level_dbfs: float, bar_dbfs: float, left_s: float, *, is_open: bool, columns: int = 80) -> str:
    """Such as `` 12 s [######| ] -43 dBFS, gate open``, in fewer than columns, from 40 on; `|` is the level that a
    syllable has to reach."""
    width = max(_LEAST_WIDTH, min(_WIDTH, columns - _BESIDE_COLUMNS))

    def place(dbfs: float) -> int:
        return round(min(max(0.0, 1 - dbfs / LOWEST_DBFS), 1.0) * (width - 1))

    cells = ["#"] * place(level_dbfs) + [" "] * (width - place(level_dbfs))
    cells[place(bar_dbfs)] = "|"
    level = f"{level_dbfs:4.0f} dBFS" if level_dbfs > SILENCE_DBFS else "digital 0"
    return f"{max(0.0, left_s):3.0f} s [{''.join(cells)}] {level}{', gate open' if is_open else ''}"


class LevelMeter(Listener):
    """On a terminal one line that is updated; otherwise a plain line at intervals."""

    def __init__(self, out: TextIO, what_to_do: str, seconds: float, detector: Detector, gate: Gate) -> None:
        self._out = out
        self._moves = out.isatty()
        self._what_to_do = what_to_do
        self._seconds = seconds
        self._detector = detector
        self._gate = gate
        self._measure = VoiceMeasure()
        self._pending = bytearray()
        self._frames = 0
        self._openings = 0
        self._loudest_dbfs = SILENCE_DBFS
        self._next_line_s = _LINE_S

    def begins(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
        text = f"listening for {self._seconds:g} s: {self._what_to_do}"
        if self._moves:
            keys = "Ctrl-C ends it sooner; # is the level, | what speech has to reach"
            columns = shutil.get_terminal_size().columns - 1
            text = "\n".join(textwrap.fill(line_, columns) for line_ in (text, keys))
        print(text, file=self._out, flush=True)

    def heard(self, pcm: bytes) -> None:
        self._pending += self._resampler.process(pcm)
        while len(self._pending) >= FRAME_BYTES:
            frame = Frame(bytes(self._pending[:FRAME_BYTES]), self._frames * FRAME_MS / 1000)
            del self._pending[:FRAME_BYTES]
            self._frames += 1
            voiced, measured = self._detector.voiced(frame), self._measure.step(frame)
            self._loudest_dbfs = max(self._loudest_dbfs, measured.level_dbfs)
            verdict = self._gate.step(frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch)
            self._openings += verdict.opened
        heard_s = self._frames * FRAME_MS / 1000
        left_s = self._seconds - heard_s
        if self._moves:
            columns = shutil.get_terminal_size().columns
            shown = line(self._loudest_dbfs, self._gate.bar_dbfs, left_s, is_open=self._gate.open, columns=columns)
            print(f"{_ERASE_LINE}{shown}", end="", file=self._out, flush=True)
            self._loudest_dbfs = SILENCE_DBFS
        elif heard_s >= self._next_line_s and left_s >= 1:
            self._next_line_s += _LINE_S
            times = f"opened {self._openings} time{'' if self._openings == 1 else 's'}"
            text = f"{left_s:.0f} s left; loudest {self._loudest_dbfs:.0f} dBFS, the gate {times} so far"
            print(text, file=self._out, flush=True)

    def ends(self) -> None:
        """Clears the terminal's line."""
        if self._moves and self._frames:
            print(_ERASE_LINE, end="", file=self._out, flush=True)
