"""How sessions begin and end, what is told of it, and what is lost: nothing."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import trustme
from harness import Daemon, spoken, utterances_in
from plays import QUESTION, answering, config, silent
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.provider import Address
from parleyd.config.schema import Reconnect, Session, Wake
from parleyd.conversation.supervisor import lifecycle
from parleyd.core import events
from parleyd.core.states import State


def test_idle_hangs_up_with_1000_and_sleeps() -> None:
    with ScriptedServer(answering) as server, Daemon(config(server, session=Session(idle_timeout_s=1))) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        daemon.expect_state(State.ASLEEP)
        line.over.wait(WAIT_S)
        assert line.closed is not None
        assert line.closed[0] == 1000
        sent = len(line.audio)
        given = len(daemon.microphone.given)
        pause = threading.Event()
        while len(daemon.microphone.given) < given + 25:
            pause.wait(0.02)
        assert len(line.audio) == sent
        # And speech wakes it again.
        daemon.say(QUESTION)
        server.next_line()
        daemon.expect(events.AnswerStarted)


def test_a_session_whose_thread_hangs_while_it_connects_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when memory ran out in the first moment of a thread, which nothing here can bring about at will."""
    dial, for_ever, tries = ElevenLabsAgent.dial, threading.Event(), []

    def hang_once(self: ElevenLabsAgent, timeout_s: float) -> Address:
        tries.append(timeout_s)
        if len(tries) == 1:
            for_ever.wait()
        return dial(self, timeout_s)

    monkeypatch.setattr(ElevenLabsAgent, "dial", hang_once)
    monkeypatch.setattr(lifecycle, "HANGS_AFTER_S", 0.1)
    session = Session(connect_timeout_s=1)
    try:
        with ScriptedServer(answering) as server, Daemon(config(server, session=session)) as daemon:
            daemon.say(QUESTION)
            lost = daemon.expect(events.StateChanged, lambda event: event.trigger == "lost")
            assert "connecting has hung for " in lost.reason
            daemon.expect(events.AnswerStarted)
    finally:
        for_ever.set()


def test_a_wake_for_nothing_is_given_up_soon_and_doubted_until_somebody_is_understood() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        if len(server.lines) == 1:
            line.hears("...")
        else:
            line.hears("what time is it")
            line.says("It is noon.", 0.5)
        line.over.wait(WAIT_S)

    session = Session(idle_timeout_s=60, false_wake_s=1)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say(QUESTION)
        asleep = daemon.expect_state(State.ASLEEP)
        assert "understood nothing" in asleep.reason
        line = server.next_line()
        assert line.over.wait(WAIT_S)
        assert line.closed is not None
        assert line.closed[0] == 1000
        assert daemon.doubts() == 1
        microphone = daemon.service.status().microphone
        assert microphone is not None
        assert 50 < microphone.doubts_for_s <= 60
        # Not the same recording once more: that is a noise which is known by now.
        daemon.say("please tell me a very long story")
        daemon.expect(events.AnswerStarted)
        assert daemon.doubts() == 0


def test_doubt_is_bounded_by_the_false_alarm_and_not_by_who_was_understood_before() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        if len(server.lines) == 1:
            line.hears("what time is it")
            line.says("It is noon.", 0.5)
        line.over.wait(WAIT_S)

    session = Session(idle_timeout_s=1, false_wake_s=1)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        daemon.expect_state(State.ASLEEP)
        soft = np.frombuffer(spoken(QUESTION), "<i2") // 32
        daemon.microphone.say(soft.astype("<i2").tobytes(), after_ms=200)
        assert "understood nothing" in daemon.expect_state(State.ASLEEP).reason
        assert daemon.doubts() == 1
        assert daemon.service.sound is not None
        penalty = daemon.service.sound.ears.gate.penalty
        assert penalty.bar_dbfs(-30.0) == -30.0, "what fooled it was softer than that"
        assert penalty.bar_dbfs(-70.0) > -70.0


def test_an_agent_that_hangs_up_and_understood_nothing_was_woken_for_nothing() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hang_up()

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect_state(State.ASLEEP)
        assert daemon.doubts() == 1


def before_it_begins(line: Line) -> None:
    line.hang_up()


def in_mid_sentence(line: Line) -> None:
    line.ready()
    line.wait_speech(0.5)
    line.hang_up()


@pytest.mark.parametrize("hangs_up", [before_it_begins, in_mid_sentence])
def test_a_server_that_hangs_up_on_somebody_who_talks_on_makes_nobody_hard_of_hearing(
    hangs_up: Callable[[Line], None],
) -> None:
    def play(line: Line) -> None:
        if len(server.lines) <= 2:
            hangs_up(line)
        else:
            silent(line)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say("What is the time right now in the city of London, and in New York, and in Tokyo as well please?")
        for _ in range(3):
            server.next_line()
        assert daemon.doubts() == 0


def test_a_goodbye_that_is_queued_is_played_out() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("goodbye")
        line.says("Goodbye, see you soon.", 1.5)
        line.hang_up()

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say("Goodbye.")
        asleep = daemon.expect_state(State.ASLEEP)
        ended = daemon.expect(events.AnswerEnded)
        assert ended.finished
        assert ended.heard_ms == 1500
        assert ended.at_s > asleep.at_s
        assert len(server.lines) == 1


def test_a_line_lost_in_mid_sentence_loses_nothing() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_turn()
            line.hears("good morning")
            line.says("Good morning to you.", 0.5)
            line.wait_speech(line.speech_s() + 0.3)
            line.drop()
            return
        line.wait_turn()
        line.hears("what time is it")
        line.says("It is noon.", 0.5)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say("Good morning.")
        daemon.expect(events.AnswerEnded)
        daemon.say("Please tell me what time it is in London now.", after_ms=500)
        lost = daemon.expect(events.SessionEnded)
        assert lost.ending.kind.value == "retry"
        back = daemon.expect(events.SessionOpened)
        assert back.resent_ms > 500
        daemon.expect(events.AnswerEnded)
        second = server.lines[1]
        update = second.wait_message("contextual_update")
        assert "user: good morning" in update["text"]
        assert "agent: Good morning to you." in update["text"]
        assert second.opening["conversation_config_override"]["agent"]["first_message"] == ""
        (_, sound), *_ = utterances_in(bytes(second.audio))
        room = daemon.room
        assert room.count(sound) == 1
        began = daemon.of(events.UtteranceStarted)[-1].at_s - daemon.microphone.began_s
        assert room.index(sound) / 32000 <= began, "from before its first word"
        assert not daemon.of(events.SpeechLost)


def test_a_refused_greeting_override_is_left_out_and_the_greeting_is_not_heard() -> None:
    def play(line: Line) -> None:
        if "conversation_config_override" in line.opening:
            line.hang_up(1008, "Override for field 'first_message' is not allowed by config.")
            return
        line.ready()
        line.says("Hello! How can I help?", 3.0)
        line.wait_turn()
        line.hears("what time is it")
        line.says("It is noon.", 0.7)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, session=Session(idle_timeout_s=1))) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).heard_ms == 700
        assert len(server.lines) == 2
        assert [e.text for e in daemon.of(events.AnswerText)] == ["It is noon."]
        (told,) = daemon.of(events.Trouble)
        assert told.hint is not None
        assert "Security" in told.hint
        (_, sound), *_ = utterances_in(bytes(server.lines[1].audio))
        assert daemon.room.count(sound) == 1
        # Remembered: the next wake does not ask again.
        daemon.expect_state(State.ASLEEP)
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        assert len(server.lines) == 3
        assert len(daemon.of(events.Trouble)) == 1


def test_greeting_play_lets_it_be_heard() -> None:
    def play(line: Line) -> None:
        assert "conversation_config_override" not in line.opening
        line.ready()
        line.says("Hello!", 0.4)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, wake=Wake(greeting="play"))) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).heard_ms == 400


def test_always_connects_at_once_and_plays_the_greeting() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.says("Hello!", 0.4)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, wake=Wake(mode="always"))) as daemon:
        assert daemon.expect(events.AnswerEnded).heard_ms == 400
        server.lines[0].hang_up()
        daemon.expect(events.SessionOpened)
        assert daemon.expect(events.AnswerEnded).heard_ms == 400


def test_manual_sends_nothing_of_what_was_said_before() -> None:
    with ScriptedServer(silent) as server, Daemon(config(server, wake=Wake(mode="manual"))) as daemon:
        daemon.say("This is private.")
        daemon.expect(events.UtteranceEnded)
        assert server.lines == []
        daemon.service.wake()
        line = server.next_line()
        line.wait("a second", lambda: len(line.audio) > 32000)
        assert utterances_in(bytes(line.audio)) == []
        daemon.say("This is not.")
        line.wait_speech(0.3)


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        (3000, "The AI agent you are trying to reach does not exist.", "agent_id"),
        (1008, "Missing required dynamic variables in first message: {'user_name'}", "dynamic_variables"),
        (1002, "This request exceeds your quota limit.", ""),
    ],
)
def test_final_errors_are_said_once_with_their_hint_and_not_hammered(code: int, reason: str, hint: str) -> None:
    with (
        ScriptedServer(lambda line: line.hang_up(code, reason)) as server,
        Daemon(config(server, reconnect=Reconnect(initial_s=0.1, max_s=1.0))) as daemon,
    ):
        daemon.say(QUESTION)
        for _ in range(3):
            daemon.expect(events.SessionEnded)
        (trouble,) = daemon.of(events.Trouble)
        assert trouble.hint is not None
        assert hint in trouble.hint
        ends = [e.at_s for e in daemon.of(events.SessionEnded)]
        assert all(later - earlier >= 0.3 for earlier, later in pairwise(ends))
        # Nothing is given up meanwhile.
        assert not daemon.of(events.SpeechLost)


def test_an_outage_is_told_once_and_its_end_too() -> None:
    with ScriptedServer(answering) as server:
        settings = config(server)
    # The server is gone now; its port refuses.
    with Daemon(settings) as daemon:
        daemon.say(QUESTION)
        for _ in range(4):
            daemon.expect(events.SessionEnded)
        (trouble,) = daemon.of(events.Trouble)
        assert "connection refused" in trouble.text


def test_garbage_from_the_server_is_survived() -> None:
    def play(line: Line) -> None:
        line.ready()
        for garbage in ("{", "[]", "null", '{"type": 5}', '{"type": "audio", "audio_event": {"audio_base_64": "***"}}'):
            line.connection.send(garbage)
        line.connection.send(b"\xff\x00\xfe")
        line.send({"type": "from_the_future", "x": [1]})
        line.wait_turn()
        line.says("Still here.", 0.5)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).finished
        assert len(server.lines) == 1


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with (
        ScriptedServer(lambda _line: None) as server,
        Daemon(config(server, session=Session(connect_timeout_s=1))) as daemon,
    ):
        daemon.say(QUESTION)
        server.next_line()
        ended = daemon.expect(events.SessionEnded)
        assert "did not begin the conversation within 1 s" in ended.ending.reason


def test_pings_and_tool_calls_are_answered() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.send({"type": "ping", "ping_event": {"event_id": 77, "ping_ms": 5}})
        line.send(
            {
                "type": "client_tool_call",
                "client_tool_call": {"tool_name": "open_door", "tool_call_id": "c1", "parameters": {"a": 1}},
            }
        )
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        assert line.wait_message("pong")["event_id"] == 77
        result = line.wait_message("client_tool_result")
        assert result["is_error"] is True
        assert "There is no tool 'open_door'" in result["result"]
        assert result["tool_call_id"] == "c1"


def test_a_private_line_carries_a_conversation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    authority.issue_cert("localhost").configure_cert(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with ScriptedServer(answering, tls=tls) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).finished
        daemon.service.stop()
        line = server.lines[0]
        assert line.over.wait(WAIT_S)
        assert line.closed == (1000, "")


def test_stopping_in_mid_answer_closes_with_1000_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())

    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.says("Long.", 30.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        with Daemon(config(server)) as daemon:
            daemon.say(QUESTION)
            daemon.expect(events.AnswerStarted)
        line = server.lines[0]
        assert line.over.wait(60)
        assert line.closed is not None
        assert line.closed[0] == 1000
    ours = {"supervisor", "ears", "playback", "session-receiver", "session-sender", "actor", "null output"}
    assert not [t for t in set(threading.enumerate()) - before if t.name in ours]


def test_what_is_said_while_the_agent_hangs_up_opens_the_next_session() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_speech(0.3)
        if len(server.lines) == 1:
            line.hang_up(1000, "time is up")
            return
        line.wait_turn()
        line.hears("x")
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.microphone.say(spoken("Please tell me what time it is in London now.") * 2, after_ms=200)
        daemon.expect(events.Heard)
        assert len(server.lines) == 2
        (_, sound), *_ = utterances_in(bytes(server.lines[1].audio))
        assert daemon.room.count(sound) == 1
