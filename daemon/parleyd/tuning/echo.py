"""Measures the echo path from the speaker to the microphone: delay, level, and whether a canceller can model it.
Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parleyd.audio.pcm import PIPELINE_RATE_HZ, Samples
from parleyd.tuning.advice import ALSAMIXER, CLIPPED_SHARE, FULL_SCALE, Advice

Wave = npt.NDArray[np.float64]

SWEEP_S = 2.0
SWEEP_HZ = (120.0, 7000.0)
SWEEP_DBFS = -12.0
QUIET_BEFORE_S = 0.7
QUIET_AFTER_S = 1.0
LONGEST_DELAY_S = 1.0
# The length of a room's response; later sound counts as sound that a canceller cannot model.
RESPONSE_S = 0.3
# A response counts if it exceeds its own noise by this factor.
FOUND_RATIO = 12.0
# The least ratio of linear to other echo: a canceller cannot remove distortion (rattling, overdriven speakers).
LINEAR_DB = 12.0
# The longest delay that WebRTC's canceller finds by itself; measured with pywebrtc-audio 0.2.
CANCELLER_DELAY_MS = 250.0
LOUD_ECHO_DB = 0.0


@dataclass(frozen=True)
class EchoPath:
    """far: the sound given to the speaker. near: the whole sound of the microphone. Both at the pipeline's rate.

    near_later_s: the time from the first sample of far to the first sample of near; negative: the microphone started
    first.
    """

    far: Samples
    near: Samples
    near_later_s: float


@dataclass(frozen=True)
class EchoFacts:
    """delay_ms: from giving a sample to the speaker to its return; None if no echo was found. gain_db: the echo
    relative to the played sound. linear_db: the echo relative to the part that no linear canceller can remove. Levels
    in dBFS."""

    delay_ms: float | None
    gain_db: float
    linear_db: float
    echo_dbfs: float
    noise_dbfs: float
    clipped_share: float


def sweep(rate_hz: int) -> Samples:
    """The test sound: silence, a sweep from low to high, silence."""
    time_s = np.arange(round(SWEEP_S * rate_hz)) / rate_hz
    low, high = SWEEP_HZ
    high = min(high, 0.45 * rate_hz)
    growth = np.log(high / low) / SWEEP_S
    tone = np.sin(2 * np.pi * low / growth * (np.exp(growth * time_s) - 1))
    ramp = np.minimum(1, np.minimum(time_s, SWEEP_S - time_s) / 0.03)
    loud = np.sqrt(2) * 10 ** (SWEEP_DBFS / 20) * 32768
    silence = [np.zeros(round(seconds * rate_hz)) for seconds in (QUIET_BEFORE_S, QUIET_AFTER_S)]
    sound: Samples = np.rint(np.concatenate([silence[0], loud * ramp * tone, silence[1]])).astype(np.int16)
    return sound


def estimate(path: EchoPath) -> EchoFacts:
    """Measures the echo by deconvolution of the sweep."""
    far, near = path.far / 32768.0, path.near / 32768.0
    size = 1 << (len(far) + len(near)).bit_length()
    heard, played = np.fft.rfft(near, size), np.fft.rfft(far, size)
    power = np.abs(played) ** 2
    response: Wave = np.fft.irfft(heard * np.conj(played) / (power + 1e-3 * power.max()), size)
    # The index of delay zero in the response; no echo can come before it.
    zero = -round(path.near_later_s * PIPELINE_RATE_HZ)
    at = (zero + np.arange(round(LONGEST_DELAY_S * PIPELINE_RATE_HZ))) % size
    causal = response[at]
    noise = np.sqrt(np.median(causal**2) / 0.455)
    peak = float(np.abs(causal).max(initial=0.0))
    speaking = _span(far) + zero
    before = near[: max(1, speaking[0])]
    noise_power = float(np.mean(before**2))
    clipped = float(np.mean(np.abs(path.near.astype(np.int32)) >= FULL_SCALE))
    if peak <= FOUND_RATIO * max(noise, 1e-7):
        return EchoFacts(None, -120.0, 0.0, -120.0, _dbfs(noise_power), clipped)
    first = int(np.argmax(np.abs(causal) >= 0.5 * peak))
    kept = np.zeros(size)
    span = slice(max(0, first - 80), first + round(RESPONSE_S * PIPELINE_RATE_HZ))
    kept[at[span]] = causal[span]
    echo = np.fft.irfft(np.fft.rfft(kept) * played)[: len(near)]
    rest_power = float(np.sum((near - echo) ** 2)) - noise_power * len(near)
    echo_power = float(np.sum(echo**2))
    length = speaking[1] - speaking[0]
    return EchoFacts(
        delay_ms=1000 * first / PIPELINE_RATE_HZ,
        gain_db=10 * float(np.log10(echo_power / float(np.sum(far**2)))),
        linear_db=min(40.0, 10 * float(np.log10(echo_power / max(rest_power, 1e-4 * echo_power)))),
        echo_dbfs=_dbfs(echo_power / length),
        noise_dbfs=_dbfs(noise_power),
        clipped_share=clipped,
    )


def _span(far: Wave) -> npt.NDArray[np.intp]:
    sounding = np.flatnonzero(far)
    return np.array([sounding[0], sounding[-1] + 1])


def _dbfs(power: float) -> float:
    return 10 * float(np.log10(power)) if power > 1e-12 else -120.0


def advise(facts: EchoFacts, gain_db: float = 0.0) -> list[Advice]:
    """Advice on the echo, and the mode for it. gain_db: audio.input.gain_db, which the levels include."""
    lower_it = f"the capture gain with {ALSAMIXER}" if gain_db <= 0 else f"audio.input.gain_db (now {gain_db:g})"
    if facts.delay_ms is None:
        text = (
            "nothing of the test sound came back: with a headset or hardware that cancels echo that is right; if you "
            "did not hear it either, choose another of `parleyd devices` with audio.output.device"
        )
        return [Advice("change", text, "audio.echo.mode", "off")]
    found = [
        Advice(
            "good",
            f"the microphone hears the speaker {facts.delay_ms:.0f} ms later, {abs(facts.gain_db):.0f} dB "
            f"{'weaker' if facts.gain_db < 0 else 'louder'}, at {facts.echo_dbfs:.0f} dBFS "
            f"(noise: {facts.noise_dbfs:.0f} dBFS)",
        )
    ]
    half = "the person is heard only when the agent is silent"
    if facts.clipped_share > CLIPPED_SHARE:
        text = (
            "the speaker overdrives the microphone, which no canceller can undo: lower audio.output.volume, or "
            f"{lower_it}, and measure again; as it is, {half}"
        )
        found.insert(0, Advice("fault", text, "audio.echo.mode", "half_duplex"))
    elif facts.linear_db < LINEAR_DB:
        text = (
            f"the echo is distorted (only {facts.linear_db:.0f} dB of it can be cancelled): the speaker rattles or is "
            f"overdriven, or noise drowned the test; lower the volume and measure again; as it is, {half}"
        )
        found.insert(0, Advice("change", text, "audio.echo.mode", "half_duplex"))
    elif facts.delay_ms > CANCELLER_DELAY_MS:
        text = f"the echo comes later than a canceller looks for it: avoid Bluetooth and big buffers; as it is, {half}"
        found.insert(0, Advice("change", text, "audio.echo.mode", "half_duplex"))
    else:
        if facts.gain_db > LOUD_ECHO_DB:
            text = f"the echo is louder than what is played: lower {lower_it}"
            found.append(Advice("change", text))
        found.append(Advice("good", "a canceller can take this echo away", "audio.echo.mode", "aec"))
    return found
