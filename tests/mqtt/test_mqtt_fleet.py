"""Settings from the broker, commands to groups and usage by day: a real mosquitto, a real daemon, `parleyd mqtt`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mqtt_house import BASE, House, Mosquitto, Watcher

from parleyd.control.client import Client
from programs import until

POWER = {
    "elevenlabs.base_url": "http://198.51.100.1", "elevenlabs.dynamic_variables": {"a": {"file": "/etc/shadow"}},
    "openai.instructions": {"file": "/etc/shadow"}, "audio.output.device": "wav:/etc/shadow",
    "transcript.enabled": True,
    "hooks": [{"on": ["live"], "command": ["/bin/true"]}], "tools.apart": "auto", "control.approve": [],
    "metrics.port": 9464, "mqtt.commands": ["unmute"], "mqtt.texts": "all", "fallback": "local", "debug.record": True,
    "announce.local_voice": "../x",
}  # fmt: skip
MORE = "settings: on, groups: [all, ring-1], usage_days: 7"


@pytest.fixture
def mosquitto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    with Mosquitto(tmp_path) as broker:
        yield broker


def want(watcher: Watcher, where: str, revision: object, settings: dict[str, Any]) -> None:
    said = json.dumps({"revision": revision, "settings": settings})
    watcher.client.publish(f"parleyd/{where}/config/desired", said, 1, retain=True)


def report(watcher: Watcher, since: int, **fields: Any) -> dict[str, Any]:
    def fits(topic: str, text: str) -> bool:
        return topic == f"{BASE}/config/reported" and fields.items() <= json.loads(text).items()

    said: dict[str, Any] = json.loads(watcher.wait(fits, since)[1])
    return said


def test_settings_that_the_broker_keeps_are_made_once_and_reported(tmp_path: Path, mosquitto: Mosquitto) -> None:
    house = House(tmp_path, mosquitto.port, MORE)
    with Watcher(mosquitto.port) as watcher, house.daemon(), Client() as client:
        want(watcher, "group/all", 1, {"gate.hangover_ms": 650, "barge_in.confirm_ms": 250})
        want(watcher, "house-1", "mine", {"gate": {"hangover_ms": 700}})
        with house.bridge():
            since = watcher.mark()
            said = report(watcher, since, state="probation")
            assert said["desired"] == {"device": "mine", "group/all": 1}
            assert sorted(said["now"]) == ["barge_in.confirm_ms", "gate.hangover_ms"]
            assert client.ask("config")["values"]["gate.hangover_ms"]["value"] == 700
            # What a person changes at the device stays, and is known.
            client.ask("put_config", changes={"gate.hangover_ms": 800})
            report(watcher, since, state="changed_here")
            # One key that gives power, and nothing of it is made.
            for settings, told in (
                (POWER | {"gate.hangover_ms": 660}, "fallback: this cannot be changed by a setting"),
                ({"elevenlabs.agent_id": "agent_of_somebody_else"}, "elevenlabs.agent_id: this cannot be changed"),
                ({"gate.hangover_ms": 5}, "gate.hangover_ms: 5 is too small"),
            ):
                since = watcher.mark()
                want(watcher, "house-1", told, settings)
                said = report(watcher, since, state="refused")
                assert said["problems"][0].startswith(told)
                if "hooks" in settings:
                    assert {line.partition(":")[0] for line in said["problems"]} == POWER.keys()
                assert client.ask("config")["values"]["gate.hangover_ms"]["value"] == 800
            since = watcher.mark()
            want(watcher, "house-1", 9, {})
            report(watcher, since, state="probation")
            assert client.ask("config")["values"]["gate.hangover_ms"]["value"] == 650
            revision = client.ask("config")["revision"]
        # Another start of the bridge makes nothing again.
        since = watcher.mark()
        with house.bridge():
            assert report(watcher, since, state="probation")["settings_revision"] == revision


def test_a_group_is_ordered_and_the_use_of_a_day_is_kept(tmp_path: Path, mosquitto: Mosquitto) -> None:
    house = House(tmp_path, mosquitto.port, MORE)
    with Watcher(mosquitto.port) as watcher, house.daemon(), house.bridge():
        watcher.online("online")
        since = watcher.mark()
        watcher.client.publish("parleyd/group/ring-1/do/say", '{"text": "Tell me a story.", "id": 3}', 1)
        said = json.loads(watcher.wait(lambda topic, _: topic == f"{BASE}/result", since)[1])
        assert (said["ok"], said["id"], said["group"], said["device"]) == (True, 3, "ring-1", "house-1")
        # The story is long enough for the least that is counted, a tenth of a minute.
        watcher.wait_for_state(since, state="responding")
        with Client() as client:
            until(lambda: client.ask("status")["usage"]["session_minutes_today"] >= 0.1, "nothing is counted")
        watcher.client.publish("parleyd/group/all/do/sleep", "", 1)
        topic, text, is_retained, _ = watcher.wait(lambda topic, _: topic.startswith(f"{BASE}/usage/"), since)
        assert json.loads(text)["minutes"] > 0
        assert not is_retained, "it came as it was published"
        with Watcher(mosquitto.port) as late:
            assert late.wait(lambda where, _: where == topic)[2], "and stays"
