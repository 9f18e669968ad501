"""`parleyd demo`: a whole conversation on this machine."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parleyd import events, own_python
from parleyd.agents.local.voice import Voice, VoiceError
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.names import devices_of
from parleyd.audio.devices.wav import WavOutput
from parleyd.audio.echo import EchoCancellerMissingError
from parleyd.audio.pcm import PIPELINE_RATE_HZ
from parleyd.audio.vad import VadUnavailableError
from parleyd.cli.agents import Agents
from parleyd.cli.errors import CommandError
from parleyd.cli.run import attend
from parleyd.config.loader import ConfigError, load
from parleyd.config.schema import Audio, Config, Local, Log, Session
from parleyd.demo.actor import ActorMicrophone
from parleyd.demo.facts import Facts, Recording, gather, judge
from parleyd.demo.play import LINES, perform
from parleyd.demo.stage import CueMissedError, Stage
from parleyd.demo.timeline import Timeline
from parleyd.failure import ServiceError
from parleyd.host import logs
from parleyd.host.directories import config_path
from parleyd.host.signals import STOP, Signals
from parleyd.service import Service

SCENARIO = Path(__file__).parent.parent / "demo" / "scenario.yaml"
PERSON_VOICE = "rms"
IDLE_TIMEOUT_S = 4.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="hold a conversation on this machine",
        description="Runs the real daemon against the embedded agent, with an actor at the microphone: a question, an "
        "interruption, a lost line, sleep. Exits 0 only if the conversation really happened so.",
    )
    parser.add_argument(
        "--mic", action="store_true", help="the microphone and speaker of your configuration; Ctrl-C ends it"
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON instead of the timeline")
    parser.add_argument("--out", type=Path, default=Path("parleyd-demo"), metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = Config(
        provider="local",
        local=Local(scenario=None if args.mic else str(SCENARIO)),
        audio=_audio() if args.mic else Audio(),
        session=Session(idle_timeout_s=IDLE_TIMEOUT_S),
        log=Log(level="debug" if args.debug else "error"),
    )
    stage = Stage()
    bus = events.Bus()
    bus.subscribe(stage)
    timeline = None if args.json else Timeline(sys.stdout)
    if timeline is not None:
        bus.subscribe(timeline)
    listener = logs.start(config.log)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.mic:
            return _converse(config, bus)
        for number in STOP:
            signal.signal(number, signal.default_int_handler)
        missed, facts = _perform(config, bus, stage, args.out)
    except OSError as error:
        mend = "choose another folder with --out"
        raise CommandError(f"{args.out}: {error.strerror}", mend, os.EX_CANTCREAT) from error
    except (DeviceError, EchoCancellerMissingError, VadUnavailableError, VoiceError) as error:
        raise CommandError(str(error), error.mend, os.EX_UNAVAILABLE) from error
    except ServiceError as error:
        raise CommandError(str(error), error.mend, os.EX_SOFTWARE) from error
    finally:
        if timeline is not None:
            timeline.close()
        listener.stop()
    if args.json:
        print(json.dumps({"happened": not missed, "missing": missed, **asdict(facts)}, ensure_ascii=False, indent=2))
    else:
        _print_summary(facts, missed, args.out)
    return os.EX_SOFTWARE if missed else os.EX_OK


def _audio() -> Audio:
    """As it is configured, where that is a microphone and a speaker; else the system's own."""
    path = config_path()
    if not path.exists():
        return Audio()
    try:
        audio = load(path).config.audio
    except ConfigError as error:
        # A fresh installation has no agent yet; this one needs none.
        print(f"parleyd: {error.problems[0]}", file=sys.stderr)
        print("parleyd: so the system's own microphone and speaker are taken", file=sys.stderr)
        return Audio()
    no_card = any(one == "null" or one.startswith("wav:") for one in (audio.input.device, audio.output.device))
    return Audio() if no_card or audio.mode == "off" else audio


def _perform(config: Config, bus: events.Bus, stage: Stage, out: Path) -> tuple[list[str], Facts]:
    actor, speaker = ActorMicrophone(), WavOutput(out / "speaker.wav")
    with Voice(PERSON_VOICE) as person:
        voice = {line.text: person.say(line.text, PIPELINE_RATE_HZ) for line in LINES}
    missed: list[str] = []
    with _running(config, bus, actor, speaker) as service:
        try:
            perform(stage, actor, voice)
        except CueMissedError as error:
            missed.append(str(error))
    microphone = Recording(_floats(b"".join(actor.given)), PIPELINE_RATE_HZ, actor.began_s)
    heard = _recording(out / "speaker.wav", speaker)
    facts = gather(stage.events, heard, service.counters, len(actor.given))
    missed += judge(facts, [line.words for line in LINES], stage.events, heard)
    _draw(out / "conversation.png", stage, microphone, heard)
    return missed, facts


@contextmanager
def _running(
    config: Config,
    bus: events.Bus,
    mic: InputDevice,
    speaker: OutputDevice,
    on_failure: Callable[[], None] = lambda: None,
) -> Iterator[Service]:
    with Agents(config) as agents:
        service = Service(config, agents.agent(config), mic, speaker, bus, on_failure)
        service.start()
        try:
            yield service
        finally:
            service.stop()


def _converse(config: Config, bus: events.Bus) -> int:
    with Signals() as arrived, _running(config, bus, *devices_of(config.audio), arrived.nudge) as service:
        attend(service, arrived)
    return os.EX_OK


def _draw(path: Path, stage: Stage, microphone: Recording, speaker: Recording) -> None:
    try:
        from parleyd.demo.picture import draw

        draw(path, stage.events, microphone, speaker)
    except ImportError:
        raise CommandError(
            "matplotlib is missing, so there is no picture", own_python.install("matplotlib"), os.EX_UNAVAILABLE
        ) from None


def _recording(path: Path, device: WavOutput) -> Recording:
    with wave.open(str(path)) as file:
        sound = file.readframes(file.getnframes())
    return Recording(_floats(sound), WavOutput.RATE_HZ, device.began_s or 0.0)


def _floats(sound: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(32768)


def _print_summary(facts: Facts, missed: list[str], out: Path) -> None:
    rows = [
        ("utterances", f"{facts.utterances}, answered {facts.answers} times, over {facts.sessions} connections"),
        ("in the room", f"{facts.stayed_in_the_room:.0%} of {facts.room_s:.0f} s of sound never left it"),
        ("wake to live", _ms(facts.wake_to_live_ms)),
        ("first sound", f"{_ms(facts.speech_end_to_answer_ms)} after the end of speech (median)"),
        ("interrupted", f"silent {_ms(facts.silent_after_ms)} after the order, measured in the recording"),
        ("line lost", f"back after {_ms(facts.line_back_after_ms)}; {facts.speech_resent_ms} ms sent again, "
         f"{facts.speech_lost_ms} ms lost"),
        ("left here", f"{out / 'speaker.wav'}, {out / 'conversation.png'}"),
    ]
    print()
    for name, text in rows:
        print(f"  {name:<14}{text}")
    for text in missed:
        print(f"  MISSING       {text}")
    print(f"\n  {'It did not happen as told.' if missed else 'It happened as told.'}")


def _ms(value: int | None) -> str:
    return "never" if value is None else f"{value} ms"
