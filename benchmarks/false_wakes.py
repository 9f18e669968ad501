"""What noise costs: minutes of session in an hour in which nobody speaks. Offline; some minutes on two cores.

    .venv/bin/python benchmarks/false_wakes.py [--music FOLDER] [--minutes N] [--utterances N] [--seed N]

The gate as the daemon has it, the daemon's rules for sessions, and an agent that understands no noise: a session begins
when somebody seems to talk and ends after `session.false_wake_s` without talk; then the gate doubts. A quiet minute
comes first, then the noise alone, then people speak in it; who comes through is understood. The noises are those of
rooms.py, and recorded music: WAV files, all equally loud, one after the other. Columns:

penalty     whether false wakes teach the gate anything
sessions  in the noise alone, per hour
minutes   of session in the noise alone, per hour
begin     of these, minutes in the first ten minutes; they are not per hour
missed    utterances, after all that, of which less than half came through
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rooms import NOISES, RATE_HZ, NoVoicesError, Rooms, Scene, Sound, at_level, read

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.measure import Measured, VoiceMeasure
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SILENT_FRAME, Frame, to_pcm
from parleyd.config.schema import Gate as GateSection
from parleyd.config.schema import Session

GATE, SESSION = GateSection(), Session()
RATIOS_DB = (20.0, 10.0)
MUSIC = Path("/usr/share/asterisk/moh")
PACKAGE = "asterisk-moh-opsound-wav"
BEGIN_S = 600.0
# So much of what somebody says has to pass for the agent to make words of it.
UNDERSTOOD_S = 0.3


@dataclass(frozen=True)
class Cost:
    hours: float
    sessions: int
    session_s: float
    begin_s: float
    utterances: int
    missed: int


class Line:
    """The supervisor's rules, as far as they matter here."""

    def __init__(self) -> None:
        self.live = False
        self.sessions = 0
        self._understood_frames = 0
        self._talk = False
        self._quiet_s = 0.0

    def step(self, *, talk_started: bool, talk_stopped: bool, passes_speech: bool) -> bool | None:
        """One frame of the gate's; when a session ends with it: whether anything was understood."""
        self._talk = (self._talk or talk_started) and not talk_stopped
        self._quiet_s = 0.0 if self._talk else self._quiet_s + FRAME_MS / 1000
        if talk_started and not self.live:
            self.live, self._understood_frames = True, 0
            self.sessions += 1
        self._understood_frames += passes_speech
        understood = self._understood_frames * FRAME_MS / 1000 >= UNDERSTOOD_S
        patience_s = SESSION.idle_timeout_s if understood else SESSION.false_wake_s
        if not self.live or self._quiet_s < patience_s:
            return None
        self.live = False
        return understood


def run(
    voiced: Sequence[bool], measured: Sequence[Measured], scene: tuple[int, int, list[tuple[int, int]]], *, doubts: bool
) -> Cost:
    """scene: frames of the quiet before; frames until people speak; from, to of what they say."""
    before, alone, spoken = scene
    said = np.zeros(len(voiced), bool)
    for first, last in spoken:
        said[first:last] = True
    gate, line = Gate(GATE.pre_roll_ms, GATE.hangover_ms), Line()
    passed, live = np.zeros(len(voiced), bool), np.zeros(len(voiced), bool)
    sessions = 0
    for number, (flag, measure) in enumerate(zip(voiced, measured, strict=True)):
        verdict = gate.step(
            Frame(SILENT_FRAME, float(number)), voiced=flag, level_dbfs=measure.level_dbfs, pitch=measure.pitch
        )
        for each in verdict.passed:
            passed[int(each.frame.start_s)] = each.speech
        understood = line.step(
            talk_started=verdict.talk_started,
            talk_stopped=verdict.talk_stopped,
            passes_speech=gate.open and bool(said[number]),
        )
        if understood:
            gate.understood()
        elif understood is False and doubts:
            gate.false_wake()
        live[number] = line.live
        if number == alone:
            sessions = line.sessions
    noise = live[before:alone] * FRAME_MS / 1000
    return Cost(
        hours=len(noise) * FRAME_MS / 3_600_000,
        sessions=sessions,
        session_s=float(noise.sum()),
        begin_s=float(noise[: round(BEGIN_S * 1000 / FRAME_MS)].sum()),
        utterances=len(spoken),
        missed=sum(bool(passed[first:last].mean() < 0.5) for first, last in spoken),
    )


def run_scene(task: tuple[str, Scene, Scene, Sound]) -> tuple[str, dict[str, Cost]]:
    title, talk, alone, quiet = task
    before, until = len(quiet) // FRAME_SAMPLES, (len(quiet) + len(alone.sound)) // FRAME_SAMPLES
    pcm = to_pcm(np.concatenate([quiet, alone.sound, talk.sound]) * 32768)
    frames = [Frame(pcm[at : at + FRAME_BYTES], 0.0) for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]
    detector, measure = Vad(GATE.aggressiveness), VoiceMeasure()
    voiced, measured = [detector.voiced(frame) for frame in frames], [measure.step(frame) for frame in frames]
    spoken = [(until + first // FRAME_SAMPLES, until - (-last // FRAME_SAMPLES)) for first, last in talk.spoken]
    scene = (before, until, spoken)
    return title, {
        "no": run(voiced, measured, scene, doubts=False),
        "yes": run(voiced, measured, scene, doubts=True),
    }


def records(folder: Path, samples: int, rng: np.random.Generator) -> Sound:
    """All WAV files of a folder in a shuffled order, equally loud, again and again. Raises DeviceError."""
    paths = sorted(folder.glob("*.wav"))
    rng.shuffle(paths)
    once = np.concatenate([at_level(read(path), -20.0) for path in paths])
    return np.resize(once, samples)


def row(title: str, penalty: str, cost: Cost) -> str:
    return (
        f"| {title} | {penalty} | {cost.sessions / cost.hours:.0f} | {cost.session_s / 60 / cost.hours:.1f} "
        f"| {cost.begin_s / 60:.1f} | {cost.missed} of {cost.utterances} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="What noise costs.")
    parser.add_argument("--music", type=Path, metavar="FOLDER", default=MUSIC, help="WAV files; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long there is noise alone")
    parser.add_argument("--utterances", type=int, default=36)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    noises = [name for name in NOISES if name != "pink"]
    if any(args.music.glob("*.wav")):
        NOISES["recorded music"] = lambda samples, _voices, rng: records(args.music, samples, rng)
        noises.insert(0, "recorded music")
    else:
        print(f"no recorded music in {args.music}; for some: apt-get install {PACKAGE}", file=sys.stderr)
    try:
        rooms = Rooms(args.utterances, args.minutes * 60, args.seed)
    except NoVoicesError as error:
        print(f"{error}; {error.hint}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{args.minutes:g} min of each noise at {RATE_HZ} Hz, then {rooms.utterances} utterances; seed {args.seed}")
    print("\n| noise, speech over it | penalty | sessions/h | minutes/h | begin | missed |\n|---|---|---|---|---|---|")
    tasks = ((title, talk, alone, rooms.before) for title, talk, alone in rooms.scenes(noises, RATIOS_DB))
    with multiprocessing.Pool(args.jobs) as pool:
        for title, costs in pool.imap(run_scene, tasks):
            for penalty, cost in costs.items():
                print(row(title, penalty, cost), flush=True)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
