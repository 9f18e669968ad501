"""The life of sessions with a fallback: what the rules of failover make of the states and moves."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="comparison-overlap,unreachable"

from __future__ import annotations

from test_lifecycle import BUDGET, FINAL, LOST, SPEECH, Life, last_move

from parleyd.config.schema import Config, ElevenLabs, Reconnect
from parleyd.conversation.supervisor.commands import (
    Abandon,
    Connect,
    HangUp,
    Probe,
    StartFallback,
    StopFallback,
    Wake,
)
from parleyd.conversation.supervisor.failover import FIRST_S, KEEP_S
from parleyd.conversation.supervisor.lifecycle import SLOW_S, STABLE_S
from parleyd.core import events
from parleyd.core.states import State


def life() -> Life:
    return Life(
        Config(elevenlabs=ElevenLabs(agent_id="a"), fallback="local", reconnect=Reconnect(initial_s=1.0, max_s=60.0))
    )


def in_fallback() -> Life:
    one = life()
    one.take(SPEECH)
    one.ends(FINAL)
    one.look()
    one.opens("f1")
    return one


def connects(one: Life) -> list[bool]:
    return [command.to_fallback for command in one.of(Connect)]


def test_a_final_error_is_followed_by_the_fallback_without_delay() -> None:
    one = life()
    one.take(SPEECH)
    one.ends(FINAL)
    assert one.state is State.BACKING_OFF
    assert one.next_look_s == 0
    one.look()
    assert connects(one) == [False, True]
    one.opens("f1")
    assert [event.is_fallback for event in one.told(events.SessionOpened)] == [True]
    assert [event.reason for event in one.told(events.FallbackBegan)] == [FINAL.reason]


def test_a_lost_line_is_tried_once_more_with_the_agent_and_its_process_is_started_meanwhile() -> None:
    one = life()
    one.take(SPEECH)
    one.opens()
    one.look(STABLE_S)
    one.ends(LOST)
    one.look()
    assert connects(one) == [False, False]
    assert len(one.of(StartFallback)) == 1
    one.ends(LOST)
    one.look()
    assert connects(one) == [False, False, True]


def test_a_line_that_does_not_come_about_is_given_up() -> None:
    one = life()
    one.take(SPEECH)
    one.look(5.0)
    assert len(one.of(Abandon)) == 1
    assert one.state is State.BACKING_OFF
    one.look()
    assert connects(one) == [False, True]
    assert one.state is State.CONNECTING


def test_the_outage_is_told_once_and_is_over_with_the_agent_and_not_with_the_fallback() -> None:
    one = in_fallback()
    assert len(one.told(events.Trouble)) == 1
    one.look(STABLE_S + 1)
    assert not [log for log in one.commands if "the line is back" in str(log)]
    one.run(one.lifecycle.reconfigure(one.config, one.now_s, one.facts))
    one.facts.is_pause = True
    one.look()
    assert last_move(one) == ("agent is back", "connecting")
    assert len(one.of(HangUp)) == 1
    one.opens("c2")
    assert [log for log in one.commands if "the line is back" in str(log)]
    assert connects(one) == [False, True, False]
    assert len(one.told(events.FallbackOver)) == 1


def test_it_waits_for_a_pause() -> None:
    one = life()
    one.take(SPEECH)
    for _ in range(2):
        one.ends(LOST)
        one.look()
    one.opens("f1")
    one.look(FIRST_S * 2)
    assert len(one.of(Probe)) == 1
    one.lifecycle.probed(one.now_s, answers=True)
    one.look()
    assert one.state is State.LIVE
    one.facts.is_pause = True
    one.look()
    assert one.state is State.CONNECTING


def test_a_spent_budget_ends_no_session_with_the_fallback_and_opens_one_with_it() -> None:
    one = life()
    one.facts.spent = BUDGET
    one.take(SPEECH)
    assert connects(one) == [True]
    one.opens("f1")
    one.facts.is_pause = True
    one.look(100)
    assert one.state is State.LIVE
    one.facts.spent = None
    one.look()
    assert last_move(one) == ("agent is back", "connecting")


def test_a_command_in_spite_of_the_budget_is_for_the_agent() -> None:
    one = life()
    one.facts.spent = BUDGET
    one.run(one.lifecycle.take(Wake(by_speech=False, anyway=True), one.now_s, one.facts))
    assert connects(one) == [False]


def test_an_agent_without_credit_whose_session_goes_on_is_left() -> None:
    one = life()
    one.take(SPEECH)
    one.opens()
    one.run(one.lifecycle.out_of_credit("no credit", None, one.now_s, one.facts))
    assert len(one.of(Abandon)) == 1
    assert one.told(events.SessionEnded)[-1].ending.without_credit
    one.look()
    assert connects(one) == [False, True]
    one.opens("f1")
    one.run(one.lifecycle.out_of_credit("no credit", None, one.now_s, one.facts))
    assert one.state is State.LIVE, "the fallback has none to lose"


def test_without_a_fallback_such_a_session_goes_on() -> None:
    one = Life()
    one.take(SPEECH)
    one.opens()
    assert one.run(one.lifecycle.out_of_credit("no credit", None, one.now_s, one.facts)) == []


def test_asleep_its_process_ends() -> None:
    one = in_fallback()
    one.take(SPEECH)
    one.facts.farewell_s = 0.0
    one.look()
    assert one.state is State.ASLEEP
    assert one.next_look_s == KEEP_S
    one.look(KEEP_S)
    assert len(one.of(StopFallback)) == 1


def test_a_fallback_that_is_lost_is_told_by_itself_and_tried_again() -> None:
    one = in_fallback()
    one.look(STABLE_S + 1)
    one.ends(LOST)
    assert last_move(one) == ("lost", "backing off")
    assert "the fallback fails" in one.told(events.Trouble)[-1].text
    one.look()
    assert connects(one) == [False, True, True]


def test_what_was_said_is_not_given_up_for_a_budget_where_the_fallback_is_asked_next() -> None:
    one = life()
    one.take(SPEECH)
    one.opens()
    one.facts.spent = BUDGET
    one.ends(LOST)
    assert one.state is State.BACKING_OFF
    one.look()
    assert connects(one) == [False, True]
    assert one.state is State.CONNECTING


def test_a_fallback_that_takes_its_time_is_no_line_to_the_agent_that_is_slow() -> None:
    one = life()
    one.facts.spent = BUDGET
    one.take(SPEECH)
    one.look(SLOW_S)
    assert one.told(events.Trouble) == []
