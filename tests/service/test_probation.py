"""Whether changed settings stay, by table: time is an argument."""

from __future__ import annotations

import pytest

from parleyd.app.probation import PROBATION_S, UNTRIED_S, WORSE_S, Kept, Probation, TakenBack

DEAF = [("microphone", "it is gone")]


def test_without_a_change_for_the_worse_it_stays() -> None:
    probation = Probation(["agent"], 0.0, confirmed=True)
    assert probation.look([("agent", "refused")], 1.0) is None
    assert probation.left_s(20.0) == PROBATION_S - 20.0
    assert probation.look([("agent", "refused")], PROBATION_S) == Kept()
    assert probation.left_s(PROBATION_S + 1) == 0.0


def test_a_new_trouble_that_stays_takes_it_back() -> None:
    probation = Probation([], 0.0, confirmed=True)
    assert probation.look(DEAF, 5.0) is None
    assert probation.look(DEAF, 5.0 + WORSE_S - 0.1) is None
    assert probation.look(DEAF, 5.0 + WORSE_S) == TakenBack("microphone: it is gone")


def test_a_trouble_that_passes_does_not() -> None:
    probation = Probation([], 0.0, confirmed=True)
    assert probation.look(DEAF, 5.0) is None
    assert probation.look([], 9.0) is None
    assert probation.look(DEAF, 5.0 + WORSE_S) is None, "it counts from its last beginning"


def test_a_trouble_at_the_very_end_does_too() -> None:
    probation = Probation([], 0.0, confirmed=True)
    assert probation.look(DEAF, PROBATION_S) == TakenBack("microphone: it is gone")


@pytest.mark.parametrize("confirmed", [True, False])
def test_it_has_to_be_confirmed(confirmed: bool) -> None:
    probation = Probation([], 0.0, confirmed=False)
    if confirmed:
        probation.confirm()
    assert probation.confirmed is confirmed
    back = TakenBack("nobody confirmed it within two minutes")
    assert probation.look([], PROBATION_S) == (Kept() if confirmed else back)


REFUSED = [("agent", "it does not allow the override")]
AFTER_S = PROBATION_S + 1.0


def waiting() -> Probation:
    """Two minutes after a change that the next session uses, and no session yet."""
    probation = Probation([], 0.0, confirmed=True, untried=True)
    assert probation.look([], PROBATION_S) is None
    assert (probation.waits, probation.untried) == (True, True)
    return probation


def test_what_no_session_has_used_waits_for_one_and_is_judged_with_it() -> None:
    probation = waiting()
    assert probation.left_s(AFTER_S) == UNTRIED_S - AFTER_S
    assert probation.look([], 3600.0) is None
    probation.session_begins(3600.5)
    assert not probation.waits
    assert probation.left_s(3600.5) == PROBATION_S
    assert probation.look(REFUSED, 3601.0) is None
    assert probation.look(REFUSED, 3601.0 + WORSE_S) == TakenBack("agent: it does not allow the override")


def test_a_session_that_opens_and_stays_well_confirms_it() -> None:
    probation = waiting()
    probation.session_begins(3600.0)
    probation.session_opened(3600.0, 3602.0)
    assert not probation.untried
    assert probation.look([], 3602.0 + PROBATION_S - 0.1) is None
    assert probation.look([], 3602.0 + PROBATION_S) == Kept()


def test_a_session_within_the_two_minutes_tries_it_too() -> None:
    probation = Probation([], 0.0, confirmed=True, untried=True)
    probation.session_begins(90.0)
    probation.session_opened(90.0, 91.0)
    assert probation.look([], PROBATION_S) is None, "the session has its own two minutes"
    assert probation.look([], 91.0 + PROBATION_S) == Kept()


def test_a_session_from_before_the_change_does_not_try_it() -> None:
    probation = Probation([], 100.0, confirmed=True, untried=True)
    probation.session_begins(99.0)
    probation.session_opened(99.0, 101.0)
    assert probation.untried
    assert probation.look([], 100.0 + PROBATION_S) is None
    assert probation.waits


def test_an_attempt_that_comes_to_nothing_leaves_it_waiting() -> None:
    probation = waiting()
    probation.session_begins(3600.0)
    assert probation.look([], 3600.0 + PROBATION_S) is None
    assert probation.waits


def test_a_trouble_of_the_time_between_is_not_its_doing() -> None:
    probation = waiting()
    assert probation.look(DEAF, 3600.0) is None
    assert probation.look(DEAF, 3600.0 + 2 * WORSE_S) is None
    probation.session_begins(3700.0)
    probation.session_opened(3700.0, 3701.0)
    assert probation.look(DEAF, 3701.0 + PROBATION_S) == Kept()


def test_a_trouble_that_was_over_before_the_session_is_its_doing() -> None:
    probation = waiting()
    assert probation.look(DEAF, 3600.0) is None
    assert probation.look([], 3610.0) is None
    probation.session_begins(3700.0)
    assert probation.look(DEAF, 3701.0) is None
    assert probation.look(DEAF, 3701.0 + WORSE_S) == TakenBack("microphone: it is gone")


@pytest.mark.parametrize(("at_s", "decision"), [(UNTRIED_S - 1.0, None), (UNTRIED_S, Kept(untried=True))])
def test_it_waits_for_a_day(at_s: float, decision: Kept | None) -> None:
    assert waiting().look([], at_s) == decision


def test_whoever_keeps_it_need_not_wait() -> None:
    probation = waiting()
    probation.confirm()
    assert probation.look(DEAF, AFTER_S) == Kept(untried=True)


def test_a_trial_is_confirmed_within_two_minutes_of_the_change_whatever_sessions_do() -> None:
    probation = Probation([], 0.0, confirmed=False, untried=True)
    probation.session_begins(90.0)
    probation.session_opened(90.0, 91.0)
    assert probation.left_s(91.0) == PROBATION_S - 91.0
    assert probation.look([], PROBATION_S) == TakenBack("nobody confirmed it within two minutes")


def test_a_change_without_such_keys_does_not_ask_for_sessions() -> None:
    probation = Probation([], 0.0, confirmed=True)
    probation.session_begins(90.0)
    assert probation.look([], PROBATION_S) == Kept()
