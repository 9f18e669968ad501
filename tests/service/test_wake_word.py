"""Wake mode `word`, with a real model and a synthetic voice."""

from __future__ import annotations

import contextlib
import sys

import pytest
from harness import Daemon, spoken, utterances_in
from msgspec.structs import replace
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.audio.gate.wakeword import WakeWord
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS
from parleyd.config.retention import QuietHours
from parleyd.config.schema import Config, ElevenLabs, Session, Wake
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.states import State
from parleyd.demo.stage import CueMissedError

# The model knows the word in this voice of flite's, but not in all of them.
VOICE = "awb"
CALL = "Alexa, what time is it?"


def config(base_url: str) -> Config:
    return Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=base_url), wake=Wake(mode="word", word="alexa"))


def live(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


def test_only_the_word_wakes_and_what_follows_arrives_whole() -> None:
    pytest.importorskip("pymicro_wakeword")  # no wheel for every machine
    with ScriptedServer(live) as server, Daemon(config(server.base_url)) as daemon:
        daemon.microphone.say(spoken("How is the weather tomorrow?", VOICE), after_ms=500)
        daemon.expect(events.UtteranceEnded)
        assert server.lines == []
        assert daemon.service.counters.speech == 0

        call = spoken(CALL, VOICE)
        call_until_it_wakes(daemon, call)
        line = server.next_line()
        daemon.expect_state(State.LIVE)
        daemon.expect(events.UtteranceEnded)
        line.wait("the question", lambda: utterances_in(bytes(line.audio)))
        line.wait("silence after it", lambda: bytes(line.audio).endswith(bytes(FRAME_BYTES * 10)))
        ((_, sound),) = utterances_in(bytes(line.audio))
        room = daemon.room
        assert room.count(sound) == 1, "a stretch of the room, unaltered"
        # "What time is it" begins 0.75 s into the call; of the word itself at most its end goes up.
        into_call_s = (room.index(sound) - room.rindex(call[:FRAME_BYTES])) / FRAME_BYTES * FRAME_MS / 1000
        assert 0.3 < into_call_s < 0.75


def test_in_quiet_hours_the_word_wakes_nobody() -> None:
    pytest.importorskip("pymicro_wakeword")
    all_day = [QuietHours(from_="00:00", to="23:59"), QuietHours(from_="23:59", to="00:00")]
    with (
        ScriptedServer(live) as server,
        Daemon(replace(config(server.base_url), quiet_hours=all_day)) as daemon,
    ):
        for _ in range(4):
            daemon.microphone.say(spoken(CALL, VOICE), after_ms=1500)
            with contextlib.suppress(CueMissedError):
                refused = daemon.expect(events.WakeRefused, timeout_s=6.0)
                break
        else:
            raise AssertionError("four calls were not understood")
        assert "quiet hours until" in refused.reason
        daemon.expect(events.UtteranceEnded)
        assert server.lines == []
        assert not daemon.of(events.SessionOpened)


def test_a_call_that_nothing_follows_makes_the_gate_no_harder_of_hearing() -> None:
    pytest.importorskip("pymicro_wakeword")
    session = Session(idle_timeout_s=60, false_wake_s=1)
    with ScriptedServer(live) as server, Daemon(replace(config(server.base_url), session=session)) as daemon:
        call_until_it_wakes(daemon, spoken(CALL, VOICE))
        asleep = daemon.expect_state(State.ASLEEP)
        assert "understood nothing" in asleep.reason
        assert daemon.doubts() == 0


def call_until_it_wakes(daemon: Daemon, call: bytes) -> None:
    """The model does not know its word every time; neither does a person stop at one call."""
    for _ in range(4):
        daemon.microphone.say(call, after_ms=1500)
        try:
            woken = daemon.expect(events.StateChanged, timeout_s=6.0)
        except CueMissedError:
            continue
        assert woken.after == State.CONNECTING.value
        assert woken.reason == "somebody says the wake word"
        return
    raise AssertionError("four calls did not wake it")


def test_a_missing_package_is_named_with_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    with pytest.raises(UserError) as caught:
        WakeWord("alexa")
    assert "pip install pymicro-wakeword" in (caught.value.hint or "")
