"""Twelve seconds of each fuzzer; tests/fuzz/run.py runs one for as long as it is told to."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
SECONDS = 12
# Not imported: it brings what is fuzzed into this process.
TARGETS = re.findall(
    r'"(\w+)": \w+[,}]', RUN.with_name("targets.py").read_text().partition("\nTARGETS")[2].partition("\n")[0]
)


def test_what_strangers_write_has_its_fuzzer() -> None:
    assert {"codec", "control", "templates", "wav", "yaml"} <= set(TARGETS)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for x86-64 only")
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_a_promise(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), target, "--seconds", str(SECONDS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    # Else nothing was tried.
    (executed,) = (line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(executed.split()[-1]) > 100
