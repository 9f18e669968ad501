"""The end of every answer is told, once: whatever was lost of it, and in whichever order the threads come.

An answer whose end nobody is told of would hold back the ends of all answers after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback import answer_queue
from parleyd.audio.playback.mix import Mix
from parleyd.audio.playback.pipeline import Job
from parleyd.audio.playback.playhead import GIVE_UP_S, HeardPart, Started

LATENCY_S = 0.02


class Scene:
    """A Mix, and the segments whose end is still to be told: what a reader of Playback's docstring expects."""

    def __init__(self, rate_hz: int) -> None:
        self.mix = Mix(volume=1.0, duck_db=12.0)
        self.now_s = 50.0
        self.rate_hz = rate_hz
        self.open_device(rate_hz)
        self.jobs: list[Job] = []
        self.untold: list[tuple[int, bool]] = []  # (answer, whether it is closed)
        self.told: list[HeardPart] = []
        self.floor: int | None = None

    def open_device(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.mix.device_opened(rate_hz, rate_hz // 100, LATENCY_S, None)

    def enqueue(self, answer: int, rate_hz: int, samples: int) -> None:
        self.mix.set_format(AudioFormat("pcm", rate_hz))
        self.mix.enqueue(answer, b"\x01\x00" * samples, self.now_s)
        if self.untold and self.untold[-1] != (answer, False):
            self.untold[-1] = (self.untold[-1][0], True)
        if not self.untold or self.untold[-1] != (answer, False):
            self.untold.append((answer, False))

    def end(self, answer: int) -> None:
        self.mix.end_answer(answer)
        if self.untold and self.untold[-1][0] == answer:
            self.untold[-1] = (answer, True)

    def begin_job(self) -> None:
        job = self.mix.work()
        if job is not None:
            self.jobs.append(job)

    def end_job(self) -> None:
        for job in self.jobs:
            job.run()
            self.mix.finish(job)
        self.jobs = []

    def period(self) -> None:
        self.mix.period(self.rate_hz // 100, self.now_s)
        self.now_s += 0.010

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def look(self) -> None:
        for it in self.mix.told(self.now_s):
            if isinstance(it, Started):
                assert self.floor is None, "two answers have the floor"
                self.floor = it.answer
                continue
            assert self.untold, f"the end of answer {it.answer} is told twice"
            answer, _ = self.untold.pop(0)
            assert it.answer == answer, "the ends come in the order of the sound"
            assert self.floor in (None, it.answer)
            self.floor = None
            self.told.append(it)

    def do(self, steps: list[Callable[[Scene], Any]]) -> Scene:
        for step in steps:
            step(self)
            self.look()
        return self

    def play_out(self) -> None:
        """All that waits is played; then nothing more happens."""
        self.end_job()
        while self.mix.voice_waits:
            self.begin_job()
            self.end_job()
            self.period()
            self.look()
        self.wait(LATENCY_S + GIVE_UP_S + 0.01)
        self.look()
        assert self.untold == [], "an answer of which nobody was told how it ended"
        assert self.floor is None
        assert self.mix.next_told_s is None


def orders(*threads: list[Any]) -> Iterator[list[Any]]:
    """Every order in which the steps of these threads can come."""
    if not any(threads):
        yield []
    for index, thread in enumerate(threads):
        if thread:
            for rest in orders(*threads[:index], thread[1:], *threads[index + 1 :]):
                yield [thread[0], *rest]


def test_every_order_of_the_threads_while_the_queue_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is too long, one for which there is no room but for what was taken meanwhile, and a short one."""
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 0.02)
    agent = [
        lambda it: it.enqueue(1, 16_000, 480),
        lambda it: it.enqueue(2, 16_000, 320),
        lambda it: it.enqueue(2, 16_000, 320),
        lambda it: it.enqueue(3, 16_000, 80),
        lambda it: it.end(3),
    ]
    worker = [Scene.begin_job, Scene.end_job] * 2
    device = [Scene.period] * 2
    lost_ms = set()
    for steps in orders(agent, worker, device):
        scene = Scene(48_000).do(steps)
        scene.play_out()
        assert [it.answer for it in scene.told] == [1, 2, 3]
        for it in scene.told:
            assert it.finished == (it.lost_ms == 0)
            assert it.heard_ms + it.lost_ms == pytest.approx(it.total_ms, abs=1)
        assert sum(it.lost_ms for it in scene.told) == pytest.approx(scene.mix.dropped_s * 1000, abs=2)
        lost_ms.add(scene.told[1].lost_ms)
    # What fits depends on the order, so these were different scenes.
    assert len(lost_ms) > 2


RATES_HZ = [8_000, 16_000, 24_000, 44_100, 48_000]
STEPS: st.SearchStrategy[Callable[[Scene], Any]] = st.one_of(
    st.builds(
        lambda answer, rate_hz, samples: lambda it: it.enqueue(answer, rate_hz, samples),
        st.integers(1, 4),
        st.sampled_from(RATES_HZ),
        st.sampled_from([1, 2, 3, 10, 100, 1_000]),
    ),
    st.builds(lambda answer: lambda it: it.end(answer), st.integers(1, 4)),
    st.just(Scene.begin_job),
    st.just(Scene.end_job),
    st.just(Scene.period),
    st.builds(lambda seconds: lambda it: it.wait(seconds), st.sampled_from([0.003, 0.05, 1.0])),
    st.builds(lambda rate_hz: lambda it: it.open_device(rate_hz), st.sampled_from([16_000, 44_100, 48_000])),
)


@pytest.mark.parametrize("limit_s", [0.02, 1_800.0])
def test_each_end_is_told_once(monkeypatch: pytest.MonkeyPatch, limit_s: float) -> None:
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", limit_s)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(STEPS, min_size=3, max_size=40))
    def holds(steps: list[Callable[[Scene], Any]]) -> None:
        Scene(48_000).do(steps).play_out()

    holds()


@pytest.mark.parametrize("is_over", [True, False])
def test_an_answer_that_a_change_of_the_devices_rate_swallows_is_told(is_over: bool) -> None:
    """Three samples fit into the resampler, whose sound a change of the rate loses."""
    scene = Scene(48_000)
    scene.enqueue(1, 16_000, 3)
    scene.begin_job()
    scene.end_job()
    scene.open_device(44_100)
    if is_over:
        scene.end(1)
        scene.look()
    else:
        scene.wait(GIVE_UP_S)
        scene.look()
    assert scene.told == [HeardPart(1, 0, 0, True)]
    assert scene.told[0].ended_s == scene.now_s
    scene.enqueue(2, 16_000, 160)
    scene.play_out()
    assert scene.told[1:] == [HeardPart(2, 10, 10, True)]


def test_an_answer_that_was_swallowed_is_told_when_the_next_one_sounds() -> None:
    scene = Scene(48_000)
    scene.enqueue(1, 16_000, 3)
    scene.begin_job()
    scene.end_job()
    scene.open_device(44_100)
    scene.enqueue(2, 16_000, 1_600)
    scene.look()
    assert scene.told == []
    for _ in range(2):
        scene.begin_job()
        scene.end_job()
    scene.period()
    scene.wait(LATENCY_S)
    scene.look()
    assert scene.told == [HeardPart(1, 0, 0, True)]
    assert scene.floor == 2
    scene.play_out()
