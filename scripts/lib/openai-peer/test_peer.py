"""The whole daemon against speech-to-speech, an independent server of the protocol. PEER_URL: its base URL."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from harness import Daemon
from test_openai_conversation import PNG
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import BargeIn, Config, Reconnect, Session, Wake
from parleyd.core import events
from parleyd.core.endings import EndingKind
from parleyd.core.states import State

URL = os.environ["PEER_URL"]
QUESTION, STORY = "What time is it?", "Tell me a story."


def daemon(**sections: object) -> Daemon:
    settings: dict[str, object] = {
        "provider": "openai",
        "openai": OpenAI(base_url=URL, instructions="Be brief."),
        "session": Session(idle_timeout_s=60, false_wake_s=60),
        "reconnect": Reconnect(initial_s=0.5, max_s=2.0),
        **sections,
    }
    config = Config(**settings)  # type: ignore[arg-type]
    return Daemon(config, agent=OpenAIAgent(config.openai, None))


def test_a_question_with_its_first_word_is_understood_and_answered() -> None:
    with daemon() as one:
        one.say(QUESTION)
        assert one.expect(events.Heard, lambda event: event.final).text.lower().startswith("what time")
        assert one.expect(events.AnswerEnded).finished


@pytest.mark.parametrize("mode", ["server", "local"])
def test_interruptions(mode: str) -> None:
    with daemon(barge_in=BargeIn(mode=mode)) as one:  # type: ignore[arg-type]
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.say("Stop. What day is it today?", after_ms=2000)
        assert one.expect(events.BargedIn).by == mode
        assert not one.expect(events.AnswerEnded).finished
        assert one.expect(events.AnswerEnded).finished


def test_a_tool() -> None:
    with daemon() as one:
        one.service.say("Read the clock.")
        assert one.expect(events.ToolEnded).name == "get_time"
        one.expect(events.AnswerText, lambda event: "tool says" in event.text)


def test_a_typed_interruption() -> None:
    with daemon() as one:
        one.say(STORY)
        first = one.expect(events.AnswerStarted).answer
        one.service.say(QUESTION)
        assert not one.expect(events.AnswerEnded).finished
        assert one.expect(events.AnswerText, lambda event: "noon" in event.text).answer > first


def test_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with daemon(wake=Wake(mode="manual", greeting="skip")) as one:
        one.service.wake()
        one.expect(events.SessionOpened)
        one.service.send_file(os.open(tmp_path / "a.png", os.O_RDONLY), "a.png", "What is this?")
        one.expect(events.AnswerText, lambda event: "picture" in event.text)


def test_an_idle_session_is_hung_up() -> None:
    with daemon(session=Session(idle_timeout_s=2, false_wake_s=2)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.expect_state(State.ASLEEP)


def test_a_server_that_is_full_is_tried_again() -> None:
    with connect(f"ws{URL.removeprefix('http')}/realtime") as other:
        other.recv(timeout=10)
        leave = threading.Timer(3.0, other.close)
        leave.start()
        with daemon() as one:
            one.say(QUESTION)
            assert one.expect(events.SessionEnded).ending.kind is EndingKind.RETRY
            one.expect(events.AnswerEnded)
        with pytest.raises(ConnectionClosed):
            other.recv(timeout=5)
