"""The id of this device in topics, and its name for people."""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import uuid
from pathlib import Path

import parleyd
from parleyd.config.schema import Config
from parleyd.core.errors import UserError
from parleyd.embedded import synthesisers
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
        announces=_announces(config),
        has_money=config.provider == "openai" or prices.minute_price > 0 or bool(prices.prices),
    )


def _announces(config: Config) -> bool:
    """Whether the daemon has a voice for announcements: as app.agents makes it, which would load too much here."""
    section, openai = config.announce, config.openai
    if config.provider == "local" or section.voice_id is not None:
        return True
    if config.provider == "openai" and (openai.voice is not None or openai.is_openais):
        return True
    return section.local_voice != "off" and synthesisers.is_one_installed()


def _id() -> str:
    """Returns an id that stays the same until the machine is installed anew. Raises UserError."""
    try:
        machine = bytes.fromhex(MACHINE_ID.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        text = f"the machine has no id of its own: {MACHINE_ID} cannot be read"
        raise UserError(text, "give it a name with mqtt.device", os.EX_CONFIG) from error
    return hmac.new(machine, _APPLICATION, hashlib.sha256).hexdigest()[:_ID_CHARS]
