"""Who has the floor."""

from __future__ import annotations

import pytest

from parleyd.conversation.dialogue.turns import FLOORS, Cue, Effect, Floor


def floors(*cues: Cue) -> tuple[Floor, list[Effect]]:
    floor, effects = Floor.QUIET, []
    for cue in cues:
        floor, effect = FLOORS.get((floor, cue), (floor, None))
        effects += [effect] if effect else []
    return floor, effects


def test_a_question_and_its_answer() -> None:
    assert floors(Cue.TALK_STARTED, Cue.TALK_STOPPED, Cue.ANSWER_STARTED, Cue.ANSWER_ENDED) == (Floor.QUIET, [])


def test_a_barge_in_ducks_and_comes_back_when_it_was_nothing() -> None:
    assert floors(Cue.ANSWER_STARTED, Cue.TALK_STARTED, Cue.TALK_STOPPED) == (Floor.AGENT, [Effect.DUCK, Effect.UNDUCK])


def test_a_barge_in_that_is_heard_ends_the_ducking_with_the_answer() -> None:
    assert floors(Cue.ANSWER_STARTED, Cue.TALK_STARTED, Cue.ANSWER_ENDED) == (
        Floor.PERSON,
        [Effect.DUCK, Effect.UNDUCK],
    )


@pytest.mark.parametrize("floor", list(Floor))
def test_ducking_never_outlives_both_talking(floor: Floor) -> None:
    for cue in Cue:
        after, effect = FLOORS.get((floor, cue), (floor, None))
        assert (effect is Effect.DUCK) == (after is Floor.BOTH and floor is not Floor.BOTH)
        assert (effect is Effect.UNDUCK) == (floor is Floor.BOTH and after is not Floor.BOTH)
