"""WebRTC's canceller, which rests while the linear one explains all that is heard."""

from __future__ import annotations

import numpy as np
import pytest
from echoes import echo_of, frame_of, frames_of, power, voice

from parleyd.audio.echo.canceller import EchoCanceller
from parleyd.audio.echo.far_end import FarFrame
from parleyd.audio.echo.suppressor import _CALM_FRAMES, _KEPT_FRAMES, Suppressor
from parleyd.audio.pcm import FRAME_SAMPLES, samples_of

Floats = np.ndarray


class Counted:
    """In the place of WebRTC's canceller: tells which frames it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def process(self, near: Floats, far: Floats) -> Floats:
        assert near[0] == far[0]
        self.given.append(int(near[0]))
        return near


def frame(number: int) -> Floats:
    return np.full(FRAME_SAMPLES, number, np.float32)


def calm(suppressor: Suppressor, numbers: range) -> list[bool]:
    """→ for each frame, whether it was processed at once."""
    return [suppressor.step(frame(one), frame(one), explained=True) is not None for one in numbers]


def test_it_rests_once_everything_has_been_explained_for_a_second() -> None:
    webrtc = Counted()
    processed = calm(Suppressor(webrtc), range(_CALM_FRAMES + 20))
    assert processed == [True] * _CALM_FRAMES + [False] * 20
    assert webrtc.given == list(range(_CALM_FRAMES))


def test_a_frame_that_stands_out_ends_the_rest_behind_those_that_were_kept() -> None:
    webrtc = Counted()
    suppressor, at = Suppressor(webrtc), _CALM_FRAMES + 100
    calm(suppressor, range(at))
    webrtc.given.clear()
    assert suppressor.step(frame(at), frame(at), explained=False) is not None
    assert webrtc.given == list(range(at - _KEPT_FRAMES, at + 1))
    assert calm(suppressor, range(at + 1, at + 1 + _CALM_FRAMES)) == [True] * _CALM_FRAMES
    assert webrtc.given[-1] == at + _CALM_FRAMES


@pytest.mark.parametrize("how", ["not explained", "not aligned"])
def test_no_frame_is_processed_twice_or_out_of_order(how: str) -> None:
    webrtc = Counted()
    suppressor = Suppressor(webrtc)
    for number in range(1000):
        if number % 83 == 82:
            if how == "not aligned":
                suppressor.wake(frame(number), frame(number))
            else:
                suppressor.step(frame(number), frame(number), explained=False)
        else:
            suppressor.step(frame(number), frame(number), explained=True)
    assert webrtc.given == sorted(set(webrtc.given))
    assert len(webrtc.given) < 1000


class Scene:
    """An agent who talks for 16 s; in the last four of them a person talks over it, as loud as its echo or softer."""

    def __init__(self, person_dbfs: float, noise: float = 0.0005) -> None:
        self.far = voice(16.0, 3, 0.1)
        person = voice(16.0, 4, 10 ** (person_dbfs / 20))
        person[: 12 * 16_000] = 0.0
        room = np.random.default_rng(5).standard_normal(len(self.far)) * noise
        self.heard = echo_of(self.far) + person + room.astype(np.float32)

    def run(self, *, rests: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[list[bool], list[Floats], int]:
        """→ in which frames a person was found, what was left of each, and in how many WebRTC's canceller rested."""
        canceller, rested = EchoCanceller(), 0
        suppressor = canceller._suppressor
        step = suppressor.step

        def counted(heard: Floats, far: Floats, *, explained: bool) -> Floats | None:
            nonlocal rested
            made = step(heard, far, explained=explained and rests)
            rested += made is None
            return made

        monkeypatch.setattr(suppressor, "step", counted)
        person, left = [], []
        for near, reference in zip(frames_of(self.heard), frames_of(self.far), strict=True):
            cancelled = canceller.step(frame_of(near), FarFrame(reference))
            person.append(cancelled.may_be_speech)
            left.append(samples_of(cancelled.frame.pcm).astype(np.float32) / 32768)
        return person, left, rested


@pytest.mark.parametrize("person_dbfs", [-26.0, -36.0, -44.0])
def test_a_person_is_found_in_the_same_frames_as_if_it_never_rested(
    person_dbfs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(person_dbfs)
    always, _, never_rested = scene.run(rests=False, monkeypatch=monkeypatch)
    found, _, rested = scene.run(rests=True, monkeypatch=monkeypatch)
    assert never_rested == 0
    assert rested > 300
    assert sum(always[600:]) > 40, "the scene is one in which somebody is found"
    assert not any(found[:600])
    assert sum(one != other for one, other in zip(found, always, strict=True)) <= 4
    assert found.index(True) == always.index(True)


def test_while_it_rests_the_frame_is_as_soft_as_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = 0.001
    _, left, rested = Scene(-36.0, noise).run(rests=True, monkeypatch=monkeypatch)
    assert rested > 300
    assert power(left[300:600]) < 4 * noise**2
