"""Which agent the next session is with: the table of the rules, and generated sequences."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.supervisor.commands import Probe, StartFallback, StopFallback
from parleyd.conversation.supervisor.failover import (
    BELIEVED_S,
    FAILURES,
    FIRST_S,
    KEEP_S,
    LASTING_S,
    MOST_S,
    PAUSE_LOOK_S,
    REST_FIRST_S,
    SPENT_LOOK_S,
    STABLE_S,
    Failover,
)
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind

LOST = Ending(EndingKind.RETRY, "the line was lost")
NO_CREDIT = Ending(EndingKind.FINAL, "no credit is left", "buy some", without_credit=True)
HUNG_UP = Ending(EndingKind.AGENT, "the agent hung up", code=1000)
NO_GREETING = Ending(EndingKind.FINAL, "override refused", "enable it", greeting_refused=True)
AFTER_S = 5.0
Command = StartFallback | StopFallback | Probe | Publish | Log


class Play:
    """A failover, a clock, and what came of it."""

    def __init__(self, *, is_configured: bool = True) -> None:
        self.failover = Failover(is_configured=is_configured, after_s=AFTER_S)
        self.now_s = 100.0
        self.done: list[Command] = []
        self.spent = False

    def run(self, commands: Iterable[Command]) -> Play:
        self.done += commands
        return self

    def after(self, seconds: float) -> Play:
        self.now_s += seconds
        return self.run(self.failover.look(self.now_s))

    def connects(self) -> bool:
        """Returns whether it is with the fallback."""
        chosen = self.failover.choose(self.now_s, is_spent=self.spent)
        self.run(self.failover.connects(self.now_s, to_fallback=chosen, is_spent=self.spent))
        return chosen

    def opens(self) -> Play:
        return self.run(self.failover.opened(self.now_s))

    def ends(self, ending: Ending = LOST) -> Play:
        return self.run(self.failover.ended(ending, self.now_s))

    def away(self, ending: Ending = NO_CREDIT) -> Play:
        """The agent is away, and the session with the fallback is open."""
        assert not self.connects()
        self.ends(ending)
        while not self.connects():
            self.ends(ending)
        return self.opens()

    def goes_back(self) -> bool:
        return self.failover.goes_back(is_pause=True, is_spent=self.spent)

    def count(self, kind: type[Command]) -> int:
        return sum(isinstance(command, kind) for command in self.done)

    def told(self, kind: type[events.Event]) -> list[events.Event]:
        return [command.event for command in self.done if isinstance(command, Publish) and type(command.event) is kind]


@pytest.mark.parametrize(
    ("endings", "to_fallback"),
    [
        ([], False),
        ([LOST], False),
        ([LOST] * FAILURES, True),
        ([NO_CREDIT], True),
        ([HUNG_UP], False),
        ([HUNG_UP] * 5, False),
        ([NO_GREETING], False),
        ([LOST, NO_GREETING], False),
    ],
)
def test_the_choice_after_sessions_that_did_not_come_about(endings: list[Ending], to_fallback: bool) -> None:
    play = Play()
    for ending in endings:
        assert not play.connects()
        play.ends(ending)
    assert play.connects() is to_fallback
    assert play.failover.is_next_at_once(play.now_s) is to_fallback


def test_without_a_fallback_it_is_always_the_agent_and_nothing_is_said() -> None:
    play = Play(is_configured=False)
    for ending in (LOST, NO_CREDIT, LOST):
        assert not play.connects()
        play.ends(ending).after(100)
        assert play.failover.next_look_s(play.now_s) == float("inf")
    play.spent = True
    assert not play.connects()
    assert not play.failover.is_overdue(play.now_s + 1000)
    assert play.done == []


def test_a_loss_after_a_session_that_held_is_tried_again_with_the_agent() -> None:
    play = Play()
    for _ in range(5):
        assert not play.connects()
        play.opens().after(STABLE_S).ends(LOST)
    # But not one that opens and breaks at once.
    play.connects()
    play.opens().after(1).ends(LOST)
    assert play.connects()


def test_losses_with_a_proper_end_between_them_are_not_in_a_row() -> None:
    play = Play()
    play.connects()
    play.ends(LOST)
    play.connects()
    play.opens().after(3)
    play.failover.sleeps(play.now_s)
    play.connects()
    play.ends(LOST)
    assert not play.connects()


def test_a_line_that_does_not_come_about_is_given_up_after_the_time_that_is_configured() -> None:
    play = Play()
    play.connects()
    assert play.failover.next_look_s(play.now_s) == play.now_s + AFTER_S
    assert not play.after(AFTER_S - 0.1).failover.is_overdue(play.now_s)
    assert play.after(0.1).failover.is_overdue(play.now_s)
    play.ends(play.failover.overdue())
    assert play.connects()
    assert not play.after(1000).failover.is_overdue(play.now_s), "the fallback has its own time"


def test_the_time_counts_from_the_loss_and_not_from_each_try() -> None:
    play = Play()
    play.connects()
    play.opens().after(60).ends(LOST)
    play.connects()
    assert play.after(AFTER_S).failover.is_overdue(play.now_s)


def test_it_is_said_once_in_an_outage_and_what_began_is_over_once() -> None:
    play = Play().away()
    for _ in range(3):
        play.after(LASTING_S)
        assert play.goes_back()
        assert not play.connects()
        play.opens().after(1).ends(NO_CREDIT)
        assert play.connects()
        play.opens()
    began = play.told(events.FallbackBegan)
    assert [event.is_first for event in began if isinstance(event, events.FallbackBegan)] == [True, False, False, False]
    assert len(play.told(events.FallbackOver)) == 3
    play.after(LASTING_S)
    play.connects()
    play.opens().after(STABLE_S).ends(NO_CREDIT)
    play.connects()
    play.opens()
    last = play.told(events.FallbackBegan)[-1]
    assert isinstance(last, events.FallbackBegan)
    assert last.is_first, "the agent has answered for a while: this is another outage"


def test_it_goes_back_in_a_pause_when_a_probe_has_succeeded() -> None:
    play = Play().away(LOST)
    assert not play.goes_back()
    assert play.after(FIRST_S).count(Probe) == 1
    assert play.after(FIRST_S).count(Probe) == 1, "one at a time"
    play.failover.probed(play.now_s, answers=False)
    assert play.after(2 * FIRST_S - 0.1).count(Probe) == 1, "it is asked less and less often"
    assert play.after(0.2).count(Probe) == 2
    play.failover.probed(play.now_s, answers=True)
    assert not play.failover.goes_back(is_pause=False, is_spent=False)
    assert play.goes_back()
    assert not play.connects()


def test_probes_become_rare_and_go_on() -> None:
    play = Play().away(LOST)
    tries = int(BELIEVED_S / MOST_S) - 1
    for _ in range(tries):
        play.after(MOST_S)
        play.failover.probed(play.now_s, answers=False)
    assert play.count(Probe) == tries


@pytest.mark.parametrize("is_probe_lost", [False, True])
def test_probes_that_say_no_are_not_believed_for_ever(is_probe_lost: bool) -> None:
    play = Play().away(LOST)
    began_s = play.now_s
    for _ in range(2):
        while not play.goes_back():
            assert play.now_s < began_s + BELIEVED_S, "the agent is tried by a session"
            due_s = play.failover.next_look_s(play.now_s)
            play.after(due_s - play.now_s)
            if not is_probe_lost:
                play.failover.probed(play.now_s, answers=False)
        assert not play.connects()
        # It was right: the fallback answers as before, for as long.
        play.ends(LOST)
        began_s = play.now_s
        assert play.connects()
        play.opens()


def test_a_trial_that_fails_brings_the_fallback_back_at_once() -> None:
    play = Play().away(LOST)
    play.after(FIRST_S)
    play.failover.probed(play.now_s, answers=True)
    assert not play.connects()
    play.ends(LOST)
    assert play.failover.is_next_at_once(play.now_s)
    assert play.connects()


def test_a_trial_that_the_agent_ends_before_it_begins_says_nothing_and_is_still_due() -> None:
    play = Play().away(LOST)
    play.after(FIRST_S)
    play.failover.probed(play.now_s, answers=True)
    assert not play.connects()
    play.ends(HUNG_UP)
    assert not play.connects(), "it has not failed"


def test_asleep_nothing_is_probed_and_the_next_wake_tries_the_agent_if_it_is_due() -> None:
    play = Play().away(LOST)
    play.failover.sleeps(play.now_s)
    assert play.connects(), "the agent has failed just now"
    play.opens()
    play.failover.sleeps(play.now_s)
    assert play.after(MOST_S).count(Probe) == 0
    assert not play.connects()


def test_a_trial_that_is_broken_off_by_sleep_is_still_due() -> None:
    play = Play().away(LOST)
    play.failover.sleeps(play.now_s)
    play.after(MOST_S)
    assert not play.connects()
    play.failover.sleeps(play.now_s)
    assert not play.connects()


def test_a_reload_may_have_mended_it() -> None:
    play = Play().away(NO_CREDIT)
    play.failover.reconfigure(AFTER_S)
    assert play.goes_back()


def test_a_spent_budget_is_answered_by_the_fallback_until_there_is_a_new_one() -> None:
    play = Play()
    play.spent = True
    assert play.connects()
    play.opens().after(100)
    assert not play.goes_back()
    assert play.count(Probe) == 0
    assert play.failover.next_look_s(play.now_s) == play.now_s + SPENT_LOOK_S
    play.spent = False
    assert play.goes_back()
    assert not play.connects()
    play.opens()
    assert len(play.told(events.FallbackOver)) == 1


def test_it_is_looked_when_something_may_be_due_and_not_before() -> None:
    play = Play().away(LOST)
    assert play.failover.next_look_s(play.now_s) == play.now_s + FIRST_S
    play.after(FIRST_S)
    assert play.failover.next_look_s(play.now_s) > play.now_s + FIRST_S, "the outcome of the probe comes by itself"
    play.failover.probed(play.now_s, answers=True)
    assert play.failover.next_look_s(play.now_s) == play.now_s + PAUSE_LOOK_S


def test_the_outcome_of_a_probe_that_comes_late_is_nothing() -> None:
    play = Play().away(LOST).after(FIRST_S)
    assert play.count(Probe) == 1
    play.failover.reconfigure(AFTER_S)
    assert not play.connects()
    play.opens()
    play.failover.probed(play.now_s, answers=False)
    assert not play.connects()


def test_a_fallback_that_fails_is_tried_once_more_then_the_agent_has_its_turn() -> None:
    play = Play()
    play.connects()
    play.ends(NO_CREDIT)
    for _ in range(FAILURES):
        assert play.failover.is_next_at_once(play.now_s)
        assert play.connects()
        play.ends(LOST)
    assert not play.failover.is_next_at_once(play.now_s)
    assert not play.connects()
    assert not play.failover.is_overdue(play.now_s + 60), "nobody would answer in its place"
    play.ends(LOST)
    assert not play.failover.is_next_at_once(play.now_s)
    play.after(REST_FIRST_S)
    assert play.connects()
    play.ends(LOST)
    assert len(play.told(events.Trouble)) == 1, "told once"
    play.after(100)
    assert not play.connects(), "the agent is due"
    play.ends(LOST)
    assert play.connects()
    play.opens().after(STABLE_S).ends(LOST)
    assert len(play.told(events.Trouble)) == 2, "it had worked"
    assert play.failover.is_next_at_once(play.now_s)


@pytest.mark.parametrize("ending", [LOST, HUNG_UP])
def test_a_fallback_whose_sessions_break_as_soon_as_they_begin_is_left_alone(ending: Ending) -> None:
    """As by the speech that each of them is sent again: without a rest it would go on at once for ever."""
    play = Play()
    play.connects()
    play.ends(NO_CREDIT)
    for _ in range(FAILURES):
        assert play.failover.is_next_at_once(play.now_s)
        assert play.connects()
        if ending is LOST:
            play.opens().after(0.1)
        play.ends(ending)
    assert not play.failover.is_next_at_once(play.now_s)
    assert not play.connects(), "the agent has its turn"
    assert len(play.told(events.Trouble)) == 1


def test_a_failure_of_the_fallback_before_a_session_that_was_good_does_not_count() -> None:
    play = Play()
    play.connects()
    play.ends(NO_CREDIT)
    for ends_well in (True, False):
        play.connects()
        play.ends(LOST)
        assert play.connects()
        play.opens().after(STABLE_S if not ends_well else 1.0)
        if ends_well:
            play.failover.sleeps(play.now_s)
        else:
            play.connects()
    assert play.failover.in_fallback


def test_its_process_is_started_with_the_first_failure_and_stopped_when_it_was_not_used_for_a_while() -> None:
    play = Play()
    play.connects()
    play.opens()
    assert play.count(StartFallback) == 0
    play.after(60).ends(LOST)
    assert play.count(StartFallback) == 1
    play.connects()
    play.opens()
    assert play.failover.next_look_s(play.now_s) <= play.now_s + KEEP_S
    assert play.after(KEEP_S - 0.1).count(StopFallback) == 0
    assert play.after(0.1).count(StopFallback) == 1
    assert play.after(1000).count(StopFallback) == 1
    play.away()
    assert play.after(1000).count(StopFallback) == 1, "not while it is used"
    play.failover.sleeps(play.now_s)
    assert play.after(KEEP_S).count(StopFallback) == 2
    assert play.count(StartFallback) == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("after"), st.floats(0.01, 700)),
        st.tuples(st.just("end"), st.sampled_from([LOST, NO_CREDIT, HUNG_UP, NO_GREETING])),
        st.tuples(st.sampled_from(["open", "sleep", "pause", "overdue", "reload"]), st.none()),
        st.tuples(st.just("probed"), st.booleans()),
        st.tuples(st.just("spend"), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whatever_happens(steps: list[tuple[str, object]]) -> None:
    """What is told alternates; the process runs while a session is with it; nothing is due in the past for ever; the
    fallback is never left waiting for a probe that nobody makes; and whoever answers is who was chosen."""
    play = Play()
    phase = "asleep"
    waiting_probe = False
    for what, value in steps:
        before = len(play.done)
        if phase == "asleep":
            play.connects()
            phase = "connecting"
        if what == "after" and isinstance(value, float):
            play.after(value)
        elif what == "open" and phase == "connecting":
            play.opens()
            phase = "live"
        elif what == "end" and isinstance(value, Ending):
            play.ends(value)
            phase = "asleep"
        elif what == "sleep":
            play.failover.sleeps(play.now_s)
            phase = "asleep"
        elif what == "pause" and phase == "live" and play.goes_back():
            assert not play.connects() or play.spent, "it goes back to the agent"
            phase = "connecting"
        elif what == "overdue" and phase == "connecting" and play.failover.is_overdue(play.now_s):
            assert not play.failover.in_fallback
            play.ends(play.failover.overdue())
            assert play.connects() or play.now_s < play.failover._rests_until_s
            phase = "connecting"
        elif what == "probed" and waiting_probe:
            play.failover.probed(play.now_s, answers=bool(value))
            waiting_probe = False
        elif what == "spend":
            play.spent = bool(value)
        elif what == "reload":
            play.failover.reconfigure(AFTER_S)
        new = play.done[before:]
        assert sum(isinstance(command, Probe) for command in new) <= (0 if waiting_probe else 1)
        waiting_probe |= any(isinstance(command, Probe) for command in new)
        shown = [
            type(command.event)
            for command in play.done
            if isinstance(command, Publish) and isinstance(command.event, events.FallbackBegan | events.FallbackOver)
        ]
        assert all(a is not b for a, b in itertools.pairwise(shown)), "they alternate"
        assert shown[:1] in ([], [events.FallbackBegan])
        if phase == "asleep":
            assert not play.failover.choose(play.now_s + LASTING_S, is_spent=False), "the agent is tried again"
        runs = play.count(StartFallback) - play.count(StopFallback)
        assert runs in (0, 1)
        if phase in ("connecting", "live") and play.failover.in_fallback:
            assert runs == 1
        if phase == "live":
            assert play.failover.answers is play.failover.in_fallback
