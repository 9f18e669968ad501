"""Who may ask what of the daemon: the table, and real processes with real groups at a real daemon's socket."""

from __future__ import annotations

import grp
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from test_control_server import CONFIG, daemon, socket_path

from parleyd.checks.configuration import parse
from parleyd.config.loader import ConfigError
from parleyd.config.schema import Control
from parleyd.control import messages
from parleyd.control.messages import AnyRequest, RequestError
from parleyd.control.peer import Peer
from parleyd.control.roles import NEEDS, ROLES, needed, roles_of

PAGE = (Path(__file__).parents[2] / "docs" / "control.md").read_text()
GROUPS = {"readers": 1001, "workers": 1002, "parents": 1003}
STRANGER = 65534


def test_every_request_has_its_role_here_and_on_the_page() -> None:
    assert set(NEEDS) == set(get_args(AnyRequest))
    rows = {cells[0]: cells[1] for line in PAGE.splitlines() if len(cells := line.strip("| ").split(" | ")) > 2}
    for kind, need in NEEDS.items():
        name = str(kind.__struct_config__.tag)
        (row,) = (role for names, role in rows.items() if f"`{name}`" in names.split("[")[0])
        assert (need.role or "none") in row, name
        assert need.asking is None or need.asking in row, name


@pytest.mark.parametrize(
    ("line", "role"),
    [
        (b'{"do": "volume"}', "read"),
        (b'{"do": "volume", "to": 0}', "operate"),
        (b'{"do": "volume", "by": 0}', "operate"),
        (b'{"do": "profile"}', "read"),
        (b'{"do": "profile", "name": "none"}', "operate"),
        (b'{"do": "events"}', "read"),
        (b'{"do": "transcript"}', "read"),
        (b'{"do": "mute"}', None),
        (b'{"do": "unmute"}', "approve"),
        (b'{"do": "approve", "approval": "x"}', "approve"),
        (b'{"do": "deny"}', "approve"),
        (b'{"do": "run_tool", "name": "mute"}', "approve"),
    ],
)
def test_what_a_request_needs(line: bytes, role: str | None) -> None:
    assert needed(messages.request(line)) == role


def held(section: Control, *gids: int, uid: int = STRANGER) -> set[str]:
    return set(roles_of(section, lambda name: GROUPS[name]).caller(Peer(7, uid, 1), frozenset(gids)).roles)


def test_without_any_groups_all_whom_the_socket_admits_may_everything() -> None:
    assert held(Control()) == set(ROLES)


def test_groups_narrow_each_role_by_itself() -> None:
    section = Control(read=["readers"], operate=["workers"], approve=["parents"])
    assert held(section) == set()
    assert held(section, 1001) == {"read"}
    assert held(section, 1002) == {"operate"}, "who may speak to it need not hear what is said"
    assert held(section, 1001, 1002) == {"read", "operate"}
    assert held(section, 1003) == set(ROLES), "who approves sees what it is"
    assert held(section, uid=0) == set(ROLES)
    assert held(section, uid=os.geteuid()) == set(ROLES)
    assert held(Control(approve=["parents"]), 1001) == {"read", "operate"}
    assert held(Control(approve=[]), 0, 1003) == {"read", "operate"}, "the group of root is none"


def test_a_group_that_does_not_exist_gives_nobody_anything_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    roles = roles_of(Control(approve=["nobody-has-this"]))
    assert "control.approve: there is no group nobody-has-this: nobody has the role by it" in caplog.text
    caller = roles.caller(Peer(7, STRANGER, 1), frozenset({1}))
    with pytest.raises(RequestError) as caught:
        roles.check(messages.Unmute(id=3), caller)
    assert (caught.value.kind, caught.value.id) == ("role_missing", 3)
    assert str(caught.value.hint).startswith("only root may; to allow others, name a group with control.approve")


@pytest.mark.parametrize("name", ["parents\\n", "a b", "-x", "", "1000"])
def test_what_is_no_name_of_a_group_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"control\.approve: .* use names of groups"):
        parse(f'provider: local\ncontrol: {{approve: ["{name}"]}}\n', "x.yaml")


# ---------------------------------------------------------------- at a real daemon

# All is loaded before, for Python itself may be in a folder that the user may not enter.
_AS_MEMBER = (
    "import json, locale, os, sys, parleyd.cli.main;"
    "from parleyd.cli import approve, events, orders, say, status, transcript, volume;"
    "os.setgroups(json.loads(sys.argv[1])); os.setgid(65534); os.setuid(65534);"
    "sys.exit(parleyd.cli.main.main(json.loads(sys.argv[2])))"
)


def as_member(groups: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user of no rights who is in the socket's group and in these."""
    gids = [socket_path().stat().st_gid, *(grp.getgrnam(name).gr_gid for name in groups)]
    command = [sys.executable, "-c", _AS_MEMBER, json.dumps(gids), json.dumps(arguments)]
    environment = {**os.environ, "PARLEYD_SOCKET": str(socket_path()), "COLUMNS": "1000"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


_ASKS = (
    "import json, os, socket, sys; os.setgroups(json.loads(sys.argv[1])); os.setgid(65534); os.setuid(65534)\n"
    "c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[2]); f = c.makefile(); f.readline()\n"
    "c.sendall(sys.argv[3].encode()); c.shutdown(socket.SHUT_WR); print(f.read())"
)


def allowed(groups: Sequence[str], asked: Sequence[str]) -> set[str]:
    """Which of these requests are not refused for a role, to such a member. set: the volume."""
    gids = [socket_path().stat().st_gid, *(grp.getgrnam(name).gr_gid for name in groups)]
    special: dict[str, dict[str, object]] = {
        "set": {"do": "volume", "to": 0.5},
        "approve": {"do": "approve", "approval": "none"},
    }
    requests = [json.dumps({**special.get(name, {"do": name}), "id": name}) + "\n" for name in asked]
    command = [sys.executable, "-c", _ASKS, json.dumps(gids), str(socket_path()), "".join(requests)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    answers = [answer for answer in map(json.loads, filter(None, told.splitlines())) if "id" in answer]
    assert [answer["id"] for answer in answers] == list(asked)
    return {answer["id"] for answer in answers if answer["ok"] or answer["error"]["kind"] != "role_missing"}


def opened() -> None:
    """The folders of the test are for their owner alone."""
    for folder in (socket_path().parent, Path(os.environ["XDG_RUNTIME_DIR"])):
        folder.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_members_may_what_their_groups_may_and_are_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "parleyd.yaml").write_text(CONFIG + "control: {read: [games], operate: [audio], approve: [video]}\n")
    with daemon(tmp_path):
        opened()
        asked = ["status", "transcript", "events", "volume", "set", "mute", "unmute", "approve"]
        readers, workers = {"status", "transcript", "volume", "events"}, {"set"}
        assert allowed((), asked) == {"mute"}
        assert allowed(("games",), asked) == {"mute", *readers}
        assert allowed(("audio",), asked) == {"mute", *workers}
        assert allowed(("video",), asked) == set(asked)
        assert as_member(("games", "audio"), "unmute").stderr == (
            "parleyd: `unmute` needs the role approve, which this user (uid 65534) does not have here; sudo adduser "
            "$USER video, then log in again (control.approve in the configuration names the groups)\n"
        )
        assert as_member((), "say", "--wait", "--timeout", "5", "hello").returncode == os.EX_NOPERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_by_default_the_group_may_everything(tmp_path: Path) -> None:
    folder = tmp_path / "transcripts"
    folder.mkdir(mode=0o700)
    line = {"time": "2026-11-21T12:00:00+01:00", "speaker": "user", "text": "And tomorrow?"}
    (folder / "2026-11-21.jsonl").write_text(json.dumps(line) + "\n")
    keeps = f"transcript: {{enabled: true, directory: {folder}, keep_days: 3000}}\n"
    (tmp_path / "parleyd.yaml").write_text(CONFIG + keeps)
    with daemon(tmp_path):
        opened()
        assert as_member((), "transcript").stdout.endswith("you    And tomorrow?\n")
        assert as_member((), "mute").returncode == 0
        assert as_member((), "unmute").stdout == "unmuted: the agent hears the microphone again\n"
        status: dict[str, Any] = json.loads(as_member((), "status", "--json").stdout)
        assert not status["microphone"]["muted"]


def test_a_group_that_is_missing_is_told_by_check(tmp_path: Path) -> None:
    (tmp_path / "parleyd.yaml").write_text(CONFIG + "control: {read: [no-such-group]}\n")
    process = subprocess.run(
        [sys.executable, "-m", "parleyd", "check", "-c", str(tmp_path / "parleyd.yaml")],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "COLUMNS": "1000"},
    )  # fmt: skip
    assert "control.read: there is no group no-such-group" in process.stdout + process.stderr
