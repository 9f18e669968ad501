"""Single values are changed in a YAML file, and nothing else."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.config.edit import EditError, edited
from parleyd.config.nodes import Values, compose

EXAMPLE = (Path(__file__).parents[2] / "config/parleyd.yaml").read_text(encoding="utf-8")


def changed(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (
            "elevenlabs.agent_id",
            "agent_01",
            "  agent_id: agent_xxx           # <- the agent's id, from its page at ElevenLabs",
            "  agent_id: agent_01            # <- the agent's id, from its page at ElevenLabs",
        ),
        ("elevenlabs.api_key", {"credential": "elevenlabs"}, "  api_key: null", "  api_key: {credential: elevenlabs}"),
        ("audio.echo.mode", "aec", "    mode: auto", "    mode: aec"),
        (
            "elevenlabs.agent.language",
            "de",
            "    #language: null             # its own language, such as en or de",
            "    language: de                # its own language, such as en or de",
        ),
        ("announce.voice_id", "abc", "  #voice_id: null", "  voice_id: abc"),
        ("hooks", [], "#hooks: []", "hooks: []"),
    ],
)
def test_the_example_keeps_its_comments(path: str, value: object, old: str, new: str) -> None:
    assert changed(EXAMPLE, edited(EXAMPLE, {tuple(path.split(".")): value})) == [f"-{old}", f"+{new}"]


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("", "a.b", 1, "a:\n  b: 1\n"),
        ("# only a comment", "a", "x", "# only a comment\na: x\n"),
        ("a: 1", "b.c", 2, "a: 1\n\nb:\n  c: 2\n"),
        ("a: {b: 1}  # why\n", "a.c", 2, "a: {b: 1, c: 2}  # why\n"),
        ("a: {}  # why\n", "a.c.d", "x, y", 'a: {c: {d: "x, y"}}  # why\n'),
        ("a:\n    b: 1   # one\n\n# end\n", "a.c", 2, "a:\n    b: 1   # one\n    c: 2\n\n# end\n"),
        ("a:\n  b: null # why\n", "a.b.c", 2, "a:\n  b: # why\n    c: 2\n"),
        ("a:\n  #b: 0\n", "a.b", 2, "a:\n  b: 2\n"),
        ("key:   # mine\n  file: /x\n  # deep\nc: y\n", "key", None, "key: null   # mine\n  # deep\nc: y\n"),
        ("a: |\n  text\n  more\n\nb: 1\n", "a", "short", "a: short\n\nb: 1\n"),
        ("a:\n- 1\n- 2\nb: 1\n", "a", [3], "a: [3]\nb: 1\n"),
        ('a: "x"   # why\n', "a", "a: b #c", 'a: "a: b #c" # why\n'),
        ("a: 1\n", "a", "on", 'a: "on"\n'),
        ("a: 1\r\nb: 2\r\n", "a", 3, "a: 3\r\nb: 2\r\n"),
    ],
)
def test_forms(before: str, path: str, value: object, after: str) -> None:
    assert edited(before, {tuple(path.split(".")): value}) == after


@pytest.mark.parametrize(
    ("before", "path"),
    [("a: off\n", "a.b"), ("a: &x\n  b: 1\nc: *x\n", "a.b"), ("- a\n", "a"), ("a:\n- 1\n", "a.b")],
)
def test_an_unusual_form_is_refused_with_the_text_to_write(before: str, path: str) -> None:
    with pytest.raises(EditError) as refused:
        edited(before, {tuple(path.split(".")): "x"})
    assert refused.value.hint == f"write by hand: {path}: x"


def test_a_value_that_is_there_changes_nothing() -> None:
    text = "a:   'x'   # as it is\n"
    assert edited(text, {("a",): "x"}) == text


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)
KEYS = st.sampled_from(["agent_id", "api_key", "base_url", "overrides", "agent", "new"])


@given(TEXT, KEYS)
def test_any_text_is_read_back_as_it_was_given(value: str, key: str) -> None:
    new = edited(EXAMPLE, {("elevenlabs", key): value})
    node = compose(new)
    assert node is not None
    assert Values().read(node)["elevenlabs"][key] == value
