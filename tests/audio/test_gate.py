"""The gate, frame by frame, with time and voice as given."""

from __future__ import annotations

import random
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parleyd.app.ears import penalty_in_words
from parleyd.audio.devices.wav import read_wav
from parleyd.audio.gate.gate import FAINT_MOST_MS, HEAD_MOST_MS, ONSET_WINDOW_MS, PAUSE_MS, Gate, Verdict
from parleyd.audio.gate.held_back import ONE_TIME_MS, HeldBack, HeldBackReports
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.noise_floor import (
    OVER_FALSE_WAKE_DB,
    PENALTY_MS,
    PENALTY_REMEMBERED_MS,
    UNDERSTOOD_MS,
    Background,
    FalseWakePenalty,
    LevelFloor,
    Sounds,
)
from parleyd.audio.gate.vad import Vad
from parleyd.audio.gate.why_held_back import Why, in_words
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, SILENT_FRAME, Frame, samples_of, to_pcm
from parleyd.audio.resample import Resampler

LOUD, QUIET = -20.0, -75.0


def run(gate: Gate, pattern: str, hold_back: bool = True, start: int = 0) -> list[Verdict]:
    """pattern: one character a frame; # is voiced, anything else is not."""
    return [
        gate.step(
            Frame(SILENT_FRAME, (start + i) * FRAME_MS / 1000),
            voiced=character == "#",
            level_dbfs=LOUD if character == "#" else QUIET,
            hold_back=hold_back,
        )
        for i, character in enumerate(pattern)
    ]


def numbers(verdicts: list[Verdict], speech: bool | None = None) -> list[int]:
    return [round(p.frame.start_s * 1000 / FRAME_MS) for v in verdicts for p in v.passed if speech in (None, p.speech)]


def test_opens_within_the_onset_window_and_gives_the_pre_roll() -> None:
    verdicts = run(Gate(500, 900), "." * 50 + "#" * 10)
    opened = [i for i, v in enumerate(verdicts) if v.opened]
    assert opened == [50 + 5]  # 120 ms of speech
    assert verdicts[55].speech_s == 1.0
    # 500 ms from before the frame that opened, all as speech, and nothing before it.
    assert numbers(verdicts, speech=True)[0] == 55 - 25
    assert numbers(verdicts, speech=False) == list(range(30))


def test_a_click_does_not_open() -> None:
    assert not any(v.opened for v in run(Gate(500, 900), "." * 20 + "###" + "." * 60 + "#.#.#" + "." * 40))


def test_a_pause_does_not_count_as_talk() -> None:
    lasted = [v.talk_ms for v in run(Gate(500, 900), "." * 20 + "#" * 7 + "." * 40)]
    # The window keeps two frames of slack.
    assert max(lasted) == (7 + 2) * FRAME_MS
    again = [v.talk_ms for v in run(Gate(500, 900), "." * 20 + "#" * 7 + "." * 10 + "#" * 7 + "." * 40)]
    assert max(again) == (7 + 10 + 7 + 2) * FRAME_MS


def test_speech_with_gaps_opens() -> None:
    assert any(v.opened for v in run(Gate(500, 900), "." * 20 + "##.##.##.##" + "." * 9))


def test_closes_after_the_hangover_and_says_when_the_speech_ended() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20 + "." * 80)
    closed = [i for i, v in enumerate(verdicts) if v.closed]
    # The window keeps two frames of slack: 3 of the last 5 frames are still speech two frames after the last.
    assert closed == [30 + 20 + 2 + 900 // FRAME_MS - 1]
    assert verdicts[closed[0]].speech_s == (50 + 2) * FRAME_MS / 1000
    # The hangover is part of the utterance.
    assert numbers(verdicts, speech=True)[-1] == closed[0]


def test_a_pause_ends_the_talk_but_not_the_utterance() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20 + "." * 30 + "#" * 20 + "." * 80)
    assert sum(v.opened for v in verdicts) == 1
    assert sum(v.talk_started for v in verdicts) == 2
    assert sum(v.talk_stopped for v in verdicts) == 2
    stopped = next(i for i, v in enumerate(verdicts) if v.talk_stopped)
    assert stopped == 50 + 2 + PAUSE_MS // FRAME_MS - 1


@pytest.mark.parametrize("shift", range(5))
def test_voiced_frames_of_a_pause_do_not_count_towards_the_next_talk(shift: int) -> None:
    gate = Gate(500, 900)
    # Two voiced frames of five are too few for talk.
    pause = ("#.#.." * 9)[shift:]
    stopped = next(i for i, v in enumerate(run(gate, "." * 30 + "#" * 20 + pause)) if v.talk_stopped)
    gate = Gate(500, 900)
    run(gate, ("." * 30 + "#" * 20 + pause)[: stopped + 1])
    assert [v.talk_started for v in run(gate, "#" * 6, start=stopped + 1)] == [False] * 5 + [True]


def test_talk_is_measured_from_its_beginning() -> None:
    verdicts = run(Gate(500, 900), "." * 30 + "#" * 20)
    assert [v.talk_ms for v in verdicts if v.talk_ms] == list(range(120, 401, FRAME_MS))


def test_words_are_told_from_the_pauses_between_them_and_after_them() -> None:
    gate, told = Gate(500, 900), []
    for start, pattern in ((0, "." * 30), (30, "#" * 5), (35, "#" * 10), (45, "." * 4), (49, "#" * 4), (53, "." * 30)):
        run(gate, pattern, start=start)
        told.append((gate.in_words, gate.open))
    assert told == [(False, False), (False, False), (True, True), (False, True), (True, True), (False, True)]


@given(st.lists(st.sampled_from("#."), min_size=1, max_size=80), st.integers(0, 40))
def test_no_talk_begins_sooner_than_it_says(sound: list[str], quiet: int) -> None:
    """So as many frames can be handled at once, and the last one is the first that may begin talk."""
    gate = Gate(500, 900)
    run(gate, "." * quiet)
    not_before = 0
    for number, each in enumerate(sound):
        nobody_talks = gate.talk_since_s is None
        if nobody_talks:
            not_before = max(not_before, number + gate.to_talk_ms // FRAME_MS - 1)
        (verdict,) = run(gate, each, start=quiet + number)
        assert not (verdict.talk_started and number < not_before)


def test_talk_that_begins_as_soon_as_it_can_begins_when_it_says() -> None:
    for voiced in range(6):
        gate = Gate(500, 900)
        run(gate, "." * 30 + "#" * voiced)
        assert gate.to_talk_ms == (6 - voiced) * FRAME_MS
        started = [verdict.talk_started for verdict in run(gate, "#" * (6 - voiced), start=30 + voiced)]
        assert started == [False] * (5 - voiced) + [True]


def test_it_says_since_when_somebody_talks() -> None:
    gate, told = Gate(500, 900), []
    for start, pattern in ((0, "." * 30 + "#" * 5), (35, "#" * 10), (45, "." * 30)):
        run(gate, pattern, start=start)
        told.append(gate.talk_since_s)
    assert told == [None, 30 * FRAME_MS / 1000, None]


def test_it_is_attentive_as_long_as_sound_like_speech_is_in_its_onset_window() -> None:
    gate, told = Gate(500, 900), []
    for pattern in ("." * 30, "#", "." * (ONSET_WINDOW_MS // FRAME_MS - 1), "."):
        run(gate, pattern)
        told.append(gate.is_attentive)
    assert told == [False, True, True, False]


def test_with_hold_back_off_everything_leaves_at_once() -> None:
    gate = Gate(500, 900)
    run(gate, "." * 40)
    verdicts = run(gate, "...", hold_back=False, start=40)
    assert [len(v.passed) for v in verdicts] == [26, 1, 1]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.floats(-90, 0), st.booleans()), max_size=400))
def test_every_frame_leaves_once_and_in_order(steps: list[tuple[bool, float, bool]]) -> None:
    gate = Gate(500, 900)
    out: list[int] = []
    for i, (voiced, level, hold_back) in enumerate(steps):
        verdict = gate.step(Frame(SILENT_FRAME, float(i)), voiced=voiced, level_dbfs=level, hold_back=hold_back)
        out += [int(p.frame.start_s) for p in verdict.passed]
        assert gate.open or not verdict.talk_ms
    assert out == list(range(len(out)))
    assert len(steps) - len(out) <= gate.most_held_frames


def opens(gate: Gate, level_dbfs: float) -> bool:
    """Whether a word of that level opens it in a quiet room; it is closed afterwards."""
    opened = any(verdict.opened for verdict in hear(gate, [level_dbfs] * 10))
    rest(gate, 1.2)
    return opened


def rest(gate: Gate, seconds: float, level_dbfs: float = -60.0) -> list[Verdict]:
    return [
        gate.step(Frame(SILENT_FRAME, 0.0), voiced=False, level_dbfs=level_dbfs)
        for _ in range(round(seconds * 1000 / FRAME_MS))
    ]


def test_after_a_wake_for_nothing_it_has_to_be_louder_for_a_minute() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    assert opens(gate, -52.0)
    gate.false_wake()
    assert not opens(gate, -52.0)
    assert opens(gate, -40.0)
    rest(gate, PENALTY_MS / 1000)
    assert opens(gate, -52.0)


def test_wakes_for_nothing_in_a_row_make_it_harder_of_hearing_and_for_longer() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    lasted_ms, bars_dbfs = [], []
    for times in range(1, 8):
        assert opens(gate, -30.0)
        gate.false_wake()
        assert gate.penalty.times == times
        lasted_ms.append(gate.penalty.raised_ms)
        bars_dbfs.append(gate.bar_dbfs)
    assert lasted_ms == [PENALTY_MS * minutes for minutes in (1, 2, 4, 8, 16, 16, 16)]
    assert [round(bar - bars_dbfs[0]) for bar in bars_dbfs] == [0, 6, 12, 12, 12, 12, 12]


def test_the_penalty_never_exceeds_the_level_of_the_false_wake() -> None:
    penalty = FalseWakePenalty()
    for _ in range(3):
        penalty.step(-48.0, talk=True)
        penalty.step(-20.0, talk=False)
        penalty.false_wake()
    assert penalty.bar_dbfs(-60.0) == -48.0 + OVER_FALSE_WAKE_DB
    assert penalty.bar_dbfs(-40.0) == -40.0, "a room that has become louder than that"


def test_who_was_understood_is_trusted_again() -> None:
    gate = Gate(500, 900)
    rest(gate, 2)
    for _ in range(3):
        assert opens(gate, -40.0)
        gate.false_wake()
    assert not opens(gate, -50.0)
    gate.understood()
    assert opens(gate, -50.0)
    gate.false_wake()
    assert (gate.penalty.times, gate.penalty.raised_ms) == (1, PENALTY_MS)


def test_a_false_alarm_long_ago_is_forgotten() -> None:
    penalty = FalseWakePenalty()
    penalty.false_wake()
    for _ in range((PENALTY_MS + PENALTY_REMEMBERED_MS) // FRAME_MS - 1):
        penalty.step(-60.0, talk=False)
    assert (penalty.times, penalty.raised_ms) == (1, 0)
    penalty.step(-60.0, talk=False)
    assert penalty.times == 0


def test_the_floor_follows_the_room() -> None:
    floor = LevelFloor()
    for _ in range(500):
        floor.step(-40.0, voiced=False)
    assert floor.dbfs > -42
    assert not floor.step(-38.0, voiced=True)
    assert floor.step(-30.0, voiced=True)
    for _ in range(100):
        floor.step(-65.0, voiced=False)
    assert floor.dbfs < -60


def hear(gate: Gate, levels: list[float], pitch: float = 1.0) -> list[Verdict]:
    """Voiced frames throughout, as the detector has them in music."""
    return [
        gate.step(Frame(SILENT_FRAME, i * FRAME_MS / 1000), voiced=True, level_dbfs=level, pitch=pitch)
        for i, level in enumerate(levels)
    ]


def syllables(seconds: float, loud: float, between: float) -> list[float]:
    """Four a second."""
    return ([loud] * 8 + [between] * 5) * round(seconds * 4)


def test_what_has_no_pitch_does_not_open() -> None:
    assert not any(v.opened for v in hear(Gate(500, 900), syllables(10, -25, -60), pitch=0.4))
    assert any(v.opened for v in hear(Gate(500, 900), syllables(10, -25, -60), pitch=0.9))


def test_a_tone_opens_once_and_closes_though_it_goes_on() -> None:
    verdicts = hear(Gate(500, 900), [-70.0] * 50 + [-30.0] * 500)
    assert sum(v.opened for v in verdicts) == 1
    assert sum(v.closed for v in verdicts) == 1


def test_what_never_ends_becomes_the_room_and_a_louder_voice_tops_it() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, -70)
    verdicts = hear(gate, syllables(60, -45, -55))
    assert any(v.opened for v in verdicts)
    assert not gate.open
    assert not any(v.opened for v in hear(gate, syllables(10, -45, -55)))
    assert any(v.opened for v in hear(gate, syllables(1, -35, -55)))


def test_music_that_is_taken_for_speech_a_sixth_of_the_time_is_learnt() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, -70)
    opened_s = []
    for number in range(60):
        bar = hear(gate, [-50.0] * 8) + [
            gate.step(Frame(SILENT_FRAME, 0.0), voiced=False, level_dbfs=-60.0) for _ in range(42)
        ]
        opened_s += [number] * sum(verdict.opened for verdict in bar)
    assert opened_s, "it was heard at first"
    assert opened_s[-1] < 20
    assert any(verdict.opened for verdict in hear(gate, [-30.0] * 10))


def test_a_conversation_does_not_become_the_room() -> None:
    gate = Gate(500, 900)
    for _ in range(20):
        verdicts = hear(gate, syllables(5, -30, -60) + [-68.0] * 150)
        assert sum(v.opened for v in verdicts) == 1
        assert sum(v.closed for v in verdicts) == 1


def test_a_long_speech_is_not_cut() -> None:
    gate = Gate(500, 900)
    hear(gate, [-68.0] * 200)
    verdicts = hear(gate, syllables(28, -30, -60))
    assert sum(v.opened for v in verdicts) == 1
    assert not any(v.closed for v in verdicts)


def test_digital_silence_says_nothing_of_the_room() -> None:
    floor = LevelFloor()
    for _ in range(500):
        floor.step(-40.0, voiced=False)
    for _ in range(500):
        floor.step(-120.0, voiced=False)
    assert floor.dbfs > -42


def test_a_faint_beginning_counts_when_the_word_follows_but_opens_nothing() -> None:
    def began(faint: str) -> int:
        gate = Gate(500, 900)
        verdicts = [
            gate.step(
                Frame(SILENT_FRAME, i * FRAME_MS / 1000),
                voiced=i >= len(faint),
                level_dbfs=LOUD if i >= len(faint) else QUIET,
                faint=i >= len(faint) or faint[i] == "f",
            )
            for i in range(len(faint) + 6)
        ]
        assert [v.talk_started for v in verdicts] == [False] * (len(faint) + 5) + [True]
        assert verdicts[-1].talk_ms == round((len(faint) + 6) * FRAME_MS - verdicts[-1].speech_s * 1000)
        return round(verdicts[-1].speech_s * 1000 / FRAME_MS)

    assert began("." * 40 + "ff") == 40
    assert began("." * 40 + "ff.") == 43, "not when it ended before"
    assert began("." * 40 + "f.f") == 42
    assert began("." * 20 + "f" * 60) == 80 - FAINT_MOST_MS // FRAME_MS


def test_music_that_begins_after_a_long_silence_is_learnt_as_soon_as_after_a_start() -> None:
    background, floor = Background(), LevelFloor()

    def sounds(seconds: int, level_dbfs: float, *, speech: bool, is_open: bool = False) -> None:
        for _ in range(seconds * 50):
            floor.step(level_dbfs, False)
            background.step(level_dbfs, speech, floor, is_open=is_open)

    sounds(60, -68.0, speech=False)
    sounds(8, -45.0, speech=True)
    assert background.bar_dbfs > -45.0
    sounds(60, -68.0, speech=False)
    sounds(5, -30.0, speech=True, is_open=True)
    assert background.bar_dbfs < -60.0, "it is over; whoever speaks now need not be louder"


# ---------------------------------------------------------------- people who talk

ROOM_DBFS, VOICE_DBFS = -66.0, -30.0


class Person:
    """Somebody in a quiet room who says syllables: level and voiced of each frame, and which frames are whose words."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, bool]] = []
        self.said: list[range] = []
        self._random = random.Random(1)
        self.silent(6)

    def silent(self, seconds: float) -> None:
        self.frames += [(ROOM_DBFS, False)] * round(seconds * 1000 / FRAME_MS)

    def says(self, seconds: float, level_dbfs: float = VOICE_DBFS) -> None:
        """One sentence: four syllables a second, of which none is as loud as the one before."""
        first = len(self.frames)
        while len(self.frames) - first < seconds * 1000 / FRAME_MS:
            loud = level_dbfs + self._random.uniform(-4, 2)
            self.frames += [(loud, True)] * 9 + [(level_dbfs - 22, True)] * 3
            # A plosive now and then.
            self.frames += [(ROOM_DBFS + 4, False)] * (7 if self._random.random() < 0.2 else 1)
        self.said.append(range(first, len(self.frames)))

    def talks(self, seconds: float, pause_s: float = 0.3) -> None:
        first = len(self.frames)
        while len(self.frames) - first < seconds * 1000 / FRAME_MS:
            self.says(2.0)
            self.silent(pause_s)

    def through(self, gate: Gate) -> tuple[set[int], list[int]]:
        """(frames that were sent, frames at which talk began)."""
        self.silent(2)
        sent, began = set(), []
        for number, (level, voiced) in enumerate(self.frames):
            verdict = gate.step(Frame(SILENT_FRAME, float(number)), voiced=voiced, level_dbfs=level)
            sent |= {int(each.frame.start_s) for each in verdict.passed if each.speech}
            began += [number] * verdict.talk_started
        return sent, began


@pytest.mark.parametrize("talk_s", [5, 10, 20, 60, 180])
@pytest.mark.parametrize("quiet_s", [0.6, 0.8, 1, 2, 3, 5, 10])
def test_whoever_was_heard_is_heard_again_at_the_same_loudness(talk_s: float, quiet_s: float) -> None:
    person = Person()
    person.talks(talk_s)
    person.silent(quiet_s)
    for _ in range(4):
        person.says(2.0)
        person.silent(2.5)
    gate = Gate(500, 900)
    sent, _ = person.through(gate)
    assert [set(sentence) - sent for sentence in person.said] == [set()] * len(person.said)
    assert not gate.held_back.ms


@pytest.mark.parametrize("pause_s", [0.4, 0.6, 0.8, 1.0, 1.5])
def test_thinking_pauses(pause_s: float) -> None:
    person = Person()
    for _ in range(14):
        person.says(2.5)
        person.silent(pause_s)
    sent, _ = person.through(Gate(500, 900))
    assert [set(sentence) - sent for sentence in person.said] == [set()] * 14


def test_two_minutes_without_a_pause_arrive_whole() -> None:
    person = Person()
    person.says(120)
    sent, _ = person.through(Gate(500, 900))
    assert set(person.said[0]) <= sent


@pytest.mark.parametrize("question_s", [3, 13, 60])
def test_after_a_long_question_the_agent_is_interrupted_as_soon_as_after_a_short_one(question_s: float) -> None:
    person = Person()
    person.says(question_s)
    person.silent(4)
    interrupts = len(person.frames)
    person.says(1.5)
    _, began = person.through(Gate(500, 900))
    assert began[-1] - interrupts <= 200 // FRAME_MS


def test_a_person_in_the_noise_of_a_fan_is_heard_again() -> None:
    person = Person()
    person.talks(20)
    person.silent(2)
    person.talks(10)
    person.frames = [(max(level, VOICE_DBFS - 16), voiced) for level, voiced in person.frames]
    sent, _ = person.through(Gate(500, 900))
    assert [len(set(sentence) - sent) for sentence in person.said] == [0] * len(person.said)


def in_a_hall(frames: list[tuple[float, bool]], reverberation_s: float) -> list[tuple[float, bool]]:
    """What is left of a syllable is 60 dB softer after that time, and sounds like it until it has gone."""
    heard, before_dbfs = [], ROOM_DBFS
    for level, voiced in frames:
        before_dbfs = max(level, before_dbfs - 60 * FRAME_MS / 1000 / reverberation_s)
        heard.append((before_dbfs, voiced or before_dbfs > ROOM_DBFS + 10))
    return heard


@pytest.mark.parametrize("reverberation_s", [0.5, 0.8])
def test_a_person_in_a_hall_is_heard_to_the_end(reverberation_s: float) -> None:
    """The walls fill the pauses between syllables, and the detector takes that for speech, too."""
    person = Person()
    person.talks(90)
    person.silent(3)
    person.talks(45)
    person.frames = in_a_hall(person.frames, reverberation_s)
    sent, _ = person.through(Gate(500, 900))
    assert [len(set(sentence) - sent) for sentence in person.said] == [0] * len(person.said)


@cache
def flite_says(voice: str) -> list[np.ndarray]:
    assert shutil.which("flite"), "flite is missing: scripts/setup test installs it"
    texts = (
        "What I would like to know is when the next train goes to the sea.",
        "It should stop somewhere on the way, so that we can eat.",
        "And then, is there a hotel that takes dogs?",
        "Stop.",
    )
    sounds = []
    with TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            path = Path(folder) / f"{number}.wav"
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
            pcm, rate_hz = read_wav(path)
            resampler = Resampler(rate_hz, 16_000)
            sound = samples_of(resampler.process(pcm) + resampler.flush()).astype(np.float32)
            loud = np.flatnonzero(np.abs(sound) > 0.03 * np.abs(sound).max())
            sounds.append(0.15 * 32768 * sound[loud[0] : loud[-1]] / np.abs(sound).max())
    return sounds


@pytest.mark.parametrize("voice", ["slt", "rms", "awb"])
@pytest.mark.parametrize(("talk_s", "quiet_s"), [(12, 3), (20, 0.8), (60, 2)])
def test_spoken_sentences_are_heard_after_long_talk(voice: str, talk_s: float, quiet_s: float) -> None:
    sounds, rng = flite_says(voice), np.random.default_rng(1)
    pieces: list[np.ndarray] = [np.zeros(16_000 * 6)]
    said: list[tuple[int, int]] = []

    def add(sound: np.ndarray, pause_s: float) -> None:
        at = sum(map(len, pieces))
        said.append((at // 320 + 1, (at + len(sound)) // 320 - 1))
        pieces.extend((sound, np.zeros(round(16_000 * pause_s))))

    number = 0
    while sum(map(len, pieces)) < 16_000 * (6 + talk_s):
        add(sounds[number % 3], 0.3)
        number += 1
    pieces.append(np.zeros(round(16_000 * (quiet_s - 0.3))))
    for number in range(4):
        add(sounds[number], 2.0)
    sound = np.concatenate(pieces)
    sound += rng.standard_normal(len(sound)) * 12
    pcm, detector, measure, gate, sent = to_pcm(sound), Vad(2), VoiceMeasure(), Gate(500, 900), set()
    for number, at in enumerate(range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)):
        frame = Frame(pcm[at : at + FRAME_BYTES], float(number))
        measured, voiced = measure.step(frame), detector.voiced(frame)
        verdict = gate.step(frame, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch)
        sent |= {int(each.frame.start_s) for each in verdict.passed if each.speech}
    assert [len(set(range(*each)) - sent) for each in said] == [0] * len(said)


def test_a_beginning_that_is_long_in_coming_to_a_clear_syllable_is_not_cut() -> None:
    gate = Gate(500, 900)
    rest(gate, 5)
    murmur_frames = ONSET_WINDOW_MS // FRAME_MS + HEAD_MOST_MS // FRAME_MS - 4
    sent: set[int] = set()
    for number in range(100 + murmur_frames + 20):
        voiced = number >= 100
        verdict = gate.step(
            Frame(SILENT_FRAME, float(number)),
            voiced=voiced,
            level_dbfs=-60.0 if not voiced else -30.0 if number >= 100 + murmur_frames else -40.0,
            pitch=0.9 if number >= 100 + murmur_frames else 0.4,
        )
        sent |= {int(each.frame.start_s) for each in verdict.passed if each.speech}
    assert min(sent) == 100 + ONSET_WINDOW_MS // FRAME_MS - 500 // FRAME_MS
    assert not gate.held_back.ms, "all of it went through"


# ---------------------------------------------------------------- and what is no person


def test_music_from_nobody_does_not_hold_it_open_for_ever() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, -70)
    opened_ms = sum(FRAME_MS for _ in hear(gate, syllables(120, -45, -55)) if gate.open)
    assert opened_ms == 0 or not gate.open
    sounding = [gate.open for level in syllables(120, -45, -55) if hear(gate, [level])]
    assert not any(sounding), "it is known now"


def test_a_voice_that_never_ends_closes_it_too_but_later() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, ROOM_DBFS)
    person = Person()
    person.talks(300)
    sent, _ = person.through(gate)
    last_s = max(sent) * FRAME_MS / 1000
    assert 230 < last_s < 260
    assert gate.held_back.total_ms > 30_000


def test_what_came_through_is_learnt_when_it_was_nobody_and_only_then() -> None:
    def bar_after(verdict: str) -> float:
        gate = Gate(500, 900)
        rest(gate, 10, ROOM_DBFS)
        for _ in range(3):
            hear(gate, syllables(8, -35, -64))
            rest(gate, 1.5, ROOM_DBFS)
        getattr(gate, verdict)()
        gate.penalty.trust()
        rest(gate, 1, ROOM_DBFS)
        return gate.bar_dbfs

    assert bar_after("false_wake") > -35
    assert bar_after("understood") < -50


def test_what_an_open_gate_hears() -> None:
    def sounds(levels: list[float]) -> Sounds:
        gate = Gate(500, 900)
        rest(gate, 10, ROOM_DBFS)
        hear(gate, levels)
        assert gate.open
        return gate.background.sounds

    def voice(loud: float, between: float) -> list[float]:
        return ([loud] * 9 + [between] * 12) * 40

    assert sounds(voice(-30, -66)) is Sounds.PERSON
    assert sounds(voice(-50, -66)) is Sounds.PERSON, "softer, but nothing else sounds"
    assert sounds(voice(-30, -55)) is Sounds.VOICE
    assert sounds(voice(-45, -58)) is Sounds.NOISE


def test_the_penalty_never_hides_a_person_who_was_understood() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, ROOM_DBFS)
    hear(gate, syllables(3, -48, ROOM_DBFS))
    rest(gate, 2, ROOM_DBFS)
    gate.understood()
    for _ in range(4):
        gate.woken()
        hear(gate, syllables(1, -20, ROOM_DBFS))
        rest(gate, 30, ROOM_DBFS)
        gate.false_wake()
    assert gate.penalty.times == 4
    assert any(v.opened for v in hear(gate, syllables(1, -48, ROOM_DBFS)))
    rest(gate, UNDERSTOOD_MS / 1000, ROOM_DBFS)
    gate.false_wake()
    assert not any(v.opened for v in hear(gate, syllables(1, -48, ROOM_DBFS))), "that is long ago"


def test_a_voice_held_back_by_the_penalty_is_not_learnt_as_background() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, ROOM_DBFS)
    for _ in range(3):
        hear(gate, syllables(1, -20, ROOM_DBFS))
        rest(gate, 20, ROOM_DBFS)
        gate.false_wake()
    for _ in range(10):
        assert not any(v.opened for v in hear(gate, syllables(2, -50, ROOM_DBFS)))
        rest(gate, 1, ROOM_DBFS)
    gate.penalty.trust()
    assert any(v.opened for v in hear(gate, syllables(1, -50, ROOM_DBFS)))


# ---------------------------------------------------------------- a noise that is known


RATE_HZ = 16_000


def bark(hz: float, times: int = 3) -> np.ndarray:
    """A hoarse, falling tone of a fifth of a second, some times."""
    t = np.arange(RATE_HZ // 5) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(hz * (1.3 - 2.5 * t)) / RATE_HZ
    tone = sum(np.sin(k * phase) / (1 + (k - 3) ** 2) for k in range(1, 12))
    once = (np.asarray(tone) + 0.15 * np.random.default_rng(1).standard_normal(len(t))) * np.sin(np.pi * 5 * t) ** 0.5
    return np.tile(np.concatenate([6000 * once, np.zeros(RATE_HZ // 5)]), times)


class Asleep:
    """A daemon that is asleep, with its microphone in a quiet room; time goes on from sound to sound."""

    def __init__(self) -> None:
        self.gate = Gate(500, 900)
        self._vad, self._measure, self._rng = Vad(2), VoiceMeasure(), np.random.default_rng(3)
        self._frames = 0
        self.hears(np.zeros(5 * RATE_HZ))

    def hears(self, sound: np.ndarray, *, wakes: bool = True) -> list[Verdict]:
        """Three seconds of quiet are heard after it. The sound lies elsewhere between the frames each time."""
        quiet = np.zeros(int(self._rng.integers(320)))
        whole = np.concatenate([quiet, sound, np.zeros(3 * RATE_HZ)])
        pcm = to_pcm(whole + 12 * self._rng.standard_normal(len(whole)))
        verdicts = []
        for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = Frame(pcm[at : at + FRAME_BYTES], float(self._frames))
            self._frames += 1
            voiced = self._vad.voiced(frame)
            measured = self._measure.step(frame, voiced=voiced)
            verdict = self.gate.step(
                frame,
                voiced=voiced,
                level_dbfs=measured.level_dbfs,
                pitch=measured.pitch,
                power=self._measure.power,
                wakes=wakes,
            )
            if verdict.talk_started and wakes:
                self.gate.woken()
            verdicts.append(verdict)
        return verdicts

    def wakes_for_nothing(self, sound: np.ndarray) -> bool:
        woke = opened(self.hears(sound))
        if woke:
            self.gate.false_wake()
        return woke


def opened(verdicts: list[Verdict]) -> bool:
    return any(v.opened for v in verdicts)


def test_the_same_bark_wakes_it_once_or_twice_and_a_voice_in_between_wakes_it() -> None:
    asleep = Asleep()
    woke = [asleep.wakes_for_nothing(bark(300)) for _ in range(6)]
    assert woke[0]
    assert sum(woke) <= 2
    assert asleep.gate.held_back.ms[Why.KNOWN_NOISE] > 0
    assert set(asleep.gate.held_back.ms) == {Why.KNOWN_NOISE}
    for sentence in flite_says("slt")[:3]:
        assert opened(asleep.hears(sentence))
        asleep.gate.understood()
        assert not opened(asleep.hears(bark(300)))
    assert opened(asleep.hears(bark(430))), "another dog"


def test_a_noise_is_known_only_where_it_would_wake_the_daemon() -> None:
    """In a conversation whatever sounds goes up, for there it costs nothing more."""
    asleep = Asleep()
    while asleep.wakes_for_nothing(bark(300)):
        pass
    assert opened(asleep.hears(bark(300), wakes=False))


def test_what_a_known_noise_held_back_is_counted_to_the_frame() -> None:
    """All of it has left the gate unsent, with that reason, and each bark is one time."""
    asleep = Asleep()
    while asleep.wakes_for_nothing(bark(300)):
        pass
    asleep.gate.held_back = HeldBack()
    verdicts = asleep.hears(bark(300))
    lost = [p for v in verdicts for p in v.passed if p.held_back]
    assert {p.held_back for p in lost} == {Why.KNOWN_NOISE}
    assert asleep.gate.held_back.ms == {Why.KNOWN_NOISE: len(lost) * FRAME_MS}
    assert len(lost) * FRAME_MS >= 3 * 120
    assert asleep.gate.held_back.times == {Why.KNOWN_NOISE: 1}


def test_who_speaks_into_a_known_noise_is_sent_from_the_beginning() -> None:
    asleep = Asleep()
    while asleep.wakes_for_nothing(bark(300)):
        pass
    sentence = flite_says("slt")[0]
    both = np.zeros(len(sentence) + RATE_HZ)
    both[: len(bark(300))] = bark(300)
    begins = RATE_HZ // 2
    both[begins : begins + len(sentence)] += sentence
    first = asleep._frames
    verdicts = asleep.hears(both)
    assert opened(verdicts)
    sent = [int(p.frame.start_s) for v in verdicts for p in v.passed if p.speech]
    assert sent[0] <= first + begins // 320 + 2


# ---------------------------------------------------------------- what is held back


def test_sound_held_back_by_the_penalty_is_counted_to_the_frame() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, ROOM_DBFS)
    for _ in range(3):
        hear(gate, syllables(1, -20, ROOM_DBFS))
        rest(gate, 2, ROOM_DBFS)
        gate.false_wake()
    assert not gate.held_back.ms
    hear(gate, [-50.0] * 20)
    rest(gate, 2, ROOM_DBFS)
    hear(gate, [-50.0] * 10)
    rest(gate, 2, ROOM_DBFS)
    assert gate.held_back.ms == {Why.PENALTY: 30 * FRAME_MS}
    assert gate.held_back.times == {Why.PENALTY: 2}
    assert gate.held_back.lately_ms() == {Why.PENALTY: 30 * FRAME_MS}


def test_sound_held_back_by_the_background_is_counted() -> None:
    gate = Gate(500, 900)
    rest(gate, 10, -70)
    hear(gate, syllables(60, -45, -55))
    before_ms = gate.held_back.total_ms
    levels = syllables(10, -45, -55)
    hear(gate, levels)
    assert set(gate.held_back.ms) <= {Why.BACKGROUND, Why.TOO_LONG}
    assert gate.held_back.total_ms - before_ms == levels.count(-45) * FRAME_MS


def test_a_whisper_is_counted_as_one() -> None:
    gate = Gate(500, 900)
    rest(gate, 5, ROOM_DBFS)
    hear(gate, [-40.0] * 40, pitch=0.3)
    rest(gate, 2, ROOM_DBFS)
    assert gate.held_back.ms == {Why.NO_PITCH: 40 * FRAME_MS}
    assert gate.held_back.times == {Why.NO_PITCH: 1}


def test_what_is_sent_and_what_is_no_speech_is_not_counted() -> None:
    gate = Gate(500, 900)
    rest(gate, 5, ROOM_DBFS)
    for _ in range(5):
        hear(gate, syllables(2, -40, -64))
        rest(gate, 2, ROOM_DBFS)
        hear(gate, [-40.0] * 3)
        rest(gate, 2, ROOM_DBFS)
    assert not gate.held_back.ms


def test_a_minute_of_the_last_hour_is_forgotten_after_it() -> None:
    held = HeldBack()
    for _ in range(10):
        held.step([Why.PENALTY])
    for _ in range(ONE_TIME_MS // FRAME_MS):
        held.step([None])
    held.step([Why.NO_PITCH])
    assert held.times == {Why.PENALTY: 1, Why.NO_PITCH: 1}
    for _ in range(61 * 60 * 50):
        held.step(())
    assert held.lately_ms() == {}
    assert held.ms == {Why.PENALTY: 200, Why.NO_PITCH: 20}


def test_the_news_of_it_are_bounded_and_add_up() -> None:
    held, news = HeldBack(), HeldBackReports()
    told = []
    for number in range(3 * 60 * 60 * 50):
        held.step([Why.BACKGROUND if number < 2 * 60 * 60 * 50 else None])
        if one := news.step(held):
            told.append(one)
    assert [each.minutes for each in told[:6]] == [1, 2, 4, 8, 16, 16]
    assert len(told) < 15
    assert sum(each.held_ms["background"] for each in told) == held.total_ms == told[-1].total_ms


def test_reasons_in_words() -> None:
    assert in_words({"doubt": 200, "background": 3000}) == (
        "3.0 s no louder than the other sounds of the room, 0.2 s too soft during the penalty after false wakes"
    )


# ---------------------------------------------------------------- what the log says of penalty


def test_the_log_says_how_loud_a_voice_has_to_be_and_whether_that_keeps_the_same_noise_out() -> None:
    def told(loud_dbfs: float, times: int) -> tuple[str, bool]:
        """Without a spectrum, so that no noise is known."""
        gate = Gate(500, 900)
        rest(gate, 10, ROOM_DBFS)
        for _ in range(times):
            gate.woken()
            hear(gate, [loud_dbfs] * 20)
            rest(gate, 3, ROOM_DBFS)
            gate.false_wake()
            words = penalty_in_words(gate)
        return words, any(v.opened for v in hear(gate, [loud_dbfs] * 20))

    words, wakes = told(-61.0, 1)
    assert "that is louder than the sound that woke it" in words
    assert not wakes
    words, wakes = told(-20.0, 5)
    assert words.startswith("false wake (5 in a row): for 16 min a voice has to reach ")
    assert words.endswith("; the sound that woke it reached -20 dBFS, so the same can wake it again")
    assert wakes


def test_the_log_says_that_a_noise_is_known_only_if_it_is() -> None:
    asleep = Asleep()
    assert asleep.wakes_for_nothing(bark(300))
    words = penalty_in_words(asleep.gate)
    assert words.endswith(" dBFS, but it is known now, and what sounds the same will be held back")
    # Nothing has woken it: the session was opened by a button, say.
    asleep.hears(bark(430), wakes=False)
    asleep.gate.false_wake()
    assert penalty_in_words(asleep.gate).endswith("so the same can wake it again")
