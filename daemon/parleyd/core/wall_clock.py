"""Decides whether the wall clock is set. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

# An earlier clock is not set yet, because this program did not exist before: a board without a clock battery starts
# years in the past.
EARLIEST_S = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
