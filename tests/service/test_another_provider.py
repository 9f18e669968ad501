"""The whole daemon with a provider of quite another kind (tests/opposite.py), over real WebSockets on loopback."""

from __future__ import annotations

import threading
import time

from harness import Daemon
from plays import QUESTION

from opposite import WAIT_S, Line, OppositeServer
from parleyd.agents.events import Token
from parleyd.config.schema import BargeIn, Config, Gate, Reconnect, Session, Wake
from parleyd.config.tool_sections import CommandTool, Tools
from parleyd.core import events
from parleyd.core.states import State

STORY = "one two three four five six seven eight nine ten"


def config(**sections: object) -> Config:
    settings: dict[str, object] = {
        "session": Session(idle_timeout_s=60, false_wake_s=60),
        "reconnect": Reconnect(initial_s=0.1, max_s=1.0),
        **sections,
    }
    return Config(**settings)  # type: ignore[arg-type]


def ready(line: Line, **more: object) -> None:
    line.send("ready", {"id": f"c{id(line):x}", **more})


def understands(line: Line, text: str = "what time is it") -> None:
    """The person's turn, as far as the server has it, and its words."""
    line.send("taken", line.wait_turn())
    line.send("heard", {"utterance": "u1", "text": text, "final": True})


def test_a_question_is_acknowledged_by_its_position_and_answered() -> None:
    def play(line: Line) -> None:
        ready(line)
        understands(line)
        line.send("tokens", {"audio_in": 30, "audio_out": 20})
        line.says("a1", "It is noon.", 1.0)

    with OppositeServer(play) as server, Daemon(config(), agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.Heard, lambda event: event.final)
        assert daemon.expect(events.AnswerText).text == "It is noon."
        ended = daemon.expect(events.AnswerEnded)
        assert (ended.heard_ms, ended.finished) == (1000, True)
        (spent,) = daemon.of(events.Spent)
        assert spent.tokens == {Token.AUDIO_IN.value: 30, Token.AUDIO_OUT.value: 20}
        assert [part.text for part in daemon.of(events.AnswerPart)] == ["", "It is", " noon.", ""]
        # Once the hangover has passed, nothing of it would be sent again after a lost line.
        pause, until_s = threading.Event(), time.monotonic() + WAIT_S
        while daemon.service._outbox.kept_ms:
            assert time.monotonic() < until_s
            pause.wait(0.02)


def test_speech_that_the_server_has_not_taken_is_sent_again_after_a_lost_line() -> None:
    taken_ms: list[int] = []

    def play(line: Line) -> None:
        ready(line)
        taken_ms.append(line.wait_turn())
        if len(taken_ms) == 1:
            # The words alone acknowledge nothing: they are late, and may be of something earlier.
            line.send("heard", {"utterance": "u0", "text": "hello", "final": True})
            line.connection.socket.close()
            return
        line.send("taken", taken_ms[-1])
        line.says("a1", "It is noon.", 0.5)

    with OppositeServer(play) as server, Daemon(config(), agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerText)
        second = daemon.of(events.SessionOpened)[1]
        assert second.resent_ms > 500


def test_a_local_cut_truncates_what_was_not_heard_and_what_still_comes_is_void() -> None:
    def play(line: Line) -> None:
        ready(line)
        understands(line)
        line.says("a1", STORY, 8.0, ends=False)
        line.wait_told("cut")
        # The server had sent more before it knew.
        line.voice("a1", 2.0)
        line.send("text", {"answer": "a1", "text": STORY, "final": True})
        line.send("end", "a1")
        line.send("taken", line.wait_turn())
        line.says("a2", "Yes?", 0.5)

    settings = config(barge_in=BargeIn(mode="local"))
    with OppositeServer(play) as server, Daemon(settings, agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop it now, please. That is enough.", after_ms=1500)
        cut = daemon.expect(events.BargedIn)
        assert cut.by == "local"
        answer, heard_ms, total_ms = line.wait_told("cut")
        assert answer == "a1"
        assert heard_ms == cut.heard_ms
        assert 0 < heard_ms < total_ms
        late = daemon.expect(events.AnswerText, lambda event: event.corrected)
        assert STORY.startswith(late.text)
        assert len(late.text) < len(STORY)
        second = daemon.expect(events.AnswerEnded, lambda event: event.finished)
        assert second.total_ms == 500
        assert second.answer == daemon.of(events.AnswerStarted)[0].answer + 1
        assert line.setup["interrupts"] == "client"


def test_a_typed_text_ends_the_answer_before_it_reaches_the_agent() -> None:
    def play(line: Line) -> None:
        ready(line)
        line.wait_told("speak")  # The greeting: this agent does not speak first.
        line.says("a1", STORY, 8.0, ends=False)
        line.wait_told("cut")
        line.send("end", "a1")
        line.wait_told("say")
        line.says("a2", "Noon.", 0.5)

    with OppositeServer(play) as server, Daemon(config(wake=Wake(mode="manual")), agent=server.agent()) as daemon:
        daemon.service.wake()
        line = server.next_line()
        daemon.expect(events.AnswerStarted)
        daemon.service.say("What time is it?")
        daemon.expect(events.AnswerEnded, lambda event: event.finished)
        kinds = [kind for kind, _ in line.told if kind in ("speak", "cut", "say")]
        assert kinds == ["speak", "cut", "say"]
        assert not daemon.of(events.AnswerEnded)[0].finished


def test_a_call_that_the_agent_takes_back_is_stopped_and_has_no_result() -> None:
    tool = CommandTool(description="Waits.", run=["sleep", "100"], timeout_s=60)

    def play(line: Line) -> None:
        ready(line)
        understands(line)
        line.send("call", {"name": "wait", "id": "k1", "parameters": {}})
        line.send("call", {"name": "get_time", "id": "k2", "parameters": {}})
        line.wait_told("result")
        line.send("cancelled", ["k1"])
        line.says("a1", "Never mind.", 0.5)

    with (
        OppositeServer(play) as server,
        Daemon(config(tools=Tools(command={"wait": tool})), agent=server.agent()) as daemon,
    ):
        daemon.say(QUESTION)
        line = server.next_line()
        assert "wait" in [one["name"] for one in line.setup["tools"]]
        assert daemon.expect(events.ToolEnded, lambda event: event.name == "wait").fault == "cancelled"
        daemon.expect(events.AnswerEnded)
        assert [call_id for call_id, _, _ in line.of("result")] == ["k2"]


def test_a_session_that_will_end_is_exchanged_in_a_pause_and_goes_on_where_it_was() -> None:
    lines: list[Line] = []

    def play(line: Line) -> None:
        lines.append(line)
        ready(line)
        if len(lines) == 1:
            understands(line)
            line.says("a1", "It is noon.", 0.5)
            line.send("handle", "h1")
            line.send("ends", 50.0)
        else:
            line.wait_told("say")
            line.says("a1", "Rain.", 0.5)

    with OppositeServer(play) as server, Daemon(config(), agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        server.next_line()
        second = server.next_line()
        assert second.setup["handle"] == "h1"
        assert second.setup["history"] == [["person", "what time is it"], ["agent", "It is noon."]]
        daemon.expect(events.SessionOpened, lambda event: event.conversation_id == f"c{id(second):x}")
        daemon.service.say("And the weather?")
        assert daemon.expect(events.AnswerText, lambda event: event.text == "Rain.").answer == 2
        assert not second.of("speak"), "it does not greet in the middle of a conversation"
        assert State.ASLEEP.value not in [event.after for event in daemon.of(events.StateChanged)]


def test_an_answer_that_fails_is_told_and_asked_for_again() -> None:
    def play(line: Line) -> None:
        ready(line)
        understands(line)
        line.send("failed", {"reason": "too many tokens", "retry_after_s": 0.2})
        line.wait_told("speak")
        line.says("a1", "It is noon.", 0.5)

    with OppositeServer(play) as server, Daemon(config(), agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        failed = daemon.expect(events.AnswerFailed)
        assert failed.text == "the agent could not answer: too many tokens"
        assert failed.hint == "wait a little"
        daemon.expect(events.AnswerEnded)
        assert line.of("speak") == [""]


def test_the_end_of_a_turn_is_told_behind_its_sound_and_a_silent_line_is_kept_alive() -> None:
    def play(line: Line) -> None:
        ready(line)
        over_ms = line.wait_told("turn")
        line.send("taken", over_ms)
        line.send("heard", {"utterance": "u1", "text": "hello", "final": True})
        line.says("a1", "It is noon.", 0.5)

    # Between utterances nothing is sent.
    with OppositeServer(play) as server, Daemon(config(gate=Gate(uplink="drop")), agent=server.agent()) as daemon:
        daemon.say(QUESTION)
        line = server.next_line()
        daemon.expect(events.AnswerEnded)
        line.wait_told("alive")
        assert len(line.of("turn")) == 1
        assert line.of("turn")[0] > 1000
