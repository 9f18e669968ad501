"""The text of settings, and the keys that may stand in it."""

from __future__ import annotations

import pytest

from parleyd.config import settings
from parleyd.config.keys import all_keys
from parleyd.config.nodes import NodeError
from parleyd.config.settings import Settings

VALUES = {"gate.hangover_ms": 700, "wake.mode": "word", "budget.prices": {"m": {"audio_in": 3}}, "quiet_hours": []}


def test_it_is_read_as_it_was_written() -> None:
    made = Settings(7, VALUES)
    assert settings.read(made.text()) == made
    assert settings.read(Settings(3).text()) == Settings(3)


def test_a_text_by_hand() -> None:
    assert settings.read("") == Settings()
    assert settings.read("gate:\n  vad: silero\n") == Settings(0, {"gate.vad": "silero"})
    assert settings.read("- a list\n") == Settings()
    with pytest.raises(NodeError):
        settings.read("gate: [\n")


def test_a_part_of_a_map_is_known_by_its_key_as_after_a_restart() -> None:
    made = Settings(1, {"budget.prices.m.audio_in": 1, "budget.prices.n.audio_in": 2}).by_keys()
    assert made.values == {"budget.prices": {"m": {"audio_in": 1}, "n": {"audio_in": 2}}}
    assert settings.read(made.text()) == made


def test_each_change_is_a_revision_of_its_own() -> None:
    first = Settings().changed({"gate.vad": "silero", "wake.mode": "word"})
    second = first.changed({"gate.vad": None})
    assert (second.revision, second.values) == (2, {"wake.mode": "word"})
    assert first.after(second) == Settings(3, first.values)


def test_sections_are_given_whole_or_by_keys() -> None:
    assert settings.leaves({"gate": {"vad": "silero"}, "wake.mode": "word"}) == {
        "gate.vad": "silero", "wake.mode": "word",
    }  # fmt: skip
    assert settings.leaves({"gate": 3, "budget.prices": {"m": {}}}) == {"gate": 3, "budget.prices": {"m": {}}}
    assert settings.nested({"wake.mode": "word", "audio.input.device": "x", "audio.input.channel": 2}) == {
        "wake": {"mode": "word"}, "audio": {"input": {"device": "x", "channel": 2}},
    }  # fmt: skip


def test_a_key_inside_a_value_is_not_lost() -> None:
    """The reader then says that there is no such key."""
    assert settings.nested({"gate.vad": "silero", "gate.vad.x": 1}) == {"gate": {"vad": "silero"}, "gate.vad.x": 1}


@pytest.mark.parametrize(
    "key", ["hooks", "tools.http", "elevenlabs.api_key", "elevenlabs.base_url", "transcript.enabled"]
)
def test_the_file_alone_sets_power(key: str) -> None:
    told = settings.refusal(key, "x")
    assert told is not None
    assert told[0] == "this cannot be changed by a setting"
    assert key not in {one.dotted for one in settings.settable()}


@pytest.mark.parametrize("value", ["wav:x", "a/b", {"file": "x"}])
def test_no_setting_names_a_file(value: object) -> None:
    told = settings.refusal("openai.instructions", value)
    assert told is not None
    assert told[0] == "a setting cannot name a file"
    assert settings.refusal("openai.instructions", "Be brief.") is None
    assert settings.refusal("elevenlabs.overrides.prompt", "and/or") is None


@pytest.mark.parametrize("value", ["foo.wav", "a/b.wav", "offf"])
def test_an_earcon_is_one_of_the_words(value: str) -> None:
    assert settings.refusal("earcons.error", value) is not None
    assert settings.refusal("earcons.error", "off") is None
    assert settings.refusal("earcons.level_db", -6.0) is None


def test_a_label_stays_until_the_next_one_and_says_that_a_person_has_changed_something_since() -> None:
    first = Settings().changed({"gate.vad": "silero"}, "fleet 3")
    assert (first.label, first.changed_since) == ("fleet 3", False)
    second = first.changed({"wake.mode": "word"})
    assert (second.label, second.changed_since) == ("fleet 3", True)
    undone = first.undone_after(second)
    assert (undone.revision, undone.values, undone.label, undone.changed_since) == (3, first.values, "fleet 3", True)
    assert not Settings().undone_after(Settings(2)).changed_since


# The sections in which a setting changes nothing at all. A new section belongs here, unless somebody has thought of
# what a person far away could do with it.
_OF_THE_FILE = (
    *("provider", "fallback", "local", "profiles", "tools", "camera", "control", "metrics", "transcript", "hooks"),
    *("button", "mqtt", "wyoming", "debug"),
)
_OF_THE_FILE_KEYS = (
    *("elevenlabs.agent_id", "elevenlabs.base_url", "elevenlabs.api_key", "elevenlabs.branch_id"),
    *("elevenlabs.environment", "elevenlabs.agent", "elevenlabs.dynamic_variables", "elevenlabs.custom_llm_extra_body"),
    *("openai.base_url", "openai.api_key", "openai.dynamic_variables", "openai.mcp", "openai.query"),
    *("openai.key_header", "audio.mode", "audio.output.mixer", "log.format"),
)


def test_whoever_changes_settings_takes_nothing_over() -> None:
    settable = {key.dotted for key in settings.settable()}
    powers = [
        key.dotted
        for key in all_keys()
        if any(key.dotted == one or key.dotted.startswith(f"{one}.") for one in (*_OF_THE_FILE, *_OF_THE_FILE_KEYS))
    ]
    assert len(powers) > 100
    for dotted in powers:
        assert dotted not in settable
        found = settings.refusal(dotted, "x")
        assert found is not None
        assert found[0] == "this cannot be changed by a setting"
    sections = {dotted.partition(".")[0] for dotted in settable}
    assert sections.isdisjoint(_OF_THE_FILE)
    top = {key.name for key in all_keys() if len(key.path) == 1}
    assert top == sections | set(_OF_THE_FILE), "a new section: may a setting change it?"


def test_what_somebody_else_has_written_is_of_the_same_revision() -> None:
    made = Settings(3, {"gate.hangover_ms": 700}, "fleet")
    assert made.as_written(Settings(1, {"gate.hangover_ms": 700})) is made
    edited = made.as_written(Settings(1, {"gate.hangover_ms": 800}))
    assert (edited.revision, edited.values, edited.label) == (3, {"gate.hangover_ms": 800}, "fleet")
    assert edited.changed_since
    assert not Settings(3).as_written(Settings(0, {"gate.hangover_ms": 800})).changed_since
