"""Why a session is over, or why none came about. Pure."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

# How a session is closed that has come to its end (RFC 6455, 7.4.1).
NORMAL_CLOSURE = 1000


class EndingKind(Enum):
    """user: we hung up. agent: it hung up properly. retry: worth another try. final: not before something changes."""

    USER = "user"
    AGENT = "agent"
    RETRY = "retry"
    FINAL = "final"


class Ending(Struct, frozen=True):
    """Why a session is over, or why none came about.

    reason: one line for a person, no secrets. hint: what to do about it, for FINAL always.
    greeting_refused: the agent does not let this side ask it to be silent at first; without that wish it would begin.
    time_is_up: the session had reached the agent's longest duration; nobody wanted it to end.
    without_credit: the account has none left.
    """

    kind: EndingKind
    reason: str
    hint: str | None = None
    code: int | None = None
    greeting_refused: bool = False
    time_is_up: bool = False
    without_credit: bool = False


class DialError(Exception):
    """No session came about; says how that is to be judged."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending
