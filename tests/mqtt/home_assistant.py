"""The keys of Home Assistant's MQTT discovery, by platform, as its documentation lists them (2026.11).

Home Assistant itself drops a key that it does not know, so that a misspelt one would never be noticed.
scripts/test-home-assistant holds the same messages against its own schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ENTITY = {
    *("availability", "availability_mode", "availability_template", "availability_topic", "default_entity_id"),
    *("enabled_by_default", "encoding", "entity_category", "entity_picture", "icon", "json_attributes_template"),
    *("json_attributes_topic", "name", "payload_available", "payload_not_available", "platform", "qos", "unique_id"),
}
_COMMAND = {"command_topic", "command_template", "retain", "message_expiry_interval"}
_STATE = {"state_topic", "value_template"}
_KEYS = {
    "sensor": _ENTITY | _STATE | {
        *("device_class", "expire_after", "force_update", "last_reset_value_template", "options", "state_class"),
        *("suggested_display_precision", "unit_of_measurement"),
    },
    "binary_sensor": _ENTITY | _STATE | {
        *("device_class", "expire_after", "force_update", "off_delay", "payload_off", "payload_on"),
    },
    "switch": _ENTITY | _STATE | _COMMAND | {
        *("device_class", "optimistic", "payload_off", "payload_on", "state_off", "state_on"),
    },
    "number": _ENTITY | _STATE | _COMMAND | {
        *("device_class", "max", "min", "mode", "optimistic", "payload_reset", "step", "unit_of_measurement"),
    },
    "select": _ENTITY | _STATE | _COMMAND | {"optimistic", "options"},
    "button": _ENTITY | _COMMAND | {"device_class", "payload_press"},
    "notify": _ENTITY | _COMMAND,
    "event": _ENTITY | _STATE | {"device_class", "event_types"},
    "device_automation": {
        *("automation_type", "payload", "platform", "qos", "subtype", "topic", "type", "value_template"),
    },
}  # fmt: skip
_NEEDED = {
    "sensor": {"state_topic", "unique_id", "name"},
    "binary_sensor": {"state_topic", "unique_id", "name"},
    "switch": {"command_topic", "state_topic", "unique_id", "name"},
    "number": {"command_topic", "state_topic", "unique_id", "name"},
    "select": {"command_topic", "options", "unique_id", "name"},
    "button": {"command_topic", "unique_id", "name"},
    "notify": {"command_topic", "unique_id", "name"},
    "event": {"state_topic", "event_types", "unique_id", "name"},
    "device_automation": {"automation_type", "topic", "type", "subtype"},
}
_DEVICE = {
    *("configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name"),
    *("serial_number", "suggested_area", "sw_version", "via_device"),
}
_CLASSES = {
    "sensor": {"enum", "duration"},
    "binary_sensor": {"sound", "problem"},
    "button": {"restart"},
}


def faults(payload: dict[str, Any]) -> Iterator[str]:
    """What Home Assistant would drop, refuse or show wrongly."""
    yield from (f"{key}?" for key in payload.keys() - {"device", "origin", "availability", "qos", "components"})
    yield from (f"device.{key}?" for key in payload["device"].keys() - _DEVICE)
    yield from (f"origin.{key}?" for key in payload["origin"].keys() - {"name", "sw_version", "support_url"})
    if not payload["origin"].get("name") or not payload["device"]["identifiers"]:
        yield "the whole device would be refused"
    unique: list[str] = []
    for name, component in payload["components"].items():
        platform = component["platform"]
        yield from (f"{name}.{key}?" for key in component.keys() - _KEYS[platform])
        yield from (f"{name}.{key} is missing" for key in _NEEDED[platform] - component.keys())
        if (kind := component.get("device_class")) is not None and kind not in _CLASSES.get(platform, ()):
            yield f"{name}: no class {kind} is known here"
        if component.get("entity_category") == "config" and platform in ("sensor", "binary_sensor"):
            yield f"{name}: a sensor configures nothing"
        if component.get("device_class") == "enum" and ("options" not in component or "state_class" in component):
            yield f"{name}: an enum has options, and no state class"
        if (named := component.get("default_entity_id")) is not None and not named.startswith(f"{platform}."):
            yield f"{name}: {named} is not of its platform"
        unique.append(component.get("unique_id", name))
    if len(unique) != len(set(unique)):
        yield "two entities have one id"
