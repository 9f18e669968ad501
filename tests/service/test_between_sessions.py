"""What of one session must not be taken for another's."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from harness import Daemon
from plays import config
from scripted_server import WAIT_S, Line, ScriptedServer
from test_without_sound import TextDaemon

from parleyd.config.schema import Audio, Config, ElevenLabs, Reconnect, Wake
from parleyd.conversation.supervisor import supervisor
from parleyd.core import events


def daemon(server: ScriptedServer) -> TextDaemon:
    return TextDaemon(
        Config(
            audio=Audio(mode="off"),
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
    )


def test_after_the_agent_hung_up_a_line_that_cannot_be_had_is_told_as_such() -> None:
    def play(line: Line) -> None:
        if len(server.lines) > 1:
            line.drop()
            return
        line.ready()
        response = {"tool_name": "end_call", "is_called": True, "is_error": False}
        line.send({"type": "agent_tool_response", "agent_tool_response": response})
        line.hang_up()

    with ScriptedServer(play) as server, daemon(server) as it:
        it.service.wake()
        assert it.expect(events.StateChanged, lambda e: e.before == "live").trigger == "agent hung up"
        it.service.wake()
        assert it.expect(events.StateChanged, lambda e: e.after == "backing off").trigger == "lost"
        assert "no line to the agent" in it.of(events.Trouble)[-1].text


def test_there_is_no_feedback_on_an_answer_of_the_session_before() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.says("It rains.", 0.0)
            line.wait_message("feedback")
            line.drop()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, daemon(server) as it:
        it.service.wake()
        it.expect(events.AnswerText)
        assert it.service.feedback("like")
        it.expect(events.StateChanged, lambda e: e.before == "live")
        it.expect(events.SessionOpened)
        assert not it.service.feedback("like")


def test_what_is_typed_while_a_session_is_being_ended_is_for_the_next() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, daemon(server) as it:

        def say(event: events.Event) -> None:
            """In the midst of it, on the supervisor's own thread."""
            if isinstance(event, events.SessionEnded) and len(server.lines) == 1:
                it.service.say("are you there?")

        it.bus.subscribe(say)
        it.service.wake()
        it.expect(events.SessionOpened)
        server.next_line()
        it.service.sleep()
        assert server.next_line().wait_message("user_message")["text"] == "are you there?"


def test_a_stop_does_not_wait_for_a_line_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured against the time that a proper close may take, which is made very long here."""
    monkeypatch.setattr(supervisor, "STOP_S", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with TextDaemon(Config(audio=Audio(mode="off"), elevenlabs=ElevenLabs(agent_id="a", base_url=url))) as it:
            it.service.wake()
            connection, _ = silent.accept()
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 30
        connection.close()


def test_with_sound_too_the_next_session_is_told_what_was_typed_before_the_answer_to_it() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_message("user_message")
            line.says("It is noon.", 0.2)
            it.expect(events.AnswerEnded)
            line.drop()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        loud = Config(
            wake=Wake(mode="manual"),
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url),
            reconnect=Reconnect(initial_s=0.1, max_s=1.0),
        )
        with Daemon(loud) as it:
            it.service.say("What time is it?")
            server.next_line()
            told = server.next_line().wait_message("contextual_update")["text"]
            assert told.splitlines()[1:] == ["user: What time is it?", "agent: It is noon."]


def test_a_person_who_speaks_over_the_rest_of_a_lost_line_is_not_talked_down() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_turn()
            line.hears("tell me a story")
            line.says("Once upon a time there was a lighthouse.", 12.0)
        # The server of the second line knows of no answer that it could interrupt.
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as it:
        it.say("Tell me a story, please.")
        it.expect(events.AnswerStarted)
        sound, end_s = it.service.sound, time.monotonic() + WAIT_S
        assert sound is not None
        while sound.playback.queued_ms < 8000:
            assert time.monotonic() < end_s, "the rest of the answer has come"
            threading.Event().wait(0.02)
        server.lines[0].drop()
        it.expect(events.SessionOpened)
        it.say("Stop it now, please.")
        ended = it.expect(events.AnswerEnded)
        assert not ended.finished
        assert [event.by for event in it.of(events.BargedIn)] == ["local"]
