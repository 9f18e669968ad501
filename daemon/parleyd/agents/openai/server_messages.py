"""Every message that a server of the OpenAI Realtime protocol sends, as types. Pure.

Sources: the types of the official Python client, and the dialects of other servers that speak the protocol.

The types are tolerant: unknown fields are skipped, and every field may be missing or null, because each server leaves
out others. Whole numbers may be sent as floats or texts; `number` converts them. Names of the retired beta, which older
servers still send, are subclasses of the present ones, so that nothing else has to know them;
`conversation.item.created` stands for `added` and `done` at once.

The annotations are types and no text (`from __future__ import annotations`), which would be compiled at each start.
"""

import math

from msgspec import Struct

from parleyd.agents import wire

Text = str | None
Number = int | float | str | None


def number(value: Number) -> int | None:
    """The value as a whole number; None if it is not one."""
    if value is None:
        return None
    try:
        return int(float(value)) if isinstance(value, str) else int(value)
    except (ValueError, OverflowError):
        return None


def decimal(value: Number) -> float | None:
    """The value as a finite number; None if it is not one."""
    if value is None:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


class _Part(Struct, kw_only=True, omit_defaults=True):
    """An object inside a message."""


class _FromServer(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """A message; its `type` is the tag."""


# ---------------------------------------------------------------- the session


class FormatPart(_Part):
    type: Text = None
    rate: Number = None


class InputPart(_Part):
    # The beta had a text in its place.
    format: FormatPart | str | None = None
    turn_detection: dict[str, object] | None = None
    transcription: dict[str, object] | None = None
    noise_reduction: dict[str, object] | None = None


class OutputPart(_Part):
    format: FormatPart | str | None = None
    # A name, or {id}.
    voice: object = None
    speed: Number = None


class AudioPart(_Part):
    input: InputPart | None = None
    output: OutputPart | None = None


class SessionPart(_Part):
    id: Text = None
    model: Text = None
    expires_at: Number = None
    audio: AudioPart | None = None
    instructions: Text = None
    output_modalities: object = None
    max_output_tokens: object = None
    tools: object = None
    truncation: object = None
    reasoning: object = None
    # Other servers have these at the top level.
    voice: object = None
    turn_detection: object = None
    input_audio_format: object = None
    output_audio_format: object = None


class SessionCreated(_FromServer, tag="session.created"):
    """The first message: the session with the server's defaults."""

    session: SessionPart | None = None


class SessionUpdated(_FromServer, tag="session.updated"):
    """The answer to session.update: the whole session as it is in force."""

    session: SessionPart | None = None


class ConversationCreated(_FromServer, tag="conversation.created"):
    conversation: object = None


# ---------------------------------------------------------------- errors and limits


class ErrorPart(_Part):
    """event_id: of the client's message that is the reason."""

    type: Text = None
    code: Text = None
    message: Text = None
    param: Text = None
    event_id: Text = None


class Error(_FromServer, tag="error"):
    error: ErrorPart | str | None = None
    # Some servers have the text beside the type.
    message: Text = None
    code: Number = None


class RateLimitPart(_Part):
    name: Text = None
    limit: Number = None
    remaining: Number = None
    reset_seconds: Number = None


class RateLimitsUpdated(_FromServer, tag="rate_limits.updated"):
    rate_limits: list[RateLimitPart] | None = None


# ---------------------------------------------------------------- the person's sound


class SpeechStarted(_FromServer, tag="input_audio_buffer.speech_started"):
    """audio_start_ms: a position in all sound that this session was sent, with the padding before the speech."""

    audio_start_ms: Number = None
    item_id: Text = None


class SpeechStopped(_FromServer, tag="input_audio_buffer.speech_stopped"):
    audio_end_ms: Number = None
    item_id: Text = None


class Committed(_FromServer, tag="input_audio_buffer.committed"):
    """The speech is part of the conversation now, whether or not its transcript ever comes."""

    item_id: Text = None
    previous_item_id: Text = None


class Cleared(_FromServer, tag="input_audio_buffer.cleared"):
    pass


class TimeoutTriggered(_FromServer, tag="input_audio_buffer.timeout_triggered"):
    """Nobody has spoken for `idle_timeout_ms`, which is never asked for here."""

    audio_start_ms: Number = None
    audio_end_ms: Number = None
    item_id: Text = None


class DtmfReceived(_FromServer, tag="input_audio_buffer.dtmf_event_received"):
    """Telephony."""

    event: object = None
    received_at: object = None


class TranscriptionDelta(_FromServer, tag="conversation.item.input_audio_transcription.delta"):
    item_id: Text = None
    delta: Text = None


class TranscriptionUpdated(_FromServer, tag="conversation.item.input_audio_transcription.updated"):
    """xAI: the whole text so far."""

    item_id: Text = None
    transcript: Text = None
    text: Text = None


class CachedTokens(_Part):
    text_tokens: Number = None
    audio_tokens: Number = None
    image_tokens: Number = None


class InputTokens(_Part):
    """cached_tokens are a part of the others."""

    text_tokens: Number = None
    audio_tokens: Number = None
    image_tokens: Number = None
    cached_tokens: Number = None
    cached_tokens_details: CachedTokens | None = None


class TranscriptionUsage(_Part):
    """type: `duration` with seconds, or `tokens`."""

    type: Text = None
    seconds: Number = None
    input_tokens: Number = None
    output_tokens: Number = None
    input_token_details: InputTokens | None = None


class TranscriptionCompleted(_FromServer, tag="conversation.item.input_audio_transcription.completed"):
    item_id: Text = None
    transcript: Text = None
    usage: TranscriptionUsage | None = None
    languages: object = None


class TranscriptionFailed(_FromServer, tag="conversation.item.input_audio_transcription.failed"):
    item_id: Text = None
    error: ErrorPart | None = None


class TranscriptionSegment(_FromServer, tag="conversation.item.input_audio_transcription.segment"):
    """Sent by models that tell speakers apart."""

    item_id: Text = None
    text: Text = None
    speaker: object = None


# ---------------------------------------------------------------- items


class ContentPart(_Part):
    type: Text = None
    text: Text = None
    transcript: Text = None


class ItemPart(_Part):
    """An item of the conversation, of any type. arguments: JSON as a text, or the object itself."""

    id: Text = None
    type: Text = None
    role: Text = None
    status: Text = None
    content: list[ContentPart] | None = None
    name: Text = None
    call_id: Text = None
    arguments: object = None
    server_label: Text = None
    approval_request_id: Text = None
    error: object = None
    tools: object = None


class ItemAdded(_FromServer, tag="conversation.item.added"):
    item: ItemPart | None = None
    previous_item_id: Text = None


class ItemDone(_FromServer, tag="conversation.item.done"):
    item: ItemPart | None = None
    previous_item_id: Text = None


class ItemCreated(ItemDone, tag="conversation.item.created"):
    """Sent by the beta, and by servers that send it instead of both others."""


class ItemRetrieved(_FromServer, tag="conversation.item.retrieved"):
    item: object = None


class ItemTruncated(_FromServer, tag="conversation.item.truncated"):
    item_id: Text = None
    content_index: Number = None
    audio_end_ms: Number = None


class ItemDeleted(_FromServer, tag="conversation.item.deleted"):
    item_id: Text = None


# ---------------------------------------------------------------- responses


class OutputTokens(_Part):
    """reasoning_tokens are a part of text_tokens."""

    text_tokens: Number = None
    audio_tokens: Number = None
    reasoning_tokens: Number = None


class UsagePart(_Part):
    input_tokens: Number = None
    output_tokens: Number = None
    total_tokens: Number = None
    input_token_details: InputTokens | None = None
    output_token_details: OutputTokens | None = None


class StatusPart(_Part):
    type: Text = None
    reason: Text = None
    error: ErrorPart | None = None


class ResponsePart(_Part):
    """status: in_progress, completed, cancelled, incomplete or failed."""

    id: Text = None
    status: Text = None
    status_details: StatusPart | None = None
    output: list[ItemPart] | None = None
    usage: UsagePart | None = None


class ResponseCreated(_FromServer, tag="response.created"):
    response: ResponsePart | None = None


class ResponseDone(_FromServer, tag="response.done"):
    """Comes in any case, also for a response that was cancelled or failed."""

    response: ResponsePart | None = None


class ResponseCancelled(ResponseDone, tag="response.cancelled"):
    """Some servers send it as an event of its own."""


class OutputItemAdded(_FromServer, tag="response.output_item.added"):
    response_id: Text = None
    item: ItemPart | None = None


class OutputItemDone(_FromServer, tag="response.output_item.done"):
    response_id: Text = None
    item: ItemPart | None = None


class ContentPartAdded(_FromServer, tag="response.content_part.added"):
    response_id: Text = None
    item_id: Text = None
    part: ContentPart | None = None


class ContentPartDone(_FromServer, tag="response.content_part.done"):
    response_id: Text = None
    item_id: Text = None
    part: ContentPart | None = None


class AudioDelta(_FromServer, tag="response.output_audio.delta"):
    """delta: base64, decoded in one pass."""

    response_id: Text = None
    item_id: Text = None
    delta: bytes | None = None


class BetaAudioDelta(AudioDelta, tag="response.audio.delta"):
    pass


class AudioDone(_FromServer, tag="response.output_audio.done"):
    response_id: Text = None
    item_id: Text = None


class BetaAudioDone(AudioDone, tag="response.audio.done"):
    pass


class _TextDelta(_FromServer):
    response_id: Text = None
    item_id: Text = None
    content_index: Number = None
    delta: Text = None


class AudioTranscriptDelta(_TextDelta, tag="response.output_audio_transcript.delta"):
    """The agent's spoken words; they come a little before the sound."""


class BetaAudioTranscriptDelta(_TextDelta, tag="response.audio_transcript.delta"):
    pass


class TextDelta(_TextDelta, tag="response.output_text.delta"):
    """The agent's written words, in a session without sound."""


class BetaTextDelta(_TextDelta, tag="response.text.delta"):
    pass


class _TextDone(_FromServer):
    response_id: Text = None
    item_id: Text = None
    content_index: Number = None
    transcript: Text = None
    text: Text = None


class AudioTranscriptDone(_TextDone, tag="response.output_audio_transcript.done"):
    """Comes also when the response was interrupted."""


class BetaAudioTranscriptDone(_TextDone, tag="response.audio_transcript.done"):
    pass


class TextDone(_TextDone, tag="response.output_text.done"):
    pass


class BetaTextDone(_TextDone, tag="response.text.done"):
    pass


class ArgumentsDelta(_FromServer, tag="response.function_call_arguments.delta"):
    response_id: Text = None
    item_id: Text = None
    call_id: Text = None
    delta: Text = None


class ArgumentsDone(_FromServer, tag="response.function_call_arguments.done"):
    """Comes also when the response was interrupted, and the arguments are incomplete."""

    response_id: Text = None
    item_id: Text = None
    call_id: Text = None
    name: Text = None
    arguments: object = None


# ---------------------------------------------------------------- tools of MCP servers


class McpListInProgress(_FromServer, tag="mcp_list_tools.in_progress"):
    item_id: Text = None


class McpListCompleted(_FromServer, tag="mcp_list_tools.completed"):
    """Until then the model does not know the server's tools."""

    item_id: Text = None


class McpListFailed(_FromServer, tag="mcp_list_tools.failed"):
    item_id: Text = None


class McpArgumentsDelta(_FromServer, tag="response.mcp_call_arguments.delta"):
    response_id: Text = None
    item_id: Text = None


class McpArgumentsDone(_FromServer, tag="response.mcp_call_arguments.done"):
    response_id: Text = None
    item_id: Text = None


class McpCallInProgress(_FromServer, tag="response.mcp_call.in_progress"):
    item_id: Text = None


class McpCallCompleted(_FromServer, tag="response.mcp_call.completed"):
    item_id: Text = None


class McpCallFailed(_FromServer, tag="response.mcp_call.failed"):
    item_id: Text = None


# ---------------------------------------------------------------- WebRTC and telephony


class OutputBufferStarted(_FromServer, tag="output_audio_buffer.started"):
    response_id: Text = None


class OutputBufferStopped(_FromServer, tag="output_audio_buffer.stopped"):
    response_id: Text = None


class OutputBufferCleared(_FromServer, tag="output_audio_buffer.cleared"):
    response_id: Text = None


class Ping(_FromServer, tag="ping"):
    """Some servers send it; it wants no answer."""


ServerMessage = (
    AudioDelta
    | BetaAudioDelta
    | AudioTranscriptDelta
    | BetaAudioTranscriptDelta
    | TextDelta
    | BetaTextDelta
    | SessionCreated
    | SessionUpdated
    | ConversationCreated
    | Error
    | RateLimitsUpdated
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | TimeoutTriggered
    | DtmfReceived
    | TranscriptionDelta
    | TranscriptionUpdated
    | TranscriptionCompleted
    | TranscriptionFailed
    | TranscriptionSegment
    | ItemAdded
    | ItemDone
    | ItemCreated
    | ItemRetrieved
    | ItemTruncated
    | ItemDeleted
    | ResponseCreated
    | ResponseDone
    | ResponseCancelled
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | AudioDone
    | BetaAudioDone
    | AudioTranscriptDone
    | BetaAudioTranscriptDone
    | TextDone
    | BetaTextDone
    | ArgumentsDelta
    | ArgumentsDone
    | McpListInProgress
    | McpListCompleted
    | McpListFailed
    | McpArgumentsDelta
    | McpArgumentsDone
    | McpCallInProgress
    | McpCallCompleted
    | McpCallFailed
    | OutputBufferStarted
    | OutputBufferStopped
    | OutputBufferCleared
    | Ping
)


MESSAGES: wire.Messages[ServerMessage] = wire.Messages(ServerMessage)
