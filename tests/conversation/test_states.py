"""The supervisor's table: complete, without dead ends, and the same as the picture of it."""

from __future__ import annotations

from pathlib import Path

from parleyd.conversation.supervisor.moves import MOVES, Action, diagram, move
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


def test_what_means_nothing_changes_nothing() -> None:
    assert move(State.ASLEEP, Trigger.IDLE) is None
