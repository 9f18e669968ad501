"""Each test's daemon has a runtime and a state directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="parleyd-")
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, folder)
    monkeypatch.delenv("PARLEYD_SOCKET", raising=False)
    yield
    shutil.rmtree(folder)
