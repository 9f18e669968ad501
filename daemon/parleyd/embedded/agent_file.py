"""Reads agents from files: the JSON that the ElevenLabs platform exports and its command line pulls, or YAML of the
same keys.

Keys that mean nothing here are named, and are no error: an export has hundreds of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from parleyd.config.nodes import NodeError, Values, compose
from parleyd.core.errors import UserError
from parleyd.embedded.platform import known_keys, whole_agent
from parleyd.host.files import read_file

_MOST_BYTES = 2 * 1024 * 1024
# Keys of a file that a client cannot set over HTTP: a language model's address comes from the owner's files alone.
_OF_FILES: dict[str, Any] = {
    "conversation_config": {
        "agent": {
            "prompt": {
                "custom_llm": {"url": True, "model_id": True},
                "tools": True,
            }
        }
    }
}
# Fields that every export has, and that mean nothing for an agent of one's own.
_SILENT = frozenset(
    ("agent_id", "metadata", "access_info", "version_id", "branch_id", "main_branch_id", "phone_numbers", "workflow")
)

# Fields of a conversation that the agents of the HTTP API keep and hand out, and that no conversation here follows.
_WITHOUT_EFFECT = frozenset(
    f"conversation_config.{name}"
    for name in (
        *("agent.language", "agent.disable_first_message_interruptions", "agent.dynamic_variables", "language_presets"),
        *(f"agent.prompt.{key}" for key in ("llm", "temperature", "max_tokens", "built_in_tools", "mcp_server_ids")),
        *(f"agent.prompt.{key}" for key in ("knowledge_base", "timezone", "ignore_default_personality")),
        *("asr.quality", "asr.provider", "asr.keywords", "conversation.text_only"),
        *(f"tts.{key}" for key in ("model_id", "voice_id", "stability", "speed", "similarity_boost")),
        *("tts.optimize_streaming_latency", "turn.turn_timeout", "turn.turn_eagerness"),
        "turn.soft_timeout_config.disable_until_first_user_message",
    )
)


def load(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The agent, complete, and the dotted names of the keys that have no effect here. Raises UserError."""
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
        root = compose(text)
        plain = {} if root is None else Values().read(root)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UserError(f"cannot read the agent file {path}: {reason}", "name another", os.EX_NOINPUT) from error
    except NodeError as error:
        raise UserError(f"{path}:{error.line}: {error}", error.hint, os.EX_DATAERR) from error
    if not isinstance(plain, dict) or not isinstance(plain.get("conversation_config"), dict):
        hint = "export an agent with `elevenlabs agents pull`, or with GET /v1/convai/agents/ID"
        raise UserError(f"{path}: this is no agent: it has no conversation_config", hint, os.EX_DATAERR)
    agent_id = plain.get("agent_id")
    agent = whole_agent(agent_id if isinstance(agent_id, str) and agent_id else path.stem, plain)
    kept = _laid(_known(plain, _OF_FILES), agent)
    return kept, sorted(_unknown(plain, ()))


def _known(plain: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if known[name] is True else _known(value, known[name])
        for name, value in plain.items()
        if name in known and (known[name] is True or isinstance(value, Mapping))
    }


def _laid(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(under)
    for name, value in over.items():
        before = laid.get(name)
        laid[name] = _laid(value, before) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return laid


def _unknown(plain: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for name, value in plain.items():
        if not path and name in _SILENT:
            continue
        inner = (*path, name)
        is_known = (known_keys(inner) or _is_of_files(inner)) if ".".join(inner) not in _WITHOUT_EFFECT else ""
        if is_known == "section" and isinstance(value, Mapping):
            yield from _unknown(value, inner)
        elif not is_known and not _is_empty(value):
            yield ".".join(inner)


def _is_empty(value: object) -> bool:
    """An export has every field of the service, also those that nobody has set. custom-llm: its address counts."""
    if isinstance(value, Mapping):
        return all(_is_empty(one) for one in value.values())
    return value in (None, [], "", False, "custom-llm")


def _is_of_files(path: tuple[str, ...]) -> str:
    known: Any = _OF_FILES
    for name in path:
        known = known.get(name) if isinstance(known, dict) else None
    return "value" if known is True else "section" if known else ""
