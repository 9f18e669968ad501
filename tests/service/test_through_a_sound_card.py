"""The whole line through PyAudio: somebody speaks into the virtual microphone, the virtual speaker is recorded."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
from harness import spoken
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.service import Service
from parleyd.audio.devices.names import device_pair
from parleyd.config.schema import Config, ElevenLabs
from parleyd.core import events
from parleyd.demo.stage import CueMissedError, Stage
from vcard import VirtualCard

PIECE = 3200


def test_a_question_and_a_barge_in(vcard: VirtualCard) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("what time is it")
        line.says("A very long answer.", 40.0, chunk_s=5.0)
        line.wait_speech(line.speech_s() + 0.3)
        line.interrupts()
        line.over.wait(WAIT_S)

    stage, bus = Stage(), events.Bus()
    with ScriptedServer(play) as server, vcard.listen() as speaker:
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url=server.base_url))
        agent = ElevenLabsAgent(config.elevenlabs, None)
        service = Service(config, agent, *device_pair("vmic", "vspk"), bus)
        bus.subscribe(stage)
        service.start()
        try:
            started = stage.wait_for(events.Started, "the start")
            assert 0 < started.output_latency_ms <= 40
            first = vcard.play(spoken("What time is it now?"), rate_hz=16_000)
            stage.wait_for(events.AnswerStarted, "an answer")
            asked_s = time.monotonic()
            assert speaker.wait_for_sound(asked_s, WAIT_S), "the answer is not heard"
            # The echo canceller is on; in the first second of the first answer it is not sure of itself.
            while speaker.last_sound_s() < asked_s + 2.0:
                assert speaker.wait_for_sound(speaker.last_sound_s(), WAIT_S), "the answer ended"
            assert first.wait(WAIT_S) == 0
            # On a busy machine the speaker's sound has holes, and the echo canceller has to find its place again.
            for _ in range(3):
                assert vcard.play(spoken("Stop that now please"), rate_hz=16_000).wait(WAIT_S) == 0
                with suppress(CueMissedError):
                    cut = stage.wait_for(events.BargedIn, "the barge-in", timeout_s=3.0)
                    break
            else:
                raise AssertionError("nobody can interrupt it")
            # How soon exactly is tested with the device alone; here many seconds of the answer were left.
            assert speaker.wait_until(cut.at_s + 2.0, WAIT_S)
            assert speaker.last_sound_s() < cut.at_s + 1.0
        finally:
            service.stop()
        line = server.lines[0]
        assert line.over.wait(WAIT_S)
        assert line.closed is not None
        assert line.closed[0] == 1000
        # What was asked arrived as it was spoken. Piece by piece: a busy machine loses a period now and then,
        # and a piece in which one is missing is like nothing.
        heard = np.frombuffer(bytes(line.audio), "<i2").astype(float)
        said = np.frombuffer(spoken("What time is it now?"), "<i2").astype(float)
        likenesses = [best_likeness(heard, said[i : i + PIECE]) for i in range(0, len(said) - PIECE, PIECE)]
        assert np.mean(np.array(likenesses) > 0.9) >= 0.25, likenesses


def best_likeness(sound: np.ndarray, piece: np.ndarray) -> float:
    """Normalised correlation at the best place."""
    match = np.abs(np.correlate(sound, piece, "valid"))
    energy = np.sqrt(np.convolve(sound**2, np.ones(len(piece)), "valid")) * np.linalg.norm(piece)
    return float((match / (energy + 1.0)).max())
