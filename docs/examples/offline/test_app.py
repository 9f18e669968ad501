"""An application of the ElevenLabs Agents platform, tested without the platform: with `parleyd agent` in its place.

It needs pytest, elevenlabs, and parleyd with its extra `agent`: pytest test_app.py
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import (
    AudioInterface,
    ClientTools,
    Conversation,
    ConversationInitiationData,
)

WAIT_S = 60


class Bakery:
    """The application: it takes orders through a tool of the agent, and notices how a conversation ends."""

    def __init__(self, base_url: str) -> None:
        self.orders: list[str] = []
        self.said: queue.Queue[str] = queue.Queue()
        self.ended: queue.Queue[object] = queue.Queue()
        tools = ClientTools()
        tools.register("place_order", self.place_order)
        self.conversation = Conversation(
            # In production without base_url.
            ElevenLabs(api_key="any", base_url=base_url),
            "any",
            requires_auth=True,
            audio_interface=NoSound(),
            config=ConversationInitiationData(conversation_config_override={"conversation": {"text_only": True}}),
            client_tools=tools,
            callback_agent_response=self.said.put,
            callback_disconnect=self.ended.put,
        )

    def place_order(self, parameters: dict[str, str]) -> str:
        self.orders.append(parameters["article"])
        return "Your rolls are in the oven."


class NoSound(AudioInterface):
    """The conversation is held in writing."""

    def start(self, input_callback: Callable[[bytes], None]) -> None: ...

    def stop(self) -> None: ...

    def output(self, audio: bytes) -> None: ...

    def interrupt(self) -> None: ...


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """One agent for all tests; its connections are counted."""
    scenario = Path(__file__).with_name("agent.yaml")
    command = [sys.executable, "-m", "parleyd", "agent", "--json", "--port", "0", "--scenario", str(scenario)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        yield json.loads(agent.stdout.readline())["base_url"]
        agent.terminate()


@pytest.fixture
def bakery(base_url: str) -> Iterator[Bakery]:
    bakery = Bakery(base_url)
    bakery.conversation.start_session()
    assert bakery.said.get(timeout=WAIT_S) == "Hello!"
    yield bakery
    bakery.conversation.end_session()
    bakery.conversation.wait_for_session_end()


def test_an_order_is_placed(bakery: Bakery) -> None:
    bakery.conversation.send_user_message("I want to order six rolls.")
    assert bakery.said.get(timeout=WAIT_S) == "Your rolls are in the oven."
    assert bakery.orders == ["rolls"]


def test_a_broken_line_is_noticed_and_orders_nothing(bakery: Bakery) -> None:
    bakery.conversation.send_user_message("I want to order six rolls.")
    assert bakery.ended.get(timeout=WAIT_S).close_code == 1006  # type: ignore[attr-defined]
    assert bakery.orders == []


def test_a_model_that_is_too_late_is_noticed(bakery: Bakery) -> None:
    bakery.conversation.send_user_message("I want to order six rolls.")
    assert bakery.ended.get(timeout=WAIT_S).close_code == 1002  # type: ignore[attr-defined]
