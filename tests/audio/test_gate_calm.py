"""A quiet room in one go: what the gate does with many frames together, and with one after the other, is the same."""

from __future__ import annotations

import random
from enum import Enum
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from parleyd.audio.gate.gate import Gate, Passed, Verdict
from parleyd.audio.gate.known_noises import KnownNoises
from parleyd.audio.gate.measure import SPECTRUM_HZ, VoiceMeasure
from parleyd.audio.gate.noise_floor import LevelFloor
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_SAMPLES, PIPELINE_RATE_HZ, Frame, samples_of, to_pcm
from parleyd.embedded.voice import Voice

Numbers = list[tuple[float, bool, np.ndarray]]


def spoken(text: str) -> bytes:
    with Voice() as voice:
        return voice.say(text, PIPELINE_RATE_HZ)


def state_of(gate: Gate) -> dict[str, Any]:
    """All that the gate remembers, as values that can be compared."""

    def values(it: Any) -> Any:
        if isinstance(it, np.ndarray):
            return [round(float(one), 3) for one in np.log10(it + 1.0).ravel()]
        if isinstance(it, Struct):
            return {name: values(getattr(it, name)) for name in it.__struct_fields__}
        if isinstance(it, Enum):
            return it.name
        if hasattr(it, "__dict__"):
            return {name: values(one) for name, one in vars(it).items() if name != "_minutes"}
        if isinstance(it, (float, np.floating)):
            return round(float(it), 6)
        if isinstance(it, (str, bytes, int, type(None))):
            return it
        return [values(one) for one in it] if hasattr(it, "__iter__") else str(it)

    found: dict[str, Any] = values(gate)
    return found


def a_room(seed: int, seconds: int) -> Numbers:
    """Levels, voices and spectra of a room in which something happens now and then, in no plausible way."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    numbers: Numbers = []
    while len(numbers) < seconds * 50:
        kind = dice.choice(["quiet", "quiet", "quiet", "murmur", "words", "zeros", "louder"])
        for _ in range(dice.randrange(5, 200)):
            level = {"quiet": -62.0, "murmur": -59.0, "words": -30.0, "zeros": -120.0, "louder": -50.0}[kind]
            level += rng.normal(0.0, 1.2) if kind != "zeros" else 0.0
            voiced = dice.random() < {"quiet": 0.02, "murmur": 0.4, "words": 0.85, "zeros": 0.0, "louder": 0.1}[kind]
            power = rng.exponential(10 ** (level / 10 + 9), len(SPECTRUM_HZ)).astype(np.float32)
            numbers.append((float(level), voiced, power))
    return numbers


def one_by_one(gate: Gate, numbers: Numbers, start: int) -> list[Verdict]:
    return [
        gate.step(frame, voiced=voiced, level_dbfs=level, pitch=0.9, power=power, wakes=True)
        for frame, (level, voiced, power) in zip(frames_of(len(numbers), start), numbers, strict=True)
    ]


def frames_of(count: int, start: int) -> list[Frame]:
    return [Frame(bytes(FRAME_BYTES), (start + number) * 0.02) for number in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_many_frames_together_are_as_one_after_the_other(seed: int) -> None:
    numbers, dice = a_room(seed, 90), random.Random(seed)
    single, together = Gate(500, 900), Gate(500, 900)
    at = calm = 0
    while at < len(numbers):
        piece = numbers[at : at + dice.randrange(1, 50)]
        expected = one_by_one(single, piece, at)
        passed = together.step_calm(
            frames_of(len(piece), at),
            voiced=[voiced for _, voiced, _ in piece],
            levels_dbfs=[level for level, _, _ in piece],
            powers=np.stack([power for _, _, power in piece]),
        )
        if passed is None:
            verdicts = one_by_one(together, piece, at)
            assert verdicts == expected
        else:
            calm += len(piece)
            assert passed == tuple(one for verdict in expected for one in verdict.passed)
            assert not any(verdict.talk_started or verdict.talk_stopped or verdict.closed for verdict in expected)
        at += len(piece)
        assert state_of(together) == state_of(single), at
        for gate in (single, together):
            # What an agent says of what it heard.
            turn = at // 400 % 3
            if at % 400 < 20:
                gate.false_wake() if turn == 0 else gate.understood() if turn == 1 else gate.woken()
    assert calm > len(numbers) / 5, "the shorter way was taken"


def test_a_gate_that_may_hear_speech_takes_no_frames_together_and_has_not_changed() -> None:
    gate = Gate(500, 900)
    quiet, loud = (-62.0, False, np.ones(len(SPECTRUM_HZ), np.float32)), (-40.0, True, np.ones(513, np.float32))
    one_by_one(gate, [quiet] * 300, 0)
    before = state_of(gate)
    frames = frames_of(3, 300)
    powers = np.ones((3, len(SPECTRUM_HZ)), np.float32)
    levels = [-62.0, -40.0, -62.0]
    assert gate.step_calm(frames, voiced=[False, True, False], levels_dbfs=levels, powers=powers) is None
    assert state_of(gate) == before
    # Loud, and not voiced: a door.
    assert gate.step_calm(frames, voiced=[False] * 3, levels_dbfs=levels, powers=powers) is not None
    one_by_one(gate, [loud], 303)
    assert not gate.is_calm
    assert gate.step_calm(frames, voiced=[False] * 3, levels_dbfs=[-62.0] * 3, powers=powers) is None


def test_a_frame_that_the_floor_may_fall_below_may_be_speech() -> None:
    floor = LevelFloor()
    for _ in range(300):
        floor.step(-50.0, False)
    assert not floor.may_be_speech([-50.0], [True])
    assert floor.may_be_speech([-56.0, -50.0], [False, True]), "after the softer frame the floor is lower"
    assert not floor.may_be_speech([-56.0, -50.0], [True, False])
    assert not floor.may_be_speech([-30.0], [False])


def test_the_spectra_of_many_frames_are_those_of_one_after_the_other() -> None:
    sound = spoken("Good morning.")
    pieces = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound) - FRAME_BYTES, FRAME_BYTES)]
    frames = [Frame(pcm, number * 0.02) for number, pcm in enumerate(pieces)]
    single, together = VoiceMeasure(), VoiceMeasure()
    at = 0
    for count in (1, 7, 24, 3, 12):
        some = frames[at : at + count]
        found, powers = together.steps(some)
        assert powers.shape == (count, len(SPECTRUM_HZ))
        for number, frame in enumerate(some):
            measured = single.step(frame)
            assert found[number] == pytest.approx(measured.level_dbfs, abs=1e-3)
            assert together.pitch(powers[number]) == pytest.approx(measured.pitch, abs=1e-4)
            assert powers[number] == pytest.approx(single.power, rel=1e-3, abs=1.0)
        at += count
        # And a frame by itself behind them.
        assert together.step(frames[at]).level_dbfs == pytest.approx(single.step(frames[at]).level_dbfs, abs=1e-3)
        at += 1


def test_a_known_noise_that_is_followed_needs_each_frame() -> None:
    known = KnownNoises()
    power = np.full(len(SPECTRUM_HZ), 1e6, np.float32)
    known.observe(power)
    listens = [known.listens]
    known.wakes()
    listens.append(known.listens)
    for _ in range(200):
        known.observe(power)
    listens.append(known.listens)
    assert listens == [False, True, False], "its picture is being made"


def test_speech_in_the_middle_of_many_frames_opens_the_gate_at_the_same_frame() -> None:
    """Real sound, through the real detector and measures."""
    rng = np.random.default_rng(5)
    voice = samples_of(spoken("What time is it?")).astype(float)
    sound = rng.normal(0.0, 25.0, FRAME_SAMPLES * 50 * 12)
    for second in (4, 8):
        sound[second * 16_000 : second * 16_000 + len(voice)] += voice * (0.3 if second == 4 else 0.05)
    pcm = to_pcm(sound)
    frames = [Frame(pcm[at : at + FRAME_BYTES], at / 32_000) for at in range(0, len(pcm), FRAME_BYTES)]

    def heard(count: int) -> list[tuple[Passed, ...]]:
        gate, vad, measure = Gate(500, 900), Vad(2), VoiceMeasure()
        left: list[tuple[Passed, ...]] = []
        for at in range(0, len(frames), count):
            some = frames[at : at + count]
            voiced = vad.all_voiced(some)
            levels, powers = measure.steps(some)
            passed = gate.step_calm(some, voiced=voiced, levels_dbfs=levels, powers=powers)
            if passed is not None:
                left.append(passed)
                continue
            for frame, its, level, power in zip(some, voiced, levels, powers, strict=True):
                pitch = measure.pitch(power) if its else 0.0
                left.append(gate.step(frame, voiced=its, level_dbfs=level, pitch=pitch, power=power).passed)
        return left

    flat = [[one for passed in heard(count) for one in passed] for count in (1, 24)]
    assert flat[0] == flat[1]
    assert 50 < sum(one.speech for one in flat[0]) < len(frames) / 2
