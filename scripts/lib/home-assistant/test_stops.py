"""The daemon listens and answers while Home Assistant, mosquitto or `parleyd mqtt` stands still or is killed.

$HASS_GROUP, $BROKER_GROUP: the process groups of both, in which each is started again when it was killed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hass import Hass, until
from mqtt_house import House
from talk import QUESTIONS, Round, Talk, group, recording, running, stopped

NAME = "Kitchen voice"
PORT = int(os.environ["BROKER_PORT"])
HOME, BROKER = int(os.environ["HASS_GROUP"]), int(os.environ["BROKER_GROUP"])


# Eight rounds of 48 s, and the start of Home Assistant before and after.
@pytest.mark.timeout(1200)
def test_it_talks_on_whatever_stands_still_or_is_killed(hass: Hass, tmp_path: Path) -> None:
    recording(tmp_path / "microphone.wav", 8)
    house = House(tmp_path, PORT, f"name: {NAME}", tmp_path / "microphone.wav")
    came: dict[str, Round] = {}

    def told(what: str) -> None:
        came[what] = talk.round()
        print(f"{what:32} {came[what]}", flush=True)

    def is_shown() -> bool:
        entity = hass.entities(NAME).get("State")
        return entity is not None and entity["state"] not in (None, "unavailable", "unknown")

    with house.daemon() as daemon:
        talk = Talk(daemon)
        with house.bridge() as bridge:
            bridge.says("connected to")
            told("all is well")
            until(is_shown, "the device is not there")
            with stopped(*group(HOME)):
                told("Home Assistant is frozen")
            with stopped(*group(BROKER)):
                told("mosquitto is frozen")
            with stopped(bridge.process.pid):
                told("`parleyd mqtt` is frozen")
            os.kill(running(BROKER, "mosquitto -c"), signal.SIGKILL)
            told("mosquitto is killed")
            os.kill(running(HOME, "bin/hass"), signal.SIGKILL)
            told("Home Assistant is killed")
            bridge.end(signal.SIGKILL)
            told("`parleyd mqtt` is killed")
        told("it is away")
        hass.wait_until_it_is_back()
        # All of them are there again.
        with house.bridge():
            until(is_shown, "the device does not come back")
    # CPU time, underruns and delays are printed and not judged: the machine is shared with others.
    assert {what: one.heard for what, one in came.items()} == dict.fromkeys(came, QUESTIONS)
    assert {one.answers for one in came.values()} == {len(QUESTIONS)}
