"""docs/control.md: its clients run as they stand there, and its tables are whole."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_control_server import CONFIG, daemon, parleyd, socket_path

from listeners import addresses
from parleyd.announce import announcer
from parleyd.app.settings import Listing, Outcome, ProbationReport
from parleyd.app.settings_files import WentBack
from parleyd.cli.main import parser_for
from parleyd.control import messages
from waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "control.md").read_text()


def listing(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@contextmanager
def client(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PARLEYD_SOCKET": str(socket_path())},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.communicate()


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_clients_of_the_page(language: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c"] if language == "python" else ["sh", "-c"]
    missing = [tool for tool in ("socat", "jq") if language == "sh" and not shutil.which(tool)]
    assert not missing, f"{missing} are missing: scripts/setup test installs them"
    with daemon(tmp_path), client(*program, listing(language)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "light off\n"
        assert parleyd("wake").returncode == 0
        # connecting
        assert process.stdout.readline() == "light off\n"


def test_every_request_and_kind_of_error_is_on_the_page() -> None:
    for name in messages.NAMES:
        assert re.search(rf"^\| .*`{name}`", PAGE, re.MULTILINE), name
    sources = (Path(messages.__file__).parent).glob("*.py")
    kinds = {kind for source in sources for kind in re.findall(r'RequestError\(\s*"(\w+)"', source.read_text())}
    assert kinds
    announcements = (Path(announcer.__file__)).read_text()
    kinds |= set(re.findall(r'AnnouncementRefusedError\(\s*"(\w+)"', announcements))
    for kind in kinds | {"no_session", "bad_config", "no_voice"}:
        assert f"`{kind}`" in PAGE, kind


def test_every_field_of_the_answers_about_settings_is_on_the_page() -> None:
    for name in (name for kind in (ProbationReport, Listing, Outcome, WentBack) for name in kind.__annotations__):
        assert re.search(rf"[`\"]{name}[`\"]", PAGE), name


def test_every_command_of_the_page_that_asks_the_daemon_can_be_given_its_socket(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = PAGE.partition("## Commands\n")[2].partition("## The protocol")[0]
    # The first column; the others name commands of whatever kind.
    names = {name for row in re.findall(r"^\| (`parleyd .*?) \| ", table, re.MULTILINE)
             for name in re.findall(r"`parleyd ([a-z-]+)", row)}  # fmt: skip
    assert {"status", "transcript", "unset"} <= names
    for name in names:
        with pytest.raises(SystemExit):
            parser_for([name]).parse_args([name, "--help"])
        assert "--socket PATH" in capsys.readouterr().out, name


def test_figures_for_prometheus(tmp_path: Path) -> None:
    file = tmp_path / "parleyd.prom"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "parleyd.yaml").write_text(CONFIG + f"metrics: {{textfile: {file}, port: {port}}}\n")
    # As a unit has it; the collector is another user.
    before = os.umask(0o077)
    try:
        with daemon(tmp_path):
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
            assert addresses(port) == {"127.0.0.1"}
            served = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
            # A web page that has its own name rebound to this machine, or asks across origins, gets nothing.
            for header in ({"Host": f"evil.example:{port}"}, {"Origin": "http://evil.example"}):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=header)
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    urllib.request.urlopen(request, timeout=60)
            # It is written once while the daemon starts, and again when it is ready.
            until("it is not written again", lambda: 'state="asleep"} 1.0' in file.read_text())
            written = file.read_text()
            assert parleyd("stop").returncode == os.EX_OK
            # Else it would tell for ever how well the daemon is.
            assert not file.exists()
    finally:
        os.umask(before)
    for text in (served, written):
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families["parleyd_healthy"].samples[0].value == 1.0
        states = {sample.labels["state"]: sample.value for sample in families["parleyd_state"].samples}
        assert states == {"starting": 0.0, "asleep": 1.0, "connecting": 0.0, "live": 0.0, "backing off": 0.0}
        on_page = {
            name.removesuffix("_total"): kind
            for kind, names in re.findall(r"^\| (counter|gauge|histogram) \|(.*)\|$", PAGE, re.MULTILINE)
            for name in re.findall(r"`(parleyd_\w+)`", names)
        }
        assert {name: family.type for name, family in families.items()} == on_page
