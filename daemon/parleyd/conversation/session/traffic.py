"""Counts what sessions cost on the line."""

from __future__ import annotations

from msgspec import Struct


class Traffic(Struct):
    """Bytes in WebSocket messages, of all sessions. Each number is written by one thread at a time."""

    sent_bytes: int = 0
    received_bytes: int = 0
