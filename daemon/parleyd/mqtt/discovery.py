"""The description of the device for Home Assistant, in one message (MQTT device discovery). Pure.

Home Assistant drops keys that it does not know without a word. tests/mqtt holds every message that a configuration can
cause against the keys of each platform, and scripts/test-home-assistant against its own schemas.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.profile_sections import AUTO, NONE
from parleyd.mqtt.names import EVENTS, OFFLINE, ONLINE, STATES, Device, Topics

_ORIGIN = "parleyd"
# The longest state of Home Assistant is 255 characters; a longer one becomes `unknown`.
_CUT = "{{ value_json.text[:250] }}"
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_RARE = {"entity_category": "diagnostic", "enabled_by_default": False}


def discovery(
    settings: Mqtt, device: Device, topics: Topics, *, has_sound: bool, profiles: Sequence[str]
) -> dict[str, Any]:
    """Returns the description of the device. profiles: the names of the daemon's profiles."""
    found = dict(_components(settings, device, topics, has_sound, profiles))
    entity = _entity_name(device)
    components: dict[str, Any] = {}
    for key, component in found.items():
        if component["platform"] == "device_automation":
            components[key] = component
            continue
        components[key] = component | {
            "unique_id": f"{device.id}_{key}",
            "default_entity_id": f"{component['platform']}.{entity}_{key}",
        }
    described: dict[str, Any] = {
        "identifiers": [f"parleyd_{device.id}"],
        "name": device.name,
        "manufacturer": "parleyd",
        "model": "voice daemon",
        "sw_version": device.version,
    }
    if settings.area is not None:
        described["suggested_area"] = settings.area
    return {
        "device": described,
        "origin": {"name": _ORIGIN, "sw_version": device.version},
        "availability": [{"topic": topics.online, "payload_available": ONLINE, "payload_not_available": OFFLINE}],
        "qos": 1,
        "components": components,
    }


def components_in(payload: bytes) -> dict[tuple[str, str], bool]:
    """Returns (key, platform) of each component of a description that parleyd has made, and whether it takes that
    component away. payload: what the broker has at the topic of the description, from whomever."""
    try:
        said = json.loads(payload)
        if said["origin"]["name"] != _ORIGIN:
            return {}
        return {(str(key), str(one["platform"])): len(one) == 1 for key, one in said["components"].items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def without(described: Mapping[str, Any], leaving: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns the description that takes components away. leaving: (key, platform) of each.

    Home Assistant keeps a component that is only left out, with its last state: it has to be named once with its
    platform alone. A key that has become another platform comes with the next description.
    """
    return {**described, "components": described["components"] | {key: {"platform": kind} for key, kind in leaving}}


def _entity_name(device: Device) -> str:
    """The beginning of the entities' ids: the device's name where that can be written in plain letters, else its id."""
    plain = unicodedata.normalize("NFKD", device.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if re.search(r"[a-z]", name) else re.sub(r"[^a-z0-9]+", "_", device.id.lower()).strip("_") or "parleyd"


def _components(
    settings: Mqtt, device: Device, topics: Topics, has_sound: bool, profiles: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    may: set[str] = set(settings.commands)
    yield (
        "state",
        _shown("sensor", "State", topics.state, "state")
        | {
            "device_class": "enum",
            "options": list(STATES),
            "icon": "mdi:account-voice",
        },
    )
    if has_sound:
        yield from _sound(topics, may)
    for command, name, icon in (("wake", "Wake", "mdi:microphone-message"), ("sleep", "Sleep", "mdi:sleep")):
        if command in may:
            yield command, _button(topics, command, name) | {"icon": icon}
    if "restart" in may:
        yield (
            "restart",
            _button(topics, "restart", "Restart") | {"device_class": "restart", "entity_category": "config"},
        )
    for command, name in (("announce", "Announce"), ("say", "Say"), ("context", "Context")):
        if command in may and (command != "announce" or (has_sound and device.announces)):
            yield (
                command,
                {
                    "platform": "notify",
                    "name": name,
                    "command_topic": f"{topics.orders}{command}",
                    "command_template": "{{ {'text': value} | to_json }}",
                },
            )
    if profiles and "profile" in may:
        yield (
            "profile",
            _shown("select", "Profile", topics.state, "profile")
            | {
                "command_topic": f"{topics.orders}profile",
                "command_template": "{{ {'name': value} | to_json }}",
                "options": [AUTO, NONE, *profiles],
                "entity_category": "config",
            },
        )
    elif profiles:
        yield "profile", _shown("sensor", "Profile", topics.state, "profile") | {
            "device_class": "enum", "options": [AUTO, NONE, *profiles],
        }  # fmt: skip
    for key, name, wanted in (("heard", "Last heard", "heard"), ("answer", "Last answer", "answers")):
        if settings.texts in (wanted, "all"):
            yield (
                key,
                {
                    "platform": "sensor",
                    "name": name,
                    "state_topic": getattr(topics, key),
                    "value_template": _CUT,
                    "json_attributes_topic": getattr(topics, key),
                    "icon": "mdi:text",
                },
            )
    yield from _figures(device, topics, has_sound)
    yield (
        "problem",
        {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "state_topic": topics.troubles,
            "value_template": "{{ 'ON' if value_json.troubles else 'OFF' }}",
            "json_attributes_topic": topics.troubles,
            **_DIAGNOSTIC,
        },
    )
    yield (
        "event",
        {
            "platform": "event",
            "name": "Event",
            "state_topic": topics.event,
            "event_types": list(EVENTS),
            "icon": "mdi:bell-ring-outline",
        },
    )
    for name in EVENTS:
        yield (
            f"on_{name}",
            {
                "platform": "device_automation",
                "automation_type": "trigger",
                "type": name,
                "subtype": "parleyd",
                "topic": topics.event,
                "value_template": "{{ value_json.event_type }}",
                "payload": name,
            },
        )


def _sound(topics: Topics, may: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that has to do with the microphone and the speaker."""
    muted = {"state_topic": topics.state, "icon": "mdi:microphone-off"}
    if {"mute", "unmute"} <= may:
        yield (
            "mute",
            {
                "platform": "switch",
                "name": "Mute",
                **muted,
                "value_template": "{{ 'ON' if value_json.muted else 'OFF' }}",
                "state_on": "ON",
                "state_off": "OFF",
                "command_topic": f"{topics.orders}mute",
                "payload_on": '{"on": true}',
                "payload_off": '{"on": false}',
                "optimistic": False,
            },
        )
    else:
        yield "muted", _flag("Muted", topics, "muted") | muted
        if "mute" in may:
            yield "mute", _button(topics, "mute", "Mute") | {"icon": "mdi:microphone-off"}
    volume = {"unit_of_measurement": "%", "icon": "mdi:volume-high"}
    if "volume" in may:
        yield (
            "volume",
            _shown("number", "Volume", topics.state, "volume")
            | volume
            | {
                "command_topic": f"{topics.orders}volume",
                "command_template": '{"to": {{ value / 100 }} }',
                "min": 0,
                "max": 100,
                "step": 1,
                "mode": "slider",
            },
        )
    else:
        yield "volume", _shown("sensor", "Volume", topics.state, "volume") | volume
    yield "agent_speaks", _flag("Agent speaks", topics, "agent_speaks") | {"device_class": "sound"}
    yield "somebody_speaks", _flag("Somebody speaks", topics, "somebody_speaks") | {"device_class": "sound"}


def _figures(device: Device, topics: Topics, has_sound: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, name in (("minutes_today", "Session time today"), ("minutes_month", "Session time this month")):
        yield key, _figure(name, topics, key) | {
            "device_class": "duration", "unit_of_measurement": "min", "state_class": "total_increasing", **_DIAGNOSTIC,
        }  # fmt: skip
    if device.has_money:
        for key, name in (("money_today", "Cost today"), ("money_month", "Cost this month")):
            yield (
                key,
                _figure(name, topics, key) | {"icon": "mdi:cash", "suggested_display_precision": 2, **_DIAGNOSTIC},
            )
    if has_sound:
        yield "room_dbfs", _figure("Level of the room", topics, "room_dbfs") | {
            "unit_of_measurement": "dBFS", "state_class": "measurement", "icon": "mdi:waveform", **_RARE,
        }  # fmt: skip
    yield "wake_to_live_ms", _figure("From waking to live", topics, "wake_to_live_ms") | {
        "device_class": "duration", "unit_of_measurement": "ms", "state_class": "measurement", **_RARE,
    }  # fmt: skip
    yield "reconnects", _figure("Reconnects", topics, "reconnects") | {"state_class": "total_increasing", **_RARE}
    yield "version", _figure("Version", topics, "version") | _RARE


def _figure(name: str, topics: Topics, field: str) -> dict[str, Any]:
    return _shown("sensor", name, topics.figures, field)


def _shown(platform: str, name: str, topic: str, field: str) -> dict[str, Any]:
    return {
        "platform": platform,
        "name": name,
        "state_topic": topic,
        "value_template": f"{{{{ value_json.{field} }}}}",
    }


def _flag(name: str, topics: Topics, field: str) -> dict[str, Any]:
    template = f"{{{{ 'ON' if value_json.{field} else 'OFF' }}}}"
    return {"platform": "binary_sensor", "name": name, "state_topic": topics.state, "value_template": template}


def _button(topics: Topics, command: str, name: str) -> dict[str, Any]:
    return {"platform": "button", "name": name, "command_topic": f"{topics.orders}{command}", "payload_press": "{}"}
