"""A linear estimate of the echo, which leaves the near end whole, and a forecast of what it could not remove. Pure.

WebRTC's canceller gives out only the end of its chain, where a suppressor has muted what it takes for echo, and with it
a person who talks over the agent. This filter stands beside it: what it leaves is the person and a rest of the
echo, and it knows how large that rest is to be expected, so that more than that must be a person.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import FRAME_SAMPLES, PIPELINE_RATE_HZ

Floats = npt.NDArray[np.float32]

# 320 ms: the speaker's and the microphone's latency, the way through the air, and the louder part of the room's tail.
PARTS = 16
_FFT = 2 * FRAME_SAMPLES
_BINS = FRAME_SAMPLES + 1
# How much of the path's power may have changed after a frame: it follows a hand that moves.
_CHANGE = np.float32(0.002)
# At first it does not know yet how much the devices' clocks differ: then so much more, and less with each frame.
_FIRST_CHANGE, _CHANGE_FALL = np.float32(0.02), np.float32(0.99)
# The square of the gain at any delay and frequency, as it is believed before anything was heard.
_FIRST_GUESS = 0.1
# An estimate above full scale is none: on a siren the filter may diverge, and then it begins anew.
_MOST_ECHO = 1.0
_LEAST_DOUBT, _MOST_DOUBT = np.float32(1e-9), np.float32(10.0)
# The room's tail beyond the filter is expected to go on from its last part, falling as in a room of 0.8 s.
_TAIL_PER_FRAME = np.float32(10.0 ** (-60.0 / 10.0 * 0.020 / 0.8))
_NEAR_MEMORY = np.float32(0.5)
# What is left counts as unexplained while the estimate explains less of it than this; above, the path has moved.
PATH_MOVED = 0.5
_EXPLAIN_MEMORY = 0.75
_SLIP_MEMORY = 0.9
# What is left besides makes a slip uncertain: less is made of it.
_HIDES = 2.0
# All of an echo may come sooner or later at once, as when a sound server fills its buffers anew: by up to so much. That
# is looked for where so much more is left than expected of an echo this loud, and a little longer, and found where the
# estimate, moved by it, is this much like what was heard.
_SOONER_SAMPLES, _LATER_SAMPLES = 160, 320
_SURPRISE, _LEAST_ECHO = 10.0**0.8, 1e-4
_SUSPECT_FRAMES = 10
_LEAST_JUMP_SAMPLES = 3
_ALIKE = 0.8
_LATELY = 4 * FRAME_SAMPLES
# The bands in which a person is looked for, from the pitch's first harmonics to the hiss of an s.
BAND_EDGES_HZ = (200, 700, 1500, 2500, 3800, 5500, 7600)
BANDS = len(BAND_EDGES_HZ) - 1
_EDGES = [round(hz * _FFT / PIPELINE_RATE_HZ) for hz in BAND_EDGES_HZ]


def _band_powers(power: Floats) -> Floats:
    """A power spectrum of _FFT points over one frame → mean squares in the bands."""
    sums: Floats = np.add.reduceat(power[: _EDGES[-1]], _EDGES[:-1])
    return sums * np.float32(2.0 / (_FFT * FRAME_SAMPLES))


class LinearEcho:
    """A partitioned frequency-domain Kalman filter, one step per frame.

    Enzner and Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free telephones",
    Signal Processing 86 (2006); Kuech, Mabande and Enzner, "State-space architecture of the partitioned-block-based
    acoustic echo controller", ICASSP 2014. Its step size comes from its own uncertainty against the power of the near
    end: it needs no detector of double talk.
    """

    def __init__(self) -> None:
        self._far_two = np.zeros(_FFT, np.float32)  # the last two frames of the far end
        self._rest_two = np.zeros(_FFT, np.float32)  # silence, and what was left of the last frame
        # Spectra and powers of the last PARTS frames, written backwards and twice, PARTS apart: from _newest on, the
        # newest first, whatever was overwritten last.
        self._spectra = np.zeros((2 * PARTS, _BINS), np.complex64)
        self._powers = np.zeros((2 * PARTS, _BINS), np.float32)
        self._newest = 0
        self._path = np.zeros((PARTS, _BINS), np.complex64)
        self._doubt = np.full((PARTS, _BINS), _FIRST_GUESS, np.float32)  # expected square error of the path
        self._change = _FIRST_CHANGE
        self._near = np.full(_BINS, 1e-4, np.float32)  # smoothed power of what was left
        self._late = np.zeros(_BINS, np.float32)  # power of the echo that comes later than the filter is long
        self._with_echo = np.zeros(3)  # smoothed products: rest with echo, rest with itself, echo with itself
        self._heard_lately = np.zeros(_LATELY, np.float32)
        self._echo_lately = np.zeros(_LATELY, np.float32)
        self._suspect_frames = 0
        self._maybe = 0  # the jump that the last frame suggested
        self._slopes = np.zeros(3)  # smoothed products: rest with the echo's slope, the slopes of echo and rest
        self.echo = 0.0
        self.explained = 0.0
        self.slip = 0.0
        self.jump = 0
        self.left = np.zeros(BANDS, np.float32)
        self.expected = np.zeros(BANDS, np.float32)

    def step(self, heard: Floats, far: Floats) -> Floats:
        """One frame of the microphone and the far end that belongs to it → what is left without the echo.

        left, expected: the power of that in each band, and how much of it the forecast gives to the echo. slip: by how
        many samples the echo comes later than the estimate: the filter follows a delay that moves, and lags behind.
        jump: likewise, where all of it has moved at once.
        """
        far_spectra, far_power = self._take(far)
        echo = np.fft.irfft((far_spectra * self._path).sum(axis=0), _FFT)[FRAME_SAMPLES:].astype(np.float32)
        self.echo = float(np.dot(echo, echo)) / FRAME_SAMPLES
        if not self.echo < _MOST_ECHO:
            self._path[:], self._doubt[:] = 0.0, _FIRST_GUESS
            echo[:] = self.echo = 0.0
        rest: Floats = (heard - echo).astype(np.float32)

        self.explained = self._explained(rest, echo)
        if self.explained > PATH_MOVED:
            self.doubt(self.explained)
        self.slip = self._slipped(rest, echo)
        self._rest_two[FRAME_SAMPLES:] = rest
        spectrum = np.fft.rfft(self._rest_two).astype(np.complex64)
        last = self._path[-1]
        self._late = _TAIL_PER_FRAME * (self._late + far_power[-1] * (last.real**2 + last.imag**2))
        forecast = np.einsum("pb,pb->b", far_power, self._doubt) + self._late
        left = spectrum.real**2 + spectrum.imag**2
        self.left, self.expected = _band_powers(left), _band_powers(forecast)

        self.jump = self._jumped(heard, echo)
        self._near = _NEAR_MEMORY * self._near + (1 - _NEAR_MEMORY) * left
        trust = self._doubt / (0.5 * forecast + self._near + np.float32(1e-9))
        step = far_spectra.conj()
        step *= spectrum
        step *= trust
        step += self._path
        path = np.fft.irfft(step, _FFT, axis=1)
        # All that is later than its part is nonsense: the parts are filters of FRAME_SAMPLES.
        self._path = np.fft.rfft(path[:, :FRAME_SAMPLES], _FFT, axis=1).astype(np.complex64, copy=False)
        trust *= far_power
        trust *= np.float32(-0.5)
        trust += 1
        self._doubt *= trust
        self._change = max(_CHANGE, self._change * _CHANGE_FALL)
        self._doubt += self._change * (self._path.real**2 + self._path.imag**2)
        np.clip(self._doubt, _LEAST_DOUBT, _MOST_DOUBT, out=self._doubt)
        return rest

    def doubt(self, share: float) -> None:
        """The path is not what it was: it may be wrong by this share of its power."""
        moved = self._path.real**2 + self._path.imag**2
        self._doubt = np.maximum(self._doubt, np.float32(share) * moved.mean(axis=0))

    def shift(self, samples: int) -> None:
        """From the next frame on the far end is given so much later: the path is as much shorter."""
        path = np.fft.irfft(self._path, _FFT, axis=1)[:, :FRAME_SAMPLES].ravel()
        path = np.concatenate([path[samples:], np.zeros(min(samples, len(path)), np.float32)])
        self._path = np.fft.rfft(path.reshape(PARTS, FRAME_SAMPLES), _FFT, axis=1).astype(np.complex64)

    def pass_by(self, far: Floats) -> None:
        """In the place of step(), for a frame of which the microphone heard nothing."""
        self._take(far)

    def _take(self, far: Floats) -> tuple[npt.NDArray[np.complex64], Floats]:
        """A frame of the far end → spectra and powers of the last PARTS, the newest first."""
        self._far_two[:FRAME_SAMPLES] = self._far_two[FRAME_SAMPLES:]
        self._far_two[FRAME_SAMPLES:] = far
        spectrum = np.fft.rfft(self._far_two).astype(np.complex64, copy=False)
        self._newest = (self._newest - 1) % PARTS
        places = slice(self._newest, None, PARTS)
        self._spectra[places] = spectrum
        self._powers[places] = spectrum.real**2 + spectrum.imag**2
        kept = slice(self._newest, self._newest + PARTS)
        return self._spectra[kept], self._powers[kept]

    def _explained(self, rest: Floats, echo: Floats) -> float:
        """The share of what is left that is the estimate over again, larger or smaller: no person is like that."""
        products = (np.dot(rest, echo), np.dot(rest, rest), np.dot(echo, echo))
        self._with_echo = _EXPLAIN_MEMORY * self._with_echo + np.asarray(products)
        both, left, echoed = self._with_echo
        return float(both * both / (left * echoed)) if left * echoed > 0.0 else 0.0

    def _slipped(self, rest: Floats, echo: Floats) -> float:
        """An echo that comes d later leaves, to the first order, -d times its slope."""
        # Of what is slow, a hum or an offset of the microphone, the slope tells next to nothing.
        rest, echo = np.diff(rest), np.diff(echo)
        slope, other = (echo[2:] - echo[:-2]) / 2, (rest[2:] - rest[:-2]) / 2
        products = (np.dot(rest[1:-1], slope), np.dot(slope, slope), np.dot(other, other))
        self._slopes = _SLIP_MEMORY * self._slopes + np.asarray(products)
        both, echoed, hidden = self._slopes
        return float(-both / (echoed + _HIDES * hidden)) if echoed > 0.0 else 0.0

    def _jumped(self, heard: Floats, echo: Floats) -> int:
        """Once two frames agree; from the first on, what is left counts as explained."""
        for lately, frame in ((self._heard_lately, heard), (self._echo_lately, echo)):
            lately[:-FRAME_SAMPLES] = lately[FRAME_SAMPLES:]
            lately[-FRAME_SAMPLES:] = frame
        before, self._maybe = self._maybe, 0
        surprised = self.left.sum() > _SURPRISE * self.expected.sum()
        self._suspect_frames = _SUSPECT_FRAMES if surprised else max(0, self._suspect_frames - 1)
        if self.echo < _LEAST_ECHO or not self._suspect_frames:
            return 0
        part = self._heard_lately[_LATER_SAMPLES:-_SOONER_SAMPLES]
        both = np.correlate(self._echo_lately, part, "valid")
        power = np.convolve(self._echo_lately**2, np.ones(len(part), np.float32), "valid")
        alike = both * np.abs(both) / (power * np.dot(part, part) + np.float32(1e-12))
        best, now = int(np.argmax(alike)), float(alike[_LATER_SAMPLES])
        jump = _LATER_SAMPLES - best
        if abs(jump) < _LEAST_JUMP_SAMPLES or alike[best] < max(_ALIKE, (1.0 + now) / 2):
            return 0
        self._maybe, self.explained = jump, float(alike[best])
        return jump if before and abs(jump - before) <= 1 else 0
