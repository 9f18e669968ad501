"""The description of the device, for every configuration that changes it."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Literal

import pytest
from home_assistant import faults

from parleyd.config.mqtt_section import ALL_COMMANDS, Command, Mqtt
from parleyd.mqtt.discovery import discovery
from parleyd.mqtt.names import EVENTS, Device, Topics

KITCHEN = Device("kitchen-1", "Kitchen voice", "0.1.0")


def described(
    settings: Mqtt, device: Device = KITCHEN, *, has_sound: bool = True, profiles: tuple[str, ...] = ()
) -> dict[str, Any]:
    return discovery(settings, device, Topics(settings, device), has_sound=has_sound, profiles=profiles)


def every_description() -> list[dict[str, Any]]:
    """All of them: of each key that changes the message every value, with all others."""
    texts: tuple[Literal["none", "heard", "answers", "all"], ...] = ("none", "heard", "answers", "all")
    allowed: list[list[Command]] = [list(ALL_COMMANDS), []]
    allowed += [[one for one in ALL_COMMANDS if one != left_out] for left_out in ALL_COMMANDS]
    found = []
    for words, may, area, sound, profiles, announces, money in itertools.product(
        texts, allowed, (None, "Küche"), (True, False), ((), ("night", "auto mode")), (True, False), (True, False)
    ):
        settings = Mqtt(texts=words, commands=may, area=area)
        device = Device("kitchen-1", "Kitchen voice", "0.1.0", announces, money)
        found.append(described(settings, device, has_sound=sound, profiles=profiles))
    return found


def test_home_assistant_knows_every_key_of_every_description() -> None:
    seen: set[str] = set()
    for payload in every_description():
        assert list(faults(payload)) == []
        seen |= payload["components"].keys()
        # A broker may limit a message, and Home Assistant reads it at each start.
        assert len(json.dumps(payload)) < 16_000
    assert len(seen - {f"on_{name}" for name in EVENTS}) == 25


def test_a_misspelt_key_and_a_forgotten_one_would_be_noticed() -> None:
    payload = described(Mqtt(commands=list(ALL_COMMANDS)))
    for name, key in (("state", "state_topik"), ("on_woken", "payloads"), ("mute", "optimistik")):
        wrong = copy.deepcopy(payload)
        wrong["components"][name][key] = "x"
        assert list(faults(wrong)) == [f"{name}.{key}?"]
    del payload["components"]["event"]["event_types"]
    assert list(faults(payload)) == ["event.event_types is missing"]


@pytest.mark.parametrize(
    ("name", "device", "entity"),
    [
        ("Kitchen voice", "k", "kitchen_voice"),
        ("Café Nr. 2", "k", "cafe_nr_2"),
        ("语音", "kitchen-1", "kitchen_1"),
        ("语音", "语", "parleyd"),  # the configuration refuses such an id
    ],
)
def test_the_ids_of_entities_are_plain_english(name: str, device: str, entity: str) -> None:
    payload = described(Mqtt(commands=list(ALL_COMMANDS)), Device(device, name, "0"))
    assert payload["components"]["state"]["default_entity_id"] == f"sensor.{entity}_state"
    assert payload["components"]["mute"]["default_entity_id"] == f"switch.{entity}_mute"


def components(payload: dict[str, Any]) -> dict[str, str]:
    return {name: one["platform"] for name, one in payload["components"].items()}


def test_what_may_not_be_ordered_is_shown_and_cannot_be_moved() -> None:
    may: list[Command] = ["mute", "wake"]
    found = components(described(Mqtt(commands=may), profiles=("night",)))
    assert found["muted"] == "binary_sensor"
    assert found["mute"] == "button"
    assert found["volume"] == "sensor"
    assert found["profile"] == "sensor"
    assert not found.keys() & {"sleep", "restart", "say", "announce", "context"}
    usual = components(described(Mqtt()))
    assert (usual["muted"], usual["mute"]) == ("binary_sensor", "button"), "unmuting wants the owner's word"
    assert components(described(Mqtt(commands=list(ALL_COMMANDS))))["mute"] == "switch"
    none = components(described(Mqtt(commands=[])))
    assert "mute" not in none
    assert "profile" not in none


def test_a_daemon_without_sound_has_nothing_of_sound() -> None:
    found = components(described(Mqtt(), has_sound=False))
    assert not found.keys() & {"mute", "volume", "agent_speaks", "somebody_speaks", "room_dbfs", "announce"}
    assert found["say"] == "notify"


def test_without_a_prefix_home_assistant_is_not_told() -> None:
    topics = Topics(Mqtt(discovery_prefix=None), KITCHEN)
    assert topics.subscriptions == ("parleyd/kitchen-1/do/#",)
    assert topics.discovery is None
