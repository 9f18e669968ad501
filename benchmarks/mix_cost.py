"""What the speaker's callback costs per period, and how long it holds the lock that the other threads need.

A device that takes periods of 10 ms at 48 kHz as fast as it can; the sound comes at 16 kHz. The floor is a callback
that hands over silence. The lock's time is taken around the mix alone, as the speaker holds it.

    .venv/bin/python benchmarks/mix_cost.py
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from parleyd.audio.earcons.sounds import Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.gain import scaled
from parleyd.audio.playback.mix import Mix

RATE_HZ, PERIOD, FED_HZ = 48_000, 480, 16_000
PERIODS = 4_000


def voice(seconds: float, rate_hz: int = FED_HZ) -> bytes:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    pcm: bytes = np.rint(np.sin(2 * math.pi * 300 * t) * 8_000).astype("<i2").tobytes()
    return pcm


def costs_us(volume: float, each: Callable[[Mix, int], None]) -> tuple[list[float], list[float]]:
    """(the lock held, the whole period) in microseconds, for each period."""
    mix = Mix(volume=volume, duck_db=12.0, earcons={"error": Sound(voice(0.3, RATE_HZ), RATE_HZ)})
    mix.set_format(AudioFormat("pcm", FED_HZ))
    mix.device_opened(RATE_HZ, PERIOD, 0.02, mix.earcons.resampled(RATE_HZ))
    locked, whole = [], []
    for number in range(PERIODS):
        now_s = number * 0.01
        each(mix, number)
        while (job := mix.work()) is not None:
            job.run()
            mix.finish(job)
        began = time.perf_counter_ns()
        alone = mix.voice_alone(PERIOD, now_s)
        if alone is None:
            period = mix.period(PERIOD, now_s)
            taken = time.perf_counter_ns()
            pcm = period.pcm()
        else:
            taken = time.perf_counter_ns()
            pcm = scaled(*alone)
        done = time.perf_counter_ns()
        assert len(pcm) == 2 * PERIOD
        locked.append((taken - began) / 1000)
        whole.append((done - began) / 1000)
        mix.told(now_s)
    return locked, whole


def talks(mix: Mix, number: int) -> None:
    if number % 100 == 0:
        mix.enqueue(number // 1000, voice(1.0), number * 0.01)


def talks_ducked(mix: Mix, number: int) -> None:
    talks(mix, number)
    mix.duck(number % 20 < 10)


def talks_under_all(mix: Mix, number: int) -> None:
    talks(mix, number)
    if number % 30 == 0:
        mix.play_earcon("error", number * 0.01, after_voice=False)
    if number % 100 == 0:
        mix.announcement.begin(AudioFormat("pcm", FED_HZ))
        mix.announcement.feed(voice(0.9))
        mix.announcement.end()


def row(name: str, found: tuple[list[float], list[float]]) -> str:
    cells = [f"{statistics.median(it):9.1f}{sorted(it)[len(it) * 99 // 100]:9.1f}" for it in found]
    return f"{name:36}{''.join(cells)}"


def main() -> None:
    began = time.perf_counter_ns()
    for _ in range(PERIODS):
        bytes(2 * PERIOD)
    floor_us = (time.perf_counter_ns() - began) / 1000 / PERIODS
    print(f"µs per period of 10 ms (floor: {floor_us:.2f})     lock held          whole period")
    print(f"{'':36}{'median':>9}{'p99':>9}{'median':>9}{'p99':>9}")
    print(row("silence", costs_us(1.0, lambda _mix, _number: None)))
    print(row("an answer", costs_us(1.0, talks)))
    print(row("an answer, volume 0.5", costs_us(0.5, talks)))
    print(row("an answer, ducked and back", costs_us(1.0, talks_ducked)))
    print(row("answer, announcement, earcon at 0.5", costs_us(0.5, talks_under_all)))


if __name__ == "__main__":
    main()
