"""What a new session knows of the one before, and how a session that grows old is exchanged for a new one."""

from __future__ import annotations

import pytest
from harness import Daemon
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.config.retention import Continuity
from parleyd.config.schema import Config, ElevenLabs, Reconnect, Session, Wake
from parleyd.core import events
from parleyd.core.states import State


def config(server: ScriptedServer, **sections: object) -> Config:
    settings: dict[str, object] = {"reconnect": Reconnect(initial_s=0.1, max_s=1.0), **sections}
    return Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url), **settings)  # type: ignore[arg-type]


def answering(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("what is the weather")
    line.says("It rains today.", 0.5)
    line.over.wait(WAIT_S)


@pytest.mark.parametrize("continuity", [Continuity(), Continuity(mode="lost_line")])
def test_after_an_idle_hang_up_the_next_session_knows_what_was_said_unless_it_must_not(continuity: Continuity) -> None:
    settings = {"session": Session(idle_timeout_s=1), "continuity": continuity}
    with ScriptedServer(answering) as server, Daemon(config(server, **settings)) as daemon:
        daemon.say("What is the weather?")
        daemon.expect_state(State.ASLEEP)
        daemon.say("And tomorrow?", after_ms=1200)
        daemon.expect(events.AnswerEnded, lambda e: e.answer == 2)
        first, second = server.lines
        updates = [m["text"] for m in second.messages if m["type"] == "contextual_update"]
        assert not [m for m in first.messages if m["type"] == "contextual_update"]
        if continuity == Continuity():
            (text,) = updates
            assert text.splitlines()[1:] == ["user: what is the weather", "agent: It rains today."]
            assert second.opening["conversation_config_override"]["agent"]["first_message"] == ""
        else:
            assert updates == []


def test_who_is_sent_to_sleep_forgets() -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say("What is the weather?")
        daemon.expect(events.AnswerEnded)
        daemon.service.sleep()
        daemon.expect_state(State.ASLEEP)
        daemon.say("And tomorrow?")
        daemon.expect(events.AnswerStarted)
        assert not [m for m in server.lines[1].messages if m["type"] == "contextual_update"]


def test_an_old_session_is_exchanged_in_a_pause_and_the_greeting_is_not_heard_again() -> None:
    def play(line: Line) -> None:
        line.ready()
        if line.opening.get("conversation_config_override", {}).get("agent", {}).get("first_message") != "":
            line.says("Hello!", 0.4)
        line.wait_turn()
        line.hears("tell me a story")
        line.says("Once upon a time there was an old session.", 3.0)
        line.over.wait(WAIT_S)

    # A bound below what the schema allows: nobody wants to wait for half a minute.
    session = Session(idle_timeout_s=60, max_s=1.0)
    settings = {"session": session, "wake": Wake(mode="always", greeting="play")}
    with ScriptedServer(play) as server, Daemon(config(server, **settings)) as daemon:
        daemon.say("Tell me a story.", after_ms=100)
        daemon.expect(events.AnswerEnded, lambda e: e.heard_ms == 400 and e.finished)
        story = daemon.expect(events.AnswerEnded)
        assert story.finished, "nobody was cut short"
        assert story.heard_ms == 3000
        ended = daemon.expect(events.SessionEnded)
        assert "exchanged for a new one" in ended.ending.reason
        assert ended.conversation_id
        daemon.expect(events.SessionOpened)
        second = server.lines[1]
        assert "user: tell me a story" in second.wait_message("contextual_update")["text"]
        assert server.lines[0].closed is not None
        assert server.lines[0].closed[0] == 1000
        # The exchange again, for want of anything to say; never a greeting, although it is wanted in general.
        daemon.expect(events.SessionOpened)
        assert [e.text for e in daemon.of(events.AnswerText)].count("Hello!") == 1


def test_a_session_that_the_agent_cut_for_its_age_is_not_forgotten() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("what is the weather")
        line.says("It rains today.", 0.5)
        line.send({"type": "error", "error_event": {"code": 1000, "error_type": "max_duration_exceeded"}})
        line.hang_up(1000, "")

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say("What is the weather?")
        assert daemon.expect(events.SessionEnded).ending.time_is_up
        daemon.expect_state(State.ASLEEP)
        daemon.expect(events.AnswerEnded)
        daemon.say("And tomorrow?")
        assert "It rains today." in server_line(server, 2).wait_message("contextual_update")["text"]


def server_line(server: ScriptedServer, number: int) -> Line:
    for _ in range(number - 1):
        server.next_line()
    return server.next_line()
