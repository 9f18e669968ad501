"""Whatever file a person may have named: a pipe to which nobody writes holds up nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from parleyd.app import reloader
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.wav import WavInput, read_wav
from parleyd.checks import configuration
from parleyd.config import secrets
from parleyd.config.base import Secret
from parleyd.config.problem import ConfigError
from parleyd.config.secrets import SecretError
from parleyd.embedded import scenario
from parleyd.host import files
from parleyd.host.files import open_regular, read_file
from parleyd.host.remembered import RememberedGain, RememberedVolume
from parleyd.tools import timers
from parleyd.transcript import reading
from parleyd.usage.ledger import Book
from parleyd.usage.store import Store

# Far longer than any of this takes; only a call that waits for ever reaches it.
WAIT_S = 60.0


def in_time(call: Callable[[], object], pipe: Path) -> object:
    """What it returns or raises. A call that hangs fails the test, and is let go."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    if thread.is_alive():
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        pytest.fail("it waits for somebody who writes to the pipe")
    return ended[0]


def a_config(pipe: Path) -> object:
    return configuration.load(pipe)


def a_secret(pipe: Path) -> object:
    return secrets.resolve(Secret(file=str(pipe)))


def a_recording(pipe: Path) -> object:
    return read_wav(pipe)


def a_microphone(pipe: Path) -> object:
    return WavInput(pipe).open(lambda _pcm, _start_s: None)


def a_scenario(pipe: Path) -> object:
    return scenario.load(pipe)


@pytest.mark.parametrize(
    ("read", "kind", "words"),
    [
        (a_config, ConfigError, "nothing has come through this pipe"),
        (a_secret, SecretError, "it is not a regular file"),
        (a_recording, OSError, "it is not a regular file"),
        (a_microphone, DeviceError, "not a regular file"),
        (a_scenario, OSError, "nothing has come through this pipe"),
    ],
)
def test_a_pipe_that_was_named_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Path], object],
    kind: type[Exception],
    words: str,
) -> None:
    monkeypatch.setattr(files, "PIPE_S", 0.05)
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe, 0o600)
    ended = in_time(lambda: read(pipe), pipe)
    assert isinstance(ended, kind)
    assert words in str(ended)


def test_a_pipe_where_state_is_kept_is_none(tmp_path: Path) -> None:
    for name in ("usage.json", "volume.json", "gain.json", timers.FILE_NAME, "2026-11-21.jsonl"):
        os.mkfifo(tmp_path / name, 0o600)
    assert in_time(Store(tmp_path).load, tmp_path / "usage.json") == Book()
    assert in_time(lambda: RememberedVolume(tmp_path).under(None), tmp_path / "volume.json") is None
    assert in_time(lambda: RememberedGain(tmp_path).under("default", 0.0), tmp_path / "gain.json") is None
    at = timers.now()
    path = tmp_path / timers.FILE_NAME
    assert isinstance(in_time(lambda: timers.read(path, at), path), OSError)
    since = datetime(2026, 1, 1).astimezone()
    path = tmp_path / "2026-11-21.jsonl"
    assert isinstance(in_time(lambda: list(reading.entries(tmp_path, since)), path), OSError)


def test_a_pipe_that_the_embedded_agent_has_read_is_not_read_for_its_changes(tmp_path: Path) -> None:
    """It may be a scenario; there is nothing in it any more, and nobody writes again."""
    pipe = tmp_path / "scenario.yaml"
    os.mkfifo(pipe, 0o600)
    assert in_time(lambda: reloader._content(str(pipe)), pipe) is None


def test_what_the_shell_gives_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    content = b"provider: local\n" + b"# a long comment\n" * 20_000

    def write() -> None:
        with pipe.open("wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(pipe, 10**6, pipes=True) == content
    writer.join(WAIT_S)


def test_a_file_is_read_as_far_as_it_may(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_file(path, 4) == b"0123"
    assert read_file(path, 40) == b"0123456789"
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 4)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        read_file(Path("/dev/null"), 4)
