"""What the whole daemon costs at the pace of life, beside a bare loop that only listens (about five minutes).

    .venv/bin/python benchmarks/light.py [--seconds S] [--rounds N] [--only NAME] [--before FOLDER] [--json FILE]

Everything runs on a virtual sound card with a quiet room in its microphone, in rounds: in each round every row is
measured once, so that what else the machine does meets all rows alike; the table has the medians over the rounds.
Counted are the processor time of the whole process by its own clock, its context switches, and its memory. The daemon's
agent is a small server in this process. The bare loop takes 20 ms of the microphone by PyAudio's callback, puts them
into a queue and calls webrtcvad, with or without an output stream beside it: what no program in Python that listens
can well do without. --before measures a second daemon in the same rounds, out of another checkout's folder. Figures are
ratios within one run; another machine has others.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
vcard = importlib.import_module("vcard")

from parleyd.control.client import Client  # noqa: E402 - after the path
from parleyd.embedded.voice import Voice  # noqa: E402

RATE_HZ = 16_000
NOISE_DBFS = -62.0
MINUTES = 120  # of noise: longer than any run
ECHO_MS = 20
# How long each state lasts before it is measured: openings, first frames, the canceller's first seconds; and until the
# speaker is closed because nothing sounds (10 s).
SETTLE_S, QUIET_S = 2.5, 12.0
SENTENCES = (
    "Could you tell me what the weather is going to be like tomorrow, and whether I should take the bicycle to work or "
    "rather walk to the station? My neighbour said that it was going to rain all day long, but she also said that last "
    "week, and then we had nothing but sunshine until the evening. "
)

BARE = """
import queue, sys, time
import pyaudio, webrtcvad
pa, frames, vad = pyaudio.PyAudio(), queue.Queue(50), webrtcvad.Vad(2)
def heard(data, count, at, status):
    frames.put(data)
    return None, pyaudio.paContinue
def wanted(data, count, at, status):
    return bytes(2 * count), pyaudio.paContinue
common = dict(format=pyaudio.paInt16, channels=1, rate=16000, frames_per_buffer=320)
stream = pa.open(input=True, stream_callback=heard, **common)
if sys.argv[1:] == ["output"]:
    speaker = pa.open(output=True, stream_callback=wanted, **common)
print("ready", flush=True)
while True:
    vad.is_speech(frames.get(), 16000)
"""
IMPORTS = "import numpy, pyaudio, webrtcvad, samplerate, msgspec, yaml, websocket, ssl, logging, json"

CONFIG = """
elevenlabs: {{agent_id: benchmark, base_url: "http://127.0.0.1:{port}"}}
audio: {{input: {{device: vmic}}, output: {{device: vspk{keep_open}}}}}
session: {{max_s: 86400, idle_timeout_s: 3600, no_person_s: 86400, false_wake_s: 3600}}
control: {{socket: {folder}/control.sock}}
"""


# ---------------------------------------------------------------- what is counted


@dataclass(frozen=True)
class Cost:
    """cpu_ms: per second of the measurement. switches: likewise. rss_mib, pss_mib: at its end."""

    cpu_ms: float
    switches: float
    rss_mib: float
    pss_mib: float


def cpu_s(pid: int) -> float:
    """The processor time of the whole process, ended threads as well: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def switches(pid: int) -> int:
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            lines = (task / "status").read_text().splitlines()
            count += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return count


def memory_mib(pid: int) -> tuple[float, float]:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split()[0]: int(line.split()[1]) for line in rollup if line.endswith("kB")}
    return kib["Rss:"] / 1024, kib["Pss:"] / 1024


def measured(pid: int, seconds: float) -> Cost:
    before = time.monotonic(), cpu_s(pid), switches(pid)
    time.sleep(seconds)
    after = time.monotonic(), cpu_s(pid), switches(pid)
    elapsed_s, used_s, switched = (late - early for early, late in zip(before, after, strict=True))
    return Cost(used_s * 1000 / elapsed_s, switched / elapsed_s, *memory_mib(pid))


# ---------------------------------------------------------------- the agent


class TrivialAgent:
    """Accepts every session, reads everything, and talks while `talks` is set: a second of sound each second."""

    def __init__(self, voice: bytes) -> None:
        self._voice = voice
        self.live = threading.Event()
        self.talks = threading.Event()
        self._server = serve(self._handle, "127.0.0.1", 0, max_size=None)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handle(self, connection: ServerConnection) -> None:
        formats = {"agent_output_audio_format": "pcm_16000", "user_input_audio_format": "pcm_16000"}
        begin = {"conversation_id": "benchmark", **formats}
        threading.Thread(target=self._talk, args=(connection,), daemon=True).start()
        try:
            connection.recv()
            connection.send(
                json.dumps(
                    {
                        "type": "conversation_initiation_metadata",
                        "conversation_initiation_metadata_event": begin,
                    }
                )
            )
            self.live.set()
            for _ in connection:
                pass
        except ConnectionClosed:
            pass
        finally:
            self.live.clear()

    def _talk(self, connection: ServerConnection) -> None:
        event, second = 0, 2 * RATE_HZ
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.talks.wait()
                due_s = time.monotonic()
                for begin in range(0, len(self._voice) - second, second):
                    if not self.talks.is_set():
                        break
                    event += 1
                    sound = base64.b64encode(self._voice[begin : begin + second]).decode()
                    chunk = {"audio_base_64": sound, "event_id": event}
                    connection.send(json.dumps({"type": "audio", "audio_event": chunk}))
                    # One chunk ahead, so that the answer has no holes.
                    due_s += 1.0
                    time.sleep(max(0.0, due_s - 1.0 - time.monotonic()))


# ---------------------------------------------------------------- the rows


class Bench:
    def __init__(self, card: Any, seconds: float, only: set[str], before: Path | None) -> None:
        self.card = card
        self._before = before
        self.seconds = seconds
        self._only = only
        with Voice() as voice:
            self._voice = voice.say(SENTENCES * 4, RATE_HZ)
        self._agent = TrivialAgent(self._voice)
        self.costs: dict[str, list[Cost]] = {}
        self.times: dict[str, list[float]] = {}

    def wanted(self, *names: str) -> bool:
        return not self._only or not self._only.isdisjoint(names)

    def add(self, name: str, pid: int, settle_s: float = SETTLE_S) -> None:
        if self.wanted(name):
            time.sleep(settle_s)
            self.costs.setdefault(self._which + name, []).append(measured(pid, self.seconds))

    def round(self) -> None:
        self._which = ""
        for name, words in (("bare loop", []), ("bare loop, output open", ["output"])):
            if self.wanted(name):
                with self._running(
                    [sys.executable, "-c", BARE, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                ) as bare:
                    assert bare.stdout is not None
                    bare.stdout.readline()
                    self.add(name, bare.pid)
        if self.wanted("start"):
            began_s = time.monotonic()
            subprocess.run([sys.executable, "-c", IMPORTS], check=True)
            self.times.setdefault("imports, ms", []).append((time.monotonic() - began_s) * 1000)
        if self._before is not None:
            self._which = "before: "
            self._daemon({"PYTHONPATH": str(self._before / "daemon")}, "")
            self._which = ""
        self._daemon({}, ", keep_open: off")

    @contextlib.contextmanager
    def _running(self, command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(command, env=os.environ | self.card.environment | options.pop("env", {}), **options)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _daemon(self, environment: dict[str, str], keep_open: str) -> None:
        with tempfile.TemporaryDirectory(prefix="light-") as folder, socket.socket(socket.AF_UNIX, 2) as notified:
            notified.bind(f"{folder}/notify")
            notified.settimeout(60)
            config = Path(folder) / "parleyd.yaml"
            config.write_text(CONFIG.format(port=self._agent.port, folder=folder, keep_open=keep_open))
            began_s = time.monotonic()
            with (
                (Path(folder) / "log").open("wb") as log,
                self._running(
                    [sys.executable, "-m", "parleyd", "run", "-c", str(config)],
                    env={"NOTIFY_SOCKET": f"{folder}/notify", "STATE_DIRECTORY": folder, "HOME": folder} | environment,
                    stderr=log,
                ) as daemon,
            ):
                while b"READY=1" not in notified.recv(65536):
                    pass
                self.times.setdefault(self._which + "exec to READY, ms", []).append((time.monotonic() - began_s) * 1000)
                self.times.setdefault(self._which + "CPU to READY, ms", []).append(cpu_s(daemon.pid) * 1000)
                try:
                    self._states(daemon.pid, Path(folder) / "control.sock")
                except BaseException:
                    print(log.name, Path(log.name).read_text(errors="replace"), file=sys.stderr)
                    raise

    def _states(self, pid: int, control: Path) -> None:
        self.add("asleep", pid, QUIET_S)
        with Client(control) as client:
            client.ask("wake")
        assert self._agent.live.wait(10), "the daemon has not opened a session"
        self.add("live, silent", pid, QUIET_S)
        if self.wanted("live, the person talks"):
            person = self.card.play(self._voice, rate_hz=RATE_HZ)
            self.add("live, the person talks", pid)
            person.terminate()
            person.wait()
            time.sleep(1.5)
        if self.wanted("live, the agent talks"):
            with self.card.loopback(latency_ms=ECHO_MS):
                self._agent.talks.set()
                time.sleep(3.0)
                self.add("live, the agent talks", pid)
                self._agent.talks.clear()
                time.sleep(1.5)

    def table(self) -> str:
        base = self._median("bare loop, output open", lambda cost: cost.cpu_ms)
        lines = [f"{'':<32}{'CPU ms/s':>10}{'to bare+out':>13}{'switches/s':>12}{'RSS MiB':>9}{'PSS MiB':>9}"]
        for name in self.costs:
            cpu = self._median(name, lambda cost: cost.cpu_ms)
            ratio = f"{cpu / base:.2f}" if base else "-"
            switched, rss, pss = (self._median(name, pick) for pick in (_switches, _rss, _pss))
            lines.append(f"{name:<32}{cpu:>10.1f}{ratio:>13}{switched:>12.0f}{rss:>9.0f}{pss:>9.0f}")
        lines += [f"{name:<32}{statistics.median(values):>10.0f}" for name, values in self.times.items()]
        return "\n".join(lines)

    def _median(self, name: str, pick: Callable[[Cost], float]) -> float:
        return statistics.median(pick(cost) for cost in self.costs.get(name, [Cost(0, 0, 0, 0)]))


def _switches(cost: Cost) -> float:
    return cost.switches


def _rss(cost: Cost) -> float:
    return cost.rss_mib


def _pss(cost: Cost) -> float:
    return cost.pss_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a row; may be given again")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout whose daemon is measured beside")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single measurement, too")
    args = parser.parse_args()
    card = vcard.VirtualCard()
    try:
        bench = Bench(card, args.seconds, set(args.only), args.before)
        noise = np.random.default_rng(1).normal(0.0, 32768.0 * 10 ** (NOISE_DBFS / 20), RATE_HZ * 60)
        room = card.play(np.rint(noise).astype("<i2").tobytes() * MINUTES, rate_hz=RATE_HZ, latency_ms=2000)
        for number in range(args.rounds):
            bench.round()
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
        room.terminate()
        print(bench.table())
        if args.json is not None:
            rows = {name: [asdict(cost) for cost in costs] for name, costs in bench.costs.items()}
            args.json.write_text(json.dumps({"rows": rows, "times": bench.times}, indent=1) + "\n")
    finally:
        card.stop()


if __name__ == "__main__":
    main()
