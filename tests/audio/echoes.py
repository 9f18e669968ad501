"""Sound for the tests of the echo canceller: a voice, its echo in a room, and both as frames."""

from __future__ import annotations

import numpy as np

from parleyd.audio.pcm import FRAME_SAMPLES, Frame, to_pcm


def voice(seconds: float, seed: int, loud: float) -> np.ndarray:
    """Noise with a voice's pitch and syllables: enough for level and spectrum to move as speech does."""
    rng, samples = np.random.default_rng(seed), int(seconds * 16_000)
    at_s = np.arange(samples) / 16_000
    pitch = 110 + 30 * np.sin(2 * np.pi * 0.7 * at_s + seed)
    buzz = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)) + 0.3 * rng.standard_normal(samples)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * at_s + seed) + 0.4, 0.0, 1.0)
    shaped = np.convolve(buzz, rng.standard_normal(40) * np.exp(-np.arange(40) / 8), "same") * syllables
    scaled: np.ndarray = (shaped * loud / np.sqrt((shaped**2).mean())).astype(np.float32)
    return scaled


def echo_of(far: np.ndarray, delay: int = 900) -> np.ndarray:
    rng = np.random.default_rng(1)
    response = np.concatenate([np.zeros(delay), rng.standard_normal(1500) * np.exp(-np.arange(1500) / 250)])
    response *= 0.5 / np.sqrt((response**2).sum())
    size = 1 << (len(far) + len(response)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(far, size) * np.fft.rfft(response, size), size)[: len(far)]
    return (wet + np.random.default_rng(2).standard_normal(len(far)) * 0.0004).astype(np.float32)


def frames_of(sound: np.ndarray) -> list[np.ndarray]:
    return [sound[i : i + FRAME_SAMPLES] for i in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES)]


def frame_of(sound: np.ndarray, start_s: float = 0.0) -> Frame:
    return Frame(to_pcm(sound * 32768), start_s)


def power(frames: list[np.ndarray]) -> float:
    return float(np.mean(np.concatenate(frames) ** 2))
