"""The meaning of each way of ending."""

from __future__ import annotations

import json

import pytest

from parleyd.agents.events import AgentError
from parleyd.agents.openai.endings import judge_close, judge_http
from parleyd.core.endings import EndingKind

RETRY, FINAL, AGENT = EndingKind.RETRY, EndingKind.FINAL, EndingKind.AGENT


@pytest.mark.parametrize(
    ("code", "reason", "kind", "word"),
    [
        (3000, "invalid_request_error.invalid_api_key", FINAL, "key"),
        (3000, "invalid_request_error.model_not_found", FINAL, "model"),
        (3000, "", FINAL, "refused"),
        (4000, "invalid_request_error.beta_api_shape_disabled", FINAL, "beta"),
        (1000, "", AGENT, "ended"),
        (1001, "", RETRY, "goes away"),
        (1005, "", RETRY, "lost"),
        (1006, "", RETRY, "lost"),
        (1008, "policy", FINAL, "accept"),
        (1009, "", FINAL, "size"),
        (1011, "", RETRY, "internal"),
        (1012, "", RETRY, "restarts"),
        (1013, "", RETRY, "too much"),
        (1015, "", RETRY, "TLS"),
        (1999, "", RETRY, "1999"),
        (4429, "", RETRY, "too often"),
        (4999, "odd", FINAL, "odd"),
        (None, "", RETRY, "lost"),
    ],
)
def test_closes(code: int | None, reason: str, kind: EndingKind, word: str) -> None:
    ending = judge_close(code, reason, None)
    assert (ending.kind, ending.code) == (kind, code)
    assert word in ending.reason
    assert ending.hint or kind is not FINAL
    assert not ending.time_is_up


def test_a_server_that_wants_a_key_where_none_is_configured() -> None:
    """OpenAI takes the connection, and closes it with the name of a bad key in either case."""
    close = (3000, "invalid_request_error.invalid_api_key")
    assert judge_close(*close, None).hint == "see that openai.api_key is a valid key of this server"
    for ending in (
        judge_close(*close, None, has_key=False),
        judge_close(3000, "", AgentError("Incorrect API key provided: ''.", "invalid_api_key"), has_key=False),
        judge_http(401, "", has_key=False),
        judge_http(401, json.dumps({"error": {"code": "invalid_api_key", "message": "Incorrect"}}), has_key=False),
    ):
        assert (ending.kind, ending.reason, ending.hint) == (FINAL, "the server wants an API key", "set openai.api_key")


def test_a_close_is_told_with_the_words_of_the_error_before_it() -> None:
    error = AgentError("The model `gpt-realtime-9` does not exist or you do not have access to it.", "model_not_found")
    ending = judge_close(4000, "invalid_request_error.model_not_found", error)
    assert "`gpt-realtime-9`" in ending.reason
    other = AgentError("something of long ago", "server_error")
    assert "long ago" not in judge_close(4000, "invalid_request_error.model_not_found", other).reason


def test_a_full_server_is_tried_again() -> None:
    """speech-to-speech says so, and closes with 1008, which is final otherwise."""
    error = AgentError("All sessions are in use.", "session_limit_reached")
    ending = judge_close(1008, "", error)
    assert ending.kind is RETRY
    assert "no free session" in ending.reason


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (1001, "Your session hit the maximum duration of 60 minutes.", None),
        (1001, "", AgentError("Your session hit the maximum duration.", "session_expired")),
        (1000, "", AgentError("x", "session_expired")),
    ],
)
def test_the_longest_duration_is_nobodys_wish(code: int, reason: str, error: AgentError | None) -> None:
    ending = judge_close(code, reason, error)
    assert (ending.kind, ending.time_is_up) == (RETRY, True)


@pytest.mark.parametrize("kind", ["invalid_value", "unknown_or_invalid_event", None])
def test_an_error_of_another_kind_explains_no_close(kind: str | None) -> None:
    assert judge_close(1006, "", AgentError("x", kind)) == judge_close(1006, "", None)


def test_a_refused_session_names_what_is_wrong() -> None:
    error = AgentError("Unknown parameter: 'session.foo'.", "refused_session", hopeless=True)
    ending = judge_close(1000, "", error)
    assert ending.kind is FINAL
    assert "session.foo" in ending.reason
    assert "openai" in (ending.hint or "")


def test_no_credit_is_final_whatever_the_code() -> None:
    ending = judge_close(1011, "", AgentError("You exceeded your current quota.", "insufficient_quota"))
    assert ending.kind is FINAL
    assert "credit" in ending.reason


@pytest.mark.parametrize(
    ("status", "code", "kind", "word"),
    [
        (401, "invalid_api_key", FINAL, "key"),
        (401, None, FINAL, "key"),
        (403, "model_not_found", FINAL, "model"),
        (403, None, FINAL, "forbids"),
        (404, "invalid_model", FINAL, "Realtime"),
        (404, None, FINAL, "no such"),
        (429, "insufficient_quota", FINAL, "credit"),
        (429, None, RETRY, "too often"),
        (400, None, FINAL, "refused"),
        (302, None, FINAL, "another address"),
        (200, None, FINAL, "Realtime"),
        (500, "server_error", RETRY, "trouble"),
        (503, None, RETRY, "trouble"),
        (408, None, RETRY, "trouble"),
    ],
)
def test_http_answers(status: int, code: str | None, kind: EndingKind, word: str) -> None:
    body = json.dumps({"error": {"message": "It is so.", "code": code, "type": "invalid_request_error"}})
    ending = judge_http(status, body)
    assert ending.kind is kind
    assert word in ending.reason
    assert "It is so" in ending.reason
    assert ending.hint or kind is not FINAL


@pytest.mark.parametrize(
    "body", ["", "<html>", "[" * 10_000, '{"error": 5}', '{"error": "no"}', "null", '{"detail": []}']
)
def test_bodies_that_say_nothing(body: str) -> None:
    assert judge_http(401, body).kind is FINAL
