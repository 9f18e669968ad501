"""Run in a network namespace of its own: somebody talks on a line that becomes slow, and mutes the microphone.

Prints, as JSON, what of the room came to the server after the order had been answered. Argument: bits per second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
from harness import Daemon
from plays import config
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.core import events
from parleyd.core.states import State

# So much waits on the line, and in the daemon, before the order comes; a fraction of it can have arrived.
SPOKEN_S = 3.0
STORY = (
    "Listen to this please, I am going to tell you a long story about a fisherman and his wife, who lived by the sea "
    "in a small house, and nobody but you shall hear of it, because it is a secret of our family and of all of them."
)


def shape(action: str, rate: str) -> None:
    rule = ["tbf", "rate", rate, "burst", "3kb", "latency", "20s"]
    subprocess.run(["tc", "qdisc", action, "dev", "lo", "root", *rule], check=True)


def room_s(line: Line) -> float:
    return float(np.count_nonzero(np.frombuffer(bytes(line.audio), "<i2"))) / 16_000


def main(rate: str) -> None:
    def play(line: Line) -> None:
        line.ready()
        line.over.wait(3 * WAIT_S)

    with ScriptedServer(play) as server, Daemon(config(server)) as daemon:
        daemon.service.wake()
        daemon.expect_state(State.LIVE)
        daemon.say(STORY)
        line = server.next_line()
        line.wait_speech(0.5)
        shape("add", rate)
        counters = daemon.service.counters
        began, pause = counters.room, threading.Event()
        while daemon.service.counters.room - began < SPOKEN_S * 50:
            pause.wait(0.05)
        daemon.service.mute(True)
        before_s = sum(room_s(one) for one in server.lines)
        # What waits anywhere comes now.
        shape("change", "50mbit")
        if line.over.wait(3.0):
            daemon.expect(events.SessionOpened, lambda e: e.at_s > daemon.of(events.Muted)[0].at_s)
        newest = server.lines[-1]
        heard = len(newest.audio)
        newest.wait("zeros", lambda: len(newest.audio) > heard + 64_000)
        print(
            json.dumps(
                {
                    "before_s": before_s,
                    "after_s": sum(room_s(one) for one in server.lines) - before_s,
                    "lines": len(server.lines),
                    "kept_ms": daemon.service._outbox.kept_ms,
                }
            )
        )


if __name__ == "__main__":
    main(sys.argv[1])
