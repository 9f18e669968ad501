from __future__ import annotations

import re

import pytest
from choice import choose
from usb import CHECKS


def names(only: str) -> list[str]:
    return [check.name for check in choose(CHECKS, re.compile(only))]


def test_without_a_pattern_all_are_made() -> None:
    assert choose(CHECKS, re.compile("")) == CHECKS


def test_a_check_that_looks_at_a_session_has_one_to_look_at() -> None:
    before = ["started", "asleep, the speaker", "asleep, the microphone", "asleep, then spoken to"]
    assert names("^many") == [*before, "many"]
    assert names("^muted") == [*before, "muted"]


def test_what_starts_its_own_daemon_needs_nothing() -> None:
    assert names("^mixer") == ["mixer"]
    assert names("the speaker") == [
        "started",
        "asleep, the speaker",
        "asleep, the microphone",
        "asleep, then spoken to",
        "live, the speaker",
        "speaking, the speaker",
    ]


@pytest.mark.parametrize("number", range(len(CHECKS)))
def test_needs_stand_before(number: int) -> None:
    assert set(CHECKS[number].needs) <= {earlier.name for earlier in CHECKS[:number]}
