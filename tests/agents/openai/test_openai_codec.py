"""The meaning of each message for the codec: answers, the person, interruptions, and requests for responses."""

from __future__ import annotations

import base64

import pytest
from realtime_session import CLIENT, OWN, SECOND, Session, texts, truncations

from parleyd.agents import events
from parleyd.agents.commands import (
    Say,
    SpeakNow,
)
from parleyd.agents.events import Why
from parleyd.agents.provider import SessionWish
from parleyd.config.openai_section import OpenAI, Transcription

# ---------------------------------------------------------------- answers


def test_an_answer_from_its_beginning_to_its_end() -> None:
    found = Session()
    found.answer()
    assert [type(event) for event in found.events] == [
        events.AnswerBegins,
        events.AgentAudio,
        events.AnswerText,
        events.AnswerText,
        events.AnswerTextEnds,
        events.AnswerEnds,
    ]
    assert texts(found.events) == ["One two three four."]
    assert found.of(events.AgentAudio)[0].data == SECOND
    assert {getattr(event, "answer", None) for event in found.events} == {"resp_1"}
    assert found.sent == []


def test_beta_names_are_read() -> None:
    found = Session()
    found.created()
    ids = {"response_id": "resp_1", "item_id": "item_1"}
    found.receive("response.audio.delta", delta=base64.b64encode(SECOND).decode(), **ids)
    found.receive("response.audio_transcript.delta", delta="Hi", **ids)
    found.receive("response.audio_transcript.done", transcript="Hi there.", **ids)
    found.receive("response.audio.done", **ids)
    found.done()
    assert texts(found.events) == ["Hi there."]
    assert len(found.of(events.AgentAudio)) == 1
    assert found.codec.unknown == found.codec.malformed == 0


def test_an_answer_in_writing() -> None:
    found = Session(wish=SessionWish(text_only=True))
    found.created()
    for piece in ("It is ", "noon."):
        found.receive("response.output_text.delta", response_id="resp_1", item_id="i", delta=piece)
    found.receive("response.output_text.done", response_id="resp_1", item_id="i", text="It is noon.")
    found.done()
    assert [(event.text, event.final) for event in found.of(events.AnswerText)] == [
        ("It is ", False),
        ("noon.", False),
        ("It is noon.", True),
    ]


def test_a_text_whose_end_is_not_told_ends_with_its_answer() -> None:
    found = Session()
    found.created()
    found.receive("response.output_audio_transcript.delta", response_id="resp_1", item_id="i", delta="It is")
    found.receive("response.output_audio_transcript.delta", response_id="resp_1", item_id="i", delta=" noon.")
    found.done()
    assert texts(found.events) == ["It is noon."]


def test_texts_without_end_fill_no_memory() -> None:
    found = Session(OpenAI(base_url=OWN, transcription=Transcription(mode="on")))
    found.created()
    many = "x" * (events.MAX_TEXT_CHARS // 4)
    of = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
    for _ in range(10):
        found.receive("response.output_audio_transcript.delta", delta=many, **of)
        found.receive("conversation.item.input_audio_transcription.delta", item_id="user_1", delta=many)
    assert sum(len(event.text) for event in found.of(events.AnswerText)) == events.MAX_TEXT_CHARS
    assert max(len(event.text) for event in found.of(events.UserTranscript)) == events.MAX_TEXT_CHARS
    held = found.codec._pieces["user_1"]
    assert len(held) == events.MAX_TEXT_CHARS


def test_a_text_that_is_told_only_with_the_end() -> None:
    found = Session()
    found.created()
    content = [{"type": "output_audio", "transcript": "It is noon."}]
    found.done(output=[{"id": "i", "type": "message", "content": content}])
    assert texts(found.events) == ["It is noon."]


def test_a_response_that_was_not_announced_begins_with_its_first_message() -> None:
    found = Session()
    found.audio("resp_9")
    assert found.of(events.AnswerBegins) == [events.AnswerBegins("resp_9")]
    found.done("resp_9")
    found.send(Say("Hi."))
    assert found.types() == ["conversation.item.create", "response.create"]


def test_responses_without_ids() -> None:
    found = Session()
    for _ in range(2):
        found.receive("response.created", response={})
        found.receive("response.output_audio.delta", delta=base64.b64encode(SECOND).decode())
        found.receive("response.done", response={})
    assert len({event.answer for event in found.of(events.AnswerBegins)}) == 2
    assert len(found.of(events.AnswerEnds)) == 2


def test_how_an_answer_ended() -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.done(status="completed")
    assert found.of(events.AnswerEnds) == [events.AnswerEnds("resp_1", Why.COMPLETE)]


@pytest.mark.parametrize(
    ("status", "reason", "words", "hint"),
    [
        ("incomplete", "max_output_tokens", "longest length", "openai.max_output_tokens"),
        ("incomplete", "content_filter", "filter", None),
        ("incomplete", "mystery", "(mystery)", None),
        ("incomplete", None, "no reason", None),
        ("cancelled", "client_cancelled", "the server cancelled it", None),
    ],
)
def test_an_answer_that_the_server_cuts_short_says_why(
    status: str, reason: str | None, words: str, hint: str | None
) -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.done(status=status, status_details={"type": status, "reason": reason})
    [end] = found.of(events.AnswerEnds)
    assert end.why is Why.INCOMPLETE
    assert words in end.reason
    assert (hint or "") in (end.hint or "")
    assert bool(end.hint) is bool(hint)


def test_an_answer_that_was_cancelled_by_this_side_or_by_speech_is_not_cut_short() -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.audio()
    found.cut(("resp_1", 10), by="local")
    found.done(status="cancelled")
    other = Session()
    other.created()
    other.receive("input_audio_buffer.speech_started", audio_start_ms=0)
    other.done(status="cancelled")
    for one in (found, other):
        assert [end.why for end in one.of(events.AnswerEnds)] == [Why.CANCELLED]


@pytest.mark.parametrize(
    ("error", "retry_after_s", "word"),
    [
        (None, 5.0, "no reason"),
        ({"code": "insufficient_quota", "message": "You exceeded your current quota."}, None, "credit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."}, 1.5, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 250ms."}, 0.25, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 9m."}, 60.0, "limit"),
        ({"code": "rate_limit_exceeded", "message": "Too much."}, 7.0, "limit"),
        ({"type": "server_error", "message": "Something broke with sk-secret-key."}, 5.0, "broke"),
    ],
)
def test_an_answer_that_failed_is_told(error: object, retry_after_s: float | None, word: str) -> None:
    found = Session(secrets=["sk-secret-key"])
    found.receive("rate_limits.updated", rate_limits=[{"name": "tokens", "reset_seconds": 7}])
    found.created()
    found.done(status="failed", status_details={"type": "failed", "error": error})
    [failed] = found.of(events.AnswerFailed)
    assert (failed.answer, failed.retry_after_s) == ("resp_1", retry_after_s)
    assert word in failed.reason
    assert "secret" not in failed.reason
    assert not found.of(events.AnswerEnds)


def test_speech_whose_answer_failed_is_taken_by_the_answer_that_comes_instead() -> None:
    """A line that is lost in between would lose the question."""
    found = Session()
    found.hear(2.0)
    found.speech()
    found.spoke(end_ms=900)
    found.created()
    found.done(status="failed", status_details={"error": {"code": "rate_limit_exceeded", "message": "Wait."}})
    assert not found.of(events.SpeechTaken)
    found.send(SpeakNow())
    found.answer("resp_2")
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


def test_a_person_who_speaks_on_before_the_answer_is_answered_as_a_whole() -> None:
    found = Session()
    found.hear(4.0)
    found.speech()
    found.spoke(end_ms=900)
    found.created()
    found.speech("user_2", 1500)
    found.done(status="cancelled")
    assert not found.of(events.SpeechTaken)
    found.spoke("user_2", 2600)
    found.answer("resp_2")
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(2600)]


def test_speech_whose_answer_failed_for_good_is_taken() -> None:
    found = Session()
    found.hear(2.0)
    found.speech()
    found.spoke(end_ms=900)
    found.created()
    found.done(status="failed", status_details={"error": {"code": "content_filter", "message": "No."}})
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


# ---------------------------------------------------------------- the person


def test_positions_of_the_persons_speech() -> None:
    found = Session()
    found.hear(3)
    found.speech(start_ms=200)
    found.spoke(end_ms=900)
    assert found.events == [events.PersonHeard(200), events.PersonPaused(900), events.WordsExpected("user_1")]
    found.created()
    assert not found.of(events.SpeechTaken), "with the line the answer would be lost, and the question with it"
    found.audio()
    found.done()
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


def test_an_utterance_that_comes_later_is_not_taken_with_the_first() -> None:
    found = Session()
    found.hear(1)
    found.speech()
    found.receive("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="user_1")
    found.hear(2)
    found.receive("input_audio_buffer.committed", item_id="user_1")
    found.answer()
    assert found.of(events.SpeechTaken) == [events.SpeechTaken(900)]


@pytest.mark.parametrize("told", [None, 10**9, "x", -3])
def test_a_position_outside_of_the_sound_is_not_believed(told: object) -> None:
    found = Session()
    found.hear(1)
    found.receive("input_audio_buffer.speech_stopped", audio_end_ms=told, item_id="u")
    found.receive("input_audio_buffer.committed", item_id="u")
    found.answer()
    [taken] = found.of(events.SpeechTaken)
    assert 0 <= taken.until_ms <= 1000


def test_what_was_taken_is_never_given_back() -> None:
    found = Session()
    found.hear(3)
    found.spoke("user_1", end_ms=2000)
    found.answer("resp_1")
    found.spoke("user_2", end_ms=1000)
    found.answer("resp_2")
    assert [event.until_ms for event in found.of(events.SpeechTaken)] == [2000, 2000]


def test_transcripts_belong_to_their_utterances() -> None:
    found = Session()
    name = "conversation.item.input_audio_transcription"
    found.receive(f"{name}.delta", item_id="u2", delta="And ")
    found.receive(f"{name}.delta", item_id="u2", delta="tomorrow?")
    found.receive(f"{name}.completed", item_id="u2", transcript="And tomorrow?")
    found.receive(f"{name}.completed", item_id="u1", transcript="What is the weather?")
    found.receive(f"{name}.updated", item_id="u3", transcript="Than")
    found.receive(f"{name}.failed", item_id="u4", error={"message": "too short"})
    assert found.of(events.UserTranscript) == [
        events.UserTranscript("u2", "And", final=False),
        events.UserTranscript("u2", "And tomorrow?", final=False),
        events.UserTranscript("u2", "And tomorrow?", final=True),
        events.UserTranscript("u1", "What is the weather?", final=True),
        events.UserTranscript("u3", "Than", final=False),
    ]
    assert found.of(events.NotTranscribed) == [events.NotTranscribed("u4", "too short")]


_WORDS = "conversation.item.input_audio_transcription"
_DELTA = (f"{_WORDS}.delta", {"delta": "What"})
_UPDATED = (f"{_WORDS}.updated", {"transcript": "What is"})
_DONE = (f"{_WORDS}.completed", {"transcript": "What is it?"})
_EMPTY = (f"{_WORDS}.completed", {"transcript": ""})
_FAILED = (f"{_WORDS}.failed", {"error": {"message": "noise"}})
_COMMITTED: tuple[str, dict[str, object]] = ("input_audio_buffer.committed", {})
_EXPECTED, _MISSING = events.WordsExpected("u"), events.NotTranscribed("u", "noise")
_PIECE = events.UserTranscript("u", "What", final=False)
_WHOLE = events.UserTranscript("u", "What is it?", final=True)
_NO_WORDS = events.UserTranscript("u", "", final=True, is_understood=False)


@pytest.mark.parametrize(
    ("came", "meant"),
    [
        ([_COMMITTED, _DELTA, _DONE], [_EXPECTED, _PIECE, _WHOLE]),
        # Late pieces of words that are told already.
        ([_COMMITTED, _DONE, _DELTA, _UPDATED], [_EXPECTED, _WHOLE]),
        # Told twice, and told to be missing after that.
        ([_COMMITTED, _DONE, _DONE, _FAILED], [_EXPECTED, _WHOLE]),
        # Missing, and then there after all, once.
        ([_COMMITTED, _FAILED, _FAILED, _DONE, _FAILED, _DONE], [_EXPECTED, _MISSING, _WHOLE]),
        ([_COMMITTED, _DELTA, _FAILED, _DELTA], [_EXPECTED, _PIECE, _MISSING]),
        # Before the server tells that it has taken the utterance.
        ([_DELTA, _DONE, _COMMITTED], [_PIECE, _WHOLE]),
        ([_FAILED, _COMMITTED, _DONE], [_MISSING, _WHOLE]),
        ([_COMMITTED, _EMPTY, _DONE], [_EXPECTED, _NO_WORDS]),
        ([_COMMITTED], [_EXPECTED]),
    ],
)
def test_words_that_come_in_any_order_are_told_once(
    came: list[tuple[str, dict[str, object]]], meant: list[events.AgentEvent]
) -> None:
    found = Session()
    for kind, fields in came:
        found.receive(kind, item_id="u", **fields)
    kinds = (events.WordsExpected, events.UserTranscript, events.NotTranscribed)
    assert [event for event in found.events if isinstance(event, kinds)] == meant


def test_what_an_utterance_has_cost_counts_each_time() -> None:
    found = Session()
    used = {"type": "duration", "seconds": 1.0}
    for _ in range(2):
        found.receive(f"{_WORDS}.completed", item_id="u", transcript="Hi", usage=used)
    assert len(found.of(events.Spent)) == 2


def test_where_nothing_is_transcribed_no_words_are_expected() -> None:
    found = Session(OpenAI(base_url=OWN, transcription=Transcription(mode="off")))
    found.receive("input_audio_buffer.committed", item_id="u")
    assert not found.of(events.WordsExpected)


def test_the_memory_of_transcripts_is_bounded() -> None:
    found = Session()
    for number in range(200):
        found.receive(f"{_WORDS}.completed", item_id=f"u{number}", transcript="Hi")
    found.receive(f"{_WORDS}.completed", item_id="u199", transcript="Hi")
    assert len(found.of(events.UserTranscript)) == 200


def test_texts_that_recognisers_invent_prove_nothing() -> None:
    found = Session()
    name = "conversation.item.input_audio_transcription.completed"
    found.receive(name, item_id="u1", transcript=" Thank you for watching! ")
    found.receive(name, item_id="u2", transcript="Thank you.")
    assert [event.is_understood for event in found.of(events.UserTranscript)] == [False, True]


@pytest.mark.parametrize("transcript", ["", None, "...", " … ", "?"])
def test_a_transcript_without_a_word_proves_nothing(transcript: str | None) -> None:
    found = Session()
    found.receive(f"{_WORDS}.completed", item_id="u1", transcript=transcript)
    assert [event.is_understood for event in found.of(events.UserTranscript)] == [False]


# ---------------------------------------------------------------- interruptions


def test_the_server_interrupts() -> None:
    """It cancels by itself; we only tell what was heard. Sound that still comes is dropped, the text is not."""
    found = Session()
    found.created()
    found.audio()
    found.speech()
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]
    assert truncations(found.cut(("resp_1", 400))) == [("item_1", 400)]
    found.take()
    found.audio()
    found.text("One two")
    found.done(status="cancelled", status_details={"reason": "turn_detected"})
    assert not found.of(events.AgentAudio)
    assert not found.of(events.Interrupted)
    assert texts(found.events) == ["One two"]
    assert found.of(events.AnswerEnds) == [events.AnswerEnds("resp_1", Why.CANCELLED)]
    assert found.sent == []


def test_this_side_interrupts() -> None:
    found = Session(wish=CLIENT)
    found.created()
    found.audio()
    found.speech()
    assert not found.of(events.Interrupted)
    messages = found.cut(("resp_1", 400), by="local")
    assert truncations(messages) == [("item_1", 400)]
    assert [m["response_id"] for m in messages if m["type"] == "response.cancel"] == ["resp_1"]
    found.take()
    found.audio()
    assert not found.of(events.AgentAudio)
    assert found.cut(by="local") == []


def test_an_answer_that_was_over_is_not_cancelled() -> None:
    found = Session(wish=CLIENT)
    found.answer()
    messages = found.cut(("resp_1", 400), by="local")
    assert [message["type"] for message in messages] == ["conversation.item.truncate"]


def test_every_queued_answer_is_truncated() -> None:
    found = Session()
    found.answer("resp_1", "item_1", seconds=2)
    found.answer("resp_2", "item_2")
    found.speech()
    messages = found.cut(("resp_1", 700), ("resp_2", 0))
    assert truncations(messages) == [("item_1", 700), ("item_2", 0)]


def test_every_item_of_an_answer_is_truncated_by_itself() -> None:
    found = Session()
    found.created()
    found.audio(item="item_1")
    found.receive("response.output_audio.done", response_id="resp_1", item_id="item_1")
    found.audio(item="item_2")
    found.audio(item="item_3")
    found.done()
    assert truncations(found.cut(("resp_1", 1250), total_ms=3000)) == [("item_2", 250), ("item_3", 0)]


@pytest.mark.parametrize(("heard_ms", "expected"), [(1000, []), (5000, []), (999, [("item_1", 999)])])
def test_what_was_wholly_heard_is_not_truncated(heard_ms: int, expected: list[tuple[str, int]]) -> None:
    found = Session()
    found.answer()
    assert truncations(found.cut(("resp_1", heard_ms))) == expected


def test_what_was_heard_is_clamped_to_what_was_received() -> None:
    """The answer still runs, and the server may have made more of it."""
    found = Session()
    found.created()
    found.audio()
    assert truncations(found.cut(("resp_1", 5000))) == [("item_1", 1000)]


def test_an_answer_without_sound_is_not_truncated() -> None:
    found = Session()
    found.created()
    found.receive("response.output_item.added", response_id="resp_1", item={"id": "item_1", "type": "message"})
    assert truncations(found.cut(("resp_1", 0))) == []


def test_nobody_is_interrupted_when_nothing_is_heard() -> None:
    found = Session()
    found.answer()
    found.now_s += 60.0
    found.speech()
    assert not found.of(events.Interrupted)


def test_an_answer_that_still_waits_for_the_speaker_is_interrupted() -> None:
    """It came faster than real time."""
    found = Session()
    found.answer(seconds=30)
    found.now_s += 25.0
    found.speech()
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]


def test_a_server_that_tells_an_interruption_only_by_the_end() -> None:
    found = Session()
    found.created()
    found.audio()
    found.done(status="cancelled", status_details={"reason": "turn_detected"})
    assert found.of(events.Interrupted) == [events.Interrupted("resp_1")]


def test_sound_of_another_answer_is_not_dropped() -> None:
    found = Session()
    found.created("resp_1")
    found.audio("resp_1")
    found.speech()
    found.cut(("resp_1", 100))
    found.done("resp_1", status="cancelled")
    found.spoke()
    found.created("resp_2")
    found.take()
    found.audio("resp_1")
    found.audio("resp_2", "item_2")
    assert [event.answer for event in found.of(events.AgentAudio)] == ["resp_2"]


# ---------------------------------------------------------------- requests for responses


def test_a_typed_text_waits_for_the_end_of_the_answer() -> None:
    found = Session()
    found.created()
    found.audio()
    found.cut(("resp_1", 300), by="local")
    found.take()
    found.send(Say("Stop. What time is it?"))
    assert found.types() == ["conversation.item.create"]
    found.done(status="cancelled", status_details={"reason": "client_cancelled"})
    assert found.types() == ["conversation.item.create", "response.create"]
    [item, create] = found.sent
    assert item["item"]["content"] == [{"type": "input_text", "text": "Stop. What time is it?"}]
    assert create["event_id"]
    assert not found.of(events.Interrupted)


def test_a_typed_text_interrupts_an_answer_without_sound() -> None:
    found = Session(wish=SessionWish(text_only=True))
    found.created()
    assert [m["type"] for m in found.send(Say("Stop."))] == ["response.cancel", "conversation.item.create"]
    found.done(status="cancelled")
    assert found.types()[-1] == "response.create"


def test_one_request_at_a_time() -> None:
    found = Session()
    found.send(Say("One."))
    found.send(Say("Two."))
    assert found.types().count("response.create") == 1
    found.created()
    found.done()
    assert found.types().count("response.create") == 2
    found.created("resp_2")
    found.done("resp_2")
    assert found.types().count("response.create") == 2


def test_every_request_has_an_id_of_its_own() -> None:
    found = Session()
    for number in range(3):
        found.send(Say("Hi."))
        found.created(f"r{number}")
        found.done(f"r{number}")
    ids = [message["event_id"] for message in found.sent if message["type"] == "response.create"]
    assert len(ids) == len(set(ids)) == 3


@pytest.mark.parametrize("quotes", [True, False])
def test_a_refused_request_is_made_again(quotes: bool) -> None:
    """The server had begun a response of its own, which does not answer the text: it came later."""
    found = Session()
    found.send(Say("Hi."))
    create = found.sent[-1]
    found.created("resp_own")
    code = "conversation_already_has_active_response"
    found.error(
        code if quotes else None, f"{code}: already has an active response", create["event_id"] * quotes or None
    )
    assert not found.of(events.AgentError)
    found.done("resp_own")
    assert found.types().count("response.create") == 2


def test_a_refused_request_that_was_answered_is_not_made_again() -> None:
    """The server had taken the text before it began a response of its own."""
    found = Session()
    found.send(Say("Hi."))
    item, create = found.sent
    found.acknowledge(item["item"]["id"])
    found.created("resp_own")
    found.error("conversation_already_has_active_response", event_id=create["event_id"])
    found.done("resp_own")
    assert found.types().count("response.create") == 1


def test_a_refusal_before_the_response_is_told() -> None:
    found = Session()
    found.send(Say("Hi."))
    found.error("conversation_already_has_active_response", event_id=found.sent[-1]["event_id"])
    found.created("resp_own")
    found.done("resp_own")
    assert found.types().count("response.create") == 2


def test_a_request_that_fails_for_another_reason_is_told() -> None:
    found = Session()
    found.send(Say("Hi."))
    found.error("insufficient_quota", "No quota.", found.sent[-1]["event_id"])
    [failed] = found.of(events.AnswerFailed)
    assert (failed.answer, failed.retry_after_s) == (None, None)
    found.send(Say("Hi."))
    assert found.types().count("response.create") == 2


def test_nothing_is_asked_for_while_the_person_speaks() -> None:
    found = Session()
    found.speech()
    found.send(Say("Hi."))
    assert "response.create" not in found.types()
    found.spoke()
    assert "response.create" in found.types()


def test_a_waiting_request_that_another_response_answers_is_not_made() -> None:
    found = Session()
    found.speech()
    found.send(Say("Hi."))
    found.acknowledge(found.sent[-1]["item"]["id"])
    found.created("resp_own")
    found.done("resp_own")
    assert found.types() == ["conversation.item.create"]


def test_the_greeting_is_asked_for() -> None:
    found = Session(wish=SessionWish(greet=True))
    found.send(SpeakNow(is_greeting=True))
    [create] = found.sent
    assert create["response"]["instructions"].startswith("Be brief.\n\n")
    assert "greet" in create["response"]["instructions"]
    found.created()
    assert found.of(events.AnswerBegins) == [events.AnswerBegins("resp_1", is_greeting=True)]


def test_a_greeting_that_crossed_the_servers_own_response_is_none() -> None:
    found = Session()
    found.send(SpeakNow(is_greeting=True))
    found.created("resp_own")
    found.error("conversation_already_has_active_response", event_id=found.sent[-1]["event_id"])
    assert [event.is_greeting for event in found.of(events.AnswerBegins)] == [True, False]


def test_speaking_of_its_own_accord_is_told_with_the_sessions_instructions() -> None:
    found = Session()
    [create] = found.send(SpeakNow("The timer rang."))
    assert create["response"] == {"instructions": "Be brief.\n\nThe timer rang."}
    found.created()
    found.done()
    [plain] = found.send(SpeakNow())
    assert "response" not in plain


def test_where_the_server_must_not_interrupt_its_answer_is_asked_for() -> None:
    """Its own request fails while a response runs."""
    found = Session(wish=CLIENT)
    found.created()
    found.speech()
    found.spoke()
    assert found.types() == []
    found.done()
    assert found.types() == ["response.create"]
