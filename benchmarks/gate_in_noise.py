"""How well the gate hears people in noise, and how often noise alone opens it. Offline; about a minute on two cores.

    .venv/bin/python benchmarks/gate_in_noise.py [--all] [--silero] [--utterances N] [--noise-s S] [--seed N]

Every scene begins with a quiet minute, which does not count; then there is the noise alone, and then somebody says
something every few seconds in it. Compared are the gate as the daemon has it, at each aggressiveness, and webrtcvad by
itself (with the same pre-roll, onset and hangover), which is the usual way. The rooms and voices are in rooms.py.
Columns:

missed       utterances of which less than half came through the gate
onset        how much of an utterance's beginning is missing, mean and worst of those that came through, in ms
cut ends     utterances that lost more than 60 ms of their end
false wakes  openings in the noise alone, per hour
open         share of the noise alone for which the gate stood open: the noise that would have been sent
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import platform
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rooms import NOISES, PACKAGE, PROMPTS, NoVoicesError, Rooms, Scene, Sound

from parleyd.audio.gate.gate import ONSET_SPEECH_MS, ONSET_WINDOW_MS, Gate
from parleyd.audio.gate.measure import Measured, VoiceMeasure
from parleyd.audio.gate.vad import Detector, SileroVad, Vad
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SILENT_FRAME, Frame, to_pcm
from parleyd.config.schema import Gate as Defaults
from parleyd.core.errors import UserError

DEFAULTS = Defaults()
RATIOS_DB = (20.0, 10.0, 5.0, 0.0)
CUT_MS = 60
DEFAULT = f"gate, {DEFAULTS.aggressiveness}"

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """What one contender made of one scene. onsets_ms: of the utterances that came through."""

    utterances: int
    missed: int
    onsets_ms: tuple[int, ...]
    cut_ends: int
    wakes: int
    hours: float
    open_share: float


class Bare:
    """The detector alone, with the gate's onset, pre-roll and hangover."""

    def __init__(self) -> None:
        self._window: deque[bool] = deque(maxlen=ONSET_WINDOW_MS // FRAME_MS)
        self._quiet_ms = 0
        self.open = False

    def step(self, voiced: bool) -> bool:
        self._window.append(voiced)
        self._quiet_ms = 0 if voiced else self._quiet_ms + FRAME_MS
        if not self.open and sum(self._window) * FRAME_MS >= ONSET_SPEECH_MS:
            self.open = True
            return True
        if self.open and self._quiet_ms >= DEFAULTS.hangover_ms:
            self.open = False
            self._window.clear()
        return False


def through_bare(voiced: Flags) -> tuple[Flags, list[int]]:
    """(frames that came through, frames at which it opened)."""
    bare, passed, opened = Bare(), np.zeros(len(voiced), bool), []
    for number, flag in enumerate(voiced):
        if bare.step(bool(flag)):
            opened.append(number)
            passed[max(0, number - DEFAULTS.pre_roll_ms // FRAME_MS) : number] = True
        passed[number] = bare.open
    return passed, opened


def through_gate(voiced: Flags, measured: Iterable[Measured]) -> tuple[Flags, list[int]]:
    gate = Gate(DEFAULTS.pre_roll_ms, DEFAULTS.hangover_ms)
    passed, opened = np.zeros(len(voiced), bool), []
    for number, (flag, measure) in enumerate(zip(voiced, measured, strict=True)):
        verdict = gate.step(
            Frame(SILENT_FRAME, float(number)), voiced=bool(flag), level_dbfs=measure.level_dbfs, pitch=measure.pitch
        )
        if verdict.opened:
            opened.append(number)
        for each in verdict.passed:
            passed[int(each.frame.start_s)] = each.speech
    return passed, opened


def score(passed: Flags, opened: list[int], spoken: tuple[tuple[int, int], ...], alone_frames: int) -> Score:
    onsets_ms, missed, cut_ends = [], 0, 0
    for first, last in spoken:
        heard = passed[alone_frames + first // FRAME_SAMPLES : alone_frames - (-last // FRAME_SAMPLES)]
        if heard.mean() < 0.5:
            missed += 1
            continue
        onsets_ms.append(int(np.argmax(heard)) * FRAME_MS)
        cut_ends += int(np.argmax(heard[::-1])) * FRAME_MS > CUT_MS
    return Score(
        len(spoken),
        missed,
        tuple(onsets_ms),
        cut_ends,
        sum(number < alone_frames for number in opened),
        alone_frames * FRAME_MS / 3_600_000,
        float(passed[:alone_frames].mean()),
    )


def since(first: int, passed: Flags, opened: list[int]) -> tuple[Flags, list[int]]:
    """What came through from that frame on."""
    return passed[first:], [number - first for number in opened if number >= first]


def run_scene(task: tuple[str, Scene, Scene, Sound, bool]) -> tuple[str, dict[str, Score]]:
    title, talk, alone, before, with_silero = task
    first, alone_frames = len(before) // FRAME_SAMPLES, len(alone.sound) // FRAME_SAMPLES
    sound = np.concatenate([before[: first * FRAME_SAMPLES], alone.sound[: alone_frames * FRAME_SAMPLES], talk.sound])
    pcm = to_pcm(sound * 32768)
    frames = [Frame(pcm[at : at + FRAME_BYTES], 0.0) for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]
    measure = VoiceMeasure()
    measured = [measure.step(frame) for frame in frames]
    detectors: dict[str, Detector] = {str(number): Vad(number) for number in range(4)}
    if with_silero:
        detectors["Silero"] = SileroVad()
    scores: dict[str, Score] = {}
    for name, each in detectors.items():
        voiced = np.array([each.voiced(frame) for frame in frames])
        scores[f"webrtcvad {name}" if name.isdigit() else name] = score(
            *since(first, *through_bare(voiced)), talk.spoken, alone_frames
        )
        scores[f"gate, {name}"] = score(*since(first, *through_gate(voiced, measured)), talk.spoken, alone_frames)
    return title, scores


# ---------------------------------------------------------------- tables


def row(title: str, scores: list[Score]) -> str:
    utterances = sum(each.utterances for each in scores)
    onsets_ms = [ms for each in scores for ms in each.onsets_ms]
    onset = f"{np.mean(onsets_ms):.0f}, {max(onsets_ms)}" if onsets_ms else "–"
    wakes = sum(each.wakes for each in scores) / sum(each.hours for each in scores)
    share = 100 * np.mean([each.open_share for each in scores])
    missed, cut = sum(each.missed for each in scores), sum(each.cut_ends for each in scores)
    return f"| {title} | {missed} of {utterances} | {onset} | {cut} | {wakes:.0f} | {share:.0f} % |"


HEAD = "| {} | missed | onset, ms | cut ends | false wakes/h | open |\n|---|---|---|---|---|---|"


def print_tables(results: dict[str, dict[str, Score]], details: list[str]) -> None:
    contenders = list(next(iter(results.values())))
    for kind in ("quiet", *NOISES):
        rooms = [title for title in results if title.startswith(kind)]
        what = "quiet room, soft and normal voices" if kind == "quiet" else f"{kind}, all ratios"
        print("\n" + HEAD.format(what))
        for name in contenders:
            print(row(f"**{name}**" if name == DEFAULT else name, [results[title][name] for title in rooms]))
    for name in details:
        print("\n" + HEAD.format(f"{name}: room by room"))
        for title, scores in results.items():
            print(row(title, [scores[name]]))


def main() -> int:
    parser = argparse.ArgumentParser(description="The gate in noise.")
    parser.add_argument("--all", action="store_true", help="every contender room by room, not the default alone")
    parser.add_argument("--silero", action="store_true", help="Silero too; takes minutes")
    parser.add_argument("--utterances", type=int, default=36)
    parser.add_argument("--noise-s", type=float, default=120.0, help="how long there is noise alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    try:
        rooms = Rooms(args.utterances, args.noise_s, args.seed)
        if args.silero:
            SileroVad()
    except (NoVoicesError, UserError) as error:
        print(f"{error}; {error.hint}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    if not rooms.recorded:
        print(
            f"{PROMPTS} is not there, so synthetic voices speak; for a person's voice: "
            f"apt-get install --no-install-recommends {PACKAGE}",
            file=sys.stderr,
        )
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{rooms.utterances} utterances, {rooms.recorded} recordings to choose from; seed {args.seed}")
    scenes = rooms.scenes(list(NOISES), RATIOS_DB)
    tasks = ((title, talk, alone, rooms.before, args.silero) for title, talk, alone in scenes)
    with multiprocessing.Pool(args.jobs) as pool:
        results = dict(pool.imap(run_scene, tasks))
    print_tables(results, list(next(iter(results.values()))) if args.all else [DEFAULT])
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
