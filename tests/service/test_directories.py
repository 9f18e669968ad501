"""Where things are kept by a user who has no home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parleyd.control.client import places
from parleyd.core.findings import Severity
from parleyd.doctor import machine
from parleyd.doctor.examination import Examination
from parleyd.host import directories


def test_without_a_home_the_unit_must_name_the_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "PARLEYD_SOCKET"):
        monkeypatch.delenv(variable, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for make in (directories.state_directory, directories.runtime_directory):
        with pytest.raises(OSError, match="no home directory"):
            make()
    assert [place.parent for place in places()] == [directories.SYSTEM_RUNTIME]
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert directories.config_path() == directories.SYSTEM_CONFIG
    with pytest.raises(OSError, match="no home directory"):
        directories.user_config_directory()
    (seen,) = machine.disk(Examination())
    assert seen.severity is Severity.SKIPPED
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    assert directories.state_directory() == tmp_path / "state"
    assert directories.runtime_directory() == tmp_path / "run"


def test_a_command_means_the_user_s_own_file_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "parleyd/parleyd.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert directories.config_path() == directories.SYSTEM_CONFIG
    own.parent.mkdir()
    own.touch()
    assert directories.config_path() == own
    # Under sudo it is about the system service.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert directories.config_path() == directories.SYSTEM_CONFIG
