"""A person and an agent in simulated rooms: what each echo mode lets through, and what it takes for the person.

    python benchmarks/room.py [--long] [--seed N] [--modes MODE ...] [--recordings DIR]

Everything from the devices' callbacks to the gate's verdict is the daemon's own, in the order of the ears thread. The
speaker's and microphone's clocks differ by 50 ppm and their callbacks are late by up to some milliseconds. The far end
is at -20 dBFS, the echo at -6 dB of that unless the row says otherwise, and the person as loud as the echo unless it
says so. "no echo" is the person alone, in the same room's noise: what the gate makes of it bounds every mode. The agent
does not duck when it is interrupted, which would make it easier. Of Debian's asterisk-core-sounds-en-wav every second
recording is the agent's and the others are the person's, beside the synthetic voices.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import webrtcvad
from acoustics import (
    AGENT_LINES,
    AGENT_VOICES,
    PERSON_LINES,
    PERSON_VOICES,
    RATE_HZ,
    RECORDINGS,
    Room,
    Sound,
    at_level,
    recorded,
    say,
    talk,
)
from pywebrtc_audio import EchoCanceller as WebRtc

from parleyd.audio.capture.capture import Capture
from parleyd.audio.devices.device import Deliver, StreamInfo
from parleyd.audio.devices.null import NullOutput
from parleyd.audio.echo.canceller import HalfDuplex
from parleyd.audio.echo.control import EchoControl, NearFrame
from parleyd.audio.echo.far_end import FarEnd
from parleyd.audio.echo.self_echo import SelfEcho
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import VoiceMeasure
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, Frame, samples_of, to_pcm
from parleyd.audio.playback.playback import Playback
from parleyd.config.schema import BargeIn
from parleyd.config.schema import Gate as GateConfig
from parleyd.core import events

FAR_DBFS = -20.0
SPEAKER_LATENCY_S = 0.020
PERIOD_SAMPLES = 160
JITTER_S = 0.001
WITHIN_MS = 400
MOST_DELAY_SAMPLES = 800
MODES = ("no echo", "off", "half_duplex", "WebRTC alone", "aec")
ROOMS = {
    "20 ms, RT60 0.15": Room(delay_ms=20, rt60_s=0.15, seed=2),
    "60 ms, RT60 0.3": Room(delay_ms=60, rt60_s=0.3, seed=1),
    "120 ms, RT60 0.4": Room(delay_ms=120, rt60_s=0.4, seed=7),
    "200 ms, RT60 0.5": Room(delay_ms=200, rt60_s=0.5, seed=3),
}
HARDER = {
    "echo 0 dB": Room(echo_db=0.0, seed=5),
    "echo -20 dB": Room(echo_db=-20.0, seed=6),
    "distorting speaker": Room(overdrive=3.0, seed=4),
    "clocks 100 ppm off": Room(drift_ppm=100.0, seed=8),
    "echo -20 dB, person -6 dB": Room(echo_db=-20.0, person_db=-6.0, seed=6),
    "speaker runs dry": Room(dry_every_s=10.0, seed=9),
    "behind a sound server": Room(hand_over_s=0.036, seed=10),
}


@dataclass
class Scene:
    """seconds of talk by the agent; where a person talks over it: from when to when, in seconds; the numbers of the
    periods that the speaker did not take."""

    room: Room
    far: Sound
    echo: Sound
    near: Sound
    spoken: list[tuple[float, float]] = field(default_factory=list)
    dry: set[int] = field(default_factory=set)

    @property
    def person_dbfs(self) -> float:
        return FAR_DBFS + (self.room.echo_db if self.room.person_db is None else self.room.person_db)

    @property
    def heard(self) -> Sound:
        return self.echo + self.near + self.room.noise(len(self.far))


def scene(room: Room, seconds: float, seed: int, recordings: Path, *, interrupted: bool) -> Scene:
    rng = np.random.default_rng(seed)
    agents = [say(voice, text) for voice in AGENT_VOICES for text in AGENT_LINES]
    agents += recorded(2.0, 8.0, recordings)[::2]
    people = [say(voice, text) for voice in PERSON_VOICES for text in PERSON_LINES]
    people += recorded(0.8, 3.0, recordings)[1::2]
    far = talk(agents, seconds, FAR_DBFS, rng)
    dry: set[int] = set()
    if room.dry_every_s:
        for dry_s in np.arange(room.dry_every_s, seconds, room.dry_every_s):
            first = int((dry_s + rng.uniform(-2.0, 2.0)) * RATE_HZ) // PERIOD_SAMPLES
            dry |= set(range(first, first + int(rng.integers(1, 21))))
    for period in dry:
        far[period * PERIOD_SAMPLES : (period + 1) * PERIOD_SAMPLES] = 0.0
    it = Scene(room, far, room.echo(far), np.zeros_like(far), dry=dry)
    at_s = 4.0
    while interrupted and at_s < seconds - 4.0:
        words = at_level(people[int(rng.integers(len(people)))], it.person_dbfs)
        begin = int(at_s * RATE_HZ)
        it.near[begin : begin + len(words)] = words
        it.spoken.append((at_s, at_s + len(words) / RATE_HZ))
        at_s += len(words) / RATE_HZ + rng.uniform(2.5, 3.5)
    return it


class Microphone:
    """A device that delivers when it is told to."""

    name = "the microphone"
    overflows = 0

    def open(self, deliver: Deliver) -> StreamInfo:
        self.deliver = deliver
        return StreamInfo(RATE_HZ, 1, FRAME_SAMPLES, 0.0)

    def close(self) -> None:
        pass


class Line:
    """The way of a frame through one mode, as ears have it. fell_back: it took the person for the agent's echo."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.far_end = FarEnd()
        self.far_end.start(RATE_HZ, SPEAKER_LATENCY_S)
        self.microphone = Microphone()
        self.capture = Capture(self.microphone)
        self.capture.start()
        bus = events.Bus()
        bus.subscribe(self._told)
        self.fell_back = 0
        silent = Playback(
            NullOutput(),
            volume=1.0,
            duck_db=0.0,
            cut="fade",
            on_started=lambda _answer, _at_s: None,
            on_finished=lambda _heard: None,
            on_failure=lambda _error: None,
        )
        self.echo = EchoControl("aec" if mode == "aec" else "off", 300, silent, self.far_end, bus)
        self._webrtc = WebRtc(RATE_HZ, 1, 0)
        self._half_duplex = HalfDuplex(300)

    def _told(self, event: events.Event) -> None:
        if isinstance(event, events.Trouble):
            self.fell_back += 1
            # Nothing is played here by which half duplex could go. Who has told once tells no more.
            self.echo.mode, self.echo._self_echo = "aec", SelfEcho()

    def hear(self, frame: Frame, silent_from_s: float) -> NearFrame:
        if self.mode in ("no echo", "off", "aec"):
            return self.echo.hear(frame)
        if self.mode == "half_duplex":
            audible = frame.start_s + FRAME_MS / 1000 < silent_from_s
            deaf = self._half_duplex.deaf(frame.start_s, audible=audible, silent_from_s=silent_from_s)
            return NearFrame(Frame.silence(frame.start_s), False) if deaf else NearFrame(frame, True)
        far = self.far_end.frame(frame.start_s).samples
        heard = samples_of(frame.pcm).astype(np.float32) / np.float32(32768)
        if far is None:
            far = np.zeros(FRAME_SAMPLES, np.float32)
        return NearFrame(Frame(to_pcm(self._webrtc.process(heard, far) * np.float32(32768)), frame.start_s), True)


@dataclass
class Outcome:
    onsets: list[tuple[float, float | None]] = field(default_factory=list)  # since, confirmed
    out: list[bytes] = field(default_factory=list)
    cost_s: float = 0.0
    fell_back: int = 0


def run(mode: str, it: Scene) -> Outcome:
    gate_config, confirm_ms = GateConfig(), BargeIn().confirm_ms
    line, vad, measure = Line(mode), Vad(gate_config.aggressiveness), VoiceMeasure()
    gate = Gate(gate_config.pre_roll_ms, gate_config.hangover_ms)
    rng = np.random.default_rng(99)
    handed_over = it.room.hand_over(len(it.far) / RATE_HZ + 1.0).tolist()
    late = iter(np.abs(rng.normal(0.0, JITTER_S, 4 * len(it.far) // PERIOD_SAMPLES)).tolist())
    far, heard = to_pcm(it.far * 32768), to_pcm(it.heard * 32768)
    faster = 1.0 + it.room.drift_ppm * 1e-6
    outcome, handed, silent_from_s = Outcome(), 0, 0.0
    for number in range(len(it.far) // FRAME_SAMPLES):
        start_s = number * FRAME_MS / 1000 / faster
        start_s += handed_over[int(start_s * 100)]
        while handed * PERIOD_SAMPLES / RATE_HZ <= start_s + FRAME_MS / 1000:
            period = far[handed * PERIOD_SAMPLES * 2 : (handed + 1) * PERIOD_SAMPLES * 2]
            if handed not in it.dry:
                line.far_end.take(period, handed * PERIOD_SAMPLES / RATE_HZ + next(late))
            handed += 1
            if any(period):
                silent_from_s = handed * PERIOD_SAMPLES / RATE_HZ + SPEAKER_LATENCY_S
        pcm = heard[number * FRAME_SAMPLES * 2 : (number + 1) * FRAME_SAMPLES * 2]
        line.microphone.deliver(pcm, start_s + next(late))
        (captured,) = line.capture.frames()
        began_s = time.perf_counter()
        passed = line.hear(captured, silent_from_s)
        outcome.cost_s += time.perf_counter() - began_s
        # The gate's times in samples of the microphone, as those of what was spoken.
        at = msgspec.structs.replace(passed.frame, start_s=number * FRAME_MS / 1000)
        voiced = passed.may_be_speech and vad.voiced(at)
        measured = measure.step(at, voiced=voiced)
        verdict = gate.step(
            at, voiced=voiced, level_dbfs=measured.level_dbfs, pitch=measured.pitch, faint=passed.weak_near_end
        )
        line.echo.judge(passed, talk=verdict.talk_ms > 0)
        if verdict.talk_started:
            outcome.onsets.append((verdict.speech_s, None))
        if verdict.talk_ms >= confirm_ms and outcome.onsets and outcome.onsets[-1][1] is None:
            outcome.onsets[-1] = (outcome.onsets[-1][0], at.start_s + FRAME_MS / 1000)
        outcome.out.append(at.pcm)
    outcome.fell_back = line.fell_back
    return outcome


def confirmed_ms(it: Scene, outcome: Outcome) -> list[float]:
    """From the first sound of each interruption to its confirmation; infinite for those that were missed."""
    found = []
    for begin_s, end_s in it.spoken:
        times = [cut_s - begin_s for since_s, cut_s in outcome.onsets if cut_s and begin_s - 0.15 <= since_s < end_s]
        found.append(min(times, default=np.inf) * 1000)
    return found


def unprovoked(it: Scene, outcome: Outcome) -> int:
    return sum(
        not any(begin_s - 0.15 <= since_s < end_s + 0.3 for begin_s, end_s in it.spoken)
        for since_s, _ in outcome.onsets
    )


def levels(sound: Sound) -> Sound:
    blocks = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    result: Sound = 10 * np.log10((blocks**2).mean(axis=1) + 1e-12)
    return result


def removed_db(it: Scene, outcome: Outcome) -> float:
    """Echo return loss enhancement from the third second on, where the far end is heard."""
    out = samples_of(b"".join(outcome.out)).astype(np.float32) / np.float32(32768)
    heard = it.heard[: len(out)]
    frames = np.flatnonzero(levels(it.echo)[: len(out) // FRAME_SAMPLES] > FAR_DBFS + it.room.echo_db - 20)
    frames = frames[frames >= 150]
    pick = (frames[:, None] * FRAME_SAMPLES + np.arange(FRAME_SAMPLES)).ravel()
    return float(10 * np.log10((heard[pick] ** 2).sum() / max(1e-12, (out[pick] ** 2).sum())))


def delay_ms(it: Scene, outcome: Outcome) -> float:
    """How much later the person comes out than they went in, where the two are most alike."""
    out = samples_of(b"".join(outcome.out)).astype(np.float64)
    size = 1 << (len(out) + MOST_DELAY_SAMPLES).bit_length()
    alike = np.fft.irfft(np.fft.rfft(out, size) * np.fft.rfft(it.near[: len(out)], size).conj(), size)
    best = int(np.argmax(alike[:MOST_DELAY_SAMPLES]))
    before, at, after = alike[best - 1], alike[best], alike[best + 1]
    return float(best + (before - after) / 2 / (before - 2 * at + after)) / RATE_HZ * 1000


def surviving(it: Scene, outcome: Outcome) -> tuple[int, int]:
    """Frames of the person over the agent that come out at most 6 dB quieter, and all of them."""
    out = samples_of(b"".join(outcome.out)).astype(np.float32) / np.float32(32768)
    person = levels(it.near)[: len(outcome.out)]
    spoken = person > it.person_dbfs - 15
    return int((levels(out)[spoken] > person[spoken] - 6).sum()), int(spoken.sum())


def bare_vad_s(frames: int = 3000) -> float:
    """A loop that reads frames and calls webrtcvad, for one frame."""
    vad = webrtcvad.Vad(2)
    sound = to_pcm(np.random.default_rng(0).normal(0, 800, FRAME_SAMPLES * 50))
    cut = [sound[i : i + FRAME_SAMPLES * 2] for i in range(0, len(sound), FRAME_SAMPLES * 2)]
    began_s = time.perf_counter()
    for pcm in itertools.islice(itertools.cycle(cut), frames):
        vad.is_speech(pcm, RATE_HZ)
    return (time.perf_counter() - began_s) / frames


@dataclass
class Row:
    """Sums over scenes of one mode."""

    hours: float = 0.0
    self_interruptions: int = 0
    fell_back: int = 0
    confirmed: list[float] = field(default_factory=list)
    survived: int = 0
    spoken: int = 0
    removed: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    cost_s: float = 0.0
    frames: int = 0

    def alone(self, it: Scene, outcome: Outcome) -> None:
        self.hours += len(it.far) / RATE_HZ / 3600
        self.self_interruptions += len(outcome.onsets)
        if it.echo.any():
            self.removed.append(removed_db(it, outcome))
        self._cost(outcome)

    def interrupted(self, it: Scene, outcome: Outcome) -> None:
        self.hours += len(it.far) / RATE_HZ / 3600
        self.self_interruptions += unprovoked(it, outcome)
        self.confirmed += confirmed_ms(it, outcome)
        survived, spoken = surviving(it, outcome)
        self.survived += survived
        self.spoken += spoken
        self.delays_ms.append(delay_ms(it, outcome))
        self._cost(outcome)

    def _cost(self, outcome: Outcome) -> None:
        self.fell_back += outcome.fell_back
        self.cost_s += outcome.cost_s
        self.frames += len(outcome.out)

    def cells(self, bare_s: float) -> list[str]:
        quick = sum(ms <= WITHIN_MS for ms in self.confirmed) / len(self.confirmed)
        cuts = np.percentile(self.confirmed, [50, 90, 95], method="higher")
        cost_s = self.cost_s / self.frames
        removed = float(np.mean(self.removed or [0.0]))
        return [
            "–" if not self.removed else f"{removed:.0f} dB" if removed < 60 else "all",
            f"{self.self_interruptions} in {self.hours * 60:.0f} min",
            str(self.fell_back),
            f"{self.survived / self.spoken:.0%}",
            f"{round(float(np.mean(self.delays_ms)), 1) + 0.0} ms" if self.survived > 0.1 * self.spoken else "–",
            f"{quick:.1%} of {len(self.confirmed)}",
            " / ".join("–" if np.isinf(ms) else f"{ms:.0f}" for ms in cuts),
            f"{cost_s * 1e6:.0f} µs, {cost_s / bare_s:.1f}",
        ]


HEAD: tuple[str, ...] = (
    "ERLE",
    "cuts itself",
    "notices itself",
    "person survives",
    "delay added",
    f"cut within {WITHIN_MS} ms",
    "p50/p90/p95 ms",
    "per frame, to VAD",
)


def table(title: str, rows: dict[str, Row], bare_s: float) -> None:
    print(f"\n| {title} | " + " | ".join(HEAD) + " |\n|---|" + "---|" * len(HEAD))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(row.cells(bare_s)) + " |", flush=True)


def measure(
    mode: str, rooms: dict[str, Room], seconds: float, recordings: Path, seed: int
) -> Iterator[tuple[str, Row]]:
    for number, (name, known) in enumerate(rooms.items()):
        row, room = Row(), replace(known, seed=known.seed + seed)
        alone = scene(room, seconds, 2 * number + 20 * seed, recordings, interrupted=False)
        both = scene(room, seconds, 2 * number + 1 + 20 * seed, recordings, interrupted=True)
        if mode == "no echo":
            alone.echo[:] = both.echo[:] = 0.0
        row.alone(alone, run(mode, alone))
        row.interrupted(both, run(mode, both))
        yield name, row


def total(rows: list[Row]) -> Row:
    it = replace(Row(), confirmed=[], removed=[], delays_ms=[])
    for row in rows:
        it.hours += row.hours
        it.self_interruptions += row.self_interruptions
        it.fell_back += row.fell_back
        it.confirmed += row.confirmed
        it.survived += row.survived
        it.spoken += row.spoken
        it.removed += row.removed
        it.delays_ms += row.delays_ms
        it.cost_s += row.cost_s
        it.frames += row.frames
    return it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="a target's worth: over 30 minutes of far end")
    parser.add_argument("--seed", type=int, default=0, help="other rooms, sentences and pauses")
    parser.add_argument("--recordings", type=Path, default=RECORDINGS, help="default: %(default)s")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, metavar="MODE", help=", ".join(MODES))
    args = parser.parse_args()
    logging.disable()
    bare_s = bare_vad_s()
    print(f"recordings: {len(recorded(0.8, 8.0, args.recordings))}; bare webrtcvad: {bare_s * 1e6:.1f} µs a frame")
    modes: dict[str, Row] = {}
    by_room: dict[str, Row] = {}
    for mode in args.modes:
        seconds = (500.0 if mode in ("no echo", "aec") else 120.0) if args.long else 40.0
        rows = dict(measure(mode, ROOMS, seconds, args.recordings, args.seed))
        modes[mode] = total(list(rows.values()))
        if mode == "aec":
            by_room = rows
    table("mode", modes, bare_s)
    if args.long and by_room:
        by_room |= dict(measure("aec", HARDER, 240.0, args.recordings, args.seed))
    if by_room:
        table("aec, by room", by_room, bare_s)


if __name__ == "__main__":
    main()
