"""The harness knows whether it wrote an utterance before the daemon had read on."""

from __future__ import annotations

import os
from pathlib import Path

from chaos import voices
from chaos.daemon import BUFFER_BYTES, HEADER_BYTES, LEAD_S, Microphone, read_bytes


def test_how_far_a_process_has_read_is_known_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "microphone.wav"
    path.write_bytes(bytes(100_000))
    assert read_bytes(os.getpid(), path) is None, "nobody has opened it"
    with path.open("rb", buffering=0) as file:
        file.read(HEADER_BYTES)
        assert read_bytes(os.getpid(), path) == HEADER_BYTES
        file.read(20_000)
        assert read_bytes(os.getpid(), path) == HEADER_BYTES + 20_000
    with path.open("rb") as file:
        file.read(HEADER_BYTES)
        assert HEADER_BYTES < (read_bytes(os.getpid(), path) or 0) <= BUFFER_BYTES, "what is in its buffer counts, too"
    assert read_bytes(os.getpid(), path) is None


def test_a_clock_that_is_behind_the_reading_is_put_right(tmp_path: Path) -> None:
    microphone = Microphone(tmp_path / "microphone.wav", 1, 20.0)
    microphone.began(100.0)
    sound = voices.room(voices.RATE_HZ, 2)
    before_s, _, before_bytes = microphone.say(sound, 1)
    # The daemon has read a second more than it could have by that clock.
    microphone.is_read(before_bytes + BUFFER_BYTES + voices.RATE_HZ * 2)
    after_s, _, after_bytes = microphone.say(sound, 2)
    least_bytes = voices.RATE_HZ * 2 * (1.0 + LEAD_S)
    assert after_bytes - before_bytes >= least_bytes
    assert after_s - before_s < 1.0
    microphone.is_read(HEADER_BYTES)
    assert microphone.say(sound, 3)[2] >= after_bytes, "it is never put back"
