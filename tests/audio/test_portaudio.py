"""Through PortAudio, on the virtual sound card."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyaudio
import pytest
from playback_room import Room, samples, tone

from parleyd.audio.devices import alsa, portaudio, portaudio_host, sound_server
from parleyd.audio.devices.device import DeviceError, OpensBeside
from parleyd.audio.devices.names import input_device, output_device
from parleyd.audio.devices.native_output import portaudio_muted
from parleyd.audio.devices.portaudio import PortAudioOutput, explain
from parleyd.audio.devices.portaudio_host import host
from parleyd.audio.pcm import AudioFormat
from parleyd.cli import devices as devices_command
from vcard import Listener, VirtualCard

pytestmark = pytest.mark.usefixtures("vcard")

# What lies between the card and the test: the recorder's blocks, and a machine busy with other tests.
MEASURING_S = 0.015


def loudest_hz(pcm: np.ndarray, rate_hz: int) -> float:
    """The median of the tenths of a second: a busy sound server may leave out some of the sound."""
    stretches = pcm[: len(pcm) // (rate_hz // 10) * (rate_hz // 10)].reshape(-1, rate_hz // 10)
    spectra = np.abs(np.fft.rfft(stretches * np.hanning(rate_hz // 10), rate_hz))
    return float(np.median(np.argmax(spectra, axis=1)))


class Ear:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.got: list[tuple[bytes, float]] = []

    def __call__(self, pcm: bytes, start_s: float) -> None:
        with self.changed:
            self.got.append((pcm, start_s))
            self.changed.notify_all()

    def wait(self, predicate: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(predicate, 60)


@pytest.mark.parametrize("name", ["vmic", "VMI", "default"])
def test_what_is_spoken_is_captured(vcard: VirtualCard, name: str) -> None:
    ear = Ear()
    device = input_device(name)
    info = device.open(ear)
    ear.wait(lambda: len(ear.got) >= 2)
    speech = vcard.play(tone(1.0, rate_hz=48_000, hz=700), rate_hz=48_000)
    ear.wait(lambda: sum(np.abs(samples(pcm)).max() > 5_000 for pcm, _ in ear.got) >= 25)
    device.close()
    after = len(ear.got)
    speech.wait(10)
    assert (info.rate_hz, info.channels, info.period_samples) == (16_000, 1, 320)
    assert {len(pcm) for pcm, _ in ear.got} == {640}
    voice = np.concatenate([samples(pcm) for pcm, _ in ear.got if np.abs(samples(pcm)).max() > 5_000])
    assert loudest_hz(voice[320:-320], info.rate_hz) == pytest.approx(700, abs=5)
    starts_s = [start_s for _, start_s in ear.got]
    assert starts_s == sorted(starts_s)
    # Sound flows in real time; a busy machine is late now and then, and hands over several periods at once.
    assert starts_s[-1] - starts_s[0] == pytest.approx(0.02 * (len(starts_s) - 1), abs=1.0)
    assert len(ear.got) == after
    assert device.name == ("default" if name == "default" else "vmic")


def test_what_is_played_is_heard(room: Callable[..., Room], vcard: VirtualCard) -> None:
    with vcard.listen() as listener:
        its = room(output_device("vspk"))
        its.playback.set_format(AudioFormat("pcm", 22_050))
        its.playback.enqueue(1, tone(0.5, rate_hz=22_050, hz=700))
        its.playback.end_answer(1)
        assert its.wait_silent(60)
        assert listener.wait_until(time.monotonic(), 60)
        heard = listener.sound().astype(np.int32)
    loud = np.nonzero(np.abs(heard) > 1_000)[0]
    voice = heard[loud[0] : loud[-1]]
    # A sine of that height is louder than 1000 in 94 of 100 samples; a busy machine may put pauses between them.
    assert len(loud) / listener.RATE_HZ == pytest.approx(0.5 * 0.936, abs=0.02)
    assert loudest_hz(voice, listener.RATE_HZ) == pytest.approx(700, abs=5)
    assert np.abs(voice).max() == pytest.approx(10_000, rel=0.05)


def test_latency_is_small() -> None:
    device = output_device("vspk")
    info = device.open(lambda count: bytes(2 * count))
    device.close()
    assert info.rate_hz == 48_000
    assert info.period_samples == 480
    assert 0 < info.latency_s <= 0.040


def test_a_device_that_takes_only_48_khz() -> None:
    with pytest.raises(OSError, match="sample rate"):
        host.open(rate=16_000, channels=1, output=True, output_device_index=portaudio.find("stiff", "output").index)
    asked = threading.Semaphore(0)

    def fill(count: int) -> bytes:
        asked.release()
        return bytes(2 * count)

    device = output_device("stiff")
    info = device.open(fill)
    for _ in range(5):
        assert asked.acquire(timeout=60)
    device.close()
    assert info.rate_hz == 48_000


def test_portaudio_is_asked_last_for_what_alsa_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal by PortAudio may crash the process while another stream runs."""
    monkeypatch.setitem(portaudio._RATES_HZ, "output", (16_000, 48_000))
    device, listed = output_device("stiff"), portaudio.find("stiff", "output")
    assert isinstance(device, portaudio.PortAudioOutput)
    rates = [(rate_hz, agrees) for rate_hz, _, agrees in device._attempts(listed)]
    assert list(dict.fromkeys(rates)) == [(48_000, True), (16_000, False)]
    opened = device.open(lambda count: bytes(2 * count))
    device.close()
    again = list(device._attempts(listed))
    assert again[0] == (48_000, opened.channels, True)
    assert {rate_hz for rate_hz, _, _ in again} == {48_000}, "ALSA was right before"


def test_a_refused_rate_is_not_seen_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="sample rate"):
        host.open(rate=16_000, channels=1, output=True, output_device_index=portaudio.find("stiff", "output").index)
    assert capfd.readouterr().err == ""


def test_others_may_speak_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    with portaudio_muted():
        os.write(
            2, b"Expression 'x' failed in 'src/pa.c', line: 1\nBDB1539 Build signature does not match\nour own line\n"
        )
    os.write(2, b"and after\n")
    assert capfd.readouterr().err == "our own line\nand after\n"


@pytest.mark.parametrize("open_device", [input_device, output_device])
def test_an_unknown_device(open_device: Callable[..., Any]) -> None:
    with pytest.raises(DeviceError, match=r"no (in|out)put device is called 'Jabra'; there are .*'default'") as refused:
        open_device("Jabra").open(lambda *_: None)
    assert "vmic" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "parleyd devices" in refused.value.hint


def test_a_name_that_means_several() -> None:
    with pytest.raises(DeviceError, match="'v' may be any of the input devices 'vmic', 'vspk'"):
        input_device("v").open(lambda *_: None)


def test_a_device_that_does_not_open(capfd: pytest.CaptureFixture[str]) -> None:
    """The virtual microphone lists itself as a speaker too, which it is not."""
    with pytest.raises(DeviceError, match="the output device 'vmic' cannot be opened: Unanticipated host error"):
        output_device("vmic").open(lambda count: bytes(2 * count))
    assert capfd.readouterr().err == ""


def test_busy_is_called_busy() -> None:
    busy = explain(OSError(pyaudio.paDeviceUnavailable, "Device unavailable"), "USB", "input")
    assert str(busy) == "the input device 'USB' is busy"
    assert "audio.input.device" in (busy.hint or "")
    assert "busy" not in str(explain(OSError(errno.EIO, "broken"), "USB", "input"))


def contains(wanted: tuple[str, object], told: list[tuple[str, object]]) -> bool:
    return wanted in told


def test_a_failing_user_does_not_end_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Semaphore(0)

    def fail(*_: object) -> bytes:
        calls.release()
        raise RuntimeError("boom")

    devices: list[Any] = [input_device("vmic"), output_device("vspk")]
    for device in devices:
        device.open(fail)
        for _ in range(5):
            assert calls.acquire(timeout=60)
        device.close()
        device.close()
    assert len([record for record in caplog.records if "could not be handled" in record.message]) == 2


def test_a_device_that_does_not_close_is_given_up(
    vcard: VirtualCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the sound server is frozen, PortAudio's close does not return."""
    monkeypatch.setattr(portaudio_host, "CLOSE_DEADLINE_S", 0.3)
    device = output_device("vspk")
    asked = threading.Event()

    def fill(count: int) -> bytes:
        asked.set()
        return bytes(2 * count)

    device.open(fill)
    assert asked.wait(60)
    vcard.freeze()
    try:
        # The server is frozen until this has returned.
        device.close()
        assert "does not let itself be closed" in caplog.text
        assert not host.refresh()
    finally:
        vcard.thaw()
    give_up_s = time.monotonic() + 60
    while not host.refresh():
        assert time.monotonic() < give_up_s, "the stream is still open after the server came back"
        threading.Event().wait(0.02)


def residuals_s(its: Room, listener: Listener, trials: int) -> Iterator[float]:
    """Time from clear() to the last sound at the speaker; each answer is one chunk of 3 s."""
    its.playback.set_format(AudioFormat("pcm", 24_000))
    for answer in range(trials):
        enqueued_s = time.monotonic()
        its.playback.enqueue(answer, tone(3.0))
        assert listener.wait_for_sound(enqueued_s, 60)
        assert listener.wait_until(time.monotonic() + 0.013 * answer, 60)
        cleared_s = time.monotonic()
        assert [heard.finished for heard in its.playback.clear()] == [False]
        assert listener.wait_until(cleared_s + 0.15, 60)
        yield listener.last_sound_s() - cleared_s


@pytest.mark.parametrize(("cut", "bound_s"), [("fade", 0.020), ("sharp", 0.015)])
def test_a_clear_ends_the_sound(vcard: VirtualCard, cut: str, bound_s: float) -> None:
    """One that keeps the bound is enough: a busy machine only ever adds, and what the design holds back is in each."""
    with vcard.listen() as listener:
        device = output_device("vspk", is_cut=cut == "sharp")
        its = Room(device, cut=cut)
        info = its.playback.start()
        try:
            latency_s = info.latency_s if cut == "fade" else 0.0
            residual_s = min(residuals_s(its, listener, 3))
            if residual_s > latency_s + bound_s + MEASURING_S:
                residual_s = min(residuals_s(its, listener, 20))
        finally:
            its.playback.stop()
    assert residual_s <= latency_s + bound_s + MEASURING_S


def test_many_sharp_cuts_leave_nothing_behind() -> None:
    threads = threading.active_count()
    its = Room(output_device("vspk", is_cut=True), cut="sharp")
    its.playback.start()
    for answer in range(15):
        its.playback.enqueue(answer, tone(0.3))
        assert its.wait_told(partial(contains, ("started", answer)))
        its.playback.clear()
    its.playback.stop()
    assert [heard.answer for heard in its.finished] == list(range(15))
    assert threading.active_count() == threads
    assert host.refresh(), "a stream is still open"


def run_command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    devices_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["devices", *words])
    code = args.run(args)
    return code, capsys.readouterr().out


def test_devices_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run_command(capsys, "--json")
    listed = json.loads(out)
    assert code == 0
    assert [device["name"] for device in listed["inputs"] if device["default"]] == ["default"]
    stiff = next(device for device in listed["outputs"] if device["name"] == "stiff")
    assert (stiff["rates_hz"], stiff["output_channels"], stiff["host_api"]) == ([48_000], 2, "ALSA")
    vmic = next(device for device in listed["inputs"] if device["name"] == "vmic")
    assert vmic["rates_hz"] == [16_000, 24_000, 44_100, 48_000]
    code, out = run_command(capsys)
    assert code == 0
    assert "opens at 16/24/44.1/48 kHz" in out
    assert "* = default" in out
    assert re.search(r"^   stiff +2 channels, opens at 48 kHz$", out, re.MULTILINE)


def test_devices_command_without_cards(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text('pcm.broken { type pulse server "unix:/nonexistent" hint { show on description "broken" } }\n')
    program = (
        "import argparse, sys; from parleyd.cli import devices; parser = argparse.ArgumentParser()\n"
        "devices.add_parser(parser.add_subparsers()); args = parser.parse_args(['devices', *sys.argv[1:]])\n"
        "sys.exit(args.run(args))\n"
    )
    environment = os.environ | {"ALSA_CONFIG_PATH": str(config)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 69
    assert "there is no sound input device" in done.stdout
    assert "group audio" in done.stdout
    assert done.stderr == ""


def test_a_channel_that_is_not_there() -> None:
    """However many the plugin claims: test_channels.py has more of that."""
    with pytest.raises(DeviceError, match=r"'vmic' has 1 channel, and .* asks for number 3") as refused:
        input_device("vmic", 3).open(lambda *_: None)
    assert "up to 1" in refused.value.hint


def test_two_may_mute_portaudio_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(portaudio_muted())
    second.enter_context(portaudio_muted())
    os.write(2, b"Expression 'x' failed in 'src/pa.c', line: 1\n")
    first.close()
    os.write(2, b"Expression 'y' failed in 'src/pa.c', line: 1\nour own\n")
    second.close()
    os.write(2, b"and after\n")
    assert capfd.readouterr().err == "our own\nand after\n"


def test_a_microphone_of_a_sound_server_delivers_two_streams_until_the_older_one_is_closed() -> None:
    first, second = Ear(), Ear()
    device = input_device("vmic")
    device.open(first)
    first.wait(lambda: len(first.got) >= 2)
    assert isinstance(device, OpensBeside)
    info = device.open_beside(second, 100)
    assert info.period_samples == 1600
    second.wait(lambda: len(second.got) >= 2)
    begun = len(first.got)
    first.wait(lambda: len(first.got) > begun)
    device.close_older()
    ended = len(first.got)
    second.wait(lambda: len(second.got) >= 5)
    device.close()
    assert len(first.got) == ended
    assert {len(pcm) for pcm, _ in second.got} == {3200}


def test_a_device_that_is_closed_while_it_opens_does_not_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    device, ear = input_device("vmic"), Ear()
    opened, may_go_on = threading.Event(), threading.Event()
    really_open = host.open

    def slow(**options: Any) -> object:
        stream = really_open(**options)
        opened.set()
        assert may_go_on.wait(60)
        return stream

    monkeypatch.setattr(host, "open", slow)
    errors: list[DeviceError] = []

    def open_it() -> None:
        try:
            device.open(ear)
        except DeviceError as error:
            errors.append(error)

    opener = threading.Thread(target=open_it)
    opener.start()
    assert opened.wait(60)
    device.close()
    monkeypatch.undo()
    monkeypatch.setattr(host, "refresh", lambda: False)
    may_go_on.set()
    opener.join(60)
    assert len(errors) == 1
    assert "too late" in str(errors[0])
    assert host._streams == 0


def test_what_kind_of_speaker_it_is() -> None:
    speaker = output_device("vspk")
    assert isinstance(speaker, PortAudioOutput)
    speaker.open(lambda count: bytes(2 * count))
    try:
        assert sound_server.sink_behind("vspk") == "vspk"
        assert not speaker.begins_at_once(), "of an unknown kind"
        speaker.name = "Jabra SPEAK 410 USB: USB Audio (hw:1,0)"
        speaker._place = alsa.Place(1, "USB")
        assert speaker.begins_at_once()
    finally:
        speaker.close()
