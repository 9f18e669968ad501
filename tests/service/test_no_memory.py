"""A moment without memory costs what was being handled, and not the daemon."""

from __future__ import annotations

import os
import threading
import wave
from collections.abc import Callable
from typing import Any

import pytest
from harness import Daemon
from plays import QUESTION, answering, config
from scripted_server import ScriptedServer

from parleyd.agents import variables
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.announce.sound_file import SoundFile
from parleyd.app import watch
from parleyd.app.watch import Watch
from parleyd.audio.capture.missing import Why
from parleyd.audio.echo.control import EchoControl
from parleyd.audio.playback.pipeline import Job
from parleyd.config.schema import Variable
from parleyd.conversation.session.wire_audio import WireEncoder
from parleyd.core import events, health, no_memory
from parleyd.core.health import Trouble

Fails = Callable[[Any, str, int], threading.Event]
WHY = "Unable to allocate 120. KiB for an array with shape (320, 96)"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """This method finds no memory, so many times from now on; the event: it has."""

    def prepare(owner: Any, name: str, times: int) -> threading.Event:
        method, left, has_failed = getattr(owner, name), [times], threading.Event()

        def short(*args: Any, **options: Any) -> object:
            if left[0]:
                left[0] -= 1
                has_failed.set()
                raise MemoryError(WHY)
            return method(*args, **options)

        monkeypatch.setattr(owner, name, short)
        return has_failed

    return prepare


def test_ears_without_memory_for_some_frames_say_how_much_is_missing(
    fails: Fails, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"), ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.UtteranceStarted)
        assert fails(EchoControl, "hear", 5).wait(60)
        missing = daemon.expect(events.SoundMissing)
        assert (missing.missing_ms, missing.cause) == (100, Why.NO_MEMORY.value)
        assert daemon.expect(events.AnswerEnded).finished
        assert daemon.service.failure is None
        assert daemon.service.sound is not None
        assert daemon.service.sound.capture.missing_ms == 100
    told = [record.getMessage() for record in caplog.records]
    assert [line for line in told if line.startswith("ears: there is not enough memory")] == [
        f"ears: there is not enough memory ({WHY}): the microphone counts as silent where its sound cannot be handled; "
        f"{no_memory.HINT}"
    ]


def test_ears_that_never_have_memory_end_the_daemon_with_the_reason(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(no_memory, "LASTS_S", 0.3)
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        monkeypatch.setattr(daemon.service, "_on_failure", ended.set)
        fails(EchoControl, "hear", 10**9)
        assert ended.wait(60)
        assert daemon.service.failure is not None
        assert str(daemon.service.failure) == f"ears failed: {WHY}"


def test_a_speaker_without_memory_has_a_hole_and_skips_nothing(fails: Fails) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.UtteranceEnded)
        assert fails(Job, "run", 3).wait(60)
        ended = daemon.expect(events.AnswerEnded)
        assert ended.finished
        assert ended.heard_ms == 1000
        assert daemon.service.failure is None


@pytest.mark.parametrize(("owner", "name"), [(ElevenLabsCodec, "receive"), (WireEncoder, "encode")])
def test_a_session_without_memory_is_lost_and_the_question_is_put_again(fails: Fails, owner: type, name: str) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        fails(owner, name, 1)
        daemon.say(QUESTION)
        lost = daemon.expect(events.StateChanged, lambda e: e.after == "backing off")
        assert lost.reason == f"there is not enough memory ({WHY})"
        assert daemon.expect(events.AnswerEnded).finished, "what was said is answered in the end"
        assert daemon.service.failure is None


def a_sound() -> int:
    descriptor = os.memfd_create("chime")
    with open(descriptor, "wb", closefd=False) as file, wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(3200))
    return descriptor


def test_an_announcement_without_memory_is_told_as_not_heard_and_the_next_one_sounds(fails: Fails) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        # It is tried twice.
        fails(SoundFile, "stream", 2)
        daemon.service.announce_sound(a_sound(), "chime", now=True)
        ended = daemon.expect(events.AnnouncementEnded)
        assert (ended.finished, ended.reason) == (False, f"there is not enough memory ({WHY})")
        daemon.service.announce_sound(a_sound(), "chime", now=True)
        assert daemon.expect(events.AnnouncementEnded, lambda e: e.announcement == 2).finished
        assert daemon.service.failure is None


def test_a_file_for_which_there_is_no_memory_is_not_sent_and_that_is_told(fails: Fails) -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.AnswerEnded)
        fails(ElevenLabsAgent, "prepare", 1)
        descriptor = os.memfd_create("picture")
        os.write(descriptor, bytes.fromhex("89504e470d0a1a0a0000000d49484452"))
        daemon.service.send_file(descriptor, "picture.png", None)
        failed = daemon.expect(events.FileFailed)
        assert (failed.text, failed.hint) == ("there is not enough memory for it", no_memory.HINT)
        assert daemon.service.failure is None


def test_a_variable_for_which_there_is_no_memory_has_its_default(fails: Fails) -> None:
    fails(variables, "find", 1)
    found = variables.Variables({"day": Variable(command=["date"], default="some day")})
    found.refresh()
    assert found.values() == {"day": "some day"}
    assert found.failures == {"day": f"there is not enough memory ({WHY})"}


def test_a_check_of_the_health_without_memory_is_left_out(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    looked, failures = threading.Event(), []
    has_failed = fails(health, "look", 2)

    def look(*_: Any) -> tuple[Trouble, ...]:
        looked.set()
        return ()

    one = Watch(lambda: (), events.Bus(), lambda _what, error: failures.append(error))
    one.start()
    assert has_failed.wait(60)
    monkeypatch.setattr(health, "look", look)
    assert looked.wait(60)
    one.stop()
    assert failures == []
