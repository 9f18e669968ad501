"""`parleyd button`: from a contact to a real daemon's control socket, and what it says when something is missing.

Neither input devices nor GPIO exist where the tests run: the contact, and the devices' handles, are stand-ins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from parleyd.button import watch as watching
from parleyd.button.contact import ButtonGoneError, Contact
from parleyd.button.gpio_line import GpioLine
from parleyd.button.input_key import InputKey
from parleyd.button.watch import Orders, watch
from parleyd.config.button import Button, Order
from parleyd.control.client import Client
from parleyd.control.server import MOST_CLIENTS, MOST_OF_OWNER
from parleyd.core.errors import UserError

CONFIG = """
elevenlabs: {agent_id: agent_test, base_url: "http://127.0.0.1:9"}
audio: {input: {device: "null"}, output: {device: "null"}}
reconnect: {initial_s: 30, max_s: 60}
wake: {mode: manual}
"""


class Enough(Exception):  # noqa: N818 - the end of a script, no error
    pass


class Scripted:
    """Gives its changes one at a time, then ends as it was told."""

    name = "scripted"

    def __init__(self, changes: list[bool], end: Exception) -> None:
        self._changes = list(changes)
        self._end = end
        self.closed = False

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        if not self._changes:
            raise self._end
        return [(self._changes.pop(0), time.monotonic())]

    def close(self) -> None:
        self.closed = True


def start(folder: Path) -> subprocess.Popen[str]:
    config = folder / "parleyd.yaml"
    config.write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(config)],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    assert any("listening on" in line for line in process.stderr), "the daemon did not start"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path)
    yield process
    end(process)


def state() -> tuple[str, bool]:
    with Client() as client:
        status = client.ask("status")
        return status["state"], status["microphone"]["muted"]


def test_orders_reach_a_real_daemon_and_the_one_after_it(
    daemon: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    orders = Orders(None)
    assert state() == ("asleep", False)
    orders.give("short", "mute_or_unmute")
    assert state()[1]
    orders.give("short", "mute_or_unmute")
    assert not state()[1]
    with Client() as watcher:
        watcher.ask("events")
        happening = watcher.events(60)
        orders.give("short", "wake_or_sleep")
        assert any(event.get("after") == "connecting" for event in happening)
        orders.give("short", "wake_or_sleep")
        assert any(event.get("after") == "asleep" for event in happening)
    assert [record.message for record in caplog.records] == ["mute", "unmute", "wake", "sleep"]

    end(daemon)
    restarted: list[subprocess.Popen[str]] = []
    monkeypatch.setattr("parleyd.button.watch.time.sleep", lambda _s: restarted.append(start(tmp_path)))
    try:
        orders.give("short", "mute_or_unmute")
        assert state()[1]
    finally:
        for process in restarted:
            end(process)


@pytest.mark.usefixtures("daemon")
def test_in_a_crowd_the_button_mutes_although_it_cannot_ask_how_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with contextlib.ExitStack() as crowd:
        for _ in range(MOST_CLIENTS + MOST_OF_OWNER):
            crowd.enter_context(Client()).ask("volume")
        Orders(None).give("short", "mute_or_unmute")
        Orders(None).give("short", "wake")
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert caplog.records[0].message == "mute"
    assert state()[1]


def test_without_a_daemon_it_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "ASK_AGAIN_S", 0.0)
    Orders(None).give("short", "wake")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "parleyd is not running" in caplog.text


def test_a_button_that_goes_and_comes_is_waited_for_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "LOOK_AGAIN_S", 0.0)
    gone = ButtonGoneError("no such button", "plug it in")
    # It is pulled out while it is pressed.
    first, second = Scripted([True], gone), Scripted([True, False], Enough())
    found: list[Contact | ButtonGoneError] = [gone, gone, first, gone, gone, second]
    given: list[Order] = []

    def find(_config: Button) -> Contact:
        contact = found.pop(0)
        if isinstance(contact, ButtonGoneError):
            raise contact
        return contact

    with pytest.raises(Enough):
        watch(Button(device="x", debounce_ms=0, short_press="wake"), find, lambda _press, order: given.append(order))
    assert given == ["wake"]
    assert first.closed
    assert second.closed
    assert caplog.text.count("waiting for it") == 2


def test_of_a_key_presses_and_releases_count_and_other_keys_do_not() -> None:
    readable, writable = os.pipe()
    os.write(writable, b"x")
    kinds = [(1, 28, 1), (1, 28, 2), (0, 0, 0), (1, 30, 1), (1, 28, 0)]  # EV_KEY or EV_SYN, key, value
    events = [SimpleNamespace(type=kind, code=code, value=value) for kind, code, value in kinds]
    device = SimpleNamespace(name="USB button", path="/dev/input/event7", fd=readable, read=lambda: events)
    assert [closed for closed, _ in InputKey(device, 28, 1).changes(1.0)] == [True, False]

    def unplugged() -> None:
        raise OSError(19, "No such device")

    device.read = unplugged
    with pytest.raises(ButtonGoneError, match=r"USB button \(/dev/input/event7\) is gone \(No such device\)"):
        InputKey(device, None, 1).changes(1.0)
    os.close(readable)
    os.close(writable)


def test_of_a_line_the_kernel_says_when() -> None:
    events = [SimpleNamespace(event_type=1, timestamp_ns=2_500_000_000), SimpleNamespace(event_type=2, timestamp_ns=0)]
    request = SimpleNamespace(wait_edge_events=lambda _s: True, read_edge_events=lambda: events)
    assert GpioLine(request, "line 17", 1).changes(None)[0] == (True, 2.5)
    assert [closed for closed, _ in GpioLine(request, "line 17", 1).changes(None)] == [True, False]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{}", "names no button; set button.device or button.gpio_line; see docs/button.md"),
        ("{device: x, gpio_line: 17}", "button.gpio_line: a button is an input device or a GPIO line"),
        ("{device: x, key: Enter}", "Enter is not the name of a key; use a name such as KEY_ENTER"),
    ],
)
def test_a_configuration_without_a_button_ends_with_78(tmp_path: Path, section: str, says: str) -> None:
    config = tmp_path / "parleyd.yaml"
    config.write_text(f"{CONFIG}button: {section}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "parleyd", "button", "-c", str(config)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == os.EX_CONFIG
    assert says in ended.stderr


@pytest.mark.parametrize("module", ["evdev", "gpiod"])
def test_a_missing_package_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from parleyd.cli.button import _open

    monkeypatch.setitem(sys.modules, module, None)
    button = Button(device="x") if module == "evdev" else Button(gpio_line="17")
    with pytest.raises(UserError, match=f"package {module}") as told:
        _open(button)
    assert not isinstance(told.value, ButtonGoneError)
    assert f"{sys.executable} -m pip install" in (told.value.hint or "")
