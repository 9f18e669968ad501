"""The adaptive filter against the equations of its papers, and the monitor of the delay that it assumes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from parleyd.audio.echo.delay_monitor import DelayMonitor
from parleyd.audio.echo.linear import PATH_CHANGED, LinearCanceller
from parleyd.audio.echo.linear_filter import BAND_EDGES_HZ, BANDS, PARTS, Estimate, Forecast, LinearFilter
from parleyd.audio.pcm import FRAME_SAMPLES

N = FRAME_SAMPLES
# As they are written down in docs/echo.md and in the filter's own constants.
CHANGE, FIRST_CHANGE, CHANGE_FALL = 0.002, 0.02, 0.99
REVERB_FALL = 10.0 ** (-60.0 / 10.0 * 0.020 / 0.8)


class FromThePapers:
    """The equations of the filter's docstring one by one, in double precision, with a list of frames for a memory."""

    def __init__(self) -> None:
        self.far = [np.zeros(N)] * (PARTS + 1)
        self.w = [np.zeros(N + 1, complex) for _ in range(PARTS)]
        self.p = [np.full(N + 1, 0.1) for _ in range(PARTS)]
        self.psi = np.full(N + 1, 1e-4)
        self.reverb = np.zeros(N + 1)
        self.change = FIRST_CHANGE

    def step(self, heard: np.ndarray, far: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """→ the residual, and the power spectra of it and of what is expected of the echo."""
        self.far = [far, *self.far[:PARTS]]
        x = [np.fft.rfft(np.concatenate([self.far[p + 1], self.far[p]])) for p in range(PARTS)]
        echo = np.fft.irfft(sum(x[p] * self.w[p] for p in range(PARTS)))[N:]
        residual = heard - echo
        e = np.fft.rfft(np.concatenate([np.zeros(N), residual]))
        self.reverb = REVERB_FALL * (self.reverb + abs(x[-1]) ** 2 * abs(self.w[-1]) ** 2)
        expected = sum(abs(x[p]) ** 2 * self.p[p] for p in range(PARTS)) + self.reverb
        self.psi = 0.5 * self.psi + 0.5 * abs(e) ** 2
        self.change = max(CHANGE, self.change * CHANGE_FALL)
        for p in range(PARTS):
            gain = self.p[p] * np.conj(x[p]) / (0.5 * expected + self.psi)
            free = np.fft.irfft(self.w[p] + gain * e)
            self.w[p] = np.fft.rfft(np.concatenate([free[:N], np.zeros(N)]))
            kept = (1.0 - 0.5 * (gain * x[p]).real) * self.p[p]
            self.p[p] = np.clip(kept + self.change * abs(self.w[p]) ** 2, 1e-9, 10.0)
        return residual, abs(e) ** 2, expected


def bands(power: np.ndarray) -> list[float]:
    """The mean square of a frame in each band, by Parseval's theorem: 2 N points of which half are zeros."""
    edges = [round(hz * 2 * N / 16_000) for hz in BAND_EDGES_HZ]
    return [2.0 * power[low:high].sum() / (2 * N) / N for low, high in pairwise(edges)]


def echo_of(far: np.ndarray, delay: int, gain: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(5)
    response = np.concatenate([np.zeros(delay), rng.standard_normal(600) * np.exp(-np.arange(600) / 120)])
    response *= gain / np.sqrt((response**2).sum())
    return np.asarray(np.convolve(far, response)[: len(far)])


def test_the_filter_is_that_of_the_papers() -> None:
    rng = np.random.default_rng(4)
    far = rng.standard_normal(120 * N) * 0.05 * np.repeat(rng.uniform(0.1, 1.0, 120), N)
    heard = echo_of(far, 700) + rng.standard_normal(len(far)) * 0.001
    heard[80 * N : 95 * N] += rng.standard_normal(15 * N) * 0.05  # somebody speaks
    ours, papers = LinearFilter(), FromThePapers()
    for at in range(0, len(far), N):
        near, played = heard[at : at + N].astype(np.float32), far[at : at + N].astype(np.float32)
        estimate = ours.estimate(near, played)
        forecast = ours.adapt(estimate.residual)
        residual, left, expected = papers.step(near.astype(float), played.astype(float))
        assert estimate.residual == pytest.approx(residual, abs=1e-6)
        assert estimate.echo_power == pytest.approx(((near - residual) ** 2).mean(), rel=1e-3, abs=1e-9)
        assert forecast.residual == pytest.approx(bands(left), rel=1e-3, abs=1e-9)
        assert forecast.expected == pytest.approx(bands(expected), rel=1e-3, abs=1e-9)
    assert (residual**2).mean() < (heard[-N:] ** 2).mean() / 30, "and it has learnt the echo"


def test_a_frame_that_passes_by_is_echoed_later_but_teaches_nothing() -> None:
    rng = np.random.default_rng(4)
    far = (rng.standard_normal(200 * N) * 0.05).astype(np.float32)
    heard, it, left = echo_of(far, 700).astype(np.float32), LinearFilter(), []
    for number, at in enumerate(range(0, len(far), N)):
        if 150 <= number < 170:
            it.pass_by(far[at : at + N])
            continue
        estimate = it.estimate(heard[at : at + N], far[at : at + N])
        it.adapt(estimate.residual)
        left.append(float((estimate.residual**2).mean()))
    assert left[150] < 2 * max(left[140:150])


def test_a_filter_that_doubts_its_path_expects_as_much_more() -> None:
    rng = np.random.default_rng(4)
    far = (rng.standard_normal(102 * N) * 0.05).astype(np.float32)
    heard, it, expected = echo_of(far, 700).astype(np.float32), LinearFilter(), []
    for number, at in enumerate(range(0, len(far), N)):
        if number == 101:
            it.doubt(1.0)
        estimate = it.estimate(heard[at : at + N], far[at : at + N])
        expected.append(float(it.adapt(estimate.residual).expected.sum()))
        echo = estimate.echo_power
    assert expected[101] > 10 * expected[100]
    assert echo / 3 < expected[101] < 30 * echo


# ---------------------------------------------------------------- the monitor


def watched(residual: np.ndarray, echo: np.ndarray) -> DelayMonitor:
    monitor = DelayMonitor()
    for at in range(0, len(echo), N):
        one = Estimate(echo[at : at + N].astype(np.float32), residual[at : at + N].astype(np.float32), 0.01)
        monitor.watch(one)
    return monitor


def noise(frames: int, seed: int) -> np.ndarray:
    """Smooth enough for a slope."""
    rng = np.random.default_rng(seed)
    return np.asarray(np.convolve(rng.standard_normal(frames * N), np.hanning(24), "same") * 0.05)


def test_the_echo_over_again_is_coherent_with_it_and_another_sound_is_not() -> None:
    echo = noise(20, 1)
    assert watched(-0.3 * echo, echo).echo_coherence == pytest.approx(1.0, abs=1e-3)
    assert watched(noise(20, 2), echo).echo_coherence < 0.1
    mixed = watched(echo + noise(20, 2), echo).echo_coherence
    assert mixed == pytest.approx(0.5, abs=0.15)
    assert watched(np.zeros_like(echo), echo).echo_coherence == 0.0
    assert watched(echo, np.zeros_like(echo)).echo_coherence == 0.0


@pytest.mark.parametrize("later", [0.3, -0.3, 0.0])
def test_an_echo_that_comes_a_little_later_is_a_delay_error_of_that(later: float) -> None:
    echo = noise(40, 1)
    at = np.arange(len(echo))
    moved = np.interp(at - later, at, echo)
    assert watched(moved - echo, echo).delay_error_samples == pytest.approx(later, abs=0.06)


def test_beside_another_sound_little_is_made_of_a_delay_error() -> None:
    echo = noise(40, 1)
    at = np.arange(len(echo))
    moved = np.interp(at - 0.3, at, echo) + noise(40, 2)
    assert abs(watched(moved - echo, echo).delay_error_samples) < 0.2


def looked_at(
    heard: np.ndarray, echo: np.ndarray, surprise_from: int = 10, echo_power: float = 0.01
) -> list[tuple[int, float]]:
    """(delay_jump_samples, echo_coherence) of each frame; from one of them on the residual is a surprise."""
    monitor, found = DelayMonitor(), []
    for number, at in enumerate(range(0, len(echo), N)):
        near, estimated = heard[at : at + N].astype(np.float32), echo[at : at + N].astype(np.float32)
        estimate = Estimate(estimated, near - estimated, echo_power)
        monitor.watch(estimate)
        left = np.full(BANDS, 1.0 if number >= surprise_from else 1e-3, np.float32)
        monitor.look_for_jump(near, estimate, Forecast(left, np.full(BANDS, 0.1, np.float32)))
        found.append((monitor.delay_jump_samples, monitor.echo_coherence))
    return found


@pytest.mark.parametrize("later", [-150, -3, 3, 71, 310])
def test_a_jump_is_told_once_two_frames_agree_and_from_the_first_on_nobody_is_heard(later: int) -> None:
    echo = noise(20, 1)
    found = looked_at(np.roll(echo, later), echo)
    assert [jump for jump, _ in found[:11]] == [0] * 11
    assert found[11][0] == later
    assert found[10][1] > 0.8


@pytest.mark.parametrize(
    ("later", "surprise_from", "echo_power"),
    [
        (0, 10, 0.01),
        (2, 10, 0.01),  # the delay error tells it
        (71, 99, 0.01),  # no surprise
        (71, 10, 0.9e-4),  # the echo is too soft to be sure
        (400, 10, 0.01),  # further than is looked for
    ],
)
def test_what_is_no_jump(later: int, surprise_from: int, echo_power: float) -> None:
    echo = noise(20, 1)
    assert {jump for jump, _ in looked_at(np.roll(echo, later), echo, surprise_from, echo_power)} == {0}


def test_a_person_beside_the_echo_is_no_jump() -> None:
    echo = noise(20, 1)
    assert {jump for jump, _ in looked_at(echo + noise(20, 2), echo)} == {0}


# ---------------------------------------------------------------- both together


def learnt(frames: int = 150) -> tuple[LinearCanceller, np.ndarray, np.ndarray]:
    """A canceller that knows its path after so many frames; the far end and its echo."""
    rng = np.random.default_rng(4)
    far = (rng.standard_normal((frames + 50) * N) * 0.05).astype(np.float32)
    heard, it = echo_of(far, 700).astype(np.float32), LinearCanceller()
    for at in range(0, frames * N, N):
        it.step(heard[at : at + N], far[at : at + N])
    return it, far[frames * N :], heard[frames * N :]


@pytest.mark.parametrize("path_changed", [False, True])
def test_after_a_far_end_that_may_come_back_elsewhere_more_echo_is_expected(path_changed: bool) -> None:
    it, far, heard = learnt()
    before = float(it.step(heard[:N], far[:N]).expected_bands.sum())
    it.pass_by(far[N : 2 * N], path_changed=path_changed)
    after = float(it.step(heard[2 * N : 3 * N], far[2 * N : 3 * N]).expected_bands.sum())
    assert (after > 5 * before) is path_changed


def test_where_the_path_has_changed_what_is_left_is_expected_of_the_echo() -> None:
    it, far, heard = learnt()
    made = [it.step(heard[at : at + N] * np.float32(0.3), far[at : at + N]) for at in range(0, 40 * N, N)]
    assert made[2].echo_coherence > PATH_CHANGED
    for one in made[4:]:
        assert one.expected_bands.sum() > one.residual_bands.sum() / 2, "or it would be a person"


@pytest.mark.parametrize(
    ("suggested", "told"),
    [
        ([(71, 0.9), (72, 0.9)], [0, 72]),
        ([(71, 0.9), (150, 0.9), (151, 0.9)], [0, 0, 151]),
        ([(71, 0.9), (71, 0.5), (71, 0.9)], [0, 0, 0]),
        ([(71, 0.9), (0, 0.9), (71, 0.9), (71, 0.9)], [0, 0, 0, 71]),
    ],
)
def test_a_jump_needs_two_frames_in_a_row_that_agree(
    suggested: list[tuple[int, float]], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is replaced: which jumps it finds is not asked here."""
    found = iter(suggested)
    monkeypatch.setattr(DelayMonitor, "_best_jump", lambda _self: (*next(found), 0.0))
    echo = noise(len(suggested), 1)
    assert [jump for jump, _ in looked_at(echo, echo, surprise_from=0)] == told


@pytest.mark.parametrize(("unmoved", "is_jump"), [(0.0, True), (0.75, True), (0.9, False)])
def test_where_the_echo_fits_nearly_as_well_unmoved_it_has_not_jumped(
    unmoved: float, is_jump: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is replaced, as above."""
    monkeypatch.setattr(DelayMonitor, "_best_jump", lambda _self: (71, 0.9, unmoved))
    echo = noise(3, 1)
    assert any(jump for jump, _ in looked_at(echo, echo, surprise_from=0)) is is_jump
