"""What follows from what happens in the conversation: for the session, the speaker, the tools and the bus. Pure.

conversation.py decides on them, dialogue.py carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parleyd.agents.agent import ApprovalAsked, ToolCall
from parleyd.audio.pcm import AudioFormat
from parleyd.core import events
from parleyd.core.log_fields import Fields

# ---------------------------------------------------------------- to the session


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the agent, in this session and in no other."""

    session: object
    message: bytes


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The agent has made words of what was sent: see Uplink.transcribed."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent answers: see Uplink.answered."""

    at_s: float
    has_transcripts: bool


# ---------------------------------------------------------------- to the speaker


@dataclass(frozen=True, slots=True)
class SetFormat:
    """What is played from now on comes in this format."""

    fmt: AudioFormat


@dataclass(frozen=True, slots=True)
class Play:
    """A stretch of an answer, to be heard after all that was played before."""

    answer: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndAnswer:
    """No more of this answer will come."""

    answer: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Throw away all that waits to be heard, and tell what was heard of it."""

    by: Literal["server", "local"]
    at_s: float


@dataclass(frozen=True, slots=True)
class Duck:
    on: bool


# ---------------------------------------------------------------- to the tools


@dataclass(frozen=True, slots=True)
class UseTool:
    """The result goes to Conversation.tool_worked, with this session and this key."""

    session: object
    call: ToolCall
    key: str


@dataclass(frozen=True, slots=True)
class AskApproval:
    """The answer goes to Conversation.approval_given, with this session and this key."""

    session: object
    asked: ApprovalAsked
    key: str


@dataclass(frozen=True, slots=True)
class PersonSpeaks:
    """Tools that are declared so are stopped."""


@dataclass(frozen=True, slots=True)
class SessionOver:
    """Nobody waits for tools that still work."""


# ---------------------------------------------------------------- to whoever watches


@dataclass(frozen=True, slots=True)
class Publish:
    event: events.Event


@dataclass(frozen=True, slots=True)
class Log:
    level: int
    text: str
    fields: Fields


Command = (
    Send
    | Transcribed
    | Answered
    | SetFormat
    | Play
    | EndAnswer
    | Cut
    | Duck
    | UseTool
    | AskApproval
    | PersonSpeaks
    | SessionOver
    | Publish
    | Log
)
