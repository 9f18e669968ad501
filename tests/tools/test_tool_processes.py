"""Programs as tools: real processes, and what is left of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from parleyd.host import apart, subprocesses
from parleyd.host.stopping import Stop
from parleyd.tools.command import Command, PythonFunction
from parleyd.tools.result import Fault, ToolError, good
from waiting import until_ended

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "parleyd-dice"
WAIT_S = 60.0


def command(
    *arguments: str, stdin: bool = False, directory: str = "/", secrets: dict[str, str] | None = None
) -> Command:
    return Command(
        arguments,
        may_be_option=(),
        directory=directory,
        stdin=stdin,
        environment={"A": "1"},
        secrets=secrets or {},
        apart=apart.here(),
    )


def shell(script: str, stop: Stop | None = None, **parameters: object) -> str:
    return command("/bin/sh", "-c", script).run(parameters, stop or Stop())


def test_what_it_prints_is_the_result_and_parameters_come_on_stdin() -> None:
    given = {"text": "ä\n", "n": [1, None]}
    assert json.loads(command("/bin/cat", stdin=True).run(given, Stop())) == given
    assert command("/bin/cat").run({}, Stop()) == ""


def test_nothing_of_the_daemons_environment_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    lines = command("/usr/bin/env", secrets={"TOKEN": "t0ps3cret"}).run({}, Stop()).splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert {"PATH", "HOME", "LANG", "A", "TOKEN"} <= names <= {"PATH", "HOME", "LANG", "TZ", "A", "TOKEN"}
    assert "TOKEN=********" in lines


def test_when_memory_is_short_it_goes_before_the_daemon() -> None:
    # Set from outside, right after the start.
    script = 'until [ "$(cat /proc/self/oom_score_adj)" -ge 500 ]; do :; done; echo done'
    assert shell(script) == "done\n"


def test_a_secret_does_not_show_in_parts_nor_in_other_forms() -> None:
    secrets = {"TOKEN": 't0ps"3cret'}
    # Where the last line is cut; with NULs, which are taken out later; as JSON.
    for width in (255, 265, 270):
        cut = command("/bin/sh", "-c", f"printf '%0{width}d%s%0100d' 0 $TOKEN 0 >&2; exit 3", secrets=secrets)
        with pytest.raises(ToolError) as caught:
            cut.run({}, Stop())
        assert "t0" not in str(caught.value)
    for script in ("printf %s $TOKEN | sed 's/./&\\x00/g'", """printf '["t0ps\\\\"3cret"]'"""):
        assert "t0ps" not in good(command("/bin/sh", "-c", script, secrets=secrets).run({}, Stop()), 4000).text


@pytest.mark.skipif(apart.ways().way is not apart.Way.LANDLOCK, reason="by Landlock")
def test_what_is_closed_to_tools_that_run_apart_is_told_with_the_hint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "notes").write_text("n")

    def failure(own: apart.Apart | None, *arguments: str) -> str:
        made = Command(
            arguments, may_be_option=(), directory="/", stdin=False, environment={}, secrets={}, apart=own
        )  # fmt: skip
        for _ in range(2):
            with pytest.raises(ToolError) as caught:
                made.run({}, Stop())
        return str(caught.value)

    kept_apart = apart.Apart(apart.ways(), [hidden])
    text = failure(kept_apart, "/bin/cat", f"{hidden}/notes")
    assert "Permission denied; programs run here apart from the daemon" in text
    assert text.endswith("or write run_as: daemon (docs/tools.md).")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("cat: The tool failed with code 1")
    assert "run_as: daemon" in told[0]
    # A program that may not be run is one, too; what fails for another reason, or as the daemon, is none.
    (tmp_path / "program").write_text("")
    assert "run_as: daemon" in failure(kept_apart, f"{tmp_path}/program")
    assert "run_as" not in failure(kept_apart, "/bin/cat", f"{tmp_path}/missing")
    assert "run_as" not in failure(None, "/bin/sh", "-c", "echo Permission denied >&2; false")


def test_under_systemd_the_hint_names_the_tools_user() -> None:
    ways = apart.Ways(apart.Way.UNIT, 0)
    assert "chgrp parleyd-tools FILE" in apart.Apart(ways).hint_about("touch: /srv/x: Read-only file system")
    assert apart.Apart(apart.Ways(apart.Way.NONE, 0)).hint_about("Permission denied") == ""


def test_a_failure_tells_the_last_line_without_secrets() -> None:
    tool = command("/bin/sh", "-c", "echo first >&2; echo bad key $TOKEN >&2; exit 3", secrets={"TOKEN": "t0ps3cret"})
    with pytest.raises(ToolError) as caught:
        tool.run({}, Stop())
    assert str(caught.value) == "The tool failed with code 3: bad key ********."
    with pytest.raises(ToolError, match="signal 15"):
        shell("kill $$")


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (command("no-such-program"), "no-such-program does not exist on this device"),
        (command("/bin/true", directory="/no/such"), "/no/such does not exist on this device"),
        (command("/etc/passwd"), "passwd may not be run by this user"),
    ],
)
def test_what_cannot_be_started_says_so(tool: Command, words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        tool.run({}, Stop())
    assert caught.value.fault is Fault.FAILED


def test_output_without_end_is_cut_and_does_not_hold_up_the_program() -> None:
    assert len(shell("head -c 20000000 /dev/zero | tr '\\0' x")) == subprocesses.MAX_OUTPUT_BYTES


def test_input_that_nobody_reads_holds_up_nothing() -> None:
    tool = command("/bin/sh", "-c", "exec <&-; echo done", stdin=True)
    assert tool.run({"text": "x" * 1_000_000}, Stop()) == "done\n"


def test_a_grandchild_that_keeps_the_pipe_is_not_waited_for_and_goes_too() -> None:
    output = shell("sleep 1000 & echo $!")
    until_ended(int(output))


@pytest.mark.parametrize("escape", ["", "trap '' TERM INT HUP;"])
def test_when_stopped_the_whole_group_is_killed(escape: str, tmp_path: Path) -> None:
    pids, stop = tmp_path / "pids", Stop()
    os.mkfifo(pids)
    script = f"{escape} sleep 1000 & (sleep 1000 & echo $! $$ $1 > {pids}; wait)"
    failure: list[ToolError] = []

    def run() -> None:
        try:
            shell(script, stop)
        except ToolError as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    found = [int(pid) for pid in pids.read_text().split()]
    assert all(Path(f"/proc/{pid}").exists() for pid in found)
    stop.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    for pid in found:
        until_ended(pid)
    assert "signal 9" in str(failure[0])


def test_what_is_stopped_before_it_begins_ends_at_once() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(ToolError, match="signal 9"):
        shell("sleep 1000", stop)


def test_no_descriptor_is_left_open() -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        shell("echo x")
        with pytest.raises(ToolError):
            command("no-such-program").run({}, Stop())
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before


# ---------------------------------------------------------------- Python functions


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of the documentation, installed by pip as its user would, into a folder of its own."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "target", source],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    return folder / "target"


def function(name: str, installed: Path) -> PythonFunction:
    path = os.pathsep.join([str(installed), *sys.path])
    return PythonFunction(name, environment={"PYTHONPATH": path}, secrets={}, apart=apart.here())


def test_the_example_package_is_a_tool(installed: Path) -> None:
    thrown = json.loads(function("throw_dice", installed).run({"count": 3, "sides": 2}, Stop()))
    assert len(thrown["thrown"]) == 3
    assert thrown["sum"] == sum(thrown["thrown"])


def test_its_exception_is_an_error_for_the_agent(installed: Path) -> None:
    with pytest.raises(ToolError, match="ValueError: dice have two sides at least"):
        function("throw_dice", installed).run({"sides": 1}, Stop())
    with pytest.raises(ToolError, match="no installed package has the entry point nothing"):
        function("nothing", installed).run({}, Stop())


NOISY = """
import subprocess, sys

def noisy(say):
    print("noise")
    sys.stderr.write("noise")
    subprocess.run(["echo", "noise"], check=True)
    return say
"""


@pytest.mark.parametrize(("value", "text"), [("ä", "ä"), ("", ""), (None, ""), (0, "0"), ([{"a": 1}], '[{"a": 1}]')])
def test_only_what_it_returns_is_the_result(tmp_path: Path, value: object, text: str) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    about = tmp_path / "noisy-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[parleyd.tools]\nnoisy = noisy:noisy\n")
    assert function("noisy", tmp_path).run({"say": value}, Stop()) == text
