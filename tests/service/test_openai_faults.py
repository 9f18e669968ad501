"""Faults of a server of the OpenAI Realtime protocol: the daemon survives them, and no utterance is lost."""

from __future__ import annotations

import pytest
from away import times_heard
from realtime_plays import QUESTION, STORY, config, daemon, embedded, scripted

from parleyd.core import events
from parleyd.core.states import State

TRIGGERS = ("ready", "speech", "transcript", "speaking")
LINES = ("do: drop", "do: reset", "do: close, code: 1011", "do: close, code: 1001", "do: stall, seconds: 3")


@pytest.mark.parametrize("fault", LINES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_faults_of_the_line_lose_no_question(trigger: str, fault: str) -> None:
    """Each question that was spoken is answered, in whichever session."""
    with embedded(scripted(f"on: {trigger}, {fault}")) as agent, daemon(config(agent)) as one:
        one.say(QUESTION)
        if trigger != "speaking":
            one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))
        # In the middle of an answer the rest of it is lost, and the question is not asked again.
        one.expect(events.AnswerEnded)
        one.say(STORY, after_ms=600)
        one.expect(events.AnswerText, lambda event: event.text.startswith("Once upon a time"))
        assert not one.of(events.SpeechLost)
        assert [record.deviations for record in agent.connections] == [[] for _ in agent.connections]


@pytest.mark.parametrize(
    "fault",
    [
        *(
            f"do: malformed, kind: {kind}"
            for kind in (
                "bad_json",
                "not_object",
                "missing_type",
                "missing_fields",
                "wrong_types",
                "bad_base64",
                "binary",
            )
        ),
        "do: oversized, mebibytes: 2",
        "do: duplicate_metadata",
        "do: unknown_event, name: rainbow",
        "do: error, error_type: server_error, message: Too late.",
        "do: error, shape: flat, error_type: server_error, message: Too late.",
        "do: send, times: 3000, messages: [{type: rainbow}]",
        "do: send, times: 300, messages: [{type: response.done}, {type: response.created}]",
        "do: send, messages: [{type: input_audio_buffer.committed, item_id: x}]",
    ],
)
def test_odd_messages_do_no_harm(fault: str) -> None:
    with embedded(scripted(f"on: speech, {fault}")) as agent, daemon(config(agent)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))
        one.service.say(STORY)
        one.expect(events.AnswerText, lambda event: event.text.startswith("Once upon a time"))


@pytest.mark.parametrize(
    "fault",
    [
        "do: send, times: 5000, messages: [{type: rainbow}, {type: rate_limits.updated, rate_limits: []}]",
        "do: send, times: 2000, messages: [{type: input_audio_buffer.speech_started, audio_start_ms: 0, item_id: x}]",
        "do: send, times: 500, messages: [{type: session.updated, session: {}}]",
        "do: drop",
        "do: reset",
        "do: stall, seconds: 3",
        "do: malformed, kind: bad_json",
    ],
)
def test_the_books_of_what_was_said_are_balanced(fault: str) -> None:
    """Each utterance reaches the server whole, in one session or another, and in none of them twice."""
    weather = "What is the weather like today?"
    with embedded(scripted(f"on: speech, {fault}")) as agent, daemon(config(agent)) as one:
        for sentence in (QUESTION, weather, STORY):
            one.say(sentence, after_ms=600)
            one.expect(events.AnswerStarted)
            one.service.sleep()
            one.expect_state(State.ASLEEP)
        assert not one.of(events.SpeechLost)
        assert one.service.counters.lost == 0
        records = list(agent.connections)
        assert [record.deviations for record in records] == [[] for _ in records]
        for sentence in (QUESTION, weather, STORY):
            times = [times_heard(record.received_audio, record.input_rate_hz, sentence) for record in records]
            assert max(times) == 1, f"{sentence!r} was heard {times} times"


def test_stale_sound_of_a_cancelled_answer_is_not_played() -> None:
    text = scripted("on: interruption, do: stale_audio, duration_ms: 3000", agent="stream_speed: 2")
    with embedded(text) as agent, daemon(config(agent)) as one:
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.say("Stop it now, please.", after_ms=1200)
        one.expect(events.BargedIn)
        one.say(QUESTION, after_ms=1200)
        one.expect(events.AnswerEnded, lambda event: event.finished)
        assert len({event.answer for event in one.of(events.AnswerStarted)}) <= 3


@pytest.mark.parametrize("how", ["{come: missing}", "{come: failed}", "{come: after_answer}", "{come: after_next}"])
def test_transcripts_that_are_late_or_never_come(how: str) -> None:
    from parleyd.config.openai_section import Transcription

    openai = {"transcription": Transcription(mode="on", model="gpt-transcribe")}
    text = scripted(more=f"  transcription: [{how}]\n")
    with embedded(text) as agent, daemon(config(agent, openai=openai)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.say(STORY, after_ms=600)
        one.expect(events.AnswerText, lambda event: event.text.startswith("Once upon a time"))
        assert not one.of(events.SpeechLost)
        assert len(agent.connections) == 1
