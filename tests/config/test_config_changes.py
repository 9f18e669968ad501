from __future__ import annotations

import pytest

from parleyd.checks.configuration import parse
from parleyd.config.changes import changes, in_force, when

OLD = "provider: local\n"


def test_keys_by_when_they_take_effect() -> None:
    old = parse(OLD, "p").config
    new = parse(
        OLD
        + """
elevenlabs: {dynamic_variables: {name: Ada}, api_key: {env: KEY}}
audio: {output: {volume: 0.5, device: "null"}}
session: {idle_timeout_s: 5, buffer_s: 20}
""",
        "p",
    ).config
    found = changes(old, new)
    assert found.now == ("audio.output.volume", "session.idle_timeout_s")
    assert found.next_session == ("elevenlabs.api_key", "elevenlabs.dynamic_variables")
    assert found.restart == ("audio.output.device", "session.buffer_s")
    assert found.in_words() == (
        "in force now: audio.output.volume, session.idle_timeout_s; from the next session on: elevenlabs.api_key, "
        "elevenlabs.dynamic_variables; only after a restart: audio.output.device, session.buffer_s"
    )
    effective = in_force(old, new)
    assert effective.audio.output.volume == 0.5
    assert effective.audio.output.device == "default"
    assert effective.session.buffer_s == old.session.buffer_s
    assert effective.elevenlabs == new.elevenlabs
    # What waits for a restart is told again at the next reload.
    assert changes(effective, new).restart == found.restart
    assert changes(effective, new).now == ()


def test_nothing_has_changed() -> None:
    same = parse(OLD, "p").config
    assert changes(same, same).in_words() == "nothing has changed"
    assert in_force(same, same) == same


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("session.buffer_s", "restart"),
        ("session.idle_timeout_s", "now"),
        ("elevenlabs.overrides.prompt", "next_session"),
        ("audio.input.device", "restart"),
        ("provider", "restart"),
    ],
)
def test_the_longest_entry_counts(key: str, expected: str) -> None:
    assert when(key) == expected
