"""`scripts/bench --short`: the race runs, and finds a figure for each racer. What the figures are is not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Those that need what cannot be had everywhere: a package index, a minute of a core.
LEFT_OUT = {"day", "satellites"}
PARTS = ("cost", "interruption", "answering", "hearing", "starting", "waking", "recovery", "commands", "curves")


@pytest.mark.timeout(600)
def test_the_parts_run(tmp_path: Path) -> None:
    """All but the official SDK's, for it would have to be installed into an environment of its own."""
    words = [word for part in PARTS for word in ("--only", part)]
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "race.py"),
            "--short",
            "--without-sdk",
            "--out",
            str(tmp_path),
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "race.json").read_text())
    rows = {(part, row) for part, found in kept["values"].items() for row in found}
    for part, row in {
        ("CPU, ms per s", "bare loop"),
        ("CPU, ms per s", "parleyd: asleep"),
        ("CPU, ms per s", "parleyd: live, the agent talks"),
        ("interruption", "parleyd: chunks of 0.1 s"),
        ("wire to speaker", "parleyd"),
        ("end of speech to answer", "parleyd"),
        ("microphone to server", "parleyd"),
        ("exec to session", "parleyd: ms"),
        ("wake to first byte", "parleyd, round trip 0 ms: from the voice"),
        ("recovery", "parleyd"),
        ("commands", "command status: MiB"),
        ("curve: tools in flight", "1: CPU"),
    }:
        assert (part, row) in rows, done.stdout
    assert (tmp_path / "race-cost.png").exists()


def test_the_list_names_all_parts() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "race.py"), "--list"], capture_output=True, text=True, check=True
    )
    assert {line.split()[0] for line in done.stdout.splitlines()} == {*PARTS, *LEFT_OUT}
