from __future__ import annotations

from parleyd.conversation.history import MOST_CHARACTERS, PREFACE, History


def told(history: History) -> list[str]:
    text = history.carried_over()
    return [] if text is None else text.removeprefix(PREFACE).strip().splitlines()


def test_nothing_said_nothing_told() -> None:
    history = History()
    history.user_said("  ")
    assert history.carried_over() is None


def test_both_sides_in_order() -> None:
    history = History()
    history.user_said("What time is it?")
    history.agent_says("It is noon.", 1)
    assert told(history) == ["user: What time is it?", "agent: It is noon."]


def test_a_cut_answer_keeps_the_words_that_were_heard() -> None:
    history = History()
    history.agent_says("one two three four five six seven eight nine ten", 3)
    history.cut(3, heard_ms=500, total_ms=1000)
    assert told(history) == ["agent: one two three four five … (interrupted)"]


def test_the_servers_correction_wins() -> None:
    history = History()
    history.agent_says("one two three", 1)
    history.corrected("one")
    history.cut(1, heard_ms=900, total_ms=1000)
    assert told(history) == ["agent: one … (interrupted)"]


def test_bounded_and_the_newest_is_kept() -> None:
    history = History()
    for n in range(30):
        history.user_said(f"{n} " + "x" * 400)
    lines = told(history)
    assert sum(map(len, lines)) <= MOST_CHARACTERS
    assert lines[-1].startswith("user: 29 ")
