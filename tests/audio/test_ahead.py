"""Sound cards that are opened before the parts that use them exist."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from parleyd.audio.devices.ahead import listed_ahead, opened_ahead
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import device_pair
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.audio.devices.portaudio_host import host
from waiting import until

pytestmark = pytest.mark.usefixtures("vcard")


class Heard:
    def __init__(self) -> None:
        self.any = threading.Event()

    def __call__(self, pcm: bytes, start_s: float) -> None:
        self.any.set()


def cards() -> tuple[PortAudioInput, PortAudioOutput]:
    microphone, speaker = device_pair("vmic", "vspk")
    assert isinstance(microphone, PortAudioInput)
    assert isinstance(speaker, PortAudioOutput)
    return microphone, speaker


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directions in which PortAudio opens, in order."""
    opened: list[str] = []
    real = host.open

    def host_open(**options: Any) -> Any:
        opened.append("input" if "input" in options else "output")
        return real(**options)

    monkeypatch.setattr(host, "open", host_open)
    return opened


def test_what_is_opened_ahead_is_not_opened_again(openings: list[str]) -> None:
    microphone, speaker = cards()
    heard, asked = Heard(), threading.Event()

    def fill(samples: int) -> bytes:
        asked.set()
        return bytes(2 * samples)

    with opened_ahead(speaker, microphone):
        until("the microphone is opened ahead", lambda: microphone.active)
        assert speaker.open(fill).rate_hz == 48_000
        assert microphone.open(heard).rate_hz == 16_000
        assert asked.wait(60)
        assert heard.any.wait(60)
        assert (microphone.name, speaker.name) == ("vmic", "vspk")
    assert openings == ["output", "input"]
    assert not microphone.active
    assert not speaker.active


def test_an_opening_waits_for_the_one_ahead(openings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    microphone, speaker = cards()
    opens, goes_on = threading.Event(), threading.Event()
    counted = host.open

    def slow(**options: Any) -> Any:
        opens.set()
        goes_on.wait(60)
        return counted(**options)

    monkeypatch.setattr(host, "open", slow)
    with opened_ahead(speaker, microphone):
        assert opens.wait(60)
        waits = threading.Thread(target=speaker.open, args=[lambda samples: bytes(2 * samples)])
        waits.start()
        waits.join(0.1)
        assert waits.is_alive()
        goes_on.set()
        waits.join(60)
        assert openings.count("output") == 1


def test_what_has_gone_wrong_ahead_is_told_by_the_opening(openings: list[str]) -> None:
    microphone, speaker = cards()[0], PortAudioOutput("no such card")
    with opened_ahead(speaker, microphone):
        with pytest.raises(DeviceError, match="no output device is called 'no such card'"):
            speaker.open(lambda samples: bytes(2 * samples))
        # As without this: the microphone is opened after the speaker only.
        assert openings == []
        heard = Heard()
        microphone.open(heard)
        assert heard.any.wait(60)


def test_nothing_is_opened_ahead_of_an_opening_that_was(openings: list[str]) -> None:
    microphone, _ = cards()
    microphone.open(Heard())
    assert not microphone.open_ahead()
    assert openings == ["input"]
    microphone.close()


def test_a_card_that_was_closed_since_is_opened_again(openings: list[str]) -> None:
    microphone, _ = cards()
    assert microphone.open_ahead()
    microphone.close()
    heard = Heard()
    microphone.open(heard)
    assert heard.any.wait(60)
    microphone.close()
    assert openings == ["input", "input"]


def test_only_cards_are_opened_ahead(tmp_path: Path) -> None:
    """A WAV file begins when it is opened, and is written over."""
    microphone, speaker = device_pair("null", f"wav:{tmp_path}/out.wav")
    with opened_ahead(speaker, microphone):
        pass
    assert not list(tmp_path.iterdir())


def test_without_a_thread_nothing_is_opened_ahead(openings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    microphone, speaker = cards()

    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with opened_ahead(speaker, microphone):
            assert openings == []


def test_the_devices_are_listed_once(openings: list[str]) -> None:
    microphone, speaker = cards()
    host.refresh()
    with listed_ahead(), opened_ahead(speaker, microphone):
        until("the microphone is open", lambda: microphone.active)
        listed_s = host.listed_s
        microphone.open(Heard())
        assert host.listed_s == listed_s
    assert openings == ["output", "input"]


def test_the_last_period_from_before_is_heard_and_the_next_one_follows_it() -> None:
    microphone, _ = cards()
    periods: list[tuple[bytes, float]] = []
    enough = threading.Event()

    def deliver(pcm: bytes, start_s: float) -> None:
        periods.append((pcm, start_s))
        if len(periods) == 3:
            enough.set()

    assert microphone.open_ahead()
    ahead = microphone._ahead
    assert ahead is not None
    until("a period has come", lambda: ahead._last is not None)
    microphone.open(deliver)
    assert periods, "it was heard before open() returned"
    assert enough.wait(60)
    microphone.close()
    starts_s = [start_s for _, start_s in periods]
    assert starts_s == sorted(starts_s)
    assert {len(pcm) for pcm, _ in periods} == {640}


def test_a_period_of_long_ago_is_not_heard() -> None:
    microphone, _ = cards()
    assert microphone.open_ahead()
    ahead = microphone._ahead
    assert ahead is not None
    until("a period has come", lambda: ahead._last is not None)
    microphone._stream.stop_stream()
    assert ahead._last is not None
    # As if the device had stopped before that.
    ahead._last = ahead._last[0], ahead._last[1] - 1.0
    heard = Heard()
    microphone.open(heard)
    assert not heard.any.is_set()
    microphone.close()


HANGS = """
import ctypes, sys
import pyaudio
from parleyd.cli.main import main
pyaudio.PyAudio.__init__ = lambda _: ctypes.CDLL(None).sleep(3600)
sys.exit(main(["run", "-c", sys.argv[1]]))
"""


def test_a_configuration_is_refused_while_the_list_of_devices_hangs(tmp_path: Path) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text("audio: {nonsense: 1}\n")
    command = [sys.executable, "-c", HANGS, str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == os.EX_CONFIG
    assert "audio.nonsense: unknown key" in ended.stderr
