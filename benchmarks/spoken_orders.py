"""Which spoken orders are recognised, and which other sentences are taken for one: what barge_in.words hears.

    python benchmarks/spoken_orders.py

flite's four voices say each order, with "please" before and behind it, too, and sentences that are none; some of
those are in the grammar as no orders, and some it does not know. Every sentence goes to the recogniser of the daemon as
it is, and with the room's noise 20 dB below it. The noise is white and its seed fixed, so the figures are the same
each time; the time is that of this machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from parleyd.audio.gate.order_words import ORDERS, OrderWords
from parleyd.audio.resample import Resampler

VOICES = ("slt", "rms", "awb", "kal")
RATE_HZ = 16_000
NOISE_BELOW_DB = 20.0
SEED = 1
# The first line is in the grammar, the second is not.
OTHERS = (
    "what time is it", "i stopped it", "do not stop", "yes", "no", "really", "water", "later", "go on", "tell me more",
    "not again", "come here",
    "i will stop by later", "quiet evening", "he is a loud boy", "repeat after me", "shut the door", "stop the video",
    "stop the music", "turn off the light", "repeat the question", "who says that", "the top of the hill",
    "is it still raining", "could you help me", "play some jazz", "call my brother", "stop the car",
    "where are my glasses", "a softer pillow", "we met again",
)  # fmt: skip


def spoken(text: str, voice: str, folder: Path) -> np.ndarray:
    path = folder / "spoken.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    resampler = Resampler(rate_hz, RATE_HZ)
    return np.frombuffer(resampler.process(pcm) + resampler.flush(), "<i2").astype(np.float64)


def noisy(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-NOISE_BELOW_DB / 20)
    return sound + rng.normal(0, level, len(sound))


def main() -> None:
    words, rng = OrderWords(), np.random.default_rng(SEED)
    used_s = sound_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for way in ("clean", f"noise {NOISE_BELOW_DB:.0f} dB below"):
            for voice in VOICES:
                missed, wrong, right, count = [], [], 0, 0
                said = [(text, order) for order_text, order in ORDERS.items() for text in forms(order_text)]
                for text, order in said + [(text, None) for text in OTHERS]:
                    sound = spoken(text, voice, Path(folder))
                    sound = sound if way == "clean" else noisy(sound, rng)
                    began_s = time.process_time()
                    heard = words.heard(sound.clip(-32768, 32767).astype("<i2").tobytes())
                    used_s += time.process_time() - began_s
                    sound_s += len(sound) / RATE_HZ
                    count += order is not None
                    right += order is not None and heard == order
                    if order is not None and heard is None:
                        missed.append(text)
                    elif heard != order:
                        wrong.append(f"{text} -> {heard}")
                print(f"{way:20} {voice}: {right} of {count} orders, {len(wrong)} wrong of {count + len(OTHERS)}")
                print(f"    missed: {', '.join(missed) or 'none'}; wrong: {', '.join(wrong) or 'none'}", flush=True)
    print(f"{1000 * used_s / sound_s:.0f} ms of CPU time for a second of sound")


def forms(order: str) -> tuple[str, str, str]:
    return order, f"please {order}", f"{order} please"


if __name__ == "__main__":
    main()
