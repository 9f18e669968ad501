"""What is left behind for the daemon to bury."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from parleyd.host.orphans import GRACE_S, Orphans, dead_children

WAIT_S = 90.0

CONFIG = """
elevenlabs: {{agent_id: agent_test, base_url: "http://127.0.0.1:9"}}
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
wake: {{mode: manual}}
control: {{socket: "{folder}/c.sock"}}
# It kills its runner, which would have killed all that it leaves.
hooks: [{{on: [started], run_as: daemon, command: [sh, -c, "sleep 1 & sleep 1 & kill -9 $PPID"]}}]
"""


def test_only_who_has_been_dead_for_long_is_nobodys() -> None:
    orphans = Orphans()
    assert orphans.forgotten({(7, 100)}, 50.0) == []
    assert orphans.forgotten({(7, 100), (8, 100)}, 50.0 + GRACE_S - 1) == []
    assert orphans.forgotten({(7, 100), (8, 100)}, 50.0 + GRACE_S) == [7]
    assert orphans.forgotten({(8, 100)}, 51.0 + GRACE_S) == []
    # Asked for in time, and its number is another one's by now.
    assert orphans.forgotten({(8, 999)}, 90.0 + GRACE_S) == []


def test_the_dead_of_this_process_are_seen() -> None:
    with subprocess.Popen(["true"]) as child:
        end_s, pause = time.monotonic() + WAIT_S, threading.Event()
        while child.pid not in {pid for pid, _ in dead_children()}:
            assert time.monotonic() < end_s
            pause.wait(0.02)
    assert child.pid not in {pid for pid, _ in dead_children()}


@pytest.mark.parametrize("is_first", [False, True])
def test_a_daemon_buries_what_hooks_leave_behind(tmp_path: Path, is_first: bool) -> None:
    """is_first: it is process 1."""
    namespace = ["unshare", "--fork", *(["--pid", "--mount-proc"] if is_first else []), "--kill-child"]
    tried = subprocess.run([*namespace, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this user may have no process namespace of its own: {tried.stderr.strip()}")
    config = tmp_path / "parleyd.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    log = tmp_path / "log"
    with log.open("w") as to:
        outer = subprocess.Popen(
            [*namespace, sys.executable, "-m", "parleyd", "run", "-c", str(config)],
            stderr=to, stdin=subprocess.DEVNULL, env=os.environ | {"STATE_DIRECTORY": str(tmp_path)},
        )  # fmt: skip
    try:
        pause, end_s = threading.Event(), time.monotonic() + WAIT_S

        def children(pid: int) -> list[int]:
            return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

        def dead(pid: int) -> int:
            states = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0] for one in children(pid)]
            return states.count("Z")

        while not (inner := children(outer.pid)):
            assert time.monotonic() < end_s
            pause.wait(0.1)
        (daemon,) = inner
        most = 0
        while not (most >= 2 and dead(daemon) == 0):
            assert time.monotonic() < end_s, f"{dead(daemon)} dead: {log.read_text()}"
            most = max(most, dead(daemon))
            pause.wait(0.1)
        assert outer.poll() is None
    finally:
        outer.kill()
        outer.wait()
