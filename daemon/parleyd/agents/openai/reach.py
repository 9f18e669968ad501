"""Whether a server of the OpenAI Realtime protocol would open a session, found out without one, which costs tokens."""

from __future__ import annotations

import json

from parleyd.agents.openai import address, http, session_settings
from parleyd.agents.openai.endings import judge_http
from parleyd.agents.websocket_there import NO_SESSION, is_page, speaks_websocket
from parleyd.config.openai_section import OpenAI
from parleyd.core.endings import DialError, Ending, EndingKind

# A server of one's own may have sessions and nothing else.
_NO_MODELS = (404, 405, 501)


def reach(config: OpenAI, key: str | None, timeout_s: float) -> None:
    """Blocks for up to twice timeout_s. Raises DialError: why no session could be opened, as far as that shows.

    The list of models shows whether there is the model of a session, and whether the key may use it. A server without
    such a list is asked at the address of its sessions.
    """
    named = session_settings.model(config)
    if named is not None:
        status, body = http.exchange(config, key, address.http_url(config, "models", named), timeout_s)
        if status == 200 and _describes_model(body):
            return
        if config.is_openais or status not in _NO_MODELS or is_page(body) or _names_model(body):
            raise DialError(_ending(status, body, has_key=key is not None))
    sessions = address.sessions_over_http(config, key)
    status, body = http.exchange(config, key, sessions, timeout_s, NO_SESSION)
    if not speaks_websocket(status, body):
        raise DialError(_ending(status, body, has_key=key is not None))


def _ending(status: int, body: str, *, has_key: bool) -> Ending:
    if is_page(body):
        hint = "in a guest network: log in there first, with a browser"
        return Ending(EndingKind.RETRY, f"a web page is answered (HTTP {status})", hint, status)
    return judge_http(status, body, has_key=has_key)


def _describes_model(body: str) -> bool:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and isinstance(told.get("id"), str)


def _names_model(body: str) -> bool:
    """Whether the server has a list of models, in which this one is missing."""
    return "model_not_found" in body
