"""Which echo mode is taken, and when another has to be."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time

import numpy as np
import pytest

from parleyd.audio.devices.null import NullOutput
from parleyd.audio.echo import control
from parleyd.audio.echo.canceller import EchoCancellerMissingError
from parleyd.audio.echo.control import DID_WELL_S, SECOND_CHANCE_S, EchoControl, NearFrame
from parleyd.audio.echo.far_end import FarEnd, FarFrame
from parleyd.audio.echo.self_echo import SelfEcho
from parleyd.audio.pcm import FRAME_BYTES, FRAME_SAMPLES, Frame, to_pcm
from parleyd.audio.playback.mix import Audible
from parleyd.audio.playback.playback import Playback
from parleyd.core import events

ROOM = b"\x05\x00\xfb\xff" * (FRAME_BYTES // 4)
AGENT = "The train leaves from platform nine at eighteen forty two."
ECHO = "train leaves from platform nine"


class Rig:
    """An EchoControl beside a speaker that was not started."""

    def __init__(self, mode: str) -> None:
        self.told: list[events.Trouble] = []
        self.bus = events.Bus()
        self.bus.subscribe(lambda e: self.told.append(e) if isinstance(e, events.Trouble) else None)
        self.playback = Playback(
            NullOutput(),
            volume=1.0,
            duck_db=12.0,
            cut="fade",
            on_started=lambda _answer, _at_s: None,
            on_finished=lambda _heard: None,
            on_failure=lambda _error: None,
        )
        self.far_end = FarEnd()
        self.control = EchoControl(mode, 300, self.playback, self.far_end, self.bus)  # type: ignore[arg-type]

    def repeat_the_agent(self) -> None:
        self.bus.publish(events.AnswerText(at_s=100.0, text=AGENT))
        for at_s in (103.0, 105.0, 107.0):
            self.bus.publish(events.Heard(at_s=at_s, text=ECHO, final=True))


@pytest.fixture
def no_canceller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)


@pytest.mark.parametrize(
    ("mode", "now"), [("auto", "aec"), ("aec", "aec"), ("half_duplex", "half_duplex"), ("off", "off")]
)
def test_the_mode_that_is_taken(mode: str, now: str) -> None:
    assert Rig(mode).control.mode == now


@pytest.mark.usefixtures("no_canceller")
def test_without_the_canceller_auto_says_so_once_and_is_half_duplex(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rig = Rig("auto")
        for number in range(10):
            rig.control.hear(Frame(ROOM, number * 0.02))
    assert rig.control.mode == "half_duplex"
    assert len(caplog.records) == 1
    assert "pywebrtc-audio" in caplog.text


@pytest.mark.usefixtures("no_canceller")
def test_without_the_canceller_aec_does_not_start() -> None:
    with pytest.raises(EchoCancellerMissingError):
        Rig("aec")


@pytest.mark.parametrize("mode", ["aec", "half_duplex", "off"])
def test_while_nothing_is_played_frames_pass_untouched(mode: str) -> None:
    frame = Frame(ROOM, 5.0)
    assert Rig(mode).control.hear(frame) == NearFrame(frame, may_be_speech=True)


def test_the_far_end_follows_what_is_heard_and_is_given_later_where_it_must() -> None:
    """Clocks 100 ppm apart, of which the times know nothing, while the microphone's sound comes sooner by 25 ms."""
    rig, rng = Rig("aec"), np.random.default_rng(1)
    rig.far_end.start(16_000, 0.020)
    far = np.convolve(rng.standard_normal(40 * 16_000), [1.0, 0.8, 0.4], "same") * 1500
    far *= np.repeat(rng.uniform(0.2, 1.5, len(far) // 1600), 1600)
    at = np.arange(len(far)) * (1 - 100e-6) - 1500
    heard = to_pcm(np.interp(at, np.arange(len(far)), far, left=0.0) * 0.5 + rng.standard_normal(len(far)) * 10)
    played, taken, talks, moved = to_pcm(far), 0, [], 0
    for number in range(len(far) // FRAME_SAMPLES - 1):
        start_s = number * 0.02 - min(0.025, max(0, number - 1000) * 4e-5)
        while taken * 0.010 <= start_s + 0.020:
            rig.far_end.take(played[taken * 320 : (taken + 1) * 320], taken * 0.010)
            taken += 1
        frame = Frame(heard[number * FRAME_BYTES : (number + 1) * FRAME_BYTES], start_s)
        talks.append(rig.control.hear(frame).may_be_speech)
        moved += rig.far_end._alignment.lag_increase_samples
    assert moved > 100
    assert not any(talks[20:])


def test_what_is_too_faint_to_be_a_person_over_the_agent_is_told_apart_from_nothing() -> None:
    rig, rng = Rig("aec"), np.random.default_rng(1)
    far = rng.standard_normal(4 * 16_000) * 1500
    heard = np.concatenate([np.zeros(960), far * 0.3])[: len(far)] + rng.standard_normal(len(far)) * 10
    heard[-FRAME_SAMPLES:] += rng.standard_normal(FRAME_SAMPLES) * 75
    last = len(far) // FRAME_SAMPLES - 1
    for number in range(last + 1):
        place = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES)
        rig.far_end.take(to_pcm(far[place]), number * 0.02)
        passed = rig.control.hear(Frame(to_pcm(heard[place]), number * 0.02))
        assert not passed.may_be_speech or number == 0
        assert passed.weak_near_end == (number == last) or number < 100
    rig.control.mode = "half_duplex"
    assert not rig.control.hear(Frame(ROOM, 4.0)).weak_near_end


def test_half_duplex_is_silent_as_soon_as_an_answer_waits() -> None:
    rig = Rig("half_duplex")
    rig.playback.enqueue(1, bytes(3200))
    assert rig.control.hear(Frame(ROOM, 5.0)) == NearFrame(Frame.silence(5.0), may_be_speech=False)


def test_after_a_while_the_canceller_gets_another_chance_and_then_after_twice_as_long_unless_it_did_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig, now_s = Rig("aec"), 1000.0
    over: list[events.TroubleOver] = []
    rig.bus.subscribe(lambda e: over.append(e) if isinstance(e, events.TroubleOver) else None)
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    for hours in (1, 2, 4, 1):
        if hours == 1:
            now_s += DID_WELL_S + 1
        rig.repeat_the_agent()
        assert rig.control.mode == "half_duplex"
        assert f"for {hours} h" in rig.told[-1].text
        now_s += hours * SECOND_CHANCE_S - 1
        rig.control.hear(Frame(ROOM, now_s))
        assert rig.control.mode == "half_duplex"
        now_s += 2
        rig.playback.enqueue(1, bytes(3200))
        rig.control.hear(Frame(ROOM, now_s))
        assert rig.control.mode == "half_duplex", "not in the midst of an answer"
        rig.playback.clear()
        failed = rig.control._path
        rig.control.hear(Frame(ROOM, now_s))
        assert rig.control._path is not failed, "with all that it had learnt"
        assert rig.control.mode == "aec"
    assert len(over) == len(rig.told) == 4


def test_who_wants_half_duplex_gets_no_canceller(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig("half_duplex")
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    rig.control.hear(Frame(ROOM, 1e9))
    assert rig.control.mode == "half_duplex"


@pytest.mark.parametrize("mode", ["auto", "aec"])
def test_a_daemon_that_hears_itself_falls_back_and_says_it_once(mode: str) -> None:
    rig = Rig(mode)
    rig.repeat_the_agent()
    rig.repeat_the_agent()
    assert rig.control.mode == "half_duplex"
    (told,) = rig.told
    assert "counts as silent" in told.text


def test_off_stays_off_but_says_it() -> None:
    rig = Rig("off")
    rig.repeat_the_agent()
    assert rig.control.mode == "off"
    (told,) = rig.told
    assert told.hint == "set audio.echo.mode to auto"


@pytest.mark.parametrize("mode", ["aec", "off"])
def test_levels_and_words_that_agree_at_the_same_moment_are_told_once(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ears and the session's receiver, both certain at once."""
    both = threading.Barrier(2)

    class Certain(SelfEcho):
        def levels(self, near_dbfs: float, far_dbfs: float, *, talk: bool) -> bool:
            return self._certain(True)

        def person_said(self, text: str, at_s: float) -> bool:
            return self._certain(True)

        def _certain(self, it_is: bool) -> bool:
            first = it_is and not self._told
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.3)  # the other one looks now, if it may
            self._told = True
            return first

    monkeypatch.setattr(control, "SelfEcho", Certain)
    rig = Rig(mode)
    ears = threading.Thread(target=lambda: rig.control.judge(NearFrame(Frame(ROOM, 5.0), True), talk=True))
    ears.start()
    rig.bus.publish(events.Heard(at_s=1.0, text="my own words", final=True))
    ears.join(60)
    assert len(rig.told) == 1
    if mode == "aec":
        assert rig.control.mode == "half_duplex"
        assert rig.control._retry_delay_s == 2 * SECOND_CHANCE_S


def test_a_frame_goes_one_way_although_the_receiver_falls_back_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words come back just when the ears have found out that this frame is for the canceller. A frame that went
    past both would have the agent's voice in it, and might be speech."""
    rig, rng = Rig("aec"), np.random.default_rng(1)
    far, last, given = rng.standard_normal(151 * FRAME_SAMPLES) * 1500, 150, rig.far_end.frame

    def while_it_is_asked(start_s: float) -> FarFrame:
        rig.repeat_the_agent()
        return given(start_s)

    for number in range(last + 1):
        place = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES)
        rig.far_end.take(to_pcm(far[place]), number * 0.02)
        frame = Frame(to_pcm(far[place] * 0.3), number * 0.02)
        if number == last:
            monkeypatch.setattr(rig.far_end, "frame", while_it_is_asked)
        passed = rig.control.hear(frame)
    assert rig.control.mode == "half_duplex"
    assert not passed.may_be_speech
    assert passed.frame.pcm != frame.pcm


def sounding(rig: Rig, monkeypatch: pytest.MonkeyPatch, *, earcon: bool = False, announcement: bool = False) -> None:
    """As if it sounded for another hour."""
    later_s = time.monotonic() + 3600.0
    audible = Audible(0.0, later_s if earcon else 0.0, later_s if announcement else 0.0)
    monkeypatch.setattr(rig.playback, "audible_until", lambda _now_s: audible)


@pytest.mark.parametrize("mode", ["half_duplex", "off"])
def test_without_a_canceller_nobody_is_heard_over_an_announcement(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, now_s = Rig(mode), time.monotonic()
    assert rig.control.hear(Frame(ROOM, now_s)).may_be_speech
    sounding(rig, monkeypatch, announcement=True)
    assert rig.control.hear(Frame(ROOM, now_s)) == NearFrame(Frame.silence(now_s), may_be_speech=False)


@pytest.mark.parametrize("mode", ["aec", "half_duplex", "off"])
def test_an_earcon_is_no_speech_in_any_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, now_s = Rig(mode), time.monotonic()
    sounding(rig, monkeypatch, earcon=True)
    assert not rig.control.hear(Frame(ROOM, now_s)).may_be_speech


def test_in_half_duplex_the_speakers_sound_is_not_kept() -> None:
    rig, now_s = Rig("half_duplex"), time.monotonic()
    rig.far_end.start(16_000, 0.020)
    rig.far_end.take(b"\x10\x10" * 160, now_s)
    rig.control.hear(Frame(ROOM, now_s))
    rig.far_end.frame(now_s)
    assert len(rig.far_end._line) == 0
