"""WebRTC's canceller, which rests while the linear one explains all that is heard.

It takes more than any other part of the ears, and its output matters only where a person may be: as a second opinion,
and as the sound without echo. So while nothing in the residual has stood out for a while, frames are only kept, and the
oldest are dropped. As soon as something stands out, those that were kept are processed at once, so that the canceller
knows the sound that is still on its way through the room, and the first frame of the person gets the same output as if
it had never rested. Its knowledge of the room stays meanwhile: nothing has changed there, or the linear canceller would
no longer explain the sound.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import FRAME_MS

Floats = npt.NDArray[np.float32]

# It rests once everything has been explained for this long. Words have shorter pauses, and an answer begins with it.
_CALM_FRAMES = 1000 // FRAME_MS
# As much is kept as an echo takes at most, by the latencies of both devices and through the room (linear_filter.PARTS),
# and as much again as WebRTC's filter is long.
_KEPT_FRAMES = 400 // FRAME_MS


class WebRtc(Protocol):
    """pywebrtc_audio.EchoCanceller."""

    def process(self, near: Floats, far: Floats) -> Floats: ...


class Suppressor:
    """step() or wake() for every frame that has a far end, in order. All sound is float32 (FRAME_SAMPLES,) at the
    pipeline's rate, full scale 1.0. Not thread-safe."""

    def __init__(self, webrtc: WebRtc) -> None:
        self._webrtc = webrtc
        self._explained_frames = 0  # since something stood out
        self._kept: deque[tuple[Floats, Floats]] = deque(maxlen=_KEPT_FRAMES)

    def step(self, heard: Floats, far: Floats, *, explained: bool) -> Floats | None:
        """Returns the frame without echo, or None while it rests.

        heard: a frame of the microphone. far: the far end that belongs to it. explained: nothing in it stands out.
        """
        if not explained:
            return self.wake(heard, far)
        self._explained_frames += 1
        if self._explained_frames > _CALM_FRAMES:
            self._kept.append((heard, far))
            return None
        return self._webrtc.process(heard, far)

    def wake(self, heard: Floats, far: Floats) -> Floats:
        """Returns the frame without echo; ends a rest."""
        self._explained_frames = 0
        while self._kept:
            self._webrtc.process(*self._kept.popleft())
        return self._webrtc.process(heard, far)
