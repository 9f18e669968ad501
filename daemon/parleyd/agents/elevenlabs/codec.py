"""One session with an ElevenLabs agent: its messages become events, and commands become messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parleyd.agents import events as common
from parleyd.agents.commands import (
    Approve,
    Busy,
    Command,
    Cut,
    EndOfTurn,
    KeepAlive,
    Know,
    Offer,
    Prepared,
    Rate,
    Say,
    SkipGreeting,
    SpeakNow,
    ToolDone,
)
from parleyd.agents.elevenlabs import client_messages as client
from parleyd.agents.elevenlabs.answers import Answers
from parleyd.agents.elevenlabs.meaning import Meaning
from parleyd.agents.elevenlabs.opening import opening
from parleyd.agents.elevenlabs.reader import Reader
from parleyd.agents.history import prose
from parleyd.agents.provider import Received, SessionWish
from parleyd.agents.wire import sendable
from parleyd.config.schema import ElevenLabs, Scalar
from parleyd.core.faults import Fault

# No message but the person's makes an agent of theirs speak. The words are such that it takes them neither for the
# person's nor for a reason to change the language.
OF_THE_DEVICE = "(This is a message of the device, not of the person. {instructions})"

# The server's words for the reasons of a failed call; the rest are errors of this client.
_ERROR_TYPES: dict[Fault, client.ToolErrorType] = {
    Fault.TIMEOUT: "client_timeout",
    Fault.CANCELLED: "user_rejected",
    Fault.DENIED: "user_rejected",
    Fault.SERVER: "external_server",
    Fault.NOT_AUTHORISED: "customer_auth",
}


class ElevenLabsCodec:
    """Implements agents.provider.Codec."""

    def __init__(
        self,
        config: ElevenLabs,
        wish: SessionWish,
        variables: Mapping[str, Scalar] | None = None,
        *,
        asks_for_text: bool | None = None,
        user_id: str | None = None,
    ) -> None:
        """variables: the values of the dynamic variables in this session. asks_for_text: the agent is asked for writing
        alone; None: if the wish is that. user_id: the name of this device; None: none is sent.

        Raises TypeError or UnicodeEncodeError like opening()."""
        self._wish = wish
        self._reader = Reader()
        self._answers = Answers(greets=wish.greet, by_text=wish.text_only)
        self._opening = opening(
            config,
            suppress_greeting=not wish.greet,
            text_only=wish.text_only if asks_for_text is None else asks_for_text,
            variables=variables or {},
            user_id=user_id,
        )

    @property
    def malformed(self) -> int:
        """Messages, or parts of them, that could not be used."""
        return self._reader.malformed

    @property
    def unknown(self) -> int:
        """Messages of unknown types."""
        return self._reader.unknown

    @property
    def refused_calls(self) -> int:
        """Calls of tools that were answered with an error because of their form."""
        return self._reader.refused_calls

    def opening(self) -> Sequence[bytes]:
        return (self._opening,)

    # ------------------------------------------------------------ receiving

    def receive(self, message: str | bytes, now_s: float) -> Received:
        read = self._reader.receive(message)
        return Received(self.events_of(read.meanings, now_s), (*read.replies, *self._after(read.meanings)))

    def events_of(self, meanings: Sequence[Meaning], now_s: float) -> list[common.AgentEvent]:
        """The common events of what a message means."""
        return [event for meaning in meanings for event in self._answers.step(meaning, now_s)]

    def _after(self, meanings: Sequence[Meaning]) -> list[bytes]:
        """At the beginning the agent is told the conversation so far."""
        is_ready = any(isinstance(meaning, common.Ready) for meaning in meanings)
        return [_context(prose(self._wish.history))] if is_ready and self._wish.history else []

    # ------------------------------------------------------------ sending

    def audio(self, data: bytes) -> bytes:
        return client.encode(client.UserAudioChunk(data))

    def send(self, command: Command, now_s: float) -> Sequence[bytes]:
        match command:
            case Say(text=text, attachments=attachments):
                message = _with_files(text, attachments) if attachments else client.UserMessage(text=sendable(text))
                return (client.encode(message),)
            case Know(text=text, key=key):
                return (_context(text, key),)
            case SpeakNow(instructions=instructions):
                said = OF_THE_DEVICE.format(instructions=instructions)
                return (client.encode(client.UserMessage(text=sendable(said))),)
            case ToolDone(attachments=attachments):
                # The result of a call has no place for a picture, so it goes first: the answer is then to both.
                shown = [client.encode(_with_files("", attachments))] if attachments else []
                return (*shown, client.encode(_result(command)))
            case Approve(call_id=call_id, is_allowed=is_allowed):
                return (client.encode(client.McpToolApprovalResult(tool_call_id=call_id, is_approved=is_allowed)),)
            case Rate(answer=answer, score=score):
                event_id = self._answers.rating_id(answer)
                return () if event_id is None else (client.encode(client.Feedback(event_id=event_id, score=score)),)
            case Busy():
                return (client.encode(client.UserActivity()),)
            case Cut(by=by):
                # The server knows nothing of what was heard. After its own interruption it sends nothing stale.
                if by == "local":
                    self._answers.cut(now_s)
                return ()
            case SkipGreeting():
                self._answers.skip_greeting(now_s)
                return ()
            case Offer() | EndOfTurn() | KeepAlive():
                # The tools are declared on the platform.
                return ()


def _context(text: str, context_id: str | None = None) -> bytes:
    return client.encode(client.ContextualUpdate(text=sendable(text), context_id=context_id))


def _result(done: ToolDone) -> client.ClientToolResult:
    fault = done.fault
    return client.ClientToolResult(
        tool_call_id=done.call_id,
        result=sendable(done.text),
        is_error=fault is not None,
        error_type=None if fault is None else _ERROR_TYPES.get(fault, "external_client"),
    )


def _with_files(text: str, attachments: Sequence[Prepared]) -> client.MultimodalMessage:
    """attachments: uploaded into this conversation before."""
    files = [client.FileInput(file_id=attachment.reference) for attachment in attachments]
    return client.MultimodalMessage(
        text=client.UserMessage(text=sendable(text)) if text else None, files=files, file=files[0]
    )
