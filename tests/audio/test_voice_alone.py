"""The short way of a period, Mix.voice_alone(), against the long one: the same sound, the same state afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.audio.earcons.sounds import Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.gain import AS_IS, scaled
from parleyd.audio.playback.mix import Mix
from parleyd.audio.playback.pipeline import Job

# Ten samples are a millisecond; a period is 100.
RATE_HZ, OTHER_RATE_HZ, FED_HZ = 10_000, 20_000, 5_000
PERIOD = 100
LATENCY_S = 0.02
FMT = AudioFormat("pcm", FED_HZ)
EARCON = Sound(np.full(120, 700, "<i2").tobytes(), RATE_HZ)


class One:
    """A mix, and how its periods are asked for. short: how many went the short way."""

    def __init__(self, *, may_be_short: bool) -> None:
        self.mix = Mix(volume=1.0, duck_db=12.0, earcons={"error": EARCON})
        self.mix.set_format(FMT)
        self.open(RATE_HZ)
        self.jobs: list[Job] = []
        self.short = 0
        self._may_be_short = may_be_short

    def open(self, rate_hz: int) -> None:
        self.mix.device_closed()
        self.mix.device_opened(rate_hz, PERIOD * rate_hz // RATE_HZ, LATENCY_S, self.mix.earcons.resampled(rate_hz))

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

    def period(self, samples: int, now_s: float) -> tuple[bytes, bool]:
        """→ its sound, and whether the worker would be woken."""
        alone = self.mix.voice_alone(samples, now_s) if self._may_be_short else None
        if alone is not None:
            self.short += 1
            pcm, volume = alone
            assert not self.mix.has_work
            assert self.mix.next_told_s is None
            return pcm if volume is AS_IS else scaled(pcm, volume), False
        waits = self.mix.waits
        period = self.mix.period(samples, now_s)
        return period.pcm(), waits and (self.mix.has_work or self.mix.next_told_s is not None)

    def state(self, now_s: float) -> tuple[Any, ...]:
        mix = self.mix
        return (
            *(mix.waits, mix.voice_waits, mix.has_work, mix.next_told_s, mix.underruns, mix.silent_from_s),
            *(round(mix.queued_s, 9), mix.audible(now_s), mix.last_period_s, mix.announcement.last_period_s),
            mix.announcement.left(now_s),
        )


class Two:
    """Everything happens to both."""

    def __init__(self) -> None:
        self.long, self.short = One(may_be_short=False), One(may_be_short=True)
        self.now_s = 50.0
        self.rate_hz = RATE_HZ
        self._value = 0

    def do(self, what: Callable[[One], object]) -> None:
        expected, found = what(self.long), what(self.short)
        assert found == expected
        assert self.short.state(self.now_s) == self.long.state(self.now_s)

    def sound(self, samples: int) -> bytes:
        self._value += samples
        values = (np.arange(self._value - samples, self._value) % 20_000 + 1_000).astype("<i2")
        pcm: bytes = values.tobytes()
        return pcm

    def enqueue(self, answer: int, samples: int) -> None:
        data = self.sound(samples)
        self.do(lambda it: it.mix.enqueue(answer, data, self.now_s))

    def announce(self, samples: int) -> None:
        data = self.sound(samples)
        self.do(lambda it: it.mix.announcement.begin(FMT))
        self.do(lambda it: it.mix.announcement.feed(data))

    def feed(self, samples: int) -> None:
        data = self.sound(samples)
        self.do(lambda it: it.mix.announcement.feed(data))

    def reopen(self) -> None:
        self.rate_hz = OTHER_RATE_HZ if self.rate_hz == RATE_HZ else RATE_HZ
        self.do(lambda it: it.open(self.rate_hz))

    def periods(self, count: int, samples: int) -> None:
        """The device takes periods, and the worker keeps up with it."""
        for _ in range(count):
            self.do(lambda it: it.settle())
            self.do(lambda it: it.period(samples * self.rate_hz // RATE_HZ, self.now_s))
            self.now_s += samples / RATE_HZ
            self.do(lambda it: it.mix.told(self.now_s))


ANSWERS = st.integers(1, 3)
STEPS = st.one_of(
    st.tuples(st.just("enqueue"), ANSWERS, st.integers(1, 1500)),
    st.tuples(st.just("periods"), st.integers(1, 25), st.sampled_from([PERIOD, PERIOD, PERIOD, 50, 130])),
    st.tuples(st.just("period"), st.just(PERIOD)),
    st.tuples(st.just("work")),
    st.tuples(st.just("finish")),
    st.tuples(st.just("end"), ANSWERS),
    st.tuples(st.just("clear"), st.booleans()),
    st.tuples(st.just("discard"), st.booleans()),
    st.tuples(st.just("duck"), st.booleans()),
    st.tuples(st.just("volume"), st.sampled_from([0.0, 0.5, 1.0])),
    st.tuples(st.just("earcon"), st.booleans()),
    st.tuples(st.just("announce"), st.integers(1, 400)),
    st.tuples(st.just("feed"), st.integers(1, 400)),
    st.tuples(st.just("end_announcement")),
    st.tuples(st.just("clear_announcement")),
    st.tuples(st.just("under_talk"), st.booleans()),
    st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
    st.tuples(st.just("reopen")),
)


def happen(two: Two, step: tuple[Any, ...]) -> None:
    name, *values = step
    known: dict[str, Callable[..., None]] = {
        "enqueue": two.enqueue,
        "periods": two.periods,
        "period": lambda samples: two.do(lambda it: it.period(samples * two.rate_hz // RATE_HZ, two.now_s)),
        "work": lambda: two.do(lambda it: it.work()),
        "finish": lambda: two.do(lambda it: it.finish()),
        "end": lambda answer: two.do(lambda it: it.mix.end_answer(answer)),
        "clear": lambda fade: two.do(lambda it: it.mix.clear(two.now_s, fade=fade)),
        "discard": lambda on: two.do(lambda it: it.mix.discard(on, two.now_s)),
        "duck": lambda on: two.do(lambda it: it.mix.duck(on)),
        "volume": lambda volume: two.do(lambda it: it.mix.set_volume(volume)),
        "earcon": lambda after: two.do(lambda it: it.mix.play_earcon("error", two.now_s, after_voice=after)),
        "announce": two.announce,
        "feed": two.feed,
        "end_announcement": lambda: two.do(lambda it: it.mix.announcement.end()),
        "clear_announcement": lambda: two.do(lambda it: it.mix.announcement.clear()),
        "under_talk": lambda on: two.do(lambda it: it.mix.announcement.under_talk(on)),
        "reopen": two.reopen,
    }
    if name == "wait":
        two.now_s += values[0]
        two.do(lambda it: it.mix.told(two.now_s))
        return
    known[name](*values)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_the_short_way_gives_and_leaves_what_the_long_one_does(steps: list[tuple[Any, ...]]) -> None:
    two = Two()
    # Most sequences would have too little sound for it otherwise.
    two.enqueue(1, 3000)
    two.periods(5, PERIOD)
    for step in steps:
        happen(two, step)
    two.periods(70, PERIOD)


def test_an_answer_goes_the_short_way_but_for_its_edges_and_where_more_has_to_be_made() -> None:
    two = Two()
    two.enqueue(1, 2500)
    two.do(lambda it: it.mix.end_answer(1))
    two.periods(50, PERIOD)
    assert two.short.short > 35


def test_with_a_lower_volume_it_goes_the_short_way_too() -> None:
    two = Two()
    two.do(lambda it: it.mix.set_volume(0.5))
    two.enqueue(1, 2500)
    two.periods(50, PERIOD)
    assert two.short.short > 35


def test_what_changes_the_sound_is_heard_in_the_next_period_and_so_is_its_end() -> None:
    changes: tuple[tuple[tuple[Any, ...], ...], ...] = (
        (("duck", True), ("duck", False)),
        (("volume", 0.5), ("volume", 1.0)),
        (("earcon", False),),
        (("announce", 300), ("end_announcement",), ("feed", 50)),
        (("announce", 300), ("clear_announcement",)),
        (("clear", True), ("enqueue", 2, 1500)),
        (("clear", False), ("clear", True)),
        (("clear", False), ("enqueue", 1, 1500)),
    )
    for steps in changes:
        two = Two()
        two.enqueue(1, 2500)
        two.periods(15, PERIOD)
        assert two.short.short
        for step in steps:
            went = two.short.short
            happen(two, step)
            two.periods(1, PERIOD)
            assert two.short.short == went, step
            two.periods(9, PERIOD)


def test_a_second_hole_is_counted_after_periods_that_went_the_short_way() -> None:
    two = Two()
    two.enqueue(1, 2500)
    for hole in (1, 2):
        two.periods(8, PERIOD)
        for _ in range(15):
            # The worker is late.
            two.do(lambda it: it.period(PERIOD, two.now_s))
        assert two.short.mix.underruns == hole


def test_sound_that_waits_in_pieces_goes_back_whole_when_the_rate_changes() -> None:
    one = One(may_be_short=True)
    one.mix.enqueue(1, np.ones(2500, "<i2").tobytes(), 0.0)
    for number in range(5):
        one.settle()
        one.period(PERIOD, number * 0.01)
    blocks = len(one.mix._voice.queue)
    one.open(OTHER_RATE_HZ)
    assert len(one.mix._voice.queue) == blocks + 1
