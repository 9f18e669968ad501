"""`parleyd demo`: a whole conversation on this machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from parleyd.app import logs
from parleyd.app.agents import Agents
from parleyd.app.service import Service
from parleyd.audio.devices.device import InputDevice, OutputDevice
from parleyd.audio.devices.names import devices_of
from parleyd.audio.devices.wav import WavOutput
from parleyd.audio.pcm import PIPELINE_RATE_HZ
from parleyd.checks.configuration import ConfigError, load_for_sound
from parleyd.cli.serving import attend
from parleyd.cli.terminal import show, working
from parleyd.config.schema import Audio, Config, Local, Log, Session
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.demo import page
from parleyd.demo.actor import ActorMicrophone
from parleyd.demo.facts import Facts, Recording, gather, judge
from parleyd.demo.play import CUE_TIMEOUT_S, LINES, perform
from parleyd.demo.sound import write_stereo
from parleyd.demo.stage import CueMissedError, Stage
from parleyd.demo.timeline import Timeline
from parleyd.embedded.voice import Voice
from parleyd.host import python_env
from parleyd.host.directories import config_path
from parleyd.host.signals import STOP, Signals

SCENARIO = Path(__file__).parent.parent / "demo" / "scenario.yaml"
PERSON_VOICE = "rms"
IDLE_TIMEOUT_S = 4.0
# During the play no time limit may end a session.
NEVER_IDLE = Session(idle_timeout_s=3600.0, false_wake_s=3600.0, connect_timeout_s=60.0)
SOUND, PICTURE, DARK_PICTURE = "conversation.wav", "conversation.png", "conversation-dark.png"

ABOUT = (
    "A spoken conversation on this machine, of about 30 s: an actor at the microphone asks a question, interrupts a "
    "long answer, and loses his line in the middle of a sentence. It needs no key, no sound card and no network. "
    "Ctrl-C ends it."
)
ABOUT_MIC = (
    "A conversation with the embedded agent, by your own microphone and speaker. Try: what time is it? Tell me a "
    "story. Count to ten. It needs no key and no network. Ctrl-C ends it."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        description="Runs the real daemon against the embedded agent, with an actor at the microphone: a question, an "
        "interruption, a lost connection, sleep. Exit code 0: every step went as scripted.",
    )
    parser.add_argument(
        "--mic", action="store_true", help="the microphone and speaker of your configuration; Ctrl-C ends it"
    )
    parser.add_argument(
        "--protocol",
        choices=("elevenlabs", "openai"),
        default="elevenlabs",
        help="the protocol that is spoken with the agent; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON instead of the timeline")
    parser.add_argument("--out", type=Path, default=Path("parleyd-demo"), metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = Config(
        provider="local",
        local=Local(scenario=None if args.mic else str(SCENARIO), protocol=args.protocol),
        audio=_audio() if args.mic else Audio(),
        session=Session(idle_timeout_s=IDLE_TIMEOUT_S) if args.mic else NEVER_IDLE,
        log=Log(level="debug" if args.debug else "error"),
    )
    bus = events.Bus()
    timeline = None
    if not args.json:
        print(page.wrapped(ABOUT_MIC if args.mic else ABOUT, page.width_of(sys.stdout)), end="\n\n", flush=True)
        timeline = Timeline(sys.stdout)
        bus.subscribe(timeline)
    listener = logs.start(config.log)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.mic:
            return _converse(config, bus)
        for number in STOP:
            signal.signal(number, signal.default_int_handler)
        return _demonstrate(config, bus, timeline, args)
    except BrokenPipeError:
        # The reader of standard output has ended.
        raise
    except OSError as error:
        hint = "choose another folder with --out"
        raise UserError(f"{args.out}: {error.strerror}", hint, os.EX_CANTCREAT) from error
    finally:
        if timeline is not None:
            timeline.close()
        listener.stop()


def _demonstrate(config: Config, bus: events.Bus, timeline: Timeline | None, args: argparse.Namespace) -> int:
    stage, actor = Stage(), ActorMicrophone()
    began_s = time.monotonic()
    # The folder is made first, so that a folder that is not writable is noticed now, and not at the end.
    with tempfile.TemporaryDirectory(dir=args.out, prefix=".parleyd-demo-") as folder:
        speaker = WavOutput(Path(folder) / "speaker.wav")
        # The file's final place.
        speaker.name = str(args.out / SOUND)
        missed: list[str] = []
        try:
            with Voice(PERSON_VOICE) as person:
                voice = {line.text: person.say(line.text, PIPELINE_RATE_HZ) for line in LINES}
            with _running(config, bus, actor, speaker, stage.end, stage) as (service, agents):

                def let_sleep() -> None:
                    service.reconfigure(
                        msgspec.structs.replace(config, session=Session(idle_timeout_s=IDLE_TIMEOUT_S)), agents.agent
                    )

                try:
                    perform(stage, actor, voice, let_sleep, CUE_TIMEOUT_S)
                except CueMissedError as error:
                    missed.append(str(error))
                except KeyboardInterrupt:
                    # Closed before the service stops, because messages about its end are not part of the conversation.
                    if timeline is not None:
                        timeline.close()
                    raise
        except KeyboardInterrupt:
            return _interrupted(began_s)
        if timeline is not None:
            timeline.close()
        if service.failure is not None:
            raise service.failure
        microphone = Recording(_floats(b"".join(actor.given)), PIPELINE_RATE_HZ, actor.began_s)
        heard = _recording(Path(folder) / "speaker.wav", speaker)
        write_stereo(Path(folder) / SOUND, microphone, heard)
        # This also replaces a file that another user has left there.
        (Path(folder) / SOUND).replace(args.out / SOUND)
    facts = gather(stage.events, heard, service.counters, len(actor.given))
    missed += judge(facts, [line.words for line in LINES], stage.events, heard)
    with working("drawing the picture …", sys.stdout if not args.json else sys.stderr):
        remark = _draw(args.out, stage, microphone, heard, facts)
    pictures = [] if remark else [str(args.out / PICTURE), str(args.out / DARK_PICTURE)]
    files = [str(args.out / SOUND), *pictures]
    if args.json:
        if remark:
            show(f"parleyd: {remark}", sys.stderr)
        found = {"happened": not missed, "missing": missed, **asdict(facts), "files": files}
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print_summary(facts, missed, files, remark)
    return os.EX_SOFTWARE if missed else os.EX_OK


def _audio() -> Audio:
    """The configured devices, if they are a microphone and a speaker; otherwise the system's default."""
    path = config_path()
    if not path.exists():
        return Audio()
    try:
        # A new installation has no agent yet; the demo needs none.
        audio = load_for_sound(path).config.audio
    except ConfigError as error:
        show(f"parleyd: {error.problems[0]}", sys.stderr)
        show("parleyd: so the system's own microphone and speaker are taken", sys.stderr)
        return Audio()
    no_card = any(one == "null" or one.startswith("wav:") for one in (audio.input.device, audio.output.device))
    return Audio() if no_card or audio.mode == "off" else audio


def _interrupted(began_s: float) -> int:
    # A second signal would only cut the end short.
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    print(f"\nstopped after {time.monotonic() - began_s:.0f} s, before its end: there is no summary", file=sys.stderr)
    return 130


@contextmanager
def _running(
    config: Config,
    bus: events.Bus,
    mic: InputDevice,
    speaker: OutputDevice,
    on_failure: Callable[[], None],
    stage: Stage | None = None,
) -> Iterator[tuple[Service, Agents]]:
    with Agents(config) as agents:
        service = Service(config, agents.agent(config), mic, speaker, bus, on_failure)
        if stage is not None:
            # The director subscribes last, because it acts upon events that the parts of the daemon must have handled.
            bus.subscribe(stage)
        service.start()
        try:
            yield service, agents
        finally:
            service.stop()


def _converse(config: Config, bus: events.Bus) -> int:
    devices = devices_of(config.audio, is_cut=config.barge_in.cut == "sharp")
    with Signals() as arrived, _running(config, bus, *devices, arrived.nudge) as (service, _):
        attend(service, arrived)
    return os.EX_OK


def _draw(folder: Path, stage: Stage, microphone: Recording, speaker: Recording, facts: Facts) -> str | None:
    """Draws the picture for light and for dark pages. Returns why there is none, and the hint; None if there is one.
    Removes the pictures of an earlier run, which would show another conversation."""
    for name in (PICTURE, DARK_PICTURE):
        (folder / name).unlink(missing_ok=True)
    try:
        from parleyd.demo.picture import DARK, LIGHT, Play, draw

        play = Play(stage.events, microphone, speaker, facts)
        draw(folder / PICTURE, play, LIGHT)
        draw(folder / DARK_PICTURE, play, DARK)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "matplotlib"
        why = "matplotlib is missing" if missing else f"matplotlib cannot be loaded ({error})"
        return f"there is no picture, for {why}; {python_env.install('matplotlib')}"
    return None


def _recording(path: Path, device: WavOutput) -> Recording:
    with wave.open(str(path)) as file:
        sound = file.readframes(file.getnframes())
    return Recording(_floats(sound), WavOutput.RATE_HZ, device.began_s or 0.0)


def _floats(sound: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(32768)


def _print_summary(facts: Facts, missed: list[str], files: list[str], remark: str | None) -> None:
    rows = [
        ("utterances", f"{facts.utterances}, answered {facts.answers} times, over {facts.sessions} connections"),
        ("in the room", f"{facts.stayed_in_the_room:.0%} of {facts.room_s:.0f} s of sound never left it"),
        ("wake to live", _ms(facts.wake_to_live_ms)),
        ("first sound", f"{_ms(facts.speech_end_to_answer_ms)} after the end of speech (median)"),
        ("interrupted", f"silent {_ms(facts.silent_after_ms)} after the order, measured in the recording"),
        (
            "line lost",
            f"back after {_ms(facts.line_back_after_ms)}; {facts.speech_resent_ms} ms sent again, "
            f"{facts.speech_lost_ms} ms lost",
        ),
        ("to hear", f"{files[0]} (left the person, right the agent)"),
        *(("to see", file) for file in files[1:]),
        *([("remark", remark)] if remark else []),
        *(("MISSING", text) for text in missed),
    ]
    width = page.width_of(sys.stdout)
    print()
    for name, text in rows:
        print("\n".join(page.beside(f"  {name:<14}", text, width)))
    print()
    if missed:
        text = "Not all steps went as scripted; “parleyd doctor” looks for what is wrong with this machine."
        print(page.wrapped(text.replace("parleyd", _command(), 1), width))
    else:
        print("All steps went as scripted.")
        mic = f"“{_command()} demo --mic” to talk with it yourself"
        print(page.wrapped(f"Next: {mic}; README.md tells how to connect your own agent.", width))


def _command() -> str:
    """The command that a user types; in a checkout it is not on the path."""
    script = Path(sys.executable).parent / "parleyd"
    if shutil.which("parleyd") or not script.exists():
        return "parleyd"
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


def _ms(value: int | None) -> str:
    return "never" if value is None else f"{value} ms"
