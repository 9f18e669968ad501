"""`parleyd status`: the page."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from test_control_server import daemon, parleyd

from parleyd.cli.status import _health, _meter, _speaker, _usage, page, shown


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


DELAYS = ("wake_to_live", "speech_to_sound", "clear_residual")
STATUS: dict[str, Any] = {
    "version": "1.0", "started_s": 1.0, "uptime_s": 90.0, "health": "well", "troubles": [], "state": "asleep",
    "reason": "nobody has spoken for 20 s", "state_s": 61.0, "provider": "local", "conversation_id": None,
    "wake_mode": "speech", "echo_mode": "off",
    "microphone": {
        "name": "USB", "present": True, "muted": False, "level_dbfs": -45.0, "floor_dbfs": -60.0,
        "somebody_speaks": True, "doubts_for_s": 0, "overflows": 0, "gain_db": 0.0, "learnt_db": 0.0,
    },
    "speaker": {"name": "USB", "present": True, "volume": 0.5, "queued_ms": 0, "latency_ms": 20, "underruns": 1},
    "metrics": {
        "sessions": 1, "session_s": 9.0, "wakes": 1, "reconnects": 0, "failed_tries": 1, "utterances": 2, "answers": 2,
        "interruptions": 0, "tool_calls": 0, "lost_speech_ms": 0, "speech_s": 1.0, "heard_s": 9.0,
        **{name: {"count": 1, "last_ms": 30.0, "sum_ms": 30.0} for name in DELAYS},
    },
    "usage": {
        "refused": None, "session_minutes_today": 0.2, "session_minutes_month": 3.0, "minutes_left_today": None,
        "minutes_left_month": None, "sent_bytes_today": 100, "received_bytes_today": 100, "stayed_share_today": 0.9,
    },
    "profile": None, "hooks": {}, "approvals": [], "confirmations": [],
}  # fmt: skip


def names(status: dict[str, Any]) -> list[str | None]:
    return [row.name for row in page(status)]


def test_what_matters_stands_at_the_top() -> None:
    said = {"text": "What time is it?", "ago_s": 75.0, "typed": False, "interrupted": False}
    answer = {"text": "It is noon.", "ago_s": 0.5, "typed": False, "interrupted": True}
    status = STATUS | {
        "words": {"heard": said, "answered": answer},
        "profile": "night",
        "usage": STATUS["usage"] | {"refused": "these are quiet hours until 07:00"},
        "speaker": STATUS["speaker"] | {"volume": 0.0},
        "microphone": STATUS["microphone"] | {"muted": True},
    }
    top = [None, "health", "volume", "muted", "no session", "profile", "heard", "answered", "up"]
    assert names(status)[: len(top)] == top
    lines = list(shown(page(status), width=None, colour=False))
    assert lines[0] == "parleyd 1.0: asleep for 1 min 1 s (nobody has spoken for 20 s)"
    assert "  heard       “What time is it?”, 1 min ago" in lines
    assert "  answered    “It is noon.” (interrupted), just now" in lines
    assert "  volume      0%: nothing can be heard" in lines


def test_sound_that_is_missing_stands_beside_the_microphone() -> None:
    assert not any("missing" in row.text for row in page(STATUS)), "a daemon of another version may not know"
    metrics = STATUS["metrics"] | {"missing_sound_ms": 260}
    [row] = [row for row in page(STATUS | {"metrics": metrics}) if row.name == "microphone"]
    assert row.text.endswith(", 0.26 s of its sound is missing")


def test_long_words_are_cut_and_a_daemon_of_another_version_has_none() -> None:
    said = {"text": "word " * 100, "ago_s": 5.0, "typed": True, "interrupted": False}
    (line,) = (row.text for row in page(STATUS | {"words": {"heard": said, "answered": None}}) if row.name == "typed")
    assert line.endswith("word…”, 5 s ago")
    assert len(line) < 170
    assert "heard" not in names(STATUS)


def test_timers_are_named_by_their_label_or_their_number() -> None:
    tea = {"number": 1, "label": "tea", "left_s": 250.0}
    roast = {"number": 2, "label": "", "left_s": 3 * 3600.0}
    (row,) = (row for row in page(STATUS | {"timers": [tea, roast]}) if row.name == "timers")
    assert row.text == "tea in 4 min 10 s, 2 in 3 h"
    assert "timers" not in names(STATUS), "a daemon of another version tells of none"
    assert "timers" not in names(STATUS | {"timers": []})


def test_the_page_is_coloured_by_the_health() -> None:
    first = next(shown(page(STATUS), width=80, colour=True))
    assert first.startswith("\x1b[32mparleyd 1.0: asleep")
    assert next(shown(page(STATUS | {"health": "sick"}), width=80, colour=True)).startswith("\x1b[1;31m")


def test_the_meter_has_the_level_and_the_noise_floor() -> None:
    (row,) = _meter(STATUS)
    bar = row.text.split()[0]
    assert (bar.count("#"), bar.index("|")) == (24 - 1, 16)
    assert row.text.endswith("  -45 dBFS")
    assert list(_meter(STATUS | {"microphone": None})) == []
    assert list(_meter(STATUS | {"microphone": STATUS["microphone"] | {"present": False}})) == []


def test_clocks_are_for_who_looks_for_a_fault_and_a_daemon_of_another_version_may_not_tell_them() -> None:
    old = {"name": "USB", "present": True, "volume": 0.5, "queued_ms": 0, "latency_ms": 20, "underruns": 1}
    new = old | {"clock_ppm": -41.3, "clock_jumps": 1, "late_frames": 3}
    assert _speaker(new, everything=False) == _speaker(old, everything=False) == "USB, volume 50%"
    assert _speaker(old, everything=True) == "USB, volume 50%, latency 20 ms, 1 underrun"
    assert _speaker(new, everything=True) == (
        "USB, volume 50%, latency 20 ms, 1 underrun, clock -41 ppm, 1 clock jump, "
        "3 frames heard before their echo was known"
    )


def test_watching_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """At a real daemon: the page is renewed in place on the other screen, which fits a low terminal."""
    with daemon(tmp_path):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "parleyd", "status", "--watch"],
            dimensions=(6, 80),
            encoding="utf-8",
            timeout=30,
            # Without LINES and COLUMNS, which readline has put into this process's own environment.
            env=dict(os.environ),
        )
        try:
            child.expect_exact("\x1b[?1049h")
            frames = []
            for _ in range(3):
                child.expect_exact("\x1b[H")
                child.expect_exact("\x1b[J")
                frames.append(child.before)
            child.sendintr()
            child.expect_exact("\x1b[?25h\x1b[?1049l")
            child.expect(pexpect.EOF)
            child.wait()
        finally:
            child.close(force=True)
    assert child.exitstatus == 130
    assert not any("\x1b[2J" in frame for frame in frames)
    assert frames[-1].count("\x1b[K\r\n") == 5
    assert "level" in frames[-1]


def test_the_page_of_a_real_daemon_has_the_words_and_its_json_has_not(tmp_path: Path) -> None:
    with daemon(tmp_path):
        assert parleyd("say", "hello").returncode == 0
        assert "  typed       “hello”, " in parleyd("status").stdout
        assert json.loads(parleyd("status", "--json").stdout)["words"] is None


def test_money_and_tokens_of_today() -> None:
    usage = {
        "session_minutes_today": 3.5, "session_minutes_month": 40.0,
        "minutes_left_today": None, "minutes_left_month": None,
        "money_today": 0.25, "money_month": 4.0, "money_left_today": None, "money_left_month": 1.5, "currency": "EUR",
        "tokens_today": {"audio_in": 12_345, "text_out": 6},
        "sent_bytes_today": 200_000, "received_bytes_today": 1500, "stayed_share_today": None,
    }  # fmt: skip
    assert _usage(usage) == (
        "3.5 min of session (40 this month); 0.25 EUR (4.00 this month); 1.50 EUR left this month; "
        "12,345 audio in, 6 text out tokens; 0.2 MB up, 1.5 kB down"
    )
    costless = usage | {"money_today": 0.0, "money_month": 0.0, "money_left_month": None, "tokens_today": {}}
    assert _usage(costless) == "3.5 min of session (40 this month); 0.2 MB up, 1.5 kB down"


# Stands for systemd's own program, which scripts/test-service uses, in a booted system.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"{asked}"
case "$*" in --user*) exit 1 ;; esac
cat <<'END'
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
ExecMainStatus=69
NRestarts=4
StatusText=failed: there is no microphone; plug one in
END
"""


def test_if_nobody_listens_systemd_is_asked_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(asked=asked))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = parleyd("status")
    assert (told.returncode, told.stdout) == (os.EX_UNAVAILABLE, "")
    why = "the system service has failed 5 times: there is no microphone; plug one in"
    assert f"parleyd is not running: {why}" in told.stderr
    assert "journalctl" in told.stderr
    assert asked.read_text().count("show parleyd.service") == 2, "the system's, and the user's"
    asked.unlink()
    # Who names a socket means one that systemd may not know.
    told = parleyd("status", "--socket", str(tmp_path / "none.sock"))
    assert told.returncode == os.EX_UNAVAILABLE
    assert "has failed" not in told.stderr
    assert not asked.exists()
