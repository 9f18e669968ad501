"""Who keeps a session open, and for how long: persons, and answers to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parleyd.conversation.dialogue.idle import NO_WORDS_S, Idle, IdleEnd, Patience

PATIENCE = Patience(idle_s=20.0, false_wake_s=8.0, no_person_s=300.0, by_speech=True)


class Session:
    """Idle, and a clock. says(): the person, with or without words of it; after a command nobody has said anything."""

    def __init__(self, *, by_speech: bool = True, patience: Patience = PATIENCE) -> None:
        self.idle = Idle()
        self.now_s = 1000.0
        self.patience = replace(patience, by_speech=by_speech)
        self.answer = 0
        self.look_s = 0.0
        if by_speech:
            self.talks(1.0)
        self.idle.begin(self.now_s, again=by_speech)

    def waits(self, seconds: float) -> None:
        self.now_s += seconds

    def talks(self, seconds: float = 1.0) -> None:
        self.idle.talk_started(self.now_s)
        self.now_s += seconds
        self.idle.talk_stopped(self.now_s)

    def hears(self, text: str = "thank you", *, final: bool = True) -> None:
        self.idle.transcript(self.now_s, has_words=any(sign.isalnum() for sign in text), final=final)

    def agent_says(
        self, seconds: float, *, new: bool = True, is_audible: bool = True, is_greeting: bool = False
    ) -> None:
        """At once, as servers do; the clock stands."""
        self.answer += new
        if is_audible and not is_greeting:
            self.idle.answer_begins(self.now_s)
        self.idle.voice(self.now_s, seconds, self.answer, is_audible=is_audible, is_greeting=is_greeting)

    def look_until(self, seconds: float) -> None:
        """As the supervisor does, which sleeps from look to look; look_s is the next one after that time."""
        until_s, self.look_s = self.now_s + seconds, self.now_s
        while self.look_s < until_s:
            assert self.idle.due(self.look_s, self.patience) is None
            self.look_s = self.idle.next_look_s(self.look_s, self.patience)
        self.now_s = until_s

    def ends(self, meanwhile: Callable[[], None] = lambda: None, every_s: float = 1.0) -> tuple[float, IdleEnd]:
        """Seconds from now until it is ended, and why. meanwhile: what happens again and again."""
        began_s, next_s = self.now_s, self.now_s
        while (verdict := self.idle.due(self.now_s, self.patience)) is None:
            assert self.now_s - began_s < 2000, "it is never ended"
            if self.now_s >= next_s:
                meanwhile()
                next_s += every_s
            self.now_s += 0.1
        return round(self.now_s - began_s, 1), verdict


def understood(*, by_speech: bool = True) -> Session:
    """Somebody said "thank you", and it was understood."""
    session = Session(by_speech=by_speech)
    session.hears()
    return session


def test_after_an_answer_it_is_ended_in_the_time_for_idle_and_says_so() -> None:
    session = understood()
    session.agent_says(3.0)
    assert session.ends() == (23.0, IdleEnd("nobody has spoken for 20 s", is_false_wake=False))


UNASKED: dict[str, tuple[float, Callable[[Session], None]]] = {
    "are you still there, every 7 s": (7.0, lambda s: s.agent_says(1.0)),
    "are you still there, every 4 s": (4.0, lambda s: s.agent_says(1.0)),
    "the same without anything that tells one answer from the next": (4.5, lambda s: s.agent_says(1.0, new=False)),
    "digital silence": (1.0, lambda s: s.agent_says(0.1, is_audible=False)),
    "long digital silence": (1.0, lambda s: s.agent_says(10.0, is_audible=False)),
    "empty transcripts": (1.0, lambda s: s.hears("")),
    "transcripts of the silence": (1.0, lambda s: s.hears("...")),
    "tentative transcripts": (1.0, lambda s: s.hears("yes", final=False)),
    "interruptions": (1.0, lambda s: s.idle.cut(s.now_s)),
    "tools that nobody asked for": (5.0, lambda s: s.idle.tool_began(s.now_s, "a")),
    "the same act, told again": (1.0, lambda s: s.idle.acted(999.0)),
    "the same news, told again": (1.0, lambda s: s.idle.told(999.0)),
}


@pytest.mark.parametrize("what", UNASKED)
def test_nothing_of_the_agents_own_accord_keeps_it_open(what: str) -> None:
    every_s, happens = UNASKED[what]
    session = understood()
    session.agent_says(3.0)
    session.waits(3.0 + every_s)
    seconds, verdict = session.ends(lambda: happens(session), every_s)
    assert seconds == pytest.approx(20.0 - every_s, abs=0.2)
    assert not verdict.is_false_wake


def test_an_agent_that_went_on_is_named_as_the_one_who_did() -> None:
    session = understood()
    session.agent_says(3.0)
    session.waits(10.0)
    _, verdict = session.ends(lambda: session.agent_says(1.0), 7.0)
    assert verdict.reason == "nobody has spoken for 20 s; the agent spoke meanwhile, without being asked"


@pytest.mark.parametrize("what", UNASKED)
def test_a_false_wake_is_concluded_whatever_the_agent_does(what: str) -> None:
    every_s, happens = UNASKED[what]
    session = Session()
    session.hears("...")  # it is an agent that sends transcripts
    seconds, verdict = session.ends(lambda: happens(session), every_s)
    assert seconds == pytest.approx(8.0, abs=0.2)
    assert verdict.is_false_wake
    assert verdict.reason.startswith("the agent understood nothing")


def test_a_long_answer_is_heard_to_its_end_and_a_time_for_idle_after_it() -> None:
    session = understood()
    for _ in range(60):
        session.agent_says(3.0, new=False)
    assert session.ends()[0] == pytest.approx(200.0, abs=0.2)


def test_an_answer_that_comes_as_it_is_spoken_is_one_although_it_stalls_and_pauses() -> None:
    session = understood()
    for number in range(20):
        session.agent_says(4.0, new=number == 0)
        session.agent_says(1.0, new=False, is_audible=False)
        session.waits(6.5)  # more than it lasts
        assert session.idle.due(session.now_s, session.patience) is None
    assert session.ends()[0] == pytest.approx(17.5, abs=0.2)


def test_pieces_that_follow_one_another_are_one_answer() -> None:
    session = understood()
    for _ in range(20):
        session.agent_says(2.0)
        session.waits(3.5)
        assert session.idle.due(session.now_s, session.patience) is None
    assert session.ends()[0] == pytest.approx(18.5, abs=0.2)


def test_who_is_answered_by_an_agent_without_transcripts_was_understood() -> None:
    session = Session()
    session.waits(3.0)
    session.agent_says(2.0)
    seconds, verdict = session.ends()
    assert seconds == pytest.approx(22.0, abs=0.2)
    assert not verdict.is_false_wake


def test_who_is_asked_into_the_silence_was_not() -> None:
    session = Session()
    session.waits(7.0)
    session.agent_says(5.0)
    seconds, verdict = session.ends()
    assert seconds == pytest.approx(1.0, abs=0.2)
    assert verdict == IdleEnd("the agent understood nothing, although it spoke", is_false_wake=True)


def test_the_greeting_is_heard_out() -> None:
    session = Session(by_speech=False)
    session.agent_says(6.0, is_greeting=True)
    assert session.ends()[0] == pytest.approx(26.0, abs=0.2)


def test_talk_holds_it_while_it_lasts_and_is_given_its_time() -> None:
    session = understood()
    session.agent_says(1.0)
    session.waits(20.0)
    session.talks(60.0)
    seconds, _ = session.ends()
    assert seconds == pytest.approx(20.0, abs=0.2)


def test_while_somebody_talks_it_is_not_ended() -> None:
    session = understood()
    session.idle.talk_started(session.now_s)
    session.waits(200.0)
    assert session.idle.due(session.now_s, session.patience) is None
    session.idle.talk_stopped(session.now_s)
    assert session.ends()[0] == pytest.approx(20.0, abs=0.2)


def test_an_answer_that_is_cut_is_over() -> None:
    session = understood()
    session.agent_says(60.0)
    session.waits(5.0)
    session.idle.cut(session.now_s)
    assert session.ends()[0] == pytest.approx(20.0, abs=0.2)


def test_sounds_without_words_are_believed_once() -> None:
    session = understood()
    session.agent_says(1.0)
    session.waits(10.0)
    session.talks(1.0)
    session.waits(NO_WORDS_S + 1.0)
    session.talks(1.0)
    assert session.ends()[0] == pytest.approx(8.0, abs=0.2)
    # Words make good what was doubted.
    session.hears()
    session.talks(1.0)
    assert session.ends()[0] == pytest.approx(20.0, abs=0.2)


def test_a_tool_that_works_for_the_person_holds_it_and_so_does_what_is_said_then() -> None:
    session = understood()
    session.idle.tool_began(session.now_s, "a")
    session.waits(60.0)
    assert session.idle.due(session.now_s, session.patience) is None
    session.idle.tool_ended(session.now_s, "a")
    session.waits(15.0)
    session.agent_says(10.0)
    assert session.ends()[0] == pytest.approx(30.0, abs=0.2)


def test_a_tool_that_is_quick_leaves_the_clock_alone() -> None:
    session = understood()

    def call() -> None:
        session.idle.tool_began(session.now_s, "a")
        session.idle.tool_ended(session.now_s + 0.05, "a")

    assert session.ends(call)[0] == pytest.approx(20.0, abs=0.2)


def test_a_tool_that_was_used_for_what_was_said_shows_that_it_was_understood() -> None:
    session = Session()
    session.idle.tool_began(session.now_s, "a")
    session.idle.tool_ended(session.now_s, "a")
    assert session.idle.understood
    assert not session.ends()[1].is_false_wake


def test_what_is_typed_is_a_person_and_what_the_device_tells_gets_its_answer() -> None:
    session = understood()
    session.waits(15.0)
    session.idle.acted(session.now_s)
    session.agent_says(4.0)
    session.waits(4.0 + 15.0)
    session.idle.told(session.now_s)
    session.waits(3.0)
    session.agent_says(2.0)
    assert session.ends()[0] == pytest.approx(22.0, abs=0.2)


def tool(session: Session) -> None:
    session.idle.tool_began(session.now_s, "a")
    session.waits(1.5)
    session.idle.tool_ended(session.now_s, "a")


HELD: dict[str, Callable[[Session], None]] = {
    "an answer without an end": lambda s: s.agent_says(1.0, new=False),
    "a noise again and again": lambda s: s.talks(0.5),
    "tools for ever": tool,
}


@pytest.mark.parametrize("what", HELD)
def test_without_a_person_it_is_ended_in_any_case(what: str) -> None:
    session = understood()
    seconds, verdict = session.ends(lambda: HELD[what](session), 1.0)
    assert seconds == pytest.approx(300.0, abs=3.0)
    assert "session.no_person_s" in verdict.reason


@pytest.mark.parametrize("what", UNASKED)
def test_the_clock_goes_on_over_an_exchange(what: str) -> None:
    every_s, happens = UNASKED[what]
    session = understood()
    session.agent_says(1.0)
    session.waits(1.0)
    began_s = session.now_s
    while (verdict := session.idle.due(session.now_s, session.patience)) is None:
        assert session.now_s - began_s < 60.0
        session.idle.line_ended()
        session.idle.begin(session.now_s, again=False)
        happens(session)
        session.waits(max(2.1, every_s))
    assert session.now_s - began_s == pytest.approx(20.0, abs=max(2.2, every_s))
    assert not verdict.is_false_wake


def test_what_is_sent_again_gets_its_time() -> None:
    session = understood()
    session.talks(1.0)
    session.idle.line_ended()
    session.waits(40.0)
    session.idle.begin(session.now_s, again=True)
    assert session.ends()[0] == pytest.approx(20.0, abs=0.2)


def test_a_new_conversation_begins_at_the_beginning() -> None:
    session = understood()
    session.waits(100.0)
    session.idle.conclude(session.now_s)
    session.waits(1000.0)
    session.talks()
    session.idle.begin(session.now_s, again=True)
    seconds, verdict = session.ends()
    assert (round(seconds), verdict.is_false_wake) == (8, True)


agents_acts = st.sampled_from(
    ["speak", "speak again", "silence", "empty", "dots", "tentative", "interrupt", "tool", "tool ends", "exchange"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(agents_acts, st.floats(0.01, 15.0)), min_size=1, max_size=200), st.booleans())
def test_whatever_an_agent_does_after_its_answer_the_end_comes_in_time(
    acts: list[tuple[str, float]], is_understood: bool
) -> None:
    """The answer itself may be long, and a tool for it; both are over when the rest begins."""
    session = Session()
    session.hears("thank you" if is_understood else "...")
    if is_understood:
        session.agent_says(2.0)
        session.waits(9.0)
    else:
        session.waits(0.1)
    quiet_s = session.now_s - (7.0 if is_understood else 0.1)
    bound_s = 20.0 if is_understood else 8.0
    for what, seconds in acts * (1 + 3000 // len(acts)):
        if (verdict := session.idle.due(session.now_s, session.patience)) is not None:
            assert verdict.is_false_wake is not is_understood
            break
        match what:
            case "speak":
                session.agent_says(min(seconds, 5.0))
            case "speak again":
                session.agent_says(min(seconds, 5.0), new=False)
            case "silence":
                session.agent_says(seconds, is_audible=False)
            case "empty":
                session.hears("")
            case "dots":
                session.hears("...")
            case "tentative":
                session.hears("yes", final=False)
            case "interrupt":
                session.idle.cut(session.now_s)
            case "tool":
                session.idle.tool_began(session.now_s, "a")
            case "tool ends":
                session.idle.tool_ended(session.now_s, "a")
            case "exchange":
                session.idle.line_ended()
                session.idle.begin(session.now_s, again=False)
        assert session.now_s <= quiet_s + bound_s, "something held it"
        session.waits(min(seconds, max(0.01, quiet_s + bound_s - session.now_s)))
    else:
        raise AssertionError("it was never ended")


def test_the_next_look_is_not_after_the_verdict() -> None:
    session = understood()
    session.agent_says(3.0)
    while session.idle.due(session.now_s, session.patience) is None:
        next_s = session.idle.next_look_s(session.now_s, session.patience)
        assert next_s > session.now_s
        session.now_s = next_s
    assert session.now_s == pytest.approx(1001.0 + 3.0 + 20.0)


def cut_after_10_s(session: Session) -> None:
    session.agent_says(180.0)
    session.look_until(10.0)
    session.idle.cut(session.now_s)


def doubted_after_12_s(session: Session) -> None:
    session.patience = replace(session.patience, idle_s=60.0)
    session.waits(55.0)
    session.talks()
    session.look_until(12.0)
    session.talks()


@pytest.mark.parametrize(("shortened", "seconds"), [(cut_after_10_s, 20.0), (doubted_after_12_s, 8.0)])
def test_an_end_that_comes_earlier_than_it_seemed_is_not_slept_through(
    shortened: Callable[[Session], None], seconds: float
) -> None:
    """Who sleeps until the next look, as the supervisor does, sees the verdict in time."""
    session = understood()
    shortened(session)
    began_s = session.now_s
    session.now_s = max(session.now_s, session.look_s)
    while session.idle.due(session.now_s, session.patience) is None:
        session.now_s = session.idle.next_look_s(session.now_s, session.patience)
    assert session.now_s - began_s == pytest.approx(seconds, abs=1.0)


def goes_on_without_being_asked(session: Session) -> None:
    """In pieces that follow each other too closely to be told from one answer."""
    session.hears("...")
    session.agent_says(2.0)


def test_what_was_typed_in_one_conversation_is_owed_nothing_in_the_next() -> None:
    session = understood()
    typed_s = session.now_s
    session.idle.acted(typed_s)
    session.idle.told(typed_s)
    session.waits(10.0)
    session.idle.conclude(session.now_s)
    session.waits(10.0)
    session.talks()
    session.idle.begin(session.now_s, again=True)
    session.idle.acted(typed_s)
    session.idle.told(typed_s)
    seconds, verdict = session.ends(lambda: goes_on_without_being_asked(session), every_s=3.0)
    assert (round(seconds), verdict.is_false_wake) == (8, True)


def test_what_was_typed_while_a_conversation_was_being_ended_is_owed_an_answer_in_the_next() -> None:
    session = understood()
    session.waits(10.0)
    session.idle.acted(session.now_s)
    session.idle.conclude(session.now_s - 1.0)
    session.idle.begin(session.now_s, again=True)
    session.idle.acted(session.now_s)
    session.idle.typed_answered()
    session.agent_says(30.0)
    assert session.ends()[0] == pytest.approx(50.0, abs=0.2)


def test_timers_hold_a_session_three_times_after_a_persons_words_and_no_longer() -> None:
    """It is the agent that sets them. The ring is heard all the same."""

    def rings(session: Session) -> None:
        session.idle.told(session.now_s)
        session.agent_says(1.0)

    session = understood()
    held_s, verdict = session.ends(lambda: rings(session), every_s=15.0)
    # At 0, 15 and 30 s, each with its answer; the fourth holds nothing.
    assert held_s == pytest.approx(51.0, abs=0.4)
    assert not verdict.is_false_wake
    session = understood()
    for _ in range(6):
        session.waits(15.0)
        rings(session)
        session.hears("thanks")
        assert session.idle.due(session.now_s, PATIENCE) is None


def test_an_agent_that_invents_a_persons_words_does_not_hold_the_session() -> None:
    session = Session()
    after_s, verdict = session.ends(session.hears)
    assert after_s == pytest.approx(PATIENCE.no_person_s, abs=1.5)
    assert "nobody has spoken here" in verdict.reason


def test_a_person_who_talks_on_is_not_taken_for_an_invention() -> None:
    session = Session()
    for _ in range(40):
        session.talks(10.0)
        session.hears()
        assert session.idle.due(session.now_s, session.patience) is None
