"""Explains why a text was not spoken, with a hint. Pure.

The server sends a message with `message`, `error` and `code`, then closes with 1008; or it answers the handshake with
an HTTP status. The words are used first, then the code. The texts were observed, and may change.
"""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import replace

from parleyd.agents.elevenlabs import account
from parleyd.agents.elevenlabs.endings import detail, one_line
from parleyd.agents.events import AgentError
from parleyd.core.endings import Ending, EndingKind


class _Verdict(Struct, frozen=True):
    say: str
    hint: str
    kind: EndingKind = EndingKind.FINAL

    def ending(self, code: int | None, quote: str) -> Ending:
        return Ending(self.kind, f'{self.say} ("{quote}")' if quote else self.say, self.hint, code)


_AGAIN = "say it again a little later"
_OUR_FAULT = "this is a fault of parleyd or of the server: report it with the log"
_BAD_KEY = _Verdict("the API key is not accepted", "check elevenlabs.api_key")
_KEY_MAY_NOT = _Verdict("the API key may not be used for speech", "give the key the permission for text to speech")
_NO_CREDIT = _Verdict(account.NO_CREDIT.say, account.NO_CREDIT.hint)
_NO_VOICE = _Verdict("there is no such voice", "check announce.voice_id: it must be a voice of the key's account")
_MODEL = _Verdict(
    "the model does not go with the voice, or there is no such model",
    "check announce.model_id; eleven_flash_v2_5 goes with every voice, eleven_v3 does not do streams",
)
_FORMAT = _Verdict("the account may not have this sound format", "set announce.output_format to pcm_16000")
_BUSY = _Verdict("too much is being spoken at once on this account", _AGAIN, EndingKind.RETRY)
_REFUSED = _Verdict(
    "the server did not accept the text, the voice or the key",
    "check announce.voice_id, announce.model_id and elevenlabs.api_key",
)
_CONTRACT = _Verdict("the server could not use what was sent", _OUR_FAULT)
_LOST = _Verdict("the line was lost", f"check the network; {_AGAIN}", EndingKind.RETRY)
_TROUBLE = _Verdict("the server is in trouble", _AGAIN, EndingKind.RETRY)
_SILENT = _Verdict("the server ended without a sound", "check announce.voice_id and announce.model_id")
_ADDRESS = _Verdict("there is no text to speech at this address", "check elevenlabs.base_url and announce.voice_id")

_BY_TEXT: tuple[tuple[re.Pattern[str], _Verdict], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), verdict)
    for pattern, verdict in (
        (r"invalid.api.key|needs_authorization|unauthori[sz]ed", _BAD_KEY),
        (r"voice.(id.)?(does.not.exist|not.found)|voice_not_found|invalid.voice", _NO_VOICE),
        (r"output.?format", _FORMAT),
        (r"\bmodel", _MODEL),
        (r"too.many.(concurrent|requests)|concurren|system_busy|rate.?limit", _BUSY),
        (r"within the timeout|invalid_input_message|could not parse", _CONTRACT),
    )
)
_BY_CODE: dict[int | None, _Verdict] = {
    None: _LOST,
    1000: _SILENT,
    1001: _TROUBLE,
    1005: _LOST,
    1006: _LOST,
    1008: _REFUSED,
    # The server sends this code if a voice does not fit the model.
    1009: _MODEL,
    1011: _TROUBLE,
    1012: _TROUBLE,
    1013: _TROUBLE,
    1014: _TROUBLE,
}


def judge_close(code: int | None, reason: str, error: AgentError | None) -> Ending:
    """code: None if the connection was lost without a close. error: the server's error message, if any."""
    said = " ".join(word for word in ((error.kind or "") if error else "", error.message if error else "") if word)
    for text in (reason, said):
        if (judged := _by_text(text)) is not None:
            return judged.ending(code, one_line(error.message if error else reason))
    verdict = _BY_CODE.get(code) or (_REFUSED if error else _TROUBLE)
    if error and verdict.kind is EndingKind.RETRY:
        verdict = _REFUSED
    return verdict.ending(code, one_line(error.message if error else reason))


def judge_http(status: int, body: str) -> Ending:
    """Judges an HTTP answer in place of the WebSocket. body: JSON with `detail`, or any text."""
    text = one_line(detail(body))
    verdict = _by_text(text) if status < 500 else None
    shown = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    return (verdict or _by_status(status)).ending(status, shown)


def _by_text(text: str) -> _Verdict | None:
    if (permission := account.missing_permission(text)) is not None:
        hint = f"give the key the permission {permission}, in the account's settings"
        return replace(_KEY_MAY_NOT, hint=hint) if permission else _KEY_MAY_NOT
    if trouble := account.account_trouble(text):
        kind = EndingKind.RETRY if trouble.is_passing else EndingKind.FINAL
        return _Verdict(trouble.say, _AGAIN if trouble.is_passing else trouble.hint, kind)
    return next((verdict for pattern, verdict in _BY_TEXT if pattern.search(text)), None)


def _by_status(status: int) -> _Verdict:
    if status == 429:
        return _BUSY
    if status in (408, 425) or status >= 500:
        return _TROUBLE
    return {401: _BAD_KEY, 402: _NO_CREDIT, 403: _KEY_MAY_NOT, 404: _ADDRESS}.get(
        status, _ADDRESS if 300 <= status < 400 else _REFUSED
    )
