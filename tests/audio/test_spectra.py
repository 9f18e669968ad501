"""What spectra.py takes from the private parts of numpy: a new version of it has to pass this."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parleyd.audio import spectra


@pytest.fixture(params=["direct", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "public":
        monkeypatch.setattr(spectra, "IS_DIRECT", False)


def test_the_direct_way_is_there_from_numpy_2_on() -> None:
    assert spectra.IS_DIRECT is (int(np.__version__.split(".")[0]) >= 2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", [(640,), (1024,), (16, 640)])
def test_transforms_are_those_of_numpy_in_single_precision(shape: tuple[int, ...]) -> None:
    sound = np.random.default_rng(1).normal(0.0, 0.1, shape).astype(np.float32)
    spectrum = spectra.transform(sound)
    exact = np.fft.rfft(sound.astype(np.float64))
    assert spectrum.dtype == np.complex64
    assert spectrum.shape == exact.shape
    assert np.abs(spectrum - exact).max() < 1e-5
    back = spectra.inverse(spectrum)
    assert back.dtype == np.float32
    assert back.shape == shape
    assert np.abs(back - sound).max() < 1e-6


@pytest.mark.usefixtures("way")
def test_the_inverse_takes_no_sound_from_the_imaginary_ends() -> None:
    """Sums and products of spectra leave some there by rounding."""
    spectrum = np.zeros(321, np.complex64)
    spectrum[0] = spectrum[-1] = 1j
    assert not spectra.inverse(spectrum).any()


@pytest.mark.usefixtures("way")
def test_each_result_is_an_array_of_its_own() -> None:
    sound = np.ones(640, np.float32)
    first = spectra.transform(sound)
    kept = first.copy()
    spectra.transform(2 * sound)
    assert (first == kept).all()
    view = np.ones((2, 640), np.float32)[:, ::2]
    assert np.allclose(spectra.transform(view)[1], np.fft.rfft(view[1]))


@pytest.mark.usefixtures("way")
def test_other_numbers_and_other_layouts_give_the_same() -> None:
    sound = np.random.default_rng(2).normal(0.0, 0.1, (4, 640))
    exact = np.fft.rfft(sound)
    single = sound.astype(np.float32)
    others: list[Any] = [sound, single.astype(">f4"), np.asfortranarray(single), np.repeat(single, 2, axis=1)[:, ::2]]
    for given in others:
        assert np.abs(spectra.transform(given) - exact).max() < 1e-5
    assert np.abs(spectra.inverse(exact) - sound).max() < 1e-6  # type: ignore[arg-type]


@pytest.mark.usefixtures("way")
def test_an_odd_number_of_samples_is_refused() -> None:
    """The function for even numbers would return something."""
    with pytest.raises(ValueError, match="odd"):
        spectra.transform(np.ones(639, np.float32))
