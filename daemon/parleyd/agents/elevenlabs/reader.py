"""Reads the messages of one session, and decides which audio an interruption has made void. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Literal

import msgspec

from parleyd.agents import events as common
from parleyd.agents.elevenlabs import client_messages as client
from parleyd.agents.elevenlabs import meaning
from parleyd.agents.elevenlabs import server_messages as server
from parleyd.agents.elevenlabs.formats import FORMATS
from parleyd.agents.wire import MOST_QUOTED_CHARS, UNREADABLE
from parleyd.audio.pcm import AudioFormat

# An agent can be set to any of FORMATS. The client has no say in it: no override exists for formats.
DEFAULT_FORMAT = "pcm_16000"  # the official JavaScript client uses it if the metadata names no format

# The kind of the AgentError for a format outside this table; the session cannot go on.
UNSUPPORTED_FORMAT = "unsupported_format"

# The tool with which an agent hangs up.
END_CALL = "end_call"

# How long an agent waits for an approval by default.
DEFAULT_APPROVAL_S = 300
MOST_APPROVAL_S = 86400

# Ids of events grow in small steps during a session. An id that differs from the last one by more than this, or a first
# id that is larger than this, is ignored.
FAR_IDS = 10_000
MOST_FIRST_ID = 2**53
# The longest sound that is dropped after an interruption: a server still sends the rest of the interrupted answer. If
# more sound arrives, the server's ids are wrong, and the sound is played.
MOST_STALE_S = 30.0
# The longest text and the longest id that are kept; nobody reads longer ones.
MOST_TEXT_CHARS = 100_000
MOST_ID_CHARS = 200

# Some servers describe the close in words, in the flat form of the error message.
_WRAPPED_CLOSE = re.compile(r"received (?P<code>\d{4}) \([^)]*\)\s*(?P<text>.*)", re.DOTALL)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_PART_KINDS: dict[str, Literal["start", "delta", "stop"]] = {"start": "start", "delta": "delta", "stop": "stop"}

_NOTHING = meaning.Read(())


def is_stale(event_id: int, floor: int) -> bool:
    """Whether audio is void after an interruption with the id `floor`.

    The official clients disagree: Python and Node take "up to and including", the browser "strictly older". After a
    typed message the reply's audio carries the very id of the interruption (elevenlabs-python issue 829), so the first
    rule silences replies. Queued sound is discarded at the interruption anyway, whatever its id is.
    """
    return event_id < floor


def _with_whole_characters(message: str | bytes) -> bytes | None:
    """The message with question marks for half surrogate pairs (`\\ud83d` without its other half): a server may cut a
    text there, or a language model an emoji, and the decoder refuses the whole message for it. None: it has none."""
    text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    if not _SURROGATE.search(text):
        return None
    try:
        return json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return None


def _number(told: server.Id) -> int | None:
    return _id(server.number(told))


def _speakable(text: str | None) -> str:
    return (text or "").strip()[:MOST_TEXT_CHARS]


def _id(event_id: int | None) -> int | None:
    """The id in a form that can be sent back; all valid ids fit."""
    return event_id if event_id is not None and 0 <= event_id <= MOST_FIRST_ID else None


class Reader:
    """The receiving half of a codec. Its counters are those of agents.provider.Codec."""

    def __init__(self) -> None:
        self.malformed = 0
        self.unknown = 0
        self.refused_calls = 0
        self._seen_metadata = False
        self._output_format: AudioFormat | None = None
        self._floor = 0
        self._latest_event_id: int | None = None
        self._latest_response_id: int | None = None
        self._stale_bytes = 0

    def receive(self, message: str | bytes) -> meaning.Read:
        """The meaning of a message. Never raises, whatever the message is."""
        try:
            return self._understand(server.MESSAGES.decode(message))
        except UNREADABLE as problem:
            fixed = _with_whole_characters(message)
            if fixed is not None:
                with contextlib.suppress(*UNREADABLE):
                    return self._understand(server.MESSAGES.decode(fixed))
            return self._unreadable(message, problem)

    def _understand(self, message: server.ServerMessage) -> meaning.Read:
        match message:
            case server.Audio(audio_event=payload):
                return self._read_audio(payload)
            case server.Ping(ping_event=payload):
                pong = client.encode(client.Pong(event_id=payload.event_id))
                return meaning.Read((_notice(message),), (pong,))
            case server.Interruption(interruption_event=payload):
                return self._interruption(payload)
            case server.AgentResponse(agent_response_event=payload):
                return self._response(payload)
            case server.ConversationInitiationMetadata(conversation_initiation_metadata_event=payload):
                return self._metadata(payload)
            case server.ClientToolCall(client_tool_call=payload):
                return self._tool_call(payload)
            case server.McpToolCall(mcp_tool_call=payload):
                return self._mcp_tool_call(message, payload)
            case server.AgentToolResponse(agent_tool_response=payload):
                return _agent_tool_response(message, payload)
            case server.AgentToolResponseFullPayload(agent_tool_response_full_payload=payload):
                return _agent_tool_response(message, payload)
            case server.Error() | server.ClientError():
                return meaning.Read((_error(message),))
            case _:
                return meaning.Read((_text_event(message) or _notice(message),))

    def _unreadable(self, message: str | bytes, problem: Exception) -> meaning.Read:
        event = server.MESSAGES.not_read(message, problem)
        if isinstance(event, common.Malformed):
            self.malformed += 1
        else:
            self.unknown += 1
        return meaning.Read((event,))

    def _bad(self, why: str) -> meaning.Read:
        self.malformed += 1
        return meaning.Read((common.Malformed(why),))

    def _metadata(self, payload: server.MetadataPayload) -> meaning.Read:
        if self._seen_metadata:
            return self._bad("a second conversation_initiation_metadata; the first one stays")
        self._seen_metadata = True
        formats = []
        for name in (payload.user_input_audio_format, payload.agent_output_audio_format):
            known = FORMATS.get(name or DEFAULT_FORMAT)
            if known is None:
                shown = repr(name)[:MOST_QUOTED_CHARS]
                text = f"the agent uses the audio format {shown}, which this program does not know"
                return meaning.Read((common.AgentError(text, UNSUPPORTED_FORMAT, hopeless=True),))
            formats.append(known)
        input_format, self._output_format = formats
        conversation_id = (payload.conversation_id or "")[:MOST_ID_CHARS]
        return meaning.Read((common.Ready(conversation_id, input_format, self._output_format),))

    def _read_audio(self, payload: server.AudioPayload) -> meaning.Read:
        data = payload.audio_base_64
        if not data:
            # A last message may have no audio, and only mark the end.
            return _NOTHING if data is not None or payload.is_final else self._bad("audio without audio_base_64")
        if self._output_format is None:
            return self._bad("audio before its format is known")
        event_id = self._believed_id(payload.event_id)
        if is_stale(event_id, self._floor):
            self._stale_bytes += len(data)
            if self._stale_bytes <= MOST_STALE_S * self._output_format.rate_hz * self._output_format.sample_bytes:
                return _NOTHING
            self._lower_floor(event_id)
        # Chunks may end in the middle of a sample; playback joins the halves.
        return meaning.Read((meaning.Audio(event_id, data),))

    def _interruption(self, payload: server.InterruptionPayload) -> meaning.Read:
        event_id = self._believed_id(payload.event_id)
        # Audio without an id, if any comes, counts as new: it is taken for the latest.
        self._floor = max(self._floor, event_id)
        self._stale_bytes = 0
        return meaning.Read((meaning.Interruption(event_id),))

    def _believed_id(self, told: server.Id) -> int:
        """An event's id; the latest id for an event without an id, or with an implausible one."""
        event_id, latest = server.number(told), self._latest_event_id
        most = MOST_FIRST_ID if latest is None else latest + FAR_IDS
        if event_id is None or not 0 <= event_id <= most:
            return latest or 0
        self._latest_event_id = max(latest or 0, event_id)
        return event_id

    def _lower_floor(self, event_id: int) -> None:
        """Events with this id are new, whatever the last interruption said."""
        self._floor = min(self._floor, event_id)
        self._latest_event_id = event_id
        self._stale_bytes = 0

    def _response(self, payload: server.AgentResponsePayload) -> meaning.Read:
        """If the text of a new answer would be void, the interruption's id did not belong to answers."""
        event_id = server.number(payload.event_id)
        if event_id is not None and event_id >= 0 and event_id != self._latest_response_id:
            if is_stale(event_id, self._floor):
                self._lower_floor(event_id)
            self._latest_response_id = event_id
        return meaning.Read((meaning.Response(_speakable(payload.agent_response), _id(event_id)),))

    def _tool_call(self, payload: server.ClientToolCallPayload) -> meaning.Read:
        """A call that cannot be understood is answered with an error, because the agent waits for the answer."""
        parameters = _object_of(payload.parameters)
        if not payload.tool_call_id:
            return self._bad("client_tool_call without tool_call_id")
        if not payload.tool_name:
            problem = "The call names no tool."
        elif not isinstance(parameters, dict):
            problem = "The parameters must be an object with their names. Nothing was done; call it again so."
        else:
            expects_response = payload.expects_response is not False
            call = common.ToolCall(payload.tool_name, payload.tool_call_id, parameters, expects_response)
            return meaning.Read((call,))
        self.refused_calls += 1
        events = (common.Malformed(f"client_tool_call: {problem}"),)
        if payload.expects_response is False:
            return meaning.Read(events)
        refusal = client.ClientToolResult(
            tool_call_id=payload.tool_call_id, result=problem, is_error=True, error_type="external_client"
        )
        return meaning.Read(events, (client.encode(refusal),))

    def _mcp_tool_call(self, message: server.McpToolCall, payload: server.McpToolCallPayload) -> meaning.Read:
        """A call that needs approval becomes a question; a call without a name cannot be approved, and is refused at
        once."""
        notice = _notice(message)
        if payload.state != "awaiting_approval":
            return meaning.Read((notice,))
        if not payload.tool_call_id:
            return self._bad("mcp_tool_call without tool_call_id")
        parameters = {} if payload.parameters is None else payload.parameters
        if not payload.tool_name or not isinstance(parameters, dict):
            reply = client.encode(client.McpToolApprovalResult(tool_call_id=payload.tool_call_id, is_approved=False))
            problem = "mcp_tool_call: no name, or parameters that are no object"
            return meaning.Read(self._bad(problem).meanings, (reply,))
        asked = common.ApprovalAsked(
            payload.tool_call_id,
            payload.service_id or "",
            payload.tool_name,
            payload.tool_description or "",
            parameters,
            float(max(0, min(server.number(payload.approval_timeout_secs) or DEFAULT_APPROVAL_S, MOST_APPROVAL_S))),
        )
        return meaning.Read((notice, asked))


# ---------------------------------------------------------------- meanings


def _object_of(parameters: object) -> object:
    """The parameters as an object. Some models send the object as the text of its JSON; missing parameters are an empty
    object."""
    if isinstance(parameters, str):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(parameters)
    return {} if parameters is None else parameters


def _notice(message: server.ServerMessage) -> common.Notice:
    fields = msgspec.to_builtins(message)
    kind = fields.pop("type")
    payload = next(iter(fields.values()), None)
    return common.Notice(kind, payload or {})


def _text_event(message: server.ServerMessage) -> meaning.Meaning | None:
    """The text of the message; None if the message is about something else."""
    number = _number
    match message:
        case server.UserTranscript(user_transcription_event=said):
            return meaning.Transcript(_speakable(said.user_transcript), True, number(said.event_id))
        case server.TentativeUserTranscript(tentative_user_transcription_event=said):
            return meaning.Transcript(_speakable(said.user_transcript), False, number(said.event_id))
        case server.AgentResponseCorrection(agent_response_correction_event=correction):
            return meaning.ResponseCorrection(
                _speakable(correction.original_agent_response),
                _speakable(correction.corrected_agent_response),
                number(correction.event_id),
            )
        case server.AgentChatResponsePart(text_response_part=part):
            # An unknown kind still carries text.
            kind = _PART_KINDS.get(part.type or "", "delta")
            told = part.event_id
            part_id = told[:MOST_ID_CHARS] if isinstance(told, str) else _number(told)
            return meaning.ResponsePart(kind, (part.text or "")[:MOST_TEXT_CHARS], part_id)
        case server.AgentResponseComplete(agent_response_complete_event=complete):
            return meaning.ResponseComplete(number(complete.event_id) if complete else None)
        case _:
            return None


def _agent_tool_response(message: server.ServerMessage, payload: server.AgentToolPayload) -> meaning.Read:
    notice = _notice(message)
    happened = payload.is_error is not True and payload.is_called is not False and payload.is_blocked is not True
    if payload.tool_name == END_CALL and happened:
        return meaning.Read((notice, common.AgentHangsUp()))
    return meaning.Read((notice,))


def _error(message: server.Error | server.ClientError) -> common.AgentError:
    """An error in one of three forms: a payload of either contract, or a flat message."""
    detail = message.error_event or server.ErrorPayload()
    kind = detail.error_type or detail.error_name
    code = server.number(detail.code)
    text = detail.message or message.message or detail.reason or detail.debug_message or ""
    if wrapped := _WRAPPED_CLOSE.fullmatch(text.strip()):
        text = wrapped["text"]
        code = code or int(wrapped["code"])
    return common.AgentError(" ".join(text.split()) or kind or "an error without words", kind, code)
