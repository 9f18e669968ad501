"""What is written down is what was heard."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.transcript.turns import (
    MOST_PENDING,
    NOT_TRANSCRIBED,
    SETTLED_AFTER_S,
    WORDS_WITHIN_S,
    Turn,
    Turns,
)

OVER = Ending(EndingKind.USER, "quiet")


def opened(at_s: float = 0.0, conversation_id: str = "c1") -> events.SessionOpened:
    return events.SessionOpened(at_s=at_s, conversation_id=conversation_id, handshake_ms=1, resent_ms=0, tries=1)


def ended(at_s: float, answer: int, heard_ms: int, total_ms: int) -> events.AnswerEnded:
    return events.AnswerEnded(
        at_s=at_s, answer=answer, heard_ms=heard_ms, finished=heard_ms == total_ms, total_ms=total_ms
    )


def typed(at_s: float, text: str) -> events.Typed:
    return events.Typed(at_s=at_s, text=text)


def turns_of(*happened: events.Event) -> list[Turn]:
    turns = Turns()
    return [turn for event in happened for turn in turns.take(event)] + turns.finish()


def test_a_turn_of_each_with_its_timings() -> None:
    person, agent = turns_of(
        opened(),
        events.UtteranceStarted(at_s=1.0, utterance=1, detected_s=1.1),
        events.TalkStopped(at_s=2.5, utterance=1),
        events.Heard(at_s=2.8, text=" What time is it? ", final=True),
        events.AnswerText(at_s=2.9, text="It is noon.", answer=1),
        events.AnswerStarted(at_s=3.2, answer=1),
        ended(4.2, 1, 1000, 1000),
    )
    assert person == Turn(2.5, "user", "What time is it?", "c1", speech_ms=1500)
    assert agent == Turn(3.2, "agent", "It is noon.", "c1", answered_ms=700, heard_ms=1000)


def test_only_the_first_answer_after_somebody_spoke_has_taken_time() -> None:
    agents = [
        turn
        for turn in turns_of(
            opened(),
            events.UtteranceStarted(at_s=1.0, utterance=1, detected_s=1.1),
            events.TalkStopped(at_s=2.5, utterance=1),
            events.Heard(at_s=2.8, text="What time is it?", final=True),
            events.AnswerText(at_s=2.9, text="It is noon.", answer=1),
            events.AnswerStarted(at_s=3.2, answer=1),
            ended(4.2, 1, 1000, 1000),
            events.AnswerText(at_s=12.0, text="Are you still there?", answer=2),
            events.AnswerStarted(at_s=12.1, answer=2),
            ended(13.0, 2, 900, 900),
        )
        if turn.speaker == "agent"
    ]
    assert [turn.answered_ms for turn in agents] == [700, None]


def test_of_an_answer_that_was_cut_what_was_heard_and_the_servers_word_on_it_is_better() -> None:
    happened = (
        opened(),
        events.AnswerText(at_s=1.0, text="one two three four five six seven eight nine ten", answer=1),
        events.AnswerStarted(at_s=1.1, answer=1),
        events.BargedIn(at_s=2.0, by="server", heard_ms=500),
        ended(2.0, 1, 500, 1000),
    )
    (guessed,) = turns_of(*happened)
    assert (guessed.text, guessed.interrupted, guessed.heard_ms) == ("one two three four five", True, 500)
    (told,) = turns_of(*happened, events.AnswerText(at_s=2.1, text="one two", corrected=True, answer=1))
    assert (told.text, told.interrupted) == ("one two", True)


def test_an_answer_that_stutters_is_one_turn() -> None:
    turns = Turns()
    for event in (
        opened(),
        events.AnswerText(at_s=1.0, text="A long story.", answer=1),
        events.AnswerStarted(at_s=1.1, answer=1),
        ended(2.0, 1, 900, 900),
    ):
        assert turns.take(event) == []
    assert turns.settle(2.0 + SETTLED_AFTER_S / 2) == []
    assert turns.take(events.AnswerStarted(at_s=3.5, answer=1)) == []
    assert turns.settle(9.0) == []
    turns.take(ended(9.0, 1, 5900, 5900))
    (turn,) = turns.settle(9.0 + SETTLED_AFTER_S)
    assert (turn.text, turn.heard_ms) == ("A long story.", 5900)


def test_a_goodbye_that_sounds_after_the_end_is_told_whole() -> None:
    turns = Turns()
    for event in (
        opened(),
        events.AnswerText(at_s=1.0, text="Goodbye.", answer=1),
        events.SessionEnded(at_s=1.05, ending=OVER, conversation_id="c1"),
        events.AnswerStarted(at_s=1.1, answer=1),
    ):
        assert turns.take(event) == []
    assert turns.settle(8.0) == []
    turns.take(ended(9.0, 1, 7900, 7900))
    (turn,) = turns.settle(12.0)
    assert turn == Turn(1.1, "agent", "Goodbye.", "c1", heard_ms=7900)


def test_a_text_without_a_voice_was_said_and_not_heard() -> None:
    turns = Turns()
    turns.take(events.AnswerText(at_s=1.0, text="Written.", answer=1))
    turns.take(events.SessionEnded(at_s=2.0, ending=OVER, conversation_id="c1"))
    (turn,) = turns.settle(2.0 + SETTLED_AFTER_S)
    assert (turn.text, turn.heard_ms, turn.interrupted) == ("Written.", 0, False)


EVENTS = st.one_of(
    st.builds(opened, st.just(0.0), st.sampled_from(["c1", "c2"])),
    st.just(events.SessionEnded(at_s=0.0, ending=OVER, conversation_id="c1")),
    st.just(events.UtteranceStarted(at_s=0.0, utterance=1, detected_s=0.0)),
    st.just(events.TalkStopped(at_s=0.0, utterance=1)),
    st.just(events.Heard(at_s=0.0, text="said", final=True)),
    st.builds(
        lambda n, c: events.AnswerText(at_s=0.0, text=f"t{n}", corrected=c, answer=n), st.integers(0, 4), st.booleans()
    ),
    st.builds(lambda n: events.AnswerStarted(at_s=0.0, answer=n), st.integers(0, 4)),
    st.builds(lambda n, h: ended(0.0, n, h, 10), st.integers(0, 4), st.integers(0, 10)),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=30))
@settings(max_examples=200, deadline=None)
def test_in_whatever_order_things_happen_each_word_of_the_person_is_told_once(happened: list[events.Event]) -> None:
    told = turns_of(*happened)
    assert sum(turn.speaker == "user" for turn in told) == sum(isinstance(event, events.Heard) for event in happened)
    texts = sum(isinstance(event, events.AnswerText) and not event.corrected for event in happened)
    assert sum(turn.speaker == "agent" for turn in told) <= texts


def test_in_writing_each_turn_is_complete_at_once_and_in_order() -> None:
    turns = Turns()
    happened = (
        events.Started(at_s=0.0, microphone=None, speaker=None, output_latency_ms=0),
        opened(),
        events.Typed(at_s=1.0, text="One?"),
        events.AnswerText(at_s=2.0, text="One.", answer=1),
        events.Typed(at_s=3.0, text="Two?"),
        events.AnswerText(at_s=4.0, text="Two.", answer=2),
    )
    told = [(turn.speaker, turn.text) for event in happened for turn in turns.take(event)]
    assert told == [("user", "One?"), ("agent", "One."), ("user", "Two?"), ("agent", "Two.")]
    assert turns.finish() == []


def test_an_answer_that_is_over_stands_before_what_is_said_next() -> None:
    turns = Turns()
    for event in (
        opened(),
        events.AnswerText(at_s=1.0, text="It is noon.", answer=1),
        events.AnswerStarted(at_s=1.1, answer=1),
        ended(2.0, 1, 900, 900),
    ):
        assert turns.take(event) == []
    said = turns.take(events.Typed(at_s=2.2, text="And tomorrow?"))
    assert [turn.text for turn in said] == ["It is noon.", "And tomorrow?"]


def test_what_is_typed_belongs_to_the_session_that_reads_it() -> None:
    turns = Turns()
    for event in (opened(), events.SessionEnded(at_s=1.0, ending=OVER, conversation_id="c1"), typed(2.0, "Refused.")):
        assert turns.take(event) == []
    assert turns.take(typed(3.0, "Are you there?")) == []
    assert turns.take(events.TypedLost(at_s=3.1, text="Refused.", typed_s=2.0, cause="refused")) == []
    (turn,) = turns.take(opened(4.0, "c2"))
    assert turn == Turn(3.0, "user", "Are you there?", "c2")


def test_what_waits_is_bounded_and_is_told() -> None:
    turns = Turns()
    for number in range(MOST_PENDING + 5):
        turns.take(typed(float(number), f"text {number}"))
        turns.take(events.TypedLost(at_s=float(number), text="x", typed_s=-1.0, cause="slept"))
    assert len(turns.take(opened(100.0))) + len(turns.finish()) == MOST_PENDING
    assert not turns.waits
    for number in range(MOST_PENDING + 5):
        turns.take(events.AnswerText(at_s=200.0, text="a", answer=number + 1))
    assert turns.waits
    assert len(turns.finish()) == MOST_PENDING


def test_a_text_that_comes_after_its_sound_began_has_the_sounds_time() -> None:
    agents = turns_of(
        opened(),
        events.AnswerStarted(at_s=3.0, answer=1),
        events.AnswerText(at_s=3.2, text="It is noon.", answer=1),
        events.AnswerText(at_s=3.3, text="", answer=2),
    )
    assert [(turn.at_s, turn.text) for turn in agents] == [(3.0, "It is noon.")]


# ---------------------------------------------------------------- words that come late, or never


def expected(at_s: float, said: int) -> events.WordsExpected:
    return events.WordsExpected(at_s=at_s, said=said)


def heard(at_s: float, text: str, said: int) -> events.Heard:
    return events.Heard(at_s=at_s, text=text, final=True, said=said)


def answered(at_s: float, text: str, answer: int) -> tuple[events.Event, ...]:
    """An answer that is heard at once and takes a second."""
    return (
        events.AnswerText(at_s=at_s, text=text, answer=answer),
        events.AnswerStarted(at_s=at_s + 0.1, answer=answer),
        ended(at_s + 1.1, answer, 1000, 1000),
    )


def lines(*happened: events.Event) -> list[str]:
    return [turn.text for turn in turns_of(opened(), *happened)]


def test_words_that_come_after_the_answer_stand_before_it_with_their_own_times() -> None:
    person, agent = turns_of(
        opened(),
        events.UtteranceStarted(at_s=1.0, utterance=1, detected_s=1.1),
        # The server noticed the end of the speech before the gate did.
        expected(2.4, 1),
        events.TalkStopped(at_s=2.5, utterance=1),
        *answered(3.0, "It is noon.", 1),
        heard(4.5, "What time is it?", 1),
    )
    assert person == Turn(2.5, "user", "What time is it?", "c1", speech_ms=1500)
    assert (agent.text, agent.answered_ms) == ("It is noon.", 600)


def test_words_in_the_wrong_order_are_put_into_theirs() -> None:
    told = lines(
        expected(1.0, 1), *answered(1.5, "Noon.", 1), expected(3.0, 2), *answered(3.5, "Sunny.", 2),
        heard(5.0, "And the weather?", 2), typed(5.1, "Thanks."), heard(5.2, "What time is it?", 1),
    )  # fmt: skip
    assert told == ["What time is it?", "Noon.", "And the weather?", "Sunny.", "Thanks."]


def test_the_speech_before_the_one_that_is_expected_has_the_time_of_its_end() -> None:
    (person,) = turns_of(
        opened(),
        events.UtteranceStarted(at_s=1.0, utterance=1, detected_s=1.1),
        events.TalkStopped(at_s=2.0, utterance=1),
        expected(2.2, 1),
        events.TalkStopped(at_s=9.0, utterance=2),
        heard(9.5, "What time is it?", 1),
    )
    assert (person.at_s, person.speech_ms) == (2.0, 1000)


def test_words_that_are_missing_are_a_line_of_their_own() -> None:
    missing = events.NotTranscribed(at_s=4.0, said=1, reason="noise")
    assert lines(expected(1.0, 1), *answered(1.5, "Noon.", 1), missing) == [NOT_TRANSCRIBED, "Noon."]
    assert lines(expected(1.0, 1), events.NotTranscribed(at_s=1.1, said=7, reason="of another")) == []


def test_after_a_while_words_are_not_waited_for() -> None:
    turns = Turns()
    for event in (opened(), expected(1.0, 1), *answered(1.5, "Noon.", 1)):
        assert turns.take(event) == []
    assert turns.settle(1.0 + WORDS_WITHIN_S - 0.1) == []
    assert turns.waits
    assert [turn.text for turn in turns.settle(1.0 + WORDS_WITHIN_S)] == [NOT_TRANSCRIBED, "Noon."]
    # They come all the same: better late than never.
    assert [turn.text for turn in turns.take(heard(20.0, "What time is it?", 1))] == ["What time is it?"]


def test_an_empty_transcript_is_a_noise() -> None:
    assert lines(expected(1.0, 1), heard(1.5, "", 1), heard(1.6, " ", 0), *answered(2.0, "Yes?", 1)) == ["Yes?"]


def test_what_was_not_answered_before_the_line_was_lost_is_said_again_and_not_written_twice() -> None:
    lost = events.SessionEnded(at_s=2.0, ending=OVER, conversation_id="c1")
    told = lines(expected(1.0, 1), lost, opened(3.0, "c2"), expected(3.5, 2), heard(3.6, "What time is it?", 2))
    assert told == ["What time is it?"]
    assert lines(expected(1.0, 1), *answered(1.2, "Noon.", 1), lost) == [NOT_TRANSCRIBED, "Noon."]


def test_many_words_that_never_come_are_not_waited_for_without_end() -> None:
    turns = Turns()
    turns.take(opened())
    for number in range(3 * MOST_PENDING):
        assert turns.take(expected(1.0, number + 1)) == []
    assert [turn.text for turn in turns.take(typed(2.0, "Hello?"))] in ([], ["Hello?"])
    assert turns.finish() in ([], [Turn(2.0, "user", "Hello?", "c1")])


_HAPPENED = st.lists(
    st.one_of(
        st.builds(expected, st.just(1.0), st.integers(1, 5)),
        st.builds(heard, st.just(1.0), st.sampled_from(["a", "b"]), st.integers(1, 5)),
        st.builds(typed, st.just(1.0), st.sampled_from(["c", "d"])),
        st.builds(lambda said: events.NotTranscribed(at_s=1.0, said=said, reason="x"), st.integers(1, 5)),
        st.sampled_from(answered(1.0, "Noon.", 1) + answered(2.0, "Late.", 2)),
    ),
    max_size=30,
)


@given(_HAPPENED)
@settings(max_examples=300, deadline=None)
def test_whatever_is_expected_no_words_are_lost(happened: list[events.Event]) -> None:
    told = [turn.text for turn in turns_of(opened(), *happened) if turn.speaker == "user"]
    told = [text for text in told if text != NOT_TRANSCRIBED]
    came = [event.text for event in happened if isinstance(event, events.Heard | events.Typed)]
    assert sorted(told) == sorted(came)
