"""Tools and hooks are kept apart from a real daemon: what one that was taken over reaches, and what others still can.

By Landlock; how systemd does it is shown by scripts/test-service.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from as_nobody import prefix_as_nobody
from parleyd.control.client import Client
from parleyd.host import apart as apart_module
from parleyd.host import runner, subprocesses
from parleyd.host.apart import Apart, Way, Ways
from parleyd.host.stopping import Stop
from parleyd.host.subprocesses import NotStartedError, Ran
from waiting import until

WAIT_S = 90.0
KEY = "sk_in_the_environment"
TAKEN_OVER = Path(__file__).with_name("taken_over.py")
ABI = runner.landlock_abi()
NOBODY = 65534

needs_landlock = pytest.mark.skipif(not ABI, reason="this kernel has no Landlock")

CONFIG = """
elevenlabs: {{agent_id: agent_test, base_url: "http://127.0.0.1:9", api_key: {{env: A_KEY}}}}
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
wake: {{mode: manual}}
transcript: {{enabled: true, directory: {folder}/transcripts}}
control: {{socket: "{folder}/run/c.sock"}}
hooks:
- on: [muted]
  timeout_s: 60
  run_as: {run_as}
  command: [sh, -c, '{python} {script} $PPID "$@" > {out}/found.new; mv {out}/found.new {out}/found', sh,
            {folder}/run/c.sock, {folder}/state, {folder}/state/audit.jsonl, {folder}/transcripts,
            {folder}/transcripts/a, {folder}/etc/parleyd.yaml]
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that another user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def daemon(folder: Path, run_as: str) -> Iterator[subprocess.Popen[bytes]]:
    """Muted, with a line in each file; the hook runs when it is muted."""
    for name in ("run", "state", "transcripts", "etc", "out"):
        (folder / name).mkdir()
    for name in ("state/audit.jsonl", "transcripts/a"):
        (folder / name).write_text("a line\n")
    config = folder / "etc" / "parleyd.yaml"
    text = CONFIG.format(folder=folder, out=folder / "out", python=sys.executable, script=TAKEN_OVER, run_as=run_as)
    # The runner is between the daemon and the hook.
    config.write_text(text.replace("$PPID", "$(cat {}/pid)".format(folder / "out")))
    own = {"STATE_DIRECTORY": str(folder / "state"), "RUNTIME_DIRECTORY": str(folder / "run"), "HOME": str(folder)}
    environment = os.environ | own | {"A_KEY": KEY}
    log, told = (folder / "out" / "log").open("w"), (folder / "out" / "log").read_text
    command = [sys.executable, "-m", "parleyd", "run", "-c", str(config)]
    if os.geteuid() == 0:
        # Root may look into every process, whoever its parents are.
        empty = folder / "empty"
        empty.mkdir()
        command = [*prefix_as_nobody(empty), *command]
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log, cwd="/")
    try:
        (folder / "out" / "pid").write_text(str(process.pid))
        until("the start", lambda: "runs; provider" in told() or process.poll() is not None)
        assert process.poll() is None, told()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        log.close()


def found_by_the_hook(folder: Path, run_as: str) -> tuple[dict[str, object], str, bool]:
    """(what it found, the daemon's log, is it still muted)."""
    with daemon(folder, run_as):
        path = folder / "run" / "c.sock"
        with Client(path) as client:
            client.ask("mute")
        until("the hook", (folder / "out" / "found").exists)
        with Client(path) as client:
            is_muted = client.ask("status")["microphone"]["muted"]
        return json.loads((folder / "out" / "found").read_text()), (folder / "out" / "log").read_text(), is_muted


@needs_landlock
def test_what_was_taken_over_reaches_nothing_of_the_daemon(folder: Path) -> None:
    found, log, is_muted = found_by_the_hook(folder, "apart")
    # Without Landlock's scopes it may still send signals.
    succeeded = found["succeeded"]
    assert isinstance(succeeded, list)
    # Sound is not out of reach of what runs as the daemon's user (SECURITY.md), where there is a card.
    assert [what for what in succeeded if what != "a sound device"] == ([] if ABI >= 6 else ["signal"]), found
    assert is_muted
    assert "was sent away from the control socket: this was started by the daemon itself" in log
    assert (folder / "state" / "audit.jsonl").read_text() == "a line\n"
    assert KEY not in json.dumps(found)


def test_what_runs_as_the_daemon_may_do_what_it_may(folder: Path) -> None:
    """So the test above can fail."""
    found, log, is_muted = found_by_the_hook(folder, "daemon")
    succeeded = found["succeeded"]
    assert isinstance(succeeded, list)
    # What its user may see of the daemon's memory is a matter of the system (ptrace_scope of Yama).
    expected = {"environment", "unmute", "unmute orphaned", "approve", f"change {folder}/state/audit.jsonl"}
    assert expected <= {*succeeded}, found
    assert not is_muted
    assert "was sent away" not in log


def ran(script: str, apart: Apart | None, *arguments: str, stop: Stop | None = None, **environment: str) -> Ran:
    return subprocesses.run(
        ["/bin/sh", "-c", script, "sh", *arguments],
        apart=apart, directory="/", environment=environment, stdin=b"", stop=stop or Stop(),
    )  # fmt: skip


def hiding(*places: Path) -> Apart:
    return Apart(Ways(Way.LANDLOCK, ABI), places)


@needs_landlock
def test_neighbours_of_what_is_hidden_are_as_before(tmp_path: Path) -> None:
    hidden, beside, deep = tmp_path / "hidden", tmp_path / "beside", tmp_path / "a" / "b"
    for folder in (hidden, beside, deep):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    (tmp_path / "shortcut").symlink_to(hidden)
    apart = hiding(hidden, deep / "file", tmp_path / "not there yet")
    assert ran(f"cat {beside}/file; echo x > {beside}/new; cat {beside}/new", apart).output == "besidex\n"
    for refused in (
        f"cat {hidden}/file", f"cat {tmp_path}/shortcut/file", f"cat {deep}/file", f"echo x > {tmp_path}/new",
        f"mkdir '{tmp_path}/not there yet'", f"mv {tmp_path}/a {beside}/a", f"ln {hidden}/file {beside}/link",
    ):  # fmt: skip
        assert ran(refused, apart).status != 0, refused
    assert ran("echo out > /dev/stdout; echo err > /dev/stderr", apart) == Ran(0, "out\n", "err\n", data=b"out\n")
    assert ran(f"mv {beside}/new {tmp_path}/a/new", apart).status != 0
    assert ran(f"mkdir {beside}/sub; mv {beside}/file {beside}/sub/", apart).status == 0


@needs_landlock
def test_one_call_does_not_see_into_another(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], env={"TOKEN": "t0ps3cret"}) as other:
        try:
            until("its start", lambda: b"TOKEN" in Path(f"/proc/{other.pid}/environ").read_bytes())
            assert ran(f"cat /proc/{other.pid}/environ", None).output
            seen = ran(f"cat /proc/{other.pid}/environ", hiding(tmp_path))
            assert (seen.output, seen.status != 0) == ("", True)
        finally:
            other.kill()


@pytest.mark.parametrize("apart", [None, hiding()] if ABI else [None])
def test_nothing_is_left_not_even_what_has_left_its_session(apart: Apart | None) -> None:
    script = "setsid sleep 1000 & echo $!; (setsid sh -c 'sleep 1000 & echo $!; wait' &); sleep 0.2; exit 3"
    done = ran(script, apart)
    assert done.status == 3
    for pid in done.output.split():
        assert not Path(f"/proc/{pid}/exe").exists(), "it still runs"
    assert len(done.output.split()) == 2


def test_what_is_stopped_leaves_nothing_that_has_left_its_session(tmp_path: Path) -> None:
    pids, stop, ended = tmp_path / "pids", Stop(), []
    os.mkfifo(pids)
    script = f"setsid sleep 1000 & echo $! $$ > {pids}; wait"
    thread = threading.Thread(target=lambda: ended.append(ran(script, hiding() if ABI else None, stop=stop)))
    thread.start()
    found = pids.read_text().split()
    stop.set()
    thread.join(WAIT_S)
    assert ended[0].status == -signal.SIGKILL
    assert not [pid for pid in found if Path(f"/proc/{pid}/exe").exists()]


def test_what_cannot_be_kept_apart_is_not_run_where_that_is_required() -> None:
    nothing = Ways(Way.NONE, 0)
    assert ran("echo done", Apart(nothing)).output == "done\n"
    with pytest.raises(NotStartedError, match=r"tools\.apart is required"):
        ran("echo done", Apart(nothing, required=True))
    # What is to run as the daemon says so itself.
    assert ran("echo done", None).output == "done\n"


def test_a_service_of_the_tools_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart_module, "SOCKET", tmp_path / "parleyd-tools.socket")
    with pytest.raises(NotStartedError, match=r"systemctl status parleyd-tools\.socket"):
        ran("echo done", Apart(Ways(Way.UNIT, ABI)))


def test_the_way_is_that_of_the_socket_where_it_is_this_users(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert apart_module.ways(path).way is (Way.LANDLOCK if ABI else Way.NONE)
    path.write_text("no socket")
    assert apart_module.ways(path).way is not Way.UNIT
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert apart_module.ways(path).way is Way.UNIT
        assert apart_module.ways(path).abi == ABI
