"""Why a call of a tool failed. Pure."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """Why a call failed; the value is the word for it in the audit log. Each provider has words of its own for them."""

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
