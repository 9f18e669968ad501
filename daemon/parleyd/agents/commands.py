"""The commands that an agent is given, as values: the codec of the session makes messages of them. Pure.

A command is given at the moment at which it is true. The codec may answer it with several messages, with none (the
provider knows no such thing), or with none yet: it keeps the command until a later message of the server makes it
possible, and sends it among the replies to that message (Codec.receive).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from parleyd.core.faults import Fault
from parleyd.core.veiled import Veiled


class Prepared(Veiled, frozen=True):
    """A file that Agent.prepare() has made ready for the command Say.

    reference: the provider's own name for a file that was uploaded; data: the content of a file that goes into the
    message itself. A provider uses one of the two.
    """

    hidden = ("data",)

    name: str
    media_type: str
    reference: str = ""
    data: bytes = b""
    size_bytes: int = 0


class ToolSpec(Struct, frozen=True):
    """A tool of this device, for an agent that learns of it in the session.

    parameters: a JSON Schema of an object. timeout_s: the longest time until the result, with a person's permission.
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    timeout_s: float


class Say(Struct, frozen=True):
    """The person has typed this; the agent shall answer it. The answer that is being given is over.

    If the server does not break off its answer by itself (Capabilities.text_interrupts), the daemon sends a Cut before.
    text: may be empty if there are attachments.
    """

    text: str
    attachments: tuple[Prepared, ...] = ()


class Know(Struct, frozen=True):
    """Something that the agent should know, and not answer. A newer text with the same key replaces the older one,
    where Capabilities.context says that this can be had."""

    text: str
    key: str | None = None


class SpeakNow(Struct, frozen=True):
    """The agent shall speak now, although nobody has said anything. instructions: what about, as one or two sentences
    to the agent; empty: it shall answer what was said last, or greet.

    is_greeting: its first message in a session, from an agent that does not speak first of its own accord.
    """

    instructions: str = ""
    is_greeting: bool = False


class HeardOf(Struct, frozen=True):
    """The part of an answer that was heard: the first heard_ms of the total_ms of sound that had come of it so far.

    Both are 0 if no sound of it had come.
    """

    answer: str
    heard_ms: int
    total_ms: int


class Cut(Struct, frozen=True):
    """The speaker has fallen silent.

    heard: every answer of this session of which sound waited to be heard, or which had begun and not ended, in the
    order in which they began. An answer that was heard to its end is not among them.
    by: the server, with Interrupted, or this side: then the server may still be speaking, and the sound that still
    comes of these answers is void.
    """

    heard: tuple[HeardOf, ...]
    by: Literal["server", "local"]


class SkipGreeting(Struct, frozen=True):
    """The agent greets although this side did not want it to; the greeting is not to be heard. Right after Ready, and
    only to agents that speak first."""


class ToolDone(Struct, frozen=True):
    """The result of a ToolCall. text: for the agent, never empty. fault: None where all went well. attachments: what
    the tool shows to the agent, beside the text."""

    call_id: str
    text: str
    fault: Fault | None = None
    attachments: tuple[Prepared, ...] = ()


class Offer(Struct, frozen=True):
    """The tools of this device have changed: these are all of them. For agents whose capability is `tools: session`."""

    tools: tuple[ToolSpec, ...]


class Approve(Struct, frozen=True):
    """The answer to ApprovalAsked."""

    call_id: str
    is_allowed: bool


class Rate(Struct, frozen=True):
    """The person's opinion of an answer; None takes it back."""

    answer: str
    score: Literal["like", "dislike"] | None


class Busy(Struct, frozen=True):
    """The person is busy with the device: the agent shall not speak into the pause."""


class EndOfTurn(Struct, frozen=True):
    """The person has finished speaking: the gate has closed, and all sound of the turn has been sent. Only if the
    capabilities or the wish say `manual_turns`."""


class KeepAlive(Struct, frozen=True):
    """Nothing has been sent for Capabilities.keep_alive_s seconds."""


Command = Say | Know | SpeakNow | Cut | SkipGreeting | ToolDone | Offer | Approve | Rate | Busy | EndOfTurn | KeepAlive
Commands = Sequence[Command]
