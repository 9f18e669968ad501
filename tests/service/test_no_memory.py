"""A moment without memory costs what was being handled, and not the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness import Daemon
from plays import QUESTION, answering, config
from scripted_server import ScriptedServer

from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.audio.capture.missing import Why
from parleyd.audio.echo.control import EchoControl
from parleyd.audio.playback.pipeline import Job
from parleyd.conversation.session.wire_audio import WireEncoder
from parleyd.core import events, no_memory

Fails = Callable[[type, str, int], threading.Event]
WHY = "Unable to allocate 120. KiB for an array with shape (320, 96)"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """This method finds no memory, so many times from now on; the event: it has."""

    def prepare(owner: type, name: str, times: int) -> threading.Event:
        method, left, has_failed = getattr(owner, name), [times], threading.Event()

        def short(self: object, *args: Any, **options: Any) -> object:
            if left[0]:
                left[0] -= 1
                has_failed.set()
                raise MemoryError(WHY)
            return method(self, *args, **options)

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
