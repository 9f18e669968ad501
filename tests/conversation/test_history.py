from __future__ import annotations

import pytest

from parleyd.conversation.dialogue.history import History

MAX_CHARS = 2000


def told(history: History) -> list[str]:
    text = history.carried_over(100.0)
    return [] if text is None else text.splitlines()[1:]


@pytest.fixture
def history() -> History:
    return History(max_lines=12, max_chars=MAX_CHARS, max_age_s=300)


def test_nothing_said_nothing_told(history: History) -> None:
    history.user_said("  ", 90.0)
    assert history.carried_over(0.0) is None


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


def test_an_answer_without_any_sound_is_not_told_once_it_cannot_come(history: History) -> None:
    history.user_said("Hello?", 89.0)
    history.agent_says("one two", 1, 90.0)
    history.agent_says("three four", 2, 90.0)
    history.never_heard(after=1)
    assert told(history) == ["user: Hello?", "agent: one two"]


def test_the_servers_correction_wins(history: History) -> None:
    history.agent_says("one two three", 1, 90.0)
    history.corrected("one")
    history.cut(1, heard_ms=900, total_ms=1000)
    assert told(history) == ["agent: one … (interrupted)"]


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
    text = history.carried_over(1000.0 + later_s)
    assert (text is None) is (ago is None)
    if text is not None and ago is not None:
        assert ago in text
        assert "Will it rain?" in text


def test_a_blank_answer_is_no_line_and_a_correction_is_of_the_agents_last(history: History) -> None:
    history.corrected("of nothing")
    history.agent_says("one two three", 1, 90.0)
    history.agent_says("  ", 2, 90.0)
    history.user_said("Stop.", 91.0)
    history.corrected("one")
    assert told(history) == ["agent: one … (interrupted)", "user: Stop."]


def test_a_line_that_is_longer_than_all_that_may_be_told_is_not_told() -> None:
    history = History(max_lines=12, max_chars=10, max_age_s=300)
    history.user_said("x" * 100, 90.0)
    assert history.carried_over(91.0) is None
