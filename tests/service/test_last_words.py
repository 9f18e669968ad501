"""The last sentences, which `parleyd status` shows."""

from __future__ import annotations

from parleyd.app.last_words import KEPT_S, LastWords, Said
from parleyd.core import events


def test_the_last_sentences_and_their_age() -> None:
    last = LastWords()
    assert last.words(0.0).heard is None
    last.take(events.Heard(at_s=1.0, text="What ti", final=False))
    assert last.words(1.0).heard is None
    last.take(events.Heard(at_s=2.0, text="What time is it?", final=True))
    last.take(events.Heard(at_s=3.0, text=" ", final=True))
    last.take(events.AnswerText(at_s=4.0, text="It is noon. And the weather"))
    assert last.words(5.0).heard == Said("What time is it?", 3.0)
    last.take(events.AnswerText(at_s=5.0, text="It is noon.", corrected=True))
    assert last.words(5.5).answered == Said("It is noon.", 0.5, interrupted=True)
    last.take(events.Typed(at_s=6.0, text="Thanks"))
    assert last.words(6.0).heard == Said("Thanks", 0.0, typed=True)


def test_they_are_forgotten_and_never_long() -> None:
    last = LastWords()
    last.take(events.AnswerText(at_s=0.0, text="word " * 1000))
    said = last.words(KEPT_S).answered
    assert said is not None
    assert len(said.text) <= 500
    assert last.words(KEPT_S + 0.1).answered is None
    assert last.words(0.0).answered is None, "forgotten is forgotten"


def test_an_answer_of_which_nothing_was_heard_was_not_said() -> None:
    last = LastWords()
    last.take(events.AnswerText(at_s=1.0, text="It is noon.", answer=3))
    last.take(events.AnswerText(at_s=2.0, text="", corrected=True, answer=4))
    assert last.words(2.0).answered == Said("It is noon.", 1.0), "another answer's words were heard"
    last.take(events.AnswerText(at_s=2.0, text="", answer=3))
    assert last.words(2.0).answered is not None, "no words came, and none are taken back"
    last.take(events.AnswerText(at_s=3.0, text="", corrected=True, answer=3))
    assert last.words(3.0).answered is None


def test_an_event_after_an_hour_deletes_them_though_nobody_asks() -> None:
    last = LastWords()
    last.take(events.Typed(at_s=0.0, text="Thanks"))
    last.take(events.AnswerText(at_s=0.0, text="With pleasure."))
    last.take(events.AnswerStarted(at_s=KEPT_S + 0.1, answer=1))
    assert (last._heard, last._answered) == (None, None)
