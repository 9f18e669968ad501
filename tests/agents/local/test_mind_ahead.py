"""A turn that is begun before its end is certain, and what of it is used."""

from __future__ import annotations

import threading

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Client, Start, person, spoken
from model_servers import Odd, words

from parleyd.embedded import scenario
from parleyd.embedded.hearing import Hearing, HearingEvent, SpeechEnded, SpeechMayHaveEnded, SpeechResumed
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.turn_times import TurnTimes
from parleyd.embedded.voice import Voice
from waiting import until

RATE_HZ = 16_000


def silence(duration_ms: int) -> bytes:
    return bytes(RATE_HZ * duration_ms // 1000 * 2)


def of(base_url: str, more: str = "") -> str:
    mind = f'{{base_url: "{base_url}", next_token_s: 60}}'
    return f'agent: {{first_message: "", end_of_speech_ms: 700, {more} mind: {mind}}}'


def kinds(events: list[HearingEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_pause_is_told_and_taken_back_and_an_end_is_told_once() -> None:
    hearing = Hearing(RATE_HZ, 700, may_have_ended_ms=200)
    sentence = person().say("What time is it?", RATE_HZ)
    events = hearing.push(sentence + silence(100) + sentence + silence(900))
    told = [kind for kind in kinds(events) if kind != "SpeechStarted"]
    assert told[-2:] == ["SpeechMayHaveEnded", "SpeechEnded"]
    assert told[:2] == ["SpeechMayHaveEnded", "SpeechResumed"]
    assert told.count("SpeechMayHaveEnded") == told.count("SpeechResumed") + 1


def test_the_guess_comes_within_250_ms_of_the_last_voiced_frame() -> None:
    """Counted in the sound itself: the frames from the last voiced one to that in which the guess begins."""
    hearing = Hearing(RATE_HZ, 700, may_have_ended_ms=200)
    sound = person().say("What time is it?", RATE_HZ) + silence(900)
    guessed_at = ended_at = 0
    frame = RATE_HZ * 20 // 1000 * 2
    for start in range(0, len(sound), frame):
        for event in hearing.push(sound[start : start + frame]):
            if isinstance(event, SpeechMayHaveEnded):
                guessed_at = start
            elif isinstance(event, SpeechEnded):
                ended_at = start
    last_voiced_ms = (ended_at / 2 / RATE_HZ * 1000) - 700
    assert guessed_at / 2 / RATE_HZ * 1000 - last_voiced_ms <= 250


def test_without_the_wish_there_are_no_guesses() -> None:
    events = Hearing(RATE_HZ, 700).push(spoken("What time is it?", silence_ms=900))
    assert not any(isinstance(event, SpeechMayHaveEnded | SpeechResumed) for event in events)


def test_the_model_is_asked_before_the_turn_is_over_and_its_answer_is_used(start: Start) -> None:
    with Odd([words("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            sentence = person().say("What time is it?", RATE_HZ)
            client.say(sentence + silence(300))
            # The rest of the silence has not been sent: the turn is not over.
            assert server.asked_event.wait(60)
            assert "user_transcript" not in client.types()
            client.say(silence(500))
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Half past nine."
        assert len(server.asked) == 1
        assert (agent.figures.guesses, agent.figures.guesses_used) == (1, 1)
        delay = agent.wait_connection().of_kind("delay")[0].fields
        assert delay["ears_ms"] == 0, "the words were there before the silence was long enough"
        assert delay["silence_ms"] == 700


def test_when_the_person_goes_on_the_first_guess_is_stopped(start: Start) -> None:
    never = threading.Event()
    with Odd([words("It is "), never], [words("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            sentence = person().say("What time is it?", RATE_HZ)
            client.say(sentence + silence(300))
            assert server.asked_event.wait(60)
            client.say(sentence)
            assert server.left.wait(60), "the stream of the guess is closed"
            client.say(silence(900))
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Half past nine."
        asked = [message["content"] for message in server.asked[-1]["messages"] if message["role"] == "user"]
        assert len(asked) == 1, "the history has what was said, once"


def test_a_guess_of_a_client_that_goes_away_is_stopped(start: Start) -> None:
    never = threading.Event()
    with Odd([words("It is "), never]) as server:
        agent = start(of(server.base_url))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(person().say("What time is it?", RATE_HZ) + silence(300))
            assert server.asked_event.wait(60)
        assert server.left.wait(60)


class SlowEars:
    """Understands the first utterance when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.is_asked = threading.Event()
        self.count = 0

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        self.count += 1
        self.is_asked.set()
        assert self.may.wait(60)
        return f"What time is it, number {self.count}?"


def test_a_guess_that_waits_for_earlier_words_is_stopped_likewise(agent_voice: Voice) -> None:
    ears = SlowEars()
    with Odd() as server:
        script = scenario.parse(of(server.base_url), "test.yaml")
        with LocalAgent(script.agent, script, ears=ears, voice=agent_voice) as agent:
            with Client(agent) as client:
                client.until("conversation_initiation_metadata")
                sentence = person().say("What time is it?", RATE_HZ)
                client.say(sentence + silence(900))
                assert ears.is_asked.wait(60)
                client.say(sentence + silence(900))
                until("the second guess", lambda: agent.figures.guesses == 2)
            until("the end of the session", lambda: agent.figures.sessions_now == 0)
            ears.may.set()
            with Client(agent) as client:
                client.until("conversation_initiation_metadata")
                client.say(sentence + silence(900))
                # One recogniser: all that was asked before has had its turn.
                client.until("agent_response")
            assert ears.count == 2, "nobody wants to know the second utterance"
            assert len(server.asked) == 1


def test_guesses_can_be_left_out(start: Start) -> None:
    with Odd([words("Half past nine. "), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url, "guess_after_ms: 700,"))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?", silence_ms=900))
            client.until("agent_response")
        assert agent.figures.guesses == 0


@pytest.mark.parametrize(
    ("words_s", "piece_s", "parts"),
    [
        (1.1, 1.3, {"silence": 0.7, "ears": 0.1, "mind": 0.2, "voice": 0.2, "first_sound": 1.2}),
        (0.5, 0.9, {"silence": 0.7, "ears": 0.0, "mind": 0.0, "voice": 0.5, "first_sound": 1.2}),
    ],
)
def test_the_parts_of_a_delay_are_its_sum(words_s: float, piece_s: float, parts: dict[str, float]) -> None:
    found = TurnTimes(0.3, 1.0, words_s, piece_s).parts_s(1.5)
    assert found is not None
    assert {name: round(seconds, 6) for name, seconds in found.items()} == parts


def test_a_turn_without_words_has_no_delay() -> None:
    assert TurnTimes(0.3, 1.0).parts_s(1.5) is None
