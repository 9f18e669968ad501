"""Reads the Wyoming protocol from bytes, within bounds. Pure.

An event is a line of JSON with `type`, `data`, `data_length` and `payload_length`, then as many bytes of JSON, then as
many of payload (the package wyoming, event.py). The package's own reader waits for any length that a peer names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wyoming.event import Event

MOST_LINE_BYTES = 8 * 1024
MOST_DATA_BYTES = 64 * 1024
# Home Assistant sends 2 KiB at a time.
MOST_PAYLOAD_BYTES = 1024 * 1024


class WireError(Exception):
    """These bytes are not the protocol, or an event is too large. The connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of an event: what follows it."""

    type: str
    fields: dict[str, Any]
    data_bytes: int
    payload_bytes: int


class Reader:
    """feed() takes bytes in pieces of any size, and yields the events that are whole."""

    def __init__(self) -> None:
        self._came = bytearray()
        # The head waits here for its data and payload, which may come in hundreds of pieces.
        self._head: _Head | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Raises WireError, after the events before it."""
        self._came += data
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> Event | None:
        if self._head is None:
            self._head = self._next_head()
        head, came = self._head, self._came
        if head is None or len(came) < head.data_bytes + head.payload_bytes:
            return None
        end = head.data_bytes + head.payload_bytes
        fields = head.fields | _object(came[: head.data_bytes]) if head.data_bytes else head.fields
        payload = bytes(came[head.data_bytes : end])
        del came[:end]
        self._head = None
        return Event(head.type, fields, payload or None)

    def _next_head(self) -> _Head | None:
        end = self._came.find(b"\n", 0, MOST_LINE_BYTES + 1)
        if end < 0:
            if len(self._came) > MOST_LINE_BYTES:
                raise WireError("the head of an event is too long")
            return None
        head = _object(self._came[:end])
        kind, fields = head.get("type"), head.get("data") or {}
        if not isinstance(kind, str) or not isinstance(fields, dict):
            raise WireError("an event has no type, or data that is no object")
        data_bytes = _length(head, "data_length", MOST_DATA_BYTES)
        payload_bytes = _length(head, "payload_length", MOST_PAYLOAD_BYTES)
        del self._came[: end + 1]
        return _Head(kind, fields, data_bytes, payload_bytes)


def encoded(event: Event) -> bytes:
    """The event as it is sent, in ASCII: a text of the peer's may have half a surrogate, which UTF-8 cannot write."""
    data = json.dumps(event.data).encode()
    return json.dumps({"type": event.type, "data_length": len(data)}).encode() + b"\n" + data


def _object(text: bytes | bytearray) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("this is not JSON") from error
    if not isinstance(found, dict):
        raise WireError("this is no JSON object")
    return found


def _length(head: dict[str, Any], name: str, most_bytes: int) -> int:
    length = head.get(name)
    if length is None:
        return 0
    if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= most_bytes:
        raise WireError(f"{name} is not a length of at most {most_bytes} bytes")
    return length
