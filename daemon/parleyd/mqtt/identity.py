"""The id of this device in topics, and its name for people."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import uuid
from pathlib import Path

import parleyd
from parleyd.checks.announce_voice import has_voice
from parleyd.config.schema import Config
from parleyd.core.errors import UserError
from parleyd.mqtt.names import Device

MACHINE_ID = Path("/etc/machine-id")
# Chosen once, for sd_id128_get_machine_app_specific(3): the machine's own id is not for others.
_APPLICATION = uuid.UUID("6f0e1c52-38d4-4c0b-9a77-0b1f64a2d9e3").bytes
_ID_CHARS = 12


def device_of(config: Config) -> Device:
    """Returns the device of the configuration. Raises UserError if neither the configuration nor the machine has an id
    for it."""
    mqtt = config.mqtt
    prices = config.budget
    return Device(
        id=mqtt.device or _id(),
        name=mqtt.name or f"parleyd {socket.gethostname().partition('.')[0]}",
        version=parleyd.__version__,
        announces=has_voice(config),
        has_money=config.provider == "openai" or prices.minute_price > 0 or bool(prices.prices),
    )


def _id() -> str:
    """Returns an id that stays the same until the machine is installed anew. Raises UserError."""
    try:
        machine = bytes.fromhex(MACHINE_ID.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        text = f"the machine has no id of its own: {MACHINE_ID} cannot be read"
        raise UserError(text, "give it a name with mqtt.device", os.EX_CONFIG) from error
    return hmac.new(machine, _APPLICATION, hashlib.sha256).hexdigest()[:_ID_CHARS]
