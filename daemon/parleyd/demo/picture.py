"""Draws a whole conversation: both waveforms, the gate, the supervisor's states, and the figures as marks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import parleyd
from parleyd.core import events
from parleyd.core.events import Event
from parleyd.core.states import State
from parleyd.demo.facts import Facts, Recording, answer_delays, of
from parleyd.tuning import plotting

_COLUMNS = 2400
_WIDTH_IN, _HEIGHT_IN, _DPI = 16.0, 7.6, 110
# The share of the width that the time axis has, and the mean width of a letter, by which the room for a text is known.
_AXIS_SHARE, _LETTER_IN = 0.93, 0.083
_FONT, _SMALL_FONT = 10.5, 9.5
# The heights of texts in a row, in units of the loudest sample.
_TEXT_AT = (1.62, 1.27)
_MARK_AT = -1.38
_LOW, _HIGH = -1.55, 1.8
# Between the loudest sample and the texts.
_ABOVE_PERSON, _BELOW_AGENT = 1.1, -1.15


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours. states: of the line, by the supervisor's state."""

    paper: str
    ink: str
    faint: str
    person: str
    agent: str
    trouble: str
    states: dict[State, str]


LIGHT = Theme(
    paper="#ffffff", ink="#1f2933", faint="#6b7780", person="#1f6fb4", agent="#2c8c4b", trouble="#c0392b",
    states={
        State.ASLEEP: "#e3e7ea", State.CONNECTING: "#fdd27f", State.LIVE: "#b5dfb5", State.BACKING_OFF: "#f4a6a0",
    },
)  # fmt: skip
DARK = Theme(
    paper="#0d1117", ink="#e6edf3", faint="#8b98a5", person="#6cb6ff", agent="#57c785", trouble="#ff7b72",
    states={
        State.ASLEEP: "#2b333c", State.CONNECTING: "#8a6414", State.LIVE: "#1f5a36", State.BACKING_OFF: "#7d2f2b",
    },
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Play:
    """A conversation that is over."""

    happened: Sequence[Event]
    microphone: Recording
    speaker: Recording
    facts: Facts

    @property
    def zero_s(self) -> float:
        return self.microphone.began_s

    @property
    def end_s(self) -> float:
        return max(e.at_s for e in self.happened) - self.zero_s + 0.5

    def lost_lines(self) -> Iterator[tuple[float, float, events.SessionOpened | None]]:
        """The begin and the end of each time without a line, and the session after it."""
        opened = of(self.happened, events.SessionOpened)
        for ended in of(self.happened, events.SessionEnded):
            if ended.ending.kind.value == "retry":
                back = next((one for one in opened if one.at_s >= ended.at_s), None)
                until_s = self.end_s if back is None else back.at_s - self.zero_s
                yield ended.at_s - self.zero_s, until_s, back


def draw(path: Path, play: Play, theme: Theme) -> None:
    """Writes a PNG. Raises ImportError without matplotlib, OSError when the file cannot be written."""
    with plotting.pyplot() as pyplot:
        style = {
            "text.color": theme.ink, "axes.labelcolor": theme.ink, "xtick.color": theme.faint,
            "ytick.color": theme.ink, "font.size": _FONT, "axes.facecolor": theme.paper,
        }  # fmt: skip
        with pyplot.rc_context(style):
            figure, (person, line, agent) = pyplot.subplots(
                3, 1, figsize=(_WIDTH_IN, _HEIGHT_IN), sharex=True, height_ratios=[4, 1.1, 4], facecolor=theme.paper
            )
            figure.subplots_adjust(left=0.06, right=0.06 + _AXIS_SHARE, top=0.89, bottom=0.1, hspace=0.04)
            figure.text(0.06, 0.945, _title(play.facts), fontsize=14, fontweight="bold")
            figure.text(0.99, 0.02, f"parleyd {parleyd.__version__}", ha="right", color=theme.faint)
            figure.text(0.06, 0.02, "seconds", color=theme.faint)
            _wave(person, play.microphone, play.zero_s, theme.person)
            person.set_ylabel("person", color=theme.person)
            _wave(agent, play.speaker, play.zero_s, theme.agent)
            agent.set_ylabel("agent", color=theme.agent)
            _strip(line, play, theme)
            _words(person, agent, play, theme)
            _first_sounds(agent, play, theme)
            _interruptions((person, line, agent), play, theme)
            _lost_lines((person, line, agent), play, theme)
            agent.set_xlim(0, play.end_s)
            for axes in (person, line, agent):
                axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
                axes.tick_params(length=0)
            figure.savefig(path, dpi=_DPI, facecolor=theme.paper)
            pyplot.close(figure)


def _title(facts: Facts) -> str:
    counted = (
        (facts.utterances, "question"),
        (facts.answers, "answer"),
        (facts.interruptions, "interruption"),
        (facts.lines_lost, "lost line"),
    )
    told = (f"{count} {one if count == 1 else one + 's'}" for count, one in counted)
    return ", ".join((*told, _lost(facts)))


def _lost(facts: Facts) -> str:
    return f"{facts.speech_lost_ms} ms of speech lost"


def _wave(axes: Any, recording: Recording, zero_s: float, colour: str) -> None:
    """The envelope, with the loudest sample at 1; drawing every sample would be slower and look the same."""
    samples = recording.samples / max(0.05, float(np.abs(recording.samples).max(initial=0.0)))
    step = max(1, len(samples) // _COLUMNS)
    columns = samples[: len(samples) // step * step].reshape(-1, step)
    times = recording.began_s - zero_s + np.arange(len(columns)) * step / recording.rate_hz
    axes.fill_between(times, columns.min(axis=1), columns.max(axis=1), color=colour, linewidth=0)
    axes.set_ylim(_LOW, _HIGH)
    axes.set_yticks([])


def _strip(axes: Any, play: Play, theme: Theme) -> None:
    """The gate above, the states of the line below."""
    ends = iter(of(play.happened, events.UtteranceEnded))
    for started in of(play.happened, events.UtteranceStarted):
        ended = next(ends, None)
        until_s = play.end_s if ended is None else ended.at_s - play.zero_s
        from_s = started.at_s - play.zero_s
        axes.barh(1, until_s - from_s, left=from_s, height=0.7, color=theme.person)
    for from_s, to_s, state in _states(play):
        axes.barh(0, to_s - from_s, left=from_s, height=0.9, color=theme.states[state])
        if to_s - from_s > len(state.value) * _seconds_per_letter(play):
            axes.text((from_s + to_s) / 2, 0, state.value, ha="center", va="center", fontsize=_SMALL_FONT)
    axes.set_yticks([0, 1], ["line", "gate"])


def _states(play: Play) -> Iterator[tuple[float, float, State]]:
    since_s, state = 0.0, State.ASLEEP
    for moved in of(play.happened, events.StateChanged):
        yield since_s, moved.at_s - play.zero_s, state
        since_s, state = moved.at_s - play.zero_s, State(moved.after)
    yield since_s, play.end_s, state


def _words(person: Any, agent: Any, play: Play, theme: Theme) -> None:
    """Writes the words of both above the waves."""
    heard = []
    for event in (e for e in of(play.happened, events.Heard) if e.final):
        spoken = [e for e in of(play.happened, events.UtteranceStarted) if e.at_s < event.at_s]
        heard.append(((spoken[-1].at_s if spoken else event.at_s) - play.zero_s, event.text))
    said = [(e.at_s - play.zero_s, e.text) for e in of(play.happened, events.AnswerText) if not e.corrected]
    # Answers end before the marks across them; these marks leave out the words of the person.
    cuts = [e.at_s - play.zero_s for e in of(play.happened, events.BargedIn)]
    cuts += [from_s for from_s, *_ in play.lost_lines()]
    for axes, texts, colour in ((person, heard, theme.person), (agent, said, theme.agent)):
        for number, (at_s, text) in enumerate(texts):
            following = [each for each, _ in texts[number + 1 :]] + (cuts if texts is said else [])
            until_s = min([each for each in following if each > at_s], default=play.end_s)
            letters = max(14, int((until_s - at_s) / _seconds_per_letter(play)) - 2)
            for height, row in zip(_TEXT_AT, _two_lines(f"“{text}”", letters), strict=False):
                axes.text(at_s, height, row, color=colour, va="center")


def _two_lines(text: str, letters: int) -> list[str]:
    ellipsis = "…”"
    return textwrap.wrap(text, letters, max_lines=2, placeholder=ellipsis, break_long_words=False)


def _seconds_per_letter(play: Play) -> float:
    return play.end_s * _LETTER_IN / (_WIDTH_IN * _AXIS_SHARE)


def _first_sounds(agent: Any, play: Play, theme: Theme) -> None:
    """From the end of what was said to the first sound of the answer."""
    for ended_s, began_s in answer_delays(play.happened):
        from_s, to_s = ended_s - play.zero_s, began_s - play.zero_s
        agent.annotate(
            "", (to_s, 0), (from_s, 0), arrowprops={"arrowstyle": "|-|,widthA=0.25,widthB=0.25", "color": theme.faint}
        )
        told = f"first sound after {to_s - from_s:.2f} s"
        agent.text(to_s, _MARK_AT, told, color=theme.faint, fontsize=_SMALL_FONT, va="center")


def _interruptions(rows: Sequence[Any], play: Play, theme: Theme) -> None:
    for cut in of(play.happened, events.BargedIn):
        at_s = cut.at_s - play.zero_s
        # It leaves out the words of the person, and the figures below the agent.
        for axes, low, high in zip(rows, (_LOW, None, _BELOW_AGENT), (_ABOVE_PERSON, None, _HIGH), strict=True):
            from_y, to_y = axes.get_ylim() if low is None else (low, high)
            axes.vlines(at_s, from_y, to_y, color=theme.trouble, linewidth=1.3)
        if play.facts.silent_after_ms is not None:
            _marks(rows[2], at_s, ("interrupted:", f"silent after {play.facts.silent_after_ms} ms"), theme)


def _lost_lines(rows: Sequence[Any], play: Play, theme: Theme) -> None:
    for from_s, until_s, back in play.lost_lines():
        # It leaves out the words of the person, who speaks on while the line is away.
        for axes, top in zip(rows, ((_ABOVE_PERSON - _LOW) / (_HIGH - _LOW), 1, 1), strict=True):
            axes.axvspan(from_s, until_s, ymax=top, color=theme.trouble, alpha=0.16, linewidth=0)
        texts = [f"the line was away for {until_s - from_s:.1f} s"]
        if back is not None:
            texts += [f"{back.resent_ms / 1000:.1f} s of speech waited and went first", _lost(play.facts)]
        _marks(rows[0], until_s, texts, theme)


def _marks(axes: Any, at_s: float, texts: Sequence[str], theme: Theme) -> None:
    """Lines of text behind a place in time."""
    for number, text in enumerate(texts):
        axes.annotate(
            text, (at_s, 1.0 - 0.31 * number), (7, 0), textcoords="offset points", va="center", color=theme.trouble,
            fontweight="bold",
        )  # fmt: skip
