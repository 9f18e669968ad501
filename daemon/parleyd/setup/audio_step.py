"""The step `audio`: microphone, speaker, and the echo between them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from parleyd.audio.devices import alsa
from parleyd.audio.devices.deadlines import in_time
from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.names import input_device, output_device
from parleyd.audio.devices.portaudio import Card
from parleyd.audio.devices.portaudio_host import Direction, host
from parleyd.audio.devices.server_devices import Kind, listed_by_server, set_default
from parleyd.audio.devices.sound_server import sink_behind, source_behind
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import detector
from parleyd.config.schema import Audio
from parleyd.core.errors import UserError
from parleyd.setup.dialog import Option
from parleyd.setup.meter import TONE_HZ, Meter, notes
from parleyd.setup.sound_devices import SoundDevice, is_configured, only_hdmi, preferred, sound_devices, standard_of
from parleyd.setup.state import Setup
from parleyd.setup.try_step import daemon_runs
from parleyd.tuning import echo
from parleyd.tuning.advice import Advice, Facts, Loudness, Settings, advise, facts_of
from parleyd.tuning.recording import play, play_and_record, record
from parleyd.tuning.rehearsal import rehearse

LISTEN_S = 5.0
_KINDS: dict[Direction, Kind] = {"input": "source", "output": "sink"}
# libpulse's variables for the device of this process alone.
_VARIABLES = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}
_NAMES = {"input": "microphone", "output": "speaker"}
_HINTS = {
    "input": "plug one in; a HAT needs its dtoverlay= in /boot/firmware/config.txt; `arecord -l` lists what the kernel "
    "knows",
    "output": "plug one in; `aplay -l` lists what the kernel knows",
}
_MODES = (
    Option("aec", "aec", "the echo is cancelled, and you can interrupt"),
    Option("half_duplex", "half_duplex", "the microphone is shut while the agent speaks"),
    Option("off", "off", "a headset, or hardware that cancels by itself"),
    Option("auto", "auto", "aec, and half_duplex where that is missing"),
)
_SPECIAL = ("null", "wav:")


@dataclass(frozen=True)
class _Recording:
    pcm: bytes
    rate_hz: int


def run(setup: Setup) -> str:
    if setup.config.audio.mode == "off":
        setup.page.note("The configuration says audio.mode: off, so the conversation is in writing.")
        return "switched off in the configuration"
    if listed_by_server("source") is None and daemon_runs():
        setup.page.note(
            "parleyd runs, and may hold the sound card itself. If a device is missing here: sudo systemctl stop "
            "parleyd, and this step again; the step service starts it."
        )
    with _own_environment():
        return _run(setup)


def _run(setup: Setup) -> str:
    changes: dict[tuple[str, ...], object] = {}
    microphone = _chosen(setup, "input")
    gain_db, recording = _listening(setup, microphone)
    changes["audio", "input", "device"] = microphone.spec
    if gain_db is not None:
        changes["audio", "input", "gain_db"] = gain_db
    speaker = _chosen(setup, "output")
    _sounding(setup, speaker, recording)
    changes["audio", "output", "device"] = speaker.spec
    mode = _echo(setup, microphone, speaker, gain_db)
    if mode is not None:
        changes["audio", "echo", "mode"] = mode
    setup.write(changes)
    for one, kind in ((microphone, _KINDS["input"]), (speaker, _KINDS["output"])):
        _make_default(setup, one, kind)
    return f"{microphone.label}; {speaker.label}; echo: {mode or setup.config.audio.echo.mode}"


# ---------------------------------------------------------------- choosing


def _chosen(setup: Setup, direction: Direction) -> SoundDevice:
    """The microphone or the speaker, which is also in use from now on in this process."""
    section = setup.config.audio.input if direction == "input" else setup.config.audio.output
    key = _NAMES[direction]
    given = setup.dialog.answer(key)
    if given is not None and given.startswith(_SPECIAL):
        return SoundDevice(given, given)
    while True:
        found = _found(direction)
        if section.device.startswith(_SPECIAL):
            found.append(SoundDevice(section.device, section.device, "of the configuration", is_default=True))
        if found:
            break
        text = f"there is no {key}"
        if not setup.dialog.is_person:
            raise UserError(text, f"{_HINTS[direction]}; for none: --answer {key}=null")
        setup.page.problem(f"There is no {key}.", _HINTS[direction])
        setup.dialog.pause("Enter looks again, skip leaves the sound out:")
    if direction == "output" and only_hdmi(found):
        setup.page.note("There is only HDMI: it sounds only if the screen has speakers, and is switched on.")
    first = preferred(found, section.device)
    options = [Option(one.key, one.label, one.detail) for one in found]
    standard = standard_of(found) if given == "default" else None
    if standard is not None:
        value = standard.key
    else:
        value = setup.dialog.choose(key, f"Which {key}?", options, first.key if first else None)
    chosen = next(one for one in found if one.key == value)
    if is_configured(chosen, section.device):
        # The words of the configuration stay.
        chosen = replace(chosen, spec=section.device)
    _use(setup, chosen, direction)
    return chosen


def _found(direction: Direction) -> list[SoundDevice]:
    try:
        in_time(host.refresh, "looking for devices")
        devices = in_time(host.devices, "listing the devices")
        host.refresh()
    except DeviceError as error:
        raise UserError(str(error), "see whether the sound server hangs") from None
    server = listed_by_server(_KINDS[direction])
    names = {device.name for device in devices if device.channels(direction)}
    behind = source_behind if direction == "input" else sink_behind
    through = next((name for name in ("default", "pulse", "pipewire") if name in names and behind(name)), None)
    return sound_devices(devices, direction, server, through)


def _use(setup: Setup, chosen: SoundDevice, direction: Direction) -> None:
    """Makes the sound server give this process the chosen device. Its own ALSA plugin may not follow the environment;
    then the device has to become the default at once."""
    if chosen.server_name is None:
        return
    os.environ[_VARIABLES[direction]] = chosen.server_name
    source = source_behind(chosen.spec) if direction == "input" else None
    name = source.name if source is not None else sink_behind(chosen.spec) if direction == "output" else None
    if name != chosen.server_name and not chosen.is_default:
        _make_default(setup, chosen, _KINDS[direction])


def _make_default(setup: Setup, chosen: SoundDevice, kind: Kind) -> None:
    if chosen.server_name is None or chosen.is_default:
        return
    name = "microphone" if kind == "source" else "speaker"
    if set_default(kind, chosen.server_name):
        setup.page.good(f"{chosen.label} is the sound server's default {name} now, for all programs")
    else:
        setup.page.problem(
            f"the sound server did not make {chosen.label} its default",
            f"pactl set-default-{kind} {chosen.server_name}",
        )


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _VARIABLES.values()}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# ---------------------------------------------------------------- hearing


def _listening(setup: Setup, chosen: SoundDevice) -> tuple[int | None, _Recording | None]:
    """The gain to be written, None for the present one; and what was heard."""
    page = setup.page
    if not setup.dialog.yes("listen", "Hear whether it works? You speak for five seconds.", unattended=False):
        return None, None
    gain_db = setup.config.audio.input.gain_db
    while True:
        page.say("Say a sentence or two from where you will speak, such as: “Good morning. What will the weather be?”")
        heard = _record(setup, input_device(chosen.spec, setup.config.audio.input.channel), gain_db)
        facts, advice = _judged(setup, chosen, heard, gain_db)
        if not facts.openings:
            page.problem("No speech was heard.", advice[0].text if advice else None)
            if setup.dialog.is_person and setup.dialog.yes("again", "Listen again?"):
                continue
            return None, heard
        page.good(f"Your voice was heard: the loudest moment was {facts.peak_dbfs:.0f} dBFS (0 is the most there is)")
        for one in advice:
            if one.kind != "good":
                page.note(one.text + (f" {one.key}: {one.value}" if one.key else ""))
        proposed = next((one.value for one in advice if one.key == "audio.input.gain_db"), None)
        if isinstance(proposed, int) and setup.dialog.yes(
            "gain", f"Take audio.input.gain_db: {proposed}?", unattended=False
        ):
            return proposed, heard
        return None, heard


def _record(setup: Setup, device: InputDevice, gain_db: float) -> _Recording:
    try:
        return _Recording(*record(device, LISTEN_S, gain_db, Meter(setup.page, LISTEN_S)))
    finally:
        setup.page.still()


def _judged(setup: Setup, chosen: SoundDevice, heard: _Recording, gain_db: float) -> tuple[Facts, list[Advice]]:
    gate = setup.config.gate
    ears = detector("webrtcvad", gate.aggressiveness)
    facts = facts_of(rehearse(heard.pcm, heard.rate_hz, ears, Gate(gate.pre_roll_ms, gate.hangover_ms)))
    device = input_device(chosen.spec, setup.config.audio.input.channel)
    has_mixer = alsa.has_capture_volume(device.name) if isinstance(device, Card) else None
    settings = Settings("webrtcvad", gate.aggressiveness, gate.pre_roll_ms, gate.hangover_ms)
    loudness = Loudness(gain_db, setup.config.audio.input.auto_gain == "on", has_mixer)
    return facts, advise(facts, settings, loudness)


# ---------------------------------------------------------------- sounding


def _sounding(setup: Setup, chosen: SoundDevice, recording: _Recording | None) -> None:
    page = setup.page
    volume = setup.config.audio.output.software_volume
    while setup.dialog.yes("tone", "Play two notes?", unattended=False):
        _play(output_device(chosen.spec), notes(), TONE_HZ, volume)
        page.good("Two notes were played.")
        if not setup.dialog.is_person or setup.dialog.yes("heard", "Did you hear them?"):
            break
        page.note(
            "Is it switched on, and turned up? `alsamixer` (F6: the card) shows a muted output as MM. "
            "skip leaves the sound as it is, and parleyd setup audio begins anew with another speaker."
        )
    if recording is not None and setup.dialog.yes("playback", "Play back what you said?", unattended=False):
        _play(output_device(chosen.spec), recording.pcm, recording.rate_hz, volume)
        page.good("That is what an agent will hear of you.")


def _play(device: OutputDevice, pcm: bytes, rate_hz: int, volume: float) -> None:
    play(device, pcm, rate_hz, volume)


# ---------------------------------------------------------------- echo


def _echo(setup: Setup, microphone: SoundDevice, speaker: SoundDevice, gain_db: int | None) -> str | None:
    """The mode to be written; None for the present one."""
    page = setup.page
    audio: Audio = setup.config.audio
    question = "Measure the echo? A rising sound of two seconds is played; be quiet meanwhile."
    proposed = None
    if setup.dialog.yes("echo", question, unattended=False):
        gain = audio.input.gain_db if gain_db is None else gain_db
        pair = output_device(speaker.spec), input_device(microphone.spec, audio.input.channel)
        path = play_and_record(*pair, volume=audio.output.software_volume, gain_db=gain)
        advice = echo.advise(echo.estimate(path), gain)
        for one in advice:
            (page.good if one.kind == "good" else page.note)(one.text)
        proposed = next((str(one.value) for one in advice if one.key == "audio.echo.mode"), None)
    elif setup.dialog.is_person or setup.dialog.answer("echo_mode") is None:
        return None
    return setup.dialog.choose("echo_mode", "What shall be done about the echo?", _MODES, proposed or audio.echo.mode)
