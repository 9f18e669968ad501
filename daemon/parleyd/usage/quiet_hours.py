"""The hours in which speech wakes nobody. Pure.

They follow the local wall clock: on a night in which the clocks change they are an hour shorter or longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from parleyd.config.retention import EVERY_DAY, QuietHours


def quiet_until(hours: Sequence[QuietHours], local: datetime) -> str | None:
    """The end, such as `07:00`, of the quiet hours that contain `local` (local time); None outside of quiet hours."""
    return next((one.to for one in hours if covers(one, local)), None)


def covers(one: QuietHours, local: datetime) -> bool:
    """Whether the period contains `local` (local time). The minute `to` is outside."""
    begin, end, now = time.fromisoformat(one.from_), time.fromisoformat(one.to), local.time()
    today, yesterday = _day(local), _day(local - timedelta(days=1))
    if begin < end:
        return begin <= now < end and today in one.days
    return (now >= begin and today in one.days) or (now < end and yesterday in one.days)


def _day(local: datetime) -> str:
    return EVERY_DAY[local.weekday()]
