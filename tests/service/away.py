"""An agent that goes away and comes back: the embedded agent as a process of its own, in the place of the cloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import wave
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from harness import spoken

from parleyd.audio.resample import Resampler
from parleyd.embedded.child import _drain, _read_address

# The answers tell who has given them. "What time is it" and "tell me a story" are in the grammar of its ears.
CLOUD = (
    'agent:\n  end_of_speech_ms: 500\n  replies:\n  - {heard: "what time", say: "The cloud says that it is noon."}\n'
)
LOCAL = (
    'agent:\n  end_of_speech_ms: 500\n  replies:\n  - {heard: "what time", say: "By myself I say that it is late."}\n'
)


class Cloud:
    """A context manager; it runs at base_url until kill(), and again after start(). sounds: of all its sessions."""

    def __init__(self, folder: Path, scenario: str = CLOUD) -> None:
        self._folder = folder / "cloud"
        self._folder.mkdir()
        self._scenario = folder / "cloud.yaml"
        self._scenario.write_text(scenario)
        self._port = "0"
        self._runs = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, scenario: str | None = None) -> None:
        if scenario is not None:
            self._scenario.write_text(scenario)
        self._runs += 1
        folder = self._folder / str(self._runs)
        command = [sys.executable, "-P", "-m", "parleyd", "agent", "--port", self._port, "--quit-with-stdin"]
        self._process = subprocess.Popen(
            [*command, "--scenario", str(self._scenario), "--record", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, self._port = _read_address(self._process)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            threading.Thread(target=_read_on, args=(stream,), daemon=True).start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _read_on(stream: IO[str]) -> None:
    _drain(stream)


def sounds(folder: Path) -> list[tuple[bytes, int]]:
    """What each recorded session was sent: the sound, and its rate in hertz."""
    found = []
    for path in sorted(folder.rglob("*.wav")):
        if path.name.endswith("-received.wav"):
            with wave.open(str(path)) as file:
                found.append((file.readframes(file.getnframes()), file.getframerate()))
    return found


def times_heard(sound: bytes, rate_hz: int, sentence: str) -> int:
    """How often the sound holds the first half second of a sentence: by the correlation, sample by sample."""
    resampler = Resampler(16_000, rate_hz)
    said = np.frombuffer(resampler.process(spoken(sentence)) + resampler.flush(), "<i2").astype(float)
    onset = int(np.argmax(np.abs(said) > 500))
    wanted, heard = said[onset : onset + rate_hz // 2], np.frombuffer(sound, "<i2").astype(float)
    if len(heard) < len(wanted):
        return 0
    length = len(heard) + len(wanted)
    product = np.fft.irfft(np.fft.rfft(heard, length) * np.conj(np.fft.rfft(wanted, length)), length)
    sums = np.concatenate([[0.0], np.cumsum(heard**2)])
    places = len(heard) - len(wanted) + 1
    energy = sums[len(wanted) :] - sums[:places]
    likeness = product[:places] / np.sqrt(np.maximum(energy, 1.0) * np.sum(wanted**2))
    found, at = 0, 0
    while at < places and (peaks := np.flatnonzero(likeness[at:] > 0.9)).size:
        found += 1
        at += int(peaks[0]) + rate_hz // 2
    return found
