"""What is told of a budget, and when."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from parleyd.config.retention import Budget
from parleyd.config.schema import Config, ElevenLabs
from parleyd.core import events
from parleyd.usage.ledger import Amount
from parleyd.usage.limits import UsageLimits
from parleyd.usage.meter import UsageMeter
from parleyd.usage.store import FILE_NAME, Store

# Where this machine is.
NOON_S = datetime(2026, 11, 21, 12).timestamp()


def config(minutes: float) -> Config:
    return Config(elevenlabs=ElevenLabs(agent_id="a"), budget=Budget(minutes_per_day=minutes))


def test_a_budget_that_was_raised_is_told_at_its_own_four_fifths(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"days": {"2026-11-21": {"session_s": 540}}}')
    told: list[events.Event] = []
    bus = events.Bus()
    bus.subscribe(told.append)
    meter = UsageMeter(Store(tmp_path), Amount, wall=lambda: NOON_S)
    usage_limits = UsageLimits(config(10), meter, bus)
    for minutes, near in ((10, 1), (10, 1), (20, 1), (11, 2)):
        usage_limits.reconfigure(config(minutes))
        assert usage_limits.watch() is None
        assert len(told) == near, minutes
