"""The meaning of each way of ending: close codes with their reasons, and HTTP answers in place of a session. Pure.

A close reason at OpenAI is `TYPE.CODE`, such as `invalid_request_error.invalid_api_key`, or words. The last error
counts for a close only if it is one that closes sessions.
"""

from __future__ import annotations

import json

from msgspec.structs import replace

from parleyd.agents.events import AgentError
from parleyd.core.endings import NORMAL_CLOSURE, Ending, EndingKind
from parleyd.core.text import one_line

_MAX_QUOTED_CHARS = 120

_CHECK_KEY = "see that openai.api_key is a valid key of this server"
_CHECK_MODEL = "see that openai.model is a realtime model that this key may use"
_CHECK_URL = "see that openai.base_url is right: a server that speaks the OpenAI Realtime protocol, with its path (/v1)"
_TOP_UP = "add credit, or raise the limit in the account's billing settings"
_OUR_FAULT = "please report it: docs/openai.md says which dialects are known"

# (kind, what it means, hint), by the server's machine-readable name.
_BY_NAME: dict[str, tuple[EndingKind, str, str | None]] = {
    "invalid_api_key": (EndingKind.FINAL, "the API key is not accepted", _CHECK_KEY),
    "missing_api_key": (EndingKind.FINAL, "the server wants an API key", "set openai.api_key"),
    "beta_api_shape_disabled": (EndingKind.FINAL, "the server took this for the retired beta protocol", _OUR_FAULT),
    "model_not_found": (EndingKind.FINAL, "there is no such model, or the key may not use it", _CHECK_MODEL),
    "invalid_model": (EndingKind.FINAL, "this model does not speak the Realtime protocol", _CHECK_MODEL),
    "insufficient_quota": (EndingKind.FINAL, "the account has no credit left", _TOP_UP),
    "billing_hard_limit_reached": (EndingKind.FINAL, "the account has reached its limit", _TOP_UP),
    "session_limit_reached": (EndingKind.RETRY, "the server has no free session", None),
    "rate_limit_exceeded": (EndingKind.RETRY, "the account opens sessions too fast", None),
    "server_error": (EndingKind.RETRY, "the server had an internal error", None),
    "internal_error": (EndingKind.RETRY, "the server had an internal error", None),
    "internal_server_error": (EndingKind.RETRY, "the server had an internal error", None),
}
_WITHOUT_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
# The reasons that this program gave itself for hanging up.
REFUSED, UNSUPPORTED = "refused_session", "unsupported_format"

# The keys of the configuration, by a part of the field that the server names. The first one that fits counts.
_KEYS = {
    "voice": "openai.voice",
    "speed": "openai.speed",
    "turn_detection": "openai.turn_detection",
    "noise_reduction": "openai.noise_reduction",
    "transcription": "openai.transcription",
    "reasoning": "openai.reasoning_effort",
    "max_output_tokens": "openai.max_output_tokens",
    "truncation": "openai.truncation",
    "instructions": "openai.instructions",
    "model": "openai.model",
    "tools": "tools or openai.mcp",
    "format": "openai.audio_format",
}

_BY_CODE: dict[int | None, tuple[EndingKind, str, str | None]] = {
    None: (EndingKind.RETRY, "the line was lost", None),
    1001: (EndingKind.RETRY, "the server goes away", None),
    1002: (EndingKind.FINAL, "the server could not use what was sent", _OUR_FAULT),
    1003: (EndingKind.FINAL, "the server could not use what was sent", _OUR_FAULT),
    1005: (EndingKind.RETRY, "the line was lost", None),
    1006: (EndingKind.RETRY, "the line was lost", None),
    1007: (EndingKind.FINAL, "the server could not use what was sent", _OUR_FAULT),
    1008: (EndingKind.FINAL, "the server did not accept the session", f"{_CHECK_KEY}; {_CHECK_MODEL}"),
    1009: (EndingKind.FINAL, "the server refused a message for its size", "send smaller pictures"),
    1011: (EndingKind.RETRY, "the server had an internal error", None),
    1012: (EndingKind.RETRY, "the server restarts", None),
    1013: (EndingKind.RETRY, "the server has too much to do", None),
    1014: (EndingKind.RETRY, "the server's gateway is in trouble", None),
    1015: (EndingKind.RETRY, "TLS failed", None),
    3000: (EndingKind.FINAL, "the server refused the session", f"{_CHECK_KEY}; {_CHECK_MODEL}"),
    4000: (EndingKind.FINAL, "the server refused the session", _OUR_FAULT),
}


def judge_close(code: int | None, reason: str, error: AgentError | None, *, has_key: bool = True) -> Ending:
    """code: None if the connection was lost without a close. error: the last error event, if it is recent. has_key: a
    key was sent."""
    kind = error.kind if error is not None and error.kind else ""
    words = error.message if error is not None else ""
    if kind == REFUSED:
        hint = _hint_of_field(words)
        return Ending(
            EndingKind.FINAL, _quoting("the server refuses the session as it is configured", words), hint, code
        )
    if kind == UNSUPPORTED:
        return Ending(EndingKind.FINAL, words, "set openai.audio_format to pcm, or the server to 24 kHz PCM", code)
    if is_time_up(reason, kind):
        return Ending(
            EndingKind.RETRY, "the session reached the server's longest duration", None, code, time_is_up=True
        )
    named = reason.rpartition(".")[2].strip()
    if named in _BY_NAME:
        # The error before the close has the words, such as the model's name.
        return _named(named, code, words if kind == named else "", has_key=has_key)
    if code == NORMAL_CLOSURE:
        return Ending(EndingKind.AGENT, _quoting("the server ended the session", reason), None, code)
    if kind in _BY_NAME:
        return _named(kind, code, words, has_key=has_key)
    if code is not None and code not in _BY_CODE:
        if 4400 <= code < 4600:
            return replace(judge_http(code - 4000, "", has_key=has_key), code=code)
        is_passing = 1000 <= code < 2000
        found = EndingKind.RETRY if is_passing else EndingKind.FINAL
        advice = None if is_passing else f"{_CHECK_KEY}; {_CHECK_MODEL}"
        return Ending(found, _quoting(f"the session was closed with {code}", reason or words), advice, code)
    return _ending(_BY_CODE[code], code, reason)


def _hint_of_field(words: str) -> str:
    """words: begin with the field that the server does not take, if it named one."""
    field = words.partition(":")[0].strip()
    key = next((key for part, key in _KEYS.items() if part in field), None)
    if key is None:
        return "remove what the server does not know from the section openai, or correct it"
    return f"correct {key}, or remove it"


def is_time_up(reason: str, kind: str) -> bool:
    """The server's longest duration is reached, by the words of its close or its error."""
    return kind == "session_expired" or "maximum duration" in reason


def judge_http(status: int, body: str, *, has_key: bool = True) -> Ending:
    """Judges an HTTP answer in place of the WebSocket. body: JSON with `error`, or any text. has_key: see above."""
    name, text = _error_of(body)
    if name in _BY_NAME and status < 500:
        return _named(name, status, text, has_key=has_key)
    shown = _quoting(f"HTTP {status}", text)
    if status in (408, 425) or status >= 500:
        return Ending(EndingKind.RETRY, f"the server is in trouble ({shown})", None, status)
    if status == 429:
        return Ending(EndingKind.RETRY, f"the account asks too often ({shown})", "wait, or raise its limits", status)
    if status == 401 and not has_key:
        return _named("missing_api_key", status, text)
    if status == 401:
        return Ending(EndingKind.FINAL, f"the API key is not accepted ({shown})", _CHECK_KEY, status)
    if status == 403:
        hint = f"{_CHECK_MODEL}; give the key the permission for realtime sessions"
        return Ending(EndingKind.FINAL, f"the server forbids it ({shown})", hint, status)
    if status == 404:
        hint = f"{_CHECK_URL}; {_CHECK_MODEL}"
        return Ending(EndingKind.FINAL, f"there is no such server, or no such model ({shown})", hint, status)
    if 300 <= status < 400:
        return Ending(EndingKind.FINAL, f"the server is at another address ({shown})", _CHECK_URL, status)
    if status < 300:
        return Ending(
            EndingKind.FINAL, f"the server does not speak the Realtime protocol ({shown})", _CHECK_URL, status
        )
    return Ending(
        EndingKind.FINAL, f"the server refused the request ({shown})", f"{_CHECK_URL}; {_CHECK_MODEL}", status
    )


def known_name(body: str) -> str:
    """The machine-readable name in the body of an HTTP error; empty if there is none, or its meaning is not known."""
    name = _error_of(body)[0]
    return name if name in _BY_NAME else ""


def _named(name: str, code: int | None, words: str, *, has_key: bool = True) -> Ending:
    if name == "invalid_api_key" and not has_key:
        # Servers say so where none was sent, too.
        name, words = "missing_api_key", ""
    return replace(_ending(_BY_NAME[name], code, words), without_credit=name in _WITHOUT_CREDIT)


def _ending(verdict: tuple[EndingKind, str, str | None], code: int | None, words: str) -> Ending:
    kind, say, hint = verdict
    return Ending(kind, _quoting(say, words), hint, code)


def _quoting(say: str, words: str) -> str:
    line = one_line(words).strip().rstrip(".")
    if len(line) > _MAX_QUOTED_CHARS:
        line = f"{line[: _MAX_QUOTED_CHARS - 3]}..."
    return f"{say}: {line}" if line else say


def _error_of(body: str) -> tuple[str, str]:
    """(the machine-readable name, the words) of an HTTP error; both may be empty."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    told = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(told, str):
        return "", told
    if not isinstance(told, dict):
        return "", ""
    name = next((told[key] for key in ("code", "type") if isinstance(told.get(key), str)), "")
    words = next((told[key] for key in ("message", "detail") if isinstance(told.get(key), str)), "")
    return name, words
