"""audio.input.channel behind a sound server: one channel alone, in every place that opens the microphone."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import parleyd
from parleyd.audio.capture.capture import Capture
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import devices_of, microphone_of
from parleyd.audio.devices.portaudio import PortAudioInput
from parleyd.audio.devices.portaudio_host import CardDevice, host
from parleyd.audio.devices.sound_server import Source, choose
from parleyd.audio.pcm import PIPELINE_RATE_HZ, samples_of
from parleyd.cli import devices as devices_command
from parleyd.cli import tune
from parleyd.config.schema import Audio, AudioInput
from parleyd.doctor import sound_probe
from parleyd.tuning.recording import record
from vcard import VirtualCard

RATE_HZ = 48_000
TONES_HZ = (400, 700, 1000, 1300, 1600, 1900)
# The names are in an order that is not that of ALSA's plugin, to which six channels have others by their number alone.
SURROUND = "lfe,front-center,rear-left,rear-right,front-left,front-right"
UNNAMED = "aux0,aux1,aux2,aux3,aux4,aux5"
MAPS = {"six": SURROUND, "aux": UNNAMED}
SINKS = {"one": 1, "two": 2, "six": 6, "aux": 6, "opposite": 2}
PULSE = f"""
load-module module-null-sink sink_name=one rate={RATE_HZ} channels=1 norewinds=1
load-module module-null-sink sink_name=two rate={RATE_HZ} channels=2 norewinds=1
load-module module-null-sink sink_name=six rate={RATE_HZ} channels=6 channel_map={SURROUND} norewinds=1
load-module module-null-sink sink_name=aux rate={RATE_HZ} channels=6 channel_map={UNNAMED} norewinds=1
load-module module-null-sink sink_name=opposite rate={RATE_HZ} channels=2 norewinds=1
"""
ALSA = "\n".join(
    f'pcm.of-{name} {{{{ type pulse server "unix:{{dir}}/native" device "{name}.monitor" '
    f'hint {{{{ show on description "of-{name}" }}}} }}}}'
    for name in SINKS
)


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualCard]:
    """Each channel of each source has a tone of its own; those of `opposite` are one tone and its reverse."""
    card = VirtualCard(PULSE, ALSA)
    before = {name: os.environ.get(name) for name in card.environment}
    assert host.refresh(), "a sound stream is still open"
    os.environ.update(card.environment)
    players = []
    time_s = np.arange(120 * RATE_HZ) / RATE_HZ
    tones = [3000 * np.sin(2 * np.pi * hz * time_s) for hz in TONES_HZ]
    for name, channels in SINKS.items():
        played = [tones[0], -tones[0]] if name == "opposite" else tones[:channels]
        file = card.dir / f"{name}.raw"
        file.write_bytes(np.stack(played, axis=1).astype("<i2").tobytes())
        command = ["pacat", "-p", f"--device={name}", *spoken_format(name)]
        players.append(subprocess.Popen([*command, file], env=os.environ))
    try:
        for name in SINKS:
            wait_for_sound(name)
        yield card
    finally:
        for player in players:
            player.kill()
            player.wait(5)
        host.refresh()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        card.stop()


def spoken_format(name: str) -> list[str]:
    words = f"--raw --format=s16le --channels={SINKS[name]} --rate={RATE_HZ} --no-remix".split()
    return [*words, f"--channel-map={MAPS[name]}"] if name in MAPS else words


def wait_for_sound(name: str) -> None:
    command = ["parec", f"--device={name}.monitor", *spoken_format(name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as recorder:
        assert recorder.stdout is not None
        while not any(recorder.stdout.read(4096)):
            pass
        recorder.kill()


def tones_in(pcm: bytes, rate_hz: int) -> list[int]:
    """Which of the tones are in it, those that are 30 dB weaker than the loudest not counted."""
    # The first tenth of a second may be from before the stream was connected.
    sound = samples_of(pcm)[rate_hz // 10 :].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    level = {hz: spectrum[round(hz * len(sound) / rate_hz) - 3 :][:7].max() for hz in TONES_HZ}
    loudest = max(level.values())
    return [hz for hz in TONES_HZ if loudest > 0 and level[hz] > loudest / 30]


def heard(name: str, channel: int | None) -> list[int]:
    return tones_in(*record(microphone_of(AudioInput(device=f"of-{name}", channel=channel)), 0.6, 0.0))


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    ("name", "channel"),
    [("one", 1), ("two", 1), ("two", 2), *(("six", channel) for channel in range(1, 7))],
)
def test_a_channel_is_heard_alone(name: str, channel: int) -> None:
    assert heard(name, channel) == [TONES_HZ[channel - 1]]


@pytest.mark.usefixtures("card")
def test_without_a_channel_all_are_heard() -> None:
    assert heard("two", None) == list(TONES_HZ[:2])
    assert heard("six", None) == list(TONES_HZ)


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(("name", "channel", "there_are"), [("one", 2, "1 channel,"), ("six", 7, "6 channels,")])
def test_a_channel_that_the_source_does_not_have(name: str, channel: int, there_are: str) -> None:
    with pytest.raises(DeviceError, match=rf"'{name}\.monitor' has {there_are}.* asks for number {channel}"):
        heard(name, channel)


def test_a_channel_that_cannot_be_had_through_alsa_comes_by_the_command_that_is_told(card: VirtualCard) -> None:
    with pytest.raises(DeviceError, match=r"channel 3 .* is called aux2") as refused:
        heard("aux", 3)
    told = re.search(r"(pactl load-module .*?); and make it the default \((pactl .*?)\)", refused.value.hint or "")
    assert told is not None
    loads, makes_default = told.groups()
    try:
        for command in (loads, makes_default):
            subprocess.run(command.split(), env=os.environ, check=True, capture_output=True, timeout=60)
        assert tones_in(*record(microphone_of(AudioInput()), 0.6, 0.0)) == [TONES_HZ[2]]
    finally:
        card.pactl("set-default-source", "vmic")


@pytest.mark.usefixtures("card")
def test_where_nothing_is_known_of_the_channels_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As with a plugin that leads to no sound server: there is none here that records.
    monkeypatch.setattr("parleyd.audio.devices.sound_server.source_behind", lambda _name: None)
    device = microphone_of(AudioInput(device="of-two", channel=1))
    assert isinstance(device, PortAudioInput)
    assert tones_in(*record(device, 0.6, 0.0)) == [TONES_HZ[0]]
    assert "how many channels there are behind it cannot be found out" in caplog.text
    assert "cannot be found out" in device.hears


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("channel", [1, 2])
def test_the_daemon_tune_and_doctor_hear_the_same(
    channel: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text(f"provider: local\naudio: {{input: {{device: of-two, channel: {channel}}}}}\n")
    wanted = [TONES_HZ[channel - 1]]

    parser = argparse.ArgumentParser()
    tune.add_parser(parser.add_subparsers())
    saved = tmp_path / "saved.wav"
    args = parser.parse_args(["tune", "-c", str(config), "--seconds", "1", "--json", "--save", str(saved)])
    assert args.run(args) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "of-two"
    saved_pcm = saved.read_bytes()[44:]
    assert tones_in(saved_pcm, PIPELINE_RATE_HZ) == wanted

    audio = Audio(input=AudioInput(device="of-two", channel=channel))
    capture = Capture(devices_of(audio)[0])
    capture.start()
    try:
        pcm = b""
        while len(pcm) < PIPELINE_RATE_HZ:
            pcm += b"".join(frame.pcm for frame in capture.frames())
    finally:
        capture.stop()
    assert tones_in(pcm, PIPELINE_RATE_HZ) == wanted

    found = sound_probe.devices(audio)["input"]
    assert found["hears"] == f"channel {channel} of 2 of 'two.monitor' behind it"
    # One tone of 3000: the mix of both would be 3 dB lower. A period that came late adds a click of half a decibel.
    assert sound_probe.listen(audio)["peak_dbfs"] == pytest.approx(20 * np.log10(3000 / 32768), abs=1.5)


@pytest.mark.usefixtures("card")
def test_channels_that_cancel_each_other_are_told_from_a_muted_microphone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text("provider: local\naudio: {input: {device: of-opposite}}\n")
    parser = argparse.ArgumentParser()
    tune.add_parser(parser.add_subparsers())
    args = parser.parse_args(["tune", "-c", str(config), "--seconds", "1", "--json"])
    assert args.run(args) == 0
    (advice,) = json.loads(capsys.readouterr().out)["advice"]
    assert "cancel each other" in advice["text"]
    assert (advice["key"], advice["value"]) == ("audio.input.channel", 1)
    opposite = AudioInput(device="of-opposite")
    assert sound_probe.listen(Audio(input=opposite))["channels_cancel"]
    one = msgspec.structs.replace(opposite, channel=1)
    assert not sound_probe.listen(Audio(input=one))["channels_cancel"]
    assert heard("opposite", 2) == [TONES_HZ[0]]


@pytest.mark.usefixtures("card")
def test_the_list_shows_how_many_channels_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    devices_command.add_parser(parser.add_subparsers())
    assert devices_command.run(parser.parse_args(["devices"])) == 0
    out = capsys.readouterr().out
    for name, shown in (("one", "1 channel,"), ("two", "2 channels,"), ("six", "6 channels,")):
        assert re.search(rf"^   of-{name} +{shown}", out, re.MULTILINE), out
    assert devices_command.run(parser.parse_args(["devices", "--json"])) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["inputs"]}
    assert listed["of-six"]["source"] == {"name": "six.monitor", "channels": SURROUND.split(",")}


@pytest.mark.parametrize(
    ("name", "channels", "shown"),
    [
        ("Array: USB Audio (hw:2,0)", 32, "32 channels"),
        ("Array: USB Audio (hw:2,0)", 1, "1 channel"),
        ("default", 32, "any number of channels"),
        ("sysdefault", 2, "2 channels"),
    ],
)
def test_a_card_is_shown_as_it_is(name: str, channels: int, shown: str) -> None:
    device = CardDevice(0, name, "ALSA", RATE_HZ, channels, 0)
    assert devices_command._channels(device, "input", None) == shown


@pytest.mark.parametrize(
    ("positions", "channel", "choice"),
    [
        ((0,), 1, (1, 1)),
        ((1, 2), 2, (2, 2)),
        ((2, 1), 1, (2, 2)),
        # A front-center beside others: with two channels it would be mixed into both.
        ((1, 2, 3), 3, (6, 5)),
        ((1, 2, 10, 11), 4, (8, 8)),
    ],
)
def test_which_channel_of_how_many_is_asked_for(
    positions: tuple[int, ...], channel: int, choice: tuple[int, int]
) -> None:
    chosen = choose(Source("mic", positions), channel)
    assert (chosen.ask_for, chosen.take) == choice


# Two channels of one name, a rear-center (ALSA's plugin has none for an even number of channels), no name at all.
@pytest.mark.parametrize("positions", [(1, 1), (1, 2, 4), (12, 13)])
def test_a_channel_to_which_there_is_no_way_is_refused(positions: tuple[int, ...]) -> None:
    with pytest.raises(DeviceError, match="would mix it"):
        choose(Source("mic", positions), 1)


def test_microphones_are_opened_by_one_function() -> None:
    """Whoever asks for a device by its name alone forgets the channel."""
    root = Path(parleyd.__file__).parent
    forgetful = {"input_device", "device_pair", "PortAudioInput", "WavInput"}
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forgetful
    }
    # The guided set-up opens one that is not configured yet, with the channel of the configuration.
    assert found == {"audio/devices/names.py", "setup/audio_step.py"}
