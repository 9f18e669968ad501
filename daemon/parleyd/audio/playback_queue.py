"""The agent's sound as it came: bounded, in order, each chunk with its format. Pure; playback.py brings the lock."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass

from parleyd.audio.pcm import PIPELINE_RATE_HZ, AudioFormat
from parleyd.audio.playhead import Segment

log = logging.getLogger(__name__)

QUEUE_LIMIT_S = 120.0


@dataclass(slots=True)
class _Chunk:
    """Not yet played, as the provider sent it."""

    segment: Segment
    fmt: AudioFormat
    data: memoryview


@dataclass(frozen=True, slots=True)
class Slice:
    """Whose it is, its format, its bytes. Without a format: time for what the resampler still holds."""

    owner: Segment
    fmt: AudioFormat | None = None
    data: bytes = b""


class ChunkQueue:
    """duration_s: of what waits. dropped_s: of what came beyond QUEUE_LIMIT_S, so far."""

    def __init__(self) -> None:
        self._fmt = AudioFormat("pcm", PIPELINE_RATE_HZ)
        self._odd = b""  # half a sample, until the chunk with its other half comes
        self._odd_answer: int | None = None
        self._chunks: deque[_Chunk] = deque()
        self._drop_said = False
        self.duration_s = 0.0
        self.dropped_s = 0.0

    def set_format(self, fmt: AudioFormat) -> None:
        """Of what comes from now on."""
        self._fmt = fmt
        self._odd = b""

    def accept(self, answer: int, data: bytes) -> bytes:
        """What of a new chunk is whole and within the limit; to be given to push() or dropped."""
        if self._odd_answer == answer:
            data = self._odd + data
        self._odd, self._odd_answer = b"", None
        if self._fmt.encoding == "pcm" and len(data) % 2:
            self._odd, self._odd_answer = data[-1:], answer
            data = data[:-1]
        sample_bytes = self._fmt.sample_bytes
        room = max(0, int((QUEUE_LIMIT_S - self.duration_s) * self._fmt.rate_hz)) * sample_bytes
        if len(data) <= room:
            return data
        self.dropped_s += (len(data) - room) / sample_bytes / self._fmt.rate_hz
        if not self._drop_said:
            self._drop_said = True
            log.warning("the agent is more than %d s ahead of the speaker: its newest sound is dropped", QUEUE_LIMIT_S)
        return data[:room]

    def length_s(self, data: bytes) -> float:
        """How long sound in the current format lasts."""
        return len(data) / self._fmt.sample_bytes / self._fmt.rate_hz

    def push(self, segment: Segment, data: bytes) -> None:
        self._chunks.append(_Chunk(segment, self._fmt, memoryview(data)))
        self.duration_s += self.length_s(data)

    def __len__(self) -> int:
        """Chunks."""
        return len(self._chunks)

    @property
    def next_up(self) -> tuple[Segment, AudioFormat] | None:
        """Whose sound comes next, and its format."""
        return (self._chunks[0].segment, self._chunks[0].fmt) if self._chunks else None

    def take(self, samples: int, rate_hz: int) -> Slice:
        """The oldest sound, so much of it (samples at rate_hz) as the first chunk has. There must be one."""
        chunk = self._chunks[0]
        wanted = math.ceil(samples * chunk.fmt.rate_hz / rate_hz) * chunk.fmt.sample_bytes
        data = chunk.data[:wanted]
        self.duration_s = max(0.0, self.duration_s - len(data) / chunk.fmt.sample_bytes / chunk.fmt.rate_hz)
        chunk.data = chunk.data[wanted:]
        if not chunk.data:
            self._chunks.popleft()
        return Slice(chunk.segment, chunk.fmt, bytes(data))

    def clear(self) -> None:
        self._chunks.clear()
        self.duration_s = 0.0
        self._odd, self._odd_answer = b"", None
        self._drop_said = False
