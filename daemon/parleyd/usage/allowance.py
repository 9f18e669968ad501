"""Decides whether a session is allowed now, by budget and quiet hours. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from parleyd.config.retention import Budget, QuietHours
from parleyd.usage.ledger import Amount
from parleyd.usage.quiet_hours import quiet_until

# The used share of a budget at which the user is told.
NEAR = 0.8
# The limit on sessions that the device opens because a timer has gone off, for an agent can set any number of timers.
MOST_BY_DEVICE, WITHIN_S = 4, 3600.0


class Refusal(Struct, frozen=True):
    """Why there is no session. until: when that changes; also the key by which the same refusal is reported only
    once."""

    cause: Literal["budget", "quiet hours", "device"]
    text: str
    hint: str
    until: str


class BudgetUse(Struct, frozen=True):
    """One budget with its present use. period: `day` or `month`; name: which one, 2026-11-21 or 2026-11.

    unit: `minutes`, where used and of are seconds, or `money`, in `currency`.
    """

    period: Literal["day", "month"]
    name: str
    used: float
    of: float
    unit: Literal["minutes", "money"] = "minutes"
    currency: str = ""

    @property
    def key(self) -> str:
        """The configuration key of the budget."""
        return f"budget.{self.unit}_per_{self.period}"

    @property
    def left(self) -> float:
        return max(0.0, self.of - self.used)

    @property
    def is_near(self) -> bool:
        return self.used >= NEAR * self.of

    @property
    def to_near(self) -> float:
        return max(0.0, NEAR * self.of - self.used)

    @property
    def size(self) -> str:
        """The whole budget in words."""
        return f"{round(self.of / 60, 2):g} minutes" if self.unit == "minutes" else f"{self.of:g} {self.currency}"


def budget_uses(budget: Budget, today: Amount, month: Amount, local: datetime) -> list[BudgetUse]:
    """The configured budgets, with their use."""
    date = local.date().isoformat()
    found: list[BudgetUse] = []
    if budget.minutes_per_day is not None:
        found.append(BudgetUse("day", date, today.session_s, budget.minutes_per_day * 60))
    if budget.minutes_per_month is not None:
        found.append(BudgetUse("month", date[:7], month.session_s, budget.minutes_per_month * 60))
    if budget.money_per_day is not None:
        found.append(BudgetUse("day", date, today.money, budget.money_per_day, "money", budget.currency))
    if budget.money_per_month is not None:
        found.append(BudgetUse("month", date[:7], month.money, budget.money_per_month, "money", budget.currency))
    return found


def spent(budget_uses: Sequence[BudgetUse]) -> Refusal | None:
    """The spent budgets, the one with the longest wait first."""
    for use in sorted(budget_uses, key=lambda use: use.period, reverse=True):
        if use.left <= 0:
            when = "tomorrow" if use.period == "day" else "the first of next month"
            return Refusal(
                "budget",
                f"the budget of {use.size} per {use.period} is spent",
                f"wait until {when}, or raise {use.key}",
                f"{use.period} {use.name} {use.unit}",
            )
    return None


def quiet(hours: Sequence[QuietHours], local: datetime) -> Refusal | None:
    until = quiet_until(hours, local)
    if until is None:
        return None
    text, hint = f"these are quiet hours until {until}", "wake by command if need be, or change quiet_hours"
    return Refusal("quiet hours", text, hint, f"{local.date().isoformat()} {until}")


class ByDevice:
    """Counts the sessions that the device opens of its own accord. Times are monotonic."""

    def __init__(self) -> None:
        self._opened_s: deque[float] = deque(maxlen=MOST_BY_DEVICE)

    def opens(self, now_s: float) -> None:
        self._opened_s.append(now_s)

    def refusal(self, now_s: float) -> Refusal | None:
        if len(self._opened_s) < MOST_BY_DEVICE or now_s - self._opened_s[0] >= WITHIN_S:
            return None
        return Refusal(
            "device",
            f"timers have opened {MOST_BY_DEVICE} sessions within the hour",
            "the timer has rung; the agent hears of it in the next session that somebody opens",
            f"device {self._opened_s[0]}",
        )
