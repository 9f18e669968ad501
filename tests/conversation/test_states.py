"""The supervisor's table: complete, without dead ends, and the same as the picture of it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from parleyd.conversation.supervisor.table import IGNORED, MOVES, Action, ImpossibleMoveError, diagram, move
from parleyd.core.states import State, Trigger

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_this_table() -> None:
    assert diagram() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_trigger_and_every_action_is_used() -> None:
    assert {trigger for _, trigger in MOVES} == set(Trigger)
    assert {action for to in MOVES.values() for action in to.actions} == set(Action)


def test_from_everywhere_there_is_a_way_to_sleep_and_a_way_to_a_session() -> None:
    for goal in (State.ASLEEP, State.LIVE):
        reached = {goal}
        while more := {a for (a, _), to in MOVES.items() if to.to in reached} - reached:
            reached |= more
        assert reached == set(State)


def test_whoever_falls_asleep_forgets_and_whoever_backs_off_has_a_delay() -> None:
    for (state, _), to in MOVES.items():
        if to.to is State.ASLEEP:
            assert Action.FORGET in to.actions
        if to.to is State.BACKING_OFF:
            assert {Action.RETRY_SOON, Action.RETRY_LATE} & set(to.actions)
        if to.to is State.ASLEEP and state in (State.LIVE, State.CONNECTING):
            hung_up_by_agent = MOVES[state, Trigger.AGENT_HUNG_UP] is to if state is State.LIVE else False
            assert Action.HANG_UP in to.actions or hung_up_by_agent


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_a_trigger_moves_or_is_ignored_for_a_reason_or_is_a_defect(state: State, trigger: Trigger) -> None:
    if (state, trigger) in MOVES:
        assert move(state, trigger) is MOVES[state, trigger]
        assert (state, trigger) not in IGNORED
    elif (state, trigger) in IGNORED:
        assert move(state, trigger) is None
    else:
        with pytest.raises(ImpossibleMoveError, match=trigger.value):
            move(state, trigger)


def test_what_ends_a_session_cannot_happen_without_one() -> None:
    for trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.OLD, Trigger.AGENT_HUNG_UP, Trigger.LOST):
        for state in (State.ASLEEP, State.BACKING_OFF):
            with pytest.raises(ImpossibleMoveError):
                move(state, trigger)
