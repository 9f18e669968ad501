"""Whether changed settings stay, by table: time is an argument."""

from __future__ import annotations

import pytest

from parleyd.app.probation import PROBATION_S, WORSE_S, Kept, Probation, TakenBack

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
