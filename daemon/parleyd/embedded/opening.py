"""Reads a client's first message, and checks whether its overrides are allowed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from parleyd.embedded import fillers
from parleyd.embedded.settings import AgentSettings


class RefusedError(Exception):
    """The conversation is refused; the text goes into the error event, if there is one, and into the close frame."""

    def __init__(self, error_type: str | None, text: str, code: int = 1008) -> None:
        super().__init__(text)
        self.error_type = error_type
        self.code = code


@dataclass(frozen=True, slots=True)
class Opening:
    """The settings of this conversation. fillers: spoken one after the other while the model lets the person wait."""

    first_message: str
    prompt: str = ""
    is_text_only: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    user_id: str = ""
    fillers: tuple[str, ...] = ()


def read(message: Mapping[str, Any] | None, settings: AgentSettings, conversation_id: str, now: datetime) -> Opening:
    """message: conversation_initiation_client_data; None if the client sent none. Raises RefusedError."""
    message = message or {}
    if refusal := version_refusal(settings, message.get("branch_id"), message.get("environment")):
        raise RefusedError(None, refusal, 3000)
    override = _mapping(message.get("conversation_config_override"))
    for name in names(override):
        if settings.allowed_overrides is not None and name not in settings.allowed_overrides:
            raise RefusedError("override_error", f"Override for field '{name}' is not allowed by config.")
    agent = _mapping(override.get("agent"))
    variables = {**_own(settings, conversation_id, now), **_mapping(message.get("dynamic_variables"))}
    first_message, prompt = agent.get("first_message"), _mapping(agent.get("prompt")).get("prompt")
    # The Python SDK puts text_only one level too high; the real service accepts both.
    filler = _mapping(_mapping(override.get("turn")).get("soft_timeout_config")).get("message")
    is_text_only = _mapping(override.get("conversation")).get("text_only") or override.get("text_only")
    return Opening(
        _filled(settings.first_message if first_message is None else str(first_message), variables, "first message"),
        _filled(settings.prompt if prompt is None else str(prompt), variables, "prompt"),
        bool(is_text_only),
        variables,
        str(message.get("user_id") or ""),
        tuple(
            _filled(text, variables, "soft timeout message")
            for text in fillers.texts(settings, None if filler is None else str(filler))
        ),
    )


def with_own_variables(settings: AgentSettings, conversation_id: str, now: datetime) -> AgentSettings:
    """The settings with the variables of the system in their texts, for a protocol whose clients bring none. Other
    variables stay as they are written."""
    own = _own(settings, conversation_id, now)
    return msgspec.structs.replace(
        settings,
        first_message=_put(settings.first_message, own),
        prompt=_put(settings.prompt, own),
        soft_timeout_messages=tuple(_put(text, own) for text in settings.soft_timeout_messages),
    )


def _own(settings: AgentSettings, conversation_id: str, now: datetime) -> dict[str, Any]:
    return {
        "system__conversation_id": conversation_id,
        "system__agent_id": settings.agent_id or "local",
        "system__time": f"{now:%A, %H:%M %d %B %Y}",
    }


def version_refusal(settings: AgentSettings, branch: object, environment: object) -> str | None:
    """Why this version of the agent cannot be had. The service's words for a branch that does not exist tell nothing
    (elevenlabs/packages issue 626)."""
    for known, name in ((settings.branches, branch), (settings.environments, environment)):
        if known is not None and name is not None and name not in known:
            return "Request error"
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def names(override: object) -> Iterator[str]:
    """The names of the overrides that are set, without the sections around them."""
    for name, value in _mapping(override).items():
        if isinstance(value, dict):
            yield from names(value)
        elif value is not None:
            yield name


_VARIABLE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")


def _filled(text: str, variables: Mapping[str, Any], place: str) -> str:
    missing = sorted({name for name in _VARIABLE.findall(text) if name not in variables})
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise RefusedError("missing_dynamic_variable", f"Missing required dynamic variables in {place}: {{{names}}}")
    return _put(text, variables)


def _put(text: str, variables: Mapping[str, Any]) -> str:
    return _VARIABLE.sub(lambda found: str(variables.get(found[1], found[0])), text)
