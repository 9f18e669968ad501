from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from parleyd.audio.devices.portaudio_host import host
from vcard import VirtualCard

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As for a job that a shell put into the background: whatever the tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# pytest-xdist's master sets them for its workers, and then no terminal of a test has a width of its own.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test's daemons have a runtime and a state directory of their own; short, for a socket's path is short."""
    folder = tempfile.mkdtemp(prefix="parleyd-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv("XDG_STATE_HOME", folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", folder)
    monkeypatch.delenv("PARLEYD_SOCKET", raising=False)
    yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def vcard() -> Iterator[VirtualCard]:
    """The virtual sound card, in the environment of this process and of all that it starts."""
    try:
        card = VirtualCard()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    before = {name: os.environ.get(name) for name in card.environment}
    # Before the first PyAudio object; one that a test has left is of another world.
    assert host.refresh(), "a sound stream is still open"
    os.environ.update(card.environment)
    yield card
    host.refresh()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    card.stop()
