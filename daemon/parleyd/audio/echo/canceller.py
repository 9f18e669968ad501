"""What of the microphone is the person and not the speaker: cancelling, and half duplex where that cannot be."""

from __future__ import annotations

from math import log10

import numpy as np

from parleyd.audio.echo.linear import BANDS, PARTS, Floats, LinearEcho
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, PIPELINE_RATE_HZ, SILENT_FRAME, samples_of, to_pcm
from parleyd.core.errors import UserError
from parleyd.host import python_env

# The near end is there when in the three bands where it stands out most, more is left than the echo and the room
# account for, by so much on average.
NEAR_OVER_ECHO_DB = 15.0
_BANDS_HEARD = 3
# So much is enough when WebRTC's canceller, which errs in other ways, lets through so much more than it usually leaves.
NEAR_AGREED_DB = 10.0
_LETS_THROUGH_DB = 20.0
_USUAL_AT_FIRST_DBFS, _USUAL_RISE_DB = -50.0, 0.1
# Less than a person, and yet more than is expected: the first sound of a word, when the rest of the word follows.
FAINT_OVER_ECHO_DB = 8.0
# ... and goes on being there for so many frames: the quiet parts of a word.
_HOLD_FRAMES = 5
# After the far end was out of step, the filter first finds its path; then what it lags behind is the echo's doing.
_SETTLE_FRAMES = 50
# A person is not explained by the echo's estimate; what is left of an echo is, when the path has changed.
_UNEXPLAINED = 0.1
# What a loudspeaker adds of its own (distortion) lies this far below the whole echo, in every band, and lasts as long
# as the room rings.
_DISTORTION = 10.0 ** (-45.0 / 10.0)
_RING_PER_FRAME = 0.8
# The forecast is put right by the median of how wrong it was.
_WRONG_STEP_DB, _MOST_WRONG_DB = 0.05, 12.0
_FLOOR_DBFS, _FLOOR_FALL_DB, _FLOOR_RISE_DB, _FLOOR_RISE_IN_ECHO_DB = -70.0, 0.4, 0.04, 0.006
_LEAST_FLOOR_DBFS = -80.0
# The canceller rests when the far end has been silent for so long: what it heard has died away.
_REST_S = 1.0


class EchoCancellerMissingError(UserError):
    """The package that cancels the echo cannot be imported."""

    def __init__(self, text: str) -> None:
        how = python_env.install("pywebrtc-audio")
        super().__init__(text, f"{how}; or set audio.echo.mode to half_duplex, or to off with a headset")


class HalfDuplex:
    """The microphone counts as silent while the far end is audible, and for a tail after it. Pure."""

    def __init__(self, tail_ms: int) -> None:
        self._tail_s = tail_ms / 1000

    def deaf(self, start_s: float, *, audible: bool, silent_from_s: float) -> bool:
        """start_s: when the frame begins. audible, silent_from_s: whether the far end is to be heard now, and when what
        the speaker has taken will be through.
        """
        return audible or start_s < silent_from_s + self._tail_s


class NearEnd:
    """Whether a person is in what the linear filter left. Pure; one step per frame.

    The threshold is relative to the far end: in each band, the residual echo that is to be expected, corrected by how
    wrong that was lately, what a loudspeaker distorts, and the room's noise.

    faint: after a step, whether there was something, be it too faint to be certain of.
    """

    def __init__(self) -> None:
        self._wrong_db = np.zeros(BANDS, np.float32)
        self._floor_dbfs = np.full(BANDS, _FLOOR_DBFS, np.float32)
        self._ringing = 0.0
        self.faint = False

    def step(self, left: Floats, expected: Floats, echo: float, explained: float, *, agreed: bool = False) -> bool:
        """left, expected: power by band, 1.0 is full scale; echo: power of the whole estimate; explained: the share
        of what is left that the estimate explains; agreed: WebRTC lets something through."""
        left_db = 10.0 * np.log10(left + 1e-12)
        expected_db = 10.0 * np.log10(expected + 1e-12)
        self._ringing = max(echo, self._ringing * _RING_PER_FRAME)
        forecast_db = expected_db + self._wrong_db
        account = 10.0 ** (forecast_db / 10.0) + 10.0 ** (self._floor_dbfs / 10.0) + self._ringing * _DISTORTION
        over_db = left_db - 10.0 * np.log10(account)

        ranked = sorted(over_db.tolist())
        if (ranked[(BANDS - 1) // 2] + ranked[BANDS // 2]) / 2 < NEAR_OVER_ECHO_DB - 2.0:
            step = np.where(left_db > forecast_db, _WRONG_STEP_DB, -_WRONG_STEP_DB)
            learn = expected_db > self._floor_dbfs + 6.0
            wrong_db = self._wrong_db + step * learn
            self._wrong_db = np.minimum(np.maximum(wrong_db, -_MOST_WRONG_DB), _MOST_WRONG_DB)
        in_echo = expected_db > self._floor_dbfs
        fall = np.maximum(np.maximum(left_db, self._floor_dbfs - _FLOOR_FALL_DB), _LEAST_FLOOR_DBFS)
        rise = self._floor_dbfs + np.where(in_echo, _FLOOR_RISE_IN_ECHO_DB, _FLOOR_RISE_DB)
        self._floor_dbfs = np.where(left_db < self._floor_dbfs, fall, np.minimum(left_db, rise))

        loudest_db = sum(min(40.0, max(0.0, over)) for over in ranked[-_BANDS_HEARD:]) / _BANDS_HEARD
        least_db = NEAR_AGREED_DB if agreed else NEAR_OVER_ECHO_DB
        self.faint = explained < _UNEXPLAINED and loudest_db > FAINT_OVER_ECHO_DB
        return explained < _UNEXPLAINED and loudest_db > least_db


class LetThrough:
    """Whether WebRTC's canceller lets through more than what it usually leaves of an echo and the room. Pure."""

    def __init__(self) -> None:
        self._usual_dbfs = _USUAL_AT_FIRST_DBFS

    def step(self, cancelled: Floats) -> bool:
        """One frame of what it leaves."""
        left_dbfs = 10.0 * log10(float(np.dot(cancelled, cancelled)) / FRAME_SAMPLES + 1e-12)
        it_does = left_dbfs > self._usual_dbfs + _LETS_THROUGH_DB
        if left_dbfs < self._usual_dbfs:
            self._usual_dbfs = max(left_dbfs, self._usual_dbfs - _FLOOR_FALL_DB, _LEAST_FLOOR_DBFS)
        else:
            self._usual_dbfs = min(left_dbfs, self._usual_dbfs + _USUAL_RISE_DB)
        return it_does


class EchoCanceller:
    """WebRTC's canceller, and a linear filter beside it.

    While the far end is audible a frame is what WebRTC leaves, which never has an echo in it but mutes a person who
    talks over it; where the linear filter shows that there is a person, it is what that leaves, which has them whole
    and the echo 15 to 30 dB lower. While the far end is silent frames pass untouched.

    person: whether the last frame may be speech; True while the far end is silent, for then that is for others to say.
    faint: whether it may be the beginning of a word, if one follows.
    slip: by how many samples its echo came later than expected; 0 where that cannot be told. jump: by how many it comes
    later from now on, all at once.
    """

    def __init__(self) -> None:
        """Raises EchoCancellerMissingError."""
        try:
            from pywebrtc_audio import EchoCanceller as WebRtc
        except ImportError as error:
            raise EchoCancellerMissingError(f"the echo canceller cannot be imported: {error}") from error
        self._webrtc = WebRtc(PIPELINE_RATE_HZ, 1, 0)
        self._linear = LinearEcho()
        self._near_end = NearEnd()
        self._let_through = LetThrough()
        self._hold = 0
        self._share = 0.0  # of the linear filter in what comes out
        self._rest_frames = 0
        self._steady_frames = PARTS + _SETTLE_FRAMES  # since the far end was out of step
        self._doubtful = True  # whether the path was, too
        self._silence = np.zeros(FRAME_SAMPLES, np.float32)
        self.person = True
        self.faint = False
        self.slip = 0.0
        self.jump = 0

    def process(self, pcm: bytes, far: Floats | None, *, in_step: bool = True, later: int = 0) -> bytes:
        """A frame of the microphone, the far end that belongs to it (full scale 1.0; None: silence) → a frame.

        in_step=False: it does not quite belong to it. Nothing is learnt from it, and nobody is a person, until the
        linear filter has heard as much as it is long of what does. later: it is given by so many samples later than
        before, from this frame on, which is not in step.
        """
        if later:
            self._linear.shift(later)
        jumped, self.jump, self.slip = self.jump, 0, 0.0
        if far is None:
            if self._rest_frames <= 0:
                self.person, self.faint = True, False
                return pcm
            self._rest_frames -= 1
            far = self._silence
        else:
            self._rest_frames = round(_REST_S * 1000 / FRAME_MS)
        self._steady_frames = self._steady_frames + 1 if in_step else 0
        if not in_step:
            # After a jump the far end has moved along, and the path is what it was.
            self._doubtful = not jumped
        # The very object: what a microphone with a gate of its own delivers in quiet is a room, and is learnt from.
        if pcm is SILENT_FRAME:
            return self._deaf(far)
        heard = samples_of(pcm).astype(np.float32) * np.float32(1 / 32768)
        cancelled = self._webrtc.process(heard, far)
        if self._steady_frames < PARTS:
            self._linear.pass_by(far)
            if self._doubtful:
                self._linear.doubt(1.0)
            self._hold, self._share, self.person, self.faint = 0, 0.0, False, False
            return to_pcm(cancelled * np.float32(32768))
        left = self._linear.step(heard, far)
        linear = self._linear
        self.jump = linear.jump
        agreed = self._let_through.step(cancelled)
        if self._near_end.step(linear.left, linear.expected, linear.echo, linear.explained, agreed=agreed):
            self._hold = _HOLD_FRAMES + 1
        self._hold = max(0, self._hold - 1)
        self.person = self._hold > 0
        self.faint = self._near_end.faint
        if not self.person and self._steady_frames >= PARTS + _SETTLE_FRAMES:
            self.slip = linear.slip
        before, self._share = self._share, float(self.person)
        if before == self._share:
            out = left if self.person else cancelled
        else:
            share = np.linspace(before, self._share, FRAME_SAMPLES, dtype=np.float32)
            out = share * left + (1 - share) * cancelled
        return to_pcm(out * np.float32(32768))

    def _deaf(self, far: Floats) -> bytes:
        """In the place of a microphone that is muted or lost. What is known of the room and of the echo's path stays;
        only the far end goes on, for its echo is there when the microphone is."""
        self._linear.pass_by(far)
        self._hold, self._share, self.person, self.faint = 0, 0.0, False, False
        return SILENT_FRAME
