"""The daemon while the broker or `parleyd mqtt` misbehaves: its CPU time, its underruns, the delay of its answers.

    PYTHONPATH=tests:tests/mqtt .venv/bin/python benchmarks/broker_away.py [--seconds 60]

A real mosquitto, a real daemon with the embedded agent on a speaker of its own clock, which answers all the time. The
phases come in turn, twice, so that a change of the machine's load is seen as one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mqtt_house import BASE, House, Mosquitto, Watcher

from parleyd.control.client import Client
from programs import Program

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / _TICKS


def conversation(seconds: float) -> list[float]:
    """Asks again and again. Returns the delays from a question to the first sound, in seconds."""
    delays: list[float] = []
    until_s = time.monotonic() + seconds
    with Client() as client:
        client.ask("events")
        heard = client.events(60)
        while time.monotonic() < until_s:
            asked_s = time.monotonic()
            client.ask("say", text="What time is it?")
            started = next(one for one in heard if one["event"] == "answer_started")
            delays.append(started["at_s"] - asked_s)
            next(one for one in heard if one["event"] == "answer_ended")
    return delays


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def repeated(what: str, broker: Mosquitto) -> Iterator[None]:
    """killed: the broker, every two seconds. flooded: orders that are none, as fast as the broker takes them."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(2.0):
            broker.kill()
            broker.start()

    def flood() -> None:
        with Watcher(broker.port) as watcher:
            while not over.wait(0.005):
                watcher.client.publish(f"{BASE}/do/nonsense", "x" * 1000, 1)

    thread = threading.Thread(target=kill if what == "killed" else flood)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def phase(name: str, seconds: float, daemon: Program) -> None:
    pid = daemon.process.pid
    with Client() as client:
        before = client.ask("status")["speaker"]["underruns"]
    used_s, began_s = cpu_s(pid), time.monotonic()
    delays = conversation(seconds)
    took_s = time.monotonic() - began_s
    used_s = cpu_s(pid) - used_s
    with Client() as client:
        holes = client.ask("status")["speaker"]["underruns"] - before
    print(
        f"{name:32} {100 * used_s / took_s:5.1f} % of a core   {holes:3} underruns   {len(delays):3} answers, "
        f"the first sound after {1000 * statistics.median(delays):4.0f} ms (median)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = name
        with Mosquitto(folder) as broker:
            house = House(folder, broker.port)
            with house.daemon() as daemon, house.bridge() as bridge:
                bridge.says("connected to")
                for _ in range(2):
                    assert broker.process is not None
                    phase("all is well", seconds, daemon)
                    with stopped(broker.process.pid):
                        phase("the broker is frozen", seconds, daemon)
                    with stopped(bridge.process.pid):
                        phase("`parleyd mqtt` is frozen", seconds, daemon)
                    with repeated("killed", broker):
                        phase("the broker is killed every 2 s", seconds, daemon)
                    with repeated("flooded", broker):
                        phase("200 orders a second", seconds, daemon)
                # After that it is gone for good.
                bridge.end(signal.SIGKILL)
                phase("`parleyd mqtt` is killed", seconds, daemon)


if __name__ == "__main__":
    main()
