"""A microphone that delivers nothing for a moment: what it kept meanwhile is too late, and that is told."""

from __future__ import annotations

import ctypes
import threading

import pytest
from harness import Daemon, spoken, utterances_in
from plays import QUESTION, answering, config
from scripted_server import ScriptedServer

from parleyd.audio.capture.capture import STARVED_S
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.pcm import FRAME_BYTES
from parleyd.core import events
from parleyd.demo.actor import ActorMicrophone

HELD_MS = 500
QUESTION_SOUND = spoken(QUESTION)[: len(spoken(QUESTION)) // FRAME_BYTES * FRAME_BYTES]


class HoldingMicrophone(ActorMicrophone):
    """Keeps HELD_MS of the sound that comes after hold(), and then delivers it all at once, with its true times."""

    def __init__(self) -> None:
        super().__init__()
        self.held_from_s: float | None = None
        self._hold = threading.Event()
        self._kept: list[tuple[bytes, float]] = []

    def hold(self) -> None:
        self._hold.set()

    def open(self, deliver: Deliver) -> StreamInfo:
        def hold_back(period: bytes, start_s: float) -> None:
            if not self._hold.is_set():
                deliver(period, start_s)
                return
            if self.held_from_s is None:
                self.held_from_s = start_s
            self._kept.append((period, start_s))
            if len(self._kept) * 20 >= HELD_MS:
                self._hold.clear()
                for kept in self._kept:
                    deliver(*kept)

        return super().open(hold_back)


def test_a_daemon_that_stood_still_in_a_sentence_sends_all_of_it() -> None:
    with ScriptedServer(answering) as server, Daemon(config(server)) as daemon:
        daemon.say(QUESTION)
        daemon.expect(events.UtteranceStarted)
        for _ in range(3):
            # All threads stand still, as while a library is loaded from a slow disk: the lock of the interpreter is
            # held. Between that they have turns.
            ctypes.PyDLL(None).usleep(260_000)
            ctypes.CDLL(None).usleep(60_000)
        daemon.expect(events.UtteranceEnded)
        daemon.expect(events.AnswerEnded)
        came = b"".join(sound for _, sound in utterances_in(bytes(server.lines[0].audio)))
        frames = [QUESTION_SOUND[at : at + FRAME_BYTES] for at in range(0, len(QUESTION_SOUND), FRAME_BYTES)]
        assert [number for number, frame in enumerate(frames) if frame not in came] == []
        assert not daemon.of(events.SoundMissing)


def test_a_hole_in_a_sentence_is_told_with_its_time_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    microphone = HoldingMicrophone()
    with caplog.at_level("WARNING"), ScriptedServer(answering) as server:
        with Daemon(config(server), microphone=microphone) as daemon:
            daemon.say(QUESTION)
            daemon.expect(events.UtteranceStarted)
            microphone.hold()
            missing = daemon.expect(events.SoundMissing)
            status = daemon.service.status()
        assert microphone.held_from_s is not None
        assert missing.at_s == pytest.approx(microphone.held_from_s, abs=0.021)
        # Silence went on in steps of a quarter of a second: the last of what was kept may have come just in time.
        assert STARVED_S * 1000 <= missing.missing_ms <= HELD_MS + 60
        assert missing.cause == "the microphone delivered nothing in time"
        assert status.metrics.missing_sound_ms == missing.missing_ms
        [line] = [each for each in caplog.messages if "of the microphone's sound is missing" in each]
        assert line.startswith(f"{missing.missing_ms / 1000:.2f} s of ")
