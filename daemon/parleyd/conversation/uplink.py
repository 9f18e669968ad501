"""What is to go up the wire, and what is kept until the agent has shown that it heard it. Pure; callers lock.

While a session is live, the frames sent follow the room's clock one to one: speech as it was, zeros (mode `silence`)
for the rest. The gate holds back its pre-roll, so in quiet the stream would trail by that much; therefore a session
begins with a credit of zeros as long as the pre-roll. In quiet, what was sent then equals the time that passed; when
somebody speaks, the held-back pre-roll goes up at once, in its place.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from parleyd.audio.gate import Passed
from parleyd.audio.pcm import FRAME_MS, SILENT_FRAME, Frame

Mode = Literal["silence", "open", "drop"]

# Mode `drop`: zeros after each utterance, so that the server's own end-of-speech detection comes to a verdict.
DROP_TAIL_MS = 2000


@dataclass(slots=True)
class UplinkCounters:
    """Frames, since the start. room: came out of the gate. speech: of those, sent as they were.

    sound: sent with what the microphone heard, speech or not.
    """

    room: int = 0
    speech: int = 0
    sound: int = 0
    silence: int = 0
    resent: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Outgoing:
    pcm: bytes
    speech: Frame | None = field(default=None)


class Uplink:
    """capacity_ms bounds both the unsent and the kept speech: beyond it the oldest goes, and is counted as lost."""

    def __init__(self, mode: Mode, *, pre_roll_ms: int, capacity_ms: int) -> None:
        self._mode = mode
        self._credit_frames = pre_roll_ms // FRAME_MS
        self._pre_roll_s = pre_roll_ms / 1000
        self._capacity_frames = capacity_ms // FRAME_MS
        self._kept: deque[Frame] = deque()
        self._outgoing: deque[_Outgoing] = deque()
        self._sent_until_s = float("-inf")
        self._since_speech_ms = 0
        # All that was said has been heard, and nobody has talked since: what still comes is hangover.
        self._settled = False
        self.live = False
        self.counters = UplinkCounters()

    def __len__(self) -> int:
        return len(self._outgoing)

    @property
    def kept_ms(self) -> int:
        """Speech that no agent has shown to have heard."""
        return len(self._kept) * FRAME_MS

    @property
    def kept_until_s(self) -> float | None:
        """When the newest kept speech was spoken."""
        return self._kept[-1].start_s if self._kept else None

    def push(self, passed: Passed) -> None:
        """A frame from the gate, in order."""
        self.counters.room += 1
        frame = passed.frame
        if passed.speech:
            self._since_speech_ms = 0
            self._keep(frame)
            if self._settled:
                self._drop_heard(frame.start_s - self._pre_roll_s)
            if self.live:
                self._queue(_Outgoing(frame.pcm, frame))
            return
        self._since_speech_ms += FRAME_MS
        if self._settled:
            self._drop_heard(frame.start_s)
            self._settled = False
        if not self.live or (self._mode == "drop" and self._since_speech_ms > DROP_TAIL_MS):
            return
        self._queue(_Outgoing(frame.pcm if self._mode == "open" else SILENT_FRAME))

    def begin(self) -> int:
        """A session is live: all kept speech goes up first. Returns its length in ms."""
        self.live = True
        self._outgoing.clear()
        if self._mode == "silence":
            self._outgoing.extend(_Outgoing(SILENT_FRAME) for _ in range(self._credit_frames))
        again = sum(frame.start_s <= self._sent_until_s for frame in self._kept)
        self.counters.resent += again
        self._outgoing.extend(_Outgoing(frame.pcm, frame) for frame in self._kept)
        self._sent_until_s = float("-inf")
        return self.kept_ms

    def end(self) -> None:
        """The session is gone. Kept speech stays for the next one."""
        self.live = False
        self._outgoing.clear()

    def take(self, most: int) -> list[bytes]:
        """Up to `most` frames, in order, now sent."""
        taken = [self._outgoing.popleft() for _ in range(min(most, len(self._outgoing)))]
        for outgoing in taken:
            self.counters.sound += outgoing.pcm is not SILENT_FRAME
            if outgoing.speech is None:
                self.counters.silence += 1
            else:
                self.counters.speech += 1
                self._sent_until_s = outgoing.speech.start_s
        return [outgoing.pcm for outgoing in taken]

    def heard(self, until_s: float, *, settled: bool) -> None:
        """The agent has shown that it heard what was spoken before until_s; only what was sent can be meant.

        settled: nobody talks now, so that the rest of this utterance is its hangover. Of that only as much is kept as
        the onset of further talk in it may need.
        """
        self._drop_heard(until_s)
        self._settled = settled

    def talk_goes_on(self) -> None:
        """Further talk within an utterance that had been settled."""
        self._settled = False

    def forget(self, before_s: float = float("inf")) -> int:
        """Gives up kept speech that was spoken before before_s. Returns how many ms of it had never been sent."""
        unsent = 0
        while self._kept and self._kept[0].start_s < before_s:
            unsent += self._kept.popleft().start_s > self._sent_until_s
        return unsent * FRAME_MS

    def _drop_heard(self, until_s: float) -> None:
        until_s = min(until_s, self._sent_until_s)
        while self._kept and self._kept[0].start_s <= until_s:
            self._kept.popleft()

    def _keep(self, frame: Frame) -> None:
        if len(self._kept) >= self._capacity_frames:
            oldest = self._kept.popleft()
            if not self.live and oldest.start_s > self._sent_until_s:
                self.counters.lost += 1
        self._kept.append(frame)

    def _queue(self, outgoing: _Outgoing) -> None:
        if len(self._outgoing) >= self._capacity_frames + self._credit_frames:
            oldest = self._outgoing.popleft()
            if oldest.speech is not None:
                self.counters.lost += 1
        self._outgoing.append(outgoing)
