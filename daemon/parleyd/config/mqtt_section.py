"""The keys under `mqtt:`, for `parleyd mqtt`. schema.py explains the conventions, docs/mqtt.md explains the section."""

from typing import Annotated, Literal

from msgspec import Meta, field

from parleyd.config.base import Secret, Section, Text
from parleyd.config.secrets import masked

Command = Literal[
    "wake", "sleep", "mute", "unmute", "volume", "profile", "say", "announce", "context", "reload", "restart"
]
ALL_COMMANDS: tuple[Command, ...] = (
    *("wake", "sleep", "mute", "unmute", "volume", "profile"),
    *("say", "announce", "context", "reload", "restart"),
)
# Unmuting opens a microphone in a room that believes it closed: whoever may write to the broker gets that only by a
# word of the owner.
DEFAULT_COMMANDS: tuple[Command, ...] = tuple(one for one in ALL_COMMANDS if one != "unmute")
Prefix = Annotated[str, Meta(pattern=r"^[^\s/+#$\x00][^\s+#\x00]{0,99}(?<!/)$(?!\s)")]
_PREFIX = {"expected": "the beginning of a topic, without +, # and a slash at its ends"}
# The word in topics in the place of a device, where a whole group is meant.
GROUP = "group"
Group = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\s)")]


class MqttTls(Section, frozen=True):
    """Encryption of the connection to the broker."""

    mode: Annotated[
        Literal["on", "off"], Meta(description="on: encrypted, and the broker's certificate is checked")
    ] = "off"
    ca: Annotated[
        Text | None, Meta(description="path of the authority's certificate; null: those that the system trusts")
    ] = None
    certificate: Annotated[Text | None, Meta(description="path of this device's own certificate, if it has one")] = None
    key: Annotated[Text | None, Meta(description="path of the private key of that certificate")] = None


class Mqtt(Section, frozen=True):
    """An MQTT broker, for `parleyd mqtt` and through it for Home Assistant; it needs one more package: docs/mqtt.md."""

    host: Annotated[
        Annotated[str, Meta(pattern=r"^[^\s/@?#]+$(?!\s)")] | None,
        Meta(
            extra={"expected": "a name or an address, such as 192.168.1.10"},
            description="the broker's name or address; null: there is none",
        ),
    ] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None, Meta(description="null: 1883, and 8883 with tls.mode: on")
    ] = None
    protocol: Annotated[
        Literal["auto", "5", "3.1.1"],
        Meta(description="the version of MQTT; auto: 5, and 3.1.1 with a broker that knows no other"),
    ] = "auto"
    user: Annotated[Text | None, Meta(description="the name by which the broker knows this device")] = None
    password: Annotated[Secret | Text | None, Meta(description="the password of that user, without blanks")] = None
    tls: MqttTls = MqttTls()
    device: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\s)")] | None,
        Meta(
            extra={"expected": "at most 64 of the letters a to z, digits, _ and -"},
            description="the device's name in topics, different for each device; null: made from the machine's id",
        ),
    ] = None
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=60)] | None,
        Meta(description="the device's name for people, without its room; null: parleyd and the name of the machine"),
    ] = None
    area: Annotated[
        Annotated[str, Meta(min_length=1, max_length=60)] | None,
        Meta(description="the room that Home Assistant proposes; null: none"),
    ] = None
    topic_prefix: Annotated[Prefix, Meta(description="the beginning of all topics of parleyd", extra=_PREFIX)] = (
        "parleyd"
    )
    discovery_prefix: Annotated[
        Prefix | None,
        Meta(
            description="where Home Assistant looks for devices; null: it is not told of this one",
            extra=_PREFIX,
        ),
    ] = "homeassistant"
    texts: Annotated[
        Literal["none", "heard", "answers", "all"],
        Meta(
            description="which words are published: what the agent understood, what it answered, both (with the labels "
            "of timers), or none; everybody who may read the broker reads them"
        ),
    ] = "none"
    commands: Annotated[
        list[Command], Meta(description="what may be ordered through the broker; unmute only if it is named")
    ] = field(default_factory=lambda: list(DEFAULT_COMMANDS))
    per_minute: Annotated[
        int, Meta(ge=1, le=600, description="texts to be spoken or told to the agent within a minute; more are refused")
    ] = 10
    figures_s: Annotated[
        float, Meta(ge=5, le=3600, description="time between two publications of usage and levels")
    ] = 30.0
    groups: Annotated[
        list[Group],
        Meta(
            max_length=16,
            description="the groups to which this device belongs: it takes their commands and, with settings, theirs; "
            "the later group counts",
            extra={"expected": "at most 64 of the letters a to z, digits, _ and -"},
        ),
    ] = field(default_factory=list)
    settings: Annotated[
        Literal["on", "off"],
        Meta(
            description="on: the settings that the broker keeps for this device and its groups are made here, on "
            "probation: docs/fleet.md; whoever may write there decides them"
        ),
    ] = "off"
    usage_days: Annotated[
        int,
        Meta(ge=0, le=62, description="how many days of usage the broker keeps, a message for each day; 0: none"),
    ] = 0

    @property
    def broker_port(self) -> int:
        return self.port if self.port is not None else 8883 if self.tls.mode == "on" else 1883

    def __repr__(self) -> str:
        return f"Mqtt({masked(self)})"
