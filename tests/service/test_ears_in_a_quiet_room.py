"""The ears handle a quiet room many frames at a time. What they do is the same as with one frame at a time."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from harness import spoken

from parleyd.app.ears import Ears
from parleyd.audio.capture.input_gain import InputGain
from parleyd.audio.echo.control import NearFrame
from parleyd.audio.gate.gate import Gate, Passed, Verdict
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, Frame, samples_of, to_pcm
from parleyd.core import events


class Told:
    """Outbox, dialogue, supervisor and recorder in one: keeps what the ears tell them, with the number of frames that
    they had handled by then."""

    asleep, deaf, understood = True, False, False

    def __init__(self) -> None:
        self.passed: list[Passed] = []
        self.recorded: list[Passed] = []
        self.told: list[str] = []

    def push(self, passed: Sequence[Passed]) -> None:
        self.passed.extend(passed)

    def hear(self, verdict: Verdict, *, wanted: bool) -> None:
        self.passed.extend(verdict.passed)
        self.told.append(f"{verdict.talk_started} {verdict.talk_stopped} {verdict.closed} {verdict.speech_s:.2f}")

    def take(self, passed: Sequence[Passed], *, closed: bool) -> None:
        self.recorded.extend(passed)

    def forget(self) -> None:
        self.told.append(f"forget {len(self.recorded)}")

    def wake(self, *, by_speech: bool) -> None:
        self.told.append(f"wake {len(self.recorded)}")
        self.asleep = False

    def talk_started(self, at_s: float) -> None:
        self.told.append(f"talk {at_s:.2f}")

    def talk_goes_on(self, ms: int) -> None:
        self.told.append(f"on {ms}")

    def talk_stopped(self) -> None:
        self.told.append("stopped")


class Echo:
    """None. passes_calmly: whether frames may be handled together."""

    speaker_sounds = agent_sounds = False
    speaker_rests = True

    def __init__(self, *, passes_calmly: bool) -> None:
        self.passes_calmly = passes_calmly
        self.together = 0

    def hear(self, frame: Frame) -> NearFrame:
        return NearFrame(frame, may_be_speech=True)

    def judge(self, near: NearFrame, *, talk: bool) -> None:
        pass

    def passes(self, start_s: float, frames: int) -> bool:
        self.together += frames * self.passes_calmly
        return self.passes_calmly


def ears_with(told: Told, echo: Echo, **more: Any) -> Ears:
    lost: list[tuple[float, float]] = []
    capture = SimpleNamespace(gain=InputGain(), lose=lambda *what: lost.append(what), lost=lost)
    bus = events.Bus()
    bus.subscribe(lambda event: told.told.append(f"{type(event).__name__} {event.at_s:.2f}"))
    return Ears(
        cast(Any, capture),
        cast(Any, echo),
        Vad(2),
        Gate(500, 900),
        cast(Any, told),
        cast(Any, told),
        told,
        bus,
        hold_back=True,
        wake_on_speech=True,
        on_death=lambda _what, _error: None,
        recorder=cast(Any, told),
        **more,
    )


def an_evening() -> list[Frame]:
    """A quiet room, and now and then somebody says something, loud or soft; a door; a moment without a microphone."""
    rng = np.random.default_rng(7)
    sound = rng.normal(0.0, 26.0, 16_000 * 60)
    voice = samples_of(spoken("What time is it?")).astype(float)
    for second, loud in ((8, 0.5), (20, 0.02), (31, 0.1), (47, 1.0)):
        sound[second * 16_000 : second * 16_000 + len(voice)] += voice * loud
    sound[16_000 * 14 : 16_000 * 14 + 800] += rng.normal(0.0, 6000.0, 800)
    pcm = to_pcm(sound)
    frames = [Frame(pcm[at : at + FRAME_BYTES], at / 32_000) for at in range(0, len(pcm), FRAME_BYTES)]
    for number in range(26 * 50, 27 * 50):
        frames[number] = Frame.silence(frames[number].start_s)
    return frames


def heard(frames: list[Frame], count: int, *, together: bool, **more: Any) -> tuple[Told, Ears, Echo]:
    told, echo = Told(), Echo(passes_calmly=together)
    ears = ears_with(told, echo, **more)
    for at in range(0, len(frames), count):
        ears._hear_all(frames[at : at + count])
        if at % (50 * count) == 0 and at > 40 * 50:
            # The session is over.
            told.asleep = True
    return told, ears, echo


@pytest.mark.parametrize("count", [5, 24, 48])
def test_what_the_ears_do_with_many_frames_is_what_they_do_with_one(count: int) -> None:
    frames = an_evening()
    single, few, _ = heard(frames, count, together=False)
    several, many, echo = heard(frames, count, together=True)
    assert echo.together > len(frames) / 2
    assert several.recorded == single.recorded
    assert several.told == single.told
    assert [one for one in several.passed if one.speech] == [one for one in single.passed if one.speech]
    assert len(several.passed) == pytest.approx(len(single.passed), abs=count)
    assert any(line.startswith("wake") for line in several.told)
    assert (many.frames, many.speech_frames, many.heard_frames) == (few.frames, few.speech_frames, few.heard_frames)
    assert many.level_dbfs == pytest.approx(few.level_dbfs, abs=1e-3)
    assert many.gate.floor.dbfs == pytest.approx(few.gate.floor.dbfs, abs=1e-3)


def test_orders_get_each_frame() -> None:
    frames, orders = an_evening()[: 12 * 50], list[bytes]()
    _, ears, _ = heard(frames, 24, together=True, orders=orders.append)
    kept = b"".join(ears._order_stretch._before)
    assert kept == b"".join(frame.pcm for frame in frames)[-len(kept) :]


def test_muted_frames_are_not_handled_together() -> None:
    told, echo = Told(), Echo(passes_calmly=True)
    ears = ears_with(told, echo)
    frames = an_evening()
    ears.mute(True, 0.0)
    ears._hear_all(frames[:24])
    assert echo.together == 0
    assert ears.heard_frames == 0
    ears.mute(False, frames[36].start_s)
    ears._hear_all(frames[24:48])
    assert echo.together == 0, "some of them were captured before"
    assert ears.heard_frames == 12


def test_frames_for_which_there_is_no_memory_count_as_silence_and_keep_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told, echo = Told(), Echo(passes_calmly=True)
    ears = ears_with(told, echo)
    frames = an_evening()
    ears._hear_all(frames[:24])

    def no_memory(_frames: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ears._measure, "steps", no_memory)
    ears._hear_all(frames[24:48])
    assert ears._capture.lost == [(frames[24].start_s, 24 * FRAME_MS / 1000)]  # type: ignore[attr-defined]
    assert ears.frames == 48
    monkeypatch.undo()
    ears._hear_all(frames[48:96])
    assert [one.frame.is_silent for one in told.recorded] == ([False] * 24 + [True] * 24 + [False] * 48)[
        : len(told.recorded)
    ]
