"""Computes the figures of the demo, and checks whether it was a conversation. Pure: from events and two recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from parleyd.conversation.session.uplink import UplinkCounters
from parleyd.core import events
from parleyd.core.events import Event
from parleyd.core.states import State

E = TypeVar("E", bound=Event)

# The level below which a speaker is inaudible.
AUDIBLE_DBFS = -50.0
# The time within which the speaker must be silent after the order. The design's limit is 20 ms, and the measured time
# is one of the facts; this limit only detects a failed interruption, also on a machine that is ten times slower.
SILENT_WITHIN_MS = 500


@dataclass(frozen=True, slots=True)
class Recording:
    """samples: mono, -1..1. began_s: monotonic time of the first sample."""

    samples: npt.NDArray[np.float32]
    rate_hz: int
    began_s: float

    def between(self, from_s: float, to_s: float) -> npt.NDArray[np.float32]:
        first = max(0, round((from_s - self.began_s) * self.rate_hz))
        return self.samples[first : max(first, round((to_s - self.began_s) * self.rate_hz))]

    def last_sound_s(self, from_s: float, to_s: float) -> float | None:
        """The time of the last audible sample between the two times."""
        loud = np.flatnonzero(np.abs(self.between(from_s, to_s)) > 10 ** (AUDIBLE_DBFS / 20))
        return None if not loud.size else max(from_s, self.began_s) + float(loud[-1]) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Facts:
    """Durations in ms. None: it did not happen."""

    utterances: int
    understood: list[str]
    answers: int
    sessions: int
    wake_to_live_ms: int | None
    speech_end_to_answer_ms: int | None
    interruptions: int
    silent_after_ms: int | None
    lines_lost: int
    line_back_after_ms: int | None
    speech_resent_ms: int
    speech_lost_ms: int
    room_s: float
    stayed_in_the_room: float
    asleep_at_the_end: bool


def gather(happened: Sequence[Event], speaker: Recording | None, counters: UplinkCounters, room_frames: int) -> Facts:
    """room_frames: the microphone's whole sound, in frames of 20 ms."""
    opened = of(happened, events.SessionOpened)
    lost = [e for e in of(happened, events.SessionEnded) if e.ending.kind.value == "retry"]
    barged = of(happened, events.BargedIn)
    moves = of(happened, events.StateChanged)
    back = [_first_after(opened, e.at_s) for e in lost]
    back_ms = [round((o.at_s - e.at_s) * 1000) for e, o in zip(lost, back, strict=True) if o is not None]
    return Facts(
        utterances=len(of(happened, events.UtteranceStarted)),
        understood=[e.text for e in of(happened, events.Heard) if e.final],
        answers=len(of(happened, events.AnswerStarted)),
        sessions=len(opened),
        wake_to_live_ms=opened[0].handshake_ms if opened else None,
        speech_end_to_answer_ms=_median([round((to_s - from_s) * 1000) for from_s, to_s in answer_delays(happened)]),
        interruptions=len(barged),
        silent_after_ms=_median([ms for e in barged if (ms := _residual_ms(e, happened, speaker)) is not None]),
        lines_lost=len(lost),
        line_back_after_ms=_median(back_ms),
        speech_resent_ms=sum(o.resent_ms for o in back if o is not None),
        speech_lost_ms=sum(e.lost_ms for e in of(happened, events.SpeechLost)),
        room_s=round(room_frames * 0.02, 1),
        stayed_in_the_room=round(1 - (counters.speech - counters.resent) / max(1, room_frames), 3),
        asleep_at_the_end=bool(moves) and moves[-1].after == State.ASLEEP.value,
    )


def judge(facts: Facts, expected: Sequence[str], happened: Sequence[Event], speaker: Recording | None) -> list[str]:
    """The missing parts of the scripted conversation; empty if all steps went as scripted.

    expected: words that the agent must have understood, one for each line of the play, in order.
    """
    missing: list[str] = []
    rest = list(facts.understood)
    for words in expected:
        while rest and words not in rest[0].lower():
            rest.pop(0)
        if not rest:
            missing.append(f"the agent never understood “{words}”; it understood {facts.understood}")
            break
    if facts.answers < len(expected):
        missing.append(f"there were {facts.answers} answers to {len(expected)} lines")
    if facts.interruptions != 1:
        missing.append(f"{facts.interruptions} interruptions instead of one")
    elif facts.silent_after_ms is None or facts.silent_after_ms > SILENT_WITHIN_MS:
        missing.append(f"the speaker was not silent within {SILENT_WITHIN_MS} ms of the interruption")
    if facts.lines_lost < 1 or facts.line_back_after_ms is None:
        missing.append("the line was not lost and found again")
    elif facts.speech_resent_ms == 0:
        missing.append("nothing was sent again after the line was lost in mid-sentence")
    if facts.speech_lost_ms:
        missing.append(f"{facts.speech_lost_ms} ms of speech were lost")
    if not facts.asleep_at_the_end:
        missing.append("it did not fall asleep")
    for started in of(happened, events.AnswerStarted):
        ended = _first_after(of(happened, events.AnswerEnded), started.at_s)
        if speaker is not None and ended is not None and speaker.last_sound_s(started.at_s, ended.at_s) is None:
            missing.append(f"answer {started.answer} cannot be heard in the recording of the speaker")
    return missing


def of(happened: Sequence[Event], kind: type[E]) -> list[E]:
    return [event for event in happened if isinstance(event, kind)]


def _first_after(candidates: Sequence[E], at_s: float) -> E | None:
    return next((event for event in candidates if event.at_s >= at_s), None)


def answer_delays(happened: Sequence[Event]) -> list[tuple[float, float]]:
    """The end of each question, and the first sound of its answer."""
    delays: list[tuple[float, float]] = []
    ended_s: float | None = None
    for event in sorted(happened, key=lambda e: e.at_s):
        if isinstance(event, events.TalkStopped):
            ended_s = event.at_s
        elif isinstance(event, events.AnswerStarted) and ended_s is not None:
            delays.append((ended_s, event.at_s))
            ended_s = None
    return delays


def _residual_ms(cut: events.BargedIn, happened: Sequence[Event], speaker: Recording | None) -> int | None:
    """The time from the order to be silent to the last audible sample in the recording."""
    if speaker is None:
        return None
    following = _first_after(of(happened, events.AnswerStarted), cut.at_s)
    until_s = cut.at_s + 1.0 if following is None else min(cut.at_s + 1.0, following.at_s)
    last_s = speaker.last_sound_s(cut.at_s, until_s)
    return 0 if last_s is None else round((last_s - cut.at_s) * 1000)


def _median(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None
