"""A daemon that was started from its configuration in a folder, and is killed in the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from test_run import read_until


@contextmanager
def started(directory: Path) -> Iterator[list[str]]:
    """→ its log up to its start."""
    with subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", "parleyd.yaml"], cwd=directory, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield read_until(process, " runs; provider")
        finally:
            process.kill()
