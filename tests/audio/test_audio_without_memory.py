"""Parts that hold sound, after a call that found no memory: nothing is twice, and what is told stays exact."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playback_room import Room, SteppingOutput, tone

from parleyd.audio import resample
from parleyd.audio.capture.capture import Capture
from parleyd.audio.capture.missing import Why
from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.devices.safe_callbacks import SafeCallbacks
from parleyd.audio.echo import linear_filter
from parleyd.audio.echo.canceller import EchoCanceller
from parleyd.audio.echo.delay_line import DelayLine
from parleyd.audio.echo.far_end import FarEnd, FarFrame
from parleyd.audio.echo.linear_filter import PARTS
from parleyd.audio.pcm import FRAME_SAMPLES, AudioFormat, Frame
from parleyd.audio.playback import mix as mix_module
from parleyd.audio.playback import speaker as speaker_module
from parleyd.audio.playback.earcon_track import EarconTrack
from parleyd.audio.playback.pipeline import Job
from parleyd.audio.resample import Resampler

Fails = Callable[..., None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """The calls of this function with these numbers, from 1 on, find no memory; afterwards: although they were made."""

    def prepare(owner: object, name: str, *numbers: int, afterwards: bool = False) -> None:
        function, calls = getattr(owner, name), iter(range(1, 10**9))

        def short(*args: Any, **options: Any) -> object:
            is_short = next(calls) in numbers
            if is_short and not afterwards:
                raise MemoryError("no memory")
            result = function(*args, **options)
            if is_short:
                raise MemoryError("no memory")
            return result

        monkeypatch.setattr(owner, name, short)

    return prepare


def again(call: Callable[[], bytes]) -> bytes:
    """What it gives at last."""
    for _ in range(5):
        try:
            return call()
        except MemoryError:
            pass
    raise AssertionError("it never succeeds")


@pytest.mark.parametrize("what", ["to_pcm", "samples_of"])
@pytest.mark.parametrize(("from_hz", "to_hz"), [(16_000, 48_000), (48_000, 16_000), (24_000, 48_000)])
def test_a_rate_is_changed_exactly_whatever_found_no_memory(fails: Fails, from_hz: int, to_hz: int, what: str) -> None:
    voice = tone(0.5, rate_hz=from_hz)
    blocks = [voice[at : at + 1600] for at in range(0, len(voice), 1600)]
    ideal = Resampler(from_hz, to_hz)
    wanted = b"".join(ideal.process(block) for block in blocks) + ideal.flush()
    fails(resample, what, 2, 5, 6, len(blocks) + 4)
    resampler = Resampler(from_hz, to_hz)
    made = b"".join(again(lambda block=block: resampler.process(block)) for block in blocks)  # type: ignore[misc]
    assert made + again(resampler.flush) == wanted


def test_the_library_that_found_no_memory_makes_no_sound_twice(fails: Fails) -> None:
    voice = tone(0.5, rate_hz=44_100)
    blocks = [voice[at : at + 4410] for at in range(0, len(voice), 4410)]
    fails(resample, "to_pcm", 3)
    resampler = Resampler(44_100, 48_000)
    made = b"".join(again(lambda block=block: resampler.process(block)) for block in blocks)  # type: ignore[misc]
    made += again(resampler.flush)
    # The converter holds some samples of the block before.
    assert 24_000 - 0.004 * 48_000 <= len(made) / 2 <= 24_000


@pytest.fixture
def its() -> Iterator[Room]:
    room = Room(SteppingOutput())
    room.playback.set_format(AudioFormat("pcm", 24_000))
    yield room
    room.playback.stop()


def played(room: Room, periods: int) -> np.ndarray:
    room.playback.enqueue(1, tone(0.3))
    room.playback.end_answer(1)
    room.playback.start()
    return room.pull(periods)


def test_sound_that_there_was_no_memory_to_make_is_made_again(
    its: Room, fails: Fails, caplog: pytest.LogCaptureFixture
) -> None:
    other = Room(SteppingOutput())
    other.playback.set_format(AudioFormat("pcm", 24_000))
    wanted = played(other, 34)
    other.playback.stop()
    fails(Job, "run", 1, 2, 4)
    fails(resample, "to_pcm", 2)
    with caplog.at_level(logging.WARNING):
        # The device of the test waits for the sound, so that there is no hole.
        assert np.array_equal(played(its, 34), wanted)
    assert its.wait_told(lambda told: any(what == "finished" for what, _ in told))
    assert [(heard.answer, heard.heard_ms, heard.finished) for heard in its.finished] == [(1, 300, True)]
    assert [what for what, _ in its.told] == ["started", "finished"]
    assert len([one for one in caplog.records if "not enough memory" in one.getMessage()]) == 1


def test_sound_that_was_cleared_meanwhile_is_not_made_again_for_anybody(its: Room, fails: Fails) -> None:
    fails(Job, "run", 2)
    played(its, 3)
    its.playback.clear()
    its.playback.enqueue(2, tone(0.1, peak=5000))
    its.playback.end_answer(2)
    rest = its.pull(20)
    assert its.wait_told(lambda told: sum(what == "finished" for what, _ in told) == 2)
    assert (its.finished[1].answer, its.finished[1].heard_ms, its.finished[1].finished) == (2, 100, True)
    assert np.max(np.abs(rest[480:])) < 5100


def test_a_speaker_that_found_no_memory_when_it_was_opened_is_opened_again(fails: Fails) -> None:
    device = SteppingOutput()
    room = Room(device, cut="sharp")
    room.playback.set_format(AudioFormat("pcm", 24_000))
    played(room, 3)
    fails(EarconTrack, "resampled", 1, 2)
    room.playback.clear()
    room.playback.enqueue(2, tone(0.1))
    room.playback.end_answer(2)
    playback = room.playback
    with playback._changed:
        assert playback._changed.wait_for(lambda: device.opened == 4 and playback._speaker._opening is not None, 60)
    room.pull(15)
    assert room.wait_told(lambda told: sum(what == "finished" for what, _ in told) == 2)
    assert (room.finished[1].heard_ms, room.finished[1].finished) == (100, True)
    room.playback.stop()


def test_a_period_that_there_was_no_memory_to_make_is_a_hole_that_the_canceller_knows(
    its: Room, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bytes] = []
    far_end = FarEnd()
    monkeypatch.setattr(far_end, "take", lambda pcm, _at_s: taken.append(pcm))
    its.playback._speaker._far_end = far_end
    device = its.device
    assert isinstance(device, SteppingOutput)
    played(its, 3)
    its.playback.set_volume(0.5)
    fails(speaker_module, "scaled", 1, 2)
    fails(mix_module, "mixed", 1, 2)
    assert device.fill is not None
    its.settle()
    with pytest.raises(MemoryError):
        device.fill(480)
    assert its.playback.underruns == 1
    assert (len(taken), taken[-1]) == (4, bytes(960))


class HandFed:
    """A microphone at 48 kHz whose periods the test delivers."""

    name = "hand fed"
    overflows = 0

    def __init__(self) -> None:
        self.deliver: Deliver | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        self.deliver = deliver
        return StreamInfo(48_000, 1, 960, 0.02)

    def close(self) -> None:
        self.deliver = None


def test_a_period_that_found_no_memory_is_missing_and_no_other(fails: Fails) -> None:
    device = HandFed()
    capture = Capture(device)
    capture.start()
    fails(Resampler, "process", 21, afterwards=True)
    frames: list[Frame] = []
    lost = 0
    period = tone(0.02, rate_hz=48_000)
    assert device.deliver is not None
    for number in range(60):
        device.deliver(period, 50.0 + number * 0.02)
        try:
            frames += capture.frames()
        except MemoryError:
            lost += 1
    assert lost == 1
    assert capture.missing_ms == 20
    missing = capture._missing
    missing._close()
    assert [(one.begin_s, one.missing_ms, one.why) for one in missing.take(60.0)] == [(50.4, 20, Why.NO_MEMORY)]
    # What follows has its true time.
    assert frames[-1].start_s == pytest.approx(50.0 + 59 * 0.02, abs=0.025)
    steps = np.diff([frame.start_s for frame in frames])
    assert sum(step > 0.03 for step in steps) <= 1
    assert max(steps) < 0.05


def test_a_batch_of_which_one_period_found_no_memory_gives_the_others(fails: Fails) -> None:
    device = HandFed()
    capture = Capture(device)
    capture.start()
    fails(Resampler, "process", 3)
    assert device.deliver is not None
    capture.batch_ms = 100
    for number in range(5):
        device.deliver(tone(0.02, rate_hz=48_000), 50.0 + number * 0.02)
    assert len(capture.frames()) >= 3
    assert capture.missing_ms == 20


def test_a_far_end_that_lost_periods_begins_anew_and_says_that_it_is_not_aligned(fails: Fails) -> None:
    far_end = FarEnd()
    far_end.start(48_000, 0.02)
    period = tone(0.01, rate_hz=48_000)
    fails(DelayLine, "append", 41)
    aligned: list[bool | None] = []
    for number in range(100):
        at_s = 50.0 + number * 0.02
        far_end.take(period, at_s)
        far_end.take(period, at_s + 0.01)
        try:
            frame = far_end.frame(at_s - 0.1)
        except MemoryError:
            aligned.append(None)
            continue
        aligned.append(frame.aligned and frame.samples is not None)
    assert aligned[40] is None
    assert aligned[39]
    assert False in aligned[41:50], "what the canceller knew is not where it was"
    assert all(aligned[60:])
    assert len(far_end._line) <= 1.6 * 48_000


def test_a_speaker_that_is_opened_again_asks_for_no_further_memory(fails: Fails) -> None:
    far_end = FarEnd()
    period = tone(0.01, rate_hz=48_000)

    def opened() -> FarFrame:
        far_end.start(48_000, 0.02)
        for number in range(20):
            far_end.take(period, 50.0 + number * 0.01)
        return far_end.frame(50.05)

    assert opened().samples is not None
    fails(np, "zeros", 1, 2, 3)
    fails(np, "empty", 1, 2, 3)
    assert opened().samples is not None


def test_no_person_is_reported_until_the_canceller_has_heard_its_length_again(fails: Fails) -> None:
    dice = np.random.default_rng(1)
    canceller = EchoCanceller()
    talks_from, lost = 150, 180
    # Two calls in each frame after the first, in which the far end was not known for long enough.
    fails(linear_filter, "inverse", 2 * lost + 1)
    reported: list[bool | None] = []
    for number in range(lost + 2 * PARTS):
        far = (dice.standard_normal(FRAME_SAMPLES) * 0.05).astype(np.float32)
        near = far * 0.3
        if number >= talks_from:
            near = near + dice.standard_normal(FRAME_SAMPLES) * 0.2
        frame = Frame(np.rint(near * 32767).clip(-32768, 32767).astype("<i2").tobytes(), number * 0.02)
        try:
            reported.append(canceller.step(frame, FarFrame(far)).may_be_speech)
        except MemoryError:
            reported.append(None)
    assert reported.index(None) == lost
    assert all(reported[lost - 10 : lost])
    assert not any(reported[lost : lost + PARTS])


def test_a_callback_without_memory_gives_silence_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from parleyd.audio.devices import safe_callbacks

    def full(*_args: object, **_options: object) -> Any:
        raise MemoryError

    callbacks = SafeCallbacks("a card")
    fill, deliver = callbacks.fill(full), callbacks.deliver(full)
    with monkeypatch.context() as patch:
        patch.setattr(safe_callbacks.log, "error", full)
        assert fill(480) == bytes(960)
        deliver(b"", 0.0)
    assert fill(480) is fill(480), "nothing is asked of a memory that is full"
    monkeypatch.setattr(safe_callbacks, "spread", full)
    assert SafeCallbacks("a card").fill(lambda samples: bytes(2 * samples), 2)(480) == bytes(1920)
    assert len(caplog.records) == 2


def test_a_clock_goes_on_after_a_tick_without_memory() -> None:
    import threading

    ticks: list[float] = []
    enough = threading.Event()

    def tick(at_s: float) -> None:
        ticks.append(at_s)
        if len(ticks) == 2:
            raise MemoryError
        if len(ticks) == 4:
            enough.set()

    clock = RealTimeClock("wav input", 0.01, tick, start_s=0.0)
    assert enough.wait(60)
    clock.stop()
