"""Sound that is missing from the microphone is counted and told, whatever the reason."""

from __future__ import annotations

import ctypes
import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from parleyd.audio.capture.capture import QUEUE_MS, STARVED_S, TURN_S, Capture
from parleyd.audio.capture.missing import (
    LOGGED_EVERY_S,
    LONGEST_STRETCH_S,
    ONE_STRETCH_S,
    Missing,
    MissingLog,
    MissingSound,
    Why,
)
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.devices.wav import WavInput
from parleyd.audio.pcm import FRAME_SAMPLES, Frame

SOUND = np.full(FRAME_SAMPLES, 99, "<i2").tobytes()


class HandFed:
    """A microphone whose periods the test delivers."""

    name = "hand fed"

    def __init__(self) -> None:
        self.overflows = 0
        self.deliver: Deliver | None = None

    def open(self, deliver: Deliver) -> StreamInfo:
        self.deliver = deliver
        return StreamInfo(16_000, 1, FRAME_SAMPLES, 0.02)

    def close(self) -> None:
        self.deliver = None

    def feed(self, start_s: float, periods: int = 1) -> None:
        assert self.deliver is not None
        for number in range(periods):
            self.deliver(SOUND, start_s + number * 0.02)


def started() -> tuple[HandFed, Capture]:
    device = HandFed()
    capture = Capture(device)
    capture.start()
    return device, capture


def told(capture: Capture) -> list[Missing]:
    """What is told once the last stretch is certainly over."""
    return capture._missing.take(time.monotonic() + ONE_STRETCH_S)


def heard(capture: Capture, periods: int) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < periods:
        frames += capture.frames()
    return frames


@pytest.mark.parametrize("still_s", [0.21, 0.26, 0.5])
def test_a_process_that_stood_still_loses_nothing_of_a_microphone_that_has_it_all(
    tmp_path: Path, still_s: float
) -> None:
    """All threads stand still, as while a library is loaded from a slow disk; the sound is there afterwards. Which
    thread has the next turn is up to the system: ears must not take the standstill for the microphone's."""
    numbers = np.arange(1, 151)
    with wave.open(str(tmp_path / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.repeat(numbers, FRAME_SAMPLES).astype("<i2").tobytes())
    for _ in range(2):
        capture = Capture(WavInput(tmp_path / "microphone.wav"))
        given: list[Frame] = []
        half_way, over = threading.Event(), threading.Event()

        def hear(
            capture: Capture = capture,
            given: list[Frame] = given,
            half_way: threading.Event = half_way,
            over: threading.Event = over,
        ) -> None:
            while len(given) < 60 and not over.is_set():
                given += capture.frames()
                if len(given) >= 10:
                    half_way.set()

        capture.start()
        ears = threading.Thread(target=hear)
        ears.start()
        try:
            assert half_way.wait(60)
            # Unlike ctypes.CDLL it holds the interpreter's lock.
            ctypes.PyDLL(None).usleep(int(still_s * 1e6))
            ears.join(60)
        finally:
            over.set()
            ears.join()
            capture.stop()
        came = [int(np.frombuffer(frame.pcm, "<i2")[0]) for frame in given]
        assert came[:60] == list(range(1, 61))
        assert capture.missing_ms == 0


def test_a_microphone_that_delivers_nothing_for_a_moment_is_told_with_its_time() -> None:
    device, capture = started()
    now_s = time.monotonic()
    device.feed(now_s - 0.02)
    heard(capture, 1)
    before_s = time.monotonic()
    while time.monotonic() < before_s + STARVED_S + TURN_S:
        capture.frames()
    # The late sound comes all the same, and is too late.
    back_s = time.monotonic()
    late = round((back_s - now_s) / 0.02)
    device.feed(now_s, late)
    while capture.frames() == [] and capture._periods:
        pass
    device.feed(now_s + late * 0.02, 1)
    capture.frames()
    [missing] = told(capture)
    assert missing.why is Why.NOT_IN_TIME
    assert missing.begin_s == pytest.approx(now_s, abs=0.021)
    assert missing.missing_ms == pytest.approx((back_s - now_s) * 1000, abs=41)
    assert capture.missing_ms == missing.missing_ms
    assert told(capture) == []


def test_what_ears_were_too_slow_for_is_told() -> None:
    device, capture = started()
    device.feed(100.0, 80)
    frames = heard(capture, QUEUE_MS // 20 - 1)
    [missing] = told(capture)
    assert (missing.begin_s, missing.why) == (100.0, Why.TOO_SLOW)
    assert missing.missing_ms == pytest.approx(600, abs=20)
    assert frames[0].start_s == pytest.approx(100.0 + missing.missing_ms / 1000)


def test_sound_that_a_server_kept_for_too_long_is_told() -> None:
    device, capture = started()
    device.feed(100.0)
    heard(capture, 1)
    assert device.deliver is not None
    for _ in range(20):
        device.deliver(SOUND, 100.02)
        capture.frames()
    [missing] = told(capture)
    assert (missing.why, missing.missing_ms % 20) == (Why.TOO_OLD, 0)
    assert 100 < missing.missing_ms < 300


def test_sound_of_a_gap_that_comes_after_it_is_counted_once() -> None:
    device, capture = started()
    began_s = time.monotonic()
    device.feed(began_s)
    heard(capture, 1)
    while not capture._in_gap:
        capture.frames()
    # A sound server stood still for a second, and hands over all of it at once, with the time of now.
    back_s = began_s + 1.02
    assert device.deliver is not None
    for _ in range(50):
        device.deliver(SOUND, back_s)
        capture.frames()
    [missing] = told(capture)
    assert missing == Missing(pytest.approx(began_s + 0.02, abs=0.001), 1000, Why.NOT_IN_TIME)  # type: ignore[arg-type]


def test_sound_that_is_dropped_after_a_gap_is_counted_once() -> None:
    device, capture = started()
    began_s = time.monotonic()
    device.feed(began_s)
    heard(capture, 1)
    while not capture._in_gap:
        capture.frames()
    device.feed(began_s + 0.52, 100)
    heard(capture, 30)
    assert capture.missing_ms == pytest.approx(500 + 1000, abs=41)


@pytest.mark.parametrize("overflows", [0, 1])
def test_a_hole_in_what_the_microphone_delivers_is_told_with_its_length(overflows: int) -> None:
    device, capture = started()
    device.feed(100.0, 5)
    # While the ears were busy the card lost half a second.
    device.overflows = overflows
    device.feed(100.6, 5)
    heard(capture, 10)
    [missing] = told(capture)
    assert missing.why is Why.OVERFLOW
    assert missing.begin_s == pytest.approx(100.1)
    assert missing.missing_ms == pytest.approx(500, abs=1)


def test_an_overflow_of_the_sound_card_is_told_at_its_place() -> None:
    device, capture = started()
    device.feed(100.0)
    heard(capture, 1)
    device.overflows = 1
    device.feed(100.08)
    heard(capture, 1)
    device.feed(100.10)
    heard(capture, 1)
    assert told(capture) == [Missing(100.08, 0, Why.OVERFLOW)]


def test_stretches_are_told_once_each_when_they_are_over() -> None:
    missing = MissingSound()
    missing.add(10.0, 0.02, Why.TOO_OLD, 10.1)
    missing.add(10.1, 0.02, Why.TOO_OLD, 10.2)
    assert missing.take(10.3) == []
    assert missing.take(10.2 + ONE_STRETCH_S) == [Missing(10.0, 40, Why.TOO_OLD)]
    assert missing.take(99.0) == []
    missing.add(20.0, 0.1, Why.TOO_OLD, 20.1)
    missing.add(20.1, 0.1, Why.TOO_SLOW, 20.2)
    missing.add(25.0, 0.1, Why.TOO_SLOW, 25.1)
    assert [(one.begin_s, one.why) for one in missing.take(25.1)] == [(20.0, Why.TOO_OLD), (20.1, Why.TOO_SLOW)]
    assert missing.total_ms == 340


def test_a_stretch_without_an_end_is_told_all_the_same() -> None:
    missing = MissingSound()
    taken: list[Missing] = []
    for tenth in range(700):
        missing.add(tenth / 10, 0.05, Why.TOO_SLOW, tenth / 10)
        taken += missing.take(tenth / 10)
    assert len(taken) == 2
    assert taken[0].missing_ms >= LONGEST_STRETCH_S / 2 * 1000


def test_the_log_has_the_first_at_once_and_the_sum_of_the_others_later() -> None:
    log = MissingLog()
    one = Missing(1.0, 260, Why.NOT_IN_TIME)
    line = "0.26 s of the microphone's sound is missing: the microphone delivered nothing in time"
    assert log.line(one, 5.0) == line
    assert log.line(one, 6.0) is None
    assert log.line(one, 5.0 + LOGGED_EVERY_S) == line.replace("0.26", "0.52")
    assert MissingLog().line(Missing(1.0, 0, Why.OVERFLOW), 5.0) == (
        "some of the microphone's sound is missing: the sound card or its driver lost it"
    )
