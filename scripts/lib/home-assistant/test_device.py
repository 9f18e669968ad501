"""What a real Home Assistant makes of the device, and what the device does when it is used there.

scripts/test-home-assistant starts Home Assistant and mosquitto, and runs this. $HASS, $BROKER_PORT: where they are.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hass import Hass, until
from mqtt_house import House

from parleyd.control.client import Client
from parleyd.mqtt.names import EVENTS
from programs import Program

NAME = "Kitchen voice"
PORT = int(os.environ["BROKER_PORT"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    may = "[wake, sleep, mute, unmute, volume, profile, say, announce, context, restart]"
    made = House(tmp_path, PORT, f"texts: all, name: {NAME}, area: Kitchen, commands: {may}")
    with made.daemon():
        yield made


def state(hass: Hass, name: str) -> str | None:
    entity = hass.entities(NAME).get(name)
    return None if entity is None else entity["state"]


def shows(hass: Hass, name: str, expected: str) -> None:
    until(lambda: state(hass, name) == expected, f"{name} is {state(hass, name)}, not {expected}", 60)


def status() -> dict[str, Any]:
    with Client() as client:
        return client.ask("status")


def test_the_device_is_there_and_does_what_it_says(hass: Hass, house: House) -> None:
    with house.bridge():
        shows(hass, "State", "idle")
        shows(hass, "Problem", "off")
        found = hass.entities(NAME)
        for name, entity in found.items():
            print(f"{entity['entity_id']:45} {entity['state']!s:8} {entity['entity_category'] or '':10} {name}")
        shown = {name for name, entity in found.items() if entity["disabled_by"] is None}
        assert len(shown) == 18
        assert len(found) - len(shown) == 4
        ids = {name: entity["entity_id"] for name, entity in found.items()}
        assert ids["State"] == "sensor.kitchen_voice_state"

        hass.use("switch.turn_on", ids["Mute"])
        shows(hass, "Mute", "on")
        assert status()["microphone"]["muted"]
        hass.use("switch.turn_off", ids["Mute"])
        shows(hass, "Mute", "off")
        assert not status()["microphone"]["muted"]
        hass.use("number.set_value", ids["Volume"], value=35)
        shows(hass, "Volume", "35")
        assert status()["speaker"]["volume"] == 0.35
        hass.use("select.select_option", ids["Profile"], option="night")
        shows(hass, "Profile", "night")
        assert status()["profile"] == "night"

        hass.use("notify.send_message", ids["Say"], message="What time is it?")
        shows(hass, "State", "responding")
        until(lambda: (state(hass, "Last answer") or "").startswith("It is"), "no answer is shown")
        shows(hass, "State", "listening")
        assert hass.entities(NAME)["Event"]["attributes"]["event_type"] == "woken"
        hass.use("button.press", ids["Sleep"])
        shows(hass, "State", "idle")

        long = "Dinner is ready.\nThe soup gets cold. " * 8
        with Client() as client:
            client.ask("events")
            heard = client.events(60)
            hass.use("notify.send_message", ids["Announce"], message=long)
            started = next(one for one in heard if one["event"] == "announcement_started")
        assert started["text"].split() == long.split()
        shows(hass, "Agent speaks", "on")
        shows(hass, "Agent speaks", "off")

        device = hass.device(NAME)
        assert device is not None
        triggers = hass.ask("device_automation/trigger/list", device_id=device["id"])
        assert {one["type"] for one in triggers if one["domain"] == "mqtt"} == set(EVENTS)
        complaints = [one for one in hass.ask("system_log/list") if "mqtt" in one["name"]]
        assert complaints == []


def test_a_change_is_shown_at_once(hass: Hass, house: House) -> None:
    """It is printed and not judged: the machine is shared with others."""
    with house.bridge():
        shows(hass, "State", "idle")
        entity = hass.entities(NAME)["Volume"]["entity_id"]
        delays = []
        for percent in range(10, 20):
            with Client() as client:
                client.ask("volume", to=percent / 100)
            began_s = time.monotonic()
            while next(one for one in hass.ask("get_states") if one["entity_id"] == entity)["state"] != str(percent):
                assert time.monotonic() - began_s < 60
            delays.append(round((time.monotonic() - began_s) * 1000))
        print(f"from a change of the volume to Home Assistant: median {sorted(delays)[5]} ms, longest {max(delays)} ms")


def test_what_is_away_is_unavailable_and_comes_back(hass: Hass, house: House) -> None:
    with house.bridge() as bridge:
        shows(hass, "State", "idle")
        bridge.end(signal.SIGKILL)
        shows(hass, "State", "unavailable")
    with house.bridge():
        shows(hass, "State", "idle")
        hass.restart()
        shows(hass, "State", "idle")
        shows(hass, "Mute", "off")


def test_what_a_change_of_the_configuration_leaves_out_is_gone(hass: Hass, house: House, tmp_path: Path) -> None:
    def ids() -> set[str]:
        device = hass.device(NAME)
        assert device is not None
        return {one["entity_id"] for one in hass.ask("config/entity_registry/list") if one["device_id"] == device["id"]}

    with house.bridge():
        shows(hass, "State", "idle")
        until(lambda: {"switch.kitchen_voice_mute", "sensor.kitchen_voice_answer"} <= ids(), "they do not come")
    folder = tmp_path / "silent"
    folder.mkdir()
    with House(folder, PORT, f"name: {NAME}, area: Kitchen").bridge():
        until(lambda: "button.kitchen_voice_mute" in ids(), "there is no button")
        until(lambda: not {"switch.kitchen_voice_mute", "sensor.kitchen_voice_answer"} & ids(), "they stay")
        assert "binary_sensor.kitchen_voice_muted" in ids()
        shows(hass, "State", "idle")


def test_a_device_that_was_removed_stays_away_until_the_next_start(hass: Hass, house: House) -> None:
    with house.bridge():
        shows(hass, "State", "idle")
        hass.remove(NAME)
        until(lambda: hass.device(NAME) is None, "the device stays")
        hass.restart()
        # Its birth message has come when MQTT answers again.
        time.sleep(12)
        assert hass.device(NAME) is None
    with house.bridge():
        shows(hass, "State", "idle")


def test_the_daemon_is_restarted_from_there(hass: Hass, tmp_path: Path) -> None:
    house = House(tmp_path, PORT, f"name: {NAME}")
    with house.daemon() as daemon, house.bridge():
        shows(hass, "State", "idle")
        hass.use("button.press", hass.entities(NAME)["Restart"]["entity_id"])
        assert daemon.process.wait(60) == 0
        shows(hass, "State", "unavailable")
        with Program("run", "-c", house.config) as again:
            again.says("runs; provider")
            shows(hass, "State", "idle")
