"""Decides when somebody speaks, from the audio that a client sends. Pure except for webrtcvad.

No clock is used: a client may send faster than real time, and a client that stops sending during a silence never ends
its turn, as with the real service.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import webrtcvad

from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ, level_dbfs
from parleyd.audio.resample import Resampler

_AGGRESSIVENESS = 2
_QUIET_DBFS = -50.0
# Speech begins when five of the last eight frames are voiced: 100 to 160 ms, so that a click does not interrupt.
_ONSET_WINDOW_FRAMES = 8
ONSET_VOICED_FRAMES = 5
PRE_ROLL_MS = 300
# The recogniser needs some silence after the last word, but not all of it.
_TAIL_FRAMES = 300 // FRAME_MS
_LONGEST_FRAMES = 30_000 // FRAME_MS


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody begins to speak. start_ms: the position, in the sound pushed, of the first sample of the utterance."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechGoesOn:
    """pcm: the speech so far, 16 kHz."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpeechMayHaveEnded:
    """There is a silence that may be a pause, or the end. pcm: the utterance so far, 16 kHz."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """It was a pause."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """pcm: the whole utterance with a little silence around it, 16 kHz. end_ms: the position, in the sound pushed, at
    which the end was noticed."""

    pcm: bytes = field(repr=False)
    end_ms: int


HearingEvent = SpeechStarted | SpeechGoesOn | SpeechMayHaveEnded | SpeechResumed | SpeechEnded


class Hearing:
    """rate_hz: of the PCM pushed. report_every_ms: the interval of SpeechGoesOn while somebody speaks; 0: none.

    may_have_ended_ms: the silence of SpeechMayHaveEnded; 0: none. pre_roll_ms: sound from before the onset that belongs
    to the utterance. onset_frames: of the last eight frames, the number of voiced ones with which speech begins.
    """

    def __init__(
        self,
        rate_hz: int,
        end_of_speech_ms: int,
        report_every_ms: int = 0,
        *,
        may_have_ended_ms: int = 0,
        pre_roll_ms: int = PRE_ROLL_MS,
        onset_frames: int = ONSET_VOICED_FRAMES,
    ) -> None:
        self._resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
        self._vad = webrtcvad.Vad(_AGGRESSIVENESS)
        self._end_frames = max(1, end_of_speech_ms // FRAME_MS)
        self._may_have_ended_frames = -(-may_have_ended_ms // FRAME_MS)
        self._may_have_ended = False
        self._report_frames = report_every_ms // FRAME_MS
        self._onset_frames = onset_frames
        self._rest = b""
        self._frames = 0
        self._recent: deque[bytes] = deque(maxlen=pre_roll_ms // FRAME_MS + _ONSET_WINDOW_FRAMES)
        self._voiced: deque[bool] = deque(maxlen=_ONSET_WINDOW_FRAMES)
        self._utterance: list[bytes] | None = None
        self._silent_frames = 0
        self._onset_at_frames = 0

    @property
    def is_speech(self) -> bool:
        return self._utterance is not None

    @property
    def speech_ms(self) -> int:
        """How long the person speaks now, from the moment at which that was noticed, without the silence at the end."""
        if self._utterance is None:
            return 0
        return max(0, len(self._utterance) - self._onset_at_frames - self._silent_frames) * FRAME_MS

    def push(self, pcm: bytes) -> list[HearingEvent]:
        """Takes the next piece of the client's sound, of any number of samples, and returns its events."""
        events: list[HearingEvent] = []
        data = self._rest + self._resampler.process(pcm)
        whole = len(data) - len(data) % FRAME_BYTES
        self._rest = data[whole:]
        for start in range(0, whole, FRAME_BYTES):
            self._step(data[start : start + FRAME_BYTES], events)
        return events

    def forget(self) -> None:
        """Drops the utterance so far, as if nobody had spoken."""
        self._utterance = None
        self._recent.clear()
        self._voiced.clear()

    def end(self) -> SpeechEnded | None:
        """Ends the utterance now, before its silence has come; None if nobody speaks."""
        if self._utterance is None:
            return None
        pcm = b"".join(self._utterance)
        self.forget()
        return SpeechEnded(pcm, self._frames * FRAME_MS)

    def _step(self, frame: bytes, events: list[HearingEvent]) -> None:
        self._frames += 1
        voiced = level_dbfs(frame) > _QUIET_DBFS and self._vad.is_speech(frame, PIPELINE_RATE_HZ)
        if self._utterance is None:
            self._recent.append(frame)
            self._voiced.append(voiced)
            if sum(self._voiced) >= self._onset_frames:
                self._utterance = list(self._recent)
                self._onset_at_frames = len(self._utterance)
                self._silent_frames = 0
                self._may_have_ended = False
                events.append(SpeechStarted((self._frames - len(self._utterance)) * FRAME_MS))
            return
        self._utterance.append(frame)
        self._silent_frames = 0 if voiced else self._silent_frames + 1
        if voiced and self._may_have_ended:
            self._may_have_ended = False
            events.append(SpeechResumed())
        count = len(self._utterance)
        if self._silent_frames >= self._end_frames or count >= _LONGEST_FRAMES:
            surplus = max(0, self._silent_frames - _TAIL_FRAMES)
            events.append(SpeechEnded(b"".join(self._utterance[: count - surplus]), self._frames * FRAME_MS))
            self.forget()
        elif self._may_have_ended_frames and self._silent_frames == self._may_have_ended_frames:
            self._may_have_ended = True
            events.append(SpeechMayHaveEnded(b"".join(self._utterance)))
        elif self._report_frames and count % self._report_frames == 0:
            events.append(SpeechGoesOn(b"".join(self._utterance)))
