"""The meaning of the server's errors, and the reason why a response failed. Pure."""

from __future__ import annotations

import re

from parleyd.agents.openai import server_messages as server
from parleyd.core.text import one_line

# They harm nothing: what they refuse came too late, or was over. They must not explain a close that comes later.
HARMLESS = frozenset(
    (
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "item_not_found",
        "item_retrieve_invalid_item_id",
        "function_call_output_pending",
    )
)
_HARMLESS_WORDS = re.compile(
    r"already shorter than|only model output audio messages can be truncated|no active response|"
    r"already has an active response|buffer too small|item with item_id not found|does not exist in the conversation",
    re.IGNORECASE,
)
ACTIVE = "conversation_already_has_active_response"
_ACTIVE_WORDS = re.compile(r"already has an active response", re.IGNORECASE)

# Before the session begins they are followed by a close, which is judged with them.
CLOSING = frozenset(
    (
        "session_limit_reached",
        "session_expired",
        "beta_api_shape_disabled",
        "invalid_api_key",
        "model_not_found",
        "invalid_model",
        "insufficient_quota",
        "rate_limit_exceeded",
        "server_error",
        "internal_error",
        "internal_server_error",
    )
)

_AGAIN_IN = re.compile(r"try again in ([0-9]+(?:\.[0-9]+)?) ?(ms|s|m)\b", re.IGNORECASE)
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0}
# The delay before another try if the server names none, and the longest delay.
RETRY_S, MOST_RETRY_S = 5.0, 60.0

_TOP_UP = "add credit or raise the limit in the account's billing settings"


def code_of(error: server.ErrorPart) -> str:
    """The machine-readable name: some servers have it in the type."""
    return error.code or error.type or ""


def words_of(error: server.ErrorPart) -> str:
    return one_line(error.message or code_of(error) or "no reason is given")[:300]


def is_harmless(error: server.ErrorPart) -> bool:
    return code_of(error) in HARMLESS or bool(_HARMLESS_WORDS.search(error.message or ""))


def is_active(error: server.ErrorPart) -> bool:
    """A response runs, so no other can be created."""
    return code_of(error) == ACTIVE or bool(_ACTIVE_WORDS.search(error.message or ""))


def is_without_credit(error: server.ErrorPart | None) -> bool:
    if error is None:
        return False
    spent = ("insufficient_quota", "billing_hard_limit_reached")
    return code_of(error) in spent or "exceeded your current quota" in words_of(error)


def incomplete(reason: str | None) -> tuple[str, str | None]:
    """(the reason, the hint) of a response that ends in the middle, by the server's word for it."""
    match reason:
        case "max_output_tokens":
            return (
                "it reached the longest length of an answer",
                "raise openai.max_output_tokens, or ask for short answers",
            )
        case "content_filter":
            return "the server's content filter stopped it", None
        case "cancelled":
            return "the server cancelled it", None
        case _:
            return f"the server stopped it ({one_line(reason or 'no reason is given')[:80]})", None


def failure(error: server.ErrorPart | None, reset_s: float | None) -> tuple[str, str | None, float | None]:
    """(reason, hint, seconds until another try) of a response that failed; None for the last: another try would fail
    too. reset_s: when the account's limits are free again, as the server told last."""
    if error is None:
        return "the server could not answer, and gives no reason", None, RETRY_S
    code, words = code_of(error), words_of(error)
    if is_without_credit(error):
        return "the account has no credit left", _TOP_UP, None
    if code.startswith("rate_limit") or "rate limit" in words.lower():
        found = _AGAIN_IN.search(error.message or "")
        wait_s = float(found[1]) * _UNIT_S[found[2].lower()] if found else reset_s or RETRY_S
        hint = "wait, or raise the account's limits"
        return "the account's limit of tokens per minute is reached", hint, min(max(wait_s, 0.1), MOST_RETRY_S)
    if code in ("invalid_api_key", "model_not_found", "invalid_request_error", "content_filter"):
        return f"the server refused to answer: {words}", "see openai.model and the account", None
    return f"the server could not answer: {words}", None, RETRY_S
