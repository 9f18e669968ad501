"""Settings of an agent that deserve a look, and that nobody but its owner can decide on. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parleyd.platform.desired import ENGLISH_MODELS, MODEL, PLACEHOLDERS, PROMPT, Desired
from parleyd.platform.tree import MISSING, value_at

if TYPE_CHECKING:
    from parleyd.platform.fit import RemoteTool

_VARIABLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_SYSTEM_PREFIX = "system__"


@dataclass(frozen=True, slots=True)
class Note:
    """is_vital: no session begins as long as it is so."""

    text: str
    hint: str
    is_vital: bool = False


def notes(desired: Desired, agent: Mapping[str, Any], tools: Sequence[RemoteTool]) -> Iterator[Note]:
    """agent: as it will be after the changes."""

    def at(dotted: str) -> Any:
        value = value_at(agent, tuple(dotted.split(".")))
        return None if value is MISSING else value

    yield from _variables(desired, agent)
    model = value_at(agent, MODEL)
    for language in desired.languages:
        if model in ENGLISH_MODELS and language.partition("-")[0] != "en":
            yield Note(
                f"elevenlabs.overrides.language asks for {language}, and the model {model} speaks English alone",
                f"set elevenlabs.agent.model_id: {ENGLISH_MODELS[model]}",
            )
    auth = at("platform_settings.auth")
    if isinstance(auth, Mapping):
        if auth.get("require_origin_header"):
            yield Note(
                "the agent refuses clients that send no Origin header, and this device sends none",
                "switch off Require origin header in its settings under Security",
                is_vital=True,
            )
        if auth.get("enable_auth") is False:
            yield Note(
                "the agent is public: everybody who knows its id can talk to it, at the account's expense",
                "set elevenlabs.agent.enable_auth: true, and give the device a key",
            )
    privacy = at("platform_settings.privacy")
    if isinstance(privacy, Mapping):
        if privacy.get("record_voice") is True:
            yield Note("the platform keeps recordings of every conversation", "elevenlabs.agent.record_voice: false")
        if privacy.get("retention_days") == -1:
            yield Note("the platform keeps conversations without a limit", "elevenlabs.agent.retention_days: 30")
    if at("platform_settings.call_limits.bursting_enabled") is True:
        yield Note(
            "conversations above the account's limit of simultaneous ones are allowed, and cost double",
            "switch off Bursting in its settings under Security, if that is not meant",
        )
    silence_s = at("conversation_config.turn.silence_end_call_timeout")
    if isinstance(silence_s, int | float) and not isinstance(silence_s, bool) and 0 < silence_s < desired.idle_s:
        here = "never" if math.isinf(desired.idle_s) else f"after {desired.idle_s:g} s (session.idle_timeout_s)"
        yield Note(
            f"the agent hangs up after {silence_s:g} s in which nobody speaks, and this device {here}",
            "raise End conversation after silence in its settings, or switch it off there",
        )
    names = [str(tool.config.get("name")) for tool in tools if tool.config.get("type") == "client"]
    wanted = {str(body["tool_config"]["name"]) for body in desired.tools}
    for name in sorted(name for name in wanted if names.count(name) > 1):
        yield Note(
            f"the workspace has {names.count(name)} client tools with the name {name}",
            "delete all but one of them at ElevenLabs, or nobody can tell which one the agent uses",
        )


def _variables(desired: Desired, agent: Mapping[str, Any]) -> Iterator[Note]:
    first = ("conversation_config", "agent", "first_message")
    texts = [value_at(agent, PROMPT), value_at(agent, first)]
    used = {name for text in texts if isinstance(text, str) for name in _VARIABLE.findall(text)}
    for name in sorted(used):
        if name in desired.variables or name.startswith(_SYSTEM_PREFIX):
            continue
        placeholders = value_at(agent, PLACEHOLDERS)
        is_known = isinstance(placeholders, Mapping) and name in placeholders
        yield Note(
            f"the agent's texts contain {{{{{name}}}}}, and this device supplies no such variable"
            + ("; the agent's page has only a value for tests" if is_known else ""),
            f"set elevenlabs.dynamic_variables.{name}: without it no session begins",
            is_vital=True,
        )
