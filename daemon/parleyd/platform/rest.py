"""The platform's API: `/v1/convai/agents` and `/v1/convai/tools`. Blocks.

Sources: the operations of the official Python SDK (elevenlabs 2.78, conversational_ai/agents and tools). An agent is
merged with what is sent, and its lists are replaced; the config of a tool is replaced as a whole. Fields that the
server does not know vanish without an error, so everything that was written is read again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from parleyd.agents.elevenlabs.account import account_trouble, missing_permission
from parleyd.agents.elevenlabs.address import exchange
from parleyd.core.endings import DialError
from parleyd.core.text import one_line
from parleyd.platform.failures import EX_CONFIGURATION, EX_MAY_NOT, EX_UNREACHABLE, PlatformError
from parleyd.platform.fit import Doubt, RemoteTool

AGENTS, TOOLS = "/v1/convai/agents", "/v1/convai/tools"
PAGE = 100
# A page of a hundred tools with large schemas, and an agent with a long prompt.
_MOST_BYTES = 16 * 2**20
# A server that pages without end is given up.
_MOST_PAGES = 200


class Rest:
    """Implements place.Place for one agent. branch: None for the main one. timeout_s: for each request."""

    def __init__(self, base_url: str, api_key: str, agent_id: str, branch: str | None, timeout_s: float = 20.0) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._agent_id = agent_id
        self._branch = branch
        self._timeout_s = timeout_s

    def agent(self) -> Mapping[str, Any]:
        found = self._ask("GET", self._agent_path, what=f"the agent {self._agent_id}")
        if not isinstance(found, dict) or not isinstance(found.get("conversation_config"), dict):
            raise _odd("does not describe an agent")
        return found

    def tools(self) -> Sequence[RemoteTool]:
        return client_tools(self._base_url, self._api_key, self._timeout_s)

    def doubt(self, made: Sequence[str]) -> Doubt | None:
        return None

    def create_tool(self, config: Mapping[str, Any]) -> str | None:
        made = self._ask("POST", TOOLS, {"tool_config": config}, what=f"the new tool {config.get('name')}")
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise _odd("does not give the id of a new tool")
        return str(made["id"])

    def update_tool(self, tool_id: str, config: Mapping[str, Any]) -> None:
        what = f"the tool {config.get('name')}"
        self._ask("PATCH", f"{TOOLS}/{quote(tool_id, safe='')}", {"tool_config": config}, what=what)

    def patch_agent(self, fields: Mapping[str, Any], description: str) -> None:
        body = {**fields, "version_description": description}
        self._ask("PATCH", self._agent_path, body, what=f"the agent {self._agent_id}")

    @property
    def _agent_path(self) -> str:
        query = f"?{urlencode({'branch_id': self._branch})}" if self._branch else ""
        return f"{AGENTS}/{quote(self._agent_id, safe='')}{query}"

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, what: str) -> Any:
        return ask(self._base_url, self._api_key, method, path, body, what=what, timeout_s=self._timeout_s)


def pages(base_url: str, api_key: str, path: str, items: str, *, timeout_s: float) -> Iterator[dict[str, Any]]:
    """The items of a list over all its pages. path: with its query. items: the name of the list in an answer."""
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        query = urlencode({"page_size": str(PAGE), **({"cursor": cursor} if cursor else {})})
        joint = "&" if "?" in path else "?"
        what = f"the list of {items}"
        page = ask(base_url, api_key, "GET", f"{path}{joint}{query}", None, what=what, timeout_s=timeout_s)
        if not isinstance(page, dict) or not isinstance(page.get(items), list):
            raise _odd(f"does not list {items}")
        yield from (item for item in page[items] if isinstance(item, dict))
        before, cursor = cursor, page.get("next_cursor")
        if not page.get("has_more") or not isinstance(cursor, str) or cursor == before:
            return
    raise _odd(f"lists {items} without end")


def client_tools(base_url: str, api_key: str, timeout_s: float = 20.0) -> Sequence[RemoteTool]:
    """All client tools of the workspace. Raises PlatformError."""
    return tuple(
        RemoteTool(item["id"], item["tool_config"])
        for item in pages(base_url, api_key, f"{TOOLS}?types=client", "tools", timeout_s=timeout_s)
        if isinstance(item.get("id"), str) and isinstance(item.get("tool_config"), dict)
    )


def create_agent(base_url: str, api_key: str, body: Mapping[str, Any], timeout_s: float = 20.0) -> str:
    """Makes an agent, and returns its id. Raises PlatformError."""
    made = ask(base_url, api_key, "POST", f"{AGENTS}/create", body, what="the new agent", timeout_s=timeout_s)
    if not isinstance(made, dict) or not isinstance(made.get("agent_id"), str):
        raise _odd("does not give the id of a new agent")
    return str(made["agent_id"])


def ask(
    base_url: str,
    api_key: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    what: str,
    timeout_s: float,
) -> Any:
    """The server's answer to one request, decoded. what: the object of the request, for the error. Raises
    PlatformError."""
    content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    try:
        status, text = exchange(method, base_url, path, api_key, content, timeout_s, most_bytes=_MOST_BYTES)
    except DialError as error:
        ending = error.ending
        # A key or an address that cannot be used is no trouble of the network.
        code = EX_UNREACHABLE if ending.kind.value == "retry" else EX_CONFIGURATION
        raise PlatformError(ending.reason, ending.hint or "try again later", code) from None
    if not 200 <= status < 300:
        raise refusal(status, text, method, what)
    try:
        return json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise _odd("answers something that is not JSON") from None


def refusal(status: int, body: str, method: str, what: str) -> PlatformError:
    """The error for an answer that is not 2xx. Pure."""
    said = _said(body)
    quoted = f' ("{said}")' if said else ""
    if (name := missing_permission(body)) is not None:
        may = f"the key lacks the permission {name}" if name else "the key lacks a permission"
        right = name or ("convai_read" if method == "GET" else "convai_write")
        return PlatformError(f"{may} for {what}{quoted}", f"give the key {right} at elevenlabs.io", EX_MAY_NOT)
    if (trouble := account_trouble(body)) is not None:
        code = EX_UNREACHABLE if trouble.is_passing else EX_MAY_NOT
        return PlatformError(f"{trouble.say}{quoted}", trouble.hint, code)
    if re.search(r"admin_perms_required|protected", body):
        text = f"{what} is protected: only an administrator of the workspace may change it{quoted}"
        return PlatformError(text, "name another branch with --branch", EX_MAY_NOT)
    if status in (401, 403):
        return PlatformError(
            f"the key may not be used for {what}{quoted}",
            "check elevenlabs.api_key, and that it belongs to the workspace of the agent",
            EX_MAY_NOT,
        )
    if status == 404:
        hint = "check elevenlabs.agent_id, --branch and elevenlabs.base_url"
        return PlatformError(f"{what} does not exist on the platform{quoted}", hint, EX_CONFIGURATION)
    if status in (408, 425, 429) or status >= 500:
        return PlatformError(f"the server cannot do it now (HTTP {status}){quoted}", "try again later", EX_UNREACHABLE)
    return PlatformError(
        f"the platform refuses {what} (HTTP {status}){quoted}",
        "correct what it names below elevenlabs.agent or tools",
        EX_CONFIGURATION,
    )


def _said(body: str) -> str:
    """The server's own words in an error: {detail: "..."}, {detail: {message}}, or {detail: [{loc, msg}]}."""
    try:
        detail = json.loads(body).get("detail")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if isinstance(detail, Mapping):
        detail = detail.get("message") or detail.get("status") or ""
    if isinstance(detail, list):
        first = next((item for item in detail if isinstance(item, Mapping)), {})
        where = ".".join(str(part) for part in first.get("loc", ()) if part != "body")
        detail = f"{where}: {first.get('msg', '')}"
    return one_line(str(detail))[:200] if detail else ""


def _odd(what: str) -> PlatformError:
    return PlatformError(f"the server {what}", "check elevenlabs.base_url", EX_UNREACHABLE)
