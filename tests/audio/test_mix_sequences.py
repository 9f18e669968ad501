"""The invariants of Mix, as its docstring lists them, held against sequences of everything that can happen to it.

Each sample of an answer has a value of its own, so that what the device takes shows where it comes from. Rates are
equal, so that no resampler blurs that; test_mix.py has those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.audio.earcons.sounds import Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.mix import FADE_S, Mix
from parleyd.audio.playback.pipeline import Job
from parleyd.audio.playback.playhead import GIVE_UP_S, WHOLE_WITHIN_S, HeardPart, Started

# Ten samples are a millisecond; a period is 100.
RATE_HZ = 10_000
PERIOD = 100
LATENCY_S = 0.02
FADE_SAMPLES = round(FADE_S * RATE_HZ)
FMT = AudioFormat("pcm", RATE_HZ)
EARCON = Sound(np.full(120, 1, "<i2").tobytes(), RATE_HZ)


@dataclass
class Came:
    """What came of one answer, and what became of it."""

    samples: int = 0
    discarded: int = 0  # while nobody could hear
    taken: int = 0
    cleared: int = 0
    taken_at: list[float] = field(default_factory=list)  # when each sample is through


class Model:
    """A Mix beside what is known of it from outside."""

    def __init__(self) -> None:
        self.mix = Mix(volume=1.0, duck_db=12.0, earcons={"error": EARCON})
        self.mix.set_format(FMT)
        self.mix.device_opened(RATE_HZ, PERIOD, LATENCY_S, self.mix.earcons.resampled(RATE_HZ))
        self.now_s = 50.0
        self.came: dict[int, Came] = {}
        self.order: list[tuple[int, int]] = []  # (answer, value) that wait, in the order in which they came
        self.value = 0
        self.jobs: list[Job] = []
        self.fade_left = 0
        self.told: list[Started | HeardPart] = []
        self.floor: int | None = None
        self.ended: set[int] = set()
        self.discards = False

    # ------------------------------------------------------------ what happens

    def enqueue(self, answer: int, count: int) -> None:
        values = [(self.value + n) % 30_000 + 1_000 for n in range(count)]
        self.value += count
        self.mix.enqueue(answer, np.array(values, "<i2").tobytes(), self.now_s)
        it = self.came.setdefault(answer, Came())
        if self.discards:
            it.discarded += count
        else:
            it.samples += count
            self.order += [(answer, value) for value in values]
        self.look()

    def end(self, answer: int) -> None:
        self.mix.end_answer(answer)
        self.look()

    def clear(self, fade: bool) -> None:
        heard = self.mix.clear(self.now_s, fade=fade)
        for answer, _ in self.order:
            self.came[answer].cleared += 1
        self.order = []
        self.fade_left = len(self.mix._fade) // 2
        assert self.fade_left <= (FADE_SAMPLES if fade else 0)
        self.look(sharp=not fade)
        assert self.mix.queued_s == 0.0, "a clear leaves nothing"
        assert self.floor is None, "nobody has the floor after a clear"
        assert set(heard) <= set(self.told)
        assert self.mix.voice_waits == (self.fade_left > 0)

    def discard(self, on: bool) -> None:
        if on and not self.discards:
            for answer, _ in self.order:
                self.came[answer].cleared += 1
            self.order, self.fade_left = [], 0
        self.mix.discard(on, self.now_s)
        self.discards = on
        self.look(sharp=True)

    def work(self) -> None:
        """A job is begun, and finished only later: anything may happen meanwhile."""
        job = self.mix.work()
        if job is not None:
            self.jobs.append(job)

    def finish(self) -> None:
        for job in self.jobs:
            job.run()
            self.mix.finish(job)
        self.jobs = []

    def settle(self) -> None:
        self.finish()
        while (job := self.mix.work()) is not None:
            job.run()
            self.mix.finish(job)

    def period(self, count: int) -> None:
        """The device takes count samples."""
        waited = self.mix.queued_s
        period = self.mix.period(count, self.now_s)
        assert len(period.pcm()) == 2 * count
        voice = np.zeros(count, np.int32)
        for layer in period.layers:
            values = np.frombuffer(layer.pcm, "<i2")
            if len(layer.gains) == 2:
                voice[: len(values)] = values
        at = 0
        if self.fade_left:
            at = min(self.fade_left, count)
            self.fade_left -= at
        rest = voice[at:]
        sounds = int(np.count_nonzero(rest))
        assert not rest[sounds:].any(), "silence stands behind the sound, not within it"
        expected = self.order[:sounds]
        assert rest[:sounds].tolist() == [value for _, value in expected], "in order, each once"
        for n, (answer, _) in enumerate(expected):
            it = self.came[answer]
            it.taken += 1
            it.taken_at.append(self.now_s + LATENCY_S + (at + n + 1) / RATE_HZ)
        del self.order[:sounds]
        if not self.jobs:
            assert waited - self.mix.queued_s == pytest.approx(sounds / RATE_HZ, abs=1e-6)
        self.now_s += count / RATE_HZ
        self.look()

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.look()

    # ------------------------------------------------------------ what must be so

    def look(self, *, sharp: bool = False) -> None:
        for it in self.mix.told(self.now_s):
            self.told.append(it)
            if isinstance(it, Started):
                assert self.floor is None, "two answers have the floor"
                assert it.at_s <= self.now_s or self.came[it.answer].taken > 0
                self.floor = it.answer
                continue
            assert self.floor in (None, it.answer), "another answer's end"
            self.floor = None
            came = self.came[it.answer]
            through = sum(at_s <= self.now_s + 1e-9 for at_s in came.taken_at)
            assert it.heard_ms <= it.total_ms
            # It rounds, and counts a missing end that nobody can hear as heard.
            assert it.heard_ms <= came.taken * 1000 / RATE_HZ + 1 + WHOLE_WITHIN_S * 1000, (
                "told as heard what the device never took"
            )
            if sharp:
                assert it.heard_ms <= self.sounded(it.answer, through) * 1000 / RATE_HZ + 2
        assert came_is_kept(self), "sound came that is nowhere"

    def sounded(self, answer: int, through: int) -> int:
        """What was heard of it by now, or had been told before; a later sharp cut takes back nothing that was told."""
        before = max(
            (
                it.heard_ms * RATE_HZ // 1000
                for it in self.told[:-1]
                if isinstance(it, HeardPart) and it.answer == answer
            ),
            default=0,
        )
        return max(through, before) + RATE_HZ // 1000


def came_is_kept(model: Model) -> bool:
    waiting = dict.fromkeys(model.came, 0)
    for answer, _ in model.order:
        waiting[answer] += 1
    return all(it.taken + it.cleared + waiting[answer] == it.samples for answer, it in model.came.items())


ANSWERS = st.integers(1, 4)
STEPS: st.SearchStrategy[Callable[[Model], Any]] = st.one_of(
    st.builds(lambda answer, count: lambda it: it.enqueue(answer, count), ANSWERS, st.integers(1, 700)),
    st.builds(lambda answer: lambda it: it.end(answer), ANSWERS),
    st.builds(lambda fade: lambda it: it.clear(fade), st.booleans()),
    st.builds(lambda on: lambda it: it.discard(on), st.sampled_from([False, False, True])),
    st.just(Model.work),
    st.just(Model.finish),
    st.just(Model.settle),
    st.just(Model.settle),
    st.builds(lambda count: lambda it: it.period(count), st.sampled_from([PERIOD, PERIOD, PERIOD, 37, 250])),
    st.builds(lambda count: lambda it: it.period(count), st.just(PERIOD)),
    st.builds(lambda seconds: lambda it: it.wait(seconds), st.sampled_from([0.003, 0.05, 1.0])),
    st.builds(lambda on: lambda it: it.mix.duck(on), st.booleans()),
    st.builds(lambda volume: lambda it: it.mix.set_volume(volume), st.sampled_from([0.3, 1.0])),
    st.builds(lambda late: lambda it: it.mix.play_earcon("error", it.now_s, after_voice=late), st.booleans()),
    st.just(lambda it: it.mix.announcement.begin(FMT)),
    st.just(lambda it: it.mix.announcement.feed(b"\x01\x00" * 333)),
    st.just(lambda it: it.mix.announcement.end()),
    st.just(lambda it: it.mix.announcement.clear()),
    st.just(lambda it: it.mix.device_closed()),
    st.just(lambda it: it.mix.device_opened(RATE_HZ, PERIOD, LATENCY_S, None)),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=60))
def test_what_always_holds(steps: list[Callable[[Model], Any]]) -> None:
    model = Model()
    for step in steps:
        step(model)
    # Whatever came before: all that waits is heard in the end, and told.
    model.discard(False)
    for answer in model.came:
        model.end(answer)
    while model.mix.waits or model.order:
        model.settle()
        model.period(PERIOD)
    model.wait(LATENCY_S + GIVE_UP_S + 0.01)
    assert model.floor is None
    assert model.mix.next_told_s is None
    for answer, it in model.came.items():
        ends = [one for one in model.told if isinstance(one, HeardPart) and one.answer == answer]
        assert ends, "an answer of which nobody was told how it ended"
        came_ms, discarded_ms = (count * 1000 / RATE_HZ for count in (it.samples, it.discarded))
        assert came_ms - 1 <= ends[-1].total_ms <= came_ms + discarded_ms + 1
        if it.cleared == it.discarded == 0 and not any(isinstance(one, HeardPart) and not one.finished for one in ends):
            assert ends[-1].heard_ms == ends[-1].total_ms
