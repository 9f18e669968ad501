"""What the whole daemon costs at the pace of life, beside a bare loop that only listens (about eight minutes).

    .venv/bin/python benchmarks/light.py [--seconds S] [--rounds N] [--only NAME] [--before FOLDER] [--json FILE]

Everything runs on a virtual sound card with a quiet room in its microphone, in rounds: in each round every row is
measured once, so that what else the machine does meets all rows alike; the table has the medians over the rounds.
Counted are the processor time of the whole process by its own clock, its context switches, and its memory. The agent
(plain_agent.py) is a small server in this process. The bare loop (racers.BARE) takes 20 ms of the microphone by
PyAudio's callback, puts them into a queue and calls webrtcvad, with or without an output stream beside it: what no
program in Python that listens can well do without. It is measured in the same states, because a sound server hands
sound over in smaller blocks while somebody else plays with a low latency, and each block wakes everybody. --before
measures a second daemon in the same rounds, out of another checkout's folder. Figures are ratios within one run;
another machine has others.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import racers
from counting import Cost, cpu_s, measured
from plain_agent import RATE_HZ, PlainAgent

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
vcard = importlib.import_module("vcard")

from parleyd.embedded.voice import Voice  # noqa: E402 - after the path
from parleyd.host import signals  # noqa: E402

NOISE_DBFS = -62.0
MINUTES = 120  # of noise: longer than any run
# The delay of the virtual room. With less the loopback's buffer runs dry, and the echo jumps once a second.
ECHO_MS = 60
# The canceller does not know the room yet in the first seconds of the first answer after a start. A daemon that runs
# for months is measured after them.
FIRST_ANSWER_S = 5.0
# How long each state lasts before it is measured: openings, first frames, the canceller's first seconds; and until the
# speaker is closed because nothing sounds (10 s).
SETTLE_S, QUIET_S = 2.5, 12.0
IMPORTS = "import numpy, pyaudio, webrtcvad, samplerate, msgspec, yaml, websocket, ssl, logging, json"
BARE, OPEN = "bare loop", "bare loop, output open"
# The floor of the memory: what has imported the libraries and listens, in one process.
LOADED = "bare loop with the imports"
ASLEEP, SILENT = "asleep", "live, silent"
PERSON, AGENT = "live, the person talks", "live, the agent talks"
# The row that a state is compared with.
FLOORS = {ASLEEP: OPEN, SILENT: OPEN, PERSON: f"{OPEN}, the person talks", AGENT: f"{OPEN}, the speaker is heard"}


class Bench:
    def __init__(self, card: Any, seconds: float, only: set[str], before: Path | None) -> None:
        self.card, self.seconds = card, seconds
        self._only, self._before = only, before
        with Voice() as voice:
            self._voice = voice.say(racers.SENTENCES * 4, RATE_HZ)
        self._agent = PlainAgent()
        self._agent.voice = self._voice
        self.costs: dict[str, list[Cost]] = {}
        self.times: dict[str, list[float]] = {}

    def wanted(self, name: str) -> bool:
        return not self._only or name in self._only or name in {FLOORS.get(row) for row in self._only}

    def add(self, name: str, pid: int, settle_s: float = SETTLE_S, *, which: str = "") -> None:
        if self.wanted(name):
            time.sleep(settle_s)
            self.costs.setdefault(which + name, []).append(measured(pid, self.seconds))

    def round(self) -> None:
        if self.wanted(BARE):
            with racers.bare_loop(self.card) as pid:
                self.add(BARE, pid)
        if self.wanted(LOADED):
            with racers.bare_loop(self.card, first=IMPORTS) as pid:
                self.add(LOADED, pid)
        with racers.bare_loop(self.card, "output") as pid:
            self.add(OPEN, pid)
            with self._person(FLOORS[PERSON]):
                self.add(FLOORS[PERSON], pid)
            with self.card.loopback(latency_ms=ECHO_MS):
                self.add(FLOORS[AGENT], pid)
        if self.wanted("start"):
            began_s, used_s = time.monotonic(), racers.children_s()
            subprocess.run([sys.executable, "-c", IMPORTS], check=True, env=racers.as_installed())
            self.times.setdefault("imports, ms", []).append((time.monotonic() - began_s) * 1000)
            self.times.setdefault("CPU of the imports, ms", []).append((racers.children_s() - used_s) * 1000)
        if self._before is not None:
            self._daemon("before: ")
        self._daemon("")

    @contextlib.contextmanager
    def _person(self, row: str) -> Iterator[None]:
        """Somebody talks meanwhile, where the row is wanted."""
        if not self.wanted(row):
            yield
            return
        person = self.card.play(self._voice, rate_hz=RATE_HZ)
        try:
            yield
        finally:
            person.terminate()
            person.wait()

    def _daemon(self, which: str) -> None:
        url = f"http://127.0.0.1:{self._agent.port}"
        checkout = self._before if which else None
        known = len(self._agent.opened_s)
        with racers.daemon(self.card, url, "", checkout, speaker=", keep_open: off") as racer:
            ready_ms = (racer.ready_s - racer.began_s) * 1000
            self.times.setdefault(which + "exec to READY, ms", []).append(ready_ms)
            self.times.setdefault(which + "CPU to READY, ms", []).append(cpu_s(racer.pid) * 1000)
            self.add(ASLEEP, racer.pid, QUIET_S, which=which)
            # The control socket of an older daemon may speak another protocol.
            os.kill(racer.pid, signals.WAKE)
            self._agent.wait_session(known)
            self.add(SILENT, racer.pid, QUIET_S, which=which)
            if not self.wanted(SILENT):
                # The later states begin with a closed speaker, too.
                time.sleep(QUIET_S)
            if self.wanted(PERSON):
                with self._person(PERSON):
                    self.add(PERSON, racer.pid, which=which)
                time.sleep(1.5)
            if self.wanted(AGENT):
                with self.card.loopback(latency_ms=ECHO_MS):
                    self._agent.talks.set()
                    time.sleep(FIRST_ANSWER_S)
                    self.add(AGENT, racer.pid, which=which)
                    self._agent.talks.clear()
                    time.sleep(1.5)

    def table(self) -> str:
        lines = [f"{'':<38}{'CPU ms/s':>10}{'to floor':>10}{'switches/s':>12}{'RSS MiB':>9}{'PSS MiB':>9}"]
        for name, costs in self.costs.items():
            floor = self.costs.get(FLOORS.get(name.removeprefix("before: "), OPEN), [])
            cpu = statistics.median(cost.cpu_ms for cost in costs)
            ratio = f"{cpu / statistics.median(cost.cpu_ms for cost in floor):.2f}" if floor else "-"
            switched = statistics.median(cost.switches for cost in costs)
            rss = statistics.median(cost.rss_mib for cost in costs)
            pss = statistics.median(cost.pss_mib for cost in costs)
            lines.append(f"{name:<38}{cpu:>10.1f}{ratio:>10}{switched:>12.0f}{rss:>9.0f}{pss:>9.0f}")
        lines += [f"{name:<38}{statistics.median(values):>10.0f}" for name, values in self.times.items()]
        return "\n".join(lines)


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
