"""What was said comes up until somebody has heard it; what is given up is told; and the rest of a session's books."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Callable

import pytest
from harness import Daemon, spoken, utterances_in
from plays import QUESTION, answering, config, silent
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.config.schema import Config, ElevenLabs, Session, Wake
from parleyd.conversation.session import connecting, session
from parleyd.conversation.session.uplink import MOST_CLOSES
from parleyd.core import events
from parleyd.core.endings import EndingKind
from parleyd.core.states import State

FIRST, SECOND = "Good morning.", "Please tell me what time it is in London now."


def resent(server: ScriptedServer) -> list[bytes]:
    """What the second session began with."""
    return [sound for _, sound in utterances_in(bytes(server.lines[1].audio))]


def test_a_late_transcript_of_the_first_is_none_of_the_second() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_turn()
            line.wait_turn()
            line.hears("good morning")
            line.drop()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(FIRST)
        daemon.say(SECOND, after_ms=1200)
        daemon.expect(events.SessionOpened)
        daemon.expect(events.SessionOpened)
        server.lines[1].wait_speech(0.5)
        again = daemon.expect(events.UtteranceEnded, lambda e: e.utterance == 2)
        server.lines[1].wait_turn()
        sound = b"".join(resent(server))
        began = daemon.of(events.UtteranceStarted)[1].at_s - daemon.microphone.began_s
        assert len(sound) / 32000 >= again.at_s - daemon.of(events.UtteranceStarted)[1].at_s
        assert daemon.room.index(sound[:6400]) / 32000 <= began, "from before its first word"
        assert not daemon.of(events.SpeechLost)


def test_what_was_answered_aloud_is_not_sent_again() -> None:
    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.wait_turn()
            line.wait_turn()
            line.hears("good morning, please tell me what time it is")
            line.says("It is noon.", 0.3)
            assert answered.wait(WAIT_S)
            line.drop()
        line.over.wait(WAIT_S)

    answered = threading.Event()

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(FIRST)
        daemon.say(SECOND, after_ms=1200)
        daemon.expect(events.AnswerEnded)
        answered.set()
        assert daemon.expect(events.SessionOpened).resent_ms == 0


def test_a_proper_close_right_after_a_question_is_no_answer() -> None:
    def play(line: Line) -> None:
        if len(server.lines) == 1:
            line.ready()
            line.wait_turn()
            line.hang_up(1000, "rebalancing")
        else:
            answering(line)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).finished
        lost = daemon.of(events.StateChanged)[2]
        assert (lost.before, lost.trigger) == ("live", "lost")
        assert "before it answered; it is asked again" in lost.reason
        (sound,) = resent(server)
        assert daemon.room.count(sound) == 1
        assert not daemon.of(events.SpeechLost)


def test_a_question_on_which_each_session_is_closed_is_not_asked_for_ever_and_that_is_told() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hang_up()

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect_state(State.ASLEEP)
        assert len(server.lines) == MOST_CLOSES
        (lost,) = daemon.of(events.SpeechLost)
        assert "never shown to have been heard" in lost.cause
        assert lost.lost_ms > 500


@pytest.mark.parametrize("ends", ["sleep", "age", "bound"])
def test_what_is_given_up_is_told_with_its_cause(ends: str, caplog: pytest.LogCaptureFixture) -> None:
    def play(line: Line) -> None:
        if ends == "sleep":
            line.ready()
            line.wait_turn()
        line.over.wait(WAIT_S)

    caplog.set_level("INFO")
    session = Session(idle_timeout_s=60, keep_utterance_s=1 if ends == "age" else 120, buffer_s=3)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say(QUESTION)
        if ends == "sleep":
            line = server.next_line()
            line.wait_turn()
            daemon.service.sleep()
        elif ends == "bound":
            daemon.say(SECOND, after_ms=1200)
        (lost,) = [daemon.expect(events.SpeechLost)]
        assert lost.lost_ms >= 500
        words = {"sleep": "sent to sleep", "age": "in time", "bound": "more was said than is kept"}
        assert words[ends] in lost.cause
        # The event comes after the line of the log.
        told = [one.getMessage() for one in caplog.records if "of speech reached no agent" in one.getMessage()]
        assert told == [f"{lost.lost_ms / 1000:.2f} s of speech reached no agent: {lost.cause}"]


def test_what_a_hung_server_was_told_beyond_the_bound_is_told_when_the_line_is_lost() -> None:
    hung = threading.Event()

    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            assert hung.wait(WAIT_S)
            line.drop()
        line.over.wait(WAIT_S)

    session = Session(idle_timeout_s=60, buffer_s=4)
    with ScriptedServer(play) as server, Daemon(config(server, session=session)) as daemon:
        daemon.microphone.say(spoken(SECOND) * 3, after_ms=200)
        daemon.expect(events.UtteranceEnded)
        assert not daemon.of(events.SpeechLost), "it may still be heard"
        hung.set()
        lost = daemon.expect(events.SpeechLost)
        assert "more was said than is kept" in lost.cause
        assert daemon.expect(events.SessionOpened).resent_ms == 4000


def test_nothing_of_a_session_is_told_before_its_beginning() -> None:
    """The supervisor is held up in the middle of telling it, as on a busy machine."""

    def play(line: Line) -> None:
        line.ready()
        line.says("Hello!", 0.2)
        line.over.wait(WAIT_S)

    settings = {"wake": Wake(mode="manual", greeting="play")}
    with ScriptedServer(play) as server, Daemon(config(server, **settings)) as daemon:
        told = threading.Event()

        def hold_up(event: events.Event) -> None:
            if isinstance(event, events.AnswerText):
                told.set()
            elif isinstance(event, events.StateChanged) and event.after == State.LIVE.value:
                # Longer than the greeting takes from a server on this machine.
                told.wait(0.5)

        daemon.bus.subscribe(hold_up)
        daemon.service.wake()
        daemon.expect(events.AnswerText)
        kinds = [type(event) for event in daemon.stage.events]
        assert kinds.index(events.SessionOpened) < kinds.index(events.AnswerText)


def test_one_absurd_id_does_not_silence_the_agent() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.send({"type": "interruption", "interruption_event": {"event_id": 1e300}})
        line.says("It is noon.", 0.5)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        assert daemon.expect(events.AnswerEnded).heard_ms == 500


def test_what_an_agent_said_it_would_do_long_ago_explains_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the session outlived, and a hang-up that did not come: then the line goes, and is just lost."""
    monkeypatch.setattr(session, "ERROR_COUNTS_S", 0.0)

    def play(line: Line) -> None:
        line.ready()
        if len(server.lines) == 1:
            line.send({"type": "error", "error_event": {"error_type": "quota_exceeded", "message": "no credit"}})
            response = {"tool_name": "end_call", "is_called": True, "is_error": False}
            line.send({"type": "agent_tool_response", "agent_tool_response": response})
            line.wait_turn()
            line.hears("wait, one more thing")
            line.drop()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        ended = daemon.expect(events.SessionEnded)
        assert ended.ending.kind is EndingKind.RETRY
        assert daemon.expect(events.StateChanged).trigger == "lost"
        daemon.expect(events.SessionOpened)


def mute(line: Line) -> None:
    """A server that takes the handshake and says nothing: no session begins."""
    line.over.wait(WAIT_S)


@pytest.mark.parametrize(("play", "was_sent"), [(silent, True), (mute, False)])
def test_what_nobody_has_answered_when_the_daemon_stops_is_told(play: Callable[[Line], None], was_sent: bool) -> None:
    with ScriptedServer(play) as server:
        with Daemon(config(server)) as daemon:
            daemon.say(QUESTION)
            if was_sent:
                server.next_line().wait_turn()
            else:
                daemon.expect(events.UtteranceEnded)
                daemon.service.say("And in Tokyo?")
            assert not daemon.of(events.SpeechLost)
        [lost] = daemon.of(events.SpeechLost)
        assert lost.lost_ms > 500
        assert "the daemon stops" in lost.cause
        assert ("was sent" in lost.cause) is was_sent
        assert [typed.text for typed in daemon.of(events.TypedLost)] == ([] if was_sent else ["And in Tokyo?"])


def test_nothing_is_told_as_lost_when_the_daemon_stops_after_an_answer() -> None:
    with ScriptedServer(answering) as server:
        with Daemon(config(server)) as daemon:
            daemon.say(QUESTION)
            daemon.expect(events.AnswerEnded)
        assert not daemon.of(events.SpeechLost)


def test_hanging_up_waits_for_no_line_on_which_somebody_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the handshake and reads no more: the opening, which is large here, never gets through."""
    # Nor does the system give it up before the test would.
    monkeypatch.setattr(connecting, "SOCKET_OPTIONS", ())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        large = ElevenLabs(
            agent_id="a",
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            custom_llm_extra_body={"much": "x" * 20_000_000},
        )
        patience = Session(connect_timeout_s=60)
        with Daemon(Config(elevenlabs=large, session=patience, wake=Wake(mode="manual"))) as daemon:
            daemon.service.wake()
            connection, _ = listening.accept()
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096)
            [key] = re.findall(rb"Sec-WebSocket-Key: (\S+)", request)
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            accept = base64.b64encode(digest)
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            connection.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            assert connection.recv(1), "the opening is on its way"
            daemon.service.sleep()
            assert daemon.expect_state(State.ASLEEP).trigger == "sleep"
            connection.close()
