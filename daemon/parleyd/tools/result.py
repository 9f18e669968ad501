"""The result of a call: always a text, of bounded length, in words that the agent can pass on. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from parleyd.core.text import bounded, clean

if TYPE_CHECKING:
    # It brings numpy along, which nothing that only reads a configuration needs.
    from parleyd.agents.agent import ToolErrorType


class Fault(Enum):
    """Why a call failed; the value is the word in the audit log."""

    UNKNOWN_TOOL = "unknown tool"
    BAD_PARAMETERS = "bad parameters"
    BUSY = "busy"
    TOO_MANY = "too many calls"
    DENIED = "denied"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    FAILED = "failed"
    SERVER = "server"
    NOT_AUTHORISED = "not authorised"


_TYPES: dict[Fault, ToolErrorType] = {
    Fault.TIMEOUT: "client_timeout",
    Fault.CANCELLED: "user_rejected",
    Fault.DENIED: "user_rejected",
    Fault.SERVER: "external_server",
    Fault.NOT_AUTHORISED: "customer_auth",
}


class ToolError(Exception):
    """A call failed. The text is one sentence without secrets, for the agent and the person."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Result:
    """fault: None if the call succeeded."""

    text: str
    fault: Fault | None = None

    @property
    def is_error(self) -> bool:
        return self.fault is not None

    @property
    def error_type(self) -> ToolErrorType | None:
        return None if self.fault is None else _TYPES.get(self.fault, "external_client")


def good(value: object, limit_chars: int) -> Result:
    """value: text stays as it is, other values become JSON. An empty text becomes `Done.`: silence invites guesses."""
    text = value if isinstance(value, str) else as_json(value)
    return Result(bounded(clean(text).strip(), limit_chars) or "Done.")


# The next step for the agent. Only a call that cannot succeed by a correction or a later try is given up.
_AFTER = {
    Fault.BAD_PARAMETERS: "Nothing was done. Correct that and call it again; ask the person for what you do not know.",
    Fault.BUSY: "Nothing was done.",
    Fault.TOO_MANY: "Nothing was done.",
    Fault.DENIED: "Nothing was done. Do not claim that it was.",
}
_GIVEN_UP = "Tell the person that this did not work; do not claim that it was done."


def failed(error: ToolError) -> Result:
    return Result(f"{error} {_AFTER.get(error.fault, _GIVEN_UP)}", error.fault)


def as_json(value: object) -> str:
    """Raises ToolError for values that JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise ToolError(Fault.FAILED, "The tool returned something that is neither text nor JSON.") from None
