"""The use of sessions, by day and by month. Pure: both clocks are arguments.

Durations and their times are monotonic; the wall clock at the moment of reading gives the day. A board without a clock
battery starts in 1970, or at the time at which it was switched off, and its clock jumps when the network tells it the
time. Entries since the start of this process then get a new date, the right one. As long as the clock does not jump,
each entry is dated once, because the book is read many times a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from itertools import islice
from typing import Annotated

from msgspec import Meta, Struct, field

from parleyd.core.wall_clock import EARLIEST_S

# Entries older than this keep their date.
SETTLED_AFTER_S = 86400.0
# How far the two clocks may drift apart before entries get a new date.
DRIFT_S = 1.0
# Consecutive entries are merged up to this length.
LONGEST_SPAN_S = 900.0
MOST_DAYS, MOST_MONTHS = 62, 24

NotNegative = Annotated[float, Meta(ge=0)]


class Amount(Struct, frozen=True, omit_defaults=True):
    """session_s: time with a session. heard_s: captured sound; left_s: the part of it that was sent. money: cost, at
    the prices of the moment at which it arose. billed_s: of sound, such as for transcriptions. tokens: by kind."""

    session_s: NotNegative = 0.0
    sent_bytes: NotNegative = 0.0
    received_bytes: NotNegative = 0.0
    heard_s: NotNegative = 0.0
    left_s: NotNegative = 0.0
    money: NotNegative = 0.0
    billed_s: NotNegative = 0.0
    tokens: dict[str, NotNegative] = field(default_factory=dict)

    def __add__(self, other: Amount) -> Amount:
        tokens = dict(self.tokens)
        for kind, count in other.tokens.items():
            tokens[kind] = tokens.get(kind, 0.0) + count
        return _amount([a + b for a, b in zip(self._all(), other._all(), strict=True)], tokens)

    def share(self, part: float) -> Amount:
        tokens = {kind: count * part for kind, count in self.tokens.items()}
        return _amount([a * part for a in self._all()], tokens)

    def _all(self) -> tuple[float, ...]:
        """All but the tokens, in the order of the fields."""
        return (
            self.session_s,
            self.sent_bytes,
            self.received_bytes,
            self.heard_s,
            self.left_s,
            self.money,
            self.billed_s,
        )


def _amount(numbers: Sequence[float], tokens: dict[str, float]) -> Amount:
    """numbers: in the order of the fields."""
    session_s, sent_bytes, received_bytes, heard_s, left_s, money, billed_s = numbers
    return Amount(session_s, sent_bytes, received_bytes, heard_s, left_s, money, billed_s, tokens)


class Book(Struct):
    """Amounts by day (2026-11-21) and by month (2026-11), local time; undated: from before the clock was set."""

    days: dict[str, Amount] = field(default_factory=dict)
    months: dict[str, Amount] = field(default_factory=dict)
    undated: Amount = Amount()

    def copy(self) -> Book:
        return Book(dict(self.days), dict(self.months), self.undated)

    def book(self, day: date, amount: Amount) -> None:
        for entries, name, most in (
            (self.days, day.isoformat(), MOST_DAYS),
            (self.months, day.isoformat()[:7], MOST_MONTHS),
        ):
            entries[name] = entries.get(name, Amount()) + amount
            while len(entries) > most:
                # Never the entry just booked: the other ones may come from a clock that was years ahead.
                del entries[min(entries.keys() - {name})]

    def used(self, day: date) -> tuple[Amount, Amount]:
        """The use of that day, and of its month. Entries without a date count as today's, so that a budget cannot be
        used twice."""
        name = day.isoformat()
        none = Amount()
        return self.days.get(name, none) + self.undated, self.months.get(name[:7], none) + self.undated


class _Span(Struct):
    from_s: float
    to_s: float
    amount: Amount


class Ledger:
    """book: from an earlier run. zone: None for the system's."""

    def __init__(self, book: Book, zone: tzinfo | None = None) -> None:
        self._settled = book
        self._zone = zone
        self._spans: deque[_Span] = deque()
        # The settled book and the first `_dated_spans` of the spans, by wall clock = monotonic clock + `_offset_s`.
        self._dated: Book | None = None
        self._dated_spans = 0
        self._offset_s = 0.0
        self._was_set = False

    def add(self, from_s: float, to_s: float, amount: Amount) -> None:
        """Adds the use between two monotonic times; calls come in order."""
        last = self._spans[-1] if self._spans else None
        if (
            last is not None
            and from_s - last.to_s < 1.0
            and to_s - last.from_s <= LONGEST_SPAN_S
            and bool(last.amount.session_s) == bool(amount.session_s)
        ):
            last.to_s, last.amount = to_s, last.amount + amount
        else:
            self._spans.append(_Span(from_s, to_s, amount))

    def read(self, now_s: float, wall_s: float) -> Book:
        """The present book, dated by the present wall clock."""
        is_set = wall_s >= EARLIEST_S
        if is_set and self._settled.undated != Amount():
            undated, self._settled.undated = self._settled.undated, Amount()
            self._settled.book(self.day(wall_s), undated)
            self._dated = None
        if is_set != self._was_set or abs(wall_s - now_s - self._offset_s) > DRIFT_S:
            self._dated = None
        self._settle(now_s, wall_s)
        if self._dated is None:
            self._dated, self._dated_spans = self._settled.copy(), 0
            self._offset_s, self._was_set = wall_s - now_s, is_set
        # All but the last span, which may still grow.
        for span in islice(self._spans, self._dated_spans, max(0, len(self._spans) - 1)):
            self._date(span, self._dated, now_s, wall_s)
            self._dated_spans += 1
        book = self._dated.copy()
        if self._spans:
            self._date(self._spans[-1], book, now_s, wall_s)
        return book

    def _settle(self, now_s: float, wall_s: float) -> None:
        """Gives old entries their final date."""
        while self._spans and now_s - self._spans[0].to_s >= SETTLED_AFTER_S:
            span = self._spans.popleft()
            self._date(span, self._settled, now_s, wall_s)
            if self._dated_spans:
                self._dated_spans -= 1
            elif self._dated is not None:
                self._date(span, self._dated, now_s, wall_s)

    def day(self, wall_s: float) -> date:
        return datetime.fromtimestamp(wall_s, self._zone).date()

    def _date(self, span: _Span, book: Book, now_s: float, wall_s: float) -> None:
        if wall_s < EARLIEST_S:
            book.undated += span.amount
            return
        begin_s, end_s = wall_s - (now_s - span.from_s), wall_s - (now_s - span.to_s)
        left = 1.0
        while (midnight_s := self._next_midnight_s(begin_s)) < end_s:
            part = left * (midnight_s - begin_s) / (end_s - begin_s)
            book.book(self.day(begin_s), span.amount.share(part))
            begin_s, left = midnight_s, left - part
        book.book(self.day(begin_s), span.amount.share(left))

    def _next_midnight_s(self, wall_s: float) -> float:
        tomorrow = self.day(wall_s) + timedelta(days=1)
        midnight_s = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=self._zone).timestamp()
        # In zones where clocks change at midnight this may be an hour off, but time always advances.
        return max(midnight_s, wall_s + 1.0)
