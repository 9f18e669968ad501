from __future__ import annotations

import os
import threading

import pytest
from cores import longest_s, others_are_to_blame, waits


def test_every_thread_of_a_process_has_its_wait() -> None:
    mine = waits(os.getpid())
    assert str(threading.get_native_id()) in mine
    assert all(wait_s >= 0 for wait_s in mine.values())


def test_the_thread_that_waited_longest_since_counts() -> None:
    before = {"1": 100.0, "2": 1.0, "3": 5.0}
    assert longest_s(before, {"1": 100.5, "2": 4.0, "4": 50.0}) == 3.0
    assert longest_s({}, before) == 0.0


@pytest.mark.parametrize(
    ("late_s", "waited_s", "blame"),
    [(4.9, 4.0, False), (9.7, 12.0, True), (9.7, 4.7, True), (9.7, 4.6, False), (9.7, 0.0, False)],
)
def test_who_was_late_by_itself_is_to_blame(late_s: float, waited_s: float, blame: bool) -> None:
    assert others_are_to_blame(late_s, waited_s, 5.0) is blame
