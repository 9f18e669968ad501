"""Where things are kept, by the environment."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from parleyd.host.directories import state_place


@pytest.mark.parametrize("home", ["", "relative", None])
def test_no_home_in_the_environment_is_the_one_that_the_system_knows(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    assert state_place() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/state/parleyd"
    monkeypatch.setenv("HOME", "/somewhere")
    assert state_place() == Path("/somewhere/.local/state/parleyd")


def test_a_user_whom_the_system_does_not_know_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_123_456)
    with pytest.raises(FileNotFoundError, match="no home directory"):
        state_place()
