"""The page of the configuration, that is generated: the values that each key takes, in words."""

from __future__ import annotations

import pytest

from parleyd.checks.document import document, sections, values
from parleyd.config.keys import Key

KEYS = {key.dotted: key for section in sections() for key in section.keys}


@pytest.mark.parametrize(
    ("dotted", "words"),
    [
        ("mqtt.groups", "list of text"),
        ("control.read", "list of text"),
        ("camera.command", "list of text"),
        ("transcript.redact", "list of text"),
        ("tools.http.NAME.allowed_status", "list of whole numbers"),
        ("quiet_hours", "list of mappings"),
        ("openai.query", "mapping of text"),
        ("budget.prices", "mapping"),
        ("audio.input.device", "text"),
        ("gate.uplink", "`silence`, `open`, `drop`"),
    ],
)
def test_the_kind_of_a_value_is_told(dotted: str, words: str) -> None:
    assert values(KEYS[dotted]) == words


@pytest.mark.parametrize("key", [key for key in KEYS.values() if key.item is not None], ids=lambda key: key.dotted)
def test_a_list_is_told_as_a_list_of_something(key: Key) -> None:
    assert values(key).startswith("list of ")


def test_the_limits_of_the_items_of_a_list_are_told() -> None:
    assert "| `allowed_status` | list of whole numbers | `[200, 201, 202, 204]` | each 200 to 599 |" in document()
