"""`parleyd tune`: listens, draws the sound, and says which settings to change."""

from __future__ import annotations

import argparse
import json
import os
import sys
import wave
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from parleyd.audio.devices import alsa
from parleyd.audio.devices.device import DeviceError, InputDevice
from parleyd.audio.devices.names import devices_of, microphone_of
from parleyd.audio.devices.portaudio import Card
from parleyd.audio.devices.wav import read_wav
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import Detector, detector
from parleyd.audio.pcm import BYTES_PER_SAMPLE, FRAME_MS
from parleyd.checks.configuration import load_for_sound
from parleyd.cli.configured import config_of
from parleyd.cli.terminal import show, working
from parleyd.config.schema import Config
from parleyd.config.schema import Gate as GateSection
from parleyd.core.errors import UserError
from parleyd.core.text import one_line
from parleyd.host import python_env
from parleyd.host.directories import config_path
from parleyd.tuning import echo, picture, recording
from parleyd.tuning.advice import DEAD_SHARE, Advice, Loudness, Settings, Trial, advise, facts_of
from parleyd.tuning.level_meter import LevelMeter
from parleyd.tuning.rehearsal import Rehearsal, rehearse

_PICTURE = Path("parleyd-tune.png")
_MARKS = {"fault": "!", "change": "→", "good": "✓"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "tune",
        description="Listens to the configured microphone while you speak (or, with --noise, while nobody does), shows "
        "what the gate makes of it, and says what to change. Nothing leaves the machine.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help=f"default: {config_path()}, or the built-in defaults"
    )
    parser.add_argument("--wav", type=Path, metavar="PATH", help="use a recording instead of the microphone")
    parser.add_argument(
        "--seconds", type=_seconds, default=15.0, metavar="N", help="how long to listen; default: %(default)g"
    )
    parser.add_argument("--noise", action="store_true", help="nobody speaks: all sound that opens the gate is noise")
    parser.add_argument("--out", type=Path, metavar="PNG", help=f"the picture; default: {_PICTURE}, none with --json")
    parser.add_argument("--save", type=Path, metavar="WAV", help="store the microphone's sound")
    parser.add_argument(
        "--echo", action="store_true", help="play a sound, measure its echo in the microphone, propose a mode"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"a number between 1 and 600, in seconds, and not {text!r}")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Exit code 0 even if there is much to change, because the advice was given."""
    if args.echo and (args.wav or args.noise or args.out or args.save):
        raise UserError("--echo plays and listens by itself", "leave out --wav, --noise, --out and --save", os.EX_USAGE)
    if args.wav and args.save:
        raise UserError("--save keeps what a microphone heard; --wav is a recording already", None, os.EX_USAGE)
    config = _config(args.config)
    if args.wav is None:
        _refuse_no_device(config, ("input", "output") if args.echo else ("input",))
    return _echo(args, config) if args.echo else _gate(args, config)


def _config(path: Path | None) -> Config:
    if path is None and not config_path().exists():
        return Config()
    return config_of(path or config_path(), load_for_sound)


def _refuse_no_device(config: Config, directions: Sequence[str]) -> None:
    """Where the configuration wants no device, its silence is no fault of a microphone."""
    key = "audio.mode is off" if config.audio.mode == "off" else None
    for direction in directions:
        if key is None and getattr(config.audio, direction).device == "null":
            key = f"audio.{direction}.device is null"
    if key is not None:
        hint = "name a device, `parleyd devices` lists them"
        hint += "" if "output" in directions else "; or give a recording with --wav PATH"
        raise UserError(f"the configuration wants no sound here: {key}", hint, os.EX_CONFIG)


def _gate(args: argparse.Namespace, config: Config) -> int:
    gate = config.gate
    hears = detector(gate.vad, gate.aggressiveness)
    pcm, rate_hz, source, loudness = _sound(args, config)
    if len(pcm) < BYTES_PER_SAMPLE * rate_hz * FRAME_MS // 1000:
        raise UserError(f"{source}: there is no sound in it", "record at least some seconds", os.EX_DATAERR)
    with working("listening to it as the gate does …", sys.stderr):
        heard = rehearse(pcm, rate_hz, hears, Gate(gate.pre_roll_ms, gate.hangover_ms))
        facts = facts_of(heard)
        trials = _trials(pcm, rate_hz, gate) if args.noise and facts.openings else []
    settings = Settings(gate.vad, gate.aggressiveness, gate.pre_roll_ms, gate.hangover_ms)
    advice = advise(
        facts,
        settings,
        loudness,
        nobody_spoke=args.noise,
        trials=trials,
        channels_cancel=facts.dead_share > DEAD_SHARE and _channels_cancel(args, config),
    )
    if args.out is not None or not args.json:
        # The name of a recording is enough; a device has no folder.
        _draw(args, heard, advice, f"{args.wav.name if args.wav else source}, {heard.seconds:.1f} s")
    if args.json:
        told = {"source": source, "gain_db": loudness.gain_db, "facts": asdict(facts)}
        print(json.dumps(told | {"advice": [asdict(each) for each in advice]}))
        return os.EX_OK
    utterances = "1 utterance" if facts.openings == 1 else f"{facts.openings} utterances"
    speech = "none" if facts.speech_dbfs is None else f"{facts.speech_dbfs:.0f} dBFS"
    gain = f", with a gain of {loudness.gain_db:g} dB" if loudness.gain_db else ""
    line = (
        f"{source}, {facts.seconds:.1f} s{gain}: peak {facts.peak_dbfs:.0f} dBFS, noise floor {facts.floor_dbfs:.0f} "
        f"dBFS, speech {speech}; {utterances}, {facts.sent_share * facts.seconds:.1f} s sent"
    )
    show(one_line(line))
    _say(advice)
    return os.EX_OK


def _trials(pcm: bytes, rate_hz: int, gate: GateSection) -> list[Trial]:
    """Rehearses the recording with every stricter detector that is installed."""
    trials: list[Trial] = []

    def hear(key: str, value: str | int, stricter: Detector) -> None:
        heard = rehearse(pcm, rate_hz, stricter, Gate(gate.pre_roll_ms, gate.hangover_ms))
        trials.append(Trial(key, value, float(heard.sent.mean()) * heard.seconds))

    if gate.vad != "webrtcvad":
        return trials
    for number in range(gate.aggressiveness + 1, 4):
        hear("gate.aggressiveness", number, detector("webrtcvad", number))
    # The package is optional.
    with suppress(UserError):
        hear("gate.vad", "silero", detector("silero", gate.aggressiveness))
    return trials


def _draw(args: argparse.Namespace, heard: Rehearsal, advice: list[Advice], title: str) -> None:
    """Draws the picture. Without --out a failure is not an error, because the advice is printed."""
    path = args.out or _PICTURE
    try:
        with working("drawing the picture …", sys.stderr):
            picture.draw(path, heard, advice, title)
    except ImportError as error:
        text, hint, code = f"the picture cannot be drawn: {error}", python_env.install("matplotlib"), os.EX_UNAVAILABLE
    except (OSError, ValueError) as error:
        text, hint, code = f"{path}: {error}", "choose another place, or a name ending in .png", os.EX_CANTCREAT
    else:
        show(f"the picture is {path}", sys.stderr)
        return
    if args.out is not None:
        raise UserError(text, hint, code)
    show(f"parleyd: {text}; {hint}", sys.stderr)


def _sound(args: argparse.Namespace, config: Config) -> tuple[bytes, int, str, Loudness]:
    """The sound as the gate would get it, and its rate; its source; and its gain."""
    section = config.audio.input
    if args.wav is not None:
        try:
            pcm, rate_hz = read_wav(args.wav)
        except OSError as error:
            raise UserError(f"{args.wav}: {error.strerror}", None, os.EX_NOINPUT) from error
        except DeviceError as error:
            raise UserError(str(error), error.hint, os.EX_DATAERR) from error
        return pcm, rate_hz, str(args.wav), Loudness()
    device = microphone_of(section)
    pcm, rate_hz = _listen(args, config, device)
    if args.save is not None:
        try:
            with wave.open(str(args.save), "wb") as file:
                file.setparams((1, BYTES_PER_SAMPLE, rate_hz, 0, "NONE", ""))
                file.writeframes(pcm)
        except OSError as error:
            raise UserError(f"{args.save}: {error.strerror}", None, os.EX_CANTCREAT) from error
    has_mixer = alsa.has_capture_volume(device.name) if isinstance(device, Card) else None
    return pcm, rate_hz, device.name, Loudness(section.gain_db, section.auto_gain == "on", has_mixer)


def _listen(args: argparse.Namespace, config: Config, device: InputDevice) -> tuple[bytes, int]:
    gate = config.gate
    meter = LevelMeter(
        sys.stderr,
        "be quiet" if args.noise else "say a few sentences, with pauses, from your place",
        args.seconds,
        detector(gate.vad, gate.aggressiveness),
        Gate(gate.pre_roll_ms, gate.hangover_ms),
    )
    try:
        return recording.record(device, args.seconds, config.audio.input.gain_db, meter)
    finally:
        meter.ends()


def _channels_cancel(args: argparse.Namespace, config: Config) -> bool:
    if args.wav is None:
        return recording.channels_cancel(config.audio.input)
    return any(read_wav(args.wav, 1)[0])


def _echo(args: argparse.Namespace, config: Config) -> int:
    microphone, speaker = devices_of(config.audio)
    gain_db = config.audio.input.gain_db
    volume = config.audio.output.software_volume
    path = recording.play_and_record(speaker, microphone, volume=volume, gain_db=gain_db)
    facts = echo.estimate(path)
    advice = echo.advise(facts, gain_db)
    if args.json:
        print(json.dumps({"facts": asdict(facts), "advice": [asdict(each) for each in advice]}))
        return os.EX_OK
    _say(advice)
    return os.EX_OK


def _say(advice: list[Advice]) -> None:
    for each in advice:
        show(one_line(f"{_MARKS[each.kind]} {each.text}"))
        if each.key is not None and each.value is not None:
            print(f"    {each.key}: {each.value}")
