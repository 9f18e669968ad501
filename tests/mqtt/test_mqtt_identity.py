"""What the device can do, out of the configuration and of what is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from parleyd.config.mqtt_section import Mqtt
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Announce, Config
from parleyd.mqtt.identity import device_of

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
