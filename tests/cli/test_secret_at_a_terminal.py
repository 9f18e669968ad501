"""`parleyd secret` at a real terminal, which must show again what is typed, however the question ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pexpect
import pytest


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_shows_what_is_typed_again(ending: signal.Signals, tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "parleyd", "secret", "elevenlabs"],
        env={**os.environ, "HOME": str(tmp_path)},
        encoding="utf-8",
        timeout=60,
        ignore_sighup=False,
    )
    child.expect("not shown")
    assert child.waitnoecho(timeout=60)
    os.kill(child.pid, ending)
    child.expect(pexpect.EOF)
    assert child.getecho()
    child.close()
    assert (child.exitstatus, child.signalstatus) == ((130, None) if ending == signal.SIGINT else (None, ending))
