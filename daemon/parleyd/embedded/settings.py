"""The settings of the embedded agent: those of a real agent, and those of a test server.

These structs are the `agent:` section of a scenario file; docs/scenarios.md explains each key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from parleyd.config.base import Secret
from parleyd.embedded.recognise import EarsName

FormatName = Literal["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]

# The default list of a real agent, and the additional events of an agent with tools.
CLIENT_EVENTS = (
    "audio",
    "interruption",
    "agent_response",
    "user_transcript",
    "tentative_user_transcript",
    "conversation_initiation_metadata",
    "ping",
    "agent_response_correction",
    "agent_chat_response_part",
    "client_tool_call",
    "mcp_tool_call",
    "agent_tool_response",
)


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in a scenario file."""


class ToolSpec(Section, frozen=True, kw_only=True):
    """A tool on the client's side that an answer needs."""

    name: str
    parameters: dict[str, Any] = {}
    expects_response: bool = True


class ReplyRule(Section, frozen=True, kw_only=True):
    """A rule for an answer; rules are tried before the built-in answers.

    heard: a regular expression, searched in the transcript, in upper or lower case. say: may contain \\1 or \\g<name>
    from `heard`, and {result} from `tool`.
    """

    heard: str
    say: str = ""
    tool: ToolSpec | None = None
    end_call: bool = False


class ToolDefinition(Section, frozen=True, kw_only=True):
    """A tool of the client, as a language model is told of it. parameters: its JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    expects_response: bool = True


class ModelSettings(Section, frozen=True, kw_only=True):
    """A language model by its address. base_url: of a server of OpenAI's chat completions, with /v1. first_token_s,
    next_token_s: how long the answer may take to begin, and to go on."""

    base_url: str
    model: str = "default"
    api_key: Secret | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 400
    first_token_s: Annotated[float, Meta(gt=0, le=600)] = 8.0
    next_token_s: Annotated[float, Meta(gt=0, le=600)] = 5.0


class MindSettings(ModelSettings, frozen=True, kw_only=True):
    """The language model that answers. backup: asked if this one gives no answer in time. sorry: spoken if neither
    does."""

    backup: ModelSettings | None = None
    sorry: str = "Sorry, I cannot think right now. Please try again in a moment."


class PartAddress(Section, frozen=True, kw_only=True):
    """Ears or a voice elsewhere. base_url: of a server of OpenAI's API, with /v1; or wyoming: tcp://HOST:PORT; or, for
    a voice, elevenlabs: the address of their API."""

    base_url: str | None = None
    wyoming: str | None = None
    elevenlabs: str | None = None
    model: str | None = None
    voice: str | None = None
    language: str | None = None
    api_key: Secret | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 20.0


class Dialect(Section, frozen=True, kw_only=True):
    """How another server of the Realtime protocol differs from OpenAI's.

    null_formats: the session names no formats and no voice. item_events: `conversation.item.created` instead of
    `.added` and `.done`. truncated: truncations are confirmed. error_codes: errors have a code, a param and the id of
    the client's event. expires_at: the session tells its end. usage: responses tell their tokens. models: there is
    /v1/models. turn_detection: the kinds that are accepted.
    """

    null_formats: bool = False
    item_events: Literal["added", "created"] = "added"
    truncated: bool = True
    error_codes: bool = True
    expires_at: bool = True
    usage: bool = True
    models: bool = True
    turn_detection: tuple[Literal["server_vad", "semantic_vad", "none"], ...] = ("server_vad", "semantic_vad", "none")


class RealtimeSettings(Section, frozen=True, kw_only=True):
    """The Realtime protocol only. models: those that exist, the first is the default."""

    models: tuple[str, ...] = (
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
        "gpt-realtime-2",
        "gpt-realtime-1.5",
        "gpt-realtime",
        "gpt-realtime-2025-08-28",
        "gpt-realtime-mini",
        "gpt-realtime-mini-2025-12-15",
    )
    shutdown_dates: dict[str, str] = msgspec.field(
        default_factory=lambda: dict.fromkeys(
            ("gpt-realtime", "gpt-realtime-2025-08-28", "gpt-realtime-mini", "gpt-realtime-mini-2025-12-15"),
            "2027-01-20",
        )
    )
    voices: tuple[str, ...] = (
        "marin", "cedar", "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse",
    )  # fmt: skip
    max_session_s: Annotated[float, Meta(gt=0)] = 3600.0
    tokens_per_minute: Annotated[int, Meta(ge=0)] = 40_000
    dialect: Dialect = Dialect()


class AgentSettings(Section, frozen=True, kw_only=True):
    """The defaults describe a friendly public agent that obeys the rules."""

    agent_id: str | None = None
    api_key: str | None = None
    require_auth: bool = False
    key_permissions: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None
    environments: tuple[str, ...] | None = None
    first_message: str = "Hello! How can I help you?"
    prompt: str = ""
    input_format: FormatName = "pcm_16000"
    output_format: FormatName = "pcm_16000"
    client_events: tuple[str, ...] = CLIENT_EVENTS
    more_client_events: tuple[str, ...] = ()
    allowed_overrides: tuple[str, ...] | None = None
    voice: str | None = None
    voice_ids: tuple[str, ...] | None = None
    ears: EarsName = "sphinx"
    replies: tuple[ReplyRule, ...] = ()
    mind: MindSettings | None = None
    ears_at: PartAddress | None = None
    voice_at: PartAddress | None = None
    tools: tuple[ToolDefinition, ...] = ()
    end_of_speech_ms: Annotated[int, Meta(ge=60, le=10_000)] = 700
    guess_after_ms: Annotated[int, Meta(ge=0, le=10_000)] = 200
    tentative_every_ms: Milliseconds = 0
    reply_delay_s: Seconds = 0.0
    chunk_ms: Annotated[int, Meta(ge=10, le=60_000)] = 250
    stream_speed: Annotated[float, Meta(ge=0, le=1000)] = 8.0
    ping_interval_s: Annotated[float, Meta(ge=0, le=3600)] = 2.0
    pong_timeout_s: Annotated[float, Meta(gt=0)] | None = None
    opening_timeout_s: Seconds = 3.0
    receive_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    max_duration_s: Annotated[float, Meta(gt=0)] = 600.0
    turn_timeout_s: Annotated[float, Meta(gt=0)] | None = None
    turn_timeout_message: str = "Are you still there?"
    silence_end_call_s: Annotated[float, Meta(gt=0)] | None = None
    tool_timeout_s: Annotated[float, Meta(gt=0)] = 20.0
    soft_timeout_s: Annotated[float, Meta(gt=0, le=3600)] | None = None
    soft_timeout_messages: tuple[str, ...] = ("One moment, please.",)
    interruption_ignore_terms: tuple[str, ...] = ()
    interruption_id: Literal["turn", "reply"] = "turn"
    omit_fields: tuple[str, ...] = ()
    realtime: RealtimeSettings = RealtimeSettings()
