"""What the agent is to be told while there is no session."""

from __future__ import annotations

import pytest

from parleyd.agents import commands as to_agent
from parleyd.agents.commands import Know, Prepared, SpeakNow
from parleyd.conversation.dialogue.agent_input import ASK, JUST_NOW_S, MAX_TO_TELL, MOST_TEXTS, AgentInput
from parleyd.conversation.dialogue.commands import Command, Publish, Send
from parleyd.core import events

FILE = Prepared("a.png", "image/png", "f1")


class Session:
    def send(self, command: to_agent.Command) -> None:
        raise AssertionError("the dialogue sends")


class Agent:
    """AgentInput, a clock, and what it has sent."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.to_agent = AgentInput(self.commands.append)
        self.now_s = 1000.0

    @property
    def lost(self) -> list[str]:
        published = [command.event for command in self.commands if isinstance(command, Publish)]
        return [event.text for event in published if isinstance(event, events.TypedLost)]

    def say(self, text: str) -> None:
        self.now_s += 1
        self.to_agent.say(text, self.now_s)

    def tell(self, text: str, *, ask: bool) -> None:
        self.now_s += 1
        self.to_agent.tell(text, self.now_s, ask=ask)

    def opened(self) -> list[to_agent.Command]:
        """Opens a session. Returns what it is told."""
        self.sent()
        self.to_agent.open(Session(), self.now_s)
        return self.sent()

    def sent(self) -> list[to_agent.Command]:
        """Since the last call."""
        told = [command.command for command in self.commands if isinstance(command, Send)]
        self.commands[:] = [command for command in self.commands if not isinstance(command, Send)]
        return told


def test_what_happens_meanwhile_is_told_and_then_asked_for_once() -> None:
    agent = Agent()
    agent.tell("one", ask=False)
    agent.tell("two", ask=True)
    assert agent.opened() == [Know("one"), Know("two"), SpeakNow(ASK)]
    assert agent.to_agent.answered() == (), "the person has not said it"
    agent.to_agent.close()
    assert agent.opened() == []


def test_in_a_session_the_agent_speaks_of_it_if_it_is_asked() -> None:
    agent = Agent()
    agent.opened()
    agent.tell("one", ask=False)
    assert agent.sent() == [Know("one")]
    agent.tell("two", ask=True)
    assert agent.sent() == [Know("two"), SpeakNow(ASK)]
    agent.tell("three", ask=True)
    assert agent.sent() == [Know("three")], "it has not answered yet"


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("ask", [True, False])
def test_after_a_lost_line_what_it_has_not_answered_is_told_again(is_live: bool, ask: bool) -> None:
    agent = Agent()
    if is_live:
        agent.opened()
        agent.tell("one", ask=ask)
        told = agent.sent()
    else:
        agent.tell("one", ask=ask)
        told = agent.opened()
    assert told[0] == Know("one")
    agent.to_agent.close()
    assert agent.opened() == told
    agent.to_agent.answered()
    agent.to_agent.close()
    assert agent.opened() == []


def test_what_was_said_to_a_file_is_answered_in_its_own_session_or_not_at_all() -> None:
    sent = events.FileSent(at_s=1.0, upload=1, name="a.png", media_type="image/png", size_bytes=1)
    agent = Agent()
    assert not agent.to_agent.send_file(FILE, "look", sent, agent.now_s), "there is no session"
    agent.opened()
    assert agent.to_agent.send_file(FILE, "look", sent, agent.now_s)
    assert [type(command).__name__ for command in agent.commands] == ["Publish", "Publish", "Send"]
    assert agent.to_agent.answered() == ("look",)
    assert agent.to_agent.send_file(FILE, "and this", sent, agent.now_s)
    agent.to_agent.close()
    agent.commands.clear()
    assert agent.opened() == []
    assert agent.to_agent.answered() == (), "the new session does not have the file"


def test_what_no_agent_has_read_is_told_as_lost() -> None:
    agent = Agent()
    agent.say("too much")
    agent.tell("one", ask=True)
    for _ in range(MOST_TEXTS):
        agent.say("more")
    assert agent.lost == ["too much"], "that it was asked to speak is nobody's text"
    agent.opened()
    agent.say("read")
    agent.to_agent.close()
    agent.say("unread")
    agent.to_agent.forget_typed(float("inf"), "too late", agent.now_s)
    assert agent.lost == ["too much", "unread"]


def test_what_comes_late_says_so_and_is_asked_for_no_more() -> None:
    agent = Agent()
    agent.tell("one", ask=False)
    agent.to_agent.forget_typed(agent.now_s + 0.1, "too late", agent.now_s)
    agent.now_s += 2 * JUST_NOW_S
    assert agent.opened() == [Know("one That was 2 minutes ago.")]


def test_it_becomes_no_chronicle() -> None:
    agent = Agent()
    for number in range(3 * MAX_TO_TELL):
        agent.tell(str(number), ask=True)
    assert len(agent.opened()) == MAX_TO_TELL + 1
