"""What of the room may still be on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.conversation.in_flight import InFlight, Lines


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


def test_of_all_lines_those_are_waited_for_that_are_reset() -> None:
    class Line:
        def __init__(self, holds: bool) -> None:
            self.holds, self.waited = holds, False

        def mute(self) -> bool:
            return self.holds

        def wait_closed(self, timeout_s: float) -> bool:
            self.waited = True
            return True

    lines, slow, quick, gone = Lines(), Line(True), Line(False), Line(True)
    for line in (slow, quick, gone):
        lines.add(line)
    lines.remove(gone)
    assert lines.mute(1.0) == 1
    assert (slow.waited, quick.waited, gone.waited) == (True, False, False)
