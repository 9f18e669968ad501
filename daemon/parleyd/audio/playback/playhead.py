"""How much of the agent's answers has been heard. Pure: time comes in as an argument.

A sample that the device takes at t is heard at t + latency, where the latency is the one that the device reports. An
answer is heard in segments: usually in one; in more only if it goes on after it had counted as finished or had been
cleared, or if another answer came in between.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from msgspec import Struct

# A segment is over if no more of it has come for this time after its last sound: longer than a hiccup of the network,
# shorter than a pause in which somebody waits for the answer's end.
GIVE_UP_S = 0.8
# An answer of which no more than this is missing was heard whole: a tenth of a syllable, and the sums of lengths differ
# in their last places.
WHOLE_WITHIN_S = 0.001
# The number of answers for which the heard part is remembered.
_REMEMBERED = 64


class HeardPart(Struct, frozen=True, eq=False):
    """The part of an answer that has sounded, out of all sound of it that came. ended_s does not count as different."""

    answer: int
    """The number of the answer."""
    heard_ms: int
    """The duration that has been heard at the speaker."""
    total_ms: int
    """The duration of all sound of the answer that came."""
    finished: bool
    """True if it sounded to its end, and was not cleared."""
    ended_s: float = 0.0
    """Monotonic time at which its last sound was, or will be, audible; while it sounds, the time of the question."""
    lost_ms: int = 0
    """The part of total_ms at the end for which there was no room, if everything before it was heard."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeardPart) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[int, int, int, bool, int]:
        return self.answer, self.heard_ms, self.total_ms, self.finished, self.lost_ms


class Started(Struct, frozen=True):
    """The first sound of an answer became audible."""

    answer: int
    """The number of the answer."""
    at_s: float
    """Monotonic time at which it became audible."""


class Segment(Struct, eq=False):
    """A stretch of one answer. Playhead.queued makes it, and Playhead.handed gets it back."""

    answer: int
    """The number of the answer."""
    closed: bool = False
    """True if no more sound of it will come."""
    is_empty: bool = True
    """True if all sound of it that came so far was lost."""
    handed_s: float = 0.0
    """The duration that the device has taken, in seconds."""
    starts_s: float = 0.0
    """Monotonic time at which it becomes audible; it has a meaning once something was handed."""
    ends_s: float = 0.0
    """Monotonic time at which the sound that was handed so far has been heard."""
    told: bool = False
    """True if its start was reported."""


class _Account(Struct):
    total_s: float = 0.0
    heard_s: float = 0.0  # of the segments that are over
    lost_s: float = 0.0  # the part of total_s that could not be kept


class Playhead:
    """The order of the answers, and how far each has got."""

    def __init__(self, rate_hz: int, latency_s: float) -> None:
        self.rate_hz = rate_hz
        self.latency_s = latency_s
        self._alive: deque[Segment] = deque()  # in the order of sounding; only the last may be open
        # (segment, from, to): stretches that may not have been heard yet.
        self._spans: deque[tuple[Segment, float, float]] = deque()
        self._accounts: OrderedDict[int, _Account] = OrderedDict()
        self._silent_from_s = 0.0

    # ---------------------------------------------------------------- events

    def queued(self, answer: int, duration_s: float) -> Segment:
        """More of an answer has come."""
        self._account(answer).total_s += duration_s
        segment = self._segment(answer)
        segment.is_empty = False
        return segment

    def lost(self, answer: int, duration_s: float) -> None:
        """More of an answer has come, and cannot be kept."""
        account = self._account(answer)
        account.total_s += duration_s
        account.lost_s += duration_s
        # If a great many answers come without any sound, their ends are not reported.
        if len(self._alive) < _REMEMBERED:
            self._segment(answer)

    def _account(self, answer: int) -> _Account:
        account = self._accounts.setdefault(answer, _Account())
        while len(self._accounts) > _REMEMBERED:
            self._accounts.popitem(last=False)
        return account

    def _segment(self, answer: int) -> Segment:
        """The answer's segment that is still open, otherwise a new one."""
        last = self._alive[-1] if self._alive else None
        if last is not None and last.answer == answer and not last.closed:
            return last
        if last is not None:
            last.closed = True
        segment = Segment(answer)
        self._alive.append(segment)
        return segment

    def end(self, answer: int) -> None:
        """No more of an answer will come."""
        if self._alive and self._alive[-1].answer == answer:
            self._alive[-1].closed = True

    def handed(self, segment: Segment, samples: int, lead_s: float, at_s: float) -> None:
        """The device took samples at at_s; within its period lead_s of other sound comes first."""
        begins_s = at_s + self.latency_s + lead_s
        duration_s = samples / self.rate_hz
        if segment.handed_s == 0.0:
            segment.starts_s = begins_s
        segment.handed_s += duration_s
        segment.ends_s = begins_s + duration_s
        self._spans.append((segment, begins_s, segment.ends_s))
        self._silent_from_s = max(self._silent_from_s, segment.ends_s)

    def due(self, now_s: float, *, dry: bool) -> list[Started | HeardPart]:
        """Returns the reports that are due by now, in order. dry: nothing waits to be handed to the device."""
        self._forget_spans(now_s)
        told: list[Started | HeardPart] = []
        while self._alive:
            segment = self._alive[0]
            if segment.handed_s > 0.0 and not segment.told and now_s >= segment.starts_s:
                segment.told = True
                told.append(Started(segment.answer, segment.starts_s))
            over_s = self._over_s(segment, dry=dry)
            if over_s is None or now_s < over_s:
                break
            self._alive.popleft()
            ended_s = now_s if segment.handed_s == 0.0 else segment.ends_s
            told.append(self._finish(segment, segment.handed_s, ended_s, finished=True))
        return told

    def next_due_s(self, *, dry: bool) -> float | None:
        """When `due` will have a report, if nothing else happens until then."""
        if not self._alive:
            return None
        segment = self._alive[0]
        if segment.handed_s > 0.0 and not segment.told:
            return segment.starts_s
        return self._over_s(segment, dry=dry)

    def clear(self, now_s: float, *, sharp: bool, fade_s: float = 0.0) -> list[Started | HeardPart]:
        """Throws away all sound that was not yet handed, and if sharp also the sound in the device.

        fade_s: the duration of a fade that follows the handed sound, and does not count as heard. Call `due` before.
        Reports the end of every answer, first of the one that sounds.
        """
        told: list[Started | HeardPart] = []
        for segment in self._alive:
            heard_s = self._sounded_s(segment, now_s) if sharp else segment.handed_s
            if heard_s > 0.0 and not segment.told:
                told.append(Started(segment.answer, segment.starts_s))
            whole = segment.closed and heard_s > 0.0 and self._is_whole(segment, heard_s)
            ended_s = now_s if sharp or segment.handed_s == 0.0 else max(now_s, segment.ends_s + fade_s)
            told.append(self._finish(segment, heard_s, ended_s, finished=whole))
        self._alive.clear()
        if sharp:
            self._spans.clear()
            self._silent_from_s = now_s
        return told

    # ---------------------------------------------------------------- the present state

    @property
    def silent_from_s(self) -> float:
        """When all sound that was handed to the device will have been heard."""
        return self._silent_from_s

    @property
    def busy(self) -> bool:
        """Whether the end of some answer has not been reported yet."""
        return bool(self._alive)

    @property
    def open(self) -> Segment | None:
        """The segment that may get more sound."""
        return self._alive[-1] if self._alive and not self._alive[-1].closed else None

    def _sounded_s(self, segment: Segment, now_s: float) -> float:
        spans = [(from_s, to_s) for owner, from_s, to_s in self._spans if owner is segment and to_s > now_s]
        ahead_s = sum(to_s - max(now_s, from_s) for from_s, to_s in spans)
        return max(0.0, segment.handed_s - ahead_s)

    def _over_s(self, segment: Segment, *, dry: bool) -> float | None:
        followed = any(later.handed_s > 0.0 for later in self._alive if later is not segment)
        if segment.handed_s == 0.0:
            if not (segment.is_empty or dry or followed):
                return None
            # All sound of it was lost: there was no room, or it was in the resampler when the device's rate changed.
            # It is the first, so all before it has been heard.
            if segment.closed:
                return 0.0
            return self._silent_from_s + GIVE_UP_S if dry else None
        if segment.closed:
            return segment.ends_s if dry or followed else None
        return segment.ends_s + GIVE_UP_S if dry else None

    def _is_whole(self, segment: Segment, heard_s: float) -> bool:
        account = self._accounts.get(segment.answer)
        return account is None or account.heard_s + heard_s >= account.total_s - WHOLE_WITHIN_S

    def _finish(self, segment: Segment, heard_s: float, ended_s: float, *, finished: bool) -> HeardPart:
        account = self._accounts.get(segment.answer)
        if account is None:
            return _heard(segment.answer, heard_s, heard_s, ended_s, finished=finished)
        whole = finished and self._is_whole(segment, heard_s)
        account.heard_s = account.total_s if whole else min(account.heard_s + heard_s, account.total_s)
        lost_s = account.lost_s if finished else 0.0
        finished = finished and not lost_s
        return _heard(segment.answer, account.heard_s, account.total_s, ended_s, finished=finished, lost_s=lost_s)

    def _forget_spans(self, now_s: float) -> None:
        while self._spans and self._spans[0][2] <= now_s:
            self._spans.popleft()


def _heard(
    answer: int, heard_s: float, total_s: float, ended_s: float, *, finished: bool, lost_s: float = 0.0
) -> HeardPart:
    heard_ms, total_ms = round(min(heard_s, total_s) * 1000), round(total_s * 1000)
    return HeardPart(answer, heard_ms, total_ms, finished, ended_s, round(lost_s * 1000))
