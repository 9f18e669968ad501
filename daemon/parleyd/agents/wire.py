"""Messages as JSON, as every provider's server sends them: reading them, telling why one cannot be read, and texts that
can be sent. Pure."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

import msgspec

from parleyd.agents.events import Malformed, Unknown

M = TypeVar("M")

# The errors of reading a message: not JSON or not of these types, not UTF-8, nested too deeply.
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
# The longest quotation of a server's text.
MOST_QUOTED_CHARS = 80


class _Typed(msgspec.Struct):
    type: str


class Messages(Generic[M]):
    """The messages of a server, which are told apart by their field `type`."""

    types: frozenset[str]
    """The types that are known."""

    def __init__(self, union: Any) -> None:
        """union: of the structs of all messages, each with its type as its tag."""
        self.types = frozenset(str(message.__struct_config__.tag) for message in get_args(union))
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(union)
        self._type_decoder = msgspec.json.Decoder(_Typed)

    def decode(self, message: str | bytes) -> M:
        """Raises one of UNREADABLE, also for a type that is not known."""
        return self._decoder.decode(message)

    def not_read(self, message: str | bytes, problem: Exception) -> Unknown | Malformed:
        """The event of a message that decode() has refused with this problem."""
        try:
            kind = self._type_decoder.decode(message).type
        except UNREADABLE as worse:
            return Malformed(_why(worse))
        return Malformed(f"{kind}: {_why(problem)}") if kind in self.types else Unknown(kind[:MOST_QUOTED_CHARS])


def _why(problem: Exception) -> str:
    """The reason as one line that contains no part of the message."""
    if isinstance(problem, RecursionError):
        return "nested too deeply"
    if isinstance(problem, UnicodeError):
        return "not UTF-8"
    if str(problem).startswith("Invalid value"):
        return "two types in one message"  # an unknown one before a known one; msgspec repeats it
    return str(problem)[: 2 * MOST_QUOTED_CHARS]


def sendable(text: str) -> str:
    """Replaces unpaired surrogates (from arguments or file names), which UTF-8 cannot represent, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
