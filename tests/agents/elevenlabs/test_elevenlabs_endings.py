"""How sessions end, and why: every row of what the protocol and observers know."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from parleyd.agents.elevenlabs.endings import judge_close, judge_http, one_line, refused_override
from parleyd.agents.elevenlabs.speech_endings import judge_http as judge_speech_http
from parleyd.agents.events import AgentError
from parleyd.core.endings import Ending, EndingKind

AGENT, RETRY, FINAL = EndingKind.AGENT, EndingKind.RETRY, EndingKind.FINAL

OBSERVED = [
    # code, reason, kind, words in the reason, words in the hint
    (1000, "", AGENT, "the agent hung up", ""),
    (1000, "Conversation ended by the agent", AGENT, "Conversation ended by the agent", ""),
    (1000, "too many words about quota", AGENT, "hung up", ""),
    (1001, "", RETRY, "goes away", ""),
    (1002, "This request exceeds your quota limit.", FINAL, "no credit left", "add credit"),
    (
        1002,
        "The AI agent you are trying to reach appears to be misconfigured",
        FINAL,
        "misconfigured",
        "dashboard",
    ),
    (1002, "redis queue timed out", FINAL, "could not go on", "settings"),
    (1002, "", FINAL, "could not go on", "settings"),
    (1005, "", RETRY, "line was lost", ""),
    (1006, "", RETRY, "line was lost", ""),
    (None, "", RETRY, "line was lost", ""),
    (1008, "Invalid message received: could not broadcast", FINAL, "what was sent", "report"),
    (1008, "Interrupted message doesn't match the last agent message", RETRY, "lost track", ""),
    (1008, "", FINAL, "did not accept", "settings"),
    (1011, "", RETRY, "internal error", ""),
    (1011, "boom", RETRY, "boom", ""),
    (1012, "", RETRY, "restarts", ""),
    (1013, "", RETRY, "too much to do", ""),
    (1014, "", RETRY, "gateway", ""),
    (1015, "", RETRY, "TLS", ""),
    (1007, "", FINAL, "what was sent", "report"),
    (1009, "", FINAL, "size", "report"),
    (1999, "", RETRY, "1999", ""),
    (3000, "Could not authorize the conversation.", FINAL, "private", "elevenlabs.api_key"),
    (
        3000,
        "The AI agent you are trying to reach does not exist.",
        FINAL,
        "no such agent",
        "elevenlabs.agent_id",
    ),
    (3000, "The AI agent you are trying to reach does not exist.", FINAL, "", "elevenlabs.base_url"),
    (3000, "[quota_exceeded] You've run out of credits.", FINAL, "no credit left", "add credit"),
    (3000, "Request error", FINAL, "Request error", "branches"),
    (3000, "Request error", FINAL, "Request error", "elevenlabs.agent_id"),
    (3000, "Branch agtbrch_1 does not exist", FINAL, "no such branch", "branches"),
    (3000, "x", FINAL, "refused", "branches"),
    (4429, "rate limited", RETRY, "fewer requests", ""),
    (4429, "", RETRY, "fewer requests", ""),
    (4000, "rate limit exceeded", RETRY, "fewer requests", ""),
    (4401, "", FINAL, "API key", "elevenlabs.api_key"),
    (4401, "detected_unusual_activity", FINAL, "unusual activity", "VPN"),
    (4402, "", FINAL, "no credit", "add credit"),
    (4404, "", FINAL, "no such agent", "agent_id"),
    (4500, "", RETRY, "in trouble", ""),
    (4503, "whatever", RETRY, "in trouble", ""),
    (4001, "Service temporarily unavailable", RETRY, "4001", ""),
    (4001, "request timed out", RETRY, "4001", ""),
    (4001, "no", FINAL, "4001", "settings"),
    (4008, "quota_exceeded", FINAL, "no credit", "add credit"),
    (1008, "rate limit exceeded", FINAL, "did not accept", "settings"),
    (3008, "too many concurrent connections", RETRY, "too many", ""),
    (3008, "", RETRY, "too many", ""),
    (4300, "Agent has exceeded its daily call limit of 5.", FINAL, "today", "daily limit"),
    (4300, "Timed out in the concurrency queue", RETRY, "too many", ""),
    (4300, "something", FINAL, "limit", "limits"),
    (4999, "novel", FINAL, "4999", "settings"),
    (3000, "Host is not supported", FINAL, "list of hosts", "Security"),
    (3000, "Host is not valid or supported", FINAL, "list of hosts", "Security"),
    (3000, "Host is not in insights whitelist", FINAL, "list of hosts", "Security"),
]


@pytest.mark.parametrize(("code", "reason", "kind", "words", "hint"), OBSERVED)
def test_closes_that_were_observed(code: int, reason: str, kind: EndingKind, words: str, hint: str) -> None:
    ending = judge_close(code, reason, None)
    assert (ending.kind, ending.code) == (kind, code)
    assert words in ending.reason
    assert hint in (ending.hint or "")
    assert refused_override(code, reason, None) is None
    assert not ending.greeting_refused
    if kind is FINAL:
        assert ending.hint


# error_type and the code it comes with, as the contract has them; kind; a word of the reason.
CONTRACT = [
    ("invalid_message", 1008, FINAL, "what was sent"),
    ("value_error", 1008, FINAL, "what was sent"),
    ("missing_fields", 1008, FINAL, "what was sent"),
    ("override_error", 1008, FINAL, "override"),
    ("missing_dynamic_variable", 1008, FINAL, "dynamic variable"),
    ("missing_dynamic_variable_transfer", 1008, FINAL, "dynamic variable"),
    ("telephony_agent_error", 1008, FINAL, "telephones"),
    ("mcp_tool_error", 1008, FINAL, "tool"),
    ("mcp_https_error", 1008, FINAL, "tool"),
    ("safety_violation", 1002, FINAL, "safety"),
    ("llm_timeout", 1002, FINAL, "took too long"),
    ("transport_receive_timeout", 1002, FINAL, "nothing for a minute"),
    ("asyncio_timeout", 1002, FINAL, "waited in vain"),
    ("http_exception", 1002, FINAL, "part of the agent"),
    ("llm_error", 1002, FINAL, "language model"),
    ("custom_llm_error", 1002, FINAL, "language model"),
    ("cascade_brain_error", 1002, FINAL, "language model"),
    ("asr_transcription_error", 1002, FINAL, "part of the agent"),
    ("vad_error", 1002, FINAL, "part of the agent"),
    ("turn_probability_error", 1002, FINAL, "part of the agent"),
    ("tts_cascade_error", 1002, FINAL, "voice"),
    ("redis_timeout_error", 1002, FINAL, "waited in vain"),
    ("max_duration_exceeded", 1000, AGENT, "longest duration"),
    ("unknown_websocket_crash", 1011, RETRY, "internal error"),
    ("websocket_disconnect", 1006, RETRY, "line was lost"),
    ("unknown", 1002, FINAL, "could not go on"),
    ("unknown", 1011, RETRY, "internal error"),
    ("invalid_api_key", 1008, FINAL, "API key"),
    ("quota_exceeded", 3000, FINAL, "no credit"),
]


@pytest.mark.parametrize(("error_type", "code", "kind", "words"), CONTRACT)
def test_error_events_say_what_the_close_does_not(error_type: str, code: int, kind: EndingKind, words: str) -> None:
    ending = judge_close(code, "", AgentError(error_type, error_type, code))
    assert (ending.kind, ending.code) == (kind, code)
    assert words in ending.reason
    if kind is FINAL:
        assert ending.hint


ALLOW = "parleyd platform apply, or enable it under Security in the agent's settings"


@pytest.mark.parametrize("quote", ["'", '"', "`", "‘", "“", ""])
@pytest.mark.parametrize(
    ("api_field", "name"),
    [
        ("voice_id", "voice_id"),
        ("tts.voice_id", "voice_id"),
        ("stability", "stability"),
        ("tts.speed", "speed"),
        ("similarity_boost", "similarity_boost"),
        ("first_message", "first_message"),
        ("agent.first_message", "first_message"),
        ("prompt", "prompt"),
        ("agent.prompt.prompt", "prompt"),
        ("agent.prompt.llm", "llm"),
        ("conversation_config_override.agent.language", "language"),
    ],
)
def test_a_refused_override_is_named_as_in_the_configuration(quote: str, api_field: str, name: str) -> None:
    text = f"Override for field {quote}{api_field}{quote} is not allowed by config."
    for close in (
        (1008, text, None),
        (1008, "", AgentError(text, "override_error", 1008)),
        (1006, "", AgentError(text, "override_error", 1008)),
    ):
        ending = judge_close(*close)
        assert ending.kind is FINAL
        assert refused_override(*close) == name
        assert ending.reason == f"the agent does not allow the override '{name}'"
        assert ending.hint == f"{ALLOW}, or remove elevenlabs.overrides.{name}"


def test_an_override_that_no_one_configured_has_another_hint() -> None:
    text = "Override for field 'first_message' is not allowed by config."
    ending = judge_close(1008, text, None, configured_overrides=("voice_id",))
    assert ending.greeting_refused
    assert ending.hint == f"{ALLOW}, or set wake.greeting: play"
    extra = judge_close(1008, text.replace("first_message", "custom_llm_extra_body"), None)
    assert (extra.hint or "").endswith("or remove elevenlabs.custom_llm_extra_body")


def test_a_refused_override_that_the_configuration_does_not_know_is_only_to_be_allowed() -> None:
    text = "Override for field 'conversation_config_override.conversation.text_only' is not allowed by config."
    assert refused_override(1008, text, None) == "text_only"
    assert judge_close(1008, text, None).hint == ALLOW


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        (
            "Missing required dynamic variables in first message: {'user_name'}",
            "the agent needs the dynamic variable 'user_name' in its first message",
            "set elevenlabs.dynamic_variables.user_name",
        ),
        (
            'Missing required dynamic variables in tools: ["city", "day"]',
            "the agent needs the dynamic variables 'city', 'day' in its tools",
            "set elevenlabs.dynamic_variables.city and elevenlabs.dynamic_variables.day",
        ),
        (
            "Missing required dynamic variables in prompt: city, day. Please provide them.",
            "the agent needs the dynamic variables 'city', 'day' in its prompt",
            "set elevenlabs.dynamic_variables.city and elevenlabs.dynamic_variables.day",
        ),
        (
            "Missing required dynamic variable: {'user_name'}",
            "the agent needs the dynamic variable 'user_name'",
            "set elevenlabs.dynamic_variables.user_name",
        ),
        (
            "Missing required dynamic variables in tools: {}",
            "the agent needs a dynamic variable in its tools",
            "set it under elevenlabs.dynamic_variables",
        ),
    ],
)
def test_missing_variables_are_named(text: str, reason: str, hint: str) -> None:
    ending = judge_close(1008, text, None)
    assert (ending.kind, ending.reason, ending.hint) == (FINAL, reason, hint)


def test_the_error_event_completes_a_close_reason_that_was_cut_off() -> None:
    whole = "Missing required dynamic variables in first message: {'first_variable', 'second_variable'}"
    ending = judge_close(1008, whole[:80], AgentError(whole, "missing_dynamic_variable", 1008))
    assert "'first_variable', 'second_variable'" in ending.reason


def test_the_reason_of_the_close_counts_more_than_an_older_error() -> None:
    old = AgentError("the tool said no", "mcp_tool_error", 1008)
    assert "no credit" in judge_close(1002, "This request exceeds your quota limit.", old).reason
    older = AgentError("Invalid API key", None, 1008)
    assert "no credit" in judge_close(1002, "This request exceeds your quota limit.", older).reason


@pytest.mark.parametrize("reason", ["Invalid message rec", "Invalid message received: x"])
def test_a_close_that_repeats_the_error_is_about_that_error_whatever_its_code(reason: str) -> None:
    error = AgentError("Invalid message received: x", None, 1008)
    ending = judge_close(1011, reason, error)
    assert (ending.kind, ending.reason) == (
        FINAL,
        'the server could not use what was sent ("Invalid message received: x")',
    )


def test_a_close_with_words_of_its_own_is_not_about_an_older_error() -> None:
    error = AgentError("Invalid message received: x", None, 1008)
    assert judge_close(1011, "went away", error).reason == 'the server had an internal error ("went away")'
    assert judge_close(1008, "went away", error).reason.startswith("the server could not use what was sent")


def test_a_refused_override_that_is_not_named_is_the_one_against_the_greeting_where_none_is_configured() -> None:
    error = AgentError("no", "override_error", 1008)
    ours = judge_close(1008, "", error, configured_overrides=())
    assert (ours.kind, ours.greeting_refused) == (FINAL, True)
    theirs = judge_close(1008, "", error, configured_overrides=("voice_id",))
    assert (theirs.kind, theirs.greeting_refused) == (FINAL, False)
    assert theirs.reason == 'the agent does not allow an override ("no")'


def test_words_count_more_than_the_kind_of_the_error() -> None:
    error = AgentError("Invalid API key", "llm_error", 1002)
    assert judge_close(1002, "", error).reason.startswith("the API key is not accepted")


def test_only_a_close_at_the_longest_duration_says_that_time_is_up() -> None:
    assert judge_close(1000, "", AgentError("m", "max_duration_exceeded", 1000)).time_is_up
    assert not judge_close(1000, "", AgentError("m", "llm_error", 1000)).time_is_up
    assert not judge_close(1006, "", AgentError("m", "max_duration_exceeded", 1000)).time_is_up


def test_an_error_that_may_be_an_old_one_is_not_quoted() -> None:
    error = AgentError("took too long", "llm_timeout", 1002)
    assert judge_close(1011, "", error).reason == "the server had an internal error"
    assert judge_close(1002, "", AgentError("took too long", None, 1002)).reason.endswith('("took too long")')


@pytest.mark.parametrize("code", [None, 1001, 1006, 1011])
@pytest.mark.parametrize(
    "error",
    [
        AgentError("the tool said no", "mcp_tool_error", 1008),
        AgentError("took too long", "llm_timeout", 1002),
        AgentError("Invalid message received: x", "invalid_message", 1008),
    ],
)
def test_an_error_that_the_conversation_survived_does_not_make_a_lost_line_final(
    code: int, error: AgentError | None
) -> None:
    assert judge_close(code, "", error).kind is RETRY
    assert judge_close(code, "went away", error).kind is RETRY


@pytest.mark.parametrize("code", [None, 1006])
@pytest.mark.parametrize(
    "error",
    [
        AgentError("m", "invalid_api_key", 1008),
        AgentError("This request exceeds your quota limit.", None, 1002),
        AgentError("m", "override_error"),
        AgentError("m", "missing_dynamic_variable"),
    ],
)
def test_an_error_that_cannot_heal_counts_even_without_a_close(code: int, error: AgentError) -> None:
    assert judge_close(code, "", error).kind is FINAL


def test_an_unsupported_format_is_final_however_the_session_was_closed() -> None:
    error = AgentError("the agent uses the audio format 'mp3'", "unsupported_format")
    for code in (1000, None, 1006):
        ending = judge_close(code, "", error)
        assert ending.kind is FINAL
        assert "mp3" in ending.reason
        assert "PCM" in (ending.hint or "")


def test_foreign_text_is_shown_on_one_printable_line() -> None:
    ending = judge_close(1008, "a\r\nb\x1b[31m\u202e" + "x" * 1000, None)
    assert ending.reason.isprintable()
    assert "a b [31m" in ending.reason
    assert len(ending.reason) < 300
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


UNUSUAL = (
    "Unusual activity detected. Free Tier usage disabled. If you are using a proxy/VPN you might need to purchase a "
    "Paid Plan to not trigger our abuse detectors. Please play fair and purchase any Paid Subscription to continue."
)
PLAN = "Free users cannot use library voices via the API. Please upgrade your subscription to use this voice"
RESIDENCY = (
    "Invalid API key: The API key used is for a data residency stack, however this server is a global server. Please "
    "check you are calling the correct API URL."
)
WRITE = "The API key you used is missing the permission convai_write to execute this operation."
TRAFFIC = "We are sorry, the system is experiencing heavy traffic, please try again. Higher subscriptions go first."

# A 401 that is about the account, its plan or its region, and not about the key: status and words, what is said, hint.
ACCOUNT = [
    ("detected_unusual_activity", UNUSUAL, "unusual activity, which is not about the key", "without VPN and proxy"),
    ("payment_required", PLAN, "plan does not include this, which is not about the key", "Subscription"),
    ("invalid_api_key", RESIDENCY, "a workspace in another region", "https://api.eu.residency.elevenlabs.io"),
    ("missing_permissions", WRITE, "API key may not", "give the key the permission convai_write"),
    ("missing_permissions", WRITE.replace("convai_write", "text_to_speech"), "API key may not", "text_to_speech"),
    ("missing_permissions", "No.", "API key may not", "the permission"),
    ("quota_exceeded", "You have 5 credits remaining.", "no credit left", "add credit"),
    ("subscription_required", "x", "plan does not include this", "Subscription"),
    ("payment_issue", "Your subscription has a failed or incomplete payment.", "a payment", "pay it"),
    ("x", "This feature is not available on your current plan", "plan does not include this", "Subscription"),
]


@pytest.mark.parametrize("judge", [judge_http, judge_speech_http])
@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize(("kind", "message", "said", "hint"), ACCOUNT)
def test_a_401_that_is_about_the_account_is_told_as_such(
    judge: Callable[[int, str], Ending], status: int, kind: str, message: str, said: str, hint: str
) -> None:
    ending = judge(status, json.dumps({"detail": {"status": kind, "message": message}}))
    assert ending.kind is FINAL
    assert said in ending.reason
    assert hint in (ending.hint or "")
    assert "check elevenlabs.api_key" not in (ending.hint or "")


@pytest.mark.parametrize(("kind", "message", "said", "hint"), ACCOUNT)
def test_so_is_a_close_with_these_words(kind: str, message: str, said: str, hint: str) -> None:
    for code in (1002, 1008, 3000, 4401, 1006):
        ending = judge_close(code, "", AgentError(f"[{kind}] {message}", None, code))
        assert ending.kind is FINAL
        assert said in ending.reason
        assert hint in (ending.hint or "")


def test_a_busy_server_is_no_matter_of_the_plan() -> None:
    body = json.dumps({"detail": {"status": "system_busy", "message": TRAFFIC}})
    assert judge_http(429, body).kind is judge_speech_http(429, body).kind is RETRY


HTTP = [
    # status, body, kind, words, hint
    (401, {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}, FINAL, "key is not", "api_key"),
    (401, {"detail": {"status": "missing_permissions", "message": "m"}}, FINAL, "may not", "convai_write"),
    (401, {"detail": {"status": "quota_exceeded", "message": "m"}}, FINAL, "no credit", "add credit"),
    (401, {"detail": "nope"}, FINAL, "HTTP 401: nope", "elevenlabs.api_key"),
    (402, {}, FINAL, "no credit", "add credit"),
    (403, {"detail": "Forbidden"}, FINAL, "Forbidden", "elevenlabs.api_key"),
    (404, {"detail": {"status": "document_not_found", "message": "m"}}, FINAL, "no such agent", "agent_id"),
    (404, "<html>", FINAL, "HTTP 404", "elevenlabs.base_url"),
    (422, {"detail": [{"loc": ["query", "agent_id"], "msg": "bad id"}]}, FINAL, "bad id", "agent_id"),
    (429, {"detail": {"status": "too_many_concurrent_requests", "message": "m"}}, RETRY, "too many", ""),
    (429, {"detail": "slow down"}, RETRY, "slow down", ""),
    (408, "", RETRY, "HTTP 408", ""),
    (500, {"detail": "quota service down"}, RETRY, "quota service down", ""),
    (502, "<html>", RETRY, "HTTP 502", ""),
    (503, "", RETRY, "HTTP 503", ""),
    (200, "hello", RETRY, "not a session", "elevenlabs.base_url"),
    (301, "", FINAL, "another address", "elevenlabs.base_url"),
    (400, {"detail": ["odd"]}, FINAL, "HTTP 400", "elevenlabs"),
    (400, "[" * 100_000, FINAL, "HTTP 400", "elevenlabs"),
    (418, {"detail": {"status": 5}}, FINAL, "HTTP 418", "elevenlabs"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words", "hint"), HTTP)
def test_answers_over_http(status: int, body: object, kind: EndingKind, words: str, hint: str) -> None:
    ending = judge_http(status, body if isinstance(body, str) else json.dumps(body))
    assert (ending.kind, ending.code) == (kind, status)
    assert words in ending.reason
    assert hint in (ending.hint or "")
    if kind is FINAL:
        assert ending.hint


@pytest.mark.parametrize("code", [1002, 1008, 3000, 4300])
@pytest.mark.parametrize("reason", ["", "x", "please try again", "timeout", "Too many words"])
def test_no_loop_on_codes_that_mean_the_same_a_second_later(code: int, reason: str) -> None:
    assert judge_close(code, reason, None).kind is FINAL


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        # The close repeats the error, as far as its 123 bytes go: it is the reason.
        ("too many concurrent conv", "too many conversations at once"),
        # The close gives none: the error may be an old one, which the conversation survived.
        ("", "internal error"),
        # It gives another one.
        ("boom", "internal error"),
    ],
)
def test_an_error_explains_a_line_that_breaks_where_the_close_repeats_it(reason: str, words: str) -> None:
    ending = judge_close(1011, reason, AgentError("too many concurrent conversations"))
    assert ending.kind is RETRY
    assert words in ending.reason
