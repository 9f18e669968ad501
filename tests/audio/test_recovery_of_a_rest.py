"""A speaker that is closed because nothing sounds is watched all the same: Recovery, on the virtual sound card."""

from __future__ import annotations

import threading

import pytest

from parleyd.audio.capture.capture import Capture
from parleyd.audio.devices.alsa import Place
from parleyd.audio.devices.names import output_device
from parleyd.audio.devices.null import NullInput
from parleyd.audio.devices.portaudio import PortAudioOutput
from parleyd.audio.playback.playback import Playback
from parleyd.audio.recovery import Recovery
from parleyd.core import events
from vcard import VirtualCard


def test_it_is_not_lost_until_its_card_is_unplugged(vcard: VirtualCard, monkeypatch: pytest.MonkeyPatch) -> None:
    del vcard
    monkeypatch.setattr("parleyd.audio.playback.playback.REST_AFTER_S", 0.05)
    changed, told = threading.Condition(), []

    def take(event: events.Event) -> None:
        with changed:
            told.append(event)
            changed.notify_all()

    bus = events.Bus()
    bus.subscribe(take)
    speaker = output_device("vspk")
    assert isinstance(speaker, PortAudioOutput)
    playback = Playback(
        speaker,
        volume=1.0,
        duck_db=12.0,
        cut="fade",
        on_started=lambda _answer, _at_s: None,
        on_finished=lambda _heard: None,
        on_failure=lambda error: pytest.fail(str(error)),
        may_rest=lambda: True,
    )
    playback.start()
    recovery = Recovery(1.0, Capture(NullInput()), playback, bus, lambda _what, error: pytest.fail(str(error)))
    recovery.start()
    try:
        with changed:
            # Longer than any silence that counts as a loss.
            assert not changed.wait_for(lambda: bool(told), 2.0), told
        assert playback.rests
        assert recovery._next_look_s == 0.25, "the microphone does not rest"
        monkeypatch.setattr(Capture, "rests", True)
        assert recovery._next_look_s == 1.0
        # No card can be pulled out here: the kernel is asked for a card that it never had.
        speaker._place = Place(99, "none")
        with changed:
            assert changed.wait_for(lambda: any(isinstance(event, events.DeviceLost) for event in told), 20)
    finally:
        recovery.stop()
        playback.stop()
