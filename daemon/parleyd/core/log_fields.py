"""The fields of log records, and the level between info and warning.

    log.log(NOTICE, "the line is back", extra=fields(state="live"))

The names are the keys of JSON lines; in the journal they are upper case, behind PARLEYD_. app/log_context.py adds
state, conversation and utterance to every record.
"""

from __future__ import annotations

import logging
from typing import TypedDict, Unpack

# Normal but significant, as in syslog(3): messages that a reader of warnings wants to see, too.
NOTICE = 25
logging.addLevelName(NOTICE, "NOTICE")


class Fields(TypedDict, total=False):
    """docs/logging.md describes the fields; None is left out."""

    state: str
    conversation_id: str | None
    utterance: int
    reason: str
    hint: str | None
    ending: str
    code: int | None
    device: str
    away_s: float
    handshake_ms: int
    latency_ms: int
    audit: str | None
    tool: str | None
    service: str | None
    outcome: str | None
    by: str | None
    uid: int | None
    pid: int | None
    role: str | None


def fields(**values: Unpack[Fields]) -> dict[str, object]:
    """The fields as `extra` of a log call."""
    return {"fields": values}
