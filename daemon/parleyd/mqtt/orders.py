"""Turns messages of the broker into orders for the daemon, or refuses them. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parleyd.config.mqtt_section import ALL_COMMANDS, Mqtt
from parleyd.control.protocol import MAX_TEXT
from parleyd.mqtt.names import Topics

MAX_PAYLOAD_BYTES = 64 * 1024
# A command without a time of its own is carried out within this time, or not at all.
COMMAND_S = 30.0
_MINUTE_S = 60.0
_TEXTS = ("say", "announce", "context")
# The name of an order at the control socket, where it is another one. systemd starts the daemon again.
_NAMES = {"restart": "stop"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came from the broker. at_s: the time of its arrival. expires_s: the time from then on after which
    it counts no more."""

    topic: str
    payload: bytes
    at_s: float
    is_retained: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The place of the answer to a command. id: the id that the sender gave the command, which the answer repeats.
    group: the group of devices to which the command went."""

    command: str
    topic: str
    correlation: bytes | None = None
    id: Any = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order for the daemon. until_s: it is not carried out after this time."""

    do: str
    fields: dict[str, Any]
    reply: Reply
    until_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is not carried out. kind: as at the control socket."""

    reply: Reply
    kind: str
    text: str
    hint: str = field(default="")

    @property
    def answer(self) -> dict[str, Any]:
        return {"ok": False, "error": {"kind": self.kind, "text": self.text, "hint": self.hint}}


class Orders:
    """Knows which commands are allowed, and how many texts came within the last minute."""

    def __init__(self, settings: Mqtt, topics: Topics) -> None:
        self._settings = settings
        self._topics = topics
        self._texts_s: deque[float] = deque()

    def order(self, message: Message) -> Order | Refused:
        """Returns the order for the daemon, or the refusal. message: a message at a topic for which topics.command()
        knows a command, not a retained one."""
        found = self._topics.command(message.topic)
        assert found is not None
        command, group = found
        reply = Reply(command[:100], self._topics.result, group=group)
        if message.response_topic is not None:
            if not self._may_answer_at(message.response_topic):
                hint = "use a topic of your own, which is neither a command nor Home Assistant's"
                return Refused(reply, "bad_request", "the response topic is not one for answers", hint)
            reply = Reply(command[:100], message.response_topic, message.correlation, group=group)
        if command not in ALL_COMMANDS:
            return Refused(reply, "unknown_request", "there is no such command", f"one of: {', '.join(ALL_COMMANDS)}")
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            text = f"a command may have {MAX_PAYLOAD_BYTES // 1024} KiB"
            return Refused(reply, "too_long", text, "send less at once")
        fields = _fields(command, message.payload)
        if isinstance(fields, str):
            return Refused(reply, "bad_request", fields, "see docs/mqtt.md")
        reply = replace(reply, id=fields.pop("id", None))
        if command == "mute" and "on" in fields:
            command = "unmute" if fields.pop("on") is False else "mute"
        if command not in self._settings.commands:
            text, hint = f"{command} may not be ordered through the broker", "mqtt.commands on the device allows it"
            return Refused(reply, "not_allowed", text, hint)
        if fields.keys() & {"do", "protocol", "self"}:
            return Refused(reply, "bad_request", "the command is named by the topic alone", "see docs/mqtt.md")
        if command == "wake" and fields.get("anyway"):
            # A budget would be none if the broker could exceed it.
            text = "a spent budget is exceeded at the device alone"
            return Refused(reply, "not_allowed", text, "on the device: parleyd wake --anyway")
        if command in _TEXTS and (refusal := self._text(reply, fields, message.at_s)) is not None:
            return refusal
        within_s = COMMAND_S if message.expires_s is None else min(COMMAND_S, message.expires_s)
        return Order(_NAMES.get(command, command), fields, reply, message.at_s + within_s)

    def _may_answer_at(self, topic: str) -> bool:
        """An answer must not become a command, of this device or another, nor a device of Home Assistant's."""
        if not topic or topic.startswith("$") or any(sign in topic for sign in "+#\0"):
            return False
        if topic.startswith(f"{self._topics.prefix}/"):
            return "/do/" not in topic and topic.endswith(("/result", "/response"))
        discovery = self._settings.discovery_prefix
        return discovery is None or not f"{topic}/".startswith(f"{discovery}/")

    def _text(self, reply: Reply, fields: Mapping[str, Any], now_s: float) -> Refused | None:
        text = fields.get("text")
        if isinstance(text, str) and len(text) > MAX_TEXT:
            return Refused(reply, "too_long", f"a text may have {MAX_TEXT} characters", "send less at once")
        while self._texts_s and now_s - self._texts_s[0] >= _MINUTE_S:
            self._texts_s.popleft()
        most = self._settings.per_minute
        if len(self._texts_s) >= most:
            text = f"there were {most} texts within a minute already"
            return Refused(reply, "too_many", text, "send fewer, or raise mqtt.per_minute on the device")
        self._texts_s.append(now_s)
        return None


def _fields(command: str, payload: bytes) -> dict[str, Any] | str:
    """Returns the fields of the command, or what is wrong with it. A text may stand alone; braces begin an object."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return "this is not text in UTF-8"
    if not text.strip():
        return {}
    if not text.lstrip().startswith("{"):
        return {"text": text} if command in _TEXTS else "this is not a JSON object"
    try:
        fields = json.loads(text)
        # loads() takes what cannot be said again: NaN, and half a character (\ud800). The lists are for the stack,
        # which may be higher where the fields are handed on.
        json.dumps([[[[[[[[fields]]]]]]]], ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return "this is not a JSON object"
    assert isinstance(fields, dict)
    return fields
