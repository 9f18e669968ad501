"""Whose audio it is: how the answers of an agent that does not name them are told apart."""

from __future__ import annotations

import pytest

from parleyd.agents.elevenlabs.answers import GREETING_WITHIN_S, TURN_GAP_S, AnswerNumbers, TurnFilter
from parleyd.agents.elevenlabs.meaning import Audio, Interruption, Meaning, Response, ResponsePart, Transcript

AUDIO = Audio(1, b"\0\0")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([AUDIO, AUDIO], [1, 1]),
        ([Response("a", 1), AUDIO, AUDIO], [0, 1, 1]),
        ([AUDIO, Response("a", 1), AUDIO], [1, 1, 1]),  # the text comes after the first chunk
        ([Response("a", 1), AUDIO, Response("b", 2), AUDIO], [0, 1, 1, 2]),
        ([Response("a"), AUDIO, Response("b"), AUDIO], [0, 1, 1, 2]),  # an agent without ids
        ([AUDIO, Transcript("x", True), AUDIO, Response("b", 2), AUDIO], [1, 1, 2, 2, 2]),
        # After words the text may come behind its first sound, as it may at the beginning.
        (
            [Response("a", 1), AUDIO, Transcript("x", True), AUDIO, Response("b", 2), AUDIO],
            [0, 1, 1, 2, 2, 2],
        ),
        ([AUDIO, Transcript("x", False), AUDIO], [1, 1, 1]),
        ([AUDIO, Interruption(1), AUDIO], [1, 1, 2]),
    ],
)
def test_answers_are_told_apart(events: list[Meaning], expected: list[int]) -> None:
    numbers = AnswerNumbers()
    assert [numbers.step(event) for event in events] == expected


def admitted(filter_: TurnFilter, *events: tuple[float, Meaning]) -> list[bool]:
    return [filter_.admits(event, at_s) for at_s, event in events]


def test_after_a_cut_the_rest_of_that_turn_is_dropped_until_the_next_begins() -> None:
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, AUDIO), (0.9, Transcript("stop", True)), (1.0, AUDIO)) == [
        False,
        False,
        True,
        True,
    ]
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, Interruption(3)), (0.3, AUDIO)) == [False, True, True]
    assert admitted(TurnFilter(0.0), (0.1, AUDIO), (0.2, Response("new", 9)), (0.3, AUDIO)) == [False, True, True]


def test_the_pieces_of_a_cut_text_are_dropped_as_its_sound_is() -> None:
    part = ResponsePart("delta", "more")
    assert admitted(TurnFilter(0.0), (0.1, part), (0.2, Transcript("stop", True)), (0.3, part)) == [
        False,
        True,
        True,
    ]


def test_an_unwanted_greeting_is_dropped_with_its_text() -> None:
    greeting = TurnFilter(0.0, skip_responses=1)
    assert admitted(
        greeting, (0.1, Response("Hello!", 1)), (0.1, AUDIO), (0.3, AUDIO), (1.2, Response("It is noon.", 2))
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
