"""What became of each utterance, exact to the frame of 20 ms. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

FRAME_MS = 20
# Of the loud frames of an utterance so many may be missing before it counts as cut: a thirtieth, as two neighbours of
# the threshold of loudness may be.
MOST_MISSING = 0.03
# So much of a head may be missing by the gate's onset.
ONSET_MS = 300
# Frames that may come up again after the acknowledgement: the talk that goes on is sent with its pre-roll.
MOST_AGAIN = 3
# By so much the harness's clock of the microphone may differ from the daemon's.
CLOCKS_S = 0.3
# What a loss that was told may exceed what is missing by, per telling: pre-roll and hangover are no loud frames.
TOLD_SLACK_MS = 1500


class Fate(Enum):
    """acknowledged: the daemon was told that the agent heard it. told: given up, and said so. excused: by the fault."""

    ACKNOWLEDGED = "acknowledged"
    TOLD = "told"
    EXCUSED = "excused"
    SILENT = "lost without a word"
    GATE = "never passed the gate"


class Shape(Enum):
    WHOLE = "whole"
    HEAD = "head cut"
    HOLE = "hole"
    TAIL = "tail cut"
    NOTHING = "nothing came"


@dataclass(frozen=True)
class Said:
    """An utterance at the microphone. loud: numbers of its frames that have to arrive. start_s, end_s: monotonic."""

    number: int
    fault: int
    start_s: float
    end_s: float
    loud: tuple[int, ...]


@dataclass(frozen=True)
class Came:
    """What one session brought of one utterance: frame numbers in the order of their arrival."""

    session: int
    ready_s: float
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Loss:
    """What the daemon told: so much speech is given up."""

    at_s: float
    lost_ms: float


@dataclass(frozen=True)
class Gap:
    """What the daemon told: from so far on, so much sound did not come from its microphone."""

    at_s: float
    missing_ms: float
    is_announcement: bool = False
    """The microphone counted as silent, because an announcement sounded. Only those who begin to speak into it lose
    words to it; it must not begin while they speak."""


@dataclass
class Entry:
    """One line of the books. head_ms, hole_ms, tail_ms: missing in every session. sessions: that it came up in."""

    said: Said
    shape: Shape
    fate: Fate
    head_ms: int
    hole_ms: int
    tail_ms: int
    sessions: tuple[int, ...]
    heard_s: float | None
    faults: list[str] = field(default_factory=list)

    @property
    def missing_ms(self) -> int:
        return self.head_ms + self.hole_ms + self.tail_ms


def missing(loud: Sequence[int], came: Iterable[int]) -> tuple[int, int, int]:
    """→ how many loud frames are missing before the first that came, between, and after the last."""
    there = set(came) & set(loud)
    if not there:
        return len(loud), 0, 0
    first, last = min(there), max(there)
    head = sum(frame < first for frame in loud)
    tail = sum(frame > last for frame in loud)
    return head, len(loud) - len(there) - head - tail, tail


def shape_of(loud: Sequence[int], head: int, hole: int, tail: int) -> Shape:
    if head == len(loud):
        return Shape.NOTHING
    most = MOST_MISSING * len(loud)
    if head + hole + tail <= most:
        return Shape.WHOLE
    worst = max((head, Shape.HEAD), (hole, Shape.HOLE), (tail, Shape.TAIL), key=lambda pair: pair[0])
    return worst[1]


def disorder(frames: Sequence[int]) -> str | None:
    """Within one session every frame comes once and in its order. → what is wrong."""
    if len(set(frames)) < len(frames):
        return "a frame came twice in one session"
    if any(after < before for before, after in pairwise(frames)):
        return "frames came out of their order"
    return None


def balance(
    said: Sequence[Said],
    came: Mapping[int, Sequence[Came]],
    heard_s: Mapping[int, float],
    losses: Sequence[Loss],
    opened_s: Sequence[float],
    excused: Mapping[int, str],
    gaps: Sequence[Gap] = (),
) -> list[Entry]:
    """heard_s: when the daemon learned that the agent had heard an utterance. opened_s: when the gate opened, in the
    daemon's own words. excused: utterances that the fault itself had to cost. gaps: of the microphone, as the daemon
    told them: what is missing of an utterance has to lie in them, frame by frame."""
    entries = []
    for utterance in said:
        brought = came.get(utterance.number, ())
        head, hole, tail = missing(utterance.loud, (frame for one in brought for frame in one.frames))
        shape = shape_of(utterance.loud, head, hole, tail)
        acknowledged_s = heard_s.get(utterance.number)
        entry = Entry(
            utterance,
            shape,
            Fate.SILENT,
            head * FRAME_MS,
            hole * FRAME_MS,
            tail * FRAME_MS,
            tuple(one.session for one in brought),
            acknowledged_s,
        )
        entry.faults += [wrong for one in brought if (wrong := disorder(one.frames))]
        if acknowledged_s is not None:
            again = [one for one in brought if one.ready_s > acknowledged_s]
            loud = set(utterance.loud)
            if any(len(loud & set(one.frames)) > MOST_AGAIN for one in again):
                entry.faults.append("it came up again after its acknowledgement had arrived")
        if acknowledged_s is not None and shape is Shape.WHOLE:
            entry.fate = Fate.ACKNOWLEDGED
        elif utterance.number in excused:
            entry.fate = Fate.EXCUSED
        elif _is_settled(shape, acknowledged_s) and _lies_in_gaps(utterance, brought, gaps):
            entry.fate = Fate.TOLD
        elif shape is Shape.NOTHING and not any(
            utterance.start_s - 0.5 <= at_s <= utterance.end_s + 0.5 for at_s in opened_s
        ):
            entry.fate = Fate.GATE
        elif acknowledged_s is not None and shape is Shape.HEAD and entry.missing_ms <= ONSET_MS:
            # As it happens without any fault, too. It is counted by its shape.
            entry.fate = Fate.ACKNOWLEDGED
        entries.append(entry)
    _excuse_by_telling(entries, losses)
    for entry in entries:
        if entry.fate is Fate.SILENT:
            entry.faults.append(_in_words(entry))
        elif entry.fate is Fate.GATE:
            entry.faults.append("the gate did not open for it")
    return entries


def _is_settled(shape: Shape, acknowledged_s: float | None) -> bool:
    """Whether nothing but the missing part is owed: what came was acknowledged, or nothing came."""
    return shape is Shape.NOTHING if acknowledged_s is None else shape is not Shape.WHOLE


def _lies_in_gaps(said: Said, brought: Sequence[Came], gaps: Sequence[Gap]) -> bool:
    """Whether the daemon told of a gap in its microphone at the time of each frame that is missing."""
    there = {frame for one in brought for frame in one.frames}
    times_s = [said.start_s + frame * FRAME_MS / 1000 for frame in said.loud if frame not in there]
    gaps = [gap for gap in gaps if not gap.is_announcement or said.start_s >= gap.at_s - CLOCKS_S]
    in_gaps = [
        any(gap.at_s - CLOCKS_S <= at_s < gap.at_s + gap.missing_ms / 1000 + CLOCKS_S for gap in gaps)
        for at_s in times_s
    ]
    within_s, counted_to_s = 0.0, said.start_s - CLOCKS_S
    for gap in sorted(gaps, key=lambda one: one.at_s):
        end_s = min(gap.at_s + gap.missing_ms / 1000, said.end_s + CLOCKS_S)
        within_s += max(0.0, end_s - max(gap.at_s, counted_to_s))
        counted_to_s = max(counted_to_s, end_s)
    # No gap covers more than its length, and no moment counts twice.
    return bool(times_s) and all(in_gaps) and (len(times_s) - 2) * FRAME_MS <= within_s * 1000


def _excuse_by_telling(entries: Sequence[Entry], losses: Sequence[Loss]) -> None:
    """Each telling covers so much speech from before it, the oldest first."""
    for loss in sorted(losses, key=lambda one: one.at_s):
        left_ms = loss.lost_ms + TOLD_SLACK_MS
        for entry in entries:
            if entry.fate is not Fate.SILENT or entry.said.start_s > loss.at_s:
                continue
            lost_ms = entry.missing_ms if entry.heard_s is not None else len(entry.said.loud) * FRAME_MS
            if lost_ms <= left_ms:
                entry.fate = Fate.TOLD
                left_ms -= lost_ms


def _in_words(entry: Entry) -> str:
    if entry.heard_s is not None:
        return f"{entry.missing_ms} ms of it are missing ({entry.shape.value}), and nothing tells"
    if entry.shape is Shape.NOTHING:
        return "it came up in no session, and nothing tells"
    where = ", ".join(str(session) for session in entry.sessions)
    came = f"it came up in session {where} ({entry.shape.value})"
    return f"{came}, was never acknowledged and never sent again, and nothing tells"
