"""Fourier transforms of real sound, in single precision. Pure.

numpy's own functions check and normalise their arguments in Python, which for a frame of sound takes twice as long as
the transform itself. From version 2 on they are shells around functions of C, which are called directly here. These are
private parts of numpy: where they are missing, its public functions take their place. tests/audio/test_spectra.py says
what is expected of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

try:
    from numpy.fft import _pocketfft_umath as _c  # type: ignore[attr-defined]
except ImportError:
    _c = None

Floats = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]


IS_DIRECT = all(hasattr(_c, name) for name in ("rfft_n_even", "irfft"))
_ONE = np.float32(1.0)


def transform(sound: Floats, out: Spectrum | None = None) -> Spectrum:
    """Returns the spectrum of n samples, n/2 + 1 values; in `out`, if that is given. Several rows are transformed each
    by itself. Raises ValueError where n is odd, of which the function of C would make a wrong spectrum."""
    if sound.shape[-1] % 2:
        raise ValueError("an odd number of samples")
    spectrum = np.empty((*sound.shape[:-1], sound.shape[-1] // 2 + 1), np.complex64) if out is None else out
    if IS_DIRECT:
        _c.rfft_n_even(sound, _ONE, out=spectrum)
    else:
        spectrum[...] = np.fft.rfft(sound)
    return spectrum


def inverse(spectrum: Spectrum) -> Floats:
    """Returns the sound of which this is the spectrum: it undoes transform()."""
    samples = 2 * (spectrum.shape[-1] - 1)
    if not IS_DIRECT:
        return np.fft.irfft(spectrum, samples).astype(np.float32, copy=False)
    sound = np.empty((*spectrum.shape[:-1], samples), np.float32)
    _c.irfft(spectrum, np.float32(1.0 / samples), out=sound)
    return sound
