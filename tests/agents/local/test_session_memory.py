"""A session that ends leaves nothing of its own for Python's collector of garbage, which comes seldom: it counts
objects, and a session has few of them with much memory, such as its sound and the state of its converter."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Client, spoken
from model_servers import Odd, call
from model_servers import words as chunk
from realtime_client import RATE_HZ, RealtimeClient

from parleyd.audio.resample import Resampler
from parleyd.embedded.conversation import Conversation
from parleyd.embedded.hearing import Hearing
from parleyd.embedded.line import ConvaiLine, Line
from parleyd.embedded.mind.language_mind import LanguageMind
from parleyd.embedded.mind.language_model import Ahead
from parleyd.embedded.realtime.front import Front
from parleyd.embedded.realtime.protocol import Protocol
from parleyd.embedded.recognise import SphinxEars
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import Scenario
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings, MindSettings, ToolDefinition
from parleyd.embedded.voice import Voice
from waiting import until

OF_A_SESSION = {
    Ahead, ConnectionRecord, Conversation, ConvaiLine, Front, Hearing, LanguageMind, Line, Protocol, Resampler,
}  # fmt: skip
QUESTION = "What time is it?"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    """The number of objects of sessions, by their kinds."""
    # Not by isinstance(): a weak proxy says that it is of the kind that it stands for.
    kinds = [type(one) for one in gc.get_objects()]
    return Counter(kind.__name__ for kind in kinds if kind in OF_A_SESSION)


class Talk:
    """The parts of a session; `model` is what it is asked with."""

    def __init__(self, agent: LocalAgent, model: Odd, rest: threading.Event) -> None:
        self.agent = agent
        self.model = model
        self.rest = rest


def convai_written(talk: Talk) -> None:
    talk.rest.set()
    with Client(talk.agent) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": QUESTION})
        client.until("agent_response")


def convai_spoken(talk: Talk) -> None:
    talk.rest.set()
    with Client(talk.agent) as client:
        client.until("conversation_initiation_metadata")
        client.say(spoken(QUESTION))
        client.until("agent_response")


def convai_interrupted(talk: Talk) -> None:
    with Client(talk.agent) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": QUESTION})
        client.until("audio")
        client.say(spoken("Stop."))
        client.until("interruption")


def convai_gone_in_an_answer(talk: Talk) -> None:
    with Client(talk.agent) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": QUESTION})
        client.until("audio")


def convai_gone_in_a_call(talk: Talk) -> None:
    talk.rest.set()
    with Client(talk.agent) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": QUESTION})
        client.until("agent_response")
        client.send({"type": "user_message", "text": "And the light?"})
        client.until("client_tool_call")


def realtime_written(talk: Talk) -> None:
    talk.rest.set()
    with RealtimeClient(talk.agent) as client:
        client.until("session.created")
        client.update(output_modalities=["text"])
        client.write(QUESTION)
        client.answer()


def realtime_spoken(talk: Talk) -> None:
    talk.rest.set()
    with RealtimeClient(talk.agent) as client:
        client.until("session.created")
        client.say(spoken(QUESTION, RATE_HZ))
        client.answer()


def realtime_interrupted(talk: Talk) -> None:
    with RealtimeClient(talk.agent) as client:
        client.until("session.created")
        client.write(QUESTION)
        client.until("response.output_audio.delta")
        client.say(spoken("Stop.", RATE_HZ))
        assert client.answer()["status"] == "cancelled"


def realtime_gone_in_an_answer(talk: Talk) -> None:
    with RealtimeClient(talk.agent) as client:
        client.until("session.created")
        client.write(QUESTION)
        client.until("response.output_audio.delta")


def realtime_refused(talk: Talk) -> None:
    with RealtimeClient(talk.agent, "no-such-model") as client:
        client.until_closed()


@pytest.mark.parametrize(
    "talk",
    [
        convai_written, convai_spoken, convai_interrupted, convai_gone_in_an_answer, convai_gone_in_a_call,
        realtime_written, realtime_spoken, realtime_interrupted, realtime_gone_in_an_answer, realtime_refused,
    ],
)  # fmt: skip
def test_a_session_that_has_ended_leaves_nothing(
    talk: Callable[[Talk], None], sphinx: SphinxEars, agent_voice: Voice
) -> None:
    before, rest = alive(), threading.Event()
    first = [chunk("It is noon. "), chunk("Or "), rest, chunk("nearly."), {"finish": "stop"}]
    second = [call("a", "get_light", "{}"), {"finish": "stop"}]
    with Odd(first, second) as model:
        settings = AgentSettings(
            first_message="",
            end_of_speech_ms=300,
            mind=MindSettings(base_url=model.base_url, next_token_s=60),
            tools=(ToolDefinition(name="get_light"),),
        )
        with LocalAgent(settings, Scenario(), ears=sphinx, voice=agent_voice, keep=False) as agent:
            try:
                talk(Talk(agent, model, rest))
                until("the objects of a session that has ended are gone", lambda: not alive() - before)
            finally:
                rest.set()
