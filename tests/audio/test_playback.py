"""Playback on a speaker whose time stands still: everything here is exact, to the sample."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from playback_room import Room, SteppingOutput, samples, tone

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio import pcm as sound
from parleyd.audio.devices.device import DeviceError, StreamInfo
from parleyd.audio.devices.null import NullOutput
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback import answer_queue
from parleyd.audio.playback import playback as playback_module
from parleyd.audio.playback import speaker as speaker_module
from parleyd.audio.playback.answer_queue import QUEUE_LIMIT_BYTES, QUEUE_LIMIT_S, ChunkQueue
from parleyd.audio.playback.mix import FADE_S
from parleyd.audio.playback.playhead import HeardPart, Segment

MakeRoom = Callable[..., Room]

PCM_24 = AudioFormat("pcm", 24_000)
FADE_SAMPLES = round(FADE_S * 48_000)
# Of a 500 Hz tone with a peak of 10000 at 48 kHz, and of the fade on top.
STEEPEST = 2 * math.pi * 500 / 48_000 * 10_000 + 10_000 * math.pi / 2 / FADE_SAMPLES + 2


@pytest.fixture
def speaker() -> SteppingOutput:
    return SteppingOutput()


@pytest.mark.parametrize("chunk", [1, 479, 480, 481, 4_801, 10**9])
def test_chunks_of_any_size_make_the_same_sound(speaker: SteppingOutput, chunk: int) -> None:
    # Not yet started: where the thread is quicker than the sound comes, there is a pause in it.
    its = Room(speaker)
    its.playback.set_format(PCM_24)
    voice = tone(0.1)
    for at in range(0, len(voice), chunk):
        its.playback.enqueue(1, voice[at : at + chunk])
    its.playback.enqueue(1, b"")
    its.playback.end_answer(1)
    its.playback.start()
    played = its.pull(12)
    its.playback.stop()
    ideal = np.sin(2 * math.pi * 500 * np.arange(4_800) / 48_000) * 10_000
    assert np.max(np.abs(played[100:4_700] - ideal[100:4_700])) < 10
    assert not played[4_800:].any()


@pytest.mark.parametrize(
    "name", ["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]
)
def test_all_formats(room: MakeRoom, speaker: SteppingOutput, name: str) -> None:
    fmt = parse_format(name)
    its = room(speaker)
    its.playback.set_format(fmt)
    its.playback.enqueue(1, sound.encode(fmt, tone(0.2, rate_hz=fmt.rate_hz)))
    its.playback.end_answer(1)
    played = its.pull(25)
    ideal = np.sin(2 * math.pi * 500 * np.arange(9_600) / 48_000) * 10_000
    assert np.max(np.abs(played[300:9_300] - ideal[300:9_300])) < (400 if name == "ulaw_8000" else 15)
    assert not played[9_601:].any()
    assert its.wait_told(lambda told: ("finished", HeardPart(1, 200, 200, True)) in told)


@pytest.mark.parametrize("rate_hz", [24_000, 48_000])
@pytest.mark.parametrize("pulls", [1, 2, 7])
@pytest.mark.parametrize("size", [480, 137])
def test_a_clear_leaves_one_fade_however_long_the_chunk(
    room: MakeRoom, speaker: SteppingOutput, rate_hz: int, pulls: int, size: int
) -> None:
    its = room(speaker)
    its.playback.set_format(AudioFormat("pcm", rate_hz))
    its.playback.enqueue(1, tone(3.0, rate_hz=rate_hz))
    before = its.pull(pulls, size)
    (heard,) = its.playback.clear()
    after = its.pull(10, size)
    assert heard == HeardPart(1, round(pulls * size / 48), 3000, finished=False)
    assert not after[FADE_SAMPLES:].any()
    # Without the very first samples: a tone that sets in at full level makes the resampler ring.
    assert np.max(np.abs(np.diff(np.concatenate([before[64:], after])))) <= STEEPEST
    assert its.playback.queued_ms == 0
    assert its.wait_told(lambda told: told == [("started", 1), ("finished", heard)])


def test_a_sharp_clear_reopens_the_device(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, cut="sharp")
    its.playback.set_format(PCM_24)
    its.playback.enqueue(1, tone(3.0))
    its.pull(5)
    assert [heard.finished for heard in its.playback.clear()] == [False]
    assert speaker.open_again.wait(60)
    assert not its.pull(5).any()
    its.playback.enqueue(2, tone(0.1))
    its.playback.end_answer(2)
    assert np.abs(its.pull(12)).max() > 9_000


@pytest.mark.parametrize("how", ["released", "stopped"])
def test_a_device_that_opens_too_late_is_closed_again(
    room: MakeRoom, speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A sharp cut reopens the device, which takes longer than anybody waits."""
    for module in (playback_module, speaker_module):
        monkeypatch.setattr(module, "REOPENING_S", 0.05)
    opening, may_open = threading.Event(), threading.Event()
    its = room(speaker, cut="sharp")
    open_ = speaker.open

    def slowly(fill: object) -> StreamInfo:
        opening.set()
        assert may_open.wait(60)
        return open_(fill)  # type: ignore[arg-type]

    monkeypatch.setattr(speaker, "open", slowly)
    its.playback.enqueue(1, tone(1.0))
    its.pull(1)
    its.playback.clear()
    assert opening.wait(60)
    if how == "stopped":
        its.playback.stop()
    else:
        its.playback.release()
        with pytest.raises(DeviceError, match="still being opened"):
            its.playback.regain()
    may_open.set()
    with its.playback._changed:
        assert its.playback._changed.wait_for(lambda: not its.playback._speaker._is_reopening, 60)
    assert speaker.opened == 2
    assert speaker.fill is None, "nobody would close it"
    if how == "released":
        its.playback.regain()
        its.playback.enqueue(2, tone(0.1))
        its.playback.end_answer(2)
        assert np.abs(its.pull(12)).max() > 5_000


def test_a_device_that_does_not_come_back_is_reported(room: MakeRoom, speaker: SteppingOutput) -> None:
    speaker.fails_at_open = 2
    its = room(speaker, cut="sharp")
    its.playback.enqueue(1, tone(1.0))
    its.pull(1)
    its.playback.clear()
    assert its.wait_told(lambda told: any(what == "failure" and isinstance(it, DeviceError) for what, it in told))


def test_a_device_that_does_not_open_is_said_at_the_start(speaker: SteppingOutput) -> None:
    speaker.fails_at_open = 1
    its = Room(speaker)
    with pytest.raises(DeviceError, match="gone"):
        its.playback.start()
    its.playback.stop()


def test_a_thread_that_dies_is_reported(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    boom = RuntimeError("boom")

    def raise_it(*_: object) -> None:
        raise boom

    its.playback._on_started = raise_it
    its.playback.enqueue(1, tone(0.1))
    its.pull(1)
    assert its.wait_told(lambda told: ("failure", boom) in told)


def test_after_a_clear_the_next_answer_is_whole(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(PCM_24)
    its.playback.enqueue(1, tone(1.0) + b"\x55")  # half a sample is left over
    its.pull(3)
    its.playback.clear()
    its.pull(2)
    its.playback.enqueue(2, tone(0.1))
    its.playback.end_answer(2)
    played = its.pull(12)
    ideal = np.sin(2 * math.pi * 500 * np.arange(4_800) / 48_000) * 10_000
    assert np.max(np.abs(played[100:4_700] - ideal[100:4_700])) < 10


def test_clear_of_nothing(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    assert its.playback.clear() == ()
    assert not its.playback.audible(time.monotonic())
    assert not its.pull(2).any()
    assert its.told == []


def test_answers_follow_each_other_without_a_hole(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(PCM_24)
    for answer in (1, 2, 3):
        its.playback.enqueue(answer, tone(0.1, hz=500))
    its.playback.end_answer(3)
    played = its.pull(32)
    envelope = np.abs(played[: 14_400 - 96]).reshape(-1, 48)[1:].max(axis=1)
    assert np.all(np.convolve(envelope, np.ones(2), "valid") > 5_000)
    assert not played[14_400:].any()
    assert its.wait_told(lambda told: len(told) == 6)
    kinds = [(what, it.answer if isinstance(it, HeardPart) else it) for what, it in its.told]
    assert kinds == [(what, answer) for answer in (1, 2, 3) for what in ("started", "finished")]
    assert [heard.heard_ms for heard in its.finished] == [100, 100, 100]
    assert its.playback.underruns == 0


def test_duck_is_quick_smooth_and_skips_nothing(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, duck_db=20.0)
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.playback.enqueue(1, tone(1.0, rate_hz=48_000))
    loud = its.pull(10)
    its.playback.duck(True)
    quiet = its.pull(10)
    its.playback.duck(False)
    loud_again = its.pull(10)
    ideal = samples(tone(0.3, rate_hz=48_000))
    assert np.array_equal(loud, ideal[:4_800])
    assert np.max(np.abs(quiet[480:] - ideal[4_800 + 480 : 9_600] / 10)) <= 2
    assert np.max(np.abs(loud_again[3 * 480 :] - ideal[9_600 + 3 * 480 :])) <= 2
    assert np.max(np.abs(np.diff(np.concatenate([loud, quiet, loud_again])))) <= STEEPEST


def test_volume(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker, volume=0.5)
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.playback.enqueue(1, tone(1.0, rate_hz=48_000))
    first = its.pull(10)
    its.playback.set_volume(0.0)
    played = np.concatenate([first, its.pull(10)])
    ideal = samples(tone(0.2, rate_hz=48_000))
    assert np.max(np.abs(first - ideal[:4_800] / 2)) <= 1
    assert not played[4_800 + 4 * 480 :].any()
    assert np.max(np.abs(np.diff(played))) <= STEEPEST


def splatter_db(played: np.ndarray) -> float:
    """The share of the power above 2 kHz: a tone has none, a click has it all."""
    power = np.abs(np.fft.rfft(played * np.hanning(len(played)))) ** 2
    above = np.fft.rfftfreq(len(played), 1 / 48_000) > 2_000
    return float(10 * np.log10(power[above].sum() / power.sum()))


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("moves", [(1.0, 0.0), (0.0, 1.0), (1.0, 0.2, 0.9, 0.4, 1.0)])
def test_the_volume_moves_without_a_click(
    room: MakeRoom, speaker: SteppingOutput, rate_hz: int, moves: tuple[float, ...]
) -> None:
    voice = tone(0.5, rate_hz=rate_hz, hz=200)
    its = room(speaker, volume=moves[0])
    its.playback.set_format(AudioFormat("pcm", rate_hz))
    its.playback.enqueue(1, voice)
    played = [its.pull(10)]
    for volume in moves[1:]:
        its.playback.set_volume(volume)
        played.append(its.pull(8))
    smooth = np.concatenate(played)[480:]  # without the resampler's answer to a tone that sets in at full level
    level = np.abs(smooth[-960:]).max() / 10_000
    assert level == pytest.approx(moves[-1], abs=0.02)
    assert splatter_db(smooth) < -75
    stepping = samples(tone(0.1, rate_hz=48_000, hz=200)) * np.repeat([moves[0], moves[1]], 2_400)
    assert splatter_db(stepping) > -55, "the measure does not see steps"


def test_a_volume_set_in_silence_is_there_from_the_first_sample(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.pull(2)
    its.playback.set_volume(0.5)
    its.playback.enqueue(1, tone(0.1, rate_hz=48_000))
    assert np.max(np.abs(its.pull(10) - samples(tone(0.1, rate_hz=48_000)) / 2)) <= 1


@pytest.mark.parametrize("seconds", [180, 600])
def test_a_story_that_comes_all_at_once_is_heard_to_its_end(
    room: MakeRoom, speaker: SteppingOutput, seconds: int
) -> None:
    its = room(speaker)
    its.playback.set_format(AudioFormat("pcm", 16_000))
    its.pull(1, 48_000)  # this device takes a second at once
    levels = np.arange(1, seconds + 1) * 40  # each second of the story is told by its level
    for level in levels:
        its.playback.enqueue(1, np.full(16_000, level, "<i2").tobytes())
    its.playback.end_answer(1)
    played = its.pull(seconds, 48_000).reshape(seconds, 48_000)
    assert np.abs(played[:, 1_000:-1_000] - levels[:, np.newaxis]).max() <= 1
    assert its.wait_told(lambda told: len(told) == 2)
    assert its.finished == [HeardPart(1, seconds * 1000, seconds * 1000, True)]
    assert its.playback.dropped_ms == 0
    assert its.playback.underruns == 0


def test_a_long_story_is_cut_within_a_fade(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(AudioFormat("pcm", 16_000))
    for _ in range(600):
        its.playback.enqueue(1, tone(1.0, rate_hz=16_000))
    its.pull(5)
    assert its.playback.clear() == (HeardPart(1, 50, 600_000, finished=False),)
    assert not its.pull(5)[FADE_SAMPLES:].any()
    assert its.playback.queued_ms == 0


@pytest.mark.parametrize(
    ("name", "kept_s"), [("pcm_16000", QUEUE_LIMIT_S), ("pcm_48000", 690.0), ("ulaw_8000", QUEUE_LIMIT_S)]
)
def test_the_queue_is_bounded_in_time_and_in_bytes(
    room: MakeRoom, speaker: SteppingOutput, caplog: pytest.LogCaptureFixture, name: str, kept_s: float
) -> None:
    its = room(speaker)
    fmt = parse_format(name)
    its.playback.set_format(fmt)
    for _ in range(40):
        its.playback.enqueue(1, bytes(fmt.rate_hz * fmt.sample_bytes * 60))
    kept_ms = its.playback.queued_ms
    assert kept_ms == pytest.approx(kept_s * 1000, rel=0.02)
    # The playback thread may have moved some on while the queue was filled: a ring of sound at most.
    assert its.playback.dropped_ms == pytest.approx(40 * 60_000 - kept_ms, abs=250)
    assert its.playback._mix._voice.queue.size_bytes <= QUEUE_LIMIT_BYTES
    assert len([record for record in caplog.records if "dropped" in record.message]) == 1
    its.playback.clear()
    assert its.playback.queued_ms == 0


def test_single_samples_take_no_more_memory_than_long_chunks() -> None:
    queue = ChunkQueue()
    segment = Segment(1)
    for _ in range(100_000):
        queue.push(segment, b"\x01\x02")
    assert len(queue) <= 4
    assert 200_000 <= queue.size_bytes <= 210_000
    taken = b""
    while queue:
        taken += queue.take(777, 16_000).data
    assert taken == b"\x01\x02" * 100_000
    assert queue.size_bytes == 0
    for number in range(100_000):
        if data := queue.accept(number, b"\x01\x02")[0]:
            queue.push(Segment(number), data)
    assert queue.size_bytes <= QUEUE_LIMIT_BYTES, "answers of one sample each are bounded, too"


def test_what_was_cleared_is_let_go_of_outside_the_lock(
    room: MakeRoom, speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To free it all takes milliseconds, for which the device's callback must not wait."""
    its = room(speaker)
    queue = its.playback._mix._voice.queue
    held: list[bool] = []

    class Seen(bytearray):
        def __del__(self) -> None:
            held.append(its.playback._lock.locked())

    monkeypatch.setattr(answer_queue, "bytearray", Seen, raising=False)
    for _ in range(100):
        its.playback.enqueue(1, tone(4.0, rate_hz=16_000))
    monkeypatch.undo()
    with its.playback._lock:
        its.playback._mix.clear(time.monotonic(), fade=True)
        assert held == []
        its.playback._changed.notify_all()
    its.playback.enqueue(2, tone(0.1, rate_hz=16_000))
    its.playback.end_answer(2)
    its.pull(12)
    end_s, pause = time.monotonic() + 20, threading.Event()
    while len(held) < 100:
        assert time.monotonic() < end_s, f"{len(held)} of 100 are gone"
        pause.wait(0.01)
    assert not queue.has_waste


@pytest.mark.parametrize("is_ahead", [False, True])
def test_an_answer_that_was_too_long_tells_what_of_it_never_sounded(
    speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch, is_ahead: bool
) -> None:
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 1.0)
    its = Room(speaker)
    its.playback.set_format(AudioFormat("pcm", 16_000))
    if is_ahead:
        its.playback.start()
    its.playback.enqueue(1, tone(1.5, rate_hz=16_000))
    if is_ahead:
        # What is made at once was taken from the queue: so much of the next answer fits.
        its.settle()
    its.playback.enqueue(2, tone(0.25, rate_hz=16_000))
    if not is_ahead:
        its.playback.start()
    its.pull(60)
    its.playback.enqueue(2, tone(0.25, rate_hz=16_000))  # its beginning is lost, and so is this
    its.playback.enqueue(3, tone(0.2, rate_hz=16_000))
    its.playback.end_answer(3)
    while its.playback._mix.voice_waits:
        its.pull()
    assert its.wait_told(lambda told: len([what for what, _ in told if what == "finished"]) == 3)
    its.playback.stop()
    first, second, third = its.finished
    assert first == HeardPart(1, 1000, 1500, False, lost_ms=500)
    assert (second.answer, second.finished, second.total_ms) == (2, False, 500)
    assert second.heard_ms + second.lost_ms == 500
    assert second.lost_ms == (380 if is_ahead else 500)
    assert third == HeardPart(3, 200, 200, True)
    assert its.playback.dropped_ms == first.lost_ms + second.lost_ms


def test_an_answer_that_was_lost_whole_is_told_though_nothing_follows(
    room: MakeRoom, speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 0.0)
    its = room(speaker)
    its.playback.enqueue(1, tone(1.0, rate_hz=16_000))
    assert its.wait_told(lambda told: told == [("finished", HeardPart(1, 0, 1000, False, lost_ms=1000))])
    assert its.finished[0].ended_s > 0
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 1.0)
    its.playback.enqueue(2, tone(0.1, rate_hz=16_000))
    its.playback.end_answer(2)
    its.pull(12)
    assert its.wait_told(lambda told: ("finished", HeardPart(2, 100, 100, True)) in told)


def test_what_was_interrupted_was_not_lost(
    room: MakeRoom, speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 1.0)
    its = room(speaker)
    its.playback.enqueue(1, tone(2.0, rate_hz=16_000))
    its.pull(10)
    assert its.playback.clear() == (HeardPart(1, 100, 2000, False, lost_ms=0),)


def test_a_hole_in_an_answer_is_an_underrun_and_its_end_is_none(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(PCM_24)
    its.playback.enqueue(1, tone(0.05))
    its.pull(10)
    assert its.playback.underruns == 0
    its.playback.enqueue(1, tone(0.05))
    assert its.playback.underruns == 1
    its.pull(10)
    its.playback.end_answer(1)
    assert its.wait_told(lambda told: told == [("started", 1), ("finished", HeardPart(1, 100, 100, True))])
    its.playback.enqueue(2, tone(0.05))
    its.pull(10)
    assert its.playback.underruns == 1


def test_silence_ends_an_answer_that_nobody_ended(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(PCM_24)
    its.playback.enqueue(1, tone(0.05))
    before_s = time.monotonic()
    its.pull(10)
    assert its.wait_told(lambda told: told == [("started", 1), ("finished", HeardPart(1, 50, 50, True))], 30)
    assert time.monotonic() - before_s > 0.7


def test_audible_until_the_latency_is_over(room: MakeRoom) -> None:
    its = room(SteppingOutput(latency_s=600.0))
    its.playback.set_format(PCM_24)
    assert not its.playback.audible(time.monotonic())
    its.playback.enqueue(1, tone(0.02))
    assert its.playback.audible(time.monotonic() + 9)
    its.playback.end_answer(1)
    before_s = time.monotonic()
    its.pull(3)
    after_s = time.monotonic()
    assert its.playback.audible(before_s + 600.0)
    assert not its.playback.audible(after_s + 600.03)
    assert its.told == []


def test_drained_when_the_latency_is_over(room: MakeRoom) -> None:
    its = room(SteppingOutput(latency_s=0.15))
    its.playback.set_format(PCM_24)
    its.playback.enqueue(1, tone(0.02))
    its.playback.end_answer(1)
    before_s = time.monotonic()
    its.pull(3)
    assert its.wait_silent(30.0)
    assert time.monotonic() >= before_s + 0.15
    assert its.wait_told(lambda told: told == [("started", 1), ("finished", HeardPart(1, 20, 20, True))])


def test_periods_longer_than_ours_are_served(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.set_format(AudioFormat("pcm", 48_000))
    its.pull(1, 1_024)  # the device turns out to take more at once than it said
    its.playback.enqueue(1, tone(0.5, rate_hz=48_000))
    assert np.array_equal(its.pull(10, 1_024), samples(tone(0.5, rate_hz=48_000))[:10_240])
    assert its.playback.underruns == 0


def test_stop_ends_what_plays(room: MakeRoom, speaker: SteppingOutput) -> None:
    its = room(speaker)
    its.playback.enqueue(1, tone(1.0))
    its.pull(2)
    its.playback.stop()
    its.playback.stop()
    assert speaker.fill is None
    assert [heard.finished for heard in its.finished] == [False]
    its.playback.enqueue(1, tone(1.0))
    assert its.playback.clear() == ()


def test_idle_it_waits_for_something_to_do_and_not_for_a_time(
    room: MakeRoom, speaker: SteppingOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that looks again and again uses up a core; silent periods are not even noticed by the thread."""
    its = room(speaker)
    its.settle()
    changed, timeouts_s = its.playback._changed, queue.SimpleQueue[float | None]()
    wait = changed.wait

    def noted(timeout_s: float | None = None) -> bool:
        if threading.current_thread() is its.playback._thread:
            timeouts_s.put(timeout_s)
        return wait(timeout_s)

    monkeypatch.setattr(changed, "wait", noted)
    with changed:
        changed.notify_all()
    assert timeouts_s.get(timeout=60) is None
    its.pull(50)
    assert timeouts_s.empty()


@pytest.mark.parametrize("cut", ["fade", "sharp"])
def test_many_threads_at_once(room: MakeRoom, cut: str) -> None:
    """Every answer is told to be finished exactly once, nothing gets stuck, nothing is left over."""
    threads_before = threading.active_count()
    its = room(NullOutput(), cut=cut)
    its.playback.set_format(PCM_24)
    rounds = 150
    errors: list[BaseException] = []

    def hammer(first_answer: int) -> None:
        rng = np.random.default_rng(first_answer)
        try:
            for number in range(rounds):
                voice = tone(0.3)[: rng.integers(2, 14_000)]
                its.playback.enqueue(first_answer + number, voice)
                its.playback.duck(bool(number % 2))
                its.playback.set_volume(float(rng.uniform()))
                its.playback.audible(time.monotonic())
                if number % 3 == 0:
                    its.playback.clear()
                time.sleep(float(rng.uniform(0, 0.004)))  # So that the calls meet the device in every order.
        except BaseException as error:  # noqa: BLE001 — to be seen by the test
            errors.append(error)

    workers = [threading.Thread(target=hammer, args=(1000 * each,)) for each in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert errors == []
    its.playback.clear()
    assert its.wait_silent(3)
    its.playback.stop()
    finished = [heard.answer for heard in its.finished]
    assert sorted(finished) == sorted(1000 * each + number for each in range(4) for number in range(rounds))
    started = [it for what, it in its.told if what == "started"]
    assert len(set(started)) == len(started)
    assert not any(what == "failure" for what, _ in its.told)
    assert threading.active_count() == threads_before
