"""The agent's sound as it came: bounded, in order, each chunk with its format. Pure.

Agents send faster than real time, and nobody can slow them down: the receiver must not wait. So a whole story is
kept, encoded as it came, in memory: half an hour of it at 16 kHz. A file would save some of that memory, but a disk may
be slow. Every operation takes the same time, however much is kept: cleared sound is freed later, piece by piece.
"""

from __future__ import annotations

import logging
import math
from collections import deque

from msgspec import Struct

from parleyd.audio.pcm import PIPELINE_RATE_HZ, AudioFormat
from parleyd.audio.playback.playhead import Segment
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

# An answer is cut at the first of these limits. They are half an hour of PCM at 16 kHz, twenty minutes at 24 kHz, ten
# at 48 kHz; with the rest of the daemon (about 80 MB) well below the 256 MB that the unit allows it.
QUEUE_LIMIT_S = 1800.0
QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
# Small chunks of one segment are kept together, or a server that sends single samples would fill the memory with
# objects.
_BLOCK_BYTES = 64 * 1024
# The memory that a block takes beside its sound.
_OVERHEAD_BYTES = 1024
# The number of blocks that are freed at once: a tenth of a millisecond's work.
_FREED_BLOCKS = 16


class _Block(Struct):
    """Sound of one segment as the provider encodes it; the part before taken_bytes has been played."""

    segment: Segment
    fmt: AudioFormat
    data: bytearray
    taken_bytes: int = 0


class Slice(Struct, frozen=True):
    """A piece of a segment."""

    owner: Segment
    """The segment that it belongs to."""
    fmt: AudioFormat | None = None
    """The format of `data`. None: the piece stands for the rest of the segment in the resampler."""
    data: bytes = b""
    """The sound in the provider's format; empty without a format."""


class ChunkQueue:
    """duration_s: the length of the sound that waits. size_bytes: the memory that it takes. dropped_s: the length of
    all sound so far that came beyond the limits."""

    def __init__(self) -> None:
        self._fmt = AudioFormat("pcm", PIPELINE_RATE_HZ)
        self._odd = b""  # half a sample, until the chunk with its other half comes
        self._odd_answer: int | None = None
        self._blocks: deque[_Block] = deque()
        self._waste: deque[deque[_Block]] = deque()
        self._drop_said = False  # since the queue was empty
        self._cut_answer: int | None = None  # the answer whose end is missing: more of it would make no sense
        self.duration_s = 0.0
        self.size_bytes = 0
        self.dropped_s = 0.0

    def set_format(self, fmt: AudioFormat) -> None:
        """The format of all chunks that come from now on."""
        self._fmt = fmt
        self._odd = b""

    def accept(self, answer: int, data: bytes) -> tuple[bytes, float]:
        """Returns the part of a new chunk that is whole and within the limits, for push(); and how many seconds of the
        chunk are beyond them."""
        if self._odd_answer == answer:
            data = self._odd + data
        self._odd, self._odd_answer = b"", None
        if self._fmt.encoding == "pcm" and len(data) % 2:
            self._odd, self._odd_answer = data[-1:], answer
            data = data[:-1]
        sample_bytes = self._fmt.sample_bytes
        room = 0 if answer == self._cut_answer else self._room_bytes(sample_bytes)
        if len(data) <= room:
            return data, 0.0
        lost_s = (len(data) - room) / sample_bytes / self._fmt.rate_hz
        self.dropped_s += lost_s
        self._cut_answer = answer
        if not self._drop_said:
            self._drop_said = True
            log.warning(
                "the agent is %.0f s ahead of the speaker, and no more is kept: the end of its answer is dropped",
                self.duration_s + room / sample_bytes / self._fmt.rate_hz,
                extra=fields(hint="let the agent give shorter answers, in its prompt"),
            )
        return data[:room], lost_s

    def _room_bytes(self, sample_bytes: int) -> int:
        by_time = int((QUEUE_LIMIT_S - self.duration_s) * self._fmt.rate_hz) * sample_bytes
        by_size = QUEUE_LIMIT_BYTES - self.size_bytes - _OVERHEAD_BYTES
        return max(0, min(by_time, by_size - by_size % sample_bytes))

    def length_s(self, data: bytes) -> float:
        """The duration of sound in the current format."""
        return len(data) / self._fmt.sample_bytes / self._fmt.rate_hz

    def push(self, segment: Segment, data: bytes) -> None:
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.segment is segment and last.fmt == self._fmt and len(last.data) < _BLOCK_BYTES:
            last.data += data
        else:
            self._blocks.append(_Block(segment, self._fmt, bytearray(data)))
            self.size_bytes += _OVERHEAD_BYTES
        self.size_bytes += len(data)
        self.duration_s += self.length_s(data)

    def put_back(self, segment: Segment, fmt: AudioFormat, data: bytes) -> None:
        """Takes back whole samples that were taken and not played after all: they are the oldest again."""
        self._blocks.appendleft(_Block(segment, fmt, bytearray(data)))
        self.size_bytes += len(data) + _OVERHEAD_BYTES
        self.duration_s += len(data) / fmt.sample_bytes / fmt.rate_hz

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self._blocks)

    @property
    def next_up(self) -> tuple[Segment, AudioFormat] | None:
        """The owner and the format of the sound that comes next."""
        return (self._blocks[0].segment, self._blocks[0].fmt) if self._blocks else None

    def take(self, samples: int, rate_hz: int) -> Slice:
        """Takes the oldest sound: up to `samples` at rate_hz, and no more than the first block holds. There must be a
        block."""
        block = self._blocks[0]
        wanted = math.ceil(samples * block.fmt.rate_hz / rate_hz) * block.fmt.sample_bytes
        data = bytes(block.data[block.taken_bytes : block.taken_bytes + wanted])
        self.duration_s = max(0.0, self.duration_s - len(data) / block.fmt.sample_bytes / block.fmt.rate_hz)
        block.taken_bytes += len(data)
        if block.taken_bytes == len(block.data):
            self._blocks.popleft()
            self.size_bytes -= len(block.data) + _OVERHEAD_BYTES
            self._drop_said &= bool(self._blocks)
        return Slice(block.segment, block.fmt, data)

    @property
    def has_waste(self) -> bool:
        """Whether free_some() has something to do."""
        return bool(self._waste)

    def free_some(self) -> None:
        """Frees some of the sound that was cleared. For one thread, while it has nothing else to do: to free half an
        hour of sound takes milliseconds."""
        if self._waste:
            oldest = self._waste[0]
            for _ in range(min(_FREED_BLOCKS, len(oldest))):
                oldest.popleft()
            if not oldest:
                self._waste.popleft()

    def clear(self) -> None:
        if self._blocks:
            self._waste.append(self._blocks)
            self._blocks = deque()
        self.duration_s = 0.0
        self.size_bytes = 0
        self._odd, self._odd_answer = b"", None
        self._cut_answer = None
        self._drop_said = False
