"""Sound on its way, with the name of its owner on every piece. Pure; whoever shares one brings the lock."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from parleyd.audio.pcm import BYTES_PER_SAMPLE

Owner = TypeVar("Owner")


class Ring(Generic[Owner]):
    """First in, first out. samples: how many are inside."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[Owner, bytes]] = deque()
        self.samples = 0

    def push(self, owner: Owner, pcm: bytes) -> None:
        if pcm:
            self._pieces.append((owner, pcm))
            self.samples += len(pcm) // BYTES_PER_SAMPLE

    @property
    def owned_samples(self) -> int:
        """Without what belongs to nobody (None)."""
        return sum(len(pcm) // BYTES_PER_SAMPLE for owner, pcm in self._pieces if owner is not None)

    def pop(self, samples: int) -> list[tuple[Owner, bytes]]:
        """The oldest `samples`, or as many as there are."""
        taken: list[tuple[Owner, bytes]] = []
        wanted = min(samples, self.samples) * BYTES_PER_SAMPLE
        self.samples -= wanted // BYTES_PER_SAMPLE
        while wanted:
            owner, pcm = self._pieces.popleft()
            if len(pcm) > wanted:
                self._pieces.appendleft((owner, pcm[wanted:]))
                pcm = pcm[:wanted]
            taken.append((owner, pcm))
            wanted -= len(pcm)
        return taken
