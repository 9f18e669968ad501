"""Calls into PortAudio that are slow, and those that do not return."""

from __future__ import annotations

import threading
import time

import pytest

from parleyd.audio.devices import deadlines
from parleyd.audio.devices.deadlines import GivenUpError, in_time
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio_host import host


def test_many_calls_may_take_long_if_each_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "HANG_S", 1.0)

    def work() -> int:
        for _ in range(15):
            with host.calling("opening a device"):
                time.sleep(0.1)
        return 7

    assert in_time(work, "opening a device") == 7


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
        assert ended.wait(10)


def test_what_work_raises_is_raised() -> None:
    def work() -> None:
        raise DeviceError("it is busy", "end it")

    with pytest.raises(DeviceError, match="it is busy"):
        in_time(work, "opening a device")


def test_what_is_nearly_done_is_not_left_behind() -> None:
    began = threading.Event()

    def work() -> int:
        began.set()
        time.sleep(0.2)
        return 7

    assert in_time(work, "opening a device", began.is_set) == 7


def test_what_is_given_up_is_no_fault_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "GIVE_UP_S", 0.1)
    ends = threading.Event()
    try:
        with pytest.raises(GivenUpError):
            in_time(ends.wait, "opening a device", lambda: True)
    finally:
        ends.set()
