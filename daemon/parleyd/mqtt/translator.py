"""Decides what is published, and what the daemon is asked: events and status in, commands of the broker in. Pure.

Invariants: nothing is published before the daemon was heard of; a state is published when it has changed, and all of it
after each connection; a device that somebody has removed in Home Assistant is not described again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.profile_sections import NONE
from parleyd.core.text import one_line
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.mqtt.activity import Activity
from parleyd.mqtt.desired import Desired
from parleyd.mqtt.discovery import components_in, discovery, without
from parleyd.mqtt.names import EVENTS, OFFLINE, ONLINE, Device, Topics
from parleyd.mqtt.orders import Message, Order, Orders, Refused, Reply
from parleyd.mqtt.publications import Ask, Publish, Warn, as_json

# Longer texts are cut: a broker has limits of its own, and so has a reader.
MAX_TEXT_CHARS = 8000
# A description has some forty components; more are not remembered.
_MOST_COMPONENTS = 200
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
_SPENT = ("minutes", "money", "tokens")
# Until the clock is set the daemon has the use for the day that comes, and tells it as that of a day in 1970.
_EARLIEST_DAY = datetime.fromtimestamp(EARLIEST_S, UTC).date().isoformat()


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
        self._knows_profiles = False
        self._profile = NONE
        self._is_known = False  # what the daemon is, so that it can be described
        self._is_removed = False
        # (key, platform) of the components that Home Assistant knows by descriptions that came to the broker.
        self._components: set[tuple[str, str]] = set()
        self._said: dict[str, str] = {}
        # The days whose use was published.
        self._billed: set[str] = set()
        self._desired = Desired(self.topics)

    # ------------------------------------------------------------ the broker

    def connected(self) -> list[Command]:
        """A connection was made, perhaps to a broker that has forgotten everything."""
        self._said.clear()
        self._desired.connected()
        return [*self._everything(), *self._usage_question()]

    def subscribed(self, now_s: float) -> None:
        """The broker has taken the subscriptions of this connection."""
        self._desired.subscribed(now_s)

    def message(self, message: Message) -> list[Command]:
        topics = self.topics
        if message.topic == topics.discovery:
            return self._described(message)
        if message.topic == topics.home_assistant:
            if message.payload != ONLINE.encode() or message.is_retained:
                return []
            self._said.clear()
            return self._everything()
        if self._desired.message(message) or topics.command(message.topic) is None:
            return []
        if message.is_retained:
            text = f"a command is kept by the broker at {one_line(message.topic)[:100]}, and ignored"
            # The topic is the sender's, and this is copied into a shell.
            return [Warn(text, f"delete it: mosquitto_pub -t {one_line(shlex.quote(message.topic))} -r -n")]
        found = self._orders.order(message)
        return [self._reply(found.reply, found.answer)] if isinstance(found, Refused) else [found]

    def _described(self, message: Message) -> list[Command]:
        """Takes a description of the device: what the broker has kept of an earlier start, then each of this one."""
        if not message.payload or self._is_removed:
            # Home Assistant empties it when somebody removes the device there.
            self._is_removed = True
            self._components.clear()
            self._said.pop(message.topic, None)
            return []
        for component, is_taken_away in components_in(message.payload).items():
            if is_taken_away:
                self._components.discard(component)
            elif len(self._components) < _MOST_COMPONENTS:
                self._components.add(component)
        return self._discovery() if self._is_known else []

    def answered(self, reply: Reply, answer: Mapping[str, Any]) -> list[Command]:
        """The daemon's answer to an order, {"ok": true, "result": ...} or {"ok": false, "error": ...}."""
        return [self._reply(reply, answer)]

    def _reply(self, reply: Reply, answer: Mapping[str, Any]) -> Publish:
        said: dict[str, Any] = {"command": reply.command} | ({"id": reply.id} if reply.id is not None else {})
        if reply.group is not None:
            # Several devices answer at one topic.
            said |= {"group": reply.group, "device": self._device.id}
        said |= answer
        return Publish(reply.topic, as_json(said), is_retained=False, correlation=reply.correlation)

    # ------------------------------------------------------------ the daemon

    def told(self, event: Mapping[str, Any]) -> list[Command]:
        """Takes an event of the daemon. event: a line of the control socket."""
        if event.get("event") == "snapshot":
            self._status = event["status"]
            self._activity.begin(self._status)
            return [Ask("profile"), *self._usage_question(), *self._desired.began()]
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
            case {"event": "settings_changed"}:
                commands.extend(self._desired.changed())
            case {"event": "session_ended"}:
                commands.extend(self._usage_question())
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
        """Takes the daemon's answer to the question for its profiles. answer: None: there was none, and the device is
        described without profiles."""
        if answer is not None:
            self._profiles, self._knows_profiles = tuple(answer["profiles"]), True
            self._profile = str(answer["chosen"])
        self._is_known = self._status is not None
        return self._everything()

    def config(self, answer: Mapping[str, Any] | None, now_s: float) -> None:
        """answer: to Ask("config"); None: there was none."""
        self._desired.config(answer, now_s)

    def put(self, answer: Mapping[str, Any], now_s: float) -> list[Command]:
        """answer: to Ask("put_config"), as in answered()."""
        return [*self._desired.put(answer, now_s)]

    def usage(self, answer: Mapping[str, Any]) -> list[Command]:
        """The use of each day, at a topic of its own: a message that a broker has lost, or never had, comes again with
        the next connection, and whoever adds them up counts none twice. A clock that was wrong may have dated some of
        it to a day that then has less, or nothing."""
        listed = {str(day["day"]): {key: day[key] for key in _SPENT} for day in answer["days"]}
        used = {day: spent for day, spent in listed.items() if any(spent.values()) and day >= _EARLIEST_DAY}
        # Days that are older than all that were asked for have what they had; newer ones were those of a clock ahead.
        self._billed = {day for day in self._billed if day >= min(listed, default="")} | used.keys()
        commands: list[Command] = []
        for day in sorted(self._billed, reverse=True):
            spent = used.get(day, dict.fromkeys(_SPENT, 0))
            commands.extend(self._new(self.topics.usage(day), as_json(spent | {"currency": answer["currency"]})))
        return commands

    def _usage_question(self) -> list[Command]:
        days = self._settings.usage_days
        return [Ask("usage", {"days": days})] if days and self._status is not None else []

    def tick(self, now_s: float) -> list[Command]:
        """Call it about once a second, and after what the daemon or the broker has said."""
        commands: list[Command] = []
        for command in self._desired.tick(now_s):
            if isinstance(command, Publish):
                commands.extend(self._new(command.topic, command.payload))
            else:
                commands.append(command)
        return commands

    def daemon_gone(self) -> list[Command]:
        self._desired.gone()
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
        if leaving := self._leaving(described["components"]):
            described = without(described, leaving)
        return self._new(self.topics.discovery, as_json(described))

    def _leaving(self, components: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
        """The components that Home Assistant has and the description has no more. They go with all that a person has
        set for them there, so only where the daemon has told what it is."""
        if self._status is None or self._status.get("state") == "starting":
            return []
        gone = self._components - {(key, str(one["platform"])) for key, one in components.items()}
        return sorted(one for one in gone if one[0] != "profile" or self._knows_profiles)

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
        return self._new(self.topics.state, as_json(said))

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
        return self._new(self.topics.figures, as_json(said))

    def _troubles(self) -> list[Command]:
        if not self._is_known or self._status is None:
            return []
        troubles = [
            {"part": one.get("part"), "text": one.get("text"), "hint": one.get("hint")}
            for one in self._status.get("troubles") or ()
        ]
        return self._new(self.topics.troubles, as_json({"health": self._status.get("health"), "troubles": troubles}))

    def _text(self, topic: str, text: str, **more: object) -> Publish:
        # Not retained: words shall not stay at the broker.
        return Publish(topic, as_json({"text": text[:MAX_TEXT_CHARS], **more}), is_retained=False)

    def _event(self, name: str, event: Mapping[str, Any]) -> Publish:
        said = {"event_type": name} | {key: event.get(key) for key in EVENTS[name]}
        if name == "timer_went_off" and self._settings.texts == "all":
            said["label"] = event.get("label")
        # Not retained: Home Assistant ignores events that are.
        return Publish(self.topics.event, as_json(said), is_retained=False)

    def _new(self, topic: str, payload: str) -> list[Command]:
        if self._said.get(topic) == payload:
            return []
        self._said[topic] = payload
        return [Publish(topic, payload)]
