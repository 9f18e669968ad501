"""Draws a rehearsal: the wave, the levels and the threshold, the detector, the gate, and the sound that would be
sent."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parleyd.audio.pcm import FRAME_MS
from parleyd.tuning import plotting
from parleyd.tuning.advice import FULL_SCALE, Advice
from parleyd.tuning.rehearsal import Flags, Rehearsal

_WAVE, _SENT, _FLOOR, _BAR, _TROUBLE = "#7f9db9", "#1f6fb4", "#6b6b6b", "#d98200", "#c0392b"
_VOICED, _PITCHED, _GATE = "#a8dba8", "#2c8c4b", "#fdd27f"
_COLUMNS = 2400
_LOWEST_DBFS = -80.0


def draw(path: Path, heard: Rehearsal, advice: Sequence[Advice], title: str) -> None:
    """Writes a PNG. Raises ImportError without matplotlib, OSError when the file cannot be written."""
    with plotting.pyplot() as pyplot:
        figure, (wave, level, rows) = pyplot.subplots(
            3, 1, figsize=(15, 8.5), sharex=True, height_ratios=[2.2, 3, 1.4], layout="constrained"
        )
        said = "\n".join(
            textwrap.fill(_plain(each), 175, initial_indent="• ", subsequent_indent="   ") for each in advice[:6]
        )
        figure.suptitle(f"{title}\n{said}", ha="left", x=0.01, fontsize=11)
        time_s = np.arange(len(heard.level_dbfs)) * FRAME_MS / 1000
        _wave(wave, heard)
        _levels(level, heard, time_s)
        shown = [
            ("sent", heard.sent, _SENT),
            ("gate open", _gate_open(heard), _GATE),
            ("with a pitch", heard.voiced & heard.pitched, _PITCHED),
            ("detector: voice", heard.voiced, _VOICED),
        ]
        for row, (_, flags, colour) in enumerate(shown):
            _bars(rows, flags, row, colour)
        rows.set_yticks(range(len(shown)), [name for name, _, _ in shown])
        rows.set_ylim(-0.5, 3.5)
        rows.set_xlabel("seconds")
        rows.set_xlim(0, max(heard.seconds, 0.1))
        for axes in (wave, level, rows):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def _plain(advice: Advice) -> str:
    setting = f" {advice.key}: {advice.value}" if advice.key and advice.value is not None else ""
    return f"{advice.text}{setting}".replace("`", "").replace("$", r"\$")


def _wave(axes: Any, heard: Rehearsal) -> None:
    """The envelope; sound that would be sent is darker."""
    samples = heard.samples.astype(np.float32) / 32768
    step = max(1, len(samples) // _COLUMNS)
    columns = samples[: len(samples) // step * step].reshape(-1, step)
    at_s = np.arange(len(columns)) * step / heard.rate_hz
    low, high = columns.min(axis=1), columns.max(axis=1)
    axes.fill_between(at_s, low, high, color=_WAVE, linewidth=0, label="heard")
    frame = np.minimum((at_s * 1000 / FRAME_MS).astype(int), len(heard.sent) - 1)
    axes.fill_between(at_s, low, high, where=heard.sent[frame], color=_SENT, linewidth=0, label="would be sent")
    clipped = np.flatnonzero(np.abs(heard.samples.astype(np.int32)) >= FULL_SCALE)[:: max(1, step // 4)]
    if len(clipped):
        sign = np.sign(heard.samples[clipped].astype(float))
        axes.plot(clipped / heard.rate_hz, sign * 1.02, ".", color=_TROUBLE, markersize=3, label="clipped")
    peak = min(1.1, max(0.02, 1.15 * float(np.abs(samples).max(initial=0.0))))
    axes.set_ylim(-peak, peak)
    axes.set_ylabel("wave (1 = full scale)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3, frameon=False, fontsize=9)


def _levels(axes: Any, heard: Rehearsal, time_s: np.ndarray[Any, Any]) -> None:
    for values, colour, width, label in (
        (heard.level_dbfs, "#c9d6e2", 1.0, "level, whole band"),
        (heard.voice_dbfs, _SENT, 1.2, "level, band of speech"),
        (heard.floor_dbfs, _FLOOR, 1.5, "noise floor"),
        # While the gate is open the next opening is far away, and the line would only cross the speech.
        (np.where(_gate_open(heard), np.nan, heard.bar_dbfs), _BAR, 1.5, "what speech has to reach to open the gate"),
    ):
        axes.plot(time_s, np.maximum(values, _LOWEST_DBFS), color=colour, linewidth=width, label=label)
    highest = float(np.max(heard.level_dbfs, initial=-60.0))
    axes.set_ylim(_LOWEST_DBFS, min(3.0, highest + 6))
    axes.set_ylabel("dBFS")
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4, frameon=False, fontsize=9)


def _gate_open(heard: Rehearsal) -> Flags:
    """The time from the opening to the end of the sent sound, without the pre-roll."""
    is_open, state = np.zeros(len(heard.sent), bool), False
    for number, (opened, sent) in enumerate(zip(heard.opened, heard.sent, strict=True)):
        state = bool(opened or (state and sent))
        is_open[number] = state
    return is_open


def _bars(axes: Any, flags: Flags, row: int, colour: str) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]]))) * FRAME_MS / 1000
    spans = [(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    axes.broken_barh(spans, (row - 0.38, 0.76), color=colour, linewidth=0)
