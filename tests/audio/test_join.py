"""Two streams of one microphone are joined: no sample is missing, and none comes twice."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from parleyd.audio.capture.capture import RESTING_PERIOD_MS, Capture
from parleyd.audio.capture.join import PATIENCE_SAMPLES, Join
from parleyd.audio.devices.device import Deliver, DeviceError, StreamInfo
from parleyd.audio.pcm import PIPELINE_RATE_HZ

RATE = PIPELINE_RATE_HZ
QUIET = 30.0


def room(seconds: float, *, level: float = QUIET) -> np.ndarray:
    return np.rint(np.random.default_rng(3).normal(0, level, round(seconds * RATE))).astype("<i2")


class TwoStreams:
    """A microphone in a room. The test lets time pass; each stream delivers the periods that are complete by then."""

    name = "two streams"
    overflows = 0

    def __init__(self, sound: np.ndarray, *, late_s: float = 0.0, opens_beside: bool = True) -> None:
        self.sound = sound
        self.late_s = late_s  # by how much the second stream's periods come later
        self.opens_beside = opens_beside
        self.now = 0  # in samples
        self.streams: list[tuple[Deliver, int, int, float]] = []
        self.changed = threading.Condition()

    def open(self, deliver: Deliver) -> StreamInfo:
        self.streams = [(deliver, self.now, RATE // 50, 0.0)]
        return StreamInfo(RATE, 1, RATE // 50, 0.02)

    def open_beside(self, deliver: Deliver, period_ms: int | None) -> StreamInfo:
        if not self.opens_beside:
            raise DeviceError("it has only one stream", "nothing")
        period = RATE * (period_ms or 20) // 1000
        with self.changed:
            self.streams.append((deliver, self.now, period, self.late_s))
            self.changed.notify_all()
        return StreamInfo(RATE, 1, period, 0.02)

    def close_older(self) -> None:
        with self.changed:
            del self.streams[0]
            self.changed.notify_all()

    def close(self) -> None:
        self.streams = []

    def wait_streams(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.streams) == count, 10)

    def pass_20_ms(self) -> None:
        self.now += RATE // 50
        with self.changed:
            for number, (deliver, begin, period, late_s) in enumerate(self.streams):
                if self.now - begin >= period:
                    self.streams[number] = (deliver, begin + period, period, late_s)
                    deliver(self.sound[begin : begin + period].tobytes(), 100.0 + begin / RATE + late_s)


def heard_after(device: TwoStreams, capture: Capture, steps: int) -> bytes:
    heard = b""
    for _ in range(steps):
        device.pass_20_ms()
        while capture._periods:
            heard += b"".join(frame.pcm for frame in capture.frames())
    return heard


@pytest.mark.parametrize("late_s", [0.0, 0.013, -0.011, 0.031])
def test_longer_periods_and_back_without_a_sample_missed(late_s: float) -> None:
    device = TwoStreams(room(6.0), late_s=late_s)
    capture = Capture(device)
    capture.start()
    heard = heard_after(device, capture, 50)
    for rests in (True, False):
        capture.rest(rests)
        device.wait_streams(2)
        heard += heard_after(device, capture, 40)
        device.wait_streams(1)
        period_samples = device.streams[0][2]
        assert period_samples == RATE * (RESTING_PERIOD_MS if rests else 20) // 1000
        heard += heard_after(device, capture, 40)
        assert capture._switch is not None
        capture._switch.join(60)
    sound = device.sound.tobytes()[: len(heard)]
    assert len(heard) >= 2 * RATE * 4
    assert heard == sound


def test_where_the_microphone_has_one_stream_its_periods_stay() -> None:
    device = TwoStreams(room(3.0), opens_beside=False)
    capture = Capture(device)
    capture.start()
    heard = heard_after(device, capture, 10)
    capture.rest(True)
    assert capture._switch is not None
    capture._switch.join(60)
    capture.rest(True)
    heard += heard_after(device, capture, 50)
    assert heard == device.sound.tobytes()[: len(heard)]
    assert len(heard) == 2 * 60 * RATE // 50
    assert len(device.streams) == 1


def test_a_microphone_that_opens_after_the_stop_is_closed_again() -> None:
    device = TwoStreams(room(1.0))
    capture = Capture(device)
    may_open, opening, refused = threading.Event(), threading.Event(), []
    really_open = device.open

    def slow(deliver: Deliver) -> StreamInfo:
        opening.set()
        assert may_open.wait(60)
        return really_open(deliver)

    device.open = slow  # type: ignore[method-assign]

    def start() -> None:
        try:
            capture.start()
        except DeviceError as error:
            refused.append(error)

    opener = threading.Thread(target=start)
    opener.start()
    assert opening.wait(60)
    capture.stop()
    may_open.set()
    opener.join(60)
    assert device.streams == [], "nobody would close it"
    assert len(refused) == 1


def test_a_batch_is_handed_over_when_it_is_complete() -> None:
    device = TwoStreams(room(3.0))
    capture = Capture(device)
    capture.start()
    capture.batch_ms = 80
    for _ in range(8):
        device.pass_20_ms()
    frames = capture.frames()
    assert len(frames) == 4
    assert [frame.start_s for frame in frames] == pytest.approx([100.0, 100.02, 100.04, 100.06])
    assert len(capture.frames()) == 4


def test_digital_silence_is_joined_by_the_clock() -> None:
    join = Join()
    join.older(bytes(2 * 3200), 10.2)
    join.newer(bytes(2 * PATIENCE_SAMPLES), 10.21)
    joined = join.result()
    assert joined is not None
    assert (len(joined.pcm), joined.skip_samples) == (2 * RATE // 100, 0)


def test_after_a_stream_that_has_ended_all_of_the_newer_one_is_new() -> None:
    join, sound = Join(), room(0.6).tobytes()
    join.newer(sound, 10.6)
    joined = join.result()
    assert joined is not None
    assert (joined.pcm, joined.end_s, joined.skip_samples) == (sound, 10.6, 0)


def test_unrelated_sound_is_no_place_to_join() -> None:
    join = Join()
    join.older(room(0.3).tobytes(), 10.3)
    join.newer(np.random.default_rng(9).normal(0, 30, 4000).astype("<i2").tobytes(), 10.3)
    assert join.result() is None


def test_a_hum_and_an_offset_do_not_mislead_it() -> None:
    hum = 3000 * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE) + 500
    sound = (room(1.0) + hum).astype("<i2")
    join = Join()
    join.older(sound[:8000].tobytes(), 10.5)
    # By the clock it is 15 ms later than it really is.
    join.newer(sound[6000:8400].tobytes(), 10.525 + 0.015)
    joined = join.result()
    assert joined is not None
    assert joined.pcm == sound[8000:8400].tobytes()
