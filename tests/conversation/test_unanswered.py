"""The words that a new session is asked, after the line was lost between a transcript and its answer."""

from __future__ import annotations

from parleyd.agents.events import MAX_TEXT_CHARS
from parleyd.conversation.dialogue.unanswered import ASKED_AGAIN_S, Unanswered


def understood(one: Unanswered, text: str, said_s: float, now_s: float, *, announces: bool = False) -> None:
    one.understood(text, said_s, now_s, announces_speech=announces)


def test_words_without_an_answer_are_asked_until_there_is_one() -> None:
    one = Unanswered()
    understood(one, "what time is it", 10, 10)
    understood(one, "and the date", 12, 12)
    assert one.to_ask(13) == "what time is it and the date"
    assert one.to_ask(14) == "what time is it and the date", "the session that was asked may die, too"
    one.answered(15)
    assert one.to_ask(16) is None


def test_a_transcript_that_comes_after_its_answer_has_begun_is_answered() -> None:
    one = Unanswered()
    one.answered(10.5)
    understood(one, "what time is it", 10, 11)
    assert one.to_ask(12) is None
    understood(one, "and the date", 13, 13)
    assert one.to_ask(14) == "and the date"


def test_where_the_agent_announces_what_it_has_the_rest_is_sent_again_as_sound() -> None:
    one = Unanswered()
    understood(one, "what time is it", 10, 11, announces=True)
    assert one.to_ask(12) is None
    understood(one, "what time is it", 20, 21, announces=True)
    one.taken(21.5)
    understood(one, "and the date", 22, 23, announces=True)
    assert one.to_ask(24) == "what time is it"


def test_words_that_come_after_their_sound_was_taken_are_asked() -> None:
    one = Unanswered()
    one.taken(11)
    understood(one, "what time is it", 10, 12, announces=True)
    assert one.to_ask(13) == "what time is it"


def test_old_words_are_asked_of_nobody() -> None:
    one = Unanswered()
    understood(one, "hm", 10, 10)
    assert one.to_ask(10 + ASKED_AGAIN_S) == "hm"
    assert one.to_ask(10.1 + ASKED_AGAIN_S) is None


def test_an_agent_that_never_answers_does_not_fill_the_memory() -> None:
    one = Unanswered()
    for number in range(1000):
        understood(one, "x" * 1000, number / 100, number / 100)
    assert len(one.to_ask(10) or "") <= MAX_TEXT_CHARS + 1000
