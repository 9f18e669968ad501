"""The platform around the agent, as far as `parleyd platform` and the official tools use it: agents and client tools
that can be made, listed and changed over HTTP. Kept in memory. Pure.

It has the habits of the real service that surprise people (official Python SDK 2.78, elevenlabs-python issues 547, 554,
597 and 640): objects are merged and lists are replaced whole; fields that it does not know vanish without an error; the
config of a tool is replaced as a whole; a language other than English with an English model is refused without the name
of the field; lists come in pages; a key lacks a permission by name.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from parleyd.embedded import described, past
from parleyd.embedded.settings import AgentSettings

AGENTS, TOOLS, CONVERSATIONS = "/v1/convai/agents", "/v1/convai/tools", "/v1/convai/conversations"
READ, WRITE = "convai_read", "convai_write"
ENGLISH_MODELS = frozenset(("eleven_flash_v2", "eleven_turbo_v2"))
_DEFAULT_PAGE, _MOST_PAGE = 30, 100
MOST_CONVERSATIONS = 200
_MAX_TOOL_NAME_CHARS = 64
_NO_JSON = [{"loc": ["body"], "msg": "JSON decode error"}]

# The fields of an agent that are kept. True: any value, as it is. A "*" stands for names of the user's own.
_KNOWN: dict[str, Any] = {
    "name": True,
    "tags": True,
    "conversation_config": {
        "agent": {
            "first_message": True,
            "language": True,
            "disable_first_message_interruptions": True,
            "dynamic_variables": {"dynamic_variable_placeholders": {"*": True}},
            "prompt": {
                "prompt": True,
                "llm": True,
                "temperature": True,
                "max_tokens": True,
                "tool_ids": True,
                "built_in_tools": {"*": True},
                "mcp_server_ids": True,
                "knowledge_base": True,
                "timezone": True,
                "ignore_default_personality": True,
            },
        },
        "asr": {"quality": True, "provider": True, "user_input_audio_format": True, "keywords": True},
        "tts": {
            "model_id": True,
            "voice_id": True,
            "agent_output_audio_format": True,
            "stability": True,
            "speed": True,
            "similarity_boost": True,
            "optimize_streaming_latency": True,
        },
        "turn": {
            "turn_timeout": True,
            "silence_end_call_timeout": True,
            "turn_eagerness": True,
            # The messages here are those that are written down; others, which a model writes, are not to be had.
            "soft_timeout_config": {
                "timeout_seconds": True,
                "message": True,
                "additional_soft_timeout_messages": True,
                "max_soft_timeouts_per_generation": True,
                "disable_until_first_user_message": True,
            },
            # The service's own lists of such words are not published: merge_with_default_ignore_terms has no effect.
            "interruption_ignore_terms": True,
        },
        "conversation": {
            "text_only": True,
            "max_duration_seconds": True,
            "client_events": True,
            "file_input": {"enabled": True, "max_files_per_conversation": True},
        },
        "language_presets": {"*": True},
    },
    "platform_settings": {
        "auth": {"enable_auth": True, "allowlist": True, "require_origin_header": True},
        "overrides": {
            "custom_llm_extra_body": True,
            "conversation_config_override": {
                "agent": {"first_message": True, "language": True, "prompt": {"prompt": True, "llm": True}},
                "asr": {"keywords": True},
                "turn": {"soft_timeout_config": {"message": True}},
                "tts": {
                    "model_id": True,
                    "voice_id": True,
                    "stability": True,
                    "speed": True,
                    "similarity_boost": True,
                },
                "conversation": {"text_only": True},
            },
        },
        "call_limits": {"agent_concurrency_limit": True, "daily_limit": True, "bursting_enabled": True},
        "privacy": {"record_voice": True, "retention_days": True},
    },
}
# A new agent as the official template makes it: without transcripts, corrections and calls of tools.
_NEW_AGENT: dict[str, Any] = {
    "conversation_config": {
        "agent": {
            "first_message": "",
            "language": "en",
            "prompt": {"prompt": "", "tool_ids": [], "built_in_tools": {}},
        },
        "asr": {"user_input_audio_format": "pcm_16000", "keywords": []},
        "tts": {"model_id": "eleven_flash_v2", "agent_output_audio_format": "pcm_16000"},
        "turn": {"turn_eagerness": "normal"},
        "conversation": {"max_duration_seconds": 600, "client_events": ["audio", "interruption"]},
        "language_presets": {},
    },
    "platform_settings": {
        "auth": {"enable_auth": False, "allowlist": []},
        "overrides": {"conversation_config_override": {}, "custom_llm_extra_body": False},
        "privacy": {"record_voice": True, "retention_days": -1},
    },
}
_CLIENT_TOOL = {
    "response_timeout_secs": 20,
    "expects_response": False,
    "tool_error_handling_mode": "auto",
    "execution_mode": "immediate",
}

Answer = tuple[int, Any]


class _RefusedError(Exception):
    def __init__(self, status: int, detail: object) -> None:
        super().__init__()
        self.answer: Answer = (status, {"detail": detail})


def known_keys(path: tuple[str, ...]) -> str:
    """`value` or `section` for a field of an agent that has a meaning here; empty for all others."""
    known: Any = _KNOWN
    for name in path:
        if known is True:
            return "value"
        known = known.get(name, known.get("*")) if isinstance(known, dict) else None
    return "value" if known is True else "section" if known else ""


def whole_agent(agent_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An agent with these fields, and with those of a new agent for the rest."""
    agent = {"agent_id": agent_id, "name": agent_id, "tags": [], **copy.deepcopy(_NEW_AGENT)}
    return _merged(agent, _known(fields, _KNOWN)) | {"version_id": "agtvrsn_0001"}


class Platform:
    """permissions: those of the key; None: all of them. agents: those that are there from the beginning."""

    def __init__(
        self,
        settings: AgentSettings,
        permissions: Sequence[str] | None = None,
        agents: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._settings = settings
        self._permissions = permissions
        self.agents: dict[str, dict[str, Any]] = {str(agent["agent_id"]): agent for agent in agents}
        # With agents from files, there are no others.
        self.is_closed = bool(agents)
        self.tools: dict[str, dict[str, Any]] = {}
        self.conversations: dict[str, dict[str, Any]] = {}
        self._count = 0

    def remember(self, conversation: dict[str, Any]) -> None:
        """A conversation that has ended; see past.as_conversation. The oldest are forgotten."""
        self.conversations[str(conversation["conversation_id"])] = conversation
        while len(self.conversations) > MOST_CONVERSATIONS:
            del self.conversations[next(iter(self.conversations))]

    def is_for(self, target: str) -> bool:
        """Whether the path belongs to agents or tools. target: path and query of a request."""
        return _place(target) is not None

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """(status, content) of a request whose key is right, and for which is_for() holds."""
        place = _place(target)
        assert place is not None
        query = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
        try:
            self._check_permission(READ if method == "GET" else WRITE)
            match place[0]:
                case "/v1/convai/agents":
                    return self._serve_agents(method, place[1], query, body)
                case "/v1/convai/tools":
                    return self._serve_tools(method, place[1], query, body)
                case _:
                    return self._serve_conversations(method, place[1], query)
        except _RefusedError as refusal:
            return refusal.answer
        except RecursionError:
            return 422, {"detail": _NO_JSON}

    def settings_of(self, agent_id: str) -> AgentSettings:
        """The settings of this agent: the server's, with the changes that were made over HTTP."""
        agent = self.agents.get(agent_id)
        return self._settings if agent is None else described.as_settings(agent, self._settings, self.tools)

    def refusal(self, permission: str) -> Answer | None:
        """The answer to a request for which the key lacks the permission; None: it has it."""
        if self._permissions is None or permission in self._permissions:
            return None
        return missing_permission(permission)

    def _check_permission(self, name: str) -> None:
        if (refusal := self.refusal(name)) is not None:
            raise _RefusedError(refusal[0], refusal[1]["detail"])

    # ---------------------------------------------------------------- agents

    def _serve_agents(self, method: str, name: str, query: Mapping[str, str], body: bytes) -> Answer:
        if method == "POST" and name == "create":
            return self._create_agent(_object(body))
        if method == "GET" and not name:
            return 200, _page("agents", [_summary(agent) for agent in self.agents.values()], query)
        agent = self._agent(name)
        if method == "GET":
            return 200, agent
        if method == "PATCH":
            return self._change_agent(name, agent, _object(body))
        if method == "DELETE":
            self.agents.pop(name, None)
            return 200, {}
        raise _RefusedError(405, "Method Not Allowed")

    def _create_agent(self, body: dict[str, Any]) -> Answer:
        if not isinstance(body.get("conversation_config"), dict):
            raise _RefusedError(422, [{"loc": ["body", "conversation_config"], "msg": "Field required"}])
        self._count += 1
        agent_id = f"agent_{self._count:04d}"
        agent = {"agent_id": agent_id, "name": "New agent", "tags": [], **copy.deepcopy(_NEW_AGENT)}
        agent = _merged(agent, _known(body, _KNOWN))
        self._check_agent(agent)
        self.agents[agent_id] = agent | {"version_id": "agtvrsn_0001"}
        return 200, {"agent_id": agent_id}

    def _agent(self, agent_id: str) -> dict[str, Any]:
        if agent_id not in self.agents:
            if self.is_closed or self._settings.agent_id not in (None, agent_id):
                raise _RefusedError(
                    404, {"status": "document_not_found", "message": f"Document with id {agent_id} not found."}
                )
            # The agent that this server is; it is described by the settings until somebody changes it.
            return described.as_agent(self._settings, agent_id)
        return self.agents[agent_id]

    def _change_agent(self, agent_id: str, agent: dict[str, Any], body: dict[str, Any]) -> Answer:
        changed = _merged(agent, _known(body, _KNOWN))
        self._check_agent(changed)
        number = int(str(agent.get("version_id", "agtvrsn_0000")).rpartition("_")[2]) + 1
        self.agents[agent_id] = changed | {"version_id": f"agtvrsn_{number:04d}"}
        return 200, self.agents[agent_id]

    def _check_agent(self, agent: Mapping[str, Any]) -> None:
        config = agent["conversation_config"]
        language = config.get("agent", {}).get("language") or "en"
        if language != "en" and config.get("tts", {}).get("model_id") in ENGLISH_MODELS:
            message = "Non-english Agents must use turbo or flash v2_5."
            raise _RefusedError(400, {"status": "invalid_agent_config", "message": message})
        tool_ids = config.get("agent", {}).get("prompt", {}).get("tool_ids") or ()
        if not isinstance(tool_ids, list | tuple) or not all(isinstance(tool_id, str) for tool_id in tool_ids):
            where = ["body", "conversation_config", "agent", "prompt", "tool_ids"]
            raise _RefusedError(422, [{"loc": where, "msg": "Input should be a list of strings"}])
        for tool_id in tool_ids:
            if tool_id not in self.tools:
                message = f"Document with id {tool_id} not found."
                raise _RefusedError(404, {"status": "document_not_found", "message": message})

    # ---------------------------------------------------------------- past conversations

    def _serve_conversations(self, method: str, name: str, query: Mapping[str, str]) -> Answer:
        if method != "GET":
            raise _RefusedError(405, "Method Not Allowed")
        if name:
            if name not in self.conversations:
                message = f"Conversation with id {name} not found."
                raise _RefusedError(404, {"status": "conversation_not_found", "message": message})
            return 200, self.conversations[name]
        after_s = _number(query, "call_start_after_unix", 0)
        found = [
            past.as_summary(one)
            for one in reversed(self.conversations.values())
            if one["metadata"]["start_time_unix_secs"] >= after_s
            and query.get("agent_id") in (None, one["agent_id"])
            and query.get("user_id") in (None, one["user_id"])
        ]
        return 200, _page("conversations", found, query)

    # ---------------------------------------------------------------- tools

    def _serve_tools(self, method: str, tool_id: str, query: Mapping[str, str], body: bytes) -> Answer:
        if method == "GET" and not tool_id:
            items = [self._tool(known) for known in self.tools]
            if kind := query.get("types"):
                items = [item for item in items if item["tool_config"]["type"] == kind]
            if prefix := query.get("search"):
                items = [item for item in items if item["tool_config"]["name"].startswith(prefix)]
            return 200, _page("tools", items, query)
        if method == "POST" and not tool_id:
            self._count += 1
            tool_id = f"tool_{self._count:04d}"
            self.tools[tool_id] = _tool_config(_object(body))
            return 200, self._tool(tool_id)
        if tool_id not in self.tools:
            message = f"Document with id {tool_id} not found."
            raise _RefusedError(404, {"status": "document_not_found", "message": message})
        if method == "GET":
            return 200, self._tool(tool_id)
        if method == "PATCH":
            self.tools[tool_id] = _tool_config(_object(body))
            return 200, self._tool(tool_id)
        if method == "DELETE":
            del self.tools[tool_id]
            return 200, {}
        raise _RefusedError(405, "Method Not Allowed")

    def _tool(self, tool_id: str) -> dict[str, Any]:
        return {
            "id": tool_id,
            "tool_config": self.tools[tool_id],
            "access_info": {
                "is_creator": True,
                "creator_name": "parleyd",
                "creator_email": "parleyd@localhost",
                "role": "admin",
            },
            "usage_stats": {"total_calls": 0, "avg_latency_secs": 0.0},
        }


def missing_permission(name: str) -> Answer:
    """(status, content) for a key without the permission."""
    message = f"The API key you used is missing the permission {name} to execute this operation."
    return 401, {"detail": {"status": "missing_permissions", "message": message}}


def _place(target: str) -> tuple[str, str] | None:
    """(root, name) of a path below agents or tools. The base URL may contain a path before it."""
    path = urlsplit(target).path.rstrip("/")
    for root in (AGENTS, TOOLS, CONVERSATIONS):
        _, found, after = path.partition(root)
        if found and (not after or after.startswith("/")):
            return root, unquote(after.strip("/"))
    return None


def _tool_config(body: Mapping[str, Any]) -> dict[str, Any]:
    config = body.get("tool_config")
    if not isinstance(config, dict):
        raise _RefusedError(422, [{"loc": ["body", "tool_config"], "msg": "Field required"}])
    for name in ("type", "name", "description"):
        if not isinstance(config.get(name), str) or not config[name]:
            raise _RefusedError(422, [{"loc": ["body", "tool_config", name], "msg": "Field required"}])
    if len(config["name"]) > _MAX_TOOL_NAME_CHARS:
        raise _RefusedError(422, [{"loc": ["body", "tool_config", "name"], "msg": "String should match the pattern"}])
    return {**_CLIENT_TOOL, **config} if config["type"] == "client" else dict(config)


def _page(key: str, items: Sequence[Any], query: Mapping[str, str]) -> dict[str, Any]:
    size = _number(query, "page_size", _DEFAULT_PAGE)
    if not 1 <= size <= _MOST_PAGE:
        raise _RefusedError(422, [{"loc": ["query", "page_size"], "msg": "Input should be between 1 and 100"}])
    begin = _number(query, "cursor", 0)
    end = begin + size
    has_more = end < len(items)
    return {key: list(items[begin:end]), "has_more": has_more, "next_cursor": str(end) if has_more else None}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    """A whole number in a query. Raises _RefusedError."""
    text = query.get(name) or str(default)
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise _RefusedError(422, [{"loc": ["query", name], "msg": "Input should be a valid integer"}])
    return int(text)


def _summary(agent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "agent_id": agent["agent_id"],
        "name": agent["name"],
        "tags": agent["tags"],
        "created_at_unix_secs": 0,
        "access_info": {
            "is_creator": True,
            "creator_name": "parleyd",
            "creator_email": "parleyd@localhost",
            "role": "admin",
        },
        "archived": False,
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _RefusedError(422, _NO_JSON)
    return content


def _known(body: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the body that the service knows; all else vanishes without an error."""
    kept = {}
    for name, value in body.items():
        inner = known.get(name, known.get("*"))
        if inner is None:
            continue
        if inner is True:
            kept[name] = value
        elif isinstance(value, Mapping):
            kept[name] = _known(value, inner)
    return kept


def _merged(tree: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(dict(tree))
    for name, value in fields.items():
        before = merged.get(name)
        is_object = isinstance(value, Mapping) and (before is None or isinstance(before, dict))
        merged[name] = _merged(before or {}, value) if is_object else copy.deepcopy(value)
    return merged
