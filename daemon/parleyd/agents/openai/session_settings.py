"""The session that is asked for: the configuration and the daemon's wish as one session.update. Pure.

Only what is configured, or what the daemon needs, is sent: a server refuses all of an update for one field that it does
not know. The names that OpenAI recommends today stand in for those that are not configured, but only at OpenAI itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from parleyd.agents.openai import client_messages as client
from parleyd.agents.provider import Interrupts, SessionWish, ToolSpec
from parleyd.audio.pcm import AudioFormat
from parleyd.config.openai_section import MODEL, TRANSCRIPTION_MODEL, McpServer, OpenAI

# The formats by the names in the configuration: as the protocol names them, and what they are.
_WIRE_FORMATS = {
    "pcm": client.Format(type="audio/pcm", rate=24_000),
    "pcmu": client.Format(type="audio/pcmu"),
    "pcma": client.Format(type="audio/pcma"),
}
PCM = AudioFormat("pcm", 24_000)
FORMATS = {"pcm": PCM, "pcmu": AudioFormat("ulaw", 8_000), "pcma": AudioFormat("alaw", 8_000)}

GREETING = "Begin the conversation: greet the person in one short sentence, and offer your help."
_LANGUAGE = "The person speaks the language with the code {code}. Answer in that language."


def model(config: OpenAI) -> str | None:
    """The model that is named to the server; None: none is."""
    return config.model or (MODEL if config.is_openais else None)


def transcription_model(config: OpenAI) -> str | None:
    """The model that is to transcribe; None: the server's own, or none."""
    return config.transcription.model or (TRANSCRIPTION_MODEL if config.is_openais else None)


def whole_instructions(config: OpenAI, rendered: str) -> str:
    """rendered: the configured text with its values. The language is added, for an agent that only has the sound may
    take a cough for another language."""
    parts = [rendered] if rendered else []
    if config.language is not None:
        parts.append(_LANGUAGE.format(code=config.language))
    return "\n\n".join(parts)


def session(config: OpenAI, wish: SessionWish, instructions: str, secrets: Mapping[str, str]) -> client.Session:
    """instructions: whole. secrets: the access tokens of MCP servers, by their names."""
    detection = _turn_detection(config, wish)
    named = _WIRE_FORMATS[config.audio_format] if config.audio_format is not None else None
    is_flat = config.flat_session
    sound_in = client.InputAudio(
        format=named,
        turn_detection=msgspec.UNSET if is_flat else detection,
        noise_reduction=_noise_reduction(config),
        transcription=_transcription(config),
    )
    sound_out = client.OutputAudio(format=named, voice=None if is_flat else config.voice, speed=config.speed)
    input_part = None if sound_in == client.InputAudio() else sound_in
    output_part = None if sound_out == client.OutputAudio() else sound_out
    audio = client.SessionAudio(input=input_part, output=output_part) if input_part or output_part else None
    listed = tools(config, wish.tools, secrets)
    effort = config.reasoning_effort
    return client.Session(
        model=model(config) if config.model_in in ("session", "both") else None,
        output_modalities=["text"] if wish.text_only else None,
        instructions=instructions or None,
        audio=audio,
        tools=listed or None,
        reasoning={"effort": effort} if effort is not None else None,
        max_output_tokens=config.max_output_tokens,
        truncation=_truncation(config),
        voice=config.voice if is_flat else None,
        turn_detection=detection if is_flat else msgspec.UNSET,
    )


def with_formats() -> client.Session:
    """The protocol's own formats, and nothing else."""
    pcm = _WIRE_FORMATS["pcm"]
    return client.Session(
        audio=client.SessionAudio(input=client.InputAudio(format=pcm), output=client.OutputAudio(format=pcm))
    )


def tools(config: OpenAI, own: Sequence[ToolSpec], secrets: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tools of this device, and the servers of tools. secrets: see session()."""
    return [*map(function, own), *(_mcp(name, server, secrets) for name, server in config.mcp.items())]


def is_manual(config: OpenAI, wish: SessionWish) -> bool:
    """Whether this side tells the end of each turn."""
    return wish.manual_turns or config.turn_detection.type == "manual"


def _turn_detection(config: OpenAI, wish: SessionWish) -> dict[str, Any] | msgspec.UnsetType | None:
    """UNSET: the server's own. The server answers each turn by itself; whether it also interrupts follows the wish.

    idle_timeout_ms is never asked for: with it the agent speaks into an empty room.
    """
    wanted = config.turn_detection
    if is_manual(config, wish):
        return None
    fields: dict[str, Any] = {}
    if wanted.type == "semantic":
        fields["eagerness"] = wanted.eagerness
    else:
        fields["threshold"] = wanted.threshold
        fields["prefix_padding_ms"] = wanted.prefix_padding_ms
        fields["silence_duration_ms"] = wanted.silence_duration_ms
    if wish.interrupts is not Interrupts.SERVER:
        fields["interrupt_response"] = False
    fields = {name: value for name, value in fields.items() if value is not None}
    if wanted.type == "auto" and not fields:
        return msgspec.UNSET
    return {"type": "semantic_vad" if wanted.type == "semantic" else "server_vad", **fields}


def _noise_reduction(config: OpenAI) -> dict[str, Any] | msgspec.UnsetType | None:
    if config.noise_reduction is None:
        return msgspec.UNSET
    return None if config.noise_reduction == "off" else {"type": config.noise_reduction}


def _transcription(config: OpenAI) -> dict[str, Any] | msgspec.UnsetType | None:
    wanted = config.transcription
    if wanted.mode == "off":
        return None
    found = transcription_model(config)
    if found is None and wanted.mode == "auto":
        return msgspec.UNSET
    fields = {"model": found, "language": config.language, "prompt": wanted.prompt}
    return {name: value for name, value in fields.items() if value is not None}


def _truncation(config: OpenAI) -> str | dict[str, Any] | None:
    wanted = config.truncation
    if wanted.retention_ratio is None and wanted.token_limit is None:
        return wanted.mode
    found: dict[str, Any] = {"type": "retention_ratio", "retention_ratio": wanted.retention_ratio or 0.8}
    if wanted.token_limit is not None:
        found["token_limits"] = {"post_instructions": wanted.token_limit}
    return found


def function(tool: ToolSpec) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": parameters}


def _mcp(name: str, server: McpServer, secrets: Mapping[str, str]) -> dict[str, Any]:
    approval: object = server.approval
    if server.approval == "always" and server.without_approval:
        approval = {"never": {"tool_names": list(server.without_approval)}}
    fields: dict[str, Any] = {
        "type": "mcp",
        "server_label": name,
        "server_url": server.url,
        "server_description": server.description,
        "authorization": secrets.get(name),
        "allowed_tools": _listed(server.allowed_tools),
        "require_approval": approval,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
