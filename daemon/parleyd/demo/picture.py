"""Draws a whole conversation: both waveforms, the gate, the supervisor's states and the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parleyd.core import events
from parleyd.core.events import Event
from parleyd.core.states import State
from parleyd.demo.facts import Recording, of
from parleyd.tuning import plotting

_STATE_COLOURS = {
    State.ASLEEP: "#d9d9d9",
    State.CONNECTING: "#fdd27f",
    State.LIVE: "#a8dba8",
    State.BACKING_OFF: "#f4a6a0",
}
_PERSON, _AGENT, _TROUBLE = "#1f6fb4", "#2c8c4b", "#c0392b"
_COLUMNS = 2400


def draw(path: Path, happened: Sequence[Event], microphone: Recording, speaker: Recording) -> None:
    """Writes a PNG. Raises ImportError without matplotlib, OSError when the file cannot be written."""
    with plotting.pyplot() as pyplot:
        zero_s = microphone.began_s
        end_s = max(e.at_s for e in happened) - zero_s
        figure, (mic, gate, spk) = pyplot.subplots(
            3, 1, figsize=(16, 7.5), sharex=True, height_ratios=[4, 1.5, 4], layout="constrained"
        )
        figure.suptitle("A conversation: the person, the gate and the line, the agent")
        _wave(mic, microphone, zero_s, _PERSON)
        mic.set_ylabel("microphone")
        _wave(spk, speaker, zero_s, _AGENT)
        spk.set_ylabel("speaker")
        spk.set_xlabel("seconds")
        _bars(gate, happened, zero_s, end_s)
        _labels(mic, spk, happened, zero_s)
        spk.set_xlim(0, end_s + 0.5)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def _wave(axes: Any, recording: Recording, zero_s: float, colour: str) -> None:
    """The envelope; drawing every sample would be slower and look the same."""
    samples = recording.samples
    step = max(1, len(samples) // _COLUMNS)
    columns = samples[: len(samples) // step * step].reshape(-1, step)
    times = recording.began_s - zero_s + np.arange(len(columns)) * step / recording.rate_hz
    axes.fill_between(times, columns.min(axis=1), columns.max(axis=1), color=colour, linewidth=0)
    peak = max(0.05, float(np.abs(samples).max(initial=0.0)))
    axes.set_ylim(-1.05 * peak, 1.75 * peak)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)


def _bars(axes: Any, happened: Sequence[Event], zero_s: float, end_s: float) -> None:
    ends = iter(of(happened, events.UtteranceEnded))
    for started in of(happened, events.UtteranceStarted):
        ended = next(ends, None)
        until_s = end_s if ended is None else ended.at_s - zero_s
        axes.barh(1, until_s - (started.at_s - zero_s), left=started.at_s - zero_s, height=0.8, color=_PERSON)
    for from_s, to_s, state in _states(happened, zero_s, end_s):
        axes.barh(0, to_s - from_s, left=from_s, height=0.8, color=_STATE_COLOURS[state])
        if to_s - from_s > 0.035 * end_s:
            axes.text((from_s + to_s) / 2, 0, state.value, ha="center", va="center", fontsize=9)
    axes.set_yticks([0, 1], ["line", "gate"])
    axes.spines[["top", "right", "left"]].set_visible(False)


def _states(happened: Sequence[Event], zero_s: float, end_s: float) -> Iterator[tuple[float, float, State]]:
    since_s, state = 0.0, State.ASLEEP
    for moved in of(happened, events.StateChanged):
        yield since_s, moved.at_s - zero_s, state
        since_s, state = moved.at_s - zero_s, State(moved.after)
    yield since_s, end_s + 0.5, state


def _labels(mic: Any, spk: Any, happened: Sequence[Event], zero_s: float) -> None:
    understood = [e for e in of(happened, events.Heard) if e.final]
    for number, heard in enumerate(understood):
        spoken = [e for e in of(happened, events.UtteranceStarted) if e.at_s < heard.at_s]
        at_s = (spoken[-1].at_s if spoken else heard.at_s) - zero_s
        _note(mic, at_s, f"“{heard.text}”", _PERSON, number)
    for number, said in enumerate(e for e in of(happened, events.AnswerText) if not e.corrected):
        short = said.text if len(said.text) < 42 else said.text[:40].rstrip() + "…"
        _note(spk, said.at_s - zero_s, f"“{short}”", _AGENT, number)
    for axes in (mic, spk):
        for cut in of(happened, events.BargedIn):
            axes.axvline(cut.at_s - zero_s, color=_TROUBLE, linewidth=1.2)
        for lost in of(happened, events.SessionEnded):
            if lost.ending.kind.value == "retry":
                axes.axvline(lost.at_s - zero_s, color=_TROUBLE, linewidth=1.2, linestyle="--")
    for cut in of(happened, events.BargedIn):
        _tag(spk, cut.at_s - zero_s, "interrupted")
    for lost in of(happened, events.SessionEnded):
        if lost.ending.kind.value == "retry":
            _tag(mic, lost.at_s - zero_s, "line lost")


def _note(axes: Any, at_s: float, text: str, colour: str, number: int) -> None:
    """Neighbouring notes have different heights, so that long texts do not overlap."""
    top = axes.get_ylim()[1]
    axes.text(at_s, top * (0.93 if number % 2 == 0 else 0.77), text, color=colour, fontsize=9, va="center")


def _tag(axes: Any, at_s: float, text: str) -> None:
    axes.text(at_s, axes.get_ylim()[0] * 0.92, f" {text}", color=_TROUBLE, fontsize=9, va="center")
