"""From a provider's chunks to sound at the device's rate, a few periods ahead of it. Pure.

    queue ─▶ Job: decode, resample ─▶ made, in whole periods ─▶ the device

Chunks are kept as they came until the device is near. So a device that comes back at another rate finds nearly all of
them unmade, and sound that was made goes back to where it came from. A job makes one period when nothing lies ready,
and otherwise several: the wake-up of the worker costs more than its work.
"""

from __future__ import annotations

import itertools
from collections import deque

from parleyd.audio import pcm as sound
from parleyd.audio.pcm import BYTES_PER_SAMPLE, AudioFormat
from parleyd.audio.playback.answer_queue import ChunkQueue, Slice
from parleyd.audio.playback.playhead import Segment
from parleyd.audio.resample import Resampler

# A job makes this much while sound lies ready, in whole periods.
_BATCH_S = 0.100


class Job:
    """A piece of sound to be made: run() needs no lock, because it touches the worker's own objects alone."""

    def __init__(self, worker: _Worker, piece: Slice, rate_hz: int, *, is_fresh: bool) -> None:
        self.piece = piece
        self.pcm = b""
        self._worker = worker
        self._rate_hz = rate_hz
        self._is_fresh = is_fresh

    def run(self) -> None:
        """Decodes and resamples; on one thread, each job once, in the order in which they were given out. A job that
        found no memory (MemoryError) may be run again."""
        self.pcm = self._worker.make(self.piece, self._rate_hz, is_fresh=self._is_fresh)


class _Worker:
    """Keeps a stream's resampler from job to job."""

    def __init__(self) -> None:
        self.resampler = Resampler(1, 1)

    def make(self, piece: Slice, rate_hz: int, *, is_fresh: bool) -> bytes:
        if piece.fmt is None:
            return self.resampler.flush()
        rates = (piece.fmt.rate_hz, rate_hz)
        if is_fresh or (self.resampler.from_hz, self.resampler.to_hz) != rates:
            self.resampler = Resampler(*rates)
        return self.resampler.process(sound.decode(piece.fmt, piece.data))


class Pipeline:
    """queue: the sound that was not yet made. rate_hz: of the device. period_samples: the number that the device takes
    at once, or a larger one if its periods are very short. ahead_s: how much more than a period lies ready, or is being
    made.

    Sound keeps its order, and belongs to its segment all the way. Only pop() takes sound away for good.
    """

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.queue = ChunkQueue()
        self.rate_hz = 48_000
        self.period_samples = 480
        self._ahead_s = ahead_s
        self._worker = _Worker()
        self._is_fresh = True  # the next job needs a new resampler: the present one holds sound that was cleared
        self._job: Job | None = None
        self._tail_owner: Segment | None = None  # the segment whose last samples the resampler holds
        self._tail_rate_hz = 0  # the rate of these samples
        # In pieces of a period, so that the device mostly takes a piece as it is; the last of a segment may be shorter.
        self._made: deque[tuple[Segment, bytes]] = deque()
        self._made_samples = 0
        self._ready_samples = 0  # the part of it that the device may take: whole periods, and the end of the sound

    # ---------------------------------------------------------------- the present state

    @property
    def is_dry(self) -> bool:
        """Whether no sound waits, in any form."""
        return not (self._made_samples or self._tail_owner is not None or self._job is not None or self.queue)

    @property
    def waiting_s(self) -> float:
        """The duration of the sound that the device has not yet taken, without the sound that is being made."""
        return self.queue.duration_s + self._made_samples / self.rate_hz

    @property
    def next_owner(self) -> Segment | None:
        """The owner of the sound that is being made, or is made next."""
        if self._job is not None:
            return self._job.piece.owner
        first = self.queue.next_up
        return self._tail_owner if first is None else first[0]

    # ---------------------------------------------------------------- making

    @property
    def has_work(self) -> bool:
        """Whether work() would give something."""
        if self._job is not None or self._ready_samples > self.period_samples + round(self._ahead_s * self.rate_hz):
            return False
        return bool(self.queue) or self._tail_is_due

    @property
    def _tail_is_due(self) -> bool:
        tail = self._tail_owner
        return tail is not None and (tail.closed or self._ready_samples < self.period_samples)

    def work(self) -> Job | None:
        """Returns the next job if too little lies ready; one job at a time, to be brought back to finish()."""
        if not self.has_work:
            return None
        self._job = Job(self._worker, self._next_piece(), self.rate_hz, is_fresh=self._is_fresh)
        self._is_fresh = False
        return self._job

    def _next_piece(self) -> Slice:
        tail, first = self._tail_owner, self.queue.next_up
        # The resampler gives out the rest of one segment, or of one rate, before the next one goes in.
        if tail is not None and (first is None or tail is not first[0] or self._tail_rate_hz != first[1].rate_hz):
            return Slice(tail)
        periods = 1
        if self._ready_samples >= self.period_samples:
            periods = max(1, round(_BATCH_S * self.rate_hz) // self.period_samples)
        return self.queue.take(periods * self.period_samples, self.rate_hz)

    def finish(self, job: Job) -> None:
        """A job has run; its sound is dropped if it was cleared meanwhile, or put back."""
        if job is not self._job:
            return
        self._job = None
        owner, fmt = job.piece.owner, job.piece.fmt
        self._tail_owner = None
        if fmt is not None and fmt.rate_hz != self.rate_hz:
            self._tail_owner, self._tail_rate_hz = owner, fmt.rate_hz
        if job.pcm:
            self._made_samples += len(job.pcm) // BYTES_PER_SAMPLE
            self._cut(owner, job.pcm)
        if not self.queue:
            self._ready_samples = self._made_samples
        else:
            more = self._made_samples - self._ready_samples
            self._ready_samples += more - more % self.period_samples

    def _cut(self, owner: Segment, pcm: bytes) -> None:
        """Into pieces of a period, behind the sound that was made before."""
        size = self.period_samples * BYTES_PER_SAMPLE
        if self._made and self._made[-1][0] is owner and len(self._made[-1][1]) < size:
            pcm = self._made.pop()[1] + pcm
        self._made.extend((owner, pcm[at : at + size]) for at in range(0, len(pcm), size))

    # ---------------------------------------------------------------- the device

    def pop_piece(self, samples: int) -> tuple[Segment, bytes] | None:
        """Takes the next `samples`, if they are one piece of an answer whose start was told, and if so much lies ready
        behind them that has_work stays False. Otherwise it takes nothing and returns None: see pop()."""
        left = self._ready_samples - samples
        if left <= self.period_samples:
            return None
        first = self._made[0]
        if not first[0].told or len(first[1]) != samples * BYTES_PER_SAMPLE:
            return None
        self._ready_samples = left
        self._made_samples -= samples
        self._made.popleft()
        return first

    def pop(self, samples: int) -> list[tuple[Segment, bytes]]:
        """Takes the oldest `samples` that lie ready, or as many as there are; with their owners."""
        samples = min(samples, self._ready_samples)
        self._ready_samples -= samples
        self._made_samples -= samples
        popped: list[tuple[Segment, bytes]] = []
        wanted = samples * BYTES_PER_SAMPLE
        while wanted:
            owner, pcm = self._made.popleft()
            if len(pcm) > wanted:
                self._made.appendleft((owner, pcm[wanted:]))
                pcm = pcm[:wanted]
            popped.append((owner, pcm))
            wanted -= len(pcm)
        return popped

    def set_rate(self, rate_hz: int) -> None:
        """The device was opened, perhaps at another rate: then the sound that was made, or is being made, goes back to
        the head of the queue. Only the sound in the resampler is lost, 3 ms at 16 kHz."""
        if self.rate_hz != rate_hz:
            if self._job is not None and self._job.piece.fmt is not None:
                self.queue.put_back(self._job.piece.owner, self._job.piece.fmt, self._job.piece.data)
            made = AudioFormat("pcm", self.rate_hz)
            parts = [(owner, [pcm for _, pcm in its]) for owner, its in itertools.groupby(self._made, lambda it: it[0])]
            for owner, pieces in reversed(parts):
                self.queue.put_back(owner, made, b"".join(pieces))
            self._forget_made()
        self.rate_hz = rate_hz

    def clear(self) -> bytes:
        """Throws everything away. Returns the sound that lay ready for the device."""
        ready = b"".join(pcm for _, pcm in self.pop(self._ready_samples))
        self.queue.clear()
        self._forget_made()
        return ready

    def _forget_made(self) -> None:
        self._made = deque()
        self._made_samples = self._ready_samples = 0
        self._tail_owner = self._job = None
        self._is_fresh = True
