"""From periods of any length and any clock to frames, without a device: the test is the device's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from parleyd.audio.capture.capture import HOLE_S, STARVED_S, Capture
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.pcm import FRAME_SAMPLES, SILENT_FRAME, Frame

T = TypeVar("T")


class HandFed:
    """A microphone whose periods the test delivers."""

    name = "hand fed"
    overflows = 0

    def __init__(self, rate_hz: int = 16_000) -> None:
        self.rate_hz = rate_hz
        self.deliver: Deliver | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        self.deliver = deliver
        return StreamInfo(self.rate_hz, 1, self.rate_hz // 50, 0.02)

    def close(self) -> None:
        self.deliver = None


def started(rate_hz: int = 16_000) -> tuple[HandFed, Capture]:
    device = HandFed(rate_hz)
    capture = Capture(device)
    capture.start()
    return device, capture


def feed(device: HandFed, capture: Capture, pcm: bytes, start_s: float) -> list[Frame]:
    assert device.deliver is not None
    device.deliver(pcm, start_s)
    return capture.frames()


def noise(samples: int) -> bytes:
    return np.random.default_rng(1).integers(1, 9_000, samples).astype("<i2").tobytes()


@pytest.mark.parametrize("period", [341, 160, 333, 1024, 7])
def test_periods_that_are_no_multiple_of_a_frame(period: int) -> None:
    device, capture = started()
    sound = noise(16_000)
    frames: list[Frame] = []
    for i in range(0, 16_000, period):
        frames += feed(device, capture, sound[2 * i : 2 * (i + period)], 100.0 + i / 16_000)
    assert b"".join(frame.pcm for frame in frames) == sound[: len(frames) * 2 * FRAME_SAMPLES]
    assert len(frames) == 50
    assert [frame.start_s for frame in frames] == pytest.approx([100.0 + 0.02 * i for i in range(50)])


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 8_000])
def test_frames_tell_when_they_sounded_whatever_the_resampler_holds_back(rate_hz: int) -> None:
    device, capture = started(rate_hz)
    period = 341
    click = np.zeros(rate_hz, "<i2")
    click[rate_hz // 2 : rate_hz // 2 + rate_hz // 100] = 20_000
    frames: list[Frame] = []
    for i in range(0, rate_hz, period):
        frames += feed(device, capture, click[i : i + period].tobytes(), 100.0 + i / rate_hz)
    loud = [(frame, np.nonzero(np.abs(np.frombuffer(frame.pcm, "<i2")) > 10_000)[0]) for frame in frames]
    frame, where = next((frame, where) for frame, where in loud if len(where))
    assert frame.start_s + where[0] / 16_000 == pytest.approx(100.5, abs=0.001)


@pytest.mark.parametrize("ppm", [100, -100])
def test_a_clock_100_ppm_off_over_an_hour(ppm: int) -> None:
    """The device counts 16 000 samples per second of its own; arrivals jitter by up to 8 ms."""
    device, capture = started()
    period_s = 0.02 / (1 + ppm * 1e-6)
    jitter_s = np.random.default_rng(2).uniform(0, 0.008, 180_000)
    pcm = b"\x01\x00" * FRAME_SAMPLES
    late_s = []
    most_waiting = 0
    for count, jitter in enumerate(jitter_s):
        true_s = 100.0 + count * period_s
        frames = feed(device, capture, pcm, true_s + jitter)
        assert len(frames) == 1, "no frame is kept back, none is lost, none is made up"
        late_s.append(frames[0].start_s - true_s)
        most_waiting = max(most_waiting, len(capture._periods), len(capture._pending))
    after_a_minute = np.array(late_s[3000:])
    # The least of the jitter, give or take; the same after an hour as after a minute.
    assert after_a_minute.min() > 0.0
    assert after_a_minute.max() < 0.002
    assert abs(after_a_minute[-3000:].mean() - after_a_minute[:3000].mean()) < 0.0003
    assert most_waiting == 0
    assert capture.dropped_periods == 0


def test_a_dead_microphone_is_silence_in_real_time_and_no_moment_is_given_twice() -> None:
    device, capture = started()
    began_s = time.monotonic()
    given = feed(device, capture, noise(320), began_s)
    while time.monotonic() < began_s + 2.5 * STARVED_S:
        given += capture.frames()
    # The sound server has stood still and hands over all at once: what it kept, and what is now.
    back_s = time.monotonic()
    backlog = noise(320)
    for number in range(50):
        given += feed(device, capture, backlog, back_s + number * 0.002 - 0.02)
    now_s = back_s + 0.1
    starts_s = np.array([frame.start_s for frame in given])
    steps_s = np.diff(starts_s)
    # Where sound follows upon silence, half a frame at most is given twice.
    assert (steps_s > 0.01).all()
    assert steps_s.max() < 0.04
    assert any(frame.pcm == SILENT_FRAME for frame in given)
    assert len(given) * 0.02 <= now_s - began_s + HOLE_S + 0.04
    assert starts_s[-1] < now_s + HOLE_S + 0.04


class StandsStill(threading.Condition):
    """In its first wait the process stands still, and in the second one the microphone's thread runs again."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__(threading.Lock())
        self.then = then
        self.waits = 0

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        self.waits += 1
        if self.waits == 1:
            # The process stands still.
            time.sleep(STARVED_S + 0.1)
            return predicate()
        if self.waits == 2:
            threading.Thread(target=self.then, daemon=True).start()
        return super().wait_for(predicate, timeout)


def test_after_the_process_stood_still_the_sound_of_that_time_is_heard_and_no_silence_in_its_place() -> None:
    device, capture = started()
    began_s = time.monotonic()
    given = feed(device, capture, noise(320), began_s)
    late = [noise(320 * 16)[640 * at : 640 * (at + 1)] for at in range(16)]

    def deliver() -> None:
        for number, period in enumerate(late, 1):
            assert device.deliver is not None
            device.deliver(period, began_s + number * 0.02)

    capture._ready = StandsStill(deliver)
    while len(given) < 17:
        given += capture.frames()
    assert b"".join(frame.pcm for frame in given[1:]) == b"".join(late)


def test_silence_goes_on_up_to_the_first_sound_of_a_device_that_is_back() -> None:
    device, capture = started()
    began_s = time.monotonic() - 0.5
    given = feed(device, capture, noise(320), began_s)
    given += capture.frames()
    capture.stop()
    device.rate_hz = 48_000
    capture.start()
    silent_until_s = given[-1].start_s + 0.02
    later_s = silent_until_s + 0.15
    sound = noise(48_000)
    for i in range(0, 4_800, 960):
        given += feed(device, capture, sound[2 * i : 2 * (i + 960)], later_s + i / 48_000)
    steps_s = np.diff([frame.start_s for frame in given])
    assert (steps_s > 0.01).all()
    assert steps_s.max() < 0.04
    assert given[-1].pcm != SILENT_FRAME
    assert given[-1].start_s == pytest.approx(later_s + 0.06, abs=0.021)


def test_what_counts_as_sound() -> None:
    device, capture = started()
    assert (capture.last_period_s, capture.last_sound_s) == (0.0, 0.0)
    feed(device, capture, bytes(640), 100.0)
    assert capture.last_period_s > 0
    assert capture.last_sound_s == 0.0
    feed(device, capture, bytes(639) + b"\x01", 100.02)
    assert capture.last_sound_s == capture.last_period_s


def test_slow_ears_are_not_given_ever_more_silence() -> None:
    device, capture = started()
    assert feed(device, capture, noise(640), time.monotonic() - 30.0)
    before_s = time.monotonic()
    silence = capture.frames()
    assert {frame.pcm for frame in silence} == {SILENT_FRAME}
    assert len(silence) == pytest.approx(50, abs=1), "thirty seconds behind, one is made up"
    assert before_s - 0.04 < silence[-1].start_s < time.monotonic()
