"""Counters and distributions since the start, computed from events. Pure."""

from __future__ import annotations

import bisect

from msgspec import Struct, field

from parleyd.core import events

# The upper edges of the buckets; a last bucket has no upper edge.
EDGES_MS = (5, 10, 20, 50, 100, 200, 400, 700, 1000, 1500, 2000, 3000, 5000, 10_000)
# An answer that begins later than this after the end of speech belongs to something else.
ANSWER_WITHIN_S = 30.0


class Distribution(Struct):
    """A distribution of durations. buckets: the number up to each of EDGES_MS, and beyond; not cumulative."""

    count: int = 0
    sum_ms: float = 0.0
    last_ms: float | None = None
    buckets: list[int] = field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))

    def add(self, ms: float) -> None:
        self.count += 1
        self.sum_ms += ms
        self.last_ms = round(ms, 1)
        self.buckets[bisect.bisect_left(EDGES_MS, ms)] += 1


class Metrics(Struct):
    """session_s: the duration of all sessions. fallbacks: how often the fallback began to answer. lost_speech_ms:
    speech that reached no agent. missing_sound_ms: sound of the room that did not reach the ears. heard_s: sound from
    the microphone; speech_s: the part of it that passed the gate as speech. sent_bytes, received_bytes: of messages to
    and from agents."""

    wakes: int = 0
    sessions: int = 0
    session_s: float = 0.0
    reconnects: int = 0
    failed_tries: int = 0
    utterances: int = 0
    answers: int = 0
    interruptions: int = 0
    tool_calls: int = 0
    lost_speech_ms: int = 0
    missing_sound_ms: int = 0
    device_losses: int = 0
    fallbacks: int = 0
    heard_s: float = 0.0
    speech_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    speech_to_sound: Distribution = field(default_factory=Distribution)
    wake_to_live: Distribution = field(default_factory=Distribution)
    clear_residual: Distribution = field(default_factory=Distribution)


class MetricsCollector:
    """Call take() for every event of the bus, in order."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._woken_s: float | None = None
        self._spoken_s: float | None = None
        self._cut_s: float | None = None
        self._live_s: float | None = None

    def session_s(self, now_s: float) -> float:
        """metrics.session_s, including the session that is live now."""
        return self.metrics.session_s + (now_s - self._live_s if self._live_s is not None else 0.0)

    def take(self, event: events.Event) -> None:
        it = self.metrics
        match event:
            case events.StateChanged(before=before, after=after, at_s=at_s):
                self._move(before, after, at_s)
            case events.SessionOpened(at_s=at_s):
                it.sessions += 1
                if self._woken_s is not None:
                    it.wake_to_live.add((at_s - self._woken_s) * 1000)
                    self._woken_s = None
            case events.UtteranceStarted():
                it.utterances += 1
                self._spoken_s = None
            case events.TalkStopped(at_s=at_s):
                self._spoken_s = at_s
            case events.AnswerStarted(at_s=at_s):
                it.answers += 1
                if self._spoken_s is not None and 0 <= at_s - self._spoken_s < ANSWER_WITHIN_S:
                    it.speech_to_sound.add((at_s - self._spoken_s) * 1000)
                self._spoken_s = None
            case events.BargedIn(at_s=at_s):
                it.interruptions += 1
                self._cut_s = at_s
            case events.AnswerEnded(at_s=at_s):
                if self._cut_s is not None:
                    it.clear_residual.add(max(0.0, at_s - self._cut_s) * 1000)
                    self._cut_s = None
            case events.SpeechLost(lost_ms=lost_ms):
                it.lost_speech_ms += lost_ms
            case events.SoundMissing(missing_ms=missing_ms):
                it.missing_sound_ms += missing_ms
            case events.ToolCalled():
                it.tool_calls += 1
            case events.DeviceLost():
                it.device_losses += 1
            case events.FallbackBegan():
                it.fallbacks += 1
            case _:
                pass

    def _move(self, before: str, after: str, at_s: float) -> None:
        it = self.metrics
        if before == "asleep":
            it.wakes += 1
            self._woken_s = at_s
        if before == "backing off" and after == "connecting":
            it.reconnects += 1
        if after == "backing off" and before == "connecting":
            it.failed_tries += 1
        if after == "live":
            self._live_s = at_s
        elif self._live_s is not None:
            it.session_s += at_s - self._live_s
            self._live_s = None
        if after in ("asleep", "backing off"):
            self._woken_s = None
