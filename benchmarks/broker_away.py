"""The daemon while the broker or `parleyd mqtt` misbehaves: its CPU time, its underruns, what it hears and answers.

    PYTHONPATH=tests:tests/mqtt .venv/bin/python benchmarks/broker_away.py [--turns 2]

A real mosquitto, a real daemon with the embedded agent on a speaker of its own clock, and a recording of a person as
its microphone, who asks all the time. The phases come in turn, twice, so that a change of the machine's load is seen as
one; a turn takes three minutes. scripts/test-home-assistant has the same with a real Home Assistant.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from mqtt_house import BASE, House, Mosquitto, Watcher
from talk import QUESTIONS, Talk, recording, stopped

PHASES = 5
EVERY_S = 8.0


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


def phase(name: str, talk: Talk) -> None:
    came = talk.round()
    print(f"{name:30} {came}", flush=True)
    if came.heard != QUESTIONS:
        print(f"{'':30} heard: {' '.join(came.heard)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2, help="of all phases, each with four questions in 32 s")
    turns: int = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = name
        recording(folder / "microphone.wav", PHASES * turns + 1, EVERY_S)
        with Mosquitto(folder) as broker:
            house = House(folder, broker.port, microphone=folder / "microphone.wav")
            with house.daemon() as daemon, house.bridge() as bridge:
                talk = Talk(daemon)
                bridge.says("connected to")
                for _ in range(turns):
                    assert broker.process is not None
                    phase("all is well", talk)
                    with stopped(broker.process.pid):
                        phase("the broker is frozen", talk)
                    with stopped(bridge.process.pid):
                        phase("`parleyd mqtt` is frozen", talk)
                    with repeated("killed", broker):
                        phase("the broker is killed every 2 s", talk)
                    with repeated("flooded", broker):
                        phase("200 orders a second", talk)
                # After that it is gone for good.
                bridge.end(signal.SIGKILL)
                phase("`parleyd mqtt` is killed", talk)


if __name__ == "__main__":
    main()
