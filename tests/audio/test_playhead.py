from __future__ import annotations

from typing import cast

import pytest

from parleyd.audio.playback.playhead import GIVE_UP_S, HeardPart, Playhead, Started

# 1000 samples are a second, and what is handed at t is heard 0.1 s later.


def playhead() -> Playhead:
    return Playhead(rate_hz=1000, latency_s=0.1)


def started(answer: int, at_s: float) -> Started:
    """Equal to one at about that time."""
    return Started(answer, cast(float, pytest.approx(at_s)))


def test_one_answer_from_start_to_end() -> None:
    head = playhead()
    answer = head.queued(7, 0.2)
    assert head.due(0.0, dry=False) == []
    head.handed(answer, 100, 0.0, at_s=1.0)
    assert head.next_due_s(dry=False) == pytest.approx(1.1)
    assert head.due(1.05, dry=False) == []
    assert head.due(1.11, dry=False) == [started(7, 1.1)]
    head.handed(answer, 100, 0.0, at_s=1.1)
    head.end(7)
    assert head.next_due_s(dry=True) == pytest.approx(1.3)
    assert head.due(1.29, dry=True) == []
    assert head.due(1.31, dry=True) == [HeardPart(7, 200, 200, finished=True)]
    assert head.next_due_s(dry=True) is None


@pytest.mark.parametrize(
    ("now_s", "heard_ms"),
    [(0.9, 0), (1.1, 0), (1.15, 50), (1.2, 100), (1.25, 100), (1.35, 150), (1.4, 200), (9.0, 200)],
)
def test_heard_is_what_has_sounded(now_s: float, heard_ms: int) -> None:
    head = playhead()
    answer = head.queued(1, 0.5)
    head.handed(answer, 100, 0.0, at_s=1.0)
    head.handed(answer, 100, 0.0, at_s=1.2)  # late: a hole of 100 ms
    assert head.clear(now_s, sharp=True)[-1] == HeardPart(1, heard_ms, 500, finished=False)


@pytest.mark.parametrize(("sharp", "heard_ms"), [(False, 200), (True, 50)])
def test_clear(sharp: bool, heard_ms: int) -> None:
    head = playhead()
    answer = head.queued(1, 3.0)
    head.queued(2, 3.0)
    head.handed(answer, 200, 0.0, at_s=1.0)
    assert head.due(1.15, dry=False) == [started(1, 1.1)]
    assert head.clear(1.15, sharp=sharp) == [HeardPart(1, heard_ms, 3000, False), HeardPart(2, 0, 3000, False)]
    assert head.clear(1.15, sharp=sharp) == []
    assert head.silent_from_s == pytest.approx(1.15 if sharp else 1.3)


def test_what_will_still_sound_has_started_before_it_is_cleared() -> None:
    head = playhead()
    head.handed(head.queued(1, 1.0), 100, 0.0, at_s=1.0)
    assert head.clear(1.0, sharp=False) == [started(1, 1.1), HeardPart(1, 100, 1000, finished=False)]


def test_cut_before_it_was_audible_it_has_never_started() -> None:
    head = playhead()
    head.handed(head.queued(1, 1.0), 100, 0.0, at_s=1.0)
    assert head.clear(1.05, sharp=True) == [HeardPart(1, 0, 1000, finished=False)]


def test_a_clear_after_the_last_sample_throws_nothing_away() -> None:
    head = playhead()
    head.handed(head.queued(1, 0.1), 100, 0.0, at_s=1.0)
    head.end(1)
    head.due(1.15, dry=True)
    assert head.clear(1.15, sharp=False) == [HeardPart(1, 100, 100, finished=True)]


def test_another_answer_ends_the_one_before() -> None:
    head = playhead()
    first = head.queued(1, 0.1)
    second = head.queued(2, 0.1)
    head.handed(first, 100, 0.0, at_s=1.0)
    head.handed(second, 100, 0.05, at_s=1.05)  # in one period with the last 50 ms of the first
    assert head.due(1.25, dry=True) == [
        started(1, 1.1),
        HeardPart(1, 100, 100, True),
        started(2, 1.2),
    ]
    assert head.due(1.3 + GIVE_UP_S - 0.01, dry=True) == []
    assert head.due(1.3 + GIVE_UP_S + 0.01, dry=True) == [HeardPart(2, 100, 100, True)]


def test_a_gap_of_the_network_does_not_end_an_answer_but_silence_does() -> None:
    head = playhead()
    answer = head.queued(1, 0.1)
    head.handed(answer, 100, 0.0, at_s=1.0)
    assert head.due(1.2 + GIVE_UP_S - 0.01, dry=True) == [started(1, 1.1)]
    assert head.queued(1, 0.1) is answer
    head.handed(answer, 100, 0.0, at_s=2.0)
    assert head.due(2.2 + GIVE_UP_S + 0.01, dry=True) == [HeardPart(1, 200, 200, True)]
    again = head.queued(1, 0.1)
    assert again is not answer
    head.handed(again, 100, 0.0, at_s=4.0)
    assert head.due(4.15, dry=True) == [started(1, 4.1)]
    assert head.clear(4.15, sharp=True) == [HeardPart(1, 250, 300, finished=False)]


def test_what_was_heard_is_forgotten_after_many_answers() -> None:
    head = playhead()
    for number in range(100):
        head.handed(head.queued(number, 0.1), 100, 0.0, at_s=float(number))
        head.due(number + 0.9, dry=True)
    for number, total_ms in ((0, 100), (99, 200)):
        head.handed(head.queued(number, 0.1), 100, 0.0, at_s=200.0 + number)
        assert head.due(202.0 + number, dry=True)[-1] == HeardPart(number, total_ms, total_ms, finished=True)


def test_an_answer_of_which_all_was_lost_ends_without_a_sound() -> None:
    head = playhead()
    head.lost(1, 0.5)
    assert head.next_due_s(dry=False) is None
    assert head.next_due_s(dry=True) == pytest.approx(GIVE_UP_S)
    head.lost(2, 0.5)
    head.end(2)
    assert head.due(5.0, dry=True) == [
        HeardPart(1, 0, 500, finished=False, lost_ms=500),
        HeardPart(2, 0, 500, finished=False, lost_ms=500),
    ]


def test_of_very_many_answers_the_oldest_accounts_are_forgotten() -> None:
    head = playhead()
    first = head.queued(1, 0.1)
    head.handed(first, 100, 0.0, at_s=1.0)
    for answer in range(2, 200):
        head.lost(answer, 0.1)
    told = [one for one in head.due(50.0, dry=True) if isinstance(one, HeardPart)]
    assert told[0] == HeardPart(1, 100, 100, finished=True)
    assert len(told) <= 64


@pytest.mark.parametrize("rate_hz", [10_000, 16_000, 24_000, 48_000])
def test_what_was_heard_to_its_end_was_heard_whole_however_its_parts_round(rate_hz: int) -> None:
    """A sum of lengths in seconds depends on the parts: 4.5 ms are 4 or 5, by the last binary place."""
    for first in range(1, 60):
        for second in range(1, 200, 3):
            head = Playhead(rate_hz, 0.1)
            answer = head.queued(1, first / rate_hz)
            head.queued(1, second / rate_hz)
            head.end(1)
            head.handed(answer, first + second, 0.0, at_s=50.0)
            (_, heard) = head.due(51.0, dry=True)
            assert isinstance(heard, HeardPart)
            assert heard.finished
            assert heard.heard_ms == heard.total_ms


def test_a_cut_in_the_last_millisecond_lets_an_answer_be_whole() -> None:
    head = Playhead(10_000, 0.1)
    head.handed(head.queued(1, 0.005), 50, 0.0, at_s=1.0)
    head.end(1)
    assert head.clear(1.1041, sharp=True) == [started(1, 1.1), HeardPart(1, 5, 5, finished=True)]
    head.handed(head.queued(2, 0.005), 50, 0.0, at_s=2.0)
    head.end(2)
    assert head.clear(2.1030, sharp=True) == [started(2, 2.1), HeardPart(2, 3, 5, finished=False)]


def test_an_answer_of_which_more_waits_was_not_heard_whole() -> None:
    head = playhead()
    first = head.queued(1, 0.1)
    head.handed(first, 100, 0.0, at_s=1.0)
    head.handed(head.queued(2, 0.1), 100, 0.0, at_s=1.1)
    head.queued(1, 0.05)
    assert head.due(1.25, dry=False)[:2] == [started(1, 1.1), HeardPart(1, 100, 150, True)]
