"""One slow voice and many conversations at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from local_client import WAIT_S, Client

from parleyd.embedded import scenario
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.workers import Workers
from waiting import until

SESSIONS = 8
SCENARIO = r"""
agent:
  ears: none
  first_message: ""
  replies:
  - heard: 'story (\d)'
    say: 'Story \1 begins. Story \1 goes on. Story \1 ends.'
"""


class SlowVoice:
    """A sentence takes until it is let go. Its sound is 100 ms long."""

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.said: list[str] = []

    def say(self, text: str, rate_hz: int) -> bytes:
        self.said.append(text)
        assert self.let.acquire(timeout=WAIT_S)
        return b"\x01\x00" * (rate_hz // 10)

    def close(self) -> None:
        pass


def test_nobody_waits_for_the_whole_answer_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentences of all take turns: each conversation has its first sound after as many sentences as there are
    conversations."""
    voice, wanted = SlowVoice(), threading.Semaphore(0)
    say = Workers.say

    async def counted(self: Workers, text: str, rate_hz: int) -> bytes:
        wanted.release()
        return await say(self, text, rate_hz)

    monkeypatch.setattr(Workers, "say", counted)
    script = scenario.parse(SCENARIO, "test.yaml")
    with LocalAgent(script.agent, script, ears=NoEars(), voice=voice) as agent, ExitStack() as stack:
        clients = [stack.enter_context(Client(agent)) for _ in range(SESSIONS)]
        for number, client in enumerate(clients):
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": f"story {number}"})
        for _ in range(SESSIONS):
            assert wanted.acquire(timeout=WAIT_S)
        voice.let.release(SESSIONS)
        for client in clients:
            client.until("audio")
        until("the second sentence of somebody", lambda: len(voice.said) > SESSIONS)
        assert sorted(voice.said[:SESSIONS]) == [f"Story {number} begins." for number in range(SESSIONS)]
        voice.let.release(2 * SESSIONS)
        until("every sentence of all", lambda: len(voice.said) == 3 * SESSIONS)
