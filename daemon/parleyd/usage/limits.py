"""Tells the supervisor whether a session is allowed, and the bus when a budget is nearly or completely used."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from typing import TypedDict

from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.usage.allowance import BudgetUse, Refusal, budget_uses, quiet, spent
from parleyd.usage.ledger import Amount
from parleyd.usage.meter import UsageMeter
from parleyd.usage.statement import Statement, statement

log = logging.getLogger(__name__)

# How often to check for changes that have no timer: midnight, the end of quiet hours, a clock that jumps.
LOOK_S = 30.0
# How often to look whether money is left.
MONEY_LOOK_S = 2.0


class Usage(TypedDict):
    """The use of today and this month, in local time. left: the duration of the sent sound. stayed_share: the share of
    the captured sound that was not sent. money: in `currency`; tokens: by kind."""

    day: str
    session_minutes_today: float
    session_minutes_month: float
    minutes_left_today: float | None
    minutes_left_month: float | None
    money_today: float
    money_month: float
    money_left_today: float | None
    money_left_month: float | None
    currency: str
    tokens_today: dict[str, int]
    tokens_month: dict[str, int]
    sent_bytes_today: int
    received_bytes_today: int
    heard_s_today: float
    left_s_today: float
    stayed_share_today: float | None
    refused: str | None


class UsageLimits:
    """Thread-safe."""

    def __init__(self, config: Config, meter: UsageMeter, bus: events.Bus) -> None:
        self._budget = config.budget
        self._quiet_hours = config.quiet_hours
        self._has_fallback = config.has_fallback
        self._meter = meter
        self._bus = bus
        self._lock = threading.Lock()
        self._near_told: set[tuple[str, str, float]] = set()
        meter.reprice(config.budget)
        self._refused_told = ""

    def reconfigure(self, config: Config) -> None:
        self._budget = config.budget
        # The minutes so far are counted at the old price.
        self._meter.used()
        self._meter.reprice(config.budget)
        self._quiet_hours = config.quiet_hours
        with self._lock:
            self._refused_told = ""

    @property
    def _has_budget(self) -> bool:
        it = self._budget
        limits = (it.minutes_per_day, it.minutes_per_month, it.money_per_day, it.money_per_month)
        return any(limit is not None for limit in limits)

    def refusal(self, *, of_its_own: bool) -> Refusal | None:
        """Why no session is allowed now; None if one is allowed. of_its_own: the cause is speech, the mode `always` or
        a timer, not a command. With a fallback, which costs nothing, a spent budget is no reason."""
        if self._has_budget and not self._has_fallback and (refusal := spent(self._budget_uses())):
            return refusal
        wall_s = self._meter.wall_s()
        # Without a clock that is set there are no quiet hours.
        is_known = wall_s >= EARLIEST_S
        return quiet(self._quiet_hours, datetime.fromtimestamp(wall_s)) if of_its_own and is_known else None

    def refuse(self, refusal: Refusal, *, of_its_own: bool) -> None:
        """Reports a refusal: for a command each time, otherwise once until it changes."""
        with self._lock:
            if of_its_own and self._refused_told == refusal.until:
                return
            self._refused_told = refusal.until
        about = fields(reason=refusal.text, hint=refusal.hint)
        log.warning("not woken: %s; %s", refusal.text, refusal.hint, extra=about)
        self._bus.publish(
            events.WakeRefused(at_s=time.monotonic(), by=refusal.cause, reason=refusal.text, hint=refusal.hint)
        )

    def watch(self) -> Refusal | None:
        """Call it regularly while a session is live. Returns whether the session must end now."""
        if not self._has_budget:
            return None
        current = self._budget_uses()
        for use in current:
            key = use.key, use.name, use.of
            if use.is_near and key not in self._near_told:
                self._near_told.add(key)
                if use.left > 0:
                    self._tell_near(use)
        return spent(current)

    def next_look_s(self, now_s: float) -> float:
        """When to call watch() next, while a session is live; infinite if there is nothing to watch."""
        if not self._has_budget:
            return float("inf")
        waits_s = [LOOK_S]
        for use in self._budget_uses():
            if use.unit == "money":
                # It comes in leaps, with each answer.
                waits_s.append(MONEY_LOOK_S)
                continue
            waits_s.append(use.left)
            if not use.is_near:
                waits_s.append(use.to_near)
        return now_s + min(waits_s)

    def usage(self) -> Usage:
        today, month, local = self._meter.used()
        uses = budget_uses(self._budget, today, month, local)
        left = {use.period: round(use.left / 60, 1) for use in uses if use.unit == "minutes"}
        money = {use.period: round(use.left, 4) for use in uses if use.unit == "money"}
        refusal = self.refusal(of_its_own=True)
        return Usage(
            day=local.date().isoformat(),
            session_minutes_today=round(today.session_s / 60, 1),
            session_minutes_month=round(month.session_s / 60, 1),
            minutes_left_today=left.get("day"),
            minutes_left_month=left.get("month"),
            money_today=round(today.money, 4),
            money_month=round(month.money, 4),
            money_left_today=money.get("day"),
            money_left_month=money.get("month"),
            currency=self._budget.currency,
            tokens_today=_whole(today),
            tokens_month=_whole(month),
            sent_bytes_today=round(today.sent_bytes),
            received_bytes_today=round(today.received_bytes),
            heard_s_today=round(today.heard_s, 1),
            left_s_today=round(today.left_s, 1),
            stayed_share_today=_stayed(today),
            refused=refusal.text if refusal else None,
        )

    def statement(self, days: int) -> Statement:
        """The use day by day. days: how many of them."""
        book, local = self._meter.book()
        return statement(book, self._budget, local, days)

    def _budget_uses(self) -> list[BudgetUse]:
        return budget_uses(self._budget, *self._meter.used())

    def _tell_near(self, use: BudgetUse) -> None:
        now_s = time.monotonic()
        if use.unit == "minutes":
            log.warning("%.1f of %s of %s are used", use.used / 60, use.size, use.key)
            near = events.BudgetNear(at_s=now_s, period=use.period, left_s=use.left, of_minutes=use.of / 60)
        else:
            log.warning("%.2f of %s of %s are used", use.used, use.size, use.key)
            near = events.BudgetNear(
                at_s=now_s, period=use.period, left_money=use.left, of_money=use.of, currency=use.currency
            )
        self._bus.publish(near)


def _whole(amount: Amount) -> dict[str, int]:
    return {kind: round(count) for kind, count in amount.tokens.items() if round(count)}


def _stayed(today: Amount) -> float | None:
    return round(max(0.0, 1 - today.left_s / today.heard_s), 4) if today.heard_s > 0 else None
