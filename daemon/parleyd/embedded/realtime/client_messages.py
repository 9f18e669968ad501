"""The messages of a client of the Realtime protocol, checked. Pure.

The shapes are those of openai-python 3.57 (types/realtime); like the real service, an unknown field refuses the whole
message.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Plain = dict[str, Any]

LEAST_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS = 1, 32_000


class RefusedError(Exception):
    """The client's message is refused with an error event; the session goes on. param: the field that is wrong."""

    def __init__(self, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class _Shape(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping in a message; UNSET: the client did not send the field."""


# ---------------------------------------------------------------- session


class _Pcm(_Shape, tag="audio/pcm", frozen=True, kw_only=True):
    rate: Literal[24000] = 24000


class _Pcmu(_Shape, tag="audio/pcmu", frozen=True, kw_only=True):
    pass


class _Pcma(_Shape, tag="audio/pcma", frozen=True, kw_only=True):
    pass


_Format = _Pcm | _Pcmu | _Pcma
_Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]


class _ServerVad(_Shape, tag="server_vad", frozen=True, kw_only=True):
    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    prefix_padding_ms: _Milliseconds | None = None
    silence_duration_ms: _Milliseconds | None = None
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _SemanticVad(_Shape, tag="semantic_vad", frozen=True, kw_only=True):
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _NoiseReduction(_Shape, frozen=True, kw_only=True):
    type: Literal["near_field", "far_field"] | UnsetType = UNSET
    strength: float | UnsetType = UNSET


class _Transcription(_Shape, frozen=True, kw_only=True):
    model: (
        Literal[
            "gpt-transcribe",
            "gpt-live-transcribe",
            "gpt-realtime-whisper",
            "whisper-1",
            "gpt-4o-transcribe",
            "gpt-4o-transcribe-diarize",
            "gpt-4o-mini-transcribe",
            "gpt-4o-mini-transcribe-2025-12-15",
        ]
        | UnsetType
    ) = UNSET
    language: str | None = None
    languages: list[str] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class _Input(_Shape, frozen=True, kw_only=True):
    format: _Format | UnsetType = UNSET
    noise_reduction: _NoiseReduction | UnsetType | None = UNSET
    transcription: _Transcription | UnsetType | None = UNSET
    turn_detection: _ServerVad | _SemanticVad | UnsetType | None = UNSET


class _VoiceId(_Shape, frozen=True, kw_only=True):
    id: str


class _Output(_Shape, frozen=True, kw_only=True):
    format: _Format | UnsetType = UNSET
    voice: str | _VoiceId | UnsetType = UNSET
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | UnsetType = UNSET


class _Audio(_Shape, frozen=True, kw_only=True):
    input: _Input | UnsetType = UNSET
    output: _Output | UnsetType = UNSET


class _Function(_Shape, tag="function", frozen=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _ToolFilter(_Shape, frozen=True, kw_only=True):
    read_only: bool | None = None
    tool_names: list[str] | None = None


class _ApprovalFilter(_Shape, frozen=True, kw_only=True):
    always: _ToolFilter | None = None
    never: _ToolFilter | None = None


class _Mcp(_Shape, tag="mcp", frozen=True, kw_only=True):
    server_label: str
    server_url: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[str] | _ToolFilter | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    server_description: str | None = None
    defer_loading: bool | None = None
    require_approval: Literal["always", "never"] | _ApprovalFilter | None = None


class _ChosenFunction(_Shape, tag="function", frozen=True, kw_only=True):
    name: str


class _ChosenMcp(_Shape, tag="mcp", frozen=True, kw_only=True):
    server_label: str
    name: str | None = None


_Tools = list[_Function | _Mcp]
_Choice = Literal["auto", "none", "required"] | _ChosenFunction | _ChosenMcp
_Modalities = Annotated[list[Literal["text", "audio"]], Meta(min_length=1, max_length=1)]
_MostTokens = Annotated[int, Meta(ge=LEAST_OUTPUT_TOKENS, le=MOST_OUTPUT_TOKENS)] | Literal["inf"]


class _Reasoning(_Shape, frozen=True, kw_only=True):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class _Tracing(_Shape, frozen=True, kw_only=True):
    group_id: str | None = None
    metadata: dict[str, Any] | None = None
    workflow_name: str | None = None


class _TokenLimits(_Shape, frozen=True, kw_only=True):
    post_instructions: int | None = None


class _Retention(_Shape, tag="retention_ratio", frozen=True, kw_only=True):
    retention_ratio: Annotated[float, Meta(ge=0, le=1)]
    token_limits: _TokenLimits | None = None


class _Session(_Shape, frozen=True, kw_only=True):
    type: Literal["realtime"]
    model: str | UnsetType = UNSET
    output_modalities: _Modalities | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    audio: _Audio | UnsetType = UNSET
    tools: _Tools | UnsetType = UNSET
    tool_choice: _Choice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: _MostTokens | UnsetType = UNSET
    reasoning: _Reasoning | UnsetType | None = UNSET
    tracing: Literal["auto"] | _Tracing | UnsetType | None = UNSET
    truncation: Literal["auto", "disabled"] | _Retention | UnsetType = UNSET
    include: list[Literal["item.input_audio_transcription.logprobs"]] | UnsetType | None = UNSET


# ---------------------------------------------------------------- items and responses

_Status = Literal["completed", "incomplete", "in_progress"]


class _Part(_Shape, frozen=True, kw_only=True):
    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | UnsetType = UNSET
    audio: str | UnsetType = UNSET
    transcript: str | UnsetType | None = UNSET
    image_url: str | UnsetType = UNSET
    detail: Literal["auto", "low", "high"] | UnsetType = UNSET


class _MessageItem(_Shape, tag="message", frozen=True, kw_only=True):
    role: Literal["user", "assistant", "system"]
    content: list[_Part]
    id: str | None = None
    object: Literal["realtime.item"] | None = None
    status: _Status | None = None


class _CallItem(_Shape, tag="function_call", frozen=True, kw_only=True):
    name: str
    arguments: str
    call_id: str | None = None
    id: str | None = None
    object: Literal["realtime.item"] | None = None
    status: _Status | None = None


class _OutputItem(_Shape, tag="function_call_output", frozen=True, kw_only=True):
    call_id: str
    output: str
    id: str | None = None
    object: Literal["realtime.item"] | None = None
    status: _Status | None = None


class _ApprovalItem(_Shape, tag="mcp_approval_response", frozen=True, kw_only=True):
    approval_request_id: str
    approve: bool
    id: str | None = None
    reason: str | None = None


class _Reference(_Shape, tag="item_reference", frozen=True, kw_only=True):
    id: str


_Item = _MessageItem | _CallItem | _OutputItem | _ApprovalItem


class _ResponseOutput(_Shape, frozen=True, kw_only=True):
    format: _Format | UnsetType = UNSET
    voice: str | _VoiceId | UnsetType = UNSET


class _ResponseAudio(_Shape, frozen=True, kw_only=True):
    output: _ResponseOutput | UnsetType = UNSET


class _Response(_Shape, frozen=True, kw_only=True):
    instructions: str | UnsetType = UNSET
    output_modalities: _Modalities | UnsetType = UNSET
    audio: _ResponseAudio | UnsetType = UNSET
    conversation: Literal["auto", "none"] | UnsetType = UNSET
    input: list[_Item | _Reference] | UnsetType = UNSET
    max_output_tokens: _MostTokens | UnsetType = UNSET
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    reasoning: _Reasoning | UnsetType | None = UNSET
    tool_choice: _Choice | UnsetType = UNSET
    tools: _Tools | UnsetType = UNSET


# ---------------------------------------------------------------- messages


class _Message(_Shape, frozen=True, kw_only=True):
    type: str
    event_id: str | None = None


class _SessionUpdate(_Message, frozen=True, kw_only=True):
    session: _Session


class _Append(_Message, frozen=True, kw_only=True):
    audio: str


class _ItemCreate(_Message, frozen=True, kw_only=True):
    item: _Item
    previous_item_id: str | None = None


class _ItemTruncate(_Message, frozen=True, kw_only=True):
    item_id: str
    content_index: int
    audio_end_ms: Annotated[int, Meta(ge=0)]


class _OfItem(_Message, frozen=True, kw_only=True):
    item_id: str


class _ResponseCreate(_Message, frozen=True, kw_only=True):
    response: _Response | None = None


class _ResponseCancel(_Message, frozen=True, kw_only=True):
    response_id: str | None = None


SHAPES: Mapping[str, type[_Message]] = {
    "session.update": _SessionUpdate,
    "input_audio_buffer.append": _Append,
    "input_audio_buffer.commit": _Message,
    "input_audio_buffer.clear": _Message,
    "conversation.item.create": _ItemCreate,
    "conversation.item.truncate": _ItemTruncate,
    "conversation.item.delete": _OfItem,
    "conversation.item.retrieve": _OfItem,
    "response.create": _ResponseCreate,
    "response.cancel": _ResponseCancel,
}


def parse(message: str | bytes) -> Plain:
    """One JSON object. Raises RefusedError."""
    if isinstance(message, bytes):
        raise RefusedError("invalid_message", "Binary frames are not supported.")
    try:
        parsed = msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        raise RefusedError("invalid_json", "We could not parse the JSON body of your event.") from None
    if not isinstance(parsed, dict):
        raise RefusedError("invalid_type", "Invalid type: expected an object.")
    return parsed


def check(message: Plain) -> None:
    """Checks the whole message. Raises RefusedError that names the field."""
    kind = message.get("type")
    if kind is None:
        raise RefusedError("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    shape = SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        known = ", ".join(f"'{name}'" for name in SHAPES)
        raise RefusedError("invalid_value", f"Invalid value: '{kind}'. Supported values are: {known}.", "type")
    try:
        msgspec.convert(message, shape)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None


_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _refused(text: str) -> RefusedError:
    """The error of the service for an error of the library."""
    found = _WHERE.match(text)
    assert found is not None
    what, path = found["what"], found["path"] or ""
    for pattern, code, words in (
        (_UNKNOWN, "unknown_parameter", "Unknown parameter"),
        (_MISSING, "missing_required_parameter", "Missing required parameter"),
    ):
        if named := pattern.match(what):
            param = f"{path}.{named[1]}".lstrip(".")
            return RefusedError(code, f"{words}: '{param}'.", param)
    return RefusedError("invalid_value", f"Invalid value for '{path}': {what}.", path or None)


# ---------------------------------------------------------------- sound and pictures

_DATA_URI = re.compile(r"data:(?P<type>[a-z]+/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


def base64_bytes(text: str, param: str) -> bytes:
    """Raises RefusedError."""
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise RefusedError("invalid_value", f"Invalid '{param}'. Expected base64-encoded bytes.", param) from None


def picture(url: str, param: str) -> tuple[str, int]:
    """Media type and size in bytes of a PNG or JPEG picture in a data URI. Raises RefusedError."""
    found = _DATA_URI.match(url)
    kind = found["type"].lower() if found else ""
    if found is None or kind not in _MAGIC:
        text = f"Invalid '{param}'. Expected a base64-encoded data URL with an image of type PNG or JPEG."
        raise RefusedError("invalid_value", text, param)
    content = base64_bytes(url[found.end() :], param)
    if not content.startswith(_MAGIC[kind]):
        raise RefusedError("invalid_image", f"The data of '{param}' is not an image of type {kind}.", param)
    return kind, len(content)
