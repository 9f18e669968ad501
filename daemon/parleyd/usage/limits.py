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

log = logging.getLogger(__name__)

# How often to check for changes that have no timer: midnight, the end of quiet hours, a clock that jumps.
LOOK_S = 30.0


class Usage(TypedDict):
    """The use of today and this month, in local time. left: the duration of the sent sound. stayed_share: the share of
    the captured sound that was not sent."""

    day: str
    session_minutes_today: float
    session_minutes_month: float
    minutes_left_today: float | None
    minutes_left_month: float | None
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
        self._meter = meter
        self._bus = bus
        self._lock = threading.Lock()
        self._near_told: set[tuple[str, str, float]] = set()
        self._refused_told = ""

    def reconfigure(self, config: Config) -> None:
        self._budget = config.budget
        self._quiet_hours = config.quiet_hours
        with self._lock:
            self._refused_told = ""

    @property
    def _has_budget(self) -> bool:
        return self._budget.minutes_per_day is not None or self._budget.minutes_per_month is not None

    def refusal(self, *, of_its_own: bool) -> Refusal | None:
        """Why no session is allowed now; None if one is allowed. of_its_own: the cause is speech or the mode `always`,
        not a command."""
        if self._has_budget and (refusal := spent(self._budget_uses())):
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
            key = use.period, use.name, use.of_s
            if use.is_near and key not in self._near_told:
                self._near_told.add(key)
                if use.left_s > 0:
                    self._tell_near(use)
        return spent(current)

    def next_look_s(self, now_s: float) -> float:
        """When to call watch() next, while a session is live; infinite if there is nothing to watch."""
        if not self._has_budget:
            return float("inf")
        waits_s = [LOOK_S]
        for use in self._budget_uses():
            waits_s.append(use.left_s)
            if not use.is_near:
                waits_s.append(use.to_near_s)
        return now_s + min(waits_s)

    def usage(self) -> Usage:
        today, month, local = self._meter.used()
        left = {use.period: round(use.left_s / 60, 1) for use in budget_uses(self._budget, today, month, local)}
        refusal = self.refusal(of_its_own=True)
        return Usage(
            day=local.date().isoformat(),
            session_minutes_today=round(today.session_s / 60, 1),
            session_minutes_month=round(month.session_s / 60, 1),
            minutes_left_today=left.get("day"),
            minutes_left_month=left.get("month"),
            sent_bytes_today=round(today.sent_bytes),
            received_bytes_today=round(today.received_bytes),
            heard_s_today=round(today.heard_s, 1),
            left_s_today=round(today.left_s, 1),
            stayed_share_today=_stayed(today),
            refused=refusal.text if refusal else None,
        )

    def _budget_uses(self) -> list[BudgetUse]:
        return budget_uses(self._budget, *self._meter.used())

    def _tell_near(self, use: BudgetUse) -> None:
        key = f"budget.minutes_per_{use.period}"
        used, whole = use.used_s / 60, use.of_s / 60
        log.warning("%.1f of %g minutes of %s are used", used, round(whole, 2), key)
        self._bus.publish(
            events.BudgetNear(at_s=time.monotonic(), period=use.period, left_s=use.left_s, of_minutes=whole)
        )


def _stayed(today: Amount) -> float | None:
    return round(max(0.0, 1 - today.left_s / today.heard_s), 4) if today.heard_s > 0 else None
