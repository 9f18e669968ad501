"""Profiles as they come and go: clocks that jump, choices, volumes, and what cannot be put in force.

The daemon is a stand-in that keeps the configuration in force; tests/service has them with a real one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from parleyd.audio.mixer import MixerError
from parleyd.checks.configuration import parse
from parleyd.config.changes import Changes, changes
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.demo.stage import Stage
from parleyd.profiles import profiles as module
from parleyd.profiles.profiles import ApplyError, Profiles, UnknownProfileError
from waiting import until

PROFILES = """
profiles:
  night: {schedule: [{from: "22:00", to: "07:00"}], settings: {audio: {output: {volume: 0.2}}}}
  party: {settings: {gate: {aggressiveness: 3}}}
"""
QUIET = "provider: local\n" + PROFILES
LOUD = "provider: local\naudio: {output: {volume: 0.8}}\n" + PROFILES


class Room:
    """What a service does with a configuration, and a clock on the wall."""

    has_sound = True

    def __init__(self, text: str, local: str) -> None:
        self.local = local
        self.stage = Stage()
        bus = events.Bus()
        bus.subscribe(self.stage)
        self.profiles = Profiles(parse(text, "p.yaml").config, bus, wall=lambda: self.wall_s)
        self.config = self.profiles.first_config()
        self.volume = self.config.audio.output.software_volume
        self.refuses = self.mixer_refuses = False
        self.applied = self.asked_mixer = 0
        self.mixer_fails_at: int | None = None
        self.death: BaseException | None = None

    @property
    def wall_s(self) -> float:
        return datetime.fromisoformat(self.local).timestamp()

    def apply(self, config: Config) -> Changes:
        self.applied += 1
        if self.refuses:
            raise ApplyError("there is no key", "store it")
        changed = changes(self.config, config)
        self.config = config
        if "audio.output.volume" in changed.now and config.audio.output.volume is not None:
            self.volume = config.audio.output.volume
        return changed

    def set_volume(self, volume: float) -> None:
        self.asked_mixer += 1
        if self.mixer_refuses or self.asked_mixer == self.mixer_fails_at:
            raise MixerError("the mixer does not answer", "see the card")
        self.volume = volume

    def fail(self, what: str, error: BaseException) -> None:
        self.death = error

    def changed(self) -> tuple[str | None, str]:
        event = self.stage.wait_for(events.ProfileChanged, "another profile")
        return event.profile, event.by


@contextmanager
def room(text: str, local: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr(module, "TICK_S", 0.01)
    one = Room(text, local)
    one.profiles.start(one, one.apply, one.fail)
    try:
        yield one
    finally:
        one.profiles.stop()
    assert one.death is None


def test_a_clock_that_jumps_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with room(LOUD, "1970-01-01 03:00", monkeypatch) as it:
        assert (it.profiles.current, it.volume) == (None, 0.8)
        it.local = "2026-06-01 23:00"
        assert it.changed() == ("night", "schedule")
        assert it.volume == 0.2
        it.local = "2026-05-31 12:00"
        assert it.changed() == (None, "schedule")
        assert it.volume == 0.8


def test_without_profiles_nobody_looks_at_the_clock_until_the_file_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    with room("provider: local\naudio: {output: {volume: 0.8}}\n", "2026-06-01 23:00", monkeypatch) as it:
        until("it rests", lambda: it.profiles.pulse._since_s is None)
        looks, wall_s = list[float](), it.wall_s
        it.profiles._wall = lambda: looks.append(0.0) or wall_s  # type: ignore[func-returns-value]
        threading.Event().wait(20 * module.TICK_S)
        assert looks == []
        it.profiles.rebase(parse(LOUD, "p.yaml").config)
        assert it.changed() == ("night", "reload")
        wall_s = datetime.fromisoformat("2026-06-02 12:00").timestamp()
        assert it.changed() == (None, "schedule"), "the hours are followed from now on"


def test_what_is_chosen_holds_until_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    with room(LOUD, "2026-06-01 12:00", monkeypatch) as it:
        it.profiles.choose("party")
        assert it.changed() == ("party", "command")
        it.local = "2026-06-01 23:00"
        it.profiles.choose("none")
        assert it.changed() == (None, "command")
        assert it.config.gate.aggressiveness == 2
        it.profiles.choose("auto")
        assert it.changed() == ("night", "command")
        with pytest.raises(UnknownProfileError) as caught:
            it.profiles.choose("nigth")
        assert caught.value.hint == "did you mean night?"
        with pytest.raises(UnknownProfileError) as caught:
            it.profiles.choose("breakfast")
        assert caught.value.hint == "choose one of: night, party, none, auto"


def test_a_volume_set_by_hand_stays_until_a_profile_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with room(LOUD, "2026-06-01 12:00", monkeypatch) as it:
        it.volume = 0.5
        it.profiles.choose("party")
        assert it.volume == 0.5
        it.profiles.choose("night")
        assert it.volume == 0.2
        it.volume = 0.3
        it.profiles.choose("party")
        assert it.volume == 0.8


@pytest.mark.parametrize("local", ["2026-06-01 12:00", "2026-06-01 23:00"])
def test_where_the_file_names_no_volume_the_one_before_comes_back(monkeypatch: pytest.MonkeyPatch, local: str) -> None:
    with room(QUIET, local, monkeypatch) as it:
        if it.profiles.current is None:
            it.volume = 0.7
            it.profiles.choose("night")
        assert it.volume == 0.2
        it.profiles.choose("none")
        assert it.volume == (0.7 if "12:00" in local else 1.0)


def test_a_reload_in_the_middle_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    with room(LOUD, "2026-06-01 12:00", monkeypatch) as it:
        it.profiles.choose("party")
        assert it.changed() == ("party", "command")
        changed = it.profiles.rebase(parse(LOUD.replace("0.8", "0.6") + "gate: {hangover_ms: 700}\n", "p.yaml").config)
        assert changed.now == ("audio.output.volume", "gate.hangover_ms")
        assert (it.profiles.current, it.config.gate.aggressiveness, it.volume) == ("party", 3, 0.6)
        it.profiles.rebase(parse(LOUD.replace("party", "feast"), "p.yaml").config)
        assert it.changed() == (None, "reload")
        assert (it.profiles.chosen, it.profiles.names) == ("auto", ("night", "feast"))
        it.refuses = True
        before = it.config
        with pytest.raises(ApplyError):
            it.profiles.rebase(parse(QUIET, "p.yaml").config)
        assert it.profiles.names == ("night", "feast")
        assert it.config == before


def test_what_cannot_be_put_in_force_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    with room(LOUD, "2026-06-01 12:00", monkeypatch) as it:
        it.refuses = True
        with pytest.raises(ApplyError):
            it.profiles.choose("party")
        assert it.profiles.chosen == "auto"
        caplog.clear()
        applied = it.applied
        it.local = "2026-06-01 23:00"
        while it.applied < applied + 5:
            assert it.profiles.current is None
        it.refuses = False
        assert it.changed() == ("night", "schedule")
    told = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert told == ["the profile night cannot be put in force: there is no key"]


def test_a_volume_that_could_not_come_back_comes_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    with room(QUIET, "2026-06-01 21:00", monkeypatch) as it:
        it.volume = 0.7
        it.local = "2026-06-01 23:00"
        assert it.changed() == ("night", "schedule")
        it.mixer_refuses = True
        asked = it.asked_mixer
        it.local = "2026-06-02 07:00"
        while it.asked_mixer < asked + 2:
            assert (it.profiles.current, it.volume) == ("night", 0.2)
        it.mixer_refuses = False
        assert it.changed() == (None, "schedule")
        assert it.volume == 0.7


def test_a_mixer_that_refuses_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    text = QUIET.replace("volume: 0.2}}", "volume: 0.2}}, gate: {hangover_ms: 900}")
    with room(text, "2026-06-01 12:00", monkeypatch) as it:
        it.profiles.choose("night")
        night = it.config
        assert night.gate.hangover_ms == 900
        it.mixer_refuses = True
        with pytest.raises(ApplyError, match="does not answer"):
            it.profiles.choose("party")
        assert (it.profiles.current, it.profiles.chosen) == ("night", "night")
        assert it.config == night, "the service and the profiles mean the same configuration"
        with pytest.raises(ApplyError, match="does not answer"):
            it.profiles.rebase(parse(text.replace("night:", "dusk:"), "p.yaml").config)
        assert it.config == night
        assert it.profiles.names == ("night", "party")
        it.mixer_refuses = False
        it.profiles.choose("party")
        assert (it.config.gate.hangover_ms, it.volume) == (parse(QUIET, "p.yaml").config.gate.hangover_ms, 1.0)


def test_a_configuration_that_is_refused_leaves_the_volume(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with room(QUIET, "2026-06-01 12:00", monkeypatch) as it:
        it.volume = 0.7
        it.profiles.choose("night")
        it.refuses = True
        with pytest.raises(ApplyError, match="no key"):
            it.profiles.choose("none")
        assert (it.profiles.current, it.volume) == ("night", 0.2)
        it.mixer_fails_at = it.asked_mixer + 2
        with pytest.raises(ApplyError, match="no key"):
            it.profiles.choose("none")
        assert "the profile stays, but not its volume" in caplog.text
        it.refuses = False
        it.profiles.choose("none")
        assert it.volume == 0.7


def test_a_choice_before_the_daemon_runs_is_refused() -> None:
    profiles = Profiles(parse(LOUD, "p.yaml").config, events.Bus())
    with pytest.raises(ApplyError, match="starting"):
        profiles.choose("party")
    assert profiles.chosen == "auto"
