"""Events in words, as `parleyd events` shows them."""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest

from parleyd.cli.events import sentence
from parleyd.control import messages
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind

KINDS = [one for one in vars(events).values() if isinstance(one, type) and issubclass(one, events.Event)]
SILENT = {
    events.UtteranceEnded,
    events.Ducked,
    events.AnswerPart,
    events.TalkStopped,
    events.Spent,
    events.WordsExpected,
    events.Event,
}


def made(kind: type[events.Event]) -> events.Event:
    """An event with something in each field."""
    hints = get_type_hints(kind)
    samples: dict[object, object] = {int: 3, float: 2.5, bool: True, Ending: Ending(EndingKind.AGENT, "goodbye")}
    samples[dict[str, int]] = {"doubt": 300}
    return kind(**{name: samples.get(hints[name], "words") for name in kind.__struct_fields__})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [one for one in KINDS if one not in SILENT])
def test_every_event_is_a_sentence_without_python(kind: type[events.Event]) -> None:
    text = sentence(json.loads(messages.event(made(kind))))
    assert text
    for trace in ("True", "False", "None", "at_s", "{'", "\\\\", "<"):
        assert trace not in text, text


def test_an_event_of_a_newer_daemon_is_shown_by_its_name() -> None:
    assert sentence({"event": "lamp_lit", "at_s": 1.0, "colour": "red", "level": None}) == "lamp lit: colour red"
    assert sentence({"event": "lamp_lit", "at_s": 1.0}) == "lamp lit"


def test_what_means_nothing_to_a_person_is_left_out() -> None:
    assert sentence({"event": "ducked", "at_s": 1.0, "on": True}) == ""
