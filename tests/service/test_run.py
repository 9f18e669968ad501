"""`parleyd run` as its user meets it: a process, a configuration file, WAV files as devices, signals."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import spoken
from scripted_server import WAIT_S, Line, ScriptedServer

from waiting import rest_of, until

# A machine may be busy; what must not hold up the end lasts longer than this.
STOP_S = 30.0


def write_wav(path: Path, sound: bytes, rate_hz: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(sound)
    return path


def write_config(folder: Path, base_url: str = "http://127.0.0.1:9", **more: str) -> Path:
    sections = {
        "elevenlabs": f'{{agent_id: agent_test, base_url: "{base_url}"}}',
        "audio": "{input: {device: 'wav:in.wav'}, output: {device: 'wav:out.wav'}}",
        **more,
    }
    path = folder / "parleyd.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
    return path


@contextmanager
def running(folder: Path, *arguments: str, modules: str = "") -> Iterator[subprocess.Popen[str]]:
    """modules: a folder of modules that come before the installed ones."""
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", *arguments, "run", "-c", "parleyd.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (modules, os.environ.get("PYTHONPATH"))))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Lines of the log, up to the one with these words. Ends with the process at the latest."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"{words!r} never came; {lines}")


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """→ what it wrote after that. Fails when it does not end within STOP_S."""
    process.send_signal(number)
    return rest_of(process, STOP_S)[1]


def conversation(line: Line) -> None:
    line.ready()
    line.wait_turn()
    line.hears("what time is it")
    line.says("It is noon.", 60.0)
    line.over.wait(WAIT_S)


def question() -> bytes:
    return bytes(32000) + spoken("What time is it now?")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_agent_speaks_ends_everything_in_time(number: signal.Signals, tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", question())
    with ScriptedServer(conversation) as server:
        write_config(tmp_path, server.base_url)
        with running(tmp_path) as process:
            line = server.next_line()
            line.wait("the question", lambda: line._turn_from)
            errors = stop(process, number)
            assert process.returncode == 0
            assert "Traceback" not in errors
            assert line.over.wait(WAIT_S)
            assert line.closed is not None
            assert line.closed[0] == 1000
        with wave.open(str(tmp_path / "out.wav")) as file:
            assert file.getnframes() > 0


def test_a_signal_while_asleep_and_while_backing_off(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(3200))
    write_config(tmp_path)
    with running(tmp_path) as process:
        read_until(process, "listening on")
        stop(process)
        assert process.returncode == 0
    write_wav(tmp_path / "in.wav", question())
    with running(tmp_path) as process:
        read_until(process, "connection refused")
        errors = stop(process)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_a_signal_during_a_handshake_that_never_ends(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", question())
    with ScriptedServer(lambda _line: None) as server:
        write_config(tmp_path, server.base_url)
        with running(tmp_path) as process:
            line = server.next_line()
            stop(process)
            assert process.returncode == 0
            assert line.over.wait(WAIT_S)
            assert line.closed is not None
            assert line.closed[0] == 1000


def test_a_signal_ends_it_although_nobody_reads_what_it_says(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", question())
    write_config(tmp_path, log="{level: debug}", reconnect="{initial_s: 0.1, max_s: 1}")
    with running(tmp_path, "--debug") as process:
        read_until(process, "connection refused")
        assert process.stderr is not None
        # Full when it holds no more than this, and nobody empties it.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        wait_until_full(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0


def wait_until_full(process: subprocess.Popen[str]) -> None:
    stderr = process.stderr
    assert stderr is not None
    until("it is not full", lambda: struct.unpack("i", fcntl.ioctl(stderr, termios.FIONREAD, bytes(4)))[0] >= 3900)


def test_signals_at_any_moment_of_the_start(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", question())
    write_config(tmp_path)
    moments = [(0.1 + 0.07 * n, (signal.SIGTERM, signal.SIGINT)[n % 2]) for n in range(12)]
    for after_s, number in moments:
        with running(tmp_path) as process:
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                errors = stop(process, number)
                # Before its handlers stand, the signal itself ends it; Python's own start answers with 1.
                in_pythons_start = process.returncode == 1 and "init_import_site" in errors
                assert process.returncode in (0, -number, 130) or in_pythons_start, errors
                if process.returncode == 0:
                    assert "Traceback" not in errors


def test_a_signal_in_the_middle_of_an_import_is_not_lost(tmp_path: Path) -> None:
    """A callback of a weak reference, or a module in C, swallows the KeyboardInterrupt that Python makes of it."""
    write_wav(tmp_path / "in.wav", question())
    write_config(tmp_path)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pyaudio.py").write_text(
        "import os, signal, sys, threading\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Event().wait(0.01)\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
        "del sys.modules['pyaudio']\n"
        "sys.path.pop(sys.path.index(os.path.dirname(__file__)))\n"
        "sys.modules['pyaudio'] = __import__('pyaudio')\n"
    )
    with running(tmp_path, modules=str(tmp_path / "modules")) as process:
        assert process.wait(STOP_S) == -signal.SIGINT


def test_wake_and_sleep_by_signal(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(3200))
    with ScriptedServer(conversation) as server:
        write_config(tmp_path, server.base_url, wake="{mode: manual}")
        with running(tmp_path) as process:
            read_until(process, "listening on")
            process.send_signal(signal.SIGUSR1)
            line = server.next_line()
            line.wait("sound", lambda: len(line.audio) > 16000)
            process.send_signal(signal.SIGUSR2)
            assert line.over.wait(WAIT_S)
            assert line.closed is not None
            assert line.closed[0] == 1000
            stop(process)


@pytest.mark.parametrize(
    ("sections", "code", "words"),
    [
        ({"audio": "{input: {device: 'wav:none.wav'}, output: {device: 'null'}}"}, 69, ["none.wav", "input.device"]),
        ({"audio": "{input: {device: 'wav:text.wav'}, output: {device: 'null'}}"}, 69, ["not a WAV file", "sox"]),
        ({"audio": "{input: {device: 'null'}, output: {device: 'wav:no/such/out.wav'}}"}, 69, ["out.wav"]),
        ({"audio": "{input: {device: 'wav:in.wav'}, output: {device: 'wav:in.wav'}}"}, 69, ["both"]),
        ({"elevenlabs": "{agent_id: a, api_key: {env: PARLEYD_NO_KEY}}"}, 78, ["PARLEYD_NO_KEY"]),
        ({"elevenlabs": "{}"}, 78, ["agent_id"]),
        ({"gate": "{hangovr_ms: 3, aggressiveness: 9}"}, 78, ["hangover_ms", "aggressiveness"]),
        ({"provider": "local", "local": "{scenario: none.yaml}"}, 69, ["none.yaml"]),
    ],
)
def test_bad_input_is_a_clear_line_and_a_code(
    sections: dict[str, str], code: int, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("hello")
    write_wav(tmp_path / "in.wav", bytes(3200))
    write_config(tmp_path, **sections)
    with running(tmp_path) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert all(line.startswith("parleyd: ") for line in errors.splitlines())
    assert all(word in errors for word in words), errors


def test_a_port_for_figures_that_is_taken_is_a_clear_line_and_a_code(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(3200))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        write_config(tmp_path, metrics=f"{{port: {port}}}")
        with running(tmp_path) as process:
            said = process.communicate(timeout=WAIT_S)[1]
    reason = f"metrics.port: 127.0.0.1:{port} cannot be opened: Address already in use"
    assert said == f"parleyd: {reason}; choose another port\n"
    assert process.returncode == os.EX_UNAVAILABLE


@pytest.mark.parametrize("fault", ["import something_is_gone", "def create(): raise OSError('broken')"])
def test_a_missing_or_broken_detector_is_an_error_at_the_start(fault: str, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "_webrtcvad.py").write_text(fault)
    write_wav(tmp_path / "in.wav", bytes(3200))
    write_config(tmp_path)
    with running(tmp_path, modules=str(tmp_path / "modules")) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 69
    assert "voice activity detector" in errors
    assert "webrtcvad-wheels" in errors
    assert "Traceback" not in errors
