"""The step that starts the service. A script stands in for systemctl, because no systemd runs where tests run: it keeps
the unit's state in a file, and `restart` starts a real daemon."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.control.client import Client
from parleyd.core.errors import UserError
from parleyd.setup import service_step
from parleyd.setup.dialog import Dialog
from parleyd.setup.file import ConfigFile
from parleyd.setup.fitting import Fit
from parleyd.setup.page import Page
from parleyd.setup.state import Setup

SYSTEMCTL = """#!/bin/sh
cd {folder}
[ "$1" = --user ] && {{ [ -e user-unit ] || {{ echo LoadState=not-found; exit 0; }}; shift; }}
echo "$*" >>calls
case $1 in
  show) cat state ;;
  restart) [ -e broken ] && {{ echo "Job for parleyd.service failed." >&2; exit 1; }}
    {python} -m parleyd run -c {folder}/parleyd.yaml >/dev/null 2>&1 & echo $! >pid ;;
esac
"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.format(folder=tmp_path, python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "parleyd.yaml").write_text(
        "provider: local\naudio: {input: {device: 'null'}, output: {device: 'null'}}\n"
    )
    (tmp_path / "state").write_text("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\nUser=parleyd\n")
    yield tmp_path
    if (tmp_path / "pid").exists():
        with Client() as client:
            client.stop(20)


def setup(folder: Path, answers: dict[str, str], *, of_user: bool = False) -> tuple[Setup, io.StringIO]:
    out = io.StringIO()
    page = Page(out)
    return Setup(page, Dialog(page, answers), ConfigFile(folder / "parleyd.yaml"), Fit(of_user, "It fits.")), out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the system service")
def test_it_is_enabled_started_and_answers(systemd: Path) -> None:
    state, out = setup(systemd, {})
    assert service_step.run(state) == "runs"
    assert "The service runs." in out.getvalue()
    calls = (systemd / "calls").read_text().splitlines()
    assert [call for call in calls if not call.startswith("show")] == ["enable --quiet parleyd", "restart parleyd"]
    with Client() as client:
        assert client.ask("status")["state"]


def test_a_user_may_say_no(systemd: Path) -> None:
    (systemd / "user-unit").touch()
    state, _ = setup(systemd, {"service": "no"}, of_user=True)
    assert service_step.run(state) == "not started"
    assert state.next == "systemctl --user enable --now parleyd"
    assert not (systemd / "pid").exists()


def test_a_unit_that_is_not_installed_names_the_command(systemd: Path) -> None:
    state, out = setup(systemd, {}, of_user=True)
    assert service_step.run(state) == "not installed"
    assert state.next == "scripts/install --user"
    assert "scripts/install --user" in out.getvalue()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the system service")
def test_a_start_that_fails_is_told_with_its_reason(systemd: Path) -> None:
    (systemd / "broken").touch()
    state, _ = setup(systemd, {})
    with pytest.raises(UserError, match=r"Job for parleyd\.service failed"):
        service_step.run(state)
    reason = "StatusText=failed: there is no sound input device"
    (systemd / "state").write_text(f"LoadState=loaded\nActiveState=failed\nUser=parleyd\n{reason}\n")
    with pytest.raises(UserError, match="there is no sound input device"):
        service_step.run(state)


def test_without_systemd_it_says_how_to_run_by_hand(systemd: Path) -> None:
    (systemd / "bin" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    state, out = setup(systemd, {})
    assert service_step.run(state) == "there is no systemd"
    assert state.next == f"parleyd run -c {systemd}/parleyd.yaml"
    assert state.next in out.getvalue()
