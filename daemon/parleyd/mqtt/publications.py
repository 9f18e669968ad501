"""The orders of the deciding parts of `parleyd mqtt` to its loop. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Question = Literal["status", "profile", "config", "usage", "put_config"]


@dataclass(frozen=True, slots=True)
class Publish:
    """is_retained: it replaces what was said at this topic before, and may be replaced before it is sent."""

    topic: str
    payload: str
    is_retained: bool = True
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of `parleyd mqtt` itself to the daemon. fields: of the request."""

    what: Question
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Warn:
    """A warning for the log, which is written once while it does not change."""

    text: str
    hint: str


def as_json(said: Mapping[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
