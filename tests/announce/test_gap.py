"""When an announcement may begin: events and times, no clock."""

from __future__ import annotations

from parleyd.announce.gap import OWED_S, PAUSE_S, Gap
from parleyd.core import events


def state(after: str) -> events.StateChanged:
    return events.StateChanged(at_s=0.0, before="", after=after, trigger="", reason="")


def speaks(at_s: float) -> events.UtteranceStarted:
    return events.UtteranceStarted(at_s=at_s, utterance=1, detected_s=at_s)


def pauses(at_s: float) -> events.TalkStopped:
    return events.TalkStopped(at_s=at_s, utterance=1)


def is_silent(at_s: float) -> events.UtteranceEnded:
    return events.UtteranceEnded(at_s=at_s, utterance=1)


def answers(at_s: float) -> events.AnswerStarted:
    return events.AnswerStarted(at_s=at_s, answer=1)


def has_answered(at_s: float) -> events.AnswerEnded:
    return events.AnswerEnded(at_s=at_s, answer=1, heard_ms=1, finished=True)


def after(*happened: events.Event) -> Gap:
    gap = Gap()
    for event in happened:
        gap.step(event)
    return gap


def test_while_it_waits_for_the_next_try_what_is_said_is_kept_and_must_not_be_drowned() -> None:
    """Without an echo canceller the microphone counts as silent while an announcement sounds."""
    assert after(state("live"), state("backing off")).free(1.1)
    gap = after(state("live"), speaks(1.0), state("backing off"))
    assert not gap.free(90.0)
    gap.step(is_silent(3.0))
    assert not gap.free(3.0 + PAUSE_S - 0.1)
    assert gap.free(3.01 + PAUSE_S), "no answer is on its way"


def test_asleep_it_may_always_but_not_into_the_agents_goodbye() -> None:
    assert after().free(0.0)
    assert after(speaks(1.0)).free(1.1), "what is said in the room is no conversation"
    assert not after(state("live"), answers(1.0), state("asleep")).free(90.0)


def test_in_a_conversation_nobody_is_talked_over() -> None:
    assert not after(state("connecting"), speaks(1.0)).free(2.0)
    gap = after(state("live"), answers(1.0))
    assert not gap.free(60.0)
    gap.step(has_answered(2.0))
    assert not gap.free(2.0 + PAUSE_S / 2)
    assert gap.free(2.01 + PAUSE_S)


def test_a_breath_is_no_pause() -> None:
    gap = after(state("live"), speaks(1.0), pauses(2.0))
    assert not gap.free(2.0 + OWED_S)
    assert gap.talking
    gap.step(is_silent(2.0))
    assert not gap.talking


def test_the_answer_that_is_owed_comes_first_but_is_not_awaited_for_ever() -> None:
    gap = after(state("live"), speaks(1.0), is_silent(2.0))
    assert not gap.free(2.0 + OWED_S - 0.1)
    assert gap.free(2.0 + OWED_S)
    gap.step(answers(3.0))
    gap.step(has_answered(4.0))
    assert gap.free(4.01 + PAUSE_S)
    gap.step(events.Typed(at_s=9.0, text="and now?"))
    assert not gap.free(9.5)
    assert gap.free(9.0 + OWED_S)
