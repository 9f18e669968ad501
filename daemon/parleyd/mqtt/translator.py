"""Decides what is published, and what the daemon is asked: events and status in, commands of the broker in. Pure.

Invariants: nothing is published before the daemon was heard of; a state is published when it has changed, and all of it
after each connection; a device that somebody has removed in Home Assistant is not described again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.profile_sections import NONE
from parleyd.core.text import one_line
from parleyd.mqtt.activity import Activity
from parleyd.mqtt.discovery import discovery
from parleyd.mqtt.names import EVENTS, OFFLINE, ONLINE, Device, Topics
from parleyd.mqtt.orders import Message, Order, Orders, Refused, Reply

# Longer texts are cut: a broker has limits of its own, and so has whoever reads.
MAX_TEXT_CHARS = 8000
# The troubles of the daemon change with these events.
_TROUBLES = (
    "state_changed",
    "device_lost",
    "device_back",
    "trouble",
    "trouble_over",
    "fallback_began",
    "fallback_over",
)
# The use of minutes and money is certain at the end of a session.
_LOOKS = (*_TROUBLES, "session_ended", "budget_near", "budget_spent")


@dataclass(frozen=True, slots=True)
class Publish:
    """is_retained: it replaces what was said at this topic before, and may be replaced before it is sent."""

    topic: str
    payload: str
    is_retained: bool = True
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the daemon, the answer to which goes to Translator.status() or profiles()."""

    what: Literal["status", "profile"]


@dataclass(frozen=True, slots=True)
class Warn:
    """For the log, once as long as it does not change."""

    text: str
    hint: str


Command = Publish | Ask | Order | Warn


class Translator:
    def __init__(self, settings: Mqtt, device: Device) -> None:
        self.topics = Topics(settings, device)
        self._settings = settings
        self._device = device
        self._orders = Orders(settings, self.topics)
        self._activity = Activity()
        self._status: Mapping[str, Any] | None = None
        self._profiles: tuple[str, ...] = ()
        self._profile = NONE
        self._is_known = False  # what the daemon is, so that it can be described
        self._is_removed = False
        self._said: dict[str, str] = {}

    # ------------------------------------------------------------ the broker

    def connected(self) -> list[Command]:
        """A connection was made, perhaps to a broker that has forgotten everything."""
        self._said.clear()
        return self._everything()

    def message(self, message: Message) -> list[Command]:
        topics = self.topics
        if message.topic == topics.discovery:
            # Home Assistant empties it when somebody removes the device there.
            self._is_removed = self._is_removed or not message.payload
            if self._is_removed:
                self._said.pop(message.topic, None)
            return []
        if message.topic == topics.home_assistant:
            if message.payload != ONLINE.encode() or message.is_retained:
                return []
            self._said.clear()
            return self._everything()
        if not message.topic.startswith(topics.orders):
            return []
        if message.is_retained:
            text = f"a command is kept by the broker at {one_line(message.topic)[:100]}, and ignored"
            # The topic is the sender's, and this is copied into a shell.
            return [Warn(text, f"delete it: mosquitto_pub -t {one_line(shlex.quote(message.topic))} -r -n")]
        found = self._orders.order(message)
        return [self._reply(found.reply, found.answer)] if isinstance(found, Refused) else [found]

    def answered(self, reply: Reply, answer: Mapping[str, Any]) -> list[Command]:
        """The daemon's answer to an order, {"ok": true, "result": ...} or {"ok": false, "error": ...}."""
        return [self._reply(reply, answer)]

    def _reply(self, reply: Reply, answer: Mapping[str, Any]) -> Publish:
        said = {"command": reply.command} | ({"id": reply.id} if reply.id is not None else {}) | dict(answer)
        return Publish(reply.topic, _json(said), is_retained=False, correlation=reply.correlation)

    # ------------------------------------------------------------ the daemon

    def told(self, event: Mapping[str, Any]) -> list[Command]:
        """event: a line of the control socket's."""
        if event.get("event") == "snapshot":
            self._status = event["status"]
            self._activity.begin(self._status)
            return [Ask("profile")]
        if self._status is None:
            return []
        self._activity.take(event)
        commands: list[Command] = []
        match event:
            case {"event": "muted", "on": bool(on)}:
                self._set("microphone", "muted", on)
            case {"event": "volume_changed", "volume": volume}:
                self._set("speaker", "volume", volume)
            case {"event": "profile_changed"}:
                commands.append(Ask("profile"))
            case {"event": "heard", "final": True, "text": str(text)} if self._settings.texts in ("heard", "all"):
                commands.append(self._text(self.topics.heard, text))
            case {"event": "answer_text", "text": str(text)} if self._settings.texts in ("answers", "all"):
                commands.append(self._text(self.topics.answer, text, corrected=bool(event.get("corrected"))))
            case _:
                pass
        name = str(event.get("event"))
        commands = [*self._state(), *commands]
        if name in EVENTS and self._is_known:
            commands.append(self._event(name, event))
        if name in _LOOKS:
            commands.append(Ask("status"))
        return commands

    def status(self, status: Mapping[str, Any]) -> list[Command]:
        if self._status is None:
            # It came late, from a daemon that has ended.
            return []
        self._status = status
        return [*self._state(), *self._figures(), *self._troubles()]

    def profiles(self, answer: Mapping[str, Any] | None) -> list[Command]:
        """answer: None: the daemon has not said it, and the device is described without profiles."""
        if answer is not None:
            self._profiles = tuple(answer["profiles"])
            self._profile = str(answer["chosen"])
        self._is_known = self._status is not None
        return self._everything()

    def daemon_gone(self) -> list[Command]:
        self._status = None
        self._is_known = False
        return self._everything()

    def _set(self, part: str, key: str, value: object) -> None:
        assert self._status is not None
        device = self._status.get(part)
        self._status = {**self._status, part: device and {**device, key: value}}

    # ------------------------------------------------------------ what is published

    def _everything(self) -> list[Command]:
        if not self._is_known:
            return self._new(self.topics.online, OFFLINE)
        return [
            *self._discovery(), *self._state(), *self._figures(), *self._troubles(),
            *self._new(self.topics.online, ONLINE),
        ]  # fmt: skip

    def _discovery(self) -> list[Command]:
        if self.topics.discovery is None or self._is_removed:
            return []
        assert self._status is not None
        described = discovery(
            self._settings, self._device, self.topics, has_sound=self._has_sound, profiles=self._profiles
        )
        return self._new(self.topics.discovery, _json(described))

    @property
    def _has_sound(self) -> bool:
        return self._status is not None and self._status.get("microphone") is not None

    def _state(self) -> list[Command]:
        if not self._is_known or self._status is None:
            return []
        said: dict[str, Any] = {"state": self._activity.state}
        microphone, speaker = self._status.get("microphone"), self._status.get("speaker")
        if microphone is not None:
            said["muted"] = microphone["muted"]
        if speaker is not None:
            said["volume"] = round(speaker["volume"] * 100)
        said["profile"] = self._profile
        said["agent_speaks"] = self._activity.agent_speaks
        said["somebody_speaks"] = self._activity.somebody_speaks
        said["answers_by"] = "agent" if self._status.get("fallback") is None else "fallback"
        return self._new(self.topics.state, _json(said))

    def _figures(self) -> list[Command]:
        if not self._is_known or self._status is None:
            return []
        usage, metrics, microphone = (self._status.get(name) or {} for name in ("usage", "metrics", "microphone"))
        said = {
            "version": self._status.get("version"),
            "minutes_today": usage.get("session_minutes_today"),
            "minutes_month": usage.get("session_minutes_month"),
            "money_today": usage.get("money_today"),
            "money_month": usage.get("money_month"),
            "currency": usage.get("currency"),
            "reconnects": metrics.get("reconnects"),
            "wake_to_live_ms": (metrics.get("wake_to_live") or {}).get("last_ms"),
            "room_dbfs": microphone.get("floor_dbfs"),
        }
        return self._new(self.topics.figures, _json(said))

    def _troubles(self) -> list[Command]:
        if not self._is_known or self._status is None:
            return []
        troubles = [
            {"part": one.get("part"), "text": one.get("text"), "hint": one.get("hint")}
            for one in self._status.get("troubles") or ()
        ]
        return self._new(self.topics.troubles, _json({"health": self._status.get("health"), "troubles": troubles}))

    def _text(self, topic: str, text: str, **more: object) -> Publish:
        # Not retained: words shall not stay at the broker.
        return Publish(topic, _json({"text": text[:MAX_TEXT_CHARS], **more}), is_retained=False)

    def _event(self, name: str, event: Mapping[str, Any]) -> Publish:
        said = {"event_type": name} | {key: event.get(key) for key in EVENTS[name]}
        if name == "timer_went_off" and self._settings.texts == "all":
            said["label"] = event.get("label")
        # Not retained: Home Assistant ignores events that are.
        return Publish(self.topics.event, _json(said), is_retained=False)

    def _new(self, topic: str, payload: str) -> list[Command]:
        if self._said.get(topic) == payload:
            return []
        self._said[topic] = payload
        return [Publish(topic, payload)]


def _json(said: Mapping[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
