"""How long sound still comes out of the speaker after a clear, on a virtual sound card (about 45 s).

Compared with (a) the output latency that the device reports, which no playback that feeds silence can undercut, and
(b) the usual way, which the official Python SDK takes too: a thread writes whole chunks to a blocking stream, and an
interruption empties the queue before it. All answers are chunks of 3 s, all clears come at random moments of them.

    .venv/bin/python benchmarks/clear_residual.py
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import queue
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyaudio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
vcard = importlib.import_module("vcard")

from parleyd.audio.devices.portaudio import PortAudioOutput, find  # noqa: E402 — after the path
from parleyd.audio.pcm import AudioFormat  # noqa: E402
from parleyd.audio.playback.playback import Playback  # noqa: E402

CHUNK_S = 3.0
RATE_HZ = 16_000
TRIALS = 14
PEER_TRIALS = 7


def chunk() -> bytes:
    t = np.arange(round(CHUNK_S * RATE_HZ)) / RATE_HZ
    pcm: bytes = np.rint(np.sin(2 * math.pi * 500 * t) * 10_000).astype("<i2").tobytes()
    return pcm


class BlockingPeer:
    """A queue, and a thread in write(): what it has begun, it plays to the end."""

    def __init__(self) -> None:
        self._pa = pyaudio.PyAudio()
        self._stream = self._pa.open(
            format=pyaudio.paInt16,
            channels=1,
            rate=RATE_HZ,
            output=True,
            output_device_index=find("vspk", "output").index,
            frames_per_buffer=RATE_HZ // 16,
        )
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._stream.write(data)

    def enqueue(self, data: bytes) -> None:
        self._queue.put(data)

    def clear(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._stream.close()
        self._pa.terminate()


def residuals_ms(
    listener: Any, enqueue: Callable[[bytes], None], clear: Callable[[], object], trials: int
) -> list[float]:
    found = []
    rng = random.Random(1)
    for _ in range(trials):
        began_s = time.monotonic()
        enqueue(chunk())
        if not listener.wait_for_sound(began_s, 5):
            raise SystemExit("the speaker stays silent")
        time.sleep(rng.uniform(0.2, 0.6))
        cleared_s = time.monotonic()
        clear()
        # Silence for a quarter of a second: it is over.
        while time.monotonic() - max(listener.last_sound_s(), cleared_s) < 0.25:
            time.sleep(0.02)
        found.append((listener.last_sound_s() - cleared_s) * 1000)
    return found


def main() -> None:
    card = vcard.VirtualCard()
    os.environ.update(card.environment)
    results: dict[str, list[float]] = {}
    latency_ms = 0.0
    try:
        with card.listen() as listener:
            for cut in ("fade", "sharp"):
                playback = Playback(
                    PortAudioOutput("vspk"),
                    volume=1.0,
                    duck_db=12.0,
                    cut="fade" if cut == "fade" else "sharp",
                    on_started=lambda *_: None,
                    on_finished=lambda _: None,
                    on_failure=lambda error: print(f"playback failed: {error}", file=sys.stderr),
                )
                latency_ms = playback.start().latency_s * 1000
                playback.set_format(AudioFormat("pcm", RATE_HZ))
                results[cut] = residuals_ms(listener, functools.partial(playback.enqueue, 1), playback.clear, TRIALS)
                playback.stop()
            peer = BlockingPeer()
            results["peer"] = residuals_ms(listener, peer.enqueue, peer.clear, PEER_TRIALS)
            peer.stop()
    finally:
        card.stop()

    print(f"sound after a clear, ms; the device reports a latency of {latency_ms:.0f} ms; chunks of {CHUNK_S:.0f} s")
    print(f"{'':24}{'trials':>7}{'min':>8}{'median':>8}{'max':>8}{'median / latency':>18}{'median / peer':>15}")
    names = {"fade": "cut: fade", "sharp": "cut: sharp", "peer": "blocking whole chunks"}
    peer_ms = statistics.median(results["peer"])
    for key, found in results.items():
        middle = statistics.median(found)
        print(
            f"{names[key]:24}{len(found):7}{min(found):8.1f}{middle:8.1f}{max(found):8.1f}"
            f"{middle / latency_ms:18.2f}{middle / peer_ms:15.3f}"
        )
    print("Measured at the speaker's monitor, to about 5 ms; below zero: silent before clear() had returned.")


if __name__ == "__main__":
    main()
