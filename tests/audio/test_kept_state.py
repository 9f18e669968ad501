"""The interpreter's states of PortAudio's threads: kept between callbacks, and given back by the thread itself."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import pytest

from parleyd.audio.capture.capture import RESTING_PERIOD_MS
from parleyd.audio.devices import kept_state
from parleyd.audio.devices.kept_state import KeptState
from parleyd.audio.devices.names import device_pair, input_device, output_device
from parleyd.audio.devices.portaudio import PortAudioInput
from waiting import until


def states() -> int:
    """How many threads the interpreter has a state of."""
    api = ctypes.pythonapi
    head, first, following = api.PyInterpreterState_Head, api.PyInterpreterState_ThreadHead, api.PyThreadState_Next
    for function in (head, first, following):
        function.restype = ctypes.c_void_p
    count, state = 0, first(ctypes.c_void_p(head()))
    while state:
        count, state = count + 1, following(ctypes.c_void_p(state))
    return count


class Calls:
    """What the interpreter was asked for, in place of the interpreter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        monkeypatch.setattr(kept_state, "_ensure", lambda: self.told.append("ensure"))
        monkeypatch.setattr(kept_state, "_release", lambda _state: self.told.append("release"))
        monkeypatch.setattr(kept_state, "LET_GO_S", 0.05)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def user(data: bytes | None, frames: int, _at: object, status: int) -> tuple[bytes | None, int]:
    return data, frames + status


def elsewhere(job: Callable[[], object]) -> None:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join(60)


def test_the_first_callback_keeps_the_state_and_the_last_one_gives_it_back(calls: Calls) -> None:
    kept = KeptState()
    callback = kept.callback(user)
    assert callback(b"ab", 1, None, 2) == (b"ab", 3)
    assert calls.told == ["ensure"]
    callback(b"ab", 1, None, 0)
    assert calls.told == ["ensure"]
    let_go: list[bool] = []
    waits = threading.Thread(target=lambda: let_go.append(kept.let_go()))
    kept_state.LET_GO_S = 60.0
    waits.start()
    until("it waits", lambda: kept.ends)
    callback(b"ab", 1, None, 0)
    waits.join(60)
    assert calls.told == ["ensure", "release"]
    assert let_go == [True]
    callback(b"ab", 1, None, 0)
    assert calls.told == ["ensure", "release"]


def test_a_stream_that_is_closed_before_its_first_callback_keeps_nothing(calls: Calls) -> None:
    kept = KeptState()
    assert kept.let_go()
    kept.callback(user)(None, 1, None, 0)
    assert calls.told == []


def test_a_thread_that_gets_no_callback_any_more_is_not_waited_for_long(calls: Calls) -> None:
    kept = KeptState()
    kept.callback(user)(None, 1, None, 0)
    assert not kept.let_go()
    assert calls.told == ["ensure"]


def test_no_other_thread_gives_the_state_back(calls: Calls) -> None:
    kept = KeptState()
    callback = kept.callback(user)
    elsewhere(lambda: callback(None, 1, None, 0))
    assert not kept.let_go()
    callback(None, 1, None, 0)
    assert calls.told == ["ensure"]


class Users:
    """Of both devices."""

    def __init__(self) -> None:
        self.heard = self.asked = 0

    def deliver(self, _pcm: bytes, _start_s: float) -> None:
        self.heard += 1

    def fill(self, samples: int) -> bytes:
        self.asked += 1
        return bytes(2 * samples)


@pytest.mark.usefixtures("vcard")
def test_threads_of_sound_cards_have_one_state_each_and_leave_none_behind() -> None:
    before = states()
    microphone, speaker = device_pair("vmic", "vspk")
    for _ in range(5):
        users = Users()
        microphone.open(users.deliver)
        speaker.open(users.fill)
        until("both have been called", lambda its=users: its.heard > 2 and its.asked > 2)  # type: ignore[misc]
        # Between two callbacks, too: what is seen here is mostly that.
        assert states() == before + 2
        speaker.close()
        microphone.close()
        assert states() == before


@pytest.mark.usefixtures("vcard")
def test_a_speaker_that_is_closed_to_cut_its_sound_keeps_no_state() -> None:
    """Its close would wait for one more callback."""
    before, users = states(), Users()
    speaker = output_device("vspk", is_cut=True)
    speaker.open(users.fill)
    until("it has been called", lambda: users.asked > 2)
    until("it is between two callbacks", lambda: states() == before)
    speaker.close()


@pytest.mark.usefixtures("vcard")
def test_a_microphone_that_rests_keeps_its_state_too_and_gives_it_back() -> None:
    before, users = states(), Users()
    microphone = input_device("vmic")
    assert isinstance(microphone, PortAudioInput)
    microphone.open_beside(users.deliver, RESTING_PERIOD_MS)
    until("it has been called", lambda: users.heard > 2)
    assert states() == before + 1
    microphone.close()
    assert states() == before, "the last callback came in time"
