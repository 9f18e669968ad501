"""The whole line, from the microphone to an independent server and back, over a real WebSocket."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, spoken, utterances_in
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd import events
from parleyd.audio.devices.wav import WavOutput
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS
from parleyd.config.schema import BargeIn, Config, ElevenLabs, Gate, Reconnect, Session, Wake
from parleyd.conversation.states import State
from parleyd.demo.facts import Recording

PRE_ROLL_FRAMES = 500 // FRAME_MS
QUESTION = "What time is it now?"


def config(server: ScriptedServer, **sections: object) -> Config:
    settings: dict[str, object] = {
        "session": Session(idle_timeout_s=60),
        "reconnect": Reconnect(initial_s=0.05, max_s=0.2),
        **sections,
    }
    return Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url), **settings)  # type: ignore[arg-type]


def silent(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


def answering(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("what time is it")
    line.says("It is noon.", 1.0)
    line.over.wait(WAIT_S)


def recording(speaker: WavOutput, path: Path) -> Recording:
    data = np.frombuffer(path.read_bytes()[44:], "<i2").astype(np.float32) / 32768
    assert speaker.began_s is not None
    return Recording(data, WavOutput.RATE_HZ, speaker.began_s)


# ---------------------------------------------------------------- upwards


def test_asleep_nobody_is_called() -> None:
    with ScriptedServer(silent) as server, Daemon(config(server)) as daemon:
        heard = threading.Event()
        daemon.microphone.say(bytes(FRAME_BYTES) * 50, after_ms=0)
        while len(daemon.microphone.given) < 60:
            heard.wait(0.02)
        assert server.lines == []
        assert daemon.service.counters.speech == daemon.service.counters.silence == 0


def test_the_waking_utterance_arrives_whole_however_long_the_handshake_takes() -> None:
    connected = threading.Event()

    def slow(line: Line) -> None:
        connected.wait(WAIT_S)
        silent(line)

    with ScriptedServer(slow) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION, after_ms=1000)
        line = server.next_line()
        ended = daemon.expect(events.UtteranceEnded)
        daemon.say("And what day?", after_ms=1200)
        connected.set()
        daemon.expect(events.UtteranceEnded)
        line.wait("both utterances", lambda: len(utterances_in(bytes(line.audio))) >= 2)
        line.wait("silence after it", lambda: bytes(line.audio).endswith(bytes(FRAME_BYTES * 10)))
        assert ended.utterance == 1
        room, (first, second) = daemon.room, utterances_in(bytes(line.audio))
        started = daemon.of(events.UtteranceStarted)
        for (_, sound), start in zip((first, second), started, strict=True):
            assert room.count(sound) == 1, "an utterance is a stretch of the room, unaltered"
            begins = round((start.at_s - daemon.microphone.began_s) * 1000 / FRAME_MS)
            frame = room.index(sound) // FRAME_BYTES
            assert PRE_ROLL_FRAMES - 10 <= begins - frame <= PRE_ROLL_FRAMES


def test_silence_mode_sends_the_room_with_all_but_speech_blanked_in_real_time() -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION, after_ms=600)
        line = server.next_line()
        daemon.expect(events.UtteranceEnded)
        daemon.say("And what day?", after_ms=1500)
        daemon.expect(events.UtteranceEnded)
        line.wait("both utterances", lambda: len(utterances_in(bytes(line.audio))) >= 2)
        line.wait("silence after it", lambda: bytes(line.audio).endswith(bytes(FRAME_BYTES * 40)))
        daemon.service.stop()
        line.over.wait(WAIT_S)
        room, stream = daemon.room, bytes(line.audio)
        (at_1, sound_1), (at_2, sound_2) = utterances_in(stream)
        frame_1, frame_2 = (room.index(sound) // FRAME_BYTES for sound in (sound_1, sound_2))
        assert at_1 == PRE_ROLL_FRAMES, "a credit of silence, then the pre-roll"
        assert at_2 - at_1 == frame_2 - frame_1, "the second is as far from the first as it was in the room"
        elapsed_frames = len(room) // FRAME_BYTES - frame_1
        assert abs(len(stream) // FRAME_BYTES - elapsed_frames) <= 2  # one on its way at each end


def test_open_mode_sends_the_room_as_it_is() -> None:
    with ScriptedServer(silent) as server, Daemon(config(server, gate=Gate(uplink="open"))) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        daemon.expect(events.UtteranceEnded)
        line.wait("a second of room", lambda: len(line.audio) > 32000 * 3)
        assert bytes(line.audio) in daemon.room


@pytest.mark.parametrize(("name", "rate_hz", "sample_bytes"), [("ulaw_8000", 8000, 1), ("pcm_44100", 44100, 2)])
def test_the_servers_formats_are_used_both_ways(name: str, rate_hz: int, sample_bytes: int, tmp_path: Path) -> None:
    def play(line: Line) -> None:
        line.ready(in_format=name, out_format=name)
        line.wait("question and pause", lambda: len(line.audio) > 3 * rate_hz * sample_bytes)
        line.hears("x")
        sound = 0.3 * np.sin(np.arange(rate_hz) * 2 * np.pi * 1000 / rate_hz)
        quiet = np.where(sound > 0, 0x8F, 0x0F).astype("u1") if sample_bytes == 1 else (sound * 32767).astype("<i2")
        line.audio_chunk(quiet.tobytes(), 1)
        line.over.wait(WAIT_S)

    speaker = WavOutput(tmp_path / "out.wav")
    with ScriptedServer(play) as server, Daemon(config(server), speaker) as daemon:
        daemon.say(QUESTION)
        started = daemon.expect(events.AnswerStarted)
        ended = daemon.expect(events.AnswerEnded)
        assert ended.heard_ms == pytest.approx(1000, abs=2)
        daemon.service.stop()
        heard = recording(speaker, tmp_path / "out.wav").between(started.at_s, started.at_s + 1.0)
        spectrum = np.abs(np.fft.rfft(heard))
        assert np.argmax(spectrum) == pytest.approx(1000, abs=2)


# ---------------------------------------------------------------- downwards


def test_the_servers_interruption_silences_the_speaker(tmp_path: Path) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        old = line.says("A very long story.", 20.0, chunk_s=5.0)
        line.wait_speech(line.speech_s() + 0.3)
        line.interrupts()
        line.audio_chunk(b"\x00\x40" * 16000, old)  # late and stale
        line.wait_turn()
        line.hears("stop")
        line.says("All right.", 0.5)
        line.over.wait(WAIT_S)

    speaker = WavOutput(tmp_path / "out.wav")
    with ScriptedServer(play) as server, Daemon(config(server), speaker) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop that now please", after_ms=600)
        cut = daemon.expect(events.BargedIn)
        assert cut.by == "server"
        ended = daemon.expect(events.AnswerEnded)
        assert not ended.finished
        assert ended.heard_ms == pytest.approx(cut.heard_ms, abs=1)
        again = daemon.expect(events.AnswerStarted)
        final = daemon.expect(events.AnswerEnded)
        assert final.heard_ms == 500, "the stale second was dropped"
        daemon.service.stop()
        last = recording(speaker, tmp_path / "out.wav").last_sound_s(cut.at_s, again.at_s - 0.1)
        assert last is None or last - cut.at_s < 0.020 + 0.050  # the bound, and a hiccup of a shared machine
        ducked = [e.on for e in daemon.of(events.Ducked)]
        assert ducked[:1] == [True]


def test_a_short_sound_ducks_and_cuts_nothing() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        line.says("A story.", 3.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, barge_in=BargeIn(mode="local"))) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        ah = spoken("Ah.")
        daemon.microphone.say(ah[3500 * 2 : 3500 * 2 + 120 * 32], after_ms=600)
        assert daemon.expect(events.Ducked).on
        assert not daemon.expect(events.Ducked).on
        ended = daemon.expect(events.AnswerEnded)
        assert ended.finished
        assert ended.heard_ms == 3000
        assert not daemon.of(events.BargedIn)


def test_a_local_barge_in_cuts_without_the_server() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        line.says("A very long story.", 20.0, chunk_s=5.0)
        line.wait_turn()
        line.audio_chunk(b"\x00\x40" * 8000, 1)  # still the turn that was cut
        line.hears("stop that")
        line.says("All right.", 0.5)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, barge_in=BargeIn(mode="local"))) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop that now please", after_ms=600)
        assert daemon.expect(events.BargedIn).by == "local"
        assert not daemon.expect(events.AnswerEnded).finished
        assert daemon.expect(events.AnswerEnded).heard_ms == 500


def test_with_barge_in_off_the_agent_speaks_to_its_end() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("tell me a story")
        line.says("A story.", 3.0)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server, barge_in=BargeIn(mode="off"))) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop!", after_ms=0)
        ended = daemon.expect(events.AnswerEnded)
        assert ended.finished
        assert ended.heard_ms == 3000
        assert len(daemon.of(events.UtteranceStarted)) == 1


# ---------------------------------------------------------------- how sessions begin and end


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


def test_a_wake_for_nothing_is_given_up_soon_and_the_gate_raised() -> None:
    def deaf(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("...")
        line.over.wait(WAIT_S)

    session = Session(idle_timeout_s=60, false_wake_s=1)
    with ScriptedServer(deaf) as server, Daemon(config(server, session=session)) as daemon:
        daemon.say(QUESTION)
        asleep = daemon.expect_state(State.ASLEEP)
        assert "understood nothing" in asleep.reason
        line = server.next_line()
        assert line.over.wait(WAIT_S)
        assert line.closed is not None
        assert line.closed[0] == 1000


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
        assert told.mend is not None
        assert "Security" in told.mend
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
    ("code", "reason", "mend"),
    [
        (3000, "The AI agent you are trying to reach does not exist.", "agent_id"),
        (1008, "Missing required dynamic variables in first message: {'user_name'}", "dynamic_variables"),
        (1002, "This request exceeds your quota limit.", ""),
    ],
)
def test_final_errors_are_said_once_with_their_mend_and_not_hammered(code: int, reason: str, mend: str) -> None:
    with (
        ScriptedServer(lambda line: line.hang_up(code, reason)) as server,
        Daemon(config(server, reconnect=Reconnect(initial_s=0.01, max_s=0.3))) as daemon,
    ):
        daemon.say(QUESTION)
        for _ in range(3):
            daemon.expect(events.SessionEnded)
        (trouble,) = daemon.of(events.Trouble)
        assert trouble.mend is not None
        assert mend in trouble.mend
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
        assert line.over.wait(2)
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
