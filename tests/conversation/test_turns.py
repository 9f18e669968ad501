"""Who has the floor, and whose audio it is."""

from __future__ import annotations

import pytest

from parleyd.agents.agent import AgentAudio, AgentEvent, AgentResponse, AgentResponsePart, Interruption, UserTranscript
from parleyd.conversation.dialogue.turns import (
    FLOORS,
    GREETING_WITHIN_S,
    TURN_GAP_S,
    AnswerNumbers,
    Cue,
    Effect,
    Floor,
    TurnFilter,
)

AUDIO = AgentAudio(1, b"\0\0")


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


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([AUDIO, AUDIO], [1, 1]),
        ([AgentResponse("a", 1), AUDIO, AUDIO], [0, 1, 1]),
        ([AUDIO, AgentResponse("a", 1), AUDIO], [1, 1, 1]),  # the text comes after the first chunk
        ([AgentResponse("a", 1), AUDIO, AgentResponse("b", 2), AUDIO], [0, 1, 1, 2]),
        ([AgentResponse("a"), AUDIO, AgentResponse("b"), AUDIO], [0, 1, 1, 2]),  # an agent without ids
        ([AUDIO, UserTranscript("x", True), AUDIO, AgentResponse("b", 2), AUDIO], [1, 1, 2, 2, 2]),
        # After words the text may come behind its first sound, as it may at the beginning.
        (
            [AgentResponse("a", 1), AUDIO, UserTranscript("x", True), AUDIO, AgentResponse("b", 2), AUDIO],
            [0, 1, 1, 2, 2, 2],
        ),
        ([AUDIO, UserTranscript("x", False), AUDIO], [1, 1, 1]),
        ([AUDIO, Interruption(1), AUDIO], [1, 1, 2]),
    ],
)
def test_answers_are_told_apart(events: list[AgentEvent], expected: list[int]) -> None:
    numbers = AnswerNumbers()
    assert [numbers.step(event) for event in events] == expected


def admitted(filter_: TurnFilter, *events: tuple[float, AgentEvent]) -> list[bool]:
    return [filter_.admits(event, at_s) for at_s, event in events]


def test_after_a_cut_the_rest_of_that_turn_is_dropped_until_the_next_begins() -> None:
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, AUDIO), (0.9, UserTranscript("stop", True)), (1.0, AUDIO)) == [
        False,
        False,
        True,
        True,
    ]
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, Interruption(3)), (0.3, AUDIO)) == [False, True, True]
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, AgentResponse("new", 9)), (0.3, AUDIO)) == [False, True, True]


def test_the_pieces_of_a_cut_text_are_dropped_as_its_sound_is() -> None:
    part = AgentResponsePart("delta", "more")
    assert admitted(TurnFilter(0.0), (0.1, part), (0.2, UserTranscript("stop", True)), (0.3, part)) == [
        False,
        True,
        True,
    ]


def test_an_unwanted_greeting_is_dropped_with_its_text() -> None:
    greeting = TurnFilter(0.0, skip_responses=1)
    assert admitted(
        greeting, (0.1, AgentResponse("Hello!", 1)), (0.1, AUDIO), (0.3, AUDIO), (1.2, AgentResponse("It is noon.", 2))
    ) == [False, False, False, True]


def test_without_any_text_events_a_gap_tells_the_answer_from_the_greeting() -> None:
    greeting = TurnFilter(0.0, skip_responses=1)
    assert admitted(greeting, (0.1, AUDIO), (0.5, AUDIO), (0.5 + TURN_GAP_S, AUDIO), (2.0, AUDIO)) == [
        False,
        False,
        True,
        True,
    ]


def test_an_agent_that_stays_silent_at_first_has_no_greeting() -> None:
    assert admitted(TurnFilter(0.0, skip_responses=1), (GREETING_WITHIN_S, AUDIO)) == [True]


def test_a_tentative_transcript_passes_and_ends_no_greeting() -> None:
    greeting = TurnFilter(0.0)
    assert greeting.admits(UserTranscript("x", False), 0.1)
    assert not greeting.open
