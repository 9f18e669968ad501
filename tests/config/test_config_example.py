"""The example and the page say what the schema says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parleyd.checks.configuration import ConfigError, parse
from parleyd.checks.document import document
from parleyd.config.keys import Key, all_keys, limits
from parleyd.config.schema import Config, ElevenLabs

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config" / "parleyd.yaml").read_text(encoding="utf-8")
# A key behind a # without a blank is commented out; prose has a blank there.
UNCOMMENTED = re.sub(r"(?m)^( *)#(?=[a-z_]+:)", r"\1", EXAMPLE)
LEAVES = [key for key in all_keys() if key.section is None]


def filled_in(text: str) -> str:
    assert "agent_xxx" in text
    return text.replace("agent_xxx", "agent_42")


@pytest.mark.parametrize("text", [EXAMPLE, UNCOMMENTED], ids=["as it is", "all keys active"])
def test_every_value_shown_is_the_default(text: str) -> None:
    loaded = parse(filled_in(text), "parleyd.yaml")
    assert loaded.warnings == ()
    assert loaded.config == Config(elevenlabs=ElevenLabs(agent_id="agent_42"))


def test_the_agent_is_all_that_has_to_be_filled_in() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(EXAMPLE, "parleyd.yaml")
    assert [problem.key for problem in caught.value.problems] == ["elevenlabs.agent_id"]


def entry(key: Key) -> str:
    """The key's line in the example, with the comment lines right above it; found by its indented sections."""
    lines, first = UNCOMMENTED.splitlines(), 0
    for depth, name in enumerate(key.path):
        first = next(n for n in range(first, len(lines)) if lines[n].startswith(f"{'  ' * depth}{name}:"))
    above = first
    while lines[above - 1].lstrip().startswith("#"):
        above -= 1
    return "\n".join(lines[above : first + 1])


@pytest.mark.parametrize("key", LEAVES, ids=lambda key: key.dotted)
def test_every_key_stands_there_with_its_limits_and_choices(key: Key) -> None:
    text = entry(key)
    assert limits(key) in text
    for choice in key.choices:
        assert re.search(rf"\b{choice}\b", text.replace(f"{key.name}: {choice}", "", 1)), choice


def test_the_page_is_generated() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == document(), "run: python -m parleyd.checks.document > docs/configuration.md"
    for key in LEAVES:
        assert f"| `{key.name}` |" in page
