from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.config.retention import Budget, QuietHours
from parleyd.usage.allowance import NEAR, budget_uses, quiet, spent
from parleyd.usage.ledger import Amount

NIGHT = QuietHours(from_="22:00", to="07:00")
SUNDAY_NAP = QuietHours(from_="13:00", to="15:00", days=["sun"])
FRIDAY_NIGHT = QuietHours(from_="23:30", to="01:00", days=["fri"])


@pytest.mark.parametrize(
    ("hours", "now", "is_quiet"),
    [
        (NIGHT, "2026-11-21T21:59", False),
        (NIGHT, "2026-11-21T22:00", True),
        (NIGHT, "2026-11-22T00:00", True),
        (NIGHT, "2026-11-22T06:59", True),
        (NIGHT, "2026-11-22T07:00", False),
        (SUNDAY_NAP, "2026-11-22T14:00", True),
        (SUNDAY_NAP, "2026-11-21T14:00", False),
        (FRIDAY_NIGHT, "2026-11-20T23:40", True),
        (FRIDAY_NIGHT, "2026-11-21T00:40", True),  # Saturday, but the night began on Friday
        (FRIDAY_NIGHT, "2026-11-20T00:40", False),
        (FRIDAY_NIGHT, "2026-11-21T23:40", False),
    ],
)
def test_quiet_hours(hours: QuietHours, now: str, is_quiet: bool) -> None:
    refusal = quiet([hours], datetime.fromisoformat(now))
    assert (refusal is not None) is is_quiet


# Of a year that is over: its rules do not change any more.
@pytest.mark.parametrize(("day", "quiet_h"), [("2025-03-29", 8), ("2025-10-25", 10), ("2025-11-22", 9)])
def test_quiet_hours_follow_the_clock_on_the_wall_when_it_changes(day: str, quiet_h: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    noon_s = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone).timestamp()
    minutes = [datetime.fromtimestamp(noon_s + 60 * n, zone) for n in range(24 * 60)]
    assert sum(quiet([NIGHT], local) is not None for local in minutes) == quiet_h * 60


@given(st.times(), st.times(), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_on_every_day_a_stretch_and_its_complement_are_the_whole_day(begin: object, end: object, now: datetime) -> None:
    a, b = f"{begin:%H:%M}", f"{end:%H:%M}"
    if a != b:
        both = [quiet([QuietHours(from_=x, to=y)], now) is not None for x, y in ((a, b), (b, a))]
        assert sorted(both) == [False, True]


NOW = datetime.fromisoformat("2026-11-21T12:00")


def budgets(used_day_min: float, used_month_min: float, **config: float) -> list[tuple[bool, int]]:
    found = budget_uses(
        Budget(**config),  # type: ignore[arg-type]
        Amount(used_day_min * 60),
        Amount(used_month_min * 60),
        NOW,
    )
    return [(use.is_near, round(use.left)) for use in found]


def test_budgets_near_and_spent() -> None:
    assert budgets(1e6, 1e6) == []
    assert budgets(7.9, 100, minutes_per_day=10) == [(False, 126)]
    assert budgets(8, 100, minutes_per_day=10, minutes_per_month=100) == [(True, 120), (True, 0)]
    both = budget_uses(Budget(minutes_per_day=10, minutes_per_month=100), Amount(601.0), Amount(6001.0), NOW)
    refusal = spent(both)
    assert refusal is not None
    assert "100 minutes per month" in refusal.text
    assert "next month" in refusal.hint
    assert spent(budget_uses(Budget(minutes_per_day=10), Amount(599.9), Amount(), NOW)) is None


def test_a_new_day_is_another_refusal() -> None:
    tomorrow = NOW + timedelta(days=1)
    one, two = (spent(budget_uses(Budget(minutes_per_day=1), Amount(60.0), Amount(), day)) for day in (NOW, tomorrow))
    assert one is not None
    assert two is not None
    assert one.until != two.until


def test_how_far_a_budget_is_from_its_warning() -> None:
    use = budget_uses(Budget(minutes_per_day=10), Amount(session_s=60.0), Amount(), datetime(2026, 11, 21))[0]
    assert (use.is_near, use.left, use.to_near) == (False, 540.0, NEAR * 600 - 60)
