"""Calls into PortAudio that are slow, and those that do not return."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from parleyd.audio.devices import deadlines
from parleyd.audio.devices.deadlines import GivenUpError, in_time
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio_host import host


def test_many_calls_may_take_long_if_each_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock_s)
    looks: SimpleQueue[None] = SimpleQueue()

    def looked() -> bool:
        looks.put(None)
        return False

    def work() -> int:
        nonlocal clock_s
        for _ in range(5):
            with host.calling("opening a device"):
                clock_s += 0.6 * deadlines.HANG_S
                # The first may have begun before.
                for _ in range(2):
                    looks.get(timeout=60)
        return 7

    assert in_time(work, "opening a device", looked) == 7


def test_one_call_that_does_not_return_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "HANG_S", 0.2)
    ends, ended = threading.Event(), threading.Event()

    def work() -> None:
        with host.calling("listing the devices"):
            ends.wait()
        ended.set()

    try:
        with pytest.raises(DeviceError, match="does not return from listing the devices"):
            in_time(work, "opening a device")
    finally:
        ends.set()
        assert ended.wait(60)


def test_what_work_raises_is_raised() -> None:
    def work() -> None:
        raise DeviceError("it is busy", "end it")

    with pytest.raises(DeviceError, match="it is busy"):
        in_time(work, "opening a device")


def test_what_is_nearly_done_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    is_given_up = threading.Event()

    def give_up() -> bool:
        is_given_up.set()
        return True

    def work() -> int:
        is_given_up.wait(60)
        return 7

    monkeypatch.setattr(deadlines, "GIVE_UP_S", 60.0)
    assert in_time(work, "opening a device", give_up) == 7


def test_what_is_given_up_is_no_fault_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "GIVE_UP_S", 0.1)
    ends = threading.Event()
    try:
        with pytest.raises(GivenUpError):
            in_time(ends.wait, "opening a device", lambda: True)
    finally:
        ends.set()
