"""One Home Assistant for all tests. Each test's daemon has a runtime and a state directory of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hass import Hass


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="parleyd-")
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, folder)
    monkeypatch.delenv("PARLEYD_SOCKET", raising=False)
    yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def hass() -> Hass:
    home = Hass(os.environ["HASS"])
    home.begin(int(os.environ["BROKER_PORT"]))
    return home
