"""What `parleyd tune` shows while it listens: on a terminal, in a pipe, without a microphone."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import PIPELINE_RATE_HZ, to_pcm
from parleyd.tuning.level_meter import LevelMeter, line
from vcard import VirtualCard

COLUMNS = 80


@pytest.mark.parametrize("level_dbfs", [-120.0, -90.0, -43.2, 0.0, 3.0])
@pytest.mark.parametrize("bar_dbfs", [-120.0, -67.0, 0.0])
@pytest.mark.parametrize("left_s", [-1.0, 0.0, 599.9])
def test_a_line_fits_and_has_the_gate_s_mark(level_dbfs: float, bar_dbfs: float, left_s: float) -> None:
    assert len(line(level_dbfs, bar_dbfs, left_s, is_open=True, columns=40)) < 40
    shown = line(level_dbfs, bar_dbfs, left_s, is_open=True)
    assert len(shown) < COLUMNS
    bar = re.search(r"\[([# |]{45})\]", shown)
    assert bar is not None
    assert bar[1].count("|") == 1


def test_a_level_above_the_mark_covers_it_and_one_below_does_not() -> None:
    above, below = line(-30.0, -60.0, 5.0, is_open=True), line(-80.0, -60.0, 5.0, is_open=False)
    assert re.search(r"\[#+\|#+ *\] +-30 dBFS, gate open$", above)
    assert re.search(r"\[#+ +\| +\] +-80 dBFS$", below)


def test_in_a_pipe_there_are_plain_lines() -> None:
    out = io.StringIO()
    meter = LevelMeter(out, "be quiet", 12.0, Vad(2), Gate(500, 900))
    meter.begins(48_000)
    noise = to_pcm(np.random.default_rng(1).normal(0, 30, 4_800))
    for _ in range(120):
        meter.heard(noise)
    meter.ends()
    first, *lines = out.getvalue().splitlines()
    assert first == "listening for 12 s: be quiet"
    assert [text.partition(";")[0] for text in lines] == ["7 s left", "2 s left"]
    assert "opened 0 times so far" in lines[0]
    assert "\r" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def write_config(tmp_path: Path, device: str) -> Path:
    config = tmp_path / "parleyd.yaml"
    config.write_text(f"provider: local\naudio: {{input: {{device: {device}}}}}\n")
    return config


def tune(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "parleyd", "tune", *map(str, words)]


@pytest.mark.usefixtures("vcard")
def test_without_the_microphone_nobody_is_told_to_speak(tmp_path: Path) -> None:
    command = tune("-c", write_config(tmp_path, "nowhere"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == os.EX_UNAVAILABLE
    assert "no input device is called 'nowhere'" in done.stderr
    assert "listening" not in done.stderr


def test_on_a_terminal_ctrl_c_evaluates_what_there_is(vcard: VirtualCard, tmp_path: Path) -> None:
    time_s = np.arange(60 * PIPELINE_RATE_HZ) / PIPELINE_RATE_HZ
    player = vcard.play(to_pcm(300 * np.sin(2 * np.pi * 700 * time_s)), rate_hz=PIPELINE_RATE_HZ)
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    command = tune("-c", write_config(tmp_path, "vmic"), "--seconds", "600", "--out", "picture.png")
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=tmp_path,
        start_new_session=True,
        # What a shell has put into the background ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(its)
    shown = b""
    interrupted = False
    try:
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            # Some seconds of tone have been heard.
            if not interrupted and re.search(rb"59[0-8] s \[#[^\r]*dBFS", shown):
                interrupted = True
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(5)
        player.terminate()
        player.wait(5)
        os.close(ours)
    text = shown.decode()
    assert interrupted
    assert "Ctrl-C ends it sooner; # is the level, | what speech has to reach\r\n" in text
    assert re.search(r"^vmic, \d+\.\d s: peak -4[01] dBFS", text, re.MULTILINE)
    assert (tmp_path / "picture.png").exists()
    # The line that moves is erased each time, and nothing is wrapped by the terminal.
    for row in re.split(r"\r?\n|\r\x1b\[K", text):
        assert len(row.rstrip("\r")) <= COLUMNS, row
