"""The picture of the device's page in docs/mqtt.md: scripts/test-home-assistant --picture FILE."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hass import Hass, until
from mqtt_house import House

from parleyd.control.client import Client

NAME = "Voice"


@pytest.mark.skipif("PICTURE" not in os.environ, reason="only with --picture")
def test_a_picture_of_the_devices_page(hass: Hass, tmp_path: Path) -> None:
    from picture import take

    may = "[wake, sleep, mute, unmute, volume, profile, say, announce, context, restart]"
    house = House(
        tmp_path, int(os.environ["BROKER_PORT"]), f"texts: answers, name: {NAME}, area: Kitchen, commands: {may}"
    )
    with house.daemon(), house.bridge():
        until(lambda: shown(hass, "State") == "idle", "there is no device")
        with Client() as client:
            client.ask("volume", to=0.6)
            client.ask("say", text="What time is it?")
        until(lambda: (shown(hass, "Last answer") or "").startswith("It is"), "there is no answer")
        until(lambda: shown(hass, "State") == "listening", "the answer does not end")
        device = hass.device(NAME)
        assert device is not None
        picture = Path(os.environ["PICTURE"])
        take(hass, f"/config/devices/device/{device['id']}", ("Last answer", "Volume", "Problem"), picture)
    print(f"{picture}: {picture.stat().st_size // 1024} KiB")
    assert picture.stat().st_size > 10_000


def shown(hass: Hass, name: str) -> str | None:
    entity = hass.entities(NAME).get(name)
    return None if entity is None else str(entity["state"])
