"""Removes the speaker's sound from the microphone's: echo cancellation, or half duplex where that is impossible."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from parleyd.audio.echo.far_end import FarEnd, FarFrame
from parleyd.audio.echo.linear import LinearCanceller
from parleyd.audio.echo.linear_filter import PARTS
from parleyd.audio.echo.near_end import AecWitness, NearEnd
from parleyd.audio.echo.suppressor import Suppressor
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ, Frame, samples_of, to_pcm
from parleyd.core.errors import UserError
from parleyd.host import python_env

Floats = npt.NDArray[np.float32]

# For this many frames after a person stood out, the person counts as present: words have quiet parts.
_HOLD_FRAMES = 5
# After a far end that was not aligned the filter has to find its path again: it needs its own length and this many
# frames. Until then a delay error says nothing about the echo.
_SETTLE_FRAMES = 50
# The canceller rests when the far end has been silent for this long, because its echo has died away.
_REST_S = 1.0
_REST_FRAMES = round(_REST_S * 1000 / FRAME_MS)


class EchoCancellerMissingError(UserError):
    """The package with the echo canceller cannot be imported."""

    def __init__(self, text: str) -> None:
        is_64_bit = sys.maxsize > 2**32
        how = python_env.install("pywebrtc-audio") if is_64_bit else "there is none for 32 bits: use a 64-bit system"
        super().__init__(text, f"{how}; or set audio.echo.mode to half_duplex, or to off with a headset")


class HalfDuplex:
    """The microphone counts as silent while the far end is audible, and for a tail after it. Pure."""

    def __init__(self, tail_ms: int) -> None:
        self._tail_s = tail_ms / 1000

    def deaf(self, start_s: float, *, audible: bool, silent_from_s: float) -> bool:
        """Returns whether the frame must count as silent.

        start_s: monotonic time at which the frame begins. audible: whether the far end can be heard now. silent_from_s:
        when the sound that the speaker has taken will have been played.
        """
        return audible or start_s < silent_from_s + self._tail_s


class Cancelled(NamedTuple):
    """The result of the canceller for one frame."""

    frame: Frame
    """The frame without the echo; silent if the microphone was."""
    may_be_speech: bool
    """True if a person may be in the frame; always True while the far end is silent, when others have to decide."""
    weak_near_end: bool = False
    """True if the frame may be the first sound of a word that follows."""
    delay_error_samples: float = 0.0
    """The number of samples by which the echo came later than expected; 0: unknown."""
    delay_jump_samples: int = 0
    """The number of samples by which the whole echo comes later from now on; 0: no jump."""


class EchoCanceller:
    """WebRTC's canceller, and a linear one beside it.

    While the far end is audible, a frame is WebRTC's output, which never contains an echo but mutes a person who talks
    over it. If the linear canceller shows that there is a person, the frame is its output instead: it contains the
    whole person, and an echo that is 15 to 30 dB softer. While WebRTC's canceller rests, because nothing is heard but
    the echo, it is the linear canceller's output, as soft as the room. While the far end is silent, frames pass
    unchanged.
    """

    def __init__(self) -> None:
        """Raises EchoCancellerMissingError."""
        try:
            from pywebrtc_audio import EchoCanceller as WebRtc
        except ImportError as error:
            raise EchoCancellerMissingError(f"the echo canceller cannot be imported: {error}") from error
        self._suppressor = Suppressor(WebRtc(PIPELINE_RATE_HZ, 1, 0))
        self._linear = LinearCanceller()
        self._near_end = NearEnd()
        self._witness = AecWitness()
        self._hold_frames = 0  # for how many frames a person still counts as present
        self._linear_share = 0.0  # the linear canceller's share of the output, 0 or 1 at the end of a frame
        self._rest_frames = 0  # how many frames of a silent far end may still contain an echo
        self._aligned_frames = PARTS + _SETTLE_FRAMES  # since the far end was last not aligned
        self._path_changed = True  # whether the far end may have come back at another delay
        self._jumped = False  # whether the last frame reported a jump
        self._silence = np.zeros(FRAME_SAMPLES, np.float32)

    def step(self, frame: Frame, far: FarFrame) -> Cancelled:
        """frame: of the microphone. far: the far end that belongs to it.

        A frame whose far end is not aligned teaches nothing, and no person is reported in it, until the linear filter
        has heard its own length of aligned far end. The same follows a frame for which there was no memory.
        """
        try:
            return self._step(frame, far)
        except MemoryError:
            self._aligned_frames, self._path_changed = 0, True
            self._nobody()
            raise

    def _step(self, frame: Frame, far: FarFrame) -> Cancelled:
        if far.lag_increase_samples:
            self._linear.shift(far.lag_increase_samples)
        jumped, self._jumped = self._jumped, False
        reference = self._reference(far)
        if reference is None:
            return Cancelled(frame, may_be_speech=True)
        if far.aligned:
            self._aligned_frames += 1
        else:
            self._aligned_frames = 0
            # After a jump the far end has been moved by it, and the path is the same as before.
            self._path_changed = not jumped
        if frame.is_silent:
            return self._without_microphone(frame, reference)
        heard = samples_of(frame.pcm).astype(np.float32) * np.float32(1 / 32768)
        if self._aligned_frames < PARTS:
            return self._unaligned(frame, heard, reference)
        return self._separated(frame, heard, reference)

    @property
    def rests(self) -> bool:
        """No echo is left of all that was played."""
        return self._rest_frames <= 0

    def _reference(self, far: FarFrame) -> Floats | None:
        """Returns the far end's samples, or zeros while its earlier sound may still echo; None: there is no echo."""
        if far.samples is not None:
            self._rest_frames = _REST_FRAMES
            return far.samples
        if self._rest_frames <= 0:
            return None
        self._rest_frames -= 1
        return self._silence

    def _without_microphone(self, frame: Frame, reference: Floats) -> Cancelled:
        """The microphone is muted or lost. The room and the echo's path stay known; only the far end goes on, so that
        its echo is expected when the microphone returns. Zeros from a microphone with a gate of its own are different:
        they are the sound of a room, and the canceller learns from them."""
        self._linear.pass_by(reference)
        self._nobody()
        return Cancelled(frame, may_be_speech=False)

    def _unaligned(self, frame: Frame, heard: Floats, reference: Floats) -> Cancelled:
        self._linear.pass_by(reference, path_changed=self._path_changed)
        self._nobody()
        return Cancelled(_frame(self._suppressor.wake(heard, reference), frame.start_s), may_be_speech=False)

    def _separated(self, frame: Frame, heard: Floats, reference: Floats) -> Cancelled:
        linear = self._linear.step(heard, reference)
        near = self._near_end.step(
            linear.residual_bands, linear.expected_bands, linear.echo_power, linear.echo_coherence
        )
        settled = self._aligned_frames >= PARTS + _SETTLE_FRAMES
        suppressed = self._suppressor.step(heard, reference, explained=settled and near.is_explained)
        agrees = suppressed is not None and self._witness.step(suppressed)
        if suppressed is None:
            suppressed = _at_most(linear.residual, self._near_end.floor_power)
        if near.person(aec_agrees=agrees):
            self._hold_frames = _HOLD_FRAMES + 1
        self._hold_frames = max(0, self._hold_frames - 1)
        person = self._hold_frames > 0
        self._jumped = linear.delay_jump_samples != 0
        return Cancelled(
            _frame(self._mixed(linear.residual, suppressed, float(person)), frame.start_s),
            may_be_speech=person,
            weak_near_end=near.weak,
            delay_error_samples=linear.delay_error_samples if settled and not person else 0.0,
            delay_jump_samples=linear.delay_jump_samples,
        )

    def _nobody(self) -> None:
        self._hold_frames, self._linear_share = 0, 0.0

    def _mixed(self, linear: Floats, suppressed: Floats, share: float) -> Floats:
        """Returns one of the two, by the share; a change within the frame is a cross-fade, without a click."""
        before, self._linear_share = self._linear_share, share
        if before == share:
            return linear if share else suppressed
        shares = np.linspace(before, share, FRAME_SAMPLES, dtype=np.float32)
        mixed: Floats = shares * linear + (1 - shares) * suppressed
        return mixed


class EchoPath:
    """The far end and the canceller in one loop: the canceller's findings about the delay move the far end."""

    def __init__(self, far_end: FarEnd) -> None:
        """Raises EchoCancellerMissingError."""
        self._far_end = far_end
        self._canceller = EchoCanceller()

    @property
    def rests(self) -> bool:
        """No echo is left of all that was played."""
        return self._canceller.rests

    def step(self, frame: Frame) -> tuple[Cancelled, FarFrame]:
        """To be called for every frame of the microphone, in order. Returns the frame without echo, and its far end."""
        far = self._far_end.frame(frame.start_s)
        if far.samples is None and self._canceller.rests and not far.lag_increase_samples:
            return Cancelled(frame, may_be_speech=True), far
        cancelled = self._canceller.step(frame, far)
        self._far_end.correct(cancelled.delay_error_samples, cancelled.delay_jump_samples)
        return cancelled, far


def _at_most(sound: Floats, power: float) -> Floats:
    """Returns the sound, made softer where its power exceeds this mean square."""
    its_power = float(np.dot(sound, sound)) / FRAME_SAMPLES
    return sound if its_power <= power else sound * np.float32((power / its_power) ** 0.5)


def _frame(sound: Floats, start_s: float) -> Frame:
    return Frame(to_pcm(sound * np.float32(32768)), start_s)
