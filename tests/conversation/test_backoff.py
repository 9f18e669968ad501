from __future__ import annotations

from parleyd.conversation.supervisor.lifecycle import Backoff


def test_first_at_once_then_doubling_to_the_cap() -> None:
    backoff = Backoff(0.5, 60, uniform=lambda _low, high: high)
    assert [backoff.next_s() for _ in range(10)] == [0, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_full_jitter_stays_below_the_bound() -> None:
    backoff = Backoff(0.5, 60)
    for bound_s in (0, 0.5, 1, 2, 4):
        assert 0 <= backoff.next_s() <= bound_s


def test_a_final_error_waits_longest_and_reset_starts_over() -> None:
    backoff = Backoff(0.5, 60)
    assert backoff.longest_s() == 60
    backoff.reset()
    assert backoff.next_s() == 0


def test_a_year_of_tries_does_not_overflow() -> None:
    backoff = Backoff(0.5, 60, uniform=lambda _low, high: high)
    for _ in range(5000):
        delay_s = backoff.next_s()
    assert delay_s == 60
