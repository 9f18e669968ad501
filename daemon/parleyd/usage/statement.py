"""The use of sessions day by day, with what is left of the budgets. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict

from parleyd.config.retention import Budget
from parleyd.usage.allowance import budget_uses
from parleyd.usage.ledger import Amount, Book


class Spent(TypedDict):
    """minutes: with a session. money: at the prices of the moment at which it arose. tokens: of all kinds together."""

    minutes: float
    money: float
    tokens: int


class DaySpent(Spent):
    day: str


class Left(TypedDict):
    """The rest of one budget. unit: minutes or money; period: day or month; size: the whole budget."""

    period: str
    unit: str
    left: float
    size: float


class Statement(TypedDict):
    """days: the newest first, today included, days without use too; as many as were asked for. has_price: something of
    the use could be counted in money."""

    day: str
    month: str
    currency: str
    has_price: bool
    today: Spent
    yesterday: Spent
    this_month: Spent
    days: list[DaySpent]
    left: list[Left]


def statement(book: Book, budget: Budget, local: datetime, days: int) -> Statement:
    """local: the present time here. days: how many of them are listed."""
    today, month = book.used(local.date())
    names = [(local.date() - timedelta(days=back)).isoformat() for back in range(days)]
    yesterday = book.days.get((local.date() - timedelta(days=1)).isoformat(), Amount())
    listed = [
        DaySpent(day=name, **_spent(today if back == 0 else book.days.get(name, Amount())))
        for back, name in enumerate(names)
    ]
    # This month has today's; on the first of a month nothing of yesterday's.
    has_money = month.money > 0 or yesterday.money > 0 or any(day["money"] > 0 for day in listed)
    return Statement(
        day=local.date().isoformat(),
        month=local.date().isoformat()[:7],
        currency=budget.currency,
        has_price=budget.minute_price > 0 or has_money,
        today=_spent(today),
        yesterday=_spent(yesterday),
        this_month=_spent(month),
        days=listed,
        left=[
            Left(
                period=use.period,
                unit=use.unit,
                left=round(use.left / 60, 1) if use.unit == "minutes" else round(use.left, 4),
                size=round(use.of / 60, 1) if use.unit == "minutes" else use.of,
            )
            for use in budget_uses(budget, today, month, local)
        ],
    )


def _spent(amount: Amount) -> Spent:
    return Spent(
        minutes=round(amount.session_s / 60, 2),
        money=round(amount.money, 4),
        tokens=round(sum(amount.tokens.values())),
    )
