"""A speaker beside the microphone: who interrupts the agent in each echo mode, it or the person."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from harness import Daemon, spoken
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.audio.devices.clock import RealTimeClock
from parleyd.audio.devices.device import Fill, StreamInfo
from parleyd.audio.pcm import samples_of, to_pcm
from parleyd.config.schema import Audio, BargeIn, Config, Echo, ElevenLabs
from parleyd.core import events
from parleyd.demo.actor import ActorMicrophone

RATE_HZ = 16_000
PERIOD = RATE_HZ // 100
DELAY_S = 0.060
ANSWER = "Let me tell you the story of the lighthouse keeper, who counted every ship that passed in the night."


class OpenSpeaker:
    """Keeps what it plays, so that the microphone can hear it."""

    def __init__(self) -> None:
        self.name = "an open speaker"
        self.underruns = 0
        self.began_s = 0.0
        self._played = bytearray()
        self._lock = threading.Lock()
        self._clock: RealTimeClock | None = None

    def open(self, fill: Fill) -> StreamInfo:
        def play(_at_s: float) -> None:
            pcm = fill(PERIOD)
            with self._lock:
                self._played += pcm

        self.began_s = time.monotonic()
        self._clock = RealTimeClock("open speaker", PERIOD / RATE_HZ, play, start_s=self.began_s)
        return StreamInfo(RATE_HZ, 1, PERIOD, 0.010)

    def close(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()

    def between(self, first: int, last: int) -> np.ndarray:
        """Samples by number; silence where nothing was played."""
        with self._lock:
            data = bytes(self._played[max(0, first) * 2 : max(0, last) * 2])
        sound = samples_of(data).astype(np.float32)
        before = max(0, min(last, 0) - first)
        return np.pad(sound, (before, last - first - before - len(sound)))


class NearbyMicrophone(ActorMicrophone):
    """Hears the speaker at half its loudness, a delay later, with three reflections."""

    REFLECTIONS = ((0, 0.5), (73, 0.2), (181, -0.15), (420, 0.1))

    def __init__(self, speaker: OpenSpeaker) -> None:
        super().__init__()
        self._speaker = speaker

    def in_the_room(self, period: bytes, start_s: float) -> bytes:
        heard: np.ndarray = samples_of(period).astype(np.float32)
        first = round((start_s - DELAY_S - self._speaker.began_s) * RATE_HZ)
        for late, gain in self.REFLECTIONS:
            heard = heard + gain * self._speaker.between(first - late, first - late + len(heard))
        return to_pcm(heard)


def tell_a_story(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("tell me a story")
    line.audio_chunk(spoken(ANSWER, "slt"), 1)
    line.over.wait(WAIT_S)


def daemon_with(mode: str, server: ScriptedServer) -> Daemon:
    speaker = OpenSpeaker()
    config = Config(
        elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url),
        audio=Audio(echo=Echo(mode=mode)),  # type: ignore[arg-type]
        barge_in=BargeIn(mode="local"),
    )
    return Daemon(config, speaker, NearbyMicrophone(speaker))


def test_without_any_measure_the_agent_interrupts_itself() -> None:
    with ScriptedServer(tell_a_story) as server, daemon_with("off", server) as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        assert not daemon.expect(events.AnswerEnded).finished
        assert len(daemon.of(events.BargedIn)) == 1


@pytest.mark.parametrize("mode", ["half_duplex", "aec"])
def test_with_a_measure_it_speaks_to_its_end(mode: str) -> None:
    with ScriptedServer(tell_a_story) as server, daemon_with(mode, server) as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        assert daemon.expect(events.AnswerEnded).finished
        assert not daemon.of(events.BargedIn)
        assert not daemon.of(events.Ducked)
        assert len(daemon.of(events.UtteranceStarted)) == 1


def test_with_the_canceller_the_person_still_interrupts() -> None:
    with ScriptedServer(tell_a_story) as server, daemon_with("aec", server) as daemon:
        daemon.say("Tell me a story.")
        daemon.expect(events.AnswerStarted)
        daemon.say("Stop that now please.", after_ms=3000)
        cut = daemon.expect(events.BargedIn)
        assert cut.by == "local"
        assert 2500 < cut.heard_ms < 4500
        assert len(daemon.of(events.UtteranceStarted)) == 2
