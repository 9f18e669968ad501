"""What the device can do, out of the configuration and of what is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Announce, Config
from parleyd.mqtt.identity import device_of
from parleyd.mqtt.names import Device, Topics

OWN_SERVER = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("provider", "base_url", "voice", "announced_by", "local_voice", "program", "announces"),
    [
        ("elevenlabs", None, None, "a-voice", "off", None, True),
        ("elevenlabs", None, None, None, "auto", "flite", True),
        ("elevenlabs", None, None, None, "de", "espeak-ng", True),
        ("elevenlabs", None, None, None, "off", "flite", False),
        ("elevenlabs", None, None, None, "auto", None, False),
        ("openai", None, None, None, "off", None, True),
        ("openai", OWN_SERVER, None, None, "off", "flite", False),
        ("openai", OWN_SERVER, None, None, "auto", None, False),
        ("openai", OWN_SERVER, None, None, "auto", "flite", True),
        ("openai", OWN_SERVER, "af_heart", None, "off", None, True),
        ("openai", OWN_SERVER, None, "af_heart", "off", None, True),
        ("local", None, None, None, "off", None, True),
    ],
)
def test_it_announces_where_some_voice_would(
    provider: str,
    base_url: str | None,
    voice: str | None,
    announced_by: str | None,
    local_voice: str,
    program: str | None,
    announces: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if program is not None:
        (tmp_path / program).symlink_to(shutil.which("true", path="/usr/bin:/bin") or "/bin/true")
    config = Config(
        provider=provider,  # type: ignore[arg-type]
        openai=OpenAI(voice=voice) if base_url is None else OpenAI(voice=voice, base_url=base_url),
        announce=Announce(voice_id=announced_by, local_voice=local_voice),
        mqtt=Mqtt(device="house-1"),
    )
    assert device_of(config).announces is announces


def test_all_topics_of_a_configuration_are_named() -> None:
    """What `parleyd mqtt --topics` prints; the rights at a broker are made of it."""
    device = Device("d1", "Voice", "0.1.0")
    plain = Topics(Mqtt(commands=["mute"], discovery_prefix=None), device).named
    assert plain == {
        name: f"parleyd/d1/{name}"
        for name in ("online", "state", "figures", "troubles", "event", "result", "do/mute")
    }  # fmt: skip
    assert Topics(Mqtt(texts="heard"), device).named.keys() >= {"heard", "discovery"}
    assert "answer" not in Topics(Mqtt(texts="heard"), device).named

    settings = Mqtt(commands=["mute"], texts="all", groups=["all"], settings="on", usage_days=3, topic_prefix="home")
    topics = Topics(settings, device)
    more = {name: topic for name, topic in topics.named.items() if name not in plain}
    assert more == {
        "heard": "home/d1/heard",
        "answer": "home/d1/answer",
        "discovery": "homeassistant/device/d1/config",
        "usage/DAY": "home/d1/usage/DAY",
        "config/reported": "home/d1/config/reported",
        "config/desired": "home/d1/config/desired",
        "group/all/config/desired": "home/group/all/config/desired",
        "group/all/do/mute": "home/group/all/do/mute",
    }
