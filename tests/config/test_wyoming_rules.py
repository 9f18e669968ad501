"""The section `wyoming`: each problem names its file, line and key, and says what to write instead."""

from __future__ import annotations

import pytest
from one_problem import problem_of

from parleyd.checks.configuration import parse

BEGINNING = "provider: local\nwyoming:\n  "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("allow: [homeassistant.local]", "3: wyoming.allow"),
        ("allow: [192.168.1.300]", "3: wyoming.allow: 192.168.1.300 is neither an address nor a network"),
        ("allow: [192.168.1.1, 192.168.1.7/24]", "3: wyoming.allow: 192.168.1.7/24 is neither"),
        ("allow: ['::ffff:192.168.1.10']", "3: wyoming.allow: ::ffff:192.168.1.10 is neither"),
        ("host: 1.2.3", "3: wyoming.host: 1.2.3 is no address; write one of this machine's"),
        ("allow: ['::1']\n  max_s: 500", "4: wyoming.max_s"),
        ("allow: ['::1']\naudio: {mode: off}", "3: wyoming.allow: there is nothing to play it with: audio.mode is off"),
        ("allow: ['::1']\ncontrol: {socket: off}", "3: wyoming.allow: `parleyd wyoming` could not reach the daemon"),
    ],
)
def test_a_problem_is_one_line_with_its_hint(text: str, expected: str) -> None:
    assert problem_of(BEGINNING + text).startswith(f"p.yaml:{expected}")


@pytest.mark.parametrize(
    "text",
    ["allow: [192.168.1.10]", "allow: [192.168.1.0/24, 'fd00::/8']\n  host: 192.168.1.20", "allow: []", "area: Küche"],
)
def test_what_is_right_has_no_problem(text: str) -> None:
    assert parse(BEGINNING + text, "p.yaml").warnings == ()
