"""`parleyd status`: the page."""

from __future__ import annotations

from parleyd.cli.status import _health, shown


def test_every_trouble_stands_in_its_column_with_what_to_do_below() -> None:
    findings = [
        {"part": "agent", "text": "nothing listens there", "hint": "check the network"},
        {"part": "microphone", "text": "digital silence (USB)", "hint": "see that its mute switch is off"},
    ]
    status = {"health": "trouble", "findings": findings, "microphone": None}
    assert list(shown(_health(status), width=80, colour=False)) == [
        "  health      trouble; agent: nothing listens there",
        "              -> check the network",
        "              microphone: digital silence (USB)",
        "              -> see that its mute switch is off",
    ]
