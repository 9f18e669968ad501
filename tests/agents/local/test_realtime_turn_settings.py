"""The same settings of a turn as in test_turn_settings, for clients of the Realtime protocol: words that do not
interrupt, and what is said while the model thinks. Each event is checked against openai's types."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Start, spoken
from model_servers import Odd, call
from model_servers import words as chunk
from realtime_client import RATE_HZ, RealtimeClient, words
from test_turn_settings import END, SOON, STORY, TERMS, of

from parleyd.embedded.realtime.actions import Recognise, Tell
from parleyd.embedded.realtime.protocol import Protocol
from parleyd.embedded.realtime.response import Event
from parleyd.embedded.scenario import ConnectionScript
from parleyd.embedded.settings import AgentSettings

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
COMMITTED, CREATED = "input_audio_buffer.committed", "response.created"
DONE = "response.done"
LONG = "Turn on the lamp in the kitchen, please, and turn off the radio"


def said(text: str, silence_ms: int = 900) -> bytes:
    return spoken(text, RATE_HZ, silence_ms)


def since(client: RealtimeClient, *kinds: str) -> list[str]:
    """Of the messages since messages.clear(), those of these types."""
    return [kind for kind in client.types() if kind in kinds]


# ---------------------------------------------------------------- words that do not interrupt


@pytest.mark.parametrize("said_so", ["Mhm.", "I see!"])
def test_the_client_never_learns_of_a_word_that_does_not_interrupt(said_so: str, start: Start) -> None:
    rest = threading.Event()
    with Odd([chunk(STORY), rest, chunk("The end."), END]) as server:
        agent = start(of(server, TERMS, "What time is it?", said_so))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("What time is it?"))
            client.until("response.output_audio.delta")
            client.say(said("Stop."))
            record = agent.wait_connection()
            record.wait("ignored words", lambda it: it.of_kind("ignored"))
            rest.set()
            response = client.answer()
            assert (response["status"], words(response)) == ("completed", f"{STORY}The end.")
            assert since(client, STARTED, STOPPED, COMMITTED, CREATED) == [STARTED, STOPPED, COMMITTED, CREATED]
        assert len(server.asked) == 1, "it is no turn"
        assert record.transcripts == ["What time is it?"]
        assert len(record.of_kind("delay")) == 1


def test_into_sound_that_the_client_still_plays_it_does_not_interrupt_either(start: Start) -> None:
    with Odd([chunk(STORY), END], [chunk("Yes."), END]) as server:
        agent = start(of(server, TERMS, "What time is it?", "Mhm.").replace("stream_speed: 1", "stream_speed: 0"))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("What time is it?"))
            item_id = client.answer()["output"][0]["id"]
            client.messages.clear()
            client.say(said("Stop."))
            agent.wait_connection().wait("ignored words", lambda it: it.of_kind("ignored"))
            # A client that has stopped playing tells so, and then the same word is a turn.
            client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=900)
            client.until("conversation.item.truncated")
            assert since(client, STARTED) == []
            client.say(said("Stop."))
            assert words(client.answer()) == "Yes."
        assert len(server.asked) == 2


def test_any_other_words_cut_when_they_are_known(start: Start) -> None:
    with Odd([chunk(STORY), threading.Event(), END], [chunk("Yes."), END]) as server:
        agent = start(of(server, TERMS, "What time is it?", "Wait."))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
            first = said("What time is it?")
            client.say(first)
            client.until("response.output_audio.delta")
            client.messages.clear()
            client.say(said("Stop."))
            cut = client.answer()
            assert (cut["status"], cut["status_details"]["reason"]) == ("cancelled", "turn_detected")
            assert words(client.answer()) == "Yes."
            assert since(client, STARTED, DONE, STOPPED, COMMITTED, CREATED) == [
                STARTED, DONE, STOPPED, COMMITTED, CREATED, DONE,
            ]  # fmt: skip
            told = {one["type"]: one for one in client.messages}
            began_ms = len(first) / 2 / RATE_HZ * 1000
            assert began_ms - 300 <= told[STARTED]["audio_start_ms"] < told[STOPPED]["audio_end_ms"]
            assert told[STARTED]["item_id"] == told[STOPPED]["item_id"] == told[COMMITTED]["item_id"]
            assert told["conversation.item.input_audio_transcription.completed"]["transcript"] == "Wait."
        assert server.left.is_set()
        assert len(agent.wait_connection().of_kind("delay")) == 2, "of the answer to these words, too"


def test_who_speaks_for_longer_than_the_words_take_cuts_at_once(start: Start) -> None:
    with Odd([chunk(STORY), threading.Event(), END]) as server:
        agent = start(of(server, TERMS, "What time is it?"))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("What time is it?"))
            client.until("response.output_audio.delta")
            client.messages.clear()
            # Nothing ends this sentence: no silence follows.
            client.say(said(LONG, 0))
            assert client.answer()["status"] == "cancelled"
            assert since(client, STARTED, STOPPED) == [STARTED]


def test_into_a_silence_the_same_word_is_a_turn(start: Start) -> None:
    with Odd([chunk("Yes?"), END]) as server:
        agent = start(of(server, TERMS, "Mhm."))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("Stop."))
            assert words(client.answer()) == "Yes?"
            assert since(client, STARTED, STOPPED) == [STARTED, STOPPED]


class Talk:
    """A protocol that is asked without a connection: an answer is being heard, and sound comes in."""

    def __init__(self, **settings: Any) -> None:
        made = AgentSettings(interruption_ignore_terms=("mhm",), **settings)
        self._protocol = Protocol(made, ConnectionScript(), "sess_1", None, 0)
        list(self._protocol.opening())
        self.do(self._protocol.say_unasked("Once upon a time."))
        self.to_recognise: list[str] = []
        self.told: list[str] = []

    def do(self, actions: Iterator[Any]) -> list[Any]:
        done = list(actions)
        self.to_recognise = [*getattr(self, "to_recognise", []), *(a.item_id for a in done if isinstance(a, Recognise))]
        kinds = [a.plain["type"] for a in done if isinstance(a, Event)]
        self.told = [*getattr(self, "told", []), *(k for k in kinds if k in (STARTED, STOPPED, COMMITTED, DONE))]
        return done

    def send(self, type_: str, **fields: Any) -> list[Any]:
        return self.do(self._protocol.receive({"type": type_, **fields}, datetime.now(), 0.0))

    def say(self, pcm: bytes, chunk_ms: int = 100) -> None:
        size = RATE_HZ * chunk_ms // 1000 * 2
        for start in range(0, len(pcm), size):
            self.send("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + size]).decode())

    def recognised(self, item_id: str, text: str) -> list[Any]:
        return self.do(self._protocol.recognised(item_id, text, datetime.now()))

    @property
    def is_busy(self) -> bool:
        return self._protocol.is_busy


def test_utterances_are_told_in_their_order_when_a_later_one_interrupts() -> None:
    talk = Talk()
    talk.say(said("Stop."))
    talk.say(said("Stop."))
    assert (len(talk.to_recognise), talk.told) == (2, []), "their words are not known yet"
    talk.say(said(LONG, 0))
    assert talk.told == [STARTED, DONE, STOPPED, COMMITTED, STARTED, DONE, STOPPED, COMMITTED, STARTED, DONE]
    first, second = talk.to_recognise
    assert Tell("heard", {"text": "Mhm."}) in talk.recognised(first, "Mhm."), "it is told, so that it counts"
    talk.recognised(second, "Wait.")
    assert len(talk.to_recognise) == 2, "none is recognised twice"


def test_utterances_are_told_in_their_order_when_the_later_one_is_understood_first() -> None:
    talk = Talk()
    talk.say(said("Stop."))
    talk.say(said("Stop."))
    first, second = talk.to_recognise
    talk.recognised(second, "Wait.")
    assert talk.told == [STARTED, DONE, STOPPED, COMMITTED, STARTED, DONE, STOPPED, COMMITTED]
    talk.recognised(first, "Yes.")
    assert talk.told.count(STARTED) == 2


def test_an_ignored_word_between_others_is_left_out() -> None:
    talk = Talk()
    talk.say(said("Stop."))
    talk.say(said("Stop."))
    first, second = talk.to_recognise
    assert talk.recognised(first, "Mhm.") == [Tell("ignored", {"text": "Mhm."})]
    assert talk.is_busy
    talk.recognised(second, "Wait.")
    assert talk.told == [STARTED, DONE, STOPPED, COMMITTED]


def test_a_client_that_forgets_or_ends_the_sound_decides_itself() -> None:
    talk = Talk()
    talk.say(said(LONG, 0)[:RATE_HZ])
    talk.send("input_audio_buffer.clear")
    talk.say(bytes(RATE_HZ * 2))
    assert (talk.told, talk.to_recognise) == ([], [])
    talk.say(said(LONG, 0)[:RATE_HZ])
    talk.send("input_audio_buffer.commit")
    assert talk.told == [STARTED, DONE, COMMITTED]
    assert len(talk.to_recognise) == 1


def test_a_client_that_ends_the_turns_itself_later_is_still_told() -> None:
    talk = Talk()
    talk.say(said("Stop."))
    talk.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    talk.recognised(talk.to_recognise[0], "Wait.")
    assert talk.told == [STARTED, STOPPED, COMMITTED], "what interrupts is the client's affair now"


# ---------------------------------------------------------------- what is said while the model thinks


def spoken_items(response: dict[str, Any]) -> list[tuple[str, str]]:
    """(status, words) of each message of a response."""
    messages = [item for item in response["output"] if item["type"] == "message"]
    return [(item["status"], words({"output": [item]})) for item in messages]


def test_one_filler_is_an_item_of_its_own_before_the_answer(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, chunk("It is noon."), END]) as server:
        agent = start(of(server, SOON))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("What time is it?"))
            filler = client.until("response.output_item.done")["item"]
            thought.set()
            response = client.answer()
            assert response["status"] == "completed"
            assert spoken_items(response) == [("completed", "One moment, please."), ("completed", "It is noon.")]
            assert response["output"][0] == filler
            assert sorted(client.audio) == sorted(item["id"] for item in response["output"])
            # Either can be truncated on its own.
            client.send("conversation.item.truncate", item_id=filler["id"], content_index=0, audio_end_ms=100)
            client.until("conversation.item.truncated")
            client.update(output_modalities=["text"])
            client.write("Thanks.")
            client.until("response.output_text.done")
            client.answer()
        history = [(one["role"], one["content"]) for one in server.asked[1]["messages"][1:]]
        assert history == [("user", "What time is it?"), ("assistant", "It is noon."), ("user", "Thanks.")]
        assert len(agent.wait_connection().of_kind("delay")) == 1, "of the answer, not of the filler"


def test_fillers_are_said_one_after_the_other_and_no_more_than_are_set(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, chunk("It is noon."), END]) as server:
        agent = start(of(server, SOON + "soft_timeout_messages: [Hm., Still here.],"))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"])
            client.write("What time is it?")
            assert client.until("response.output_text.done")["text"] == "Hm."
            assert client.until("response.output_text.done")["text"] == "Still here."
            thought.set()
            assert [text for _, text in spoken_items(client.answer())] == ["Hm.", "Still here.", "It is noon."]


def test_a_filler_is_said_while_the_model_thinks_about_a_result(start: Start) -> None:
    thought = threading.Event()
    with Odd([call("c1", "get_light", "{}"), {"finish": "tool_calls"}], [thought, chunk("It is on."), END]) as server:
        agent = start(of(server, SOON))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"], tools=[{"type": "function", "name": "get_light"}])
            client.write("Is the light on?")
            made = client.answer()["output"][-1]
            client.item("function_call_output", call_id=made["call_id"], output="on")
            client.send("response.create")
            client.until("response.output_text.done", lambda one: "moment" in one["text"])
            thought.set()
            assert spoken_items(client.answer())[-1] == ("completed", "It is on.")


def test_an_answer_in_time_has_no_filler(start: Start) -> None:
    with Odd([chunk("It is noon."), END]) as server:
        agent = start(of(server, "soft_timeout_s: 3600,"))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.write("What time is it?")
            assert spoken_items(client.answer()) == [("completed", "It is noon.")]


def test_a_filler_that_is_cut_is_no_word_of_the_mind(start: Start) -> None:
    with Odd([threading.Event(), END], [chunk("Noon."), END]) as server:
        long = "Let me think about that for a while, since it is no easy question at all for me."
        agent = start(of(server, f'{SOON} soft_timeout_messages: ["{long}"],'))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(said("What time is it?"))
            item_id = client.until("response.output_audio.delta")["item_id"]
            client.say(said("And now?", 0))
            cut = client.answer()
            assert cut["status"] == "cancelled"
            assert [(item["id"], item["status"]) for item in cut["output"]] == [(item_id, "incomplete")]
            client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
            client.say(bytes(RATE_HZ * 2))
            client.until(DONE, lambda one: one["response"]["status"] == "completed")
        assert [one["role"] for one in server.asked[1]["messages"]] == ["system", "user", "user"]
        assert server.left.is_set(), "the first answer is given up"


def test_a_response_beside_the_conversation_has_no_filler(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, chunk("It is noon."), END], [thought, chunk("It is noon."), END]) as server:
        agent = start(of(server, SOON))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"])
            client.send("response.create", response={"conversation": "none", "metadata": {"for": "a program"}})
            assert server.asked_event.wait(60)
            client.write("What time is it?")
            client.until("response.output_text.done")
            thought.set()
            found = {len(spoken_items(one)) for one in (client.answer(), client.answer()) if one["metadata"]}
            assert found == {1}


def test_a_filler_does_not_count_for_the_limit_of_the_answer(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, chunk("Noon."), END]) as server:
        agent = start(of(server, SOON))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"], max_output_tokens=4)
            client.write("What time is it?")
            client.until("response.output_text.done")
            thought.set()
            response = client.answer()
            assert (response["status"], spoken_items(response)[-1]) == ("completed", ("completed", "Noon."))
            assert response["usage"]["output_tokens"] > 4, "it has been said all the same"
