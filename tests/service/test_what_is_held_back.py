"""What sounds like speech and is not sent: noises that woke for nothing before, whispers. It is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from harness import Daemon, spoken
from plays import config, silent
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import read_until, running, write_config, write_wav

from parleyd.audio.devices.wav import read_wav
from parleyd.audio.gate import held_back
from parleyd.audio.pcm import to_pcm
from parleyd.audio.resample import Resampler
from parleyd.core import events

RATE_HZ = 16_000
EVERY_S = 4.0
BARKS = 6


def bark() -> np.ndarray:
    """A hoarse, falling tone of a fifth of a second, three times."""
    t = np.arange(RATE_HZ // 5) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(300 * (1.3 - 2.5 * t)) / RATE_HZ
    tone = sum(np.sin(k * phase) / (1 + (k - 3) ** 2) for k in range(1, 12))
    once = (np.asarray(tone) + 0.15 * np.random.default_rng(1).standard_normal(len(t))) * np.sin(np.pi * 5 * t) ** 0.5
    return np.tile(np.concatenate([6000 * once, np.zeros(RATE_HZ // 5)]), 3)


def test_the_same_noise_opens_two_sessions_at_most_and_a_sentence_is_heard(tmp_path: Path) -> None:
    """Six barks, every four seconds, of which the agent understands nothing; then somebody speaks."""
    sentence = np.frombuffer(spoken("What time is it in Rome, if you please?"), "<i2")
    # Elsewhere between the frames each time.
    starts = [round((3 + number * EVERY_S) * RATE_HZ) + 101 * number for number in range(BARKS)]
    sound = np.zeros(starts[-1] + round(EVERY_S * RATE_HZ) + len(sentence) + 2 * RATE_HZ)
    for start in starts:
        sound[start : start + len(bark())] += bark()
    sound[starts[-1] + round(EVERY_S * RATE_HZ) :][: len(sentence)] += sentence
    sound += 8 * np.random.default_rng(2).standard_normal(len(sound))
    write_wav(tmp_path / "in.wav", to_pcm(sound))
    understood = threading.Event()

    def play(line: Line) -> None:
        line.ready()
        # More than there is in a bark.
        line.wait_speech(0.8)
        line.hears("what time is it in Rome")
        understood.set()
        line.over.wait(WAIT_S)

    with ScriptedServer(play) as server:
        socket = tmp_path / "control.sock"
        write_config(tmp_path, server.base_url, session="{false_wake_s: 1}", control=f"{{socket: '{socket}'}}")
        with running(tmp_path) as process:
            log = read_until(process, "false wake (1 in a row)")
            assert "it is known now, and what sounds the same will be held back" in log[-1]
            threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
            assert understood.wait(60), "the sentence was not heard"
            assert 2 <= len(server.lines) <= 3, "one or two for the barks, one for the sentence"
            asked = [sys.executable, "-m", "parleyd", "status", "--socket", str(socket), "--json"]
            status = json.loads(subprocess.check_output(asked, text=True))
        microphone = status["microphone"]
        assert microphone["held_back_times"]["known_noise"] >= BARKS - 2
        assert microphone["held_back_ms"]["known_noise"] >= (BARKS - 2) * 300


def whispered(text: str, folder: Path) -> bytes:
    path = folder / "whisper.wav"
    subprocess.run(["espeak-ng", "-v", "en+whisper", "-a", "200", text, "-w", str(path)], check=True, timeout=60)
    pcm, rate_hz = read_wav(path)
    resampler = Resampler(rate_hz, RATE_HZ)
    return resampler.process(pcm) + resampler.flush()


def test_a_whisper_wakes_nobody_and_it_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The news come once a minute; a minute of four seconds here."""
    monkeypatch.setattr(held_back, "_MINUTE_FRAMES", 200)
    with caplog.at_level("INFO"), ScriptedServer(silent) as server, Daemon(config(server)) as daemon:
        daemon.microphone.say(whispered("Can you hear me when I whisper like this?", tmp_path), after_ms=1000)
        news = daemon.expect(events.SpeechHeldBack)
        assert not server.lines
        microphone = daemon.service.status().microphone
        assert microphone is not None
    assert set(news.held_ms) == {"no_pitch"}
    assert news.total_ms == sum(news.held_ms.values()) > 500
    assert microphone.held_back_ms["no_pitch"] >= news.total_ms
    assert microphone.held_back_times["no_pitch"] >= 1
    line = next(each for each in caplog.messages if " s that sounded like speech in the last minute (" in each)
    assert "without a pitch, as in a whisper" in line
