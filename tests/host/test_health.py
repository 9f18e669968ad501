from __future__ import annotations

import subprocess
import sys
import time

import pytest

from parleyd.core import events, health
from parleyd.core.health import LOOKS, Grade, Load, Pulse

LOAD = Load(memory_bytes=50, memory_limit_bytes=100, handles=10, handles_limit=100, threads=5)


def looks(pulse: Pulse, *at_s: float) -> list[float | None]:
    return [pulse.stuck_s(one) for one in at_s]


def test_a_thread_is_stuck_when_it_is_late_at_several_looks() -> None:
    pulse = Pulse("ears")
    now_s = time.monotonic()
    limit_s = pulse.norm.limit_s
    assert looks(pulse, now_s + 1000) == [None], "not begun"
    pulse.beat()
    late_s = time.monotonic() + limit_s + 1
    assert looks(pulse, late_s - 2) == [None]
    assert looks(pulse, *(late_s,) * (LOOKS - 1)) == [None] * (LOOKS - 1)
    stuck_s = pulse.stuck_s(late_s)
    assert stuck_s is not None
    assert limit_s < stuck_s < limit_s + 2


def test_a_process_that_was_stopped_and_goes_on_is_not_stuck() -> None:
    pulse = Pulse("ears")
    pulse.beat()
    assert pulse.stuck_s(time.monotonic() + 3600) is None
    pulse.beat()
    assert looks(pulse, time.monotonic(), time.monotonic()) == [None, None]


def test_who_rests_is_never_stuck() -> None:
    pulse = Pulse("session receiver")
    pulse.beat()
    pulse.rest()
    assert looks(pulse, *(time.monotonic() + 1e6,) * 5) == [None] * 5


def test_the_verdict_names_the_worst_first() -> None:
    pulse = Pulse("supervisor")
    pulse.beat()
    late_s = time.monotonic() + 100
    troubles = health.Troubles()
    troubles.take(events.DeviceLost(at_s=0, which="microphone", name="USB", cause="no sound", hint="check its plug"))
    assert health.grade(health.look([pulse], LOAD, (), late_s)) is Grade.WELL
    found = health.look([pulse], LOAD, troubles.present, late_s)
    assert [trouble.part for trouble in found] == ["supervisor", "microphone"]
    assert health.grade(found) is Grade.SICK
    assert health.in_words(found) == "supervisor: no progress for 100 s; microphone: no sound (USB)"
    assert [trouble.hint for trouble in found] == [None, "check its plug"]


def test_a_disk_that_hangs_is_no_reason_for_a_restart() -> None:
    pulse = Pulse("transcript")
    pulse.beat()
    late_s = time.monotonic() + pulse.norm.limit_s + 1
    health.look([pulse], LOAD, (), late_s)
    found = health.look([pulse], LOAD, (), late_s)
    assert health.in_words(found) == "transcript: no progress for 61 s"
    assert health.grade(found) is Grade.TROUBLE


MORE = """
import socket, threading
from parleyd.host import resources
before, over = resources.load(), threading.Event()
thread = threading.Thread(target=over.wait)
thread.start()
with socket.socket():
    after = resources.load()
over.set()
thread.join()
print(after.threads - before.threads, after.handles - before.handles, after.memory_bytes > 2**20)
"""


def test_what_the_process_takes_is_read_from_the_kernel() -> None:
    # In one of its own: here, what earlier tests have left may end at any time.
    assert subprocess.check_output([sys.executable, "-c", MORE], text=True, timeout=60) == "1 1 True\n"


@pytest.mark.parametrize(
    ("load", "part"),
    [
        (Load(91, 100, 10, 100, 5), "memory"),
        (Load(50, 100, 95, 100, 5), "file handles"),
        (Load(50, 100, 10, 100, 5, tasks=62, tasks_limit=64), "tasks"),
    ],
)
def test_what_is_nearly_used_up_is_trouble(load: Load, part: str) -> None:
    assert [trouble.part for trouble in health.look([], load, (), 0.0)] == [part]
    assert health.grade(health.look([], load, (), 0.0)) is Grade.TROUBLE


def test_a_daemon_that_hears_itself_is_in_trouble_until_it_is_over_and_what_is_only_said_is_none() -> None:
    troubles = health.Troubles()
    troubles.take(events.Trouble(at_s=0, text="the microphone hears the speaker", part="echo"))
    troubles.take(events.Trouble(at_s=0, text="no line to the agent"))
    troubles.take(events.StateChanged(at_s=0, before="live", after="asleep", trigger="hang up", reason="quiet"))
    assert [(it.part, it.text) for it in troubles.present] == [("echo", "the microphone hears the speaker")]
    assert health.grade(troubles.present) is Grade.TROUBLE
    troubles.take(events.TroubleOver(at_s=0, part="echo"))
    assert not troubles.present


def test_troubles_come_and_go() -> None:
    troubles = health.Troubles()

    def state(before: str, after: str) -> None:
        troubles.take(events.StateChanged(at_s=0, before=before, after=after, trigger="lost", reason="refused"))

    state("connecting", "backing off")
    troubles.take(events.DeviceLost(at_s=0, which="speaker", name="USB", cause="no sound", hint="check its plug"))
    state("backing off", "connecting")
    assert {trouble.part for trouble in troubles.present} == {"agent", "speaker"}
    state("connecting", "live")
    troubles.take(events.DeviceBack(at_s=0, which="speaker", name="USB", away_s=1.0))
    assert troubles.present == ()


def test_what_to_do_about_the_line_stays_when_something_else_is_in_trouble_too() -> None:
    """The line's trouble is told once; each try in vain after that is a move only."""
    troubles = health.Troubles()
    move = events.StateChanged(at_s=0, before="connecting", after="backing off", trigger="lost", reason="refused")
    troubles.take(events.Trouble(at_s=0, text="no line to the agent: refused", hint="check the network"))
    troubles.take(move)
    troubles.take(events.Trouble(at_s=0, text="the microphone is gone", hint="check its plug"))
    troubles.take(move)
    assert [trouble.hint for trouble in troubles.present] == ["check the network"]
