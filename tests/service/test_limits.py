"""Budgets, quiet hours and the transcript of a whole daemon."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from harness import Daemon
from msgspec.structs import replace
from plays import QUESTION, config
from scripted_server import WAIT_S, Line, ScriptedServer
from scripted_speech import SpeechServer, Spoken

from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech
from parleyd.agents.events import MAX_TEXT_CHARS
from parleyd.audio.playback import answer_queue
from parleyd.config.retention import Budget, QuietHours, Transcript
from parleyd.config.schema import Earcons, Session, Wake
from parleyd.core import events


def next_announcement(daemon: Daemon, number: int) -> events.AnnouncementStarted:
    return daemon.expect(events.AnnouncementStarted, lambda e: e.announcement == number)


def telling_a_story(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("tell me a story")
    line.says("one two three four five six seven eight nine ten", 3.0)
    line.over.wait(WAIT_S)


def test_a_spent_budget_ends_the_session_after_the_answer_and_refuses_the_next() -> None:
    budget = Budget(minutes_per_day=2.5 / 60)
    with ScriptedServer(telling_a_story) as server, Daemon(config(server, budget=budget)) as daemon:
        daemon.say(QUESTION)
        near = daemon.expect(events.BudgetNear)
        assert near.period == "day"
        assert near.left_s is not None
        assert near.left_s <= 0.5
        told = server.lines[0].wait_message("contextual_update")["text"]
        assert told.startswith("This device may talk for another 0 s this day; mention it briefly"), "there is no voice"
        spent = daemon.expect(events.BudgetSpent)
        assert "minutes per day is spent" in spent.reason
        story = daemon.expect(events.AnswerEnded)
        assert story.finished, "an answer is not cut short"
        daemon.expect(events.SessionEnded)
        daemon.say(QUESTION)
        refused = daemon.expect(events.WakeRefused)
        assert "minutes_per_day" in refused.hint
        daemon.expect(events.UtteranceEnded)
        daemon.say(QUESTION)
        daemon.expect(events.UtteranceEnded)
        assert len(daemon.of(events.WakeRefused)) == 1, "said once"
        daemon.service.wake()
        daemon.expect(events.WakeRefused)
        usage = daemon.service.usage()
        assert usage["minutes_left_today"] == 0
        assert usage["refused"] == refused.reason
        assert len(server.lines) == 1
        daemon.service.wake(anyway=True)
        server.next_line()
        line = server.next_line()
        line.wait("a second", lambda: len(line.audio) > 32000)
        assert line.speech_s() == 0, "what was said when it was refused is for nobody"
        assert daemon.service.usage()["sent_bytes_today"] > 32000
        assert 0 < (daemon.service.usage()["stayed_share_today"] or 0) < 1


def test_a_month_s_budget_ends_the_session_after_the_answer_and_refuses_the_next() -> None:
    with (
        ScriptedServer(telling_a_story) as server,
        Daemon(config(server, budget=Budget(minutes_per_month=2.5 / 60))) as daemon,
    ):
        daemon.say(QUESTION)
        assert daemon.expect(events.BudgetNear).period == "month"
        assert "minutes per month is spent" in daemon.expect(events.BudgetSpent).reason
        assert daemon.expect(events.AnswerEnded).finished
        daemon.expect(events.SessionEnded)
        daemon.service.wake()
        assert "minutes_per_month" in daemon.expect(events.WakeRefused).hint
        assert len(server.lines) == 1


def test_a_budget_is_told_aloud_where_announcements_have_a_voice() -> None:
    budget = Budget(minutes_per_day=2.5 / 60, near_text="Bald ist Schluss.", spent_text="Schluss.")
    with ScriptedServer(telling_a_story) as server, SpeechServer(Spoken.speak) as speech:
        settings = config(server, budget=budget)
        voice = ElevenLabsSpeech(settings.announce, speech.base_url, "v", "sk_0123456789abcdef")
        with Daemon(settings, speech=voice) as daemon:
            daemon.say(QUESTION)
            assert "the person was told" in server.next_line().wait_message("contextual_update")["text"]
            for number, text in ((1, "Bald ist Schluss."), (2, "Schluss.")):
                started = next_announcement(daemon, number)
                assert started.text == text
            story = daemon.of(events.AnswerEnded)[0]
            assert story.finished
            assert daemon.of(events.AnnouncementStarted)[0].at_s >= story.at_s, "in the next pause"
        with Daemon(replace(settings, earcons=Earcons(budget="spoken")), speech=voice) as daemon:
            daemon.say(QUESTION)
            daemon.expect(events.SessionEnded)
        assert len(speech.requests) == 2, "the earcon says it"


def test_an_answer_that_is_too_long_is_known_to_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Person, agent, and the session that follows: nobody takes the end of what sounded for the end of the answer."""
    monkeypatch.setattr(answer_queue, "QUEUE_LIMIT_S", 1.5)
    dropped = threading.Event()

    def play(line: Line) -> None:
        line.ready()
        if dropped.is_set():
            line.over.wait(WAIT_S)
            return
        line.wait_turn()
        line.hears("tell me a story")
        line.says("one two three four five six seven eight nine ten", 10.0, chunk_s=5.0)
        line.wait_message("contextual_update")
        dropped.set()
        line.drop()

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        story = daemon.expect(events.AnswerEnded)
        assert not story.finished
        assert story.total_ms == 10_000
        assert 1500 <= story.heard_ms < 3000
        assert story.heard_ms + story.lost_ms == 10_000
        speaker = daemon.service.status().speaker
        assert speaker is not None
        assert speaker.dropped_ms == story.lost_ms
        line = server.next_line()
        told = line.wait_message("contextual_update")["text"]
        assert "the person heard its first" in told
        assert "second" in told
        daemon.service.wake()
        again = server.next_line()
        carried = again.wait_message("contextual_update")["text"]
        assert "agent: one" in carried
        assert "four" not in carried
        assert "(interrupted)" in carried


def test_a_text_of_megabytes_is_cut_before_it_waits_anywhere() -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("x" * 3_000_000)
        line.says("y" * 3_000_000, 0.3)
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerEnded)
        assert len(daemon.of(events.Heard)[0].text) == MAX_TEXT_CHARS
        assert len(daemon.of(events.AnswerText)[0].text) == MAX_TEXT_CHARS


def test_in_quiet_hours_speech_wakes_nobody_and_a_command_does() -> None:
    now = datetime.now()
    hours = QuietHours(from_=f"{now - timedelta(hours=1):%H:%M}", to=f"{now + timedelta(hours=1):%H:%M}")
    with ScriptedServer(telling_a_story) as server, Daemon(config(server, quiet_hours=[hours])) as daemon:
        daemon.say(QUESTION)
        assert "quiet hours until" in daemon.expect(events.WakeRefused).reason
        daemon.expect(events.UtteranceEnded)
        assert server.lines == []
        daemon.service.wake()
        line = server.next_line()
        line.wait("a second", lambda: len(line.audio) > 32000)
        assert line.speech_s() == 0
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        assert not daemon.of(events.SpeechLost)


def test_always_begins_after_the_quiet_hours() -> None:
    hours: list[QuietHours] = [QuietHours(from_="00:00", to="23:59")]
    wake = Wake(mode="always")
    with ScriptedServer(telling_a_story) as server, Daemon(config(server, quiet_hours=hours, wake=wake)) as daemon:
        daemon.expect(events.WakeRefused)
        given = len(daemon.microphone.given)
        pause = threading.Event()
        while len(daemon.microphone.given) < given + 25:
            pause.wait(0.02)
        assert server.lines == []
        hours.clear()
        daemon.service.sleep()  # nothing to send to sleep, but the supervisor looks up
        daemon.expect(events.SessionOpened)


def test_the_transcript_holds_what_was_heard(tmp_path: Path) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("my pin is 1234")
        line.says("one two three four five six seven eight nine ten", 20.0, chunk_s=5.0)
        line.wait_speech(line.speech_s() + 0.3)
        line.interrupts()
        line.send(
            {
                "type": "agent_response_correction",
                "agent_response_correction_event": {
                    "original_agent_response": "one two three four five six seven eight nine ten",
                    "corrected_agent_response": "one two",
                },
            }
        )
        line.wait_turn()
        line.hears("stop")
        line.says("All right.", 0.5)
        line.over.wait(WAIT_S)

    transcript = Transcript(enabled=True, directory=str(tmp_path / "t"), redact=[r"\d{4}"])
    with ScriptedServer(play) as server, Daemon(config(server, transcript=transcript)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop that now please", after_ms=600)
        daemon.expect(events.AnswerEnded)
        daemon.expect(events.AnswerEnded)
        daemon.service.stop()
        (conversation,) = {e.conversation_id for e in daemon.of(events.SessionOpened)}
    (path,) = (tmp_path / "t").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["speaker"], line["text"]) for line in lines] == [
        ("user", "my pin is [redacted]"),
        ("agent", "one two"),
        ("user", "stop"),
        ("agent", "All right."),
    ]
    assert [line["interrupted"] for line in lines[1::2]] == [True, False]
    assert {line["conversation"] for line in lines} == {conversation}
    assert 0 < lines[1]["heard_ms"] < 20_000
    assert lines[3]["heard_ms"] == 500
    assert all(500 < line["speech_ms"] < 5000 for line in lines[::2])
    assert all(0 < line["answered_ms"] < 5000 for line in lines[1::2])
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_transcript_holds_nothing_that_no_agent_has_read(tmp_path: Path) -> None:
    reachable = threading.Event()

    def play(line: Line) -> None:
        if not reachable.is_set():
            line.drop()
            return
        line.ready()
        line.wait_message("user_message")
        line.says("All is new.", 0.2)
        line.over.wait(WAIT_S)

    always = {
        "wake": Wake(mode="always"),
        "session": Session(keep_utterance_s=1),
        "transcript": Transcript(enabled=True, directory=str(tmp_path / "t")),
    }
    with ScriptedServer(play) as server, Daemon(config(server, **always)) as daemon:
        daemon.service.say("an old question")
        assert daemon.expect(events.TypedLost).text == "an old question"
        reachable.set()
        daemon.expect(events.SessionOpened)
        daemon.service.say("a new question")
        daemon.expect(events.AnswerEnded)
        daemon.service.stop()
    (path,) = (tmp_path / "t").iterdir()
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert texts == ["a new question", "All is new."]
