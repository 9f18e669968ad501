"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def parleyd(*arguments: str, shell: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """shell: redirections."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "parleyd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_failure(closed: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("provider: local\naudio: off\n")
    told = parleyd("check", "-c", "good.yaml", shell=closed, folder=tmp_path)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    assert (">&-" in f" {closed}".replace("2>&-", "")) == (told.stdout == "")


def test_a_command_that_is_nearly_one_is_recognised() -> None:
    told = parleyd("statsu")
    assert told.returncode == os.EX_USAGE
    assert "there is no command 'statsu'; did you mean status?" in told.stderr
