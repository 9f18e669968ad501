"""The judge of the gate: what of people it sends, and what noise costs, in one table. Offline; about three minutes.

    nice .venv/bin/python benchmarks/people_and_noise.py --half tune [--long] [--json FILE] [--only WORD ...]
        [--vad silero] [--aggressiveness N] [--bare] [--no-known-noises] [--seed N] [--jobs N]

Every scene is heard by the daemon's own way of a frame (measure, detector, gate, pre-roll), with its rules for
sessions: who is understood keeps a session for `session.idle_timeout_s` of quiet, a wake of which the agent understood
nothing ends after `session.false_wake_s` and is told to the gate. All that knows the gate's interface is in `Daemon`.

Which half: constants of the gate may be chosen by what `--half tune` prints. NO CONSTANT MAY BE CHOSEN ON
`--half judge`: it is there to tell whether what was chosen holds for other people, languages, animals, music and rooms.
The sources of the halves are listed in recordings.py; none is in both. The table says which half it is.

People (a quiet room unless something else is said; −30 dBFS with ±3 dB between utterances, if not soft). Columns:

lost     utterances of whose speech more than half was not sent
heads    utterances that were sent, but whose beginning misses more than 40 ms; the worst of them, in ms
holes    utterances that were sent, but miss more than 60 ms of speech after their beginning
missing  share of all speech that was not sent
late     interruptions more than 400 ms after the speech began; or never
held     utterances of which a part was not sent because it was taken for a noise that is known

Noise: how often it wakes the daemon, minutes of session, both per hour, and the share of the time in which the gate was
open: what would be sent. Then people speak in that noise, as it goes on: what penalty and background cost them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import recordings
from gate_in_noise import Bare
from recordings import WORD_MOST_S, Half
from rooms import RATE_HZ, Sound, at_level, babble, coloured, levels_db, television

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Detector, detector
from parleyd.audio.gate.why_held_back import Why
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, Frame, to_pcm
from parleyd.config.schema import Gate as GateSection
from parleyd.config.schema import Session
from parleyd.core.errors import UserError

GATE, SESSION = GateSection(), Session()

SPEECH_DB = -30.0
EVENT_DB = -26.0
# A soft voice is heard so far over the noise of room and microphone.
SOFT_OVER_DB = 22.0
SPREAD_DB = 3.0
HEAD_MS, HOLE_MS, LATE_MS = 40, 60, 400
# A sentence's speech: what is no more than this below its usual level, and pauses in it up to this length.
SAID_RANGE_DB = 22.0
SAID_PAUSE_MS = 300
# What the agent needs of somebody's speech to make words of it; how long it waits, and how long it answers.
UNDERSTOOD_MS = 300
TURN_MS, THINKS_MS, ANSWER_MS = 700, 600, 3000
# An agent that is interrupted falls silent so soon.
CUT_MS = 300

TALKS_S = (5, 10, 20, 60, 180)
QUIETS_S = (0.6, 0.8, 1.0, 2.0, 3.0, 5.0, 10.0)
THINKING_S = (0.6, 0.8, 1.0)
RATIOS_DB = (20, 10, 5)
# How the same noise comes again.
AGAIN = ("byte for byte", "louder and softer", "over a floor", "a little different")
FLOOR_DB = -52.0

Flags = npt.NDArray[np.bool_]
Phrase = tuple[str, Sound]


# ---------------------------------------------------------------- the daemon's way of a frame


@dataclass(frozen=True)
class Contender:
    """bare: the detector alone with the gate's onset, pre-roll and hangover. knows_noises: what woke for nothing is
    held back when it comes again; False: as it was before that."""

    vad: Literal["webrtcvad", "silero"] = "webrtcvad"
    aggressiveness: int = GATE.aggressiveness
    bare: bool = False
    knows_noises: bool = True

    @property
    def name(self) -> str:
        with_what = "silero" if self.vad == "silero" else f"webrtcvad {self.aggressiveness}"
        if self.bare:
            return f"{with_what} alone"
        return f"the gate, {with_what}" + ("" if self.knows_noises else ", no noise is known")


@dataclass(frozen=True, slots=True)
class Told:
    """What one frame led to. passed: frames, and whether they were sent. known: frames that were not, as they belong to
    a noise that is known."""

    passed: Sequence[tuple[int, bool]]
    open: bool
    opened: bool = False
    talk_started: bool = False
    talk_stopped: bool = False
    known: Sequence[int] = ()


class Daemon:
    """As ears.py does it. THE ONE PLACE that knows the interface of measure, detector, gate and what it is told."""

    def __init__(self, contender: Contender) -> None:
        self._detector: Detector = detector(contender.vad, contender.aggressiveness)
        self._measure = VoiceMeasure()
        self._gate = Gate(GATE.pre_roll_ms, GATE.hangover_ms)
        self._knows_noises = contender.knows_noises

    def step(self, frame: Frame, number: int, world: World) -> Told:
        voiced = self._detector.voiced(frame)
        measured = self._measure.step(frame, voiced=voiced)
        verdict = self._gate.step(
            Frame(frame.pcm, float(number)),
            voiced=voiced,
            level_dbfs=measured.level_dbfs,
            pitch=measured.pitch,
            power=self._measure.power if self._knows_noises else None,
            wakes=not world.live,
        )
        if verdict.talk_started and not world.live:
            self._gate.woken()
        return Told(
            [(int(each.frame.start_s), each.speech) for each in verdict.passed],
            self._gate.open,
            verdict.opened,
            verdict.talk_started,
            verdict.talk_stopped,
            [int(each.frame.start_s) for each in verdict.passed if each.held_back is Why.KNOWN_NOISE],
        )

    def false_wake(self) -> None:
        self._gate.false_wake()

    def understood(self) -> None:
        """Whenever the agent has understood somebody."""
        self._gate.understood()


class BareDaemon(Daemon):
    def __init__(self, contender: Contender) -> None:
        super().__init__(contender)
        self._bare = Bare()

    def step(self, frame: Frame, number: int, world: World) -> Told:
        was_open = self._bare.open
        opened = self._bare.step(self._detector.voiced(frame))
        first = max(0, number - GATE.pre_roll_ms // FRAME_MS) if opened else number
        passed = [(each, True) for each in range(first, number + 1)] if self._bare.open else [(number, False)]
        return Told(passed, self._bare.open, opened, opened, was_open and not self._bare.open)

    def false_wake(self) -> None:
        pass

    def understood(self) -> None:
        pass


class World:
    """The supervisor's rules, as far as they matter here, and an agent that understands what `words` marks.

    Its answer is not heard by the microphone. answer_ms: how long it speaks, if nobody interrupts it.
    """

    def __init__(self, words: Flags, answer_ms: int) -> None:
        self.live = False
        self.sessions = 0
        self.understood = False
        self.has_words = False  # the agent understood somebody with this frame
        self._words = words
        self._answer_ms = answer_ms
        self._talk = False
        self._heard_ms = 0
        self._quiet_ms = 0  # since anybody did something
        self._silent_ms = 0  # since the person spoke
        self._answer_in_ms: int | None = None
        self._speaks_ms = 0

    def step(self, number: int, told: Told) -> bool | None:
        """One frame; when a session ends with it: whether anything was understood in it."""
        self._talk = (self._talk or told.talk_started) and not told.talk_stopped
        self.has_words = False
        if told.talk_started and not self.live:
            self.live, self.understood = True, False
            self.sessions += 1
            self._heard_ms, self._answer_in_ms, self._speaks_ms = 0, None, 0
        if not self.live:
            return None
        self._converse(told, words=told.open and bool(self._words[number]))
        busy = self._talk or self._speaks_ms > 0
        self._quiet_ms = 0 if busy else self._quiet_ms + FRAME_MS
        patience_s = SESSION.idle_timeout_s if self.understood else min(SESSION.false_wake_s, SESSION.idle_timeout_s)
        if busy or self._quiet_ms < patience_s * 1000:
            return None
        self.live = False
        return self.understood

    def _converse(self, told: Told, *, words: bool) -> None:
        self._heard_ms += FRAME_MS * words
        self._silent_ms = 0 if words else self._silent_ms + FRAME_MS
        if told.talk_started and self._speaks_ms:
            self._speaks_ms = min(self._speaks_ms, CUT_MS)
        self._speaks_ms = max(0, self._speaks_ms - FRAME_MS)
        if self._heard_ms >= UNDERSTOOD_MS and self._silent_ms >= TURN_MS:
            self.understood = self.has_words = True
            self._heard_ms, self._answer_in_ms = 0, THINKS_MS
        if self._answer_in_ms is not None:
            self._answer_in_ms -= FRAME_MS
            if self._answer_in_ms <= 0:
                self._answer_in_ms, self._speaks_ms = None, self._answer_ms


@dataclass(frozen=True)
class Heard:
    """passed, live, open, held (as a known noise): for every frame. starts, wakes: frames at which talk, sessions
    began. false_wakes: false wakes."""

    passed: Flags
    live: Flags
    open: Flags
    held: Flags
    starts: tuple[int, ...]
    wakes: tuple[int, ...]
    false_wakes: tuple[int, ...]


def hear(sound: Sound, words: Flags, contender: Contender, answer_ms: int = ANSWER_MS) -> Heard:
    """What becomes of a scene. words: the frames in which somebody speaks whom the agent can understand."""
    pcm = to_pcm(sound * 32768)
    count = len(pcm) // FRAME_BYTES
    daemon = BareDaemon(contender) if contender.bare else Daemon(contender)
    world = World(words, answer_ms)
    passed, live, is_open, held = (np.zeros(count, bool) for _ in range(4))
    starts, wakes, false_wakes = [], [], []
    for number in range(count):
        frame = Frame(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES], number * FRAME_MS / 1000)
        told = daemon.step(frame, number, world)
        for each, speech in told.passed:
            passed[each] |= speech
        held[list(told.known)] = True
        if told.talk_started:
            starts.append(number)
            if not world.live:
                wakes.append(number)
        ended = world.step(number, told)
        if ended is False:
            false_wakes.append(number)
            daemon.false_wake()
        elif world.has_words:
            daemon.understood()
        live[number], is_open[number] = world.live, told.open
    return Heard(passed, live, is_open, held, tuple(starts), tuple(wakes), tuple(false_wakes))


# ---------------------------------------------------------------- rooms, voices, takes


@dataclass(frozen=True)
class Place:
    """A room and the microphone in it. reverberation_s: until 60 dB less; direct_db: direct over reverberant sound;
    noise: the exponent of its colour, its level, and that of a hum of 100 Hz."""

    name: str
    reverberation_s: float
    direct_db: float
    noise_exponent: float
    noise_db: float
    hum_db: float | None

    def heard(self, sound: Sound) -> Sound:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        decay = np.exp(-np.arange(round(self.reverberation_s * RATE_HZ)) * 6.9 / (self.reverberation_s * RATE_HZ))
        response = rng.standard_normal(len(decay)) * decay
        response *= 10 ** (-self.direct_db / 20) / np.sqrt(np.sum(response**2))
        response[0] = 1.0
        response /= np.sqrt(np.sum(response**2))
        out = np.zeros(len(sound) + len(response), np.float32)
        # Block by block: a transform over an hour would take gigabytes.
        block = 1 << 18
        size = block + (1 << len(response).bit_length())
        transfer = np.fft.rfft(response, size)
        for at in range(0, len(sound), block):
            piece = np.fft.irfft(np.fft.rfft(sound[at : at + block], size) * transfer, size).astype(np.float32)
            piece = piece[: len(out) - at]
            out[at : at + len(piece)] += piece
        return out[: len(sound)]

    def noise(self, samples: int, rng: np.random.Generator, level_db: float | None = None) -> Sound:
        level_db = self.noise_db if level_db is None else level_db
        out = at_level(coloured(samples, self.noise_exponent, rng), level_db)
        if self.hum_db is not None:
            hum = np.sin(2 * np.pi * 100 / RATE_HZ * np.arange(samples)) * 10 ** ((self.hum_db + 3) / 20)
            out = (out + hum * 10 ** ((level_db - self.noise_db) / 20)).astype(np.float32)
        return out


PLACES: dict[Half, tuple[Place, ...]] = {
    "tune": (Place("living room", 0.3, 6, 0.5, -66, None), Place("kitchen", 0.6, 2, 1.0, -62, -64)),
    "judge": (Place("office", 0.45, 4, 0.0, -68, None), Place("hall", 0.8, 0, 0.7, -64, -62)),
}


@dataclass(frozen=True)
class Voice:
    name: str
    words: tuple[Sound, ...]
    sentences: tuple[Sound, ...]


@dataclass(frozen=True)
class Spoken:
    """From, to, in frames, and in which row it counts."""

    first: int
    last: int
    group: str
    interrupts: bool = False


@dataclass(frozen=True)
class Scene:
    """said: frames with a person's speech. words: frames that the agent understands, a person's or others'.
    alone: from, to, in frames: nobody speaks to us; that costs what `costs` names."""

    name: str
    sound: Sound
    said: Flags
    words: Flags
    spoken: tuple[Spoken, ...]
    alone: tuple[int, int] = (0, 0)
    answer_ms: int = ANSWER_MS


class Take:
    """A scene in the making: one track of persons; noise is mixed in at the end."""

    def __init__(self, place: Place, rng: np.random.Generator, quiet_s: float = 8.0) -> None:
        self.place = place
        self.rng = rng
        self._pieces: list[Sound] = []
        self._said: list[Flags] = []
        self.frames = 0
        self.spoken: list[Spoken] = []
        self.quiet(quiet_s)

    def quiet(self, seconds: float) -> None:
        self._add(np.zeros(round(seconds * 1000 / FRAME_MS) * FRAME_SAMPLES, np.float32))

    def says(self, phrase: Sound, group: str, level_db: float = SPEECH_DB, *, interrupts: bool = False) -> None:
        loud = at_level(phrase, level_db + self.rng.uniform(-SPREAD_DB, SPREAD_DB))
        loud = np.concatenate([loud, np.zeros(-len(loud) % FRAME_SAMPLES, np.float32)])
        first = self.frames
        self._add(loud, speech_in(loud))
        self.spoken.append(Spoken(first, self.frames, group, interrupts))

    def talks(self, voice: Voice, seconds: float, group: str, pause_s: tuple[float, float] = (0.15, 0.45)) -> None:
        """Sentence after sentence, without a pause in which the gate would close."""
        until = self.frames + seconds * 1000 / FRAME_MS
        while self.frames < until:
            self.says(pick(unbroken(voice), self.rng), group)
            self.quiet(self.rng.uniform(*pause_s))

    def _add(self, sound: Sound, said: Flags | None = None) -> None:
        frames = len(sound) // FRAME_SAMPLES
        self._pieces.append(sound)
        self._said.append(np.zeros(frames, bool) if said is None else said)
        self.frames += frames

    def scene(
        self,
        name: str,
        *,
        noise: Sound | None = None,
        room_db: float | None = None,
        alone: tuple[int, int] = (0, 0),
        understood: Flags | None = None,
        answer_ms: int = ANSWER_MS,
    ) -> Scene:
        """noise: heard already, as long as the take. room_db: of the microphone's noise."""
        track = self.place.heard(np.concatenate(self._pieces))
        sound = track + self.place.noise(len(track), self.rng, room_db)
        if noise is not None:
            sound = sound + noise[: len(sound)]
        said = np.concatenate(self._said)
        words = said if understood is None else said | understood[: len(said)]
        return Scene(name, sound.astype(np.float32), said, words, tuple(self.spoken), alone, answer_ms)


def speech_in(sound: Sound) -> Flags:
    levels = levels_db(sound)
    loud = levels > levels.max() - 20
    usual = 10 * np.log10(np.mean(10 ** (levels[loud] / 10)))
    said: Flags = levels > usual - SAID_RANGE_DB
    where = np.flatnonzero(said)
    for before, after in pairwise(where.tolist()):
        if after - before <= SAID_PAUSE_MS // FRAME_MS:
            said[before:after] = True
    return said


def longest_pause_ms(sound: Sound) -> int:
    where = np.flatnonzero(speech_in(sound))
    return int(np.diff(where).max(initial=0)) * FRAME_MS


def unbroken(voice: Voice) -> tuple[Sound, ...]:
    """Sentences without a pause near the hangover's length."""
    return tuple(each for each in voice.sentences if longest_pause_ms(each) < GATE.hangover_ms - 400) or voice.sentences


def pick(sounds: Sequence[Sound], rng: np.random.Generator) -> Sound:
    return sounds[int(rng.integers(len(sounds)))]


class Cast:
    """The sources of one half."""

    def __init__(self, half: Half) -> None:
        self.half = half
        self.places = PLACES[half]
        self.voices = []
        for name, phrases in recordings.load(half, "voice").items():
            sounds = [sound for _, sound in phrases]
            words = tuple(each for each in sounds if len(each) < WORD_MOST_S * RATE_HZ)
            sentences = tuple(each for each in sounds if len(each) >= WORD_MOST_S * RATE_HZ)
            self.voices.append(Voice(name, words, sentences))
        self.music = recordings.load(half, "music")
        self.events = [
            (f"{source}: {name}", sound)
            for source, sounds in recordings.load(half, "event").items()
            for name, sound in sounds
        ]
        self.ambiences = [each for sounds in recordings.load(half, "ambience").values() for each in sounds]

    @property
    def speakers(self) -> list[Voice]:
        """Who has sentences enough for a talk."""
        return [each for each in self.voices if len(each.sentences) >= 12]

    @property
    def word_speakers(self) -> list[Voice]:
        return [each for each in self.voices if len(each.words) >= 8]

    def others(self, but: Sequence[Voice]) -> list[Sound]:
        """Sentences of people who do not speak to us in this scene."""
        names = {each.name for each in but}
        return [sound for each in self.speakers if each.name not in names for sound in each.sentences]

    def played(self, samples: int, rng: np.random.Generator, names: Sequence[str] = ()) -> Sound:
        """All pieces of music, or those of some, in a shuffled order, equally loud, again and again."""
        pieces = [sound for name, sounds in self.music.items() if not names or name in names for _, sound in sounds]
        out: list[Sound] = []
        got = 0
        while got < samples:
            for number in rng.permutation(len(pieces)):
                out.append(at_level(pieces[int(number)], -20.0))
                got += len(out[-1])
                if got >= samples:
                    break
        return np.concatenate(out)[:samples]


# ---------------------------------------------------------------- noises that go on


def fan(samples: int, rng: np.random.Generator) -> Sound:
    """A fan: dull noise, the blades' tone and its overtones, both swaying a little."""
    t = np.arange(samples) / RATE_HZ
    sway = 1 + 0.15 * np.sin(2 * np.pi * 0.23 * t + rng.uniform(0, 6))
    tone = sum(np.sin(2 * np.pi * k * 87 * t + rng.uniform(0, 6)) / k for k in range(1, 6))
    dull = coloured(samples, 1.6, rng)
    out: Sound = ((dull / dull.std() + 0.35 * np.asarray(tone)) * sway).astype(np.float32)
    return out


def rain(samples: int, rng: np.random.Generator) -> Sound:
    """Rain on a roof: bright noise, and drops that stand out of it, thirty in a second."""
    out = coloured(samples, 0.3, rng)
    out *= 0.3 / out.std()
    for at in rng.integers(0, max(1, samples - 400), samples * 30 // RATE_HZ):
        decay = np.exp(-np.arange(320) / rng.uniform(20, 80))
        out[at : at + 320] += (rng.uniform(0.2, 2) * decay * rng.standard_normal(320)).astype(np.float32)
    return out


def siren(samples: int, rng: np.random.Generator) -> Sound:
    """Ten seconds of a siren in two tones, a minute without it."""
    t = np.arange(samples) / RATE_HZ
    high = (t // 0.6).astype(int) % 2 == 1
    phase = 2 * np.pi * np.cumsum(np.where(high, 585.0, 435.0)) / RATE_HZ
    wave = sum(np.sin(k * phase) / k for k in range(1, 5))
    swell = np.clip(np.sin(np.pi * np.clip((t % 70) / 10, 0, 1)), 0, 1)
    out: Sound = (np.asarray(wave) * swell + 1e-4 * rng.standard_normal(samples)).astype(np.float32)
    return out


def looped(sounds: Sequence[Phrase], samples: int, rng: np.random.Generator) -> Sound:
    """Ambiences one after the other, half a minute each, their ends overlapping by a fifth of a second."""
    out = np.zeros(samples + 40 * RATE_HZ, np.float32)
    fade = RATE_HZ // 5
    at = 0
    while at < samples:
        sound = at_level(sounds[int(rng.integers(len(sounds)))][1], -20.0)
        ramp = np.minimum(1, np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / fade)
        until = at + 30 * RATE_HZ
        while at < until:
            out[at : at + len(sound)] += (sound * ramp).astype(np.float32)[: len(out) - at]
            at += max(fade, len(sound) - fade)
    return out[:samples]


NOISES = ("pink", "fan", "rain", "machines", "music", "television", "babble")


def noise_of(kind: str, samples: int, cast: Cast, but: Sequence[Voice], rng: np.random.Generator) -> Sound | None:
    """Dry, at any level; None where nothing is installed that could make it."""
    if kind == "pink":
        return coloured(samples, 1.0, rng)
    if kind in ("fan", "rain", "siren"):
        return {"fan": fan, "rain": rain, "siren": siren}[kind](samples, rng)
    if kind == "machines":
        return looped(cast.ambiences, samples, rng) if cast.ambiences else None
    if kind == "music":
        return cast.played(samples, rng) if cast.music else None
    if kind in cast.music:
        return cast.played(samples, rng, (kind,))
    others = cast.others(but)
    if not others:
        return None
    return (television if kind == "television" else babble)(samples, others, rng)


# ---------------------------------------------------------------- the scenes


Maker = Callable[[Cast, np.random.Generator], Scene | None]


def scenes(cast: Cast, *, long: bool) -> Iterator[tuple[str, Maker]]:
    """Every scene's name and who makes it; the name seeds it, so that each is the same whichever others there are."""
    speakers, places = cast.speakers, cast.places
    times = 3 if long else 1
    for round_ in range(times):
        for row, talk_s in enumerate(TALKS_S):
            for column, quiet_s in enumerate(QUIETS_S):
                number = round_ * 11 + row * len(QUIETS_S) + column
                voice, place = speakers[number % len(speakers)], places[number % len(places)]
                name = f"talk {talk_s} s, quiet {quiet_s:g} s, {round_}"
                yield name, partial(_after_talk, voice, place, talk_s, quiet_s)
    for number, voice in enumerate(speakers if long else speakers[::3]):
        place = places[number % len(places)]
        yield f"without a pause, {voice.name}", partial(_without_pause, voice, place)
        for pause_s in THINKING_S:
            yield f"thinking {pause_s:g} s, {voice.name}", partial(_thinking, voice, place, pause_s)
        for question_s in (3, 13):
            yield f"interrupting {question_s} s, {voice.name}", partial(_interrupting, voice, place, question_s)
    for number, voice in enumerate(cast.voices if long else cast.voices[::2]):
        yield f"words, {voice.name}", partial(_words, voice, places[number % len(places)], SPEECH_DB, None, 14)
    for level_db in (-46, -52, -56):
        for number, voice in enumerate(cast.voices if long else cast.voices[1::4]):
            place = places[number % len(places)]
            yield f"soft {level_db}, {voice.name}", partial(_words, voice, place, level_db, level_db - SOFT_OVER_DB, 10)
    for round_ in range(times):
        for kind in NOISES:
            for ratio_db in RATIOS_DB:
                yield f"in {kind} {ratio_db} dB, {round_}", partial(_in_noise, kind, ratio_db)
    minutes = 60.0 if long else 12.0
    for kind in (*cast.music, "television", "television understood", "babble", "machines", "siren"):
        for ratio_db in (20, 10):
            yield f"cost {kind} {ratio_db} dB", partial(_cost, kind, ratio_db, minutes)
    for number, (name, sound) in enumerate(cast.events):
        for variant, how in enumerate(AGAIN):
            if long or (number % 3 == 0 and number // 3 % len(AGAIN) == variant):
                yield f"again {how}: {name}", partial(_again, sound, how, 6.0 if long else 3.0)
    for number, voice in enumerate(cast.voices if long else cast.voices[::2]):
        yield f"misjudged {voice.name}", partial(_misjudged, voice, places[number % len(places)])


def _after_talk(
    voice: Voice, place: Place, talk_s: float, quiet_s: float, _cast: Cast, rng: np.random.Generator
) -> Scene:
    take = Take(place, rng)
    take.talks(voice, talk_s, f"talk itself, {talk_s} s")
    take.quiet(quiet_s)
    for number in range(4):
        take.says(pick(voice.sentences, rng), f"after {talk_s} s of talk|{quiet_s:g}")
        take.quiet(rng.uniform(1.5, 3.0) if number < 3 else 2.0)
    return take.scene("")


def _without_pause(voice: Voice, place: Place, _cast: Cast, rng: np.random.Generator) -> Scene:
    take = Take(place, rng)
    take.talks(voice, 120, "120 s without a pause", (0.1, 0.5))
    take.quiet(2)
    return take.scene("")


def _thinking(voice: Voice, place: Place, pause_s: float, _cast: Cast, rng: np.random.Generator) -> Scene:
    take = Take(place, rng)
    for _ in range(14):
        take.says(pick(unbroken(voice), rng), f"thinking pauses of {pause_s:g} s")
        take.quiet(pause_s)
    return take.scene("")


def _interrupting(voice: Voice, place: Place, question_s: int, _cast: Cast, rng: np.random.Generator) -> Scene:
    """Three questions; each answer is interrupted in its second second."""
    take = Take(place, rng)
    for _ in range(3):
        take.talks(voice, question_s, f"a question of {question_s} s")
        take.quiet((TURN_MS + THINKS_MS) / 1000 + rng.uniform(1, 2))
        take.says(pick(voice.sentences, rng), f"interrupting after {question_s} s", interrupts=True)
        take.quiet(rng.uniform(5, 9))
    return take.scene("", answer_ms=12_000)


def _words(
    voice: Voice,
    place: Place,
    level_db: float,
    room_db: float | None,
    count: int,
    _cast: Cast,
    rng: np.random.Generator,
) -> Scene:
    take = Take(place, rng)
    for number in range(count):
        sounds = voice.words if (number % 2 and voice.words) or not voice.sentences else voice.sentences
        kind = "words" if sounds is voice.words else "sentences"
        take.says(pick(sounds, rng), kind if room_db is None else f"soft, {level_db:g} dBFS", level_db)
        take.quiet(rng.uniform(2, 5))
    return take.scene("", room_db=room_db)


def _speaks(take: Take, voices: Sequence[Voice], count: int, group: str) -> None:
    for number in range(count):
        voice = voices[number * len(voices) // count]
        take.says(pick(voice.words if number % 3 == 2 and voice.words else voice.sentences, take.rng), group)
        take.quiet(take.rng.uniform(2, 5))


def _some(cast: Cast, count: int, rng: np.random.Generator) -> list[Voice]:
    return [cast.speakers[int(number)] for number in rng.permutation(len(cast.speakers))[:count]]


def _in_noise(kind: str, ratio_db: int, cast: Cast, rng: np.random.Generator) -> Scene | None:
    """A minute of the noise, then two people speak in it."""
    take = Take(cast.places[int(rng.integers(len(cast.places)))], rng, quiet_s=20)
    begins = take.frames * FRAME_SAMPLES
    take.quiet(60)
    voices = _some(cast, 2, rng)
    _speaks(take, voices, 14, f"in {kind}, {ratio_db} dB")
    noise = _under(take, kind, ratio_db, begins, cast, voices, rng)
    return None if noise is None else take.scene("", noise=noise)


def _under(
    take: Take, kind: str, ratio_db: float, begins: int, cast: Cast, voices: Sequence[Voice], rng: np.random.Generator
) -> Sound | None:
    samples = take.frames * FRAME_SAMPLES
    dry = noise_of(kind, samples - begins, cast, voices, rng)
    if dry is None:
        return None
    out = np.zeros(samples, np.float32)
    out[begins:] = at_level(take.place.heard(dry), SPEECH_DB - ratio_db)
    return out


def _cost(kind: str, ratio_db: int, minutes: float, cast: Cast, rng: np.random.Generator) -> Scene | None:
    """The noise alone for long, and then people speak in it."""
    take = Take(cast.places[int(rng.integers(len(cast.places)))], rng, quiet_s=60)
    first = take.frames
    take.quiet(minutes * 60)
    last = take.frames
    voices = _some(cast, 2, rng)
    _speaks(take, voices, 8, f"after long {kind}, {ratio_db} dB")
    noise = _under(take, kind.removesuffix(" understood"), ratio_db, first * FRAME_SAMPLES, cast, voices, rng)
    if noise is None:
        return None
    understood = levels_db(noise) > SPEECH_DB - ratio_db - 15 if kind.endswith("understood") else None
    return take.scene("", noise=noise, alone=(first, last), understood=understood)


def _again(sound: Sound, how: str, minutes: float, cast: Cast, rng: np.random.Generator) -> Scene:
    """The same noise every 12 s in a quiet room; then somebody speaks between its times."""
    take = Take(cast.places[int(rng.integers(len(cast.places)))], rng, quiet_s=30)
    first = take.frames
    take.quiet(minutes * 60)
    last = take.frames
    for _ in range(4):
        take.quiet(float(rng.uniform(7, 8)) if len(sound) < 5 * RATE_HZ else 8.0)
        take.says(pick(_some(cast, 1, rng)[0].words or cast.speakers[0].words, rng), "between the same noises")
        take.quiet(12 - (take.frames - last) * FRAME_MS / 1000 % 12)
    noise = np.zeros(take.frames * FRAME_SAMPLES, np.float32)
    if how == "over a floor":
        noise += at_level(coloured(len(noise), 1.0, rng), FLOOR_DB)
    for at in range(first * FRAME_SAMPLES, len(noise), 12 * RATE_HZ):
        once = sped(sound, float(rng.uniform(-0.03, 0.03))) if how == "a little different" else sound
        level_db = EVENT_DB + (float(rng.choice([-6, 0, 6])) if how == "louder and softer" else 0)
        loud = take.place.heard(np.concatenate([at_level(once, level_db), np.zeros(RATE_HZ, np.float32)]))
        start = at + int(rng.integers(FRAME_SAMPLES))
        noise[start : start + len(loud)] += loud[: max(0, len(noise) - start)]
    return take.scene("", noise=noise, alone=(first, last))


def _misjudged(voice: Voice, place: Place, _cast: Cast, rng: np.random.Generator) -> Scene:
    """The agent understands nothing of somebody's first words, and the session ends. Then they say them again, as
    people do, and other things."""
    take = Take(place, rng)
    first = pick(voice.words or voice.sentences, rng)
    take.says(first, "what nobody understood")
    take.quiet(SESSION.false_wake_s + 3)
    not_understood = take.frames
    for number in range(6):
        if number % 2 == 0:
            take.says(retaken(first, rng), "the same again after that")
        else:
            take.says(pick(voice.words or voice.sentences, rng), "other words after that")
        take.quiet(rng.uniform(3, 6))
    scene = take.scene("")
    words = scene.words.copy()
    words[:not_understood] = False
    return replace(scene, words=words)


def retaken(sound: Sound, rng: np.random.Generator) -> Sound:
    """As if the person had said it once more: the tempo (and with it the pitch) drifts, by 12 % from one tenth of a
    second to the next, and by 6 % in all; and so does the timbre, by 3 dB from one octave to the next. Words that one
    speaker of the prompts has spoken twice differ more from one another than these do."""
    count = max(4, round(len(sound) / RATE_HZ * 10) + 2)
    pace = np.exp(rng.normal(0, 0.12, count) + rng.normal(0, 0.06))
    at = np.cumsum(np.interp(np.linspace(0, count - 1, round(1.3 * len(sound))), np.arange(count), pace))
    drifted = np.interp(at[at < len(sound) - 1], np.arange(len(sound)), sound)
    spectrum = np.fft.rfft(drifted)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(drifted), 1 / RATE_HZ), 60) / 60)
    timbre_db = np.interp(octaves, np.arange(9), rng.normal(0, 3, 9))
    out: Sound = np.fft.irfft(spectrum * 10 ** (timbre_db / 20), len(drifted)).astype(np.float32)
    return out


def sped(sound: Sound, faster: float) -> Sound:
    """Faster and higher, by that share."""
    at = np.arange(0, len(sound) - 1, 1 + faster)
    out: Sound = np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
    return out


# ---------------------------------------------------------------- scores


@dataclass
class People:
    """What became of a row's utterances."""

    utterances: int = 0
    lost: int = 0
    heads_ms: list[int] = field(default_factory=list)
    holes: int = 0
    said_ms: int = 0
    missing_ms: int = 0
    interruptions: int = 0
    late: int = 0
    held: int = 0

    def add(self, other: People) -> None:
        self.utterances += other.utterances
        self.lost += other.lost
        self.heads_ms += other.heads_ms
        self.holes += other.holes
        self.said_ms += other.said_ms
        self.missing_ms += other.missing_ms
        self.interruptions += other.interruptions
        self.late += other.late
        self.held += other.held


@dataclass
class Cost:
    hours: float = 0.0
    wakes: int = 0
    session_s: float = 0.0
    open_s: float = 0.0

    def add(self, other: Cost) -> None:
        self.hours += other.hours
        self.wakes += other.wakes
        self.session_s += other.session_s
        self.open_s += other.open_s


@dataclass(frozen=True)
class Result:
    scene: str
    people: dict[str, People]
    cost: Cost | None


def judged(spoken: Spoken, said: Flags, heard: Heard) -> People:
    wanted = said[spoken.first : spoken.last]
    got = heard.passed[spoken.first : spoken.last] & wanted
    first = int(np.argmax(wanted))
    score = People(utterances=1, said_ms=int(wanted.sum()) * FRAME_MS)
    score.missing_ms = score.said_ms - int(got.sum()) * FRAME_MS
    if got.sum() < wanted.sum() / 2:
        score.lost = 1
    else:
        head_ms = int(wanted[: int(np.argmax(got))].sum()) * FRAME_MS
        score.heads_ms = [head_ms] if head_ms > HEAD_MS else []
        score.holes = int(score.missing_ms - head_ms > HOLE_MS)
    score.held = int(heard.held[spoken.first : spoken.last][wanted].any())
    if spoken.interrupts:
        onset = spoken.first + first
        within = range(onset - GATE.pre_roll_ms // FRAME_MS, onset + LATE_MS // FRAME_MS + 1)
        score.interruptions = 1
        score.late = int(not any(start in within for start in heard.starts))
    return score


def run(task: tuple[str, Maker, Contender, int]) -> Result | None:
    name, make, contender, seed = task
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    scene = make(CAST[0], rng)
    if scene is None:
        return None
    heard = hear(scene.sound, scene.words, contender, scene.answer_ms)
    people: dict[str, People] = {}
    for each in scene.spoken:
        people.setdefault(each.group, People()).add(judged(each, scene.said, heard))
    first, last = scene.alone
    cost = None
    if last > first:
        cost = Cost(
            hours=(last - first) * FRAME_MS / 3_600_000,
            wakes=sum(first <= each < last for each in heard.wakes),
            session_s=float(heard.live[first:last].sum()) * FRAME_MS / 1000,
            open_s=float(heard.open[first:last].sum()) * FRAME_MS / 1000,
        )
    return Result(name, people, cost)


# ---------------------------------------------------------------- tables


# Loaded before the workers are forked, so that they share it.
CAST: list[Cast] = []

PEOPLE_HEAD = "| {} | lost | heads, worst | holes | missing | late | held |\n|---|---|---|---|---|---|---|"
COST_HEAD = "| {} | wakes/h | min/h | open | then lost | held |\n|---|---|---|---|---|---|"


def people_row(title: str, score: People) -> str:
    worst = f"{len(score.heads_ms)}, {max(score.heads_ms)} ms" if score.heads_ms else "0"
    late = f"{score.late} of {score.interruptions}" if score.interruptions else "–"
    missing = 100 * score.missing_ms / max(1, score.said_ms)
    lost = f"{score.lost} of {score.utterances}"
    return f"| {title} | {lost} | {worst} | {score.holes} | {missing:.1f} % | {late} | {score.held} |"


def cost_row(title: str, cost: Cost, people: People) -> str:
    return (
        f"| {title} | {cost.wakes / cost.hours:.0f} | {cost.session_s / 60 / cost.hours:.1f} "
        f"| {cost.open_s / 36 / cost.hours:.1f} % | {people.lost} of {people.utterances} | {people.held} |"
    )


def print_tables(results: Sequence[Result], contender: Contender, half: Half) -> None:
    people: dict[str, People] = {}
    after_talk: dict[tuple[str, str], People] = {}
    for result in results:
        for group, score in result.people.items():
            title, _, quiet_s = group.partition("|")
            if quiet_s:
                after_talk.setdefault((title, quiet_s), People()).add(score)
            if result.cost is None:
                people.setdefault(title, People()).add(score)
    print(f"\n{contender.name}; half: {half}\n\n" + PEOPLE_HEAD.format("people"))
    rooms = {title: score for title, score in people.items() if not title.startswith("in ")}
    for title, score in people.items():
        print(people_row(title, score))
    noisy = {title: score for title, score in people.items() if title not in rooms}
    for title, rows in (("all in quiet rooms", rooms), ("all in noise", noisy)):
        all_of_them = People()
        for score in rows.values():
            all_of_them.add(score)
        if all_of_them.utterances:
            print(people_row(f"**{title}**", all_of_them))
    if after_talk:
        print("\n| lost after talk, then quiet of | " + " | ".join(f"{each:g} s" for each in QUIETS_S) + " |")
        print("|---|" + "---|" * len(QUIETS_S))
        for title in dict.fromkeys(title for title, _ in after_talk):
            cells = [after_talk.get((title, f"{each:g}"), People()) for each in QUIETS_S]
            print(f"| {title} | " + " | ".join(f"{each.lost} of {each.utterances}" for each in cells) + " |")
    print("\n" + COST_HEAD.format("noise, speech over it"))
    costs: dict[str, tuple[Cost, People, list[int]]] = {}
    for result in results:
        if result.cost is None:
            continue
        name = result.scene.removeprefix("cost ")
        again = name.startswith("again ")
        title = f"the same noise every 12 s, {name.split(':')[0].removeprefix('again ')}" if again else name
        titles = [title, "**the same noise every 12 s, all**" if again else "**all that goes on**"]
        for each in titles:
            cost, then, wakes = costs.setdefault(each, (Cost(), People(), []))
            cost.add(result.cost)
            wakes.append(result.cost.wakes)
            for score in result.people.values():
                then.add(score)
    for title, (cost, then, wakes) in sorted(costs.items(), key=lambda row: ("every 12 s" in row[0], "**" in row[0])):
        often = (
            f" ({len(wakes)}; {sum(each > 1 for each in wakes)} wake more than once)" if "every 12 s" in title else ""
        )
        print(cost_row(title + often, cost, then))


def as_line(result: Result, about: dict[str, object]) -> str:
    people = {group: vars(score) for group, score in result.people.items()}
    cost = None if result.cost is None else vars(result.cost)
    return json.dumps({**about, "scene": result.scene, "people": people, "cost": cost})


def of_file(path: Path, about: dict[str, object]) -> list[Result]:
    """The scenes that were heard already, by the same contender. Raises ValueError where the file holds others."""
    results: list[Result] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        told = json.loads(line)
        if any(told.get(key) != value for key, value in about.items()):
            raise ValueError(f"{path}, line {number}: this is of another run; take another file, or remove it")
        people = {group: People(**score) for group, score in told["people"].items()}
        results.append(Result(told["scene"], people, None if told["cost"] is None else Cost(**told["cost"])))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description="The judge of the gate: people, and noise.")
    parser.add_argument("--half", choices=("tune", "judge"), required=True, help="constants are chosen on tune only")
    parser.add_argument("--long", action="store_true", help="three times the people, hours of noise")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only scenes whose name begins with one of these")
    parser.add_argument("--vad", choices=("webrtcvad", "silero"), default=GATE.vad)
    parser.add_argument("--aggressiveness", type=int, choices=range(4), default=GATE.aggressiveness)
    parser.add_argument("--bare", action="store_true", help="the detector alone, as a floor")
    parser.add_argument("--no-known-noises", action="store_true", help="what woke for nothing may wake again")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="every scene as a line of JSON; a run that was stopped goes on there"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    contender = Contender(args.vad, args.aggressiveness, args.bare, not args.no_known_noises)
    if lacking := recordings.missing(args.half):
        print(f"not all is there; apt-get install --no-install-recommends {' '.join(lacking)}", file=sys.stderr)
    try:
        detector(contender.vad, contender.aggressiveness)
    except UserError as error:
        print(f"{error}; {error.hint}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    cast = Cast(args.half)
    if len(cast.speakers) < 2:
        print("there are no voices; see the packages above", file=sys.stderr)
        return os.EX_UNAVAILABLE
    CAST.append(cast)
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rooms = ", ".join(each.name for each in cast.places)
    print(f"half: {args.half}, {'long' if args.long else 'short'}; seed {args.seed}; rooms: {rooms}")
    print("\n".join(recordings.described(args.half)))
    about: dict[str, object] = {"half": args.half, "contender": contender.name, "long": args.long, "seed": args.seed}
    results: list[Result] = []
    if args.json is not None and args.json.exists():
        try:
            results = of_file(args.json, about)
        except (ValueError, KeyError, TypeError) as error:
            print(f"{args.json} cannot be gone on with: {error}", file=sys.stderr)
            return os.EX_DATAERR
    done = {each.scene for each in results}
    chosen = [
        (name, make, contender, args.seed)
        for name, make in scenes(cast, long=args.long)
        if name not in done and (not args.only or name.startswith(tuple(args.only)))
    ]
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        for number, result in enumerate(pool.imap(run, chosen)):
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {len(chosen)} ", end="", file=sys.stderr)
            if result is None:
                continue
            results.append(result)
            if args.json is not None:
                with args.json.open("a") as file:
                    file.write(as_line(result, about) + "\n")
    print_tables(results, contender, args.half)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
