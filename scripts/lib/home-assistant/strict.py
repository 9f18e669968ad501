"""Holds descriptions of devices against Home Assistant's own schemas, which usually drop an unknown key without a word.

It runs with Home Assistant's Python, and reads one JSON object a line. Exit code 1: something is wrong.
"""

import asyncio
import importlib
import json
import sys

from homeassistant.components.mqtt import device_trigger, schemas
from homeassistant.core import HomeAssistant


def faults(payload):
    components = payload["components"]
    try:
        schemas.DEVICE_DISCOVERY_SCHEMA(payload)
    except Exception as error:  # noqa: BLE001 - whichever library it has for this
        yield f"device: {error}"
    for name, component in components.items():
        settings = {key: value for key, value in component.items() if key != "platform"}
        if component["platform"] == "device_automation":
            schema = device_trigger.TRIGGER_DISCOVERY_SCHEMA
            settings["device"] = payload["device"]
        else:
            platform = importlib.import_module(f"homeassistant.components.mqtt.{component['platform']}")
            # It refuses what it does not know; that for discovery is more lenient.
            schema = platform.PLATFORM_SCHEMA_MODERN
        try:
            schema(settings)
        except Exception as error:  # noqa: BLE001
            yield f"{name}: {error}"


async def main():
    HomeAssistant("/tmp")  # templates are checked with one
    seen = set()
    lines = 0
    for line in sys.stdin:
        lines += 1
        for fault in faults(json.loads(line)):
            if fault not in seen:
                seen.add(fault)
                print(fault)
    print(f"{lines} descriptions, {len(seen)} faults")
    return 1 if seen or not lines else 0


sys.exit(asyncio.run(main()))
