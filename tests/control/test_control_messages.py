from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.control import messages
from parleyd.control.messages import AnyRequest, RequestError
from parleyd.control.server import MOST_WAITING_BYTES
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.health import Grade, Trouble

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def answered(line: bytes) -> AnyRequest | dict[str, Any]:
    """The request, or what is answered to it when it is none."""
    try:
        return messages.request(line)
    except RequestError as error:
        told: dict[str, Any] = json.loads(messages.refusal(error))
        return told


@pytest.mark.parametrize(
    ("line", "kind", "id_"),
    [
        (b"", "not_json", None),
        (b"\xff\xfe", "not_json", None),
        (b"[" * 60_000, "not_json", None),
        (b'{"do": "status"', "not_json", None),
        (b"[]", "bad_request", None),
        (b'{"do": "explode", "id": 7}', "unknown_request", 7),
        (b'{"id": "a"}', "unknown_request", "a"),
        (b'{"do": ["status"]}', "unknown_request", None),
        (b'{"do": "status", "protocol": 3, "id": 1}', "protocol", 1),
        (b'{"do": "status", "colour": "red"}', "bad_request", None),
        (b'{"do": "volume", "to": 1.5}', "bad_request", None),
        (b'{"do": "volume", "to": "loud"}', "bad_request", None),
        (b'{"do": "say", "text": ""}', "bad_request", None),
        (b'{"do": "say"}', "bad_request", None),
        (b'{"do": "say", "text": "\\ud800"}', "not_json", None),
        (b'{"do": "say", "text": "' + b"x" * 9000 + b'"}', "bad_request", None),
        (b'{"do": "status", "id": {"deep": 1}}', "bad_request", None),
    ],
)
def test_what_is_wrong_is_told_by_kind_and_in_words(line: bytes, kind: str, id_: object) -> None:
    told = answered(line)
    assert isinstance(told, dict)
    assert told["ok"] is False
    assert told["id"] == id_
    error = told["error"]
    assert error["kind"] == kind
    assert error["text"]
    assert error["hint"]


def test_version_1_is_understood_and_finds_its_word_for_a_hint() -> None:
    assert isinstance(answered(b'{"do": "status", "protocol": 1}'), messages.Status)
    refusal = json.loads(messages.refusal(messages.RequestError("busy", "too many", "wait")))
    assert refusal["error"]["hint"] == refusal["error"]["mend"] == "wait"
    trouble = Trouble("agent", Grade.TROUBLE, "gone", "look for it")
    status = json.loads(messages.answer(None, {"troubles": [trouble]}))["result"]
    assert status["troubles"][0]["hint"] == status["troubles"][0]["mend"] == "look for it"
    trouble = json.loads(messages.event(events.Trouble(at_s=0.0, text="gone", hint=None)))
    assert trouble["hint"] is trouble["mend"] is None


def test_parameters_of_a_call_are_shown_as_they_are() -> None:
    told = json.loads(messages.answer(None, {"waiting": [{"parameters": {"hint": "pay"}}]}))["result"]
    assert told["waiting"] == [{"parameters": {"hint": "pay"}}]


@given(st.dictionaries(st.sampled_from(["do", "id", "protocol", "text", "to", "by", "score"]) | st.text(), JSON))
def test_any_object_is_a_request_or_a_refusal(thing: dict[str, object]) -> None:
    told = answered(json.dumps(thing).encode())
    if isinstance(told, dict):
        assert told["error"]["kind"] in ("bad_request", "unknown_request", "protocol")
    else:
        assert thing["do"] in messages.NAMES
        assert told.id == thing.get("id")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(line: bytes) -> None:
    told = answered(line)
    assert not isinstance(told, dict) or told["ok"] is False


def test_events_are_lines_with_their_name_and_fields() -> None:
    ending = Ending(EndingKind.RETRY, "the server hung up", code=1006)
    told = json.loads(messages.event(events.SessionEnded(at_s=1.5, ending=ending)))
    assert told["event"] == "session_ended"
    assert told["at_s"] == 1.5
    assert told["ending"]["kind"] == "retry"
    assert told["ending"]["reason"] == "the server hung up"


def test_text_that_is_not_unicode_does_not_end_the_stream() -> None:
    line = messages.event(events.Heard(at_s=0.0, text="half \ud83d of a sign\nand a line", final=True))
    assert line.count(b"\n") == 1
    assert json.loads(line)["text"] == "half ? of a sign\nand a line"


def test_a_text_without_end_is_cut_before_it_gets_every_reader_dropped() -> None:
    line = messages.event(events.AnswerText(at_s=1.0, text="\u20ac" * 1_000_000, corrected=False))
    assert len(line) < MOST_WAITING_BYTES / 4
    assert json.loads(line)["text"] == "\u20ac" * messages.MAX_EVENT_TEXT
