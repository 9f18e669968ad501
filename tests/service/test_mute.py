"""What `parleyd mute` promises (docs/mute.md), seen from the server, from the disk and from the crowd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def in_a_network_of_its_own(script: str, *arguments: str) -> dict[str, float]:
    """Skips where that cannot be had. → what the script has printed."""
    if os.geteuid() != 0 or not all(shutil.which(program) for program in ("unshare", "ip", "tc")):
        pytest.skip("a network namespace takes root, and unshare, ip and tc (util-linux, iproute2)")
    prepare = "ip link set lo mtu 1500 up && tc qdisc add dev lo root tbf rate 50mbit burst 3kb latency 20s"
    probe = subprocess.run(["unshare", "-n", "sh", "-c", prepare], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no network namespace with a bound rate here: {probe.stderr.strip()}")
    told = subprocess.run(
        [
            "unshare",
            "-n",
            "sh",
            "-c",
            'ip link set lo mtu 1500 up && exec "$@"',
            "sh",
            sys.executable,
            script,
            *arguments,
        ],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    result: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return result


def test_on_a_slow_line_nothing_of_what_waits_comes_after_the_answer() -> None:
    told = in_a_network_of_its_own("slow_line.py", "20kbit")
    # One message may have been on the wire, or in the network's own queue, beyond anybody's reach.
    assert told["after_s"] <= 0.3, told
    assert told["kept_ms"] == 0, told


def test_on_a_line_that_keeps_up_the_session_goes_on() -> None:
    told = in_a_network_of_its_own("slow_line.py", "10mbit")
    assert told["after_s"] <= 0.3, told
    assert told["lines"] == 1, told
