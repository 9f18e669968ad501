"""Whether the wall clock can be believed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

# Before this moment there was no such program, so an earlier clock has not been set yet: a board without a battery
# wakes up years ago.
EARLIEST_S = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
