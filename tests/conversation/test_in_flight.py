"""What of the room may still be on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.conversation.session.in_flight import InFlight, Lines


@pytest.mark.parametrize(
    ("unacknowledged_bytes", "room_ms"),
    # The last message counts in any case: it may be in the sender's hand.
    [(0, 20), (1, 40), (900, 40), (901, 60), (2000, 80), (10**9, 200)],
)
def test_so_much_of_the_room_is_in_the_last_bytes(unacknowledged_bytes: int, room_ms: int) -> None:
    in_flight = InFlight()
    for _ in range(10):
        in_flight.sent(900, 20)
    assert in_flight.room_ms(unacknowledged_bytes) == room_ms


def test_zeros_and_answers_are_nothing_of_the_room() -> None:
    in_flight = InFlight()
    in_flight.sent(900, 20)
    for _ in range(10):
        in_flight.sent(900, 0)
    assert in_flight.room_ms(8 * 900) == 0
    assert InFlight().room_ms(10_000) == 0


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 100)), max_size=50), st.integers(0, 30_000))
def test_it_is_never_too_little(messages: list[tuple[int, int]], unacknowledged_bytes: int) -> None:
    in_flight, begins, truth = InFlight(), 0, 0
    for size, room_ms in messages:
        in_flight.sent(size, room_ms)
    total = sum(size for size, _ in messages)
    for size, room_ms in messages:
        begins += size
        truth += room_ms if begins > total - unacknowledged_bytes else 0
    assert in_flight.room_ms(unacknowledged_bytes) >= truth


def test_of_all_lines_that_are_open_those_are_counted_that_are_reset() -> None:
    class Line:
        def __init__(self, holds: bool) -> None:
            self.holds = holds

        def mute(self) -> bool:
            return self.holds

    lines, gone = Lines(), Line(True)
    for line in (Line(True), Line(False), gone):
        lines.add(line)
    lines.remove(gone)
    assert lines.mute() == 1
