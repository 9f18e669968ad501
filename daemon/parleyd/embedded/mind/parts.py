"""The interface of a mind. All that a conversation knows of it: no formats of models or of sound pass through here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from parleyd.embedded.opening import Opening
from parleyd.embedded.replies import ReceivedFile
from parleyd.embedded.settings import ToolSpec


@dataclass(frozen=True, slots=True)
class Turn:
    """The words and the files of the person. text: the words, spoken or typed. files: those shown with them; None: one
    that was never received."""

    text: str
    files: Sequence[ReceivedFile | None] = ()


@dataclass(frozen=True, slots=True)
class Say:
    """Words to be spoken. is_whole: they are the whole answer, up to the next call; otherwise more may follow."""

    text: str
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A tool of the client. The mind gets a Result for it."""

    tool: ToolSpec


@dataclass(frozen=True, slots=True)
class HangUp:
    """The conversation ends after what was said."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a call."""

    text: str
    is_error: bool


Part = Say | Call | HangUp


class Mind(Protocol):
    """The mind of one conversation; used on the server's loop only. It may be told things before begins()."""

    def begins(self, opening: Opening) -> None:
        """The prompt of the conversation is known. The parts of an answer are asked for after this."""

    def answer(self, turn: Turn) -> AsyncGenerator[Part, Result | None]:
        """Remembers the turn at once, and returns the parts of the answer, in order. The result of a call is sent into
        the generator. Closing the generator cancels the work."""

    def guess(self, turn: Turn) -> None:
        """The person will probably have said this: the answer may be begun. Replaces an earlier guess."""

    def drop_guess(self) -> None:
        """The person goes on, or is gone: nothing of the guess is wanted."""

    def greeted(self, text: str) -> None:
        """The agent has said this of its own accord, as the first message."""

    def heard(self, text: str) -> None:
        """The person interrupted: this is all that was heard of the last answer."""

    def note(self, text: str, context_id: str | None) -> None:
        """Something to know and not to answer; a newer note with the same id replaces the older one."""


async def next_part(parts: AsyncGenerator[Part, Result | None], result: Result | None = None) -> Part | None:
    """The next part; None after the last one. result: of the call that was the last part."""
    try:
        return await parts.asend(result)
    except StopAsyncIteration:
        return None
