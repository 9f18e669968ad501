"""The demands of a configuration on the agent: the needs of the device, and the wants of its owner. Pure.

A need is without a choice: the device does not work, or not wholly, without it. Needs only add. A want is written in
`elevenlabs.agent`, and belongs to the owner.

The paths are those of `GET /v1/convai/agents/{id}` (GetAgentResponseModel of the official Python SDK 2.78).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from parleyd.config.agent_section import AgentWants
from parleyd.config.overlay import overlay
from parleyd.config.schema import Config, Variable
from parleyd.config.tool_sections import Mcp
from parleyd.platform.tree import Path, leaves

CONFIG = ("conversation_config",)
SETTINGS = ("platform_settings",)
CLIENT_EVENTS: Path = (*CONFIG, "conversation", "client_events")
TOOL_IDS: Path = (*CONFIG, "agent", "prompt", "tool_ids")
LANGUAGE: Path = (*CONFIG, "agent", "language")
PRESETS: Path = (*CONFIG, "language_presets")
MODEL: Path = (*CONFIG, "tts", "model_id")
MAX_DURATION: Path = (*CONFIG, "conversation", "max_duration_seconds")
FILE_INPUT: Path = (*CONFIG, "conversation", "file_input", "enabled")
PLACEHOLDERS: Path = (*CONFIG, "agent", "dynamic_variables", "dynamic_variable_placeholders")
ALLOWED: Path = (*SETTINGS, "overrides", "conversation_config_override")
EXTRA_BODY: Path = (*SETTINGS, "overrides", "custom_llm_extra_body")

# Events without which the conversation here is incomplete.
BASIC_EVENTS = (
    "audio",
    "interruption",
    "user_transcript",
    "agent_response",
    "agent_response_correction",
    "agent_tool_response",
    "conversation_initiation_metadata",
    "ping",
)
# The place of each override below ALLOWED; the names are those of the configuration.
OVERRIDES: dict[str, Path] = {
    "prompt": ("agent", "prompt", "prompt"),
    "llm": ("agent", "prompt", "llm"),
    "first_message": ("agent", "first_message"),
    "language": ("agent", "language"),
    "voice_id": ("tts", "voice_id"),
    "stability": ("tts", "stability"),
    "speed": ("tts", "speed"),
    "similarity_boost": ("tts", "similarity_boost"),
    "model_id": ("tts", "model_id"),
    "keywords": ("asr", "keywords"),
    "text_only": ("conversation", "text_only"),
}
# The agent must not end a session before session.max_s exchanges it.
MARGIN_S = 60
# These speak English alone; the platform refuses them with any other language, and names no field (elevenlabs-python
# issue 554). The values are their successors, which speak the others.
ENGLISH_MODELS = {"eleven_flash_v2": "eleven_flash_v2_5", "eleven_turbo_v2": "eleven_turbo_v2_5"}
DEFAULT_MODEL = "eleven_flash_v2"

_PLACES: dict[str, Path] = {
    "language": LANGUAGE,
    "model_id": MODEL,
    "voice_id": (*CONFIG, "tts", "voice_id"),
    "first_message": (*CONFIG, "agent", "first_message"),
    "llm": (*CONFIG, "agent", "prompt", "llm"),
    "input_format": (*CONFIG, "asr", "user_input_audio_format"),
    "output_format": (*CONFIG, "tts", "agent_output_audio_format"),
    "turn_eagerness": (*CONFIG, "turn", "turn_eagerness"),
    "keywords": (*CONFIG, "asr", "keywords"),
    "record_voice": (*SETTINGS, "privacy", "record_voice"),
    "retention_days": (*SETTINGS, "privacy", "retention_days"),
    "enable_auth": (*SETTINGS, "auth", "enable_auth"),
    "timezone": (*CONFIG, "agent", "prompt", "timezone"),
}
PROMPT: Path = (*CONFIG, "agent", "prompt", "prompt")
END_CALL: Path = (*CONFIG, "agent", "prompt", "built_in_tools", "end_call")
_END_CALL_TOOL = {
    "type": "system",
    "name": "end_call",
    "description": "",
    "params": {"system_tool_type": "end_call"},
}


@dataclass(frozen=True, slots=True)
class Need:
    """kind: contains (a list with this value), has (an object with this key, whose value is free), is (a value), at
    least (a number). why: the key of the configuration that asks for it."""

    kind: Literal["contains", "has", "is", "at_least"]
    path: Path
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Want:
    path: Path
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Desired:
    """tools: the bodies of the device's client tools, as POST /v1/convai/tools takes them. variables: the names that
    the device supplies. languages: those that it may ask for with the agent's own model. idle_s: the silence after
    which the device hangs up, the longest of all profiles; infinite if it never does."""

    needs: tuple[Need, ...] = ()
    wants: tuple[Want, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    variables: frozenset[str] = field(default=frozenset())
    languages: tuple[str, ...] = ()
    idle_s: float = 0.0


def desired(config: Config, tools: Iterable[Mapping[str, Any]], prompt: str | None, *, wishes: bool = True) -> Desired:
    """tools: the bodies of client_tool() for each. prompt: the text of elevenlabs.agent.prompt, read from its file.
    wishes: whether the owner's wants belong to it, or the needs of the device alone."""
    # The settings that each profile changes are needed as well.
    all_of_it = [("", config)] + [
        (f"profiles.{name}: ", overlay(config, profile.settings)) for name, profile in config.profiles.items()
    ]
    bodies = tuple(tools)
    needs: dict[tuple[str, Path, str], Need] = {}
    for where, one in all_of_it:
        for need in _needs(one, where):
            needs.setdefault((need.kind, need.path, repr(need.value) if need.kind != "at_least" else ""), need)
            if need.kind == "at_least" and needs[need.kind, need.path, ""].value < need.value:
                needs[need.kind, need.path, ""] = need
    if bodies:
        needs["contains", CLIENT_EVENTS, "client_tool_call"] = Need(
            "contains", CLIENT_EVENTS, "client_tool_call", "tools"
        )
    # A session that names its own model is judged by the rules of the configuration.
    overrides = [one.elevenlabs.overrides for _, one in all_of_it]
    languages = [one.language for one in overrides if one.model_id is None]
    variables = {name for _, one in all_of_it for name in one.elevenlabs.dynamic_variables}
    return Desired(
        tuple(needs.values()),
        tuple(wants(config.elevenlabs.agent, prompt)) if wishes else (),
        bodies,
        frozenset(variables),
        tuple(dict.fromkeys(language for language in languages if language)),
        max(math.inf if one.wake.mode == "always" else one.session.idle_timeout_s for _, one in all_of_it),
    )


def _needs(config: Config, where: str) -> Iterator[Need]:
    section = config.elevenlabs
    for event in BASIC_EVENTS:
        yield Need("contains", CLIENT_EVENTS, event, f"{where}a device needs it")
    if config.tools.mcp != Mcp():
        yield Need("contains", CLIENT_EVENTS, "mcp_tool_call", f"{where}tools.mcp")
    yield Need("contains", CLIENT_EVENTS, "agent_chat_response_part", f"{where}parleyd chat shows answers as they come")
    if config.audio.mode == "off":
        yield _allowed("text_only", f"{where}audio.mode: off")
    for name in section.overrides.__struct_fields__:
        if getattr(section.overrides, name) is not None:
            yield _allowed(name, f"{where}elevenlabs.overrides.{name}")
    if section.custom_llm_extra_body:
        yield Need("is", EXTRA_BODY, True, f"{where}elevenlabs.custom_llm_extra_body")
    if config.wake.greeting == "skip" or (config.wake.greeting == "auto" and config.wake.mode in ("speech", "word")):
        yield _allowed("first_message", f"{where}wake.greeting: a person who speaks first is not greeted")
    for name, value in section.dynamic_variables.items():
        shown = value.default if isinstance(value, Variable) else value
        yield Need("has", (*PLACEHOLDERS, name), shown or "", f"{where}elevenlabs.dynamic_variables.{name}")
    language = section.overrides.language
    if language is not None:
        yield Need("has", (*PRESETS, language), {"overrides": {}}, f"{where}elevenlabs.overrides.language")
    yield Need("at_least", MAX_DURATION, math.ceil(config.session.max_s) + MARGIN_S, f"{where}session.max_s")
    yield Need("is", FILE_INPUT, True, f"{where}parleyd send-file")


def _allowed(name: str, why: str) -> Need:
    return Need("is", (*ALLOWED, *OVERRIDES[name]), True, why)


def wants(section: AgentWants, prompt: str | None) -> Iterator[Want]:
    for name, path in _PLACES.items():
        value = getattr(section, name)
        if value is not None:
            yield Want(path, value, f"elevenlabs.agent.{name}")
    if prompt is not None:
        yield Want(PROMPT, prompt, "elevenlabs.agent.prompt")
    if section.end_call is not None:
        yield Want(END_CALL, dict(_END_CALL_TOOL) if section.end_call else None, "elevenlabs.agent.end_call")
    for path, value in leaves(msgspec.to_builtins(section.extra)):
        yield Want(path, value, "elevenlabs.agent.extra")
