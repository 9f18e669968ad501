"""Whatever the wall clock does, nothing is lost, nothing is negative, and in the end it stands at its right day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.core.wall_clock import EARLIEST_S
from parleyd.usage.ledger import MOST_DAYS, SETTLED_AFTER_S, Amount, Book, Ledger

BERLIN = ZoneInfo("Europe/Berlin")
HAVANA = ZoneInfo("America/Havana")  # its clocks change at midnight


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def minutes(book: Book) -> dict[str, float]:
    return {day: round(amount.session_s / 60, 3) for day, amount in book.days.items()}


def test_a_session_over_midnight_is_of_both_days_and_of_both_months() -> None:
    ledger = Ledger(Book(), BERLIN)
    ledger.add(100.0, 100.0 + 1800, Amount(session_s=1800, sent_bytes=900))
    book = ledger.read(1900.0, at("2026-12-01T00:10:00"))
    assert minutes(book) == {"2026-11-30": 20.0, "2026-12-01": 10.0}
    sent = {month: round(amount.sent_bytes) for month, amount in book.months.items()}
    assert sent == {"2026-11": 600, "2026-12": 300}


def test_minutes_of_session_are_of_the_hours_in_which_they_were_spent_and_not_of_the_idle_ones_around() -> None:
    """A daemon that was idle until midnight, and then had a session: spans that touch, and are not one."""
    ledger = Ledger(Book(), BERLIN)
    for began_s in range(0, 3000, 30):
        ledger.add(began_s, began_s + 30.0, Amount(heard_s=30))
    ledger.add(3000.0, 3030.0, Amount(session_s=30, heard_s=30))
    book = ledger.read(3600.0, at("2026-12-01T00:10:00"))
    assert minutes(book) == {"2026-11-30": 0.0, "2026-12-01": 0.5}


@pytest.mark.parametrize("wrong", ["1970-01-01T00:00:30", "2026-11-19T12:00:00", "2031-01-01T12:00:00"])
def test_when_the_clock_becomes_right_all_goes_to_the_right_day(wrong: str) -> None:
    ledger = Ledger(Book(), BERLIN)
    ledger.add(10.0, 70.0, Amount(session_s=60))
    before = ledger.read(70.0, at(wrong))
    today, _ = before.used(datetime.fromisoformat(wrong).date())
    assert today.session_s == 60, "a budget counts it meanwhile"
    ledger.add(70.0, 130.0, Amount(session_s=60))
    assert minutes(ledger.read(3600.0, at("2026-11-21T01:00:00"))) == {"2026-11-21": 2.0}


def test_what_had_no_date_when_the_daemon_ended_goes_to_the_day_on_which_there_is_one() -> None:
    ledger = Ledger(Book(), BERLIN)
    ledger.add(10.0, 70.0, Amount(session_s=60))
    kept = ledger.read(70.0, 1000.0)
    assert kept.undated.session_s == 60
    later = Ledger(kept, BERLIN)
    assert minutes(later.read(5.0, at("2026-11-21T12:00:00"))) == {"2026-11-21": 1.0}
    assert later.read(6.0, at("2026-11-21T12:00:01")).undated == Amount()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    # Of a year that is over: what a country will do with its clocks next year, its time zone's data may yet change.
    [(BERLIN, "2025-03-30", 23), (BERLIN, "2025-10-26", 25), (HAVANA, "2025-03-09", 23), (HAVANA, "2025-11-02", 25)],
)
def test_a_day_on_which_clocks_change_has_as_many_hours_as_it_has(zone: ZoneInfo, day: str, hours: int) -> None:
    ledger = Ledger(Book(), zone)
    until_s = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp() + 2 * 86400
    ledger.add(0.0, 5 * 86400.0, Amount(session_s=5 * 86400))
    assert ledger.read(5 * 86400.0, until_s).days[day].session_s == pytest.approx(hours * 3600, abs=2)


STEPS = st.lists(
    st.tuples(
        st.floats(0, 100_000),  # monotonic time that passes
        st.booleans(),  # in a session
        st.floats(EARLIEST_S - 2e9, EARLIEST_S + 2e9),  # and what the wall clock says then
        st.booleans(),  # the daemon starts anew
    ),
    max_size=20,
)


@given(STEPS, st.sampled_from([None, BERLIN, HAVANA, ZoneInfo("Pacific/Apia")]))
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_nothing_negative(steps: list[tuple[float, bool, float, bool]], zone: ZoneInfo) -> None:
    ledger = Ledger(Book(), zone)
    now_s = session_s = heard_s = 0.0
    for passed_s, live, wall_s, anew in steps:
        ledger.add(now_s, now_s + passed_s, Amount(session_s=passed_s if live else 0.0, heard_s=passed_s))
        now_s += passed_s
        session_s += passed_s if live else 0.0
        heard_s += passed_s
        book = ledger.read(now_s, wall_s)
        if len(book.days) < MOST_DAYS:
            total = sum(book.days.values(), book.undated)
            assert total.session_s == pytest.approx(session_s, abs=1e-3)
            assert total.heard_s == pytest.approx(heard_s, abs=1e-3)
        assert all(amount.session_s >= 0 and amount.heard_s >= 0 for amount in book.days.values())
        if anew:
            ledger, now_s = Ledger(book, zone), 0.0


class SlowLedger(Ledger):
    """Dates everything at each question: slow, and right by looking at it."""

    def read(self, now_s: float, wall_s: float) -> Book:
        if wall_s >= EARLIEST_S and self._settled.undated != Amount():
            undated, self._settled.undated = self._settled.undated, Amount()
            self._settled.book(self.day(wall_s), undated)
        while self._spans and now_s - self._spans[0].to_s >= SETTLED_AFTER_S:
            self._date(self._spans.popleft(), self._settled, now_s, wall_s)
        book = self._settled.copy()
        for span in self._spans:
            self._date(span, book, now_s, wall_s)
        return book


DAY_S = 86_400.0
# The first piece of a day lasts a second at least, so a span that begins less than that before midnight may be dated
# either way when the clock is slewed in between.
AT_MIDNIGHT_S = 1.1
LIFE = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 2_000), st.floats(0, 2 * DAY_S)),  # monotonic time that passes
        st.booleans(),  # in a session
        # By how much the wall clock is set meanwhile, or merely slewed.
        st.one_of(st.floats(-1e-4, 1e-4), st.floats(2, 3 * DAY_S), st.floats(-2e9, -2), st.floats(2, 2e9)),
        st.integers(0, 3),  # how often the book is asked for
        st.booleans(),  # there was a gap before
    ),
    max_size=40,
)


@given(LIFE, st.sampled_from([BERLIN, HAVANA]))
@settings(max_examples=300, deadline=None)
def test_dating_once_gives_the_same_book_as_dating_each_time(
    life: list[tuple[float, bool, float, int, bool]], zone: ZoneInfo
) -> None:
    quick, slow = Ledger(Book(), zone), SlowLedger(Book(), zone)
    now_s, offset_s = 0.0, EARLIEST_S + 1e7
    for passed_s, live, moved_s, questions, gap in life:
        now_s += 5.0 if gap else 0.0
        amount = Amount(session_s=passed_s if live else 0.0, heard_s=passed_s)
        for ledger in (quick, slow):
            ledger.add(now_s, now_s + passed_s, amount)
        now_s += passed_s
        offset_s = min(max(offset_s + moved_s, 0.0), EARLIEST_S + 3e9)
        for _ in range(questions):
            one, other = quick.read(now_s, now_s + offset_s), slow.read(now_s, now_s + offset_s)
            of_all = {"": one.undated}, {"": other.undated}
            for mine, its in ((one.days, other.days), (one.months, other.months), of_all):
                for name in mine.keys() | its.keys():
                    amount, as_slow = mine.get(name, Amount()), its.get(name, Amount())
                    assert amount.session_s == pytest.approx(as_slow.session_s, abs=AT_MIDNIGHT_S)
                    assert amount.heard_s == pytest.approx(as_slow.heard_s, abs=AT_MIDNIGHT_S)


def test_a_question_costs_the_same_after_a_day_of_many_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(Book(), BERLIN)
    for number in range(4000):
        ledger.add(number * 20.0, number * 20.0 + 10.0, Amount(session_s=10))
    dated, date = [0], Ledger._date

    def counted(*arguments: object) -> None:
        dated[0] += 1
        date(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "_date", counted)
    wall_s = at("2026-11-21T23:00:00")
    first = ledger.read(80_000.0, wall_s)
    assert dated[0] >= 4000
    dated[0] = 0
    for tick in range(1, 101):
        ledger.add(80_000.0 + tick - 1, 80_000.0 + tick, Amount(session_s=1))
        book = ledger.read(80_000.0 + tick, wall_s + tick)
    assert dated[0] <= 2 * 100
    assert sum(minutes(book).values()) == pytest.approx(sum(minutes(first).values()) + 100 / 60, abs=0.01)


def test_years_of_it_stay_small() -> None:
    ledger = Ledger(Book(), BERLIN)
    start = at("2026-01-01T12:00:00")
    for day in range(3 * 365):
        now_s = day * SETTLED_AFTER_S
        ledger.add(now_s, now_s + 60, Amount(session_s=60))
        book = ledger.read(now_s + 60, start + timedelta(days=day).total_seconds())
    assert len(book.days) == MOST_DAYS
    assert max(book.days) == "2028-12-30"


def test_a_clock_that_was_years_ahead_for_long_does_not_make_today_free() -> None:
    ahead = {f"2046-{1 + number // 28:02}-{1 + number % 28:02}": Amount(session_s=1) for number in range(MOST_DAYS)}
    ledger = Ledger(Book(ahead), BERLIN)
    ledger.add(10.0, 70.0, Amount(session_s=60))
    today, _ = ledger.read(70.0, at("2026-11-21T12:00:00")).used(datetime(2026, 11, 21).date())
    assert today.session_s == 60
