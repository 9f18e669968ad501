"""A scripted day, compressed: minutes of session and megabytes up, for each `gate.uplink`, against what is always on.

    .venv/bin/python benchmarks/day.py

The day has HOURS of each kind. Of each kind some MINUTES are heard, frame by frame, by the daemon's own measure,
detector, gate and rules for sessions (people_and_noise.py), and what came of them is multiplied: so a day takes a
minute, and what a gate learns over hours is not in it. The agent understands people, and nothing of a television: a
wake by that is a false one. Nobody of the visitors means the agent, but it understands them, so they cost a session.
Megabytes are those of the messages with sound, as the daemon and the SDK write them, without TLS, TCP and the way down.
"""

from __future__ import annotations

import base64
import json

import numpy as np
from people_and_noise import Contender, Flags, hear, speech_in
from rooms import RATE_HZ, Sound, at_level, coloured, recorded, spoken, television

from parleyd.audio.pcm import FRAME_MS

HOURS = {"quiet": 18.0, "television": 4.0, "visits": 1.5, "conversations": 0.5}
MINUTES = {"quiet": 10.0, "television": 15.0, "visits": 8.0, "conversations": 8.0}
NOISE_DB, SPEECH_DB, TELEVISION_DB = -62.0, -30.0, -38.0
# A visitor speaks, another answers; in a conversation the person waits for the agent and thinks.
PAUSES_S = {"visits": 1.0, "conversations": 8.0}
# gate.uplink drop: that much silence is sent after an utterance.
TAIL_FRAMES = 2000 // FRAME_MS
# RFC 6455: two bytes, two more of a length, four of a mask.
HEADER_BYTES = 8


def message_bytes(sound_ms: float) -> int:
    chunk = base64.b64encode(bytes(round(sound_ms * RATE_HZ / 1000) * 2)).decode()
    return len(json.dumps({"user_audio_chunk": chunk}, separators=(",", ":"))) + HEADER_BYTES


def scene(kind: str, minutes: float, rng: np.random.Generator) -> tuple[Sound, Flags]:
    """→ its sound, and the frames in which somebody speaks whom the agent understands."""
    samples = round(minutes * 60) * RATE_HZ
    room = at_level(coloured(samples, 1.0, rng), NOISE_DB)
    none = np.zeros(samples * 1000 // RATE_HZ // FRAME_MS, bool)
    if kind == "quiet":
        return room, none
    voices = recorded() or spoken()
    if kind == "television":
        return room + at_level(television(samples, voices, rng), TELEVISION_DB), none
    out = np.zeros(samples, np.float32)
    at = 5 * RATE_HZ
    while at < samples:
        phrase = at_level(voices[int(rng.integers(len(voices)))], SPEECH_DB)[: samples - at]
        out[at : at + len(phrase)] += phrase
        at += len(phrase) + round((0.5 + rng.exponential(PAUSES_S[kind])) * RATE_HZ)
    return room + out, speech_in(out)


def figures(share: float = 1.0) -> dict[str, float]:
    """share: of MINUTES; less than 1 for a trial, whose figures say nothing."""
    rng = np.random.default_rng(1)
    frames_an_hour = 3_600_000 / FRAME_MS
    frame_bytes = message_bytes(FRAME_MS)
    found: dict[str, float] = {}
    live_h = whole = dropped = 0.0
    for kind, hours in HOURS.items():
        heard = hear(*scene(kind, max(0.3, MINUTES[kind] * share), rng), Contender())
        times = hours * frames_an_hour / len(heard.live)
        live = int(heard.live.sum())
        found[f"{kind}, {hours:g} h: minutes of session"] = live * times * FRAME_MS / 60_000
        # Each utterance's tail reaches to its end, or to the next one.
        sent = heard.passed.copy()
        for end in np.flatnonzero(heard.passed[:-1] & ~heard.passed[1:]):
            sent[end : end + 1 + TAIL_FRAMES] = True
        live_h += live * times * FRAME_MS / 3_600_000
        whole += live * times
        dropped += int((sent & (heard.live | heard.passed)).sum()) * times
    found["the day: minutes of session"] = live_h * 60
    found["the day: minutes of a session that is always on"] = 24 * 60
    found["the day: MB up, gate.uplink silence and open"] = whole * frame_bytes / 1e6
    found["the day: MB up, gate.uplink drop"] = dropped * frame_bytes / 1e6
    found["the day: MB up, the SDK, always on"] = 24 * 3600 * 4 * message_bytes(250) / 1e6
    return found


if __name__ == "__main__":
    for row, value in figures().items():
        print(f"{row:<52}{value:>10.1f}")
