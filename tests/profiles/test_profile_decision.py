"""Which profile shall be in force, and what it makes of a configuration. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest

from parleyd.checks.configuration import ConfigError, parse
from parleyd.config.changes import changes
from parleyd.config.json_schema import json_schema
from parleyd.config.keys import all_keys
from parleyd.config.nodes import dump
from parleyd.config.overlay import may_change, overlay
from parleyd.config.profile_sections import AUTO, NONE
from parleyd.config.schema import Config
from parleyd.config.secrets import masked
from parleyd.profiles.decision import profile_at

FILE = """
provider: local
audio: {output: {volume: 0.8}}
elevenlabs: {dynamic_variables: {name: Ada, home: Rome}, overrides: {language: en}}
quiet_hours: [{from: 01:00, to: 02:00}]
profiles:
  night:
    schedule: [{from: "22:00", to: "07:00"}]
    settings: {audio: {output: {volume: 0.2}}, quiet_hours: []}
  kids:
    schedule: [{from: "15:00", to: "23:00", days: [mon, tue]}]
    settings:
      elevenlabs: {dynamic_variables: {name: Bea}, overrides: {voice_id: bear}, api_key: {file: /kids}}
  party: {settings: {gate: {aggressiveness: 3}}}
"""


@pytest.fixture(scope="module")
def config() -> Config:
    return parse(FILE, "p.yaml").config


@pytest.mark.parametrize(
    ("chosen", "local", "expected"),
    [
        (AUTO, "2026-06-01 14:59", None),  # a Monday
        (AUTO, "2026-06-01 15:00", "kids"),
        (AUTO, "2026-06-01 21:59", "kids"),
        (AUTO, "2026-06-01 22:00", "night"),  # both fit; the first in the file
        (AUTO, "2026-06-02 00:00", "night"),
        (AUTO, "2026-06-02 06:59", "night"),
        (AUTO, "2026-06-02 07:00", None),
        (AUTO, "2026-06-03 16:00", None),  # a Wednesday
        (AUTO, None, None),  # nobody knows the time
        ("party", "2026-06-01 16:00", "party"),
        ("party", None, "party"),
        (NONE, "2026-06-01 23:00", None),
        ("gone", "2026-06-01 23:00", None),
    ],
)
def test_which_profile(config: Config, chosen: str, local: str | None, expected: str | None) -> None:
    at = None if local is None else datetime.fromisoformat(local)
    assert profile_at(config.profiles, chosen, at) == expected


def test_what_a_profile_changes(config: Config) -> None:
    night = overlay(config, config.profiles["night"].settings)
    assert changes(config, night).now == ("audio.output.volume", "quiet_hours")
    kids = overlay(config, config.profiles["kids"].settings)
    assert kids.elevenlabs.dynamic_variables == {"name": "Bea", "home": "Rome"}
    assert (kids.elevenlabs.overrides.voice_id, kids.elevenlabs.overrides.language) == ("bear", "en")
    assert msgspec.to_builtins(kids.elevenlabs.api_key)["file"] == "/kids"
    assert changes(kids, config).restart == ()
    assert overlay(config, {}) == config


def problems(settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(f"provider: local\nreconnect: {{max_s: 5}}\nprofiles:\n  a:\n    {settings}", "p.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("settings: {gate: {hangovr_ms: 900}}", "p.yaml:5: profiles.a.settings.gate.hangovr_ms: unknown key; did you "
         "mean hangover_ms?"),
        ("settings: {gate: {hangover_ms: 9}}", "p.yaml:5: profiles.a.settings.gate.hangover_ms: 9 is too small; use a "
         "whole number from 200 to 5000 ms (default 900)"),
        ("settings: {audio: {input: {device: x}}}", "p.yaml:5: profiles.a.settings.audio.input.device: a profile "
         "cannot change this; set audio.input.device at the top of the file, for all the day"),
        ("settings: {hangover_ms: 900}", "p.yaml:5: profiles.a.settings.hangover_ms: unknown key; it belongs under "
         "gate"),
        ("settings: {reconnect: {initial_s: 9}}", "p.yaml:5: profiles.a.settings.reconnect.initial_s: the first delay "
         "(9 s) is longer than the longest (reconnect.max_s: 5 s); use at most 5, or raise reconnect.max_s"),
        ("settings: {profiles: {b: {settings: {wake: {mode: manual}}}}}", "p.yaml:5: profiles.a.settings.profiles: a "
         "profile cannot change this; set profiles at the top of the file, for all the day"),
        ("settings: 3", "p.yaml:5: profiles.a.settings: a mapping belongs here, not plain text; put its keys below it, "
         "indented, each as `key: value`"),
        ("schedule: []", "p.yaml:4: profiles.a: this profile changes nothing; add settings: {audio: {output: {volume: "
         "0.3}}}"),
        ("{settings: {wake: {mode: manual}}, schedule: [{from: 1:00, to: 02:00}]}", "p.yaml:5: "
         "profiles.a.schedule.1.from: 1:00 cannot stand here; use a time of day from 00:00 to 23:59"),
        ("{settings: {wake: {mode: manual}}, schedule: [{from: 01:00}]}", "p.yaml:5: profiles.a.schedule.1.to: it is "
         "missing; add `to:` (the end, in local time; if it is before the beginning: on the next day)"),
        ("{settings: {wake: {mode: manual}}, schedule: [{from: 01:00, to: 01:00}]}", "p.yaml:5: profiles.a.schedule.1: "
         "they end when they begin, at 01:00; for a whole day use {from: 00:00, to: 23:59}, else correct one of them"),
    ],
)  # fmt: skip
def test_a_profile_is_checked_like_the_file(text: str, line: str) -> None:
    assert problems(text) == [line]


@pytest.mark.parametrize(("name", "words"), [("auto", "means something else"), ("a b", "no name for a profile")])
def test_names(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(f"provider: local\nprofiles: {{'{name}': {{settings: {{wake: {{mode: manual}}}}}}}}", "p.yaml")


def test_every_key_that_may_change_is_taken_and_no_other() -> None:
    changeable = {key.dotted for key in all_keys() if key.section is None and may_change(key.dotted)}
    assert {"audio.output.volume", "elevenlabs.overrides.prompt", "wake.greeting", "quiet_hours"} <= changeable
    assert not {"hooks", "profiles", "log.level", "provider", "session.buffer_s", "audio.input.device"} & changeable
    for key in all_keys():
        if key.section is None:
            tree: object = msgspec.to_builtins(key.default)
            for name in reversed(key.path):
                tree = {name: tree}
            text = dump({"provider": "local", "profiles": {"a": {"settings": tree}}})
            if key.dotted in changeable:
                parse(text, "p.yaml")
            else:
                with pytest.raises(ConfigError, match="a profile cannot change this"):
                    parse(text, "p.yaml")
    profile = json_schema()["properties"]["profiles"]["anyOf"][0]["additionalProperties"]
    assert "audio" in str(profile["properties"]["settings"])


def test_secrets_in_profiles_are_hidden() -> None:
    loaded = parse("provider: local\nprofiles: {a: {settings: {elevenlabs: {api_key: sk_1234567890abcdef}}}}", "p.yaml")
    assert [warning.key for warning in loaded.warnings] == ["profiles.a.settings.elevenlabs.api_key"]
    assert "sk_12" not in f"{masked(loaded.config)} {loaded.config!r} {loaded.warnings}"
