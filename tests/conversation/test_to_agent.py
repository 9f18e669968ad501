"""What the agent is to be told while there is no session."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.config.schema import ElevenLabs
from parleyd.conversation.dialogue import agent_input
from parleyd.conversation.dialogue.agent_input import ASK, JUST_NOW_S, MAX_TO_TELL, ToAgent
from parleyd.conversation.dialogue.typed_input import MOST_TEXTS
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.uplink import Uplink
from parleyd.core import events

CODEC = ElevenLabsCodec(ElevenLabs(agent_id="a"))


class Agent:
    """ToAgent, and what it has sent."""

    def __init__(self) -> None:
        self.outbox = Outbox(Uplink("silence", pre_roll_ms=0, capacity_ms=1000))
        self.lost: list[str] = []
        bus = events.Bus()
        bus.subscribe(lambda event: self.lost.append(event.text) if isinstance(event, events.TypedLost) else None)
        self.to_agent = ToAgent(self.outbox, bus)

    def opened(self) -> list[tuple[str, str]]:
        """Opens a session. → what it is told: (type, text)."""
        self.outbox.admit(self)
        self.to_agent.open(CODEC, None)
        return self.sent()

    def sent(self) -> list[tuple[str, str]]:
        self.outbox.send(b"null")
        sent: list[dict[str, Any]] = []
        while (message := self.outbox.take(self)) != b"null":
            assert isinstance(message, bytes)
            sent.append(json.loads(message))
        return [(one["type"], one["text"]) for one in sent]


def test_what_happens_meanwhile_is_told_and_then_asked_for_once() -> None:
    agent = Agent()
    agent.to_agent.tell("one", ask=False)
    agent.to_agent.tell("two", ask=True)
    assert agent.opened() == [("contextual_update", "one"), ("contextual_update", "two"), ("user_message", ASK)]
    assert agent.to_agent.answered() == (), "the person has not said it"
    agent.to_agent.close()
    assert agent.opened() == []


def test_in_a_session_the_agent_speaks_of_it_if_it_is_asked() -> None:
    agent = Agent()
    agent.opened()
    agent.to_agent.tell("one", ask=False)
    assert agent.sent() == [("contextual_update", "one")]
    agent.to_agent.tell("two", ask=True)
    assert agent.sent() == [("contextual_update", "two"), ("user_message", ASK)]
    agent.to_agent.tell("three", ask=True)
    assert agent.sent() == [("contextual_update", "three")], "it has not answered yet"


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("ask", [True, False])
def test_after_a_lost_line_what_it_has_not_answered_is_told_again(is_live: bool, ask: bool) -> None:
    agent = Agent()
    if is_live:
        agent.opened()
        agent.to_agent.tell("one", ask=ask)
        told = agent.sent()
    else:
        agent.to_agent.tell("one", ask=ask)
        told = agent.opened()
    assert told[0] == ("contextual_update", "one")
    agent.to_agent.close()
    assert agent.opened() == told
    agent.to_agent.answered()
    agent.to_agent.close()
    assert agent.opened() == []


def test_what_no_agent_has_read_is_told_as_lost() -> None:
    agent = Agent()
    agent.to_agent.say("too much")
    agent.to_agent.tell("one", ask=True)
    for _ in range(MOST_TEXTS):
        agent.to_agent.say("more")
    assert agent.lost == ["too much"], "that it was asked to speak is nobody's text"
    agent.opened()
    agent.to_agent.say("read")
    agent.to_agent.close()
    agent.to_agent.say("unread")
    agent.to_agent.forget_typed(float("inf"), "too late")
    assert agent.lost == ["too much", "unread"]


def test_what_comes_late_says_so_and_is_asked_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent()
    agent.to_agent.tell("one", ask=False)
    now_s = time.monotonic()
    agent.to_agent.forget_typed(now_s, "too late")
    monkeypatch.setattr(agent_input.time, "monotonic", lambda: now_s + 2 * JUST_NOW_S)
    assert agent.opened() == [("contextual_update", "one That was 2 minutes ago.")]


def test_it_becomes_no_chronicle() -> None:
    agent = Agent()
    for number in range(3 * MAX_TO_TELL):
        agent.to_agent.tell(str(number), ask=True)
    assert len(agent.opened()) == MAX_TO_TELL + 1
