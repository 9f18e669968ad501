"""The device around a mix: openings that come too late, and what each of them is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
import pytest
from playback_room import Room, SteppingOutput, samples, tone

from parleyd.audio.devices.device import DeviceError, Fill, StreamInfo
from parleyd.audio.earcons.sounds import Sound
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.mix import Mix
from parleyd.audio.playback.playhead import HeardPart
from parleyd.audio.playback.speaker import Speaker

MakeRoom = Callable[..., Room]
FMT = AudioFormat("pcm", 48_000)


class SlowOutput(SteppingOutput):
    """Takes sound as soon as it is asked to open, and does not return from that before it may."""

    def __init__(self, rate_hz: int = 48_000) -> None:
        super().__init__()
        self.rate_hz = rate_hz
        self.opening, self.may_open = threading.Event(), threading.Event()
        self.may_open.set()

    def open(self, fill: Fill) -> StreamInfo:
        info = super().open(fill)
        self.opening.set()
        assert self.may_open.wait(60)
        # It may have been closed meanwhile, and is open all the same.
        self.fill = fill
        return StreamInfo(self.rate_hz, 1, self.rate_hz // 100, info.latency_s)


class CountedLock:
    """Counts how often it is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def acquire(self, *args: object) -> bool:
        self.taken += 1
        return self._lock.acquire(*args)  # type: ignore[arg-type]

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def _is_owned(self) -> bool:
        """Of a condition, which else tries to take it."""
        return self.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, _: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.release()


class Listening:
    """A far end that notes whether the lock is held."""

    def __init__(self, lock: CountedLock) -> None:
        self._lock = lock
        self.took: list[bytes] = []
        self.was_locked: list[bool] = []

    def start(self, rate_hz: int, latency_s: float) -> None:
        self.was_locked.append(self._lock.locked())

    def take(self, pcm: bytes, at_s: float) -> None:
        self.took.append(pcm)
        self.was_locked.append(self._lock.locked())


def test_the_device_takes_the_lock_once_per_period_and_the_far_end_without_it() -> None:
    lock, device, mix = CountedLock(), SteppingOutput(), Mix(volume=0.5, duck_db=12.0)
    far_end = Listening(lock)
    speaker = Speaker(device, mix, threading.Condition(lock), far_end)  # type: ignore[arg-type]
    speaker.open()
    mix.set_format(FMT)
    mix.announcement.begin(FMT)
    mix.announcement.feed(tone(0.1, rate_hz=48_000))
    for answer in range(3):
        mix.enqueue(1, tone(0.01, rate_hz=48_000), 0.0)
        while (job := mix.work()) is not None:
            job.run()
            mix.finish(job)
        assert device.fill is not None
        before = lock.taken
        assert samples(device.fill(480)).any()
        assert lock.taken == before + 1, answer
    assert far_end.was_locked == [False] * 4


@pytest.mark.parametrize("how", ["start", "regain"])
def test_a_device_that_opens_after_the_stop_is_closed_again(how: str) -> None:
    """Whoever opens it has been given up, because it took too long."""
    device = SlowOutput()
    its = Room(device)
    if how == "regain":
        its.playback.start()
        its.playback.release()
        device.opening.clear()
    device.may_open.clear()
    refused: list[DeviceError] = []

    def open_it() -> None:
        try:
            getattr(its.playback, how)()
        except DeviceError as error:
            refused.append(error)

    opener = threading.Thread(target=open_it)
    opener.start()
    assert device.opening.wait(60)
    its.playback.stop()
    device.may_open.set()
    opener.join(60)
    assert device.fill is None, "nobody would close it"
    assert len(refused) == 1
    assert "too late" in str(refused[0])
    assert not its.playback._thread.is_alive()


def test_nothing_is_given_to_a_device_before_its_rate_is_known(room: MakeRoom) -> None:
    """It would sound at the wrong pitch, and be counted at the wrong length."""
    device = SlowOutput()
    its = room(device)
    its.playback.set_format(FMT)
    its.playback.enqueue(1, tone(1.0, rate_hz=48_000))
    its.pull(5)
    its.playback.release()
    device.opening.clear()
    device.may_open.clear()
    device.rate_hz = 16_000
    opener = threading.Thread(target=its.playback.regain)
    opener.start()
    assert device.opening.wait(60)
    before_s = time.monotonic()
    assert device.fill is not None
    assert not any(device.fill(160))
    assert its.playback.last_period_s >= before_s, "it is alive all the same"
    assert its.playback.queued_ms == 950
    device.may_open.set()
    opener.join(60)
    assert its.pull(5, 160)[160:].any()
    assert its.playback.clear() == (HeardPart(1, 100, 1000, finished=False),)


def test_a_device_that_is_cut_takes_nothing_more_before_it_was_reopened(room: MakeRoom) -> None:
    """What it takes until it is closed is thrown away with it: of an earcon the beginning would be missing."""
    device = SlowOutput()
    beep = tone(0.05, rate_hz=48_000, hz=1000, peak=2000)
    its = room(device, cut="sharp", earcons={"error": Sound(beep, 48_000)})
    its.playback.set_format(FMT)
    its.playback.enqueue(1, tone(1.0, rate_hz=48_000))
    its.pull(2)
    device.opening.clear()
    device.may_open.clear()
    cut_fill = device.fill
    assert cut_fill is not None
    its.playback.clear()
    its.playback.play_earcon("error", after_voice=True)
    assert device.opening.wait(60)
    assert not any(cut_fill(480))
    device.may_open.set()
    played = its.pull(3)
    assert not any(cut_fill(480)), "nor ever after"
    assert np.array_equal(np.concatenate([played, its.pull(2)]), samples(beep))


def test_callbacks_come_without_the_lock(room: MakeRoom) -> None:
    its = room(SteppingOutput())
    free: list[bool] = []

    def seen(*_: object) -> None:
        free.append(its.playback._lock.acquire(timeout=60))
        its.playback._lock.release()
        # Nor does it matter what they call.
        its.playback.clear()

    its.playback._on_started = seen
    its.playback._on_finished = seen
    its.playback.set_format(FMT)
    its.playback.enqueue(1, tone(0.02, rate_hz=48_000))
    its.pull(4)
    assert its.wait_silent(30)
    its.playback.stop()
    assert free == [True, True]


# ---------------------------------------------------------------- rest


class Quiet:
    """A playback whose device may rest at once, and the events of its device."""

    def __init__(
        self, room: MakeRoom, monkeypatch: pytest.MonkeyPatch, device: SteppingOutput, **options: object
    ) -> None:
        monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 0.02)
        self.device = device
        self.room = room(device, may_rest=lambda: True, **options)
        self.playback = self.room.playback
        self.wait(lambda: self.playback.rests and not self.playback._speaker._is_reopening)

    def wait(self, predicate: Callable[[], bool]) -> None:
        end_s, pause = time.monotonic() + 60, threading.Event()
        while not predicate():
            assert time.monotonic() < end_s
            pause.wait(0.002)

    def wait_open(self) -> None:
        self.wait(lambda: self.device.fill is not None and not self.playback.rests)
        self.room.settle()


def test_while_nothing_sounds_the_device_is_closed_and_an_answer_opens_it_and_is_whole(
    room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = Quiet(room, monkeypatch, SteppingOutput())
    assert its.device.fill is None
    its.playback.set_format(FMT)
    answer = tone(0.05, rate_hz=48_000)
    its.playback.enqueue(1, answer)
    its.wait_open()
    assert np.array_equal(its.room.pull(5), samples(answer))
    its.playback.end_answer(1)
    its.wait(lambda: its.playback.rests)
    assert its.device.opened == 2


def test_an_earcon_opens_it_and_so_does_an_announcement(room: MakeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    beep = tone(0.05, rate_hz=48_000, hz=1000, peak=2000)
    its = Quiet(room, monkeypatch, SteppingOutput(), earcons={"error": Sound(beep, 48_000)})
    its.playback.play_earcon("error", after_voice=False)
    its.wait_open()
    assert np.array_equal(its.room.pull(5), samples(beep))
    its.wait(lambda: its.playback.rests)
    assert its.playback.announcements.last_period_s == pytest.approx(time.monotonic(), abs=1.0), "it is not gone"
    its.playback.announcements.begin(FMT)
    its.playback.announcements.feed(tone(0.1, rate_hz=48_000))
    its.wait_open()
    assert its.room.pull(5).any()


def test_the_lead_in_comes_before_the_sound_and_takes_nothing_of_it(
    room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = Quiet(room, monkeypatch, SteppingOutput(), lead_in_ms=30)
    its.playback.set_format(FMT)
    answer = tone(0.05, rate_hz=48_000)
    its.playback.enqueue(1, answer)
    its.wait_open()
    played = its.room.pull(8)
    assert not played[: 3 * 480].any()
    assert np.array_equal(played[3 * 480 :], samples(answer))


def test_it_is_opened_ahead_of_what_is_expected(room: MakeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    its = Quiet(room, monkeypatch, SteppingOutput())
    monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 60.0)
    its.playback.expect()
    its.wait_open()


def test_a_device_that_rests_may_be_taken_and_given_back(room: MakeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    its = Quiet(room, monkeypatch, SteppingOutput())
    its.playback.release()
    assert not its.playback.rests
    its.playback.set_format(FMT)
    its.playback.enqueue(1, tone(0.05, rate_hz=48_000))
    its.room.settle()
    assert its.device.fill is None, "whoever took it opens it again"
    its.playback.regain()
    assert its.room.pull(5).any()


def test_a_device_that_cannot_be_opened_after_its_rest_is_told(room: MakeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SteppingOutput()
    its = Quiet(room, monkeypatch, device)
    device.fails_at_open = device.opened + 1
    # What is expected may be expected for longer than the thread takes to wake.
    monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 60.0)
    its.playback.expect()
    assert its.room.wait_told(lambda told: any(what == "failure" for what, _ in told))
    assert not its.playback.rests, "so that its silence is noticed"
