"""Explains why a session ended, with a hint, and decides whether to try again. Pure.

The server gives the reason in up to three places: in an error event before the close (its text, and a machine-readable
`error_type`), in the close reason (at most 123 bytes), and in the close code. The words are used first, because one
code has many causes; then the kind of the error; then the code.

Close codes and error types come from the AsyncAPI contract of the official SDKs. The texts were observed, and may
change.

Policy: try again after a lost connection (no close, 1001, 1005, 1006), after trouble of the server (1011 to 1014, HTTP
408, 425, 429, 5xx), after TLS trouble (1015) and with a full queue (3008). 1002, 1008, 3000, 4300 and other HTTP errors
are final, because they would be the same a second later. This includes the timeouts among the 1002: another try might
help, but the longest delay is soon enough. Undocumented codes: 1xxx belong to the transport and are tried again; 44xx
and 45xx are judged by their words, then as the HTTP status that they contain (4429 is 429); others are judged by their
words: an error that passes by itself is tried again, all others are final. 1003, 1007, 1009 and 1010 complain about our
messages and are final.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator

from msgspec import Struct
from msgspec.structs import replace

from parleyd.agents.elevenlabs import account
from parleyd.agents.elevenlabs.reader import UNSUPPORTED_FORMAT
from parleyd.agents.events import AgentError
from parleyd.core.endings import NORMAL_CLOSURE, Ending, EndingKind

_MAX_QUOTED_CHARS = 200

_CHECK_AGENT = "check elevenlabs.agent_id, and that elevenlabs.base_url is the region in which the agent was made"
_CHECK_KEY = "check elevenlabs.api_key: it must belong to the account of the agent"
_HINT_AGENT = "look at the conversation in the ElevenLabs dashboard and fix the agent's settings"
_CHECK_BRANCH = (
    "check elevenlabs.branch_id against the agent's branches at ElevenLabs; without it the branch is named by the "
    "server that signs the URL"
)
_CHECK_URL = "check elevenlabs.base_url"
_OUR_FAULT = "this is a fault of parleyd or of the server: report it with the log"


class _Verdict(Struct, frozen=True):
    kind: EndingKind
    say: str
    hint: str | None = None
    decisive: bool = False
    """It cannot pass by itself: it counts even when the line was lost before the close arrived."""
    refused_override: str | None = None
    refuses_silence: bool = False
    """The refused override was the one against the greeting."""
    time_is_up: bool = False
    quote: str = ""
    """The server's own words, as they can be shown."""

    def quoting(self, text: str) -> _Verdict:
        return replace(self, quote=one_line(text))

    def ending(self, code: int | None) -> Ending:
        reason = f'{self.say} ("{self.quote}")' if self.quote else self.say
        return Ending(
            self.kind,
            reason,
            self.hint,
            code,
            self.refuses_silence,
            self.time_is_up,
            without_credit=self.say == account.NO_CREDIT.say,
        )


def _retry(say: str, hint: str | None = None) -> _Verdict:
    return _Verdict(EndingKind.RETRY, say, hint)


def _final(say: str, hint: str, *, decisive: bool = False) -> _Verdict:
    return _Verdict(EndingKind.FINAL, say, hint, decisive)


def _of_account(trouble: account.Trouble) -> _Verdict:
    return _retry(trouble.say) if trouble.is_passing else _final(trouble.say, trouble.hint, decisive=True)


_NO_CREDIT = _of_account(account.NO_CREDIT)
_NO_AGENT = _final("there is no such agent here", _CHECK_AGENT, decisive=True)
_BAD_KEY = _final("the API key is not accepted", _CHECK_KEY, decisive=True)
_KEY_MAY_NOT = _final(
    "the API key may not be used for this",
    "give the key the permission for agents: Write (convai_write)",
    decisive=True,
)
_FEWER = _retry("the server asks for fewer requests")
_QUEUE = _retry("too many conversations at once on this account", "raise the agent's concurrency limit")

_BY_TEXT: tuple[tuple[re.Pattern[str], _Verdict], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), verdict)
    for pattern, verdict in (
        (r"invalid.api.key", _BAD_KEY),
        (
            r"\bbranch(_id)?\b.*\b(not found|does not exist|unknown|invalid)|\b(no such|invalid|unknown) branch\b|"
            r"branch_not_found",
            _final("the agent has no such branch", _CHECK_BRANCH, decisive=True),
        ),
        # The server also sends this for a branch that does not exist.
        (r"^request error\.?$", _final("the server refused the session", f"{_CHECK_BRANCH}; then {_CHECK_AGENT}")),
        (r"\bagent\b.*\b(does not exist|not found)|document_not_found", _NO_AGENT),
        (
            r"could not authorize",
            _final(
                "the agent is private, and the session is not authorised",
                f"set elevenlabs.api_key, or make the agent public; with a key, {_CHECK_KEY}",
                decisive=True,
            ),
        ),
        (r"misconfigured", _final("the agent is misconfigured", _HINT_AGENT, decisive=True)),
        (
            r"host is not (valid|supported|in )",
            _final(
                "the agent takes only sessions from web pages on its list of hosts",
                "empty the list of hosts under Security in the agent's settings",
                decisive=True,
            ),
        ),
        (
            r"\bdaily\b.*\blimit\b",
            _final(
                "the agent has had all the calls that it may have today",
                "raise its daily limit in the agent's settings, or wait until tomorrow",
                decisive=True,
            ),
        ),
        (r"rate.?limit|too many requests|slow down", _FEWER),
        (r"too.many.(concurrent|connections|conversations|requests)|concurrency|queue", _QUEUE),
        # An error of the server itself, although its code is final.
        (r"interrupted message doesn.t match", _retry("the server lost track of an interruption")),
        (r"invalid message received", _final("the server could not use what was sent", _OUR_FAULT)),
    )
)

# Words of a passing error, for undocumented codes.
_PASSING = re.compile(
    r"try again|temporar|unavailable|overload|tim(ed|e)?[ -]?out|internal error|restart", re.IGNORECASE
)

# Codes that are always final, whatever the words mean.
_NEVER_QUEUED = frozenset((1002, 1008))

_CONTRACT = _final("the server could not use what was sent", _OUR_FAULT)
_SLOW = _final("the server waited in vain for one of its parts", _HINT_AGENT)
_BROKEN = _final("a part of the agent failed", _HINT_AGENT)
_LLM = _final("the agent's language model failed", "choose another LLM in the agent's settings, or fix the custom one")
_TOOL = _final("a tool of the agent failed", "fix the tool in the agent's settings")

_TIME_IS_UP = _Verdict(EndingKind.AGENT, "the conversation reached the agent's longest duration", decisive=True)
_HUNG_UP = _Verdict(EndingKind.AGENT, "the agent hung up")

_BY_KIND: dict[str, _Verdict] = {
    UNSUPPORTED_FORMAT: _final(
        "the agent's audio format is not known",
        "set the agent's input and output audio formats to PCM or to 8 kHz µ-law",
        decisive=True,
    ),
    "max_duration_exceeded": _TIME_IS_UP,
    "override_error": _final(
        "the agent does not allow an override",
        "enable it under Security in the agent's settings, or remove it from elevenlabs.overrides",
        decisive=True,
    ),
    "missing_dynamic_variable": _final(
        "the agent needs a dynamic variable", "set it under elevenlabs.dynamic_variables", decisive=True
    ),
    "missing_dynamic_variable_transfer": _final(
        "the agent to which the conversation went needs a dynamic variable",
        "set it under elevenlabs.dynamic_variables",
        decisive=True,
    ),
    "invalid_api_key": _BAD_KEY,
    "missing_permissions": _KEY_MAY_NOT,
    "quota_exceeded": _NO_CREDIT,
    "document_not_found": _NO_AGENT,
    "too_many_concurrent_requests": _QUEUE,
    "invalid_message": _CONTRACT,
    "value_error": _CONTRACT,
    "missing_fields": _CONTRACT,
    "telephony_agent_error": _final("the agent is made for telephones only", _HINT_AGENT, decisive=True),
    "mcp_tool_error": _TOOL,
    "mcp_https_error": _TOOL,
    "http_exception": _BROKEN,
    "safety_violation": _final("the conversation broke the provider's safety rules", _HINT_AGENT),
    "llm_timeout": _final("the agent's language model took too long", "choose a faster LLM in the agent's settings"),
    "llm_error": _LLM,
    "custom_llm_error": _LLM,
    "cascade_brain_error": _LLM,
    "transport_receive_timeout": _final(
        "the server heard nothing for a minute", "use gate.uplink: silence, so that sound keeps flowing"
    ),
    "asyncio_timeout": _SLOW,
    "redis_timeout_error": _SLOW,
    "asr_transcription_error": _BROKEN,
    "vad_error": _BROKEN,
    "turn_probability_error": _BROKEN,
    "tts_cascade_error": _final("the agent's voice failed", "choose another voice in the agent's settings"),
    "unknown_websocket_crash": _retry("the server had an internal error"),
    "websocket_disconnect": _retry("the line was lost"),
}

_LOST = _retry("the line was lost")
_BY_CODE: dict[int | None, _Verdict] = {
    None: _LOST,
    1001: _retry("the server goes away"),
    1002: _final("the agent could not go on", _HINT_AGENT),
    1003: _CONTRACT,
    1005: _LOST,
    1006: _LOST,
    1007: _CONTRACT,
    1008: _final("the server did not accept the session", _HINT_AGENT),
    1009: _final("the server refused a message for its size", _OUR_FAULT),
    1010: _CONTRACT,
    1011: _retry("the server had an internal error"),
    1012: _retry("the server restarts"),
    1013: _retry("the server has too much to do"),
    1014: _retry("the server's gateway is in trouble"),
    1015: _retry("TLS failed"),
    3000: _final("the server refused the session", f"{_CHECK_AGENT}; {_CHECK_KEY}; {_CHECK_BRANCH}"),
    3008: _QUEUE,
    4300: _final("a limit of the agent is reached", "raise the limits in the agent's settings"),
}

_OVERRIDE = re.compile(
    r"overrides? for (?:the )?fields? [\"'`´‘’“”]?(?P<field>[\w.]+)[\"'`´‘’“”]? (?:is|are) not allowed", re.IGNORECASE
)
_VARIABLES = re.compile(
    r"missing required dynamic variables?(?: in (?P<where>[\w ]+?))?\s*:\s*(?P<names>.+)", re.IGNORECASE | re.DOTALL
)
_QUOTED_NAME = re.compile(r"[\"'`‘“]([\w.-]+)[\"'`’”]")
_BARE_NAME = re.compile(r"[A-Za-z_]\w*")

_OVERRIDES = frozenset(
    (
        "prompt",
        "first_message",
        "language",
        "llm",
        "voice_id",
        "stability",
        "speed",
        "similarity_boost",
        "model_id",
        "keywords",
    )
)


def one_line(text: str, limit: int = _MAX_QUOTED_CHARS) -> str:
    """A server's text as one printable line of limited length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def judge_close(
    code: int | None, reason: str, error: AgentError | None, *, configured_overrides: Collection[str] = _OVERRIDES
) -> Ending:
    """code: None if the connection was lost without a close. error: the last error event, if any.

    configured_overrides: the names that are set in elevenlabs.overrides. A refused first_message that is not among them
    was sent to suppress the greeting, and has another hint.
    """
    return _verdict(_Close(code, reason, error, configured_overrides)).ending(code)


def refused_override(
    code: int | None, reason: str, error: AgentError | None, *, configured_overrides: Collection[str] = _OVERRIDES
) -> str | None:
    """The name, as in the configuration, of the override that the agent does not allow; None if the session ended for
    another reason. The arguments are those of judge_close."""
    return _verdict(_Close(code, reason, error, configured_overrides)).refused_override


def _verdict(close: _Close) -> _Verdict:
    return next(verdict for judge in _JUDGES if (verdict := judge(close)) is not None)


class _Close(Struct, frozen=True):
    """All that is known of an end. The fields are the arguments of judge_close."""

    code: int | None
    reason: str
    error: AgentError | None
    configured_overrides: Collection[str]

    @property
    def error_text(self) -> str:
        return self.error.message if self.error else ""

    @property
    def by_code(self) -> _Verdict:
        return _BY_CODE.get(self.code) or _unknown_code(self.code, f"{self.reason} {self.error_text}")

    @property
    def is_passing(self) -> bool:
        """By its code, another try makes sense. Then the error event may be an old one, which the conversation had
        survived, and counts only if it is decisive."""
        return self.by_code.kind is EndingKind.RETRY

    @property
    def repeats_the_error(self) -> bool:
        """The close reason is the error's text, or, since it is cut off at 123 bytes, the beginning of that. So the
        error is what this close is about, and has all of the words."""
        return bool(self.reason) and self.error_text.startswith(self.reason)

    def by_words(self, text: str, *, only_decisive: bool) -> _Verdict | None:
        found = _by_words(text, self.code, self.configured_overrides)
        return next((verdict for verdict in found if verdict.decisive or not only_decisive), None)


def _by_unsupported_format(close: _Close) -> _Verdict | None:
    """We hung up ourselves then, however the server answered that."""
    if close.error is None or close.error.kind != UNSUPPORTED_FORMAT:
        return None
    return _BY_KIND[UNSUPPORTED_FORMAT].quoting(close.error_text)


def _by_proper_close(close: _Close) -> _Verdict | None:
    """The agent has ended the conversation, whatever the words may be."""
    if close.code != NORMAL_CLOSURE:
        return None
    if close.error is not None and close.error.kind == "max_duration_exceeded":
        return replace(_TIME_IS_UP, time_is_up=True).quoting(close.reason)
    return _HUNG_UP.quoting(close.reason)


def _by_words_of_the_reason(close: _Close) -> _Verdict | None:
    if close.repeats_the_error:
        return None
    return close.by_words(close.reason, only_decisive=False)


def _by_words_of_the_error(close: _Close) -> _Verdict | None:
    return close.by_words(close.error_text, only_decisive=close.is_passing and not close.repeats_the_error)


def _by_override_of_ours(close: _Close) -> _Verdict | None:
    """The error does not say which override is refused; there was only the one against the greeting."""
    if close.error is None or close.error.kind != "override_error" or close.configured_overrides:
        return None
    return _refused_override("first_message", close.configured_overrides)


def _by_kind_of_the_error(close: _Close) -> _Verdict | None:
    found = _BY_KIND.get(close.error.kind) if close.error and close.error.kind else None
    if found is None or (close.is_passing and not found.decisive):
        return None
    return found.quoting(close.reason or close.error_text)


def _by_code(close: _Close) -> _Verdict:
    return close.by_code.quoting(close.reason if close.is_passing else close.reason or close.error_text)


# In the order of the evidence, the surest first. The last one always has a verdict.
_JUDGES: tuple[Callable[[_Close], _Verdict | None], ...] = (
    _by_unsupported_format,
    _by_proper_close,
    _by_words_of_the_reason,
    _by_words_of_the_error,
    _by_override_of_ours,
    _by_kind_of_the_error,
    _by_code,
)


def _unknown_code(code: int | None, text: str) -> _Verdict:
    if code is not None and 4400 <= code < 4600:
        return _by_status(code - 4000)
    if (code is not None and 1000 <= code < 2000) or _PASSING.search(text):
        return _retry(f"the session was closed with {code}")
    return _final(f"the session was closed with {code}", _HINT_AGENT)


def _by_words(text: str, code: int | None, configured_overrides: Collection[str]) -> Iterator[_Verdict]:
    """Every verdict that these words of the server bear out, the surest first."""
    if found := _OVERRIDE.search(text):
        yield _refused_override(found["field"], configured_overrides)
    if found := _VARIABLES.search(text):
        yield _missing_variables(found["names"], found["where"])
    if (permission := account.missing_permission(text)) is not None:
        may_not = _KEY_MAY_NOT
        if permission:
            may_not = replace(may_not, hint=f"give the key the permission {permission}, in the account's settings")
        yield may_not.quoting(text)
    if trouble := account.account_trouble(text):
        yield _of_account(trouble).quoting(text)
    for pattern, verdict in _BY_TEXT:
        is_queued = verdict in (_QUEUE, _FEWER)
        if pattern.search(text) and not (is_queued and code in _NEVER_QUEUED):
            yield verdict.quoting(text)


def _refused_override(api_field: str, configured_overrides: Collection[str]) -> _Verdict:
    """api_field: the last part is the name that the configuration uses too (agent.prompt.llm, tts.voice_id)."""
    name = one_line(api_field.rpartition(".")[2], 40)
    hint = "parleyd platform apply, or enable it under Security in the agent's settings"
    if name == "first_message" and name not in configured_overrides:
        hint += ", or set wake.greeting: play"
    elif name in _OVERRIDES:
        hint += f", or remove elevenlabs.overrides.{name}"
    elif name == "custom_llm_extra_body":
        hint += f", or remove elevenlabs.{name}"
    verdict = _final(f"the agent does not allow the override '{name}'", hint, decisive=True)
    refuses_silence = name == "first_message" and name not in configured_overrides
    return replace(verdict, refused_override=name, refuses_silence=refuses_silence)


def _missing_variables(listed: str, where: str | None) -> _Verdict:
    """listed: as the server writes it: a set, a list, or names with commas; the end may be cut off."""
    names = list(dict.fromkeys(_QUOTED_NAME.findall(listed) or _BARE_NAME.findall(listed.split(". ")[0])))
    place = f" in its {one_line(where, 40)}" if where else ""
    if not names:
        verdict = _BY_KIND["missing_dynamic_variable"]
        return replace(verdict, say=verdict.say + place)
    word = "variable" if len(names) == 1 else "variables"
    shown = ", ".join(f"'{name}'" for name in names)
    keys = " and ".join(f"elevenlabs.dynamic_variables.{name}" for name in names)
    return _final(
        one_line(f"the agent needs the dynamic {word} {shown}{place}"),
        one_line(f"set {keys}", 2 * _MAX_QUOTED_CHARS),
        decisive=True,
    )


# ---------------------------------------------------------------- answers over HTTP


# Request timeout, too early.
_BUSY = frozenset((408, 425))


def judge_http(status: int, body: str) -> Ending:
    """Judges an HTTP answer in place of a signed URL or a WebSocket. body: JSON with `detail`, or any text."""
    text = one_line(detail(body))
    if status not in _BUSY and status < 500:
        judged = next(_by_words(text, status, _OVERRIDES), None)
        if judged is not None:
            return judged.ending(status)
    verdict = _by_status(status)
    shown = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    spent = verdict.say == account.NO_CREDIT.say
    return Ending(verdict.kind, f"{verdict.say} ({shown})", verdict.hint, status, without_credit=spent)


def _by_status(status: int) -> _Verdict:
    if status in _BUSY or status >= 500:
        return _retry("the server is in trouble")
    if status == 429:
        return _FEWER
    if status == 401:
        return _final(
            "the API key is not accepted, or one is needed",
            f"set elevenlabs.api_key, or {_CHECK_KEY}; a workspace with data residency has a host of its own "
            "(elevenlabs.base_url)",
        )
    if status == 402:
        return _NO_CREDIT
    if status == 403:
        return _final("the server forbids it", _CHECK_KEY)
    if status == 404:
        return _final("there is no such agent, or no such server", _CHECK_AGENT)
    if 300 <= status < 400:
        return _final("the server is at another address", _CHECK_URL)
    if status < 300:
        return _retry("the server answered something that is not a session", _CHECK_URL)
    return _final("the server refused the request", f"{_CHECK_AGENT}; {_CHECK_KEY}")


def detail(body: str) -> str:
    """The texts in an HTTP answer: `detail` is a text, {status, message}, or a list of {msg}; other fields are not
    useful."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    told = parsed.get("detail") if isinstance(parsed, dict) else None
    if isinstance(told, list):
        told = next((item for item in told if isinstance(item, dict)), None)
    if isinstance(told, dict):
        words = (told.get("status"), told.get("message"), told.get("msg"))
        return ": ".join(word for word in words if isinstance(word, str))
    return told if isinstance(told, str) else ""
