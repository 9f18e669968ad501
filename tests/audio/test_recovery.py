"""When a device counts as lost, and when it is tried again: no device, no thread, no clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parleyd.audio.recovery import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    SILENT_TRIES,
    Back,
    Health,
    Lost,
    Sign,
)

STALL_S = 3.0
LOOK_S = 0.1


class Ward:
    """Looks at a device again and again, as the thread does, and notes what is told and when it would be reopened."""

    def __init__(self, opened: Callable[[float], bool] = lambda _at_s: True) -> None:
        self.health = Health(STALL_S, 0.0)
        self.opened = opened
        self.now_s = 0.0
        self.told: list[tuple[float, Lost | Back]] = []
        self.tries_s: list[float] = []
        self.period_s = 0.0
        self.sound_s: float | None = 0.0

    def live(
        self,
        seconds: float,
        *,
        periods: bool = True,
        sound: bool = True,
        active: bool = True,
        quiet: bool = True,
    ) -> None:
        for _ in range(round(seconds / LOOK_S)):
            self.now_s = round(self.now_s + LOOK_S, 3)
            if periods:
                self.period_s = self.now_s
                self.sound_s = self.now_s if sound and self.sound_s is not None else self.sound_s
            self._note(self.health.look(self.now_s, Sign(self.period_s, self.sound_s, active)))
            if self.health.wants_reopening(self.now_s, quiet=quiet):
                self.tries_s.append(self.now_s)
                self._note(self.health.reopened(self.now_s, success=self.opened(self.now_s)))

    def _note(self, what: Lost | Back | None) -> None:
        if what is not None:
            self.told.append((self.now_s, what))


def test_a_device_that_works_is_left_alone() -> None:
    ward = Ward()
    ward.live(3600)
    assert ward.told == []
    assert ward.tries_s == []


def test_a_stall_is_told_once_and_tried_with_growing_delay_for_ever() -> None:
    ward = Ward(opened=lambda at_s: at_s >= 1000)
    ward.live(10)
    ward.live(990, periods=False)
    assert ward.told == [(13.0, Lost(10.0, muted=False))]
    delays = [later - sooner for sooner, later in zip(ward.tries_s, ward.tries_s[1:], strict=False)]
    assert ward.tries_s[0] == 13.0
    # Looked at every tenth of a second.
    assert delays[0] == pytest.approx(FIRST_DELAY_S, abs=LOOK_S)
    assert delays[1] == pytest.approx(2 * FIRST_DELAY_S, abs=LOOK_S)
    assert max(delays) == pytest.approx(LONGEST_DELAY_S, abs=LOOK_S)
    assert delays[-1] == pytest.approx(max(delays))
    ward.live(LONGEST_DELAY_S + LOOK_S, periods=False)
    ward.live(1)
    assert [type(what) for _, what in ward.told] == [Lost, Back]
    back = ward.told[1][1]
    assert isinstance(back, Back)
    assert back.away_s == pytest.approx(ward.told[1][0] - 10.0)


def test_a_stream_that_has_ended_is_lost_at_once_but_a_sharp_cut_is_none() -> None:
    ward = Ward()
    ward.live(10)
    ward.live(0.4, periods=False, active=False)
    ward.live(10)
    assert ward.told == []
    ward.live(1, periods=False, active=False)
    assert [(at_s, type(what)) for at_s, what in ward.told] == [(20.9, Lost)]


def test_one_that_opens_but_stays_silent_is_reopened_after_another_stall_and_not_told_again() -> None:
    ward = Ward()
    ward.live(10)
    ward.live(60, periods=False)
    assert [type(what) for _, what in ward.told] == [Lost]
    assert len(ward.tries_s) == pytest.approx(57 / STALL_S, abs=2)


def test_a_speaker_has_no_digital_silence() -> None:
    ward = Ward()
    ward.sound_s = None
    ward.live(60, sound=False)
    assert ward.told == []


def test_a_microphone_that_gives_zeros_is_reopened_a_few_times_and_then_kept() -> None:
    ward = Ward()
    ward.live(10)
    ward.live(600, sound=False)
    assert ward.told == [(13.0, Lost(10.0, muted=True))]
    assert len(ward.tries_s) == SILENT_TRIES
    assert ward.tries_s[1] - ward.tries_s[0] >= STALL_S
    assert not ward.health.lost, "it is muted, which is no reason to call it gone"
    ward.live(10)
    assert [type(what) for _, what in ward.told] == [Lost, Back]
    # Sound came although nothing was done: so zeros are its way of being quiet.
    ward.live(600, sound=False)
    assert len(ward.told) == 2
    assert len(ward.tries_s) == SILENT_TRIES


def test_zeros_that_a_reopening_heals_are_taken_seriously_the_next_time() -> None:
    ward = Ward()
    for _ in range(2):
        ward.live(10)
        ward.live(STALL_S, sound=False)
    ward.live(1)
    assert [type(what) for _, what in ward.told] == [Lost, Back, Lost, Back]
    assert len(ward.tries_s) == 2


def test_nothing_audible_is_interrupted_for_zeros() -> None:
    ward = Ward()
    ward.live(10)
    ward.live(60, sound=False, quiet=False)
    assert ward.tries_s == []
    ward.live(LOOK_S, sound=False)
    assert len(ward.tries_s) == 1


def test_muted_and_then_gone_are_two_things_to_tell() -> None:
    ward = Ward()
    ward.live(10)
    ward.live(20, sound=False)
    ward.live(20, periods=False)
    ward.live(20, sound=False)
    lost = [what.muted for _, what in ward.told if isinstance(what, Lost)]
    # Muted as before when it came back: that is known.
    assert lost == [True, False]


def test_a_healthy_device_that_does_not_reopen_with_the_other_is_lost() -> None:
    health = Health(STALL_S, 0.0)
    assert health.reopened(10.0, success=True) is None
    assert health.look(10.1, Sign(10.05, None, True)) is None
    assert health.reopened(20.0, success=False) == Lost(20.0, muted=False)
    assert health.wants_reopening(20.0 + FIRST_DELAY_S, quiet=False)


def test_who_is_perhaps_muted_is_first_reopened_alone() -> None:
    health = Health(STALL_S, 0.0)
    assert isinstance(health.look(4.0, Sign(4.0, 0.5, active=True)), Lost)
    assert health.wants_reopening(4.0, quiet=True)
    assert health.gently
    health.reopened(4.0, success=True)
    assert not health.gently, "that has not helped"


def test_a_plug_that_moves_is_worth_a_try_at_once() -> None:
    ward = Ward(opened=lambda at_s: at_s > 20.5)
    ward.live(20.0, periods=False, active=False)
    ward.health.hurry(ward.now_s)
    ward.live(1.0, periods=False, active=False)
    # At once, and since the card may not be ready yet, soon again.
    assert [round(at_s - 20.0, 1) for at_s in ward.tries_s if at_s > 20.0] == [0.1, 0.4, 0.9]
    ward.health.hurry(ward.now_s)
    assert not ward.health.wants_reopening(ward.now_s, quiet=True), "it is open"
