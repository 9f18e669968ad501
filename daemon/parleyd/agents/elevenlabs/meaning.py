"""The meaning of ElevenLabs' messages, in the provider's own terms: numbers as ids, and no answers yet. Pure.

answers.py makes the common events of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from parleyd.agents import events as common
from parleyd.core.veiled import Veiled


class Audio(Veiled, frozen=True):
    """A piece of the agent's voice, in the session's output format. event_id grows; see Interruption."""

    hidden = ("data",)

    event_id: int
    data: bytes


class Interruption(Struct, frozen=True):
    """The server noticed that the person interrupts; audio older than event_id is void."""

    event_id: int


class Transcript(Struct, frozen=True):
    """The person's words."""

    text: str
    final: bool
    event_id: int | None = None


class Response(Struct, frozen=True):
    """The whole text of the agent's turn; comes with its first audio, not at its end."""

    text: str
    event_id: int | None = None


class ResponsePart(Struct, frozen=True):
    """A streamed piece of the agent's text."""

    kind: Literal["start", "delta", "stop"]
    text: str
    event_id: int | str | None = None


class ResponseCorrection(Struct, frozen=True):
    """The words of the agent's turn that were really said, after an interruption."""

    original: str
    corrected: str
    event_id: int | None = None


class ResponseComplete(Struct, frozen=True):
    """The agent's turn is complete."""

    event_id: int | None = None


Meaning = (
    Audio
    | Interruption
    | Transcript
    | Response
    | ResponsePart
    | ResponseCorrection
    | ResponseComplete
    | common.Ready
    | common.ToolCall
    | common.ApprovalAsked
    | common.AgentError
    | common.AgentHangsUp
    | common.Notice
    | common.Unknown
    | common.Malformed
)


class Read(Struct, frozen=True):
    """The meaning of one message, and the messages to be sent back at once."""

    meanings: Sequence[Meaning]
    replies: Sequence[bytes] = ()
