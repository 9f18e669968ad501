"""Which earcon sounds when: stories told in events, with their times."""

from __future__ import annotations

import pytest

from parleyd.audio.earcons.cues import AGAIN_S, PRESENT_S, EarconCues
from parleyd.core import events
from parleyd.core.states import State, Trigger


class Story:
    """Says what sounded, as one text."""

    def __init__(self, **options: bool) -> None:
        self.cues = EarconCues(**({"always": False, "after_speech": False} | options))
        self.state = State.ASLEEP
        self.sounded: list[str] = []

    def tell(self, event: events.Event) -> Story:
        cue = self.cues.step(event)
        if cue is not None:
            self.sounded.append(cue.earcon)
        return self

    def woken(self, at_s: float, by: str) -> Story:
        self.tell(events.Woken(at_s=at_s, by=by))  # type: ignore[arg-type]
        return self.to(at_s, State.CONNECTING, Trigger.WAKE)

    def to(self, at_s: float, state: State, trigger: Trigger) -> Story:
        before, self.state = self.state, state
        return self.tell(
            events.StateChanged(at_s=at_s, before=before.value, after=state.value, trigger=trigger.value, reason="")
        )

    def live(self, at_s: float) -> Story:
        return self.to(at_s, State.LIVE, Trigger.READY)

    def asleep(self, at_s: float, trigger: Trigger = Trigger.IDLE) -> Story:
        return self.to(at_s, State.ASLEEP, trigger)

    def fails(self, at_s: float, trigger: Trigger = Trigger.LOST) -> Story:
        return self.to(at_s, State.BACKING_OFF, trigger)

    def retries(self, at_s: float) -> Story:
        return self.to(at_s, State.CONNECTING, Trigger.RETRY_DUE)

    def talks(self, at_s: float) -> Story:
        return self.tell(events.UtteranceStarted(at_s=at_s, utterance=1, detected_s=at_s))

    def pauses(self, at_s: float) -> Story:
        return self.tell(events.TalkStopped(at_s=at_s, utterance=1))


@pytest.mark.parametrize("by", ["word", "command"])
def test_who_calls_it_is_told_at_once_and_when_it_is_over(by: str) -> None:
    story = Story().woken(1, by)
    assert story.sounded == ["listening"]
    assert story.live(2).asleep(30).sounded == ["listening", "sleeping"]


def test_not_over_the_persons_own_words() -> None:
    story = Story().talks(0.5).woken(1, "word")
    assert story.sounded == []
    assert story.pauses(2).sounded == ["listening"]


def test_whoever_has_the_answer_needs_no_tone() -> None:
    story = Story().talks(0.5).woken(1, "word").live(2).tell(events.AnswerStarted(at_s=3, answer=1))
    assert story.pauses(4).sounded == []


def test_speech_alone_beeps_neither_at_a_false_wake_nor_at_a_true_one() -> None:
    story = Story().talks(1).woken(1.2, "speech").pauses(2).live(2.2).asleep(10, Trigger.FALSE_WAKE)
    story.talks(20).woken(20.2, "speech").live(21).pauses(22).asleep(50)
    assert story.sounded == []


def test_unless_that_is_wanted() -> None:
    story = Story(after_speech=True).talks(1).woken(1.2, "speech").live(1.5)
    assert story.sounded == []
    assert story.pauses(2).asleep(30).sounded == ["listening", "sleeping"]


def test_an_answer_whose_end_was_lost_does_not_pass_for_a_whole_one() -> None:
    whole = events.AnswerEnded(at_s=5, answer=1, heard_ms=2000, finished=True, total_ms=2000)
    interrupted = events.AnswerEnded(at_s=5, answer=1, heard_ms=500, finished=False, total_ms=2000)
    cut = events.AnswerEnded(at_s=5, answer=1, heard_ms=1500, finished=False, total_ms=2000, lost_ms=500)
    assert Story().tell(whole).tell(interrupted).sounded == []
    assert Story().tell(cut).sounded == ["error"]


def test_an_answer_that_the_server_cut_short_does_not_pass_for_a_whole_one() -> None:
    cut = events.AnswerIncomplete(at_s=5, text="the agent's answer ends in the middle: filter", hint=None, answer=1)
    assert Story().tell(cut).sounded == ["error"]


def test_an_answer_that_failed_is_told_to_who_asked() -> None:
    failed = events.AnswerFailed(at_s=5, text="the account has no credit left", hint=None)
    assert Story().talks(1).pauses(2).tell(failed).sounded == ["error"]


def test_a_command_to_sleep_is_always_answered() -> None:
    assert Story().talks(1).woken(1, "speech").pauses(2).live(2).asleep(3, Trigger.SLEEP).sounded == ["sleeping"]


def test_an_outage_is_told_once_and_its_end_to_who_still_waits() -> None:
    story = Story().talks(1).woken(1, "speech").pauses(2)
    story.fails(2.1)
    assert story.sounded == []  # the first retry may fix it
    story.retries(2.1).fails(2.2)
    assert story.sounded == ["error"]
    for at_s in range(3, 20):
        story.retries(at_s).fails(at_s + 0.5)
    assert story.sounded == ["error"]
    assert story.retries(20).live(20.5).sounded == ["error", "listening"]
    late = Story().talks(1).woken(1, "speech").pauses(2).fails(2.1).retries(2.1).fails(2.2)
    assert late.retries(600).live(601).sounded == ["error"]


def test_a_line_that_comes_back_at_once_is_not_worth_a_word() -> None:
    story = Story().woken(1, "command").live(2).fails(60).retries(60).live(60.4)
    assert story.sounded == ["listening"]


@pytest.mark.parametrize(("at_s", "trigger"), [(1.2, Trigger.REFUSED), (11.0, Trigger.LOST)])
def test_what_will_not_pass_or_has_kept_somebody_waiting_is_told_at_the_first_failure(
    at_s: float, trigger: Trigger
) -> None:
    assert Story().woken(1, "command").fails(at_s, trigger).sounded == ["listening", "error"]


def test_who_waits_for_a_line_is_told_before_there_is_a_reason() -> None:
    story = Story().woken(1, "command")
    slow = events.Trouble(at_s=6, text="there is still no line", part="agent")
    assert story.tell(slow).sounded == ["listening", "error"]
    # The reason comes later, and the outage was told.
    assert story.fails(58).retries(58).fails(120).sounded == ["listening", "error"]
    late = Story().woken(1, "command").tell(slow).live(8)
    assert late.sounded == ["listening", "error", "listening"]
    nobody = Story(always=True).to(1000, State.CONNECTING, Trigger.WAKE)
    assert nobody.tell(events.Trouble(at_s=1006, text="", part="agent")).sounded == []
    assert nobody.talks(1010).pauses(1012).sounded == ["error"]


def test_a_television_without_a_network_beeps_no_more_than_once_an_hour() -> None:
    story = Story()
    for at_s in range(0, round(AGAIN_S) + 300, 130):
        story.talks(at_s).woken(at_s, "speech").pauses(at_s + 2).fails(at_s + 3).retries(at_s + 3).fails(at_s + 4)
        story.asleep(at_s + 121, Trigger.GIVEN_UP)
    assert story.sounded == ["error", "error"]


def test_who_asks_again_by_name_is_told_again() -> None:
    story = Story().woken(1, "word").fails(2, Trigger.REFUSED).asleep(100, Trigger.GIVEN_UP).woken(200, "word")
    assert story.fails(201, Trigger.REFUSED).sounded == ["listening", "error"] * 2


def test_a_line_held_for_ever_breaks_at_night_without_a_sound_until_somebody_speaks() -> None:
    story = Story(always=True).woken(0, "command").live(1)
    assert story.sounded == ["listening"]
    story.fails(1000).retries(1000).fails(1010)
    assert story.sounded == ["listening"]
    story.talks(5000).pauses(5001)
    assert story.sounded == ["listening", "error"]
    assert story.retries(5002).live(5002 + PRESENT_S / 2).sounded == ["listening", "error", "listening"]


def test_an_agent_that_hangs_up_at_once_again_and_again_is_an_outage() -> None:
    story = Story().talks(1).woken(1, "speech").pauses(1.5)
    for at_s in range(2, 20, 2):
        story.live(at_s).fails(at_s + 1).retries(at_s + 1)
    assert story.sounded == ["error", "listening"]


def test_muting_is_answered_even_while_somebody_talks() -> None:
    story = Story().talks(1).tell(events.Muted(at_s=2, on=True)).tell(events.Muted(at_s=3, on=False))
    assert story.sounded == ["muted", "unmuted"]


def test_a_budget_that_runs_out_is_heard_and_quiet_hours_are_not() -> None:
    near = events.BudgetNear(at_s=1, period="day", left_s=60, of_minutes=5)
    spent = events.BudgetSpent(at_s=2, reason="", hint="")
    assert Story().tell(near).tell(spent).sounded == ["budget", "budget"]
    in_vain = events.WakeRefused(at_s=3, by="budget", reason="", hint="")
    at_night = events.WakeRefused(at_s=3, by="quiet hours", reason="", hint="")
    assert Story().talks(2).tell(in_vain).pauses(4).sounded == ["budget"]
    assert Story().talks(2).tell(at_night).pauses(4).sounded == []


def test_speech_that_is_lost_is_told_to_who_is_there_and_not_on_top_of_an_outage() -> None:
    lost = events.SpeechLost(at_s=5, lost_ms=900, cause="")
    assert Story().talks(1).pauses(2).tell(lost).sounded == ["error"]
    assert Story().talks(1).tell(lost).sounded == [], "not over their own words"
    assert Story().talks(1).tell(lost).pauses(6).sounded == ["error"]
    assert Story().tell(lost).sounded == [], "nobody is there"
    assert Story().talks(1).woken(1, "speech").pauses(2).fails(3).fails(4).tell(lost).sounded == ["error"]


def test_a_timer_rings_and_is_not_cut_short_by_the_wake_that_follows() -> None:
    ring = events.TimerWentOff(at_s=1, number=1, label="tea", late_s=0)
    assert Story().tell(ring).woken(1.01, "command").live(2).sounded == ["timer"]
    assert Story().talks(0.5).tell(ring).sounded == ["timer"]
    assert Story().tell(ring).woken(60, "command").sounded == ["timer", "listening"]


def test_a_timer_rings_to_its_end_also_where_no_session_can_be_had() -> None:
    ring = events.TimerWentOff(at_s=1, number=1, label="tea", late_s=0)
    spent = events.WakeRefused(at_s=1.01, by="budget", reason="", hint="")
    assert Story().tell(ring).tell(spent).sounded == ["timer"]
    no_line = Story().tell(ring).woken(1.01, "command").fails(1.1).fails(1.5).fails(9)
    assert no_line.sounded == ["timer"]
    assert no_line.talks(20).pauses(21).sounded == ["timer", "error"], "who comes and speaks is told"
    no_line = Story().tell(ring).woken(1.01, "command").fails(1.1).fails(1.5).talks(2.5).pauses(3.5)
    assert no_line.sounded == ["timer"]
    assert no_line.talks(20).pauses(21).sounded == ["timer", "error"], "not when who speaks stops the ring"
    assert Story().tell(ring).tell(events.Muted(at_s=2, on=True)).sounded == ["timer", "muted"]


def test_a_question_that_a_person_has_to_answer_sounds_at_once() -> None:
    """Over their own words, over the agent's, and while a timer rings: there are seconds to answer it."""
    story = Story()
    story.tell(events.TimerWentOff(at_s=1, number=1, label="tea", late_s=0)).talks(2)
    question = events.ConfirmationWanted(at_s=3, approval="1", call_id="c", name="door", until_s=23, parameters={})
    cue = story.cues.step(question)
    assert cue is not None
    assert (cue.earcon, cue.after_voice) == ("confirm", False)


def test_with_a_fallback_the_agents_failure_is_no_error_but_that_of_both_is() -> None:
    story = Story(has_fallback=True).talks(1).woken(1, "speech").pauses(2)
    story.fails(2.1, Trigger.REFUSED)
    assert story.sounded == []
    story.tell(events.FallbackBegan(at_s=2.5, reason="no credit", hint=None, is_first=True))
    for at_s in (3.0, 4.0, 5.0):
        story.fails(at_s)
    assert story.sounded == []
    story.fails(6.0)
    assert story.sounded == ["error"]
