"""The consequences of events in the conversation: for the session, the speaker, the tools and the bus. Pure.

conversation.py decides on them, dialogue.py carries them out.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from parleyd.agents import commands as to_agent
from parleyd.agents.events import ApprovalAsked, ToolCall
from parleyd.audio.pcm import AudioFormat
from parleyd.conversation.dialogue.answers import Answer
from parleyd.core import events
from parleyd.core.log_fields import Fields
from parleyd.core.veiled import Veiled

# ---------------------------------------------------------------- to the session


class Channel(Protocol):
    """One session, as a way to tell the agent something; also the name of the session. See session.Session."""

    def send(self, command: to_agent.Command) -> None: ...


class Send(Struct, frozen=True):
    """A command for the agent, in this session and in no other."""

    session: Channel
    command: to_agent.Command


class Transcribed(Struct, frozen=True):
    """The agent has made words of the sound that was sent: see Uplink.transcribed."""

    at_s: float


class Taken(Struct, frozen=True):
    """The agent has all speech up to this position in the sound that was sent: see Uplink.taken."""

    until_ms: int


class Answered(Struct, frozen=True):
    """The agent answers: see Uplink.answered."""

    at_s: float
    has_transcripts: bool


# ---------------------------------------------------------------- to the speaker


class SetFormat(Struct, frozen=True):
    """The sound that is played from now on comes in this format."""

    fmt: AudioFormat


class Play(Veiled, frozen=True):
    """A stretch of an answer, to be heard after all that was played before."""

    hidden = ("data",)

    answer: int
    data: bytes


class EndAnswer(Struct, frozen=True):
    """No more of this answer will come."""

    answer: int


class Cut(Struct, frozen=True):
    """Throw away all sound that waits to be heard, and tell the agent what was heard.

    session: None while sound of an earlier one was still playing, if no session is open, or the open one says nothing.
    answers: those of the session that this ends.
    """

    by: Literal["server", "local"]
    at_s: float
    session: Channel | None
    answers: tuple[Answer, ...]


class Duck(Struct, frozen=True):
    on: bool


# ---------------------------------------------------------------- to the tools


class UseTool(Struct, frozen=True):
    """The result goes to Conversation.tool_worked, with this session and this key."""

    session: Channel
    call: ToolCall
    key: str


class AskApproval(Struct, frozen=True):
    """The answer goes to Conversation.approval_given, with this session and this key."""

    session: Channel
    asked: ApprovalAsked
    key: str


class CancelTools(Struct, frozen=True):
    """The agent waits for these calls no longer: they are stopped, without a result."""

    call_ids: tuple[str, ...]


class PersonSpeaks(Struct, frozen=True):
    """Tools that are declared so are stopped."""


class SessionOver(Struct, frozen=True):
    """Nobody waits for tools that still work."""


# ---------------------------------------------------------------- to whoever watches


class Publish(Struct, frozen=True):
    event: events.Event


class Log(Struct, frozen=True):
    level: int
    text: str
    fields: Fields


Command = (
    Send
    | Transcribed
    | Taken
    | Answered
    | SetFormat
    | Play
    | EndAnswer
    | Cut
    | Duck
    | UseTool
    | AskApproval
    | CancelTools
    | PersonSpeaks
    | SessionOver
    | Publish
    | Log
)
