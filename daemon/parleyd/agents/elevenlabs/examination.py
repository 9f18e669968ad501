"""The doctor's examination of an ElevenLabs agent: its key, and its settings on the platform."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from parleyd.agents.elevenlabs.address import signed_address
from parleyd.agents.elevenlabs.agent_settings import AgentSettings, read_settings
from parleyd.agents.elevenlabs.formats import FORMATS
from parleyd.agents.provider import Check
from parleyd.config.schema import Config, ElevenLabs
from parleyd.config.tool_sections import Mcp
from parleyd.core.endings import DialError, EndingKind
from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning

_ANSWER_S = 8.0
_DEADLINE_S = 15.0

_SWITCH_ON = (
    "switch on in the agent's settings at ElevenLabs: Advanced, Client events (by API: "
    "conversation_config.conversation.client_events)"
)
# The effect of a client event that the agent does not send.
_EVENTS = {
    "audio": "it has no voice",
    "interruption": "it cannot be interrupted, and talks on while somebody speaks",
    "user_transcript": "nothing shows that it understood, so a wake counts as false sooner, and after a lost line "
    "speech may be sent twice",
    "agent_response": "what it said cannot be carried over to the session after a lost line",
}


def checks(config: Config, section: ElevenLabs, api_key: str | None) -> Sequence[Check]:
    """section: the one with which the agent was made."""
    return (
        Check("key", lambda: _key(section, api_key), _DEADLINE_S),
        Check("agent's settings", lambda: _settings(config, section, api_key), _DEADLINE_S),
    )


def _key(section: ElevenLabs, api_key: str | None) -> Iterable[Finding]:
    """Requests the signed URL with which each session of a private agent begins."""
    if section.agent_id is None:
        return [skipped("no agent is configured")]
    if api_key is None:
        return [note("none is configured: enough for a public agent, and its settings cannot be looked at")]
    try:
        signed_address(section.base_url, section.agent_id, api_key, _ANSWER_S)
    except DialError as refusal:
        ending = refusal.ending
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        return [make(ending.reason, ending.hint or "try again later")]
    return [good("accepted, and it may open sessions with the agent")]


def _settings(config: Config, section: ElevenLabs, api_key: str | None) -> Iterable[Finding]:
    if api_key is None or section.agent_id is None:
        return [skipped("without a key the agent's settings cannot be read")]
    try:
        found = read_settings(section.base_url, section.agent_id, api_key, _ANSWER_S)
    except DialError as refusal:
        return [
            note(
                f"cannot be read: {refusal.ending.reason}",
                "give the key the permission to read agents, or see yourself that the client events include "
                f"{', '.join(_EVENTS)}",
            )
        ]
    findings = judge_settings(found, overrides_of(section), without_greeting=config.wake.may_skip_greeting)
    return [*judge_needs(found, config), *findings]


def overrides_of(section: ElevenLabs) -> set[str]:
    """The names of the settings that the opening message of a session overrides."""
    names = {name for name in section.overrides.__struct_fields__ if getattr(section.overrides, name) is not None}
    return names | ({"custom_llm_extra_body"} if section.custom_llm_extra_body else set())


def judge_settings(found: AgentSettings, overrides: Collection[str], *, without_greeting: bool) -> Iterator[Finding]:
    """overrides: those in the configuration. without_greeting: the agent will be asked not to greet."""
    formats = [name for name in (found.input_format, found.output_format) if name]
    for name in formats:
        if name not in FORMATS:
            hint = "choose PCM, or µ-law at 8 kHz, in its settings under Voice and Advanced"
            yield misconfigured(f"its audio format {name} is not known here", hint)
    yield from _judge_events(found.client_events)
    if found.allowed_overrides is not None:
        refused = sorted(set(overrides) - found.allowed_overrides)
        if refused:
            yield misconfigured(
                f"it refuses sessions that override {', '.join(refused)}, as the configuration does",
                f"allow {'it' if len(refused) == 1 else 'them'} in its settings, Security, Overrides, or remove "
                + ", ".join(name if name == "custom_llm_extra_body" else f"overrides.{name}" for name in refused)
                + " below elevenlabs",
            )
        if without_greeting and "first_message" not in {*found.allowed_overrides, *overrides}:
            yield warning(
                "it may not be asked to wake without a greeting: the first session after a start is opened twice",
                "allow First message in its settings, Security, Overrides; or set wake.greeting: play",
            )
    if "ulaw_8000" in formats or "pcm_8000" in formats:
        yield note(f"it speaks in telephone quality ({' and '.join(formats)})", "PCM at 16 kHz or more sounds better")
    events = "" if found.client_events is None else f", {len(found.client_events)} client events"
    name = f"{found.name}: " if found.name else ""
    yield good(f"{name}{' in, '.join(formats)} out{events}" if len(formats) == 2 else f"{name}they can be read{events}")


def judge_needs(found: AgentSettings, config: Config) -> Iterator[Finding]:
    """Findings about other parts of the configuration that cannot work with the agent's settings."""
    tools = config.tools
    declared = [*tools.command, *tools.http, *tools.python]
    if found.client_events is not None and declared and "client_tool_call" not in found.client_events:
        yield misconfigured(
            f"its client events lack client_tool_call; none of the tools of this device can be called "
            f"({', '.join(declared[:3])}{', …' if len(declared) > 3 else ''})",
            _SWITCH_ON,
        )
    if found.client_events is not None and tools.mcp != Mcp() and "mcp_tool_call" not in found.client_events:
        yield warning("its client events lack mcp_tool_call; nothing of tools.mcp is ever asked here", _SWITCH_ON)
    allowed = found.allowed_overrides
    if config.audio.mode == "off" and allowed is not None and "text_only" not in allowed:
        yield warning(
            "it may not be asked for a conversation in writing alone: it speaks although audio.mode is off, and speech "
            "costs more",
            "allow Text only in its settings, Security, Overrides",
        )
    language = config.elevenlabs.overrides.language
    if language is not None and found.languages is not None and language not in found.languages:
        yield misconfigured(
            f"it does not have the language {language} of elevenlabs.overrides (it has "
            f"{', '.join(sorted(found.languages))}): the session would never begin",
            "add it in its settings, Agent, Additional languages, or remove elevenlabs.overrides.language",
        )
    longest_s, max_s = found.max_duration_s, config.session.max_s
    if longest_s is not None and longest_s <= max_s:
        yield warning(
            f"it ends every conversation after {longest_s:g} s, before session.max_s ({max_s:g} s) exchanges it",
            f"raise Max conversation duration in its settings, or set session.max_s to {max(30.0, longest_s - 60):g}",
        )


def _judge_events(events: Collection[str] | None) -> Iterator[Finding]:
    if events is None:
        yield note("it does not say which client events are switched on", f"they should include {', '.join(_EVENTS)}")
        return
    for name, without in _EVENTS.items():
        if name not in events:
            text = f"its client events lack {name}; {without}"
            yield (misconfigured if name == "audio" else warning)(text, _SWITCH_ON)
