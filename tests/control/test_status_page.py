"""`parleyd status`: the page."""

from __future__ import annotations

from parleyd.cli.status import _health, _speaker, shown


def test_every_trouble_stands_in_its_column_with_what_to_do_below() -> None:
    troubles = [
        {"part": "agent", "text": "nothing listens there", "hint": "check the network"},
        {"part": "microphone", "text": "digital silence (USB)", "hint": "see that its mute switch is off"},
    ]
    status = {"health": "trouble", "troubles": troubles, "microphone": None}
    assert list(shown(_health(status), width=80, colour=False)) == [
        "  health      trouble; agent: nothing listens there",
        "              -> check the network",
        "              microphone: digital silence (USB)",
        "              -> see that its mute switch is off",
    ]


def test_clocks_are_for_who_looks_for_a_fault_and_a_daemon_of_another_version_may_not_tell_them() -> None:
    old = {"name": "USB", "present": True, "volume": 0.5, "queued_ms": 0, "latency_ms": 20, "underruns": 1}
    new = old | {"clock_ppm": -41.3, "clock_jumps": 1, "late_frames": 3}
    assert _speaker(new, everything=False) == _speaker(old, everything=False) == "USB, volume 50%"
    assert _speaker(old, everything=True) == "USB, volume 50%, latency 20 ms, 1 underrun"
    assert _speaker(new, everything=True) == (
        "USB, volume 50%, latency 20 ms, 1 underrun, clock -41 ppm, 1 clock jump, "
        "3 frames heard before their echo was known"
    )
