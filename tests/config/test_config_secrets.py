"""Where secrets come from, and that they are never shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from parleyd.config.base import Secret
from parleyd.config.schema import Config, ElevenLabs
from parleyd.config.secrets import HIDDEN, SecretError, masked, resolve

KEY = "sk_0123456789abcdef"


def refused(secret: Secret | str) -> str:
    with pytest.raises(SecretError) as caught:
        resolve(secret)
    assert caught.value.hint
    assert KEY not in str(caught.value) + caught.value.hint
    return str(caught.value)


def test_no_secret() -> None:
    assert resolve(None) is None


def test_by_value() -> None:
    assert resolve(f" {KEY}\n") == KEY
    assert "is empty" in refused(" ")
    assert "has blanks" in refused(f"Bearer {KEY}")


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEYD_TEST_KEY", f"{KEY}\n")
    assert resolve(Secret(env="PARLEYD_TEST_KEY")) == KEY
    monkeypatch.setenv("PARLEYD_TEST_KEY", " ")
    assert refused(Secret(env="PARLEYD_TEST_KEY")) == "the environment variable PARLEYD_TEST_KEY is empty"
    monkeypatch.setenv("PARLEYD_TEST_KEY", f"{KEY}\r\nHost: evil")
    assert "control" in refused(Secret(env="PARLEYD_TEST_KEY"))
    monkeypatch.delenv("PARLEYD_TEST_KEY")
    assert refused(Secret(env="PARLEYD_TEST_KEY")) == "the environment variable PARLEYD_TEST_KEY is not set"


def test_from_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key"
    assert "does not exist" in refused(Secret(file=str(path)))
    path.write_text(f"  {KEY} \r\na second line\n")
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert resolve(Secret(file=str(path))) == KEY
        assert caplog.records == []
        path.chmod(0o644)
        assert resolve(Secret(file=str(path))) == KEY
    assert "can be read by every user" in caplog.text
    assert KEY not in caplog.text
    path.write_bytes(b"\n" + KEY.encode())
    assert "is empty" in refused(Secret(file=str(path)))
    path.write_bytes(b"\xff\xfe\x00")
    assert "does not hold text" in refused(Secret(file=str(path)))
    assert "Is a directory" in refused(Secret(file=str(tmp_path)))
    assert "not a usable path" in refused(Secret(file="a\0b"))


def test_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "systemd passed no credentials" in refused(Secret(credential="elevenlabs"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "the systemd credential elevenlabs does not exist" in refused(Secret(credential="elevenlabs"))
    (tmp_path / "elevenlabs").write_text(KEY)
    (tmp_path / "elevenlabs").chmod(0o400)
    assert resolve(Secret(credential="elevenlabs")) == KEY
    for name in ("../elevenlabs", "..", "/etc/passwd"):
        assert "not a name but a path" in refused(Secret(credential=name))


def test_masked_hides_values_and_shows_references() -> None:
    config = Config(
        elevenlabs=ElevenLabs(
            agent_id="agent_42",
            api_key=KEY,
            dynamic_variables={"user_name": "Ada", "secret__pin": 1234, "door_password": "x", "API_KEY": KEY},
            custom_llm_extra_body={
                "max_tokens": 150,
                "auth": [{"accessToken": KEY, "expires": 3}],
                "tokens": [KEY],
                "credentials": {"user": KEY},
                "password": None,
            },
        )
    )
    shown = masked(config)
    assert KEY not in repr(shown) + repr(config) + str(config.elevenlabs)
    assert shown["gate"]["hangover_ms"] == 900
    assert shown["elevenlabs"]["agent_id"] == "agent_42"
    assert shown["elevenlabs"]["api_key"] == HIDDEN
    assert shown["elevenlabs"]["dynamic_variables"] == {
        "user_name": "Ada",
        "secret__pin": HIDDEN,
        "door_password": HIDDEN,
        "API_KEY": HIDDEN,
    }
    assert shown["elevenlabs"]["custom_llm_extra_body"] == {
        "max_tokens": 150,
        "auth": [{"accessToken": HIDDEN, "expires": 3}],
        "tokens": HIDDEN,
        "credentials": HIDDEN,
        "password": None,
    }
    referring = masked(Config(elevenlabs=ElevenLabs(api_key=Secret(credential="elevenlabs"))))
    assert referring["elevenlabs"]["api_key"] == {"env": None, "file": None, "credential": "elevenlabs"}
