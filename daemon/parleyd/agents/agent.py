"""The interface of every provider: the events of agents, and the messages to them, in common terms.

A provider consists of a codec (pure: bytes in, events and bytes out), an address (may ask a server) and a judgement of
how a session ended. This module is independent of all providers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from parleyd.audio.pcm import AudioFormat
from parleyd.core.endings import Ending
from parleyd.core.errors import UserError

# ---------------------------------------------------------------- what agents do


# The longest text that is kept. Half an hour of speech has a quarter of it, but a message may be a hundred times as
# long.
MAX_TEXT_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class Ready:
    """The session may begin: the formats are known."""

    conversation_id: str
    input_format: AudioFormat
    output_format: AudioFormat


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """A piece of the agent's voice, in the session's output format. event_id grows; see Interruption."""

    event_id: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Interruption:
    """The server noticed that the person interrupts; audio older than event_id is void."""

    event_id: int


@dataclass(frozen=True, slots=True)
class UserTranscript:
    text: str
    final: bool
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """The whole text of the agent's turn; comes with its first audio, not at its end."""

    text: str
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class AgentResponsePart:
    """A streamed piece of the agent's text."""

    kind: Literal["start", "delta", "stop"]
    text: str
    event_id: int | str | None = None


@dataclass(frozen=True, slots=True)
class AgentResponseCorrection:
    """The words of the agent's turn that were really said, after an interruption."""

    original: str
    corrected: str
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class AgentResponseComplete:
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    call_id: str
    parameters: Mapping[str, object]
    expects_response: bool


# The types of a failed call, in the provider's words.
ToolErrorType = Literal[
    "user_rejected", "external_server", "external_client", "customer_auth", "client_timeout", "unknown"
]


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """The agent wants to use a tool elsewhere (MCP), and asks this side for permission. timeout_s: how long it
    waits."""

    call_id: str
    service: str
    name: str
    description: str
    parameters: Mapping[str, object]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class AgentError:
    """The server reports an error; usually a close follows. kind: the provider's machine-readable name.

    hopeless: the session cannot go on, whether or not the server closes it.
    """

    message: str
    kind: str | None = None
    code: int | None = None
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class AgentHangsUp:
    """The agent has decided to end the conversation; the close follows."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Any other message of the protocol, for logs and watchers: its type and its fields."""

    type: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of an unknown type; ignored, but counted."""

    type: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that could not be read; ignored, but counted. why: one line without the content."""

    why: str


AgentEvent = (
    Ready
    | AgentAudio
    | Interruption
    | UserTranscript
    | AgentResponse
    | AgentResponsePart
    | AgentResponseCorrection
    | AgentResponseComplete
    | ToolCall
    | ApprovalAsked
    | AgentError
    | AgentHangsUp
    | Notice
    | Unknown
    | Malformed
)


def within_bounds(event: AgentEvent) -> AgentEvent:
    """The event, with texts of at most MAX_TEXT_CHARS: they wait in queues and stay in histories."""
    match event:
        case UserTranscript(text=text) | AgentResponse(text=text) | AgentResponsePart(text=text):
            return event if len(text) <= MAX_TEXT_CHARS else replace(event, text=text[:MAX_TEXT_CHARS])
        case AgentResponseCorrection(corrected=text) if len(text) > MAX_TEXT_CHARS:
            return replace(event, corrected=text[:MAX_TEXT_CHARS])
        case _:
            return event


# ---------------------------------------------------------------- what a provider is


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file for the agent. media_type: such as image/png. read(n): up to n more bytes; its errors are passed on."""

    name: str
    media_type: str
    size_bytes: int
    read: Callable[[int], bytes] = field(repr=False)


class UploadError(UserError):
    """The file did not reach the agent. hint: what to do about it."""

    hint: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect. The URL and the headers may contain secrets: repr does not show them."""

    url: str = field(repr=False)
    headers: tuple[str, ...] = field(default=(), repr=False)  # "Name: value"


@dataclass(frozen=True, slots=True)
class Received:
    """The meaning of one message: events in order, and messages to be sent back at once (pongs)."""

    events: Sequence[AgentEvent]
    replies: Sequence[bytes] = ()


class Codec(Protocol):
    """One session's messages. Pure; used by one thread for receiving and one for sending. Bytes are UTF-8 JSON.

    malformed, unknown: the numbers of ignored messages. refused_calls: the number of calls of tools that were answered
    with an error because of their form.
    """

    malformed: int
    unknown: int
    refused_calls: int

    def opening(self) -> bytes:
        """The first message of the session; may wait a few seconds for its values."""

    def receive(self, message: str | bytes) -> Received:
        """The meaning of a message. Never raises, whatever the message is."""

    def audio(self, data: bytes) -> bytes:
        """The message with sound. data: in the session's input format."""

    def user_message(self, text: str) -> bytes: ...

    def contextual_update(self, text: str, context_id: str | None = None) -> bytes:
        """A text that the agent should know and not answer. A newer one with the same context_id replaces the older
        one."""

    def user_activity(self) -> bytes:
        """Tells the agent that the person is busy with the device, so that it does not speak into the pause."""

    def feedback(self, event_id: int, score: Literal["like", "dislike"] | None) -> bytes:
        """A rating of an answer. event_id: of an AgentResponse. None takes the rating back."""

    def multimodal_message(self, text: str | None, file_ids: tuple[str, ...] = ()) -> bytes:
        """Like user_message, with files that were uploaded into this conversation before."""

    def tool_result(
        self, call_id: str, result: str, *, is_error: bool, error_type: ToolErrorType | None = None
    ) -> bytes: ...

    def approval(self, call_id: str, *, is_approved: bool) -> bytes:
        """The answer to ApprovalAsked."""


class Agent(Protocol):
    """A provider with its configuration."""

    name: str

    def dial(self, timeout_s: float) -> Address:
        """The address for a new connection; may ask a server for it (blocking). Raises DialError."""

    def codec(self, *, suppress_greeting: bool) -> Codec:
        """A codec for a new session; with suppress_greeting the agent is asked not to speak first."""

    def upload(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> str:
        """Sends a file into a running conversation; blocks. Returns the file's id there. Raises UploadError, and the
        errors of attachment.read. timeout_s: for connecting, for each piece, and for the answer."""

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        """Judges the end of a session. code: the close code; None if the connection was lost without one. error: the
        last error event, if any."""

    def judge_silence(self, waited_s: float) -> Ending:
        """Judges a session that the server does not begin although the connection is open."""

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        """Judges an HTTP error in place of the WebSocket handshake."""
