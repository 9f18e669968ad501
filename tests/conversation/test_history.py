from __future__ import annotations

import pytest

from parleyd.agents.history import line, prose
from parleyd.conversation.dialogue.history import History

MAX_CHARS = 2000


def told(history: History) -> list[str]:
    return list(map(line, history.carried_over(100.0)))


@pytest.fixture
def history() -> History:
    return History(max_lines=12, max_chars=MAX_CHARS, max_age_s=300)


def test_nothing_said_nothing_told(history: History) -> None:
    history.user_said("  ", 90.0)
    assert not history.carried_over(0.0)


def test_both_sides_in_order(history: History) -> None:
    history.user_said("What time is it?", 90.0)
    history.agent_says("It is noon.", 1, 90.0)
    assert told(history) == ["user: What time is it?", "agent: It is noon."]


def test_a_cut_answer_keeps_the_words_that_were_heard(history: History) -> None:
    history.agent_says("one two three four five six seven eight nine ten", 3, 90.0)
    history.cut(3, heard_ms=500, total_ms=1000)
    assert told(history) == ["agent: one two three four five … (interrupted)"]


def test_a_cut_is_of_one_answer(history: History) -> None:
    history.agent_says("one two", 1, 90.0)
    history.agent_says("three four", 2, 90.0)
    history.cut(2, heard_ms=500, total_ms=1000)
    assert told(history) == ["agent: one two", "agent: three … (interrupted)"]


@pytest.mark.parametrize(
    ("heard_ms", "expected"),
    [
        (250, ["agent: one two … (interrupted)"]),
        (500, ["agent: one two three four … (interrupted)"]),
        (750, ["agent: one two three four", "agent: five six … (interrupted)"]),
        (1000, ["agent: one two three four", "agent: five six seven eight … (interrupted)"]),
    ],
)
@pytest.mark.parametrize("late_texts", [0, 1, 2])
def test_a_cut_falls_into_one_of_the_texts_of_an_answer(
    history: History, heard_ms: int, expected: list[str], late_texts: int
) -> None:
    texts = ["one two three four", "five six seven eight"]
    for text in texts[: 2 - late_texts]:
        history.agent_says(text, 3, 90.0)
    words = history.cut(3, heard_ms, total_ms=1000)
    if not late_texts:
        assert words == "one two three four five six seven eight"[: len(words or "")]
        assert len((words or "").split()) == 8 * heard_ms // 1000
    for text in texts[2 - late_texts :]:
        history.agent_says(text, 3, 91.0)
    assert told(history) == expected


def test_the_servers_correction_of_one_text_leaves_the_texts_before_it_alone(history: History) -> None:
    history.agent_says("one two", 1, 90.0)
    history.agent_says("three four five", 1, 90.5)
    history.corrected(1, "three")
    assert told(history) == ["agent: one two", "agent: three … (interrupted)"]
    history.agent_says("six", 1, 91.0)
    assert told(history)[-1] == "agent: six"


def test_an_answer_without_any_sound_is_not_told_once_it_cannot_come(history: History) -> None:
    history.user_said("Hello?", 89.0)
    history.agent_says("one two", 1, 90.0)
    history.agent_says("three four", 2, 90.0)
    history.never_heard([2])
    assert told(history) == ["user: Hello?", "agent: one two"]


def test_the_servers_correction_wins(history: History) -> None:
    history.agent_says("one two three", 1, 90.0)
    history.corrected(1, "one")
    history.cut(1, heard_ms=900, total_ms=1000)
    assert told(history) == ["agent: one … (interrupted)"]


def test_a_text_that_comes_after_the_cut_is_kept_as_far_as_it_was_heard(history: History) -> None:
    history.cut(3, heard_ms=500, total_ms=1000)
    history.never_heard([4])
    assert history.agent_says("one two three four", 3, 90.0) == "one two"
    assert history.agent_says("five six", 4, 90.0) == ""
    assert history.agent_says("seven eight", 5, 90.0) is None
    assert told(history) == ["agent: one two … (interrupted)", "agent: seven eight"]


def test_bounded_and_the_newest_is_kept(history: History) -> None:
    for n in range(30):
        history.user_said(f"{n} " + "x" * 400, 90.0)
    lines = told(history)
    assert sum(map(len, lines)) <= MAX_CHARS
    assert lines[-1].startswith("user: 29 ")


@pytest.mark.parametrize(
    ("later_s", "ago"), [(2, "a moment ago"), (60, "60 seconds ago"), (240, "4 minutes ago"), (301, None)]
)
def test_the_agent_is_told_how_long_ago_it_was_and_nothing_of_what_is_old(
    history: History, later_s: float, ago: str | None
) -> None:
    history.user_said("Will it rain?", 5.0)
    history.agent_says("Not today.", 1, 1000.0)
    lines = history.carried_over(1000.0 + later_s)
    assert bool(lines) is (ago is not None)
    if lines and ago is not None:
        text = prose(lines)
        assert ago in text
        assert "Will it rain?" in text


def test_a_blank_answer_is_no_line_and_a_correction_is_of_its_answer(history: History) -> None:
    history.corrected(7, "of nothing")
    history.agent_says("one two three", 1, 90.0)
    history.agent_says("  ", 2, 90.0)
    history.user_said("Stop.", 91.0)
    history.corrected(1, "one")
    assert told(history) == ["agent: one … (interrupted)", "user: Stop."]


def test_a_line_that_is_longer_than_all_that_may_be_told_is_not_told() -> None:
    history = History(max_lines=12, max_chars=10, max_age_s=300)
    history.user_said("x" * 100, 90.0)
    assert history.carried_over(91.0) == ()


# ---------------------------------------------------------------- words that come late


def test_late_words_stand_where_they_were_said(history: History) -> None:
    history.expect(1, 90.0)
    history.agent_says("It is noon.", 1, 91.0)
    history.expect(2, 92.0)
    history.agent_says("Sunny.", 2, 93.0)
    history.user_said("And the weather?", 95.0, 2)
    history.user_said("What time is it?", 96.0, 1)
    assert told(history) == ["user: What time is it?", "agent: It is noon.", "user: And the weather?", "agent: Sunny."]
    assert [said.ago_s for said in history.carried_over(100.0)] == [10.0, 9.0, 8.0, 7.0]


def test_words_that_never_come_take_no_room(history: History) -> None:
    for said in range(1, 100):
        history.expect(said, 90.0)
    history.agent_says("It is noon.", 1, 91.0)
    assert told(history) == ["agent: It is noon."]
    # The first ones are forgotten; their words come last.
    history.user_said("Late.", 92.0, 1)
    assert told(history) == ["agent: It is noon.", "user: Late."]


def test_words_that_are_too_old_for_the_bound_do_not_come_back() -> None:
    history = History(max_lines=2, max_chars=MAX_CHARS, max_age_s=300)
    history.expect(1, 90.0)
    for answer in (1, 2, 3):
        history.agent_says(f"Answer {answer}.", answer, 91.0)
    history.user_said("The first question.", 92.0, 1)
    assert told(history) == ["agent: Answer 2.", "agent: Answer 3."]


def test_a_new_conversation_keeps_no_places(history: History) -> None:
    history.expect(1, 90.0)
    history.clear()
    history.agent_says("Hello.", 1, 91.0)
    history.user_said("From before.", 92.0, 1)
    assert told(history) == ["agent: Hello.", "user: From before."]
