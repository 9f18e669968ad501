"""Counts the use of sessions, and keeps it across restarts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from parleyd.config.retention import Budget
from parleyd.core import events
from parleyd.core.health import Pulse
from parleyd.usage.ledger import Amount, Book, Ledger
from parleyd.usage.prices import cost, price_of
from parleyd.usage.store import Store

log = logging.getLogger(__name__)

# How often the book is saved, in a session and asleep. It is also saved at a session's end. Few writes let an SD card
# live long.
SAVE_S, SAVE_ASLEEP_S = 60.0, 3600.0


def save_due_s(last_save_s: float, *, live: bool, ended: bool) -> float:
    """When to save the book next. ended: a session has ended and is not saved yet. Pure."""
    return last_save_s + (SAVE_S if live or ended else SAVE_ASLEEP_S)


class UsageMeter:
    """A subscriber of the bus, with a thread that saves. Thread-safe.

    totals: returns the use since the start of the process (without session_s, which the meter measures itself). wall:
    seconds since 1970.
    """

    def __init__(self, store: Store, totals: Callable[[], Amount], wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._totals = totals
        self._wall = wall
        self._changed = threading.Condition()
        self._ledger = Ledger(store.load())
        self._before = Amount()
        self._counted_s = time.monotonic()
        self._live = self._is_free = False
        self._ended = False
        self._budget = Budget()
        # The amount that providers have billed and that is not counted yet, and the models of which no price is known.
        self._billed = Amount()
        self._unpriced: set[str] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self.pulse = Pulse("usage")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Saves."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.SessionOpened | events.SessionEnded):
            with self._changed:
                self._count(event.at_s)
                self._ended |= self._live and isinstance(event, events.SessionEnded)
                # Sessions with the fallback cost nothing, and are in no budget.
                self._is_free = isinstance(event, events.SessionOpened) and event.is_fallback
                self._live = isinstance(event, events.SessionOpened) and not self._is_free
                self._changed.notify()
        elif isinstance(event, events.Spent):
            with self._changed:
                if self._is_free:
                    return
                self._bill(event.model, event.tokens, event.seconds)

    def reprice(self, budget: Budget) -> None:
        """The prices from now on; amounts that were counted keep theirs. Asks for no totals: it is called before there
        are any."""
        with self._changed:
            self._budget = budget

    def _bill(self, model: str, tokens: Mapping[str, int], seconds: float) -> None:
        price = price_of(model, self._budget.prices)
        money = cost(price, tokens, seconds) if price is not None else 0.0
        counted = {kind: float(count) for kind, count in tokens.items()}
        self._billed += Amount(money=money, billed_s=seconds, tokens=counted)
        has_budget = self._budget.money_per_day is not None or self._budget.money_per_month is not None
        if price is None and has_budget and model not in self._unpriced:
            self._unpriced.add(model)
            text = "no price is known for the model %r, so it does not count for budget.money_per_*; %s"
            log.warning(text, model[:80], "set budget.prices, or limit the minutes")

    def wall_s(self) -> float:
        return self._wall()

    def used(self) -> tuple[Amount, Amount, datetime]:
        """The use of today and of this month, and the local time to which they belong."""
        with self._changed:
            now_s, wall_s = time.monotonic(), self._wall()
            self._count(now_s)
            today, month = self._ledger.read(now_s, wall_s).used(self._ledger.day(wall_s))
            return today, month, datetime.fromtimestamp(wall_s)

    def book(self) -> tuple[Book, datetime]:
        """The use by day and by month, and the present local time."""
        with self._changed:
            now_s, wall_s = time.monotonic(), self._wall()
            self._count(now_s)
            return self._ledger.read(now_s, wall_s), datetime.fromtimestamp(wall_s)

    def _count(self, now_s: float) -> None:
        # Events may come late, with times that have already been counted.
        if now_s <= self._counted_s:
            return
        total, before = self._totals(), self._before
        billed, self._billed = self._billed, Amount()
        session_s = now_s - self._counted_s if self._live else 0.0
        self._ledger.add(
            self._counted_s,
            now_s,
            Amount(
                session_s=session_s,
                sent_bytes=max(0.0, total.sent_bytes - before.sent_bytes),
                received_bytes=max(0.0, total.received_bytes - before.received_bytes),
                heard_s=max(0.0, total.heard_s - before.heard_s),
                left_s=max(0.0, total.left_s - before.left_s),
                money=session_s / 60 * self._budget.minute_price,
            )
            + billed,
        )
        self._before, self._counted_s = total, now_s

    def _run(self) -> None:
        # The first minute of a session is not saved separately, unless the session ends in it.
        last_save_s = time.monotonic() - SAVE_S
        stopping = False
        while not stopping:
            with self._changed:
                now_s = time.monotonic()
                stopping = self._stopping
                due_s = save_due_s(last_save_s, live=self._live, ended=self._ended)
                if not stopping and now_s < due_s:
                    self._changed.wait(due_s - now_s)
                    continue
                self._count(now_s)
                self._ended = False
                book = self._ledger.read(now_s, self._wall())
            self.pulse.beat()
            self._store.save(book)
            self.pulse.rest()
            last_save_s = time.monotonic()
