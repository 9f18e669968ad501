"""A session is held for a person, and for answers to a person: whatever else the agent does, it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Daemon
from plays import QUESTION, config
from scripted_server import WAIT_S, Line, ScriptedServer
from test_without_sound import TextDaemon

from parleyd.config.schema import Audio, Session
from parleyd.config.tool_sections import CommandTool, Tools
from parleyd.core import events
from parleyd.core.states import State

IDLE_S = 5.0
# Far more than the time for idle, and far less than for ever.
IN_TIME_S = 14.0


def tool_call(line: Line, name: str, number: int) -> None:
    call = {"tool_name": name, "tool_call_id": f"call_{number}", "parameters": {}}
    line.send({"type": "client_tool_call", "client_tool_call": call})


def tentative(line: Line, text: str) -> None:
    payload = {"user_transcript": text}
    line.send({"type": "tentative_user_transcript", "tentative_user_transcription_event": payload})


# What an agent may do again and again, and how often: each once kept the line open for ever.
ACTS: dict[str, tuple[float, Callable[[Line, int], object]]] = {
    "asks whether somebody is there": (2.8, lambda line, _: line.says("Are you still there?", 0.3)),
    "the same, without a text": (4.0, lambda line, n: line.audio_chunk(b"\x00\x10" * 4800, 100 + n)),
    "sends silence": (0.25, lambda line, n: line.audio_chunk(bytes(3200), 100 + n)),
    "hears nothing": (0.25, lambda line, _: line.hears("")),
    "hears the silence": (0.25, lambda line, _: line.hears("...")),
    "guesses": (0.25, lambda line, _: tentative(line, "yes")),
    "interrupts": (0.25, lambda line, _: line.interrupts()),
    "calls what is not there": (0.25, lambda line, n: tool_call(line, "nope", n)),
    "pings": (0.25, lambda line, n: line.send({"type": "ping", "ping_event": {"event_id": n}})),
}

# After words of a person this is one long answer, in pieces.
UNHEARD_ACTS = {**ACTS, "talks on": (1.2, lambda line, _: line.says("Hello? Is there anybody?", 0.6) and None)}


def act(line: Line, what: str) -> None:
    every_s, does = UNHEARD_ACTS[what]
    number = 0
    while not line.over.wait(every_s):
        number += 1
        does(line, number)


@pytest.mark.parametrize("what", ACTS)
def test_after_an_answer_nothing_that_the_agent_does_keeps_the_line_open(what: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("thank you")
        line.says("You are welcome.", 0.5)
        act(line, what)

    session = Session(idle_timeout_s=IDLE_S, false_wake_s=IDLE_S)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say("Thank you.")
        daemon.expect(events.AnswerStarted)
        asleep = daemon.expect(events.StateChanged, lambda e: e.after == State.ASLEEP.value, IN_TIME_S)
        assert asleep.trigger == "idle"
        assert asleep.reason.startswith("nobody has spoken for ")
        assert ("without being asked" in asleep.reason) is ("is there" in what or "without a text" in what)
        assert daemon.doubts() == 0
        assert len(server.lines) == 1


@pytest.mark.parametrize("what", UNHEARD_ACTS)
def test_a_wake_for_nothing_is_concluded_whatever_the_agent_does_and_doubted(what: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("...")
        act(line, what)

    session = Session(idle_timeout_s=60, false_wake_s=3.0)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say(QUESTION)
        asleep = daemon.expect(events.StateChanged, lambda e: e.after == State.ASLEEP.value, IN_TIME_S)
        assert asleep.trigger == "false wake"
        assert asleep.reason.startswith("the agent understood nothing")
        assert daemon.doubts() == 1
        assert not daemon.of(events.SpeechLost), "it was sent, and the agent had its time for it"


def test_an_empty_room_is_not_exchanged_for_a_new_one() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_turn()
            line.hears("thank you")
            line.says("You are welcome.", 0.5)
        act(line, "asks whether somebody is there")

    # An age below what the schema allows, and an idle time beyond it.
    session = Session(idle_timeout_s=5.0, max_s=2.0)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say("Thank you.")
        answered = daemon.expect(events.AnswerEnded)
        asleep = daemon.expect(events.StateChanged, lambda e: e.after == State.ASLEEP.value, IN_TIME_S)
        assert asleep.trigger == "idle"
        assert asleep.at_s - answered.at_s >= 4.8
        assert 2 <= len(server.lines) <= 4, "exchanged while the person may still be there"


def test_a_long_answer_is_heard_to_its_end_and_then_there_is_time_to_reply() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        line.says("Once upon a time.", 5.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, session=Session(idle_timeout_s=1))) as daemon:
        daemon.say("Tell me a story.")
        ended = daemon.expect(events.AnswerEnded)
        assert ended.finished
        assert daemon.expect_state(State.ASLEEP).at_s - ended.at_s >= 0.8


def test_a_tool_at_work_for_the_person_holds_the_line() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("wait a little")
        tool_call(line, "wait", 1)
        line.wait_message("client_tool_result")
        line.says("Done.", 0.3)
        line.over.wait(WAIT_S)

    tools = Tools(command={"wait": CommandTool(description="d", run=["sleep", "3"])})
    settings = {"session": Session(idle_timeout_s=1), "tools": tools}
    with ScriptedServer(play) as server, Daemon(config(server, **settings)) as daemon:
        daemon.say("Wait a little.")
        assert daemon.expect(events.AnswerEnded).finished
        assert daemon.expect_state(State.ASLEEP).trigger == "idle"
        assert len(server.lines) == 1


def test_a_session_in_which_a_tool_was_used_was_not_for_nothing() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        tool_call(line, "light", 1)
        line.wait_message("client_tool_result")
        response = {"tool_name": "end_call", "is_called": True, "is_error": False}
        line.send({"type": "agent_tool_response", "agent_tool_response": response})
        line.hang_up()

    tools = Tools(command={"light": CommandTool(description="d", run=["true"])})
    with ScriptedServer(play) as server, Daemon(config(server, tools=tools)) as daemon:
        daemon.say("Switch on the light.")
        assert daemon.expect_state(State.ASLEEP).trigger == "agent hung up"
        assert daemon.doubts() == 0
        assert len(server.lines) == 1


def test_behind_it_all_stands_a_cap_without_a_person() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        line.says("Once upon a time.", 0.5)
        while not line.over.wait(0.25):
            line.says("", 0.5, new_turn=False)

    session = Session(idle_timeout_s=2.0, no_person_s=4.0)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say("Tell me a story.")
        asleep = daemon.expect(events.StateChanged, lambda e: e.after == State.ASLEEP.value, IN_TIME_S)
        assert "session.no_person_s" in asleep.reason


def test_a_long_answer_in_writing_is_read_to_its_end() -> None:
    """In pieces, for longer than the time for idle; the whole text comes last."""

    def play(line: Line) -> None:
        line.ready()
        line.wait_message("user_message")
        for number in range(8):
            assert not line.over.wait(0.4), "it was hung up in mid answer"
            part = {"text": f"{number} ", "type": "delta", "event_id": 1}
            line.send({"type": "agent_chat_response_part", "text_response_part": part})
        line.says("0 1 2 3 4 5 6 7", 0.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        settings = config(server, session=Session(idle_timeout_s=1.5), audio=Audio(mode="off"))
        with TextDaemon(settings) as daemon:
            daemon.service.say("Count, please.")
            daemon.expect(events.AnswerText)
            assert daemon.expect_state(State.ASLEEP).trigger == "idle"
            assert len(server.lines) == 1
