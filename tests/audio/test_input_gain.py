"""The microphone's gain: applied once, saturated, and learnt from people."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from test_capture import HandFed, feed

from parleyd.audio.capture.capture import Capture
from parleyd.audio.capture.gain_keeper import GainKeeper, remembered_gain
from parleyd.audio.capture.input_gain import (
    AUTO_DB_PER_MIN,
    AUTO_MOST_DB,
    CLIPPING_DB_PER_S,
    GOAL_DBFS,
    NOISE_MOST_DBFS,
    SLEW_DOWN_DB_PER_S,
    SLEW_UP_DB_PER_S,
    AutoGain,
    InputGain,
)
from parleyd.audio.echo.canceller import EchoCanceller
from parleyd.audio.echo.far_end import FarFrame
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import (
    FRAME_BYTES,
    FRAME_MS,
    FRAME_SAMPLES,
    PIPELINE_RATE_HZ,
    SILENT_FRAME,
    Frame,
    samples_of,
    to_pcm,
)
from parleyd.config.schema import AudioInput
from parleyd.core import events
from parleyd.host.remembered import RememberedGain

SECOND = 1000 // FRAME_MS
LINES = (
    *("what time is it", "turn on the light in the kitchen", "tell me a story about a dragon", "stop", "no"),
    *("how is the weather tomorrow", "play some music please", "set a timer for ten minutes", "good morning"),
    *("who won the game last night", "what is on my calendar today", "call my sister", "read the news"),
    *("is it going to rain", "switch everything off", "open the garage door", "thank you very much"),
    *("add milk to the shopping list", "how far is the moon", "wake me at seven"),
)


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    folder = tmp_path_factory.mktemp("voices")
    found = []
    for voice in ("slt", "rms"):
        for line in LINES:
            path = folder / "said.wav"
            subprocess.run(["flite", "-voice", voice, "-t", line, "-o", path], check=True, timeout=60)
            with wave.open(str(path)) as file:
                assert file.getframerate() == PIPELINE_RATE_HZ
                found.append(np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768)
    return found


def at_loudness(said: np.ndarray, dbfs: float) -> np.ndarray:
    """Where it is not silent it has this level."""
    frames = np.sort((said[: len(said) // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1))
    active = frames[frames > frames[-1] / 1000].mean()
    louder: np.ndarray = said * 10 ** (dbfs / 20) / np.sqrt(active)
    return louder


def pcm_of(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


# ---------------------------------------------------------------- the gain


def test_what_would_be_too_loud_stays_at_full_scale() -> None:
    gain = InputGain(20.0)
    assert list(samples_of(gain.apply(pcm_of(100, -100, 30_000, -30_000, 4_000)))) == [
        *(1_000, -1_000, 32_767, -32_768, 32_767),
    ]
    assert gain.saturated == 3


def test_without_a_gain_sound_is_not_touched() -> None:
    pcm = pcm_of(1, -32_768, 32_767)
    gain = InputGain()
    assert gain.apply(pcm) is pcm
    assert gain.saturated == 0


def test_a_change_is_no_step() -> None:
    gain = InputGain()
    pcm = pcm_of(*[1_000] * 320)
    gain.apply(pcm)
    gain.configured_db = 20.0
    moving = [samples_of(gain.apply(pcm)).astype(int) for _ in range(21 * SECOND)]
    assert moving[10 * SECOND - 1][-1] == pytest.approx(1_000 * 10 ** (10 * SLEW_UP_DB_PER_S / 20), rel=0.01)
    assert np.abs(np.diff(np.concatenate(moving))).max() <= 1
    assert set(moving[-1]) == {10_000}
    gain.configured_db = 0.0
    falling = [samples_of(gain.apply(pcm)).astype(int) for _ in range(2 * SECOND)]
    assert falling[SECOND - 1][-1] == pytest.approx(10_000 * 10 ** (-SLEW_DOWN_DB_PER_S / 20), rel=0.01)
    assert set(falling[-1]) == {1_000}


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_capture_applies_it_once_and_looks_for_digital_silence_before(rate_hz: int) -> None:
    device = HandFed(rate_hz)
    capture = Capture(device, InputGain(-20.0))
    capture.start()
    loud = pcm_of(*[5_000] * rate_hz)
    frames = feed(device, capture, loud, 100.0)
    assert samples_of(frames[25].pcm)[100] == pytest.approx(500, abs=2)
    # So faint that nothing is left of it, but the microphone is not mute.
    before_s = capture.last_sound_s
    frames = feed(device, capture, pcm_of(*[1, -1] * (rate_hz // 2)), 101.0)
    assert frames[-1].pcm == SILENT_FRAME
    assert capture.last_sound_s > before_s


@pytest.mark.parametrize(("before_db", "after_db"), [(10.0, 30.0), (30.0, 10.0)])
def test_the_echo_canceller_follows_a_gain_that_moves(
    before_db: float, after_db: float, utterances: list[np.ndarray]
) -> None:
    """A microphone that is 30 dB too soft hears the agent's voice; meanwhile its gain is configured anew."""
    far = np.concatenate([at_loudness(said, -20.0) for said in utterances[:24]])
    path = np.zeros(1600)
    path[400:1600] = np.random.default_rng(3).normal(0, 1, 1200) * np.exp(-np.arange(1200) / 250)
    path *= 10 ** (-36 / 20) / np.sqrt((path**2).sum())
    near = np.convolve(far, path)[: len(far)] + np.random.default_rng(4).normal(0, 10**-5, len(far))
    canceller, gain, people = EchoCanceller(), InputGain(before_db), 0
    frames = len(far) // FRAME_SAMPLES
    for number in range(frames):
        if number == frames // 3:
            gain.configured_db = after_db
        piece = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES)
        frame = Frame(gain.apply(to_pcm(near[piece] * 32768)), 0.0)
        people += canceller.step(frame, FarFrame(far[piece].astype(np.float32))).may_be_speech and number > frames // 4
    assert gain._applied_db == after_db
    assert people == 0


# ---------------------------------------------------------------- what is learnt


def hears(
    auto: AutoGain,
    peaks_dbfs: Iterable[float],
    *,
    floor_dbfs: float = -90.0,
    understood: bool = True,
    alone: bool = True,
) -> None:
    """Utterances of a second each, with a second of quiet behind them; levels as the microphone itself has them."""
    for peak_dbfs in peaks_dbfs:
        for talk in [True] * SECOND + [False] * SECOND:
            level_dbfs = (peak_dbfs if talk else floor_dbfs) + auto.db
            auto.step(level_dbfs, floor_dbfs + auto.db, auto.db, talk=talk, alone=alone, saturated=0)
        if understood:
            auto.understood()


def waits(auto: AutoGain, seconds: float, *, saturated: int = 0) -> None:
    for _ in range(round(seconds * SECOND)):
        auto.step(-90.0, -90.0, auto.db, talk=False, alone=True, saturated=saturated)


def test_soft_people_are_made_louder_slowly_and_no_more_than_they_need() -> None:
    auto = AutoGain()
    hears(auto, [-52.0])
    waits(auto, 60)
    assert auto.db == pytest.approx(AUTO_DB_PER_MIN, abs=0.1)
    waits(auto, 600)
    assert auto.db == pytest.approx(GOAL_DBFS + 52.0)


def test_there_is_a_bound() -> None:
    auto = AutoGain()
    hears(auto, [-80.0])
    waits(auto, 3600)
    assert auto.db == AUTO_MOST_DB
    assert AutoGain(1000.0).db == AUTO_MOST_DB
    assert AutoGain(-5.0).db == 0.0


def test_nobody_is_made_softer_than_without() -> None:
    auto = AutoGain()
    hears(auto, [-10.0] * 5)
    waits(auto, 600)
    assert auto.db == 0.0


def test_what_nobody_understood_teaches_nothing() -> None:
    auto = AutoGain()
    hears(auto, [-52.0] * 5, understood=False)
    waits(auto, 600)
    assert auto.db == 0.0
    # And it is not counted among people afterwards, when it turns out to be nothing.
    auto.nothing()
    waits(auto, 1)
    auto.understood()
    waits(auto, 600)
    assert auto.db == 0.0


def test_noise_alone_teaches_nothing() -> None:
    auto = AutoGain()
    waits(auto, 600)
    auto.understood()
    waits(auto, 600)
    assert auto.db == 0.0


def test_talk_over_the_agent_teaches_nothing() -> None:
    auto = AutoGain()
    hears(auto, [-52.0] * 5, alone=False)
    waits(auto, 600)
    assert auto.db == 0.0


def test_one_loud_noise_among_people_changes_nothing() -> None:
    auto = AutoGain()
    hears(auto, [-52.0, -52.0, -5.0, -52.0, -52.0])
    waits(auto, 900)
    assert auto.db == pytest.approx(GOAL_DBFS + 52.0)


def test_a_room_is_not_raised_beyond_what_the_gate_can_live_with() -> None:
    auto = AutoGain()
    hears(auto, [-52.0] * 3, floor_dbfs=-60.0)
    waits(auto, 900)
    assert auto.db == pytest.approx(NOISE_MOST_DBFS + 60.0)


def test_when_it_clips_it_goes_down_at_once_and_comes_back_slowly() -> None:
    auto = AutoGain(20.0)
    hears(auto, [GOAL_DBFS - 20.0] * 3)
    waits(auto, 0.5, saturated=30)
    assert auto.db == pytest.approx(20.0 - CLIPPING_DB_PER_S / 2)
    waits(auto, 60)
    assert auto.db == pytest.approx(20.0 - CLIPPING_DB_PER_S / 2 + AUTO_DB_PER_MIN)
    waits(auto, 60, saturated=30)
    assert auto.db == 0.0


def test_a_click_is_no_clipping() -> None:
    auto = AutoGain(20.0)
    waits(auto, 10, saturated=2)
    assert auto.db == 20.0


def test_the_gain_tells_what_it_saturates() -> None:
    """From the sound to the decision: apply() counts, hear() hands it on."""
    gain = InputGain(10.0, AutoGain(20.0))
    for _ in range(SECOND):
        gain.apply(pcm_of(*[20_000, -20_000] * 160))
        gain.hear(0.0, -60.0, talk=True, alone=True)
    assert gain.auto is not None
    assert gain.auto.db == pytest.approx(20.0 - CLIPPING_DB_PER_S, abs=0.3)
    assert gain.db == 10.0 + gain.auto.db


# ---------------------------------------------------------------- what it is good for


def opened(utterances: list[np.ndarray], gain: InputGain, speech_dbfs: float, room_dbfs: float) -> int:
    """How many of them open the gate, each after 3 s of quiet; what opens it is understood."""
    noise = np.random.default_rng(1)
    vad, measure, gate, at_s, count = Vad(2), VoiceMeasure(), Gate(500, 900), 0.0, 0
    for said in utterances:
        scaled = at_loudness(said, speech_dbfs)
        sound = np.concatenate([np.zeros(3 * PIPELINE_RATE_HZ), scaled, np.zeros(2 * PIPELINE_RATE_HZ)])
        pcm = to_pcm((sound + noise.normal(0, 10 ** (room_dbfs / 20), len(sound))) * 32768)
        did_open = False
        for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = Frame(gain.apply(pcm[at : at + FRAME_BYTES]), at_s)
            at_s += FRAME_MS / 1000
            voiced = vad.voiced(frame)
            measured = measure.step(frame, voiced=voiced)
            verdict = gate.step(frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch)
            gain.hear(measured.level_dbfs, gate.floor.dbfs, talk=verdict.talk_ms > 0, alone=True)
            did_open |= verdict.opened
            if verdict.closed and gain.auto is not None:
                gain.auto.understood()
        count += did_open
    return count


def test_a_soft_microphone_is_heard_with_a_gain(utterances: list[np.ndarray]) -> None:
    assert opened(utterances, InputGain(), -60.0, -90.0) < 36
    assert opened(utterances, InputGain(24.0), -60.0, -90.0) == len(utterances) == 40
    learning = InputGain(0.0, AutoGain())
    opened(utterances, learning, -60.0, -90.0)
    assert opened(utterances, learning, -60.0, -90.0) == 40
    assert learning.saturated == 0


def test_an_ordinary_microphone_is_left_as_it_is(utterances: list[np.ndarray]) -> None:
    learning = InputGain(0.0, AutoGain())
    assert opened(utterances, learning, -26.0, -62.0) == 40
    assert learning.db == 0.0


# ---------------------------------------------------------------- the bus and the restart


def heard(text: str, *, final: bool = True) -> events.Heard:
    return events.Heard(at_s=0.0, text=text, final=final)


def moved(trigger: str, after: str) -> events.StateChanged:
    return events.StateChanged(at_s=0.0, before="live", after=after, trigger=trigger, reason="")


def kept(directory: Path, section: AudioInput) -> tuple[InputGain, GainKeeper, list[events.Event]]:
    remembered, bus = RememberedGain(directory), events.Bus()
    told: list[events.Event] = []
    gain = remembered_gain(section, remembered)
    keeper = GainKeeper(gain, section, remembered, bus)
    bus.subscribe(told.append)
    return gain, keeper, told


def test_what_was_learnt_outlives_a_restart_of_the_same_microphone(tmp_path: Path) -> None:
    section = AudioInput(device="mic", gain_db=6.0, auto_gain="on")
    gain, keeper, told = kept(tmp_path, section)
    assert gain.auto is not None
    gain.auto.db = 0.6
    keeper.keep()
    assert told == [], "less than a decibel is no news"
    gain.auto.db = 12.34
    keeper.keep()
    assert [event.gain_db for event in told if isinstance(event, events.InputGainChanged)] == [18.3]
    assert kept(tmp_path, section)[0].db == pytest.approx(18.3)
    assert kept(tmp_path, AudioInput(device="another", gain_db=6.0, auto_gain="on"))[0].db == 6.0
    assert kept(tmp_path, AudioInput(device="mic", gain_db=0.0, auto_gain="on"))[0].db == 0.0
    assert kept(tmp_path, AudioInput(device="mic", gain_db=6.0))[0].db == 6.0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"device": "mic", "configured_db": 0, "learnt_db": -3}'])
def test_a_damaged_file_is_told_and_learnt_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gain.json").write_bytes(content)
    assert kept(tmp_path, AudioInput(device="mic", auto_gain="on"))[0].db == 0.0
    assert "learnt anew" in caplog.text


def test_the_agent_s_understanding_is_what_teaches(tmp_path: Path) -> None:
    section = AudioInput(auto_gain="on")
    for event, learns in (
        (heard("what time is it"), True),
        (heard("what", final=False), False),
        (heard("..."), False),
        (moved("idle", "asleep"), False),
    ):
        gain, keeper, _ = kept(tmp_path, section)
        assert gain.auto is not None
        hears(gain.auto, [-52.0], understood=False)
        keeper(event)
        waits(gain.auto, 60)
        assert (gain.auto.db > 0) is learns, event
    # What woke it for nothing is forgotten before anybody is understood.
    gain, keeper, _ = kept(tmp_path, section)
    assert gain.auto is not None
    hears(gain.auto, [-52.0], understood=False)
    keeper(moved("false wake", "asleep"))
    waits(gain.auto, 1)
    keeper(heard("hello"))
    waits(gain.auto, 60)
    assert gain.auto.db == 0.0
