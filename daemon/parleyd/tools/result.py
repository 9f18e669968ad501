"""The result of a call: always a text, of bounded length, in words that the agent can pass on. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from parleyd.core.faults import Fault as Fault
from parleyd.core.text import bounded, clean

if TYPE_CHECKING:  # `parleyd button` reads the rules of tools, and needs no providers
    from parleyd.agents.commands import Prepared


class ToolError(Exception):
    """A call failed. The text is one sentence without secrets, for the agent and the person."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Result(Struct, frozen=True):
    """fault: None if the call succeeded. picture: for the agent, beside the text."""

    text: str
    fault: Fault | None = None
    picture: Prepared | None = None

    @property
    def is_error(self) -> bool:
        return self.fault is not None


class Shown(Struct, frozen=True):
    """The result of a tool that has a picture for the agent."""

    text: str
    picture: Prepared


def good(value: object, limit_chars: int) -> Result:
    """value: text stays as it is, other values become JSON. An empty text becomes `Done.`: silence invites guesses."""
    if isinstance(value, Shown):
        return Result(value.text, picture=value.picture)
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
