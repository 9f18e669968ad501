"""The archive of a bug report: what is in it, and above all what is not."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parleyd.checks.configuration import parse
from parleyd.cli import bug_report
from parleyd.cli.bug_report import Cleaner, Part, archive
from parleyd.cli.main import main
from parleyd.config.hook_sections import Hook
from parleyd.core import events
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from parleyd.hooks.hooks import Hooks
from parleyd.host.log_lines import Entry, dated_text, entry_of, json_line, text
from waiting import until

KEY = "sk_0123456789abcdef0123"
WAIT_S = 60.0
SAID = "my sister Henrietta comes on Thursday"
TOKEN = "doorbell-token-4711"
PASSWORD = "correct-horse-battery"

CONFIG = """
elevenlabs:
  agent_id: kitchen
  base_url: {base_url}
  api_key: {key}
  agent: {{prompt: "You belong to Henrietta Quigley."}}
  dynamic_variables: {{owner: Henrietta, door_token: {token}}}
audio: off
transcript: {{enabled: true}}
tools:
  http:
    door:
      description: Opens the door.
      url: "https://door.example/open?api_key={token}"
      headers: {{Authorization: "Bearer {{secret:pass}}"}}
      secrets: {{pass: {{file: {folder}/password}}}}
log: {{level: debug}}
"""
# journald does not run in these tests: this stands for it, with the daemon's own lines.
JOURNALCTL = """#!/bin/sh
case "$*" in *--user*) exit 0 ;; esac
cat {log}
"""


def members(path: Path) -> dict[str, bytes]:
    """The name of each file without its folder, and its content."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            assert member.mode == 0o600
            content = tar.extractfile(member)
            assert content is not None
            found[member.name.partition("/")[2]] = content.read()
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a daemon with secrets and a transcript held a conversation; its log is what journalctl shows."""
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "journalctl").write_text(JOURNALCTL.format(log=tmp_path / "log"))
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parleyd(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parleyd", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)


def test_no_secret_and_nothing_that_was_said_is_in_it(place: Path) -> None:
    file = place / "c.yaml"
    with LocalAgent(AgentSettings(api_key=KEY, require_auth=True), ears=NoEars()) as agent:
        file.write_text(CONFIG.format(base_url=agent.base_url, key=KEY, token=TOKEN, folder=place))
        log = (place / "log").open("w")
        daemon = subprocess.Popen([sys.executable, "-m", "parleyd", "run", "-c", str(file)], stderr=log)
        try:
            agent_says = None
            for _ in range(200):
                said = parleyd("say", "--wait", SAID)
                if said.returncode == 0:
                    agent_says = said.stdout
                    break
            assert agent_says is not None
            assert "Henrietta" in agent_says
            done = parleyd("report", "-c", str(file), "--yes", "--json", "-o", "r.tar.gz")
            assert done.returncode == 0, done.stderr
            everything = parleyd("report", "-c", str(file), "--yes", "--no-doctor", "--words", "-o", "w.tar.gz")
            assert everything.returncode == 0, everything.stderr
        finally:
            daemon.terminate()
            daemon.wait(60)
            log.close()
    assert (place / "r.tar.gz").stat().st_mode & 0o777 == 0o600
    found = members(place / "r.tar.gz")
    assert list(found) == [
        "about.txt", "configuration.yaml", "doctor.json", "status.json", "usage.json", "log.txt",
    ]  # fmt: skip
    assert [one["name"] for one in json.loads(done.stdout)["files"]] == list(found)
    for name, content in found.items():
        text = content.decode()
        for forbidden in (KEY, TOKEN, PASSWORD, SAID, "Henrietta", "Thursday"):
            assert forbidden not in text, name
    assert "parleyd 0." in found["about.txt"].decode()
    assert json.loads(found["status.json"])["provider"] == "elevenlabs"
    assert json.loads(found["usage.json"])["today"]["minutes"] >= 0
    assert {check["name"] for check in json.loads(found["doctor.json"])["checks"]} >= {"key", "agent's fit"}
    assert "runs; provider" in found["log.txt"].decode()
    assert "agent_id: kitchen" in found["configuration.yaml"].decode()

    # Words only when they are asked for, and secrets never.
    asked = members(place / "w.tar.gz")
    assert SAID in asked["transcript.txt"].decode()
    assert "Henrietta Quigley" in asked["configuration.yaml"].decode()
    for content in asked.values():
        assert not any(secret in content.decode() for secret in (KEY, TOKEN, PASSWORD))


def test_a_configuration_that_cannot_be_used_is_no_obstacle(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "log").write_text("<6>it began\n")
    (place / "c.yaml").write_text("gate: {vad: cat}\n")
    (place / "parleyd-tune.png").write_bytes(b"\x89PNG")
    assert main(["report", "-c", "c.yaml", "--no-doctor", "--show"]) == 0
    shown = capsys.readouterr().out
    assert "it cannot be used" in shown
    assert "==== tune.png" in shown
    assert "(a picture)" in shown
    assert not list(place.glob("*.tar.gz"))


def test_a_log_that_is_cut_begins_with_a_whole_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = "22:00:00 info it runs\n"
    (place / "log").write_text(f"22:00:00 debug came: {SAID}\n{end}")
    monkeypatch.setattr(bug_report, "MOST_LOG_BYTES", len(SAID) + len(end))
    assert bug_report._log(debug=False) == bug_report._log(debug=True) == end


def test_without_anybody_to_ask_nothing_is_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--no-doctor"]) == 64
    assert "--yes writes it" in capsys.readouterr().err
    assert main(["report", "--no-doctor", "--json"]) == 64
    assert not list(place.glob("*.tar.gz"))


def test_an_archive_is_never_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "log").write_text("")
    (place / "c.yaml").write_text("provider: local\n")
    (place / "mine.tar.gz").write_text("mine")
    assert main(["report", "-c", "c.yaml", "--no-doctor", "--yes", "-o", "mine.tar.gz"]) == 73
    assert (place / "mine.tar.gz").read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the key hunter2222 was used", "the key ******** was used"),
        ("sk-proj-abcdefgh12345 and sk_abcdefgh12345", "******** and ********"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ********"),
        ("wss://h/x?agent_id=a&conversation_signature=cvtkn_1", "wss://h/x?agent_id=a&conversation_signature=********"),
        ("http://me:secret@proxy:3128", "http://********@proxy:3128"),
        ("http://me:sec@ret@proxy:3128", "http://********@proxy:3128"),
        ("Authorization: Basic YW5uYTpnZWg=", "Authorization: Basic ********"),
        ("http://c/a.cgi?usr=admin&pwd=geheim", "http://c/a.cgi?usr=admin&pwd=********"),
        ("https://f/api?code=abc&sig=d&pass=e", "https://f/api?code=********&sig=********&pass=********"),
        ("wss://h/x?language_code=de", "wss://h/x?language_code=de"),
        ("xi-api-key: 0123456789abcdef", "xi-api-key: ********"),
        ('{"xi-api-key": "0123456789abcdef"}', '{"xi-api-key": "********"}'),
        ("token eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl", "token ********"),
        ("/home/ada/x on pi-ada.local", "~/x on HOST.local"),
        ("a short one: abc", "a short one: abc"),
    ],
)
def test_what_is_masked(text: str, wanted: str) -> None:
    assert Cleaner(["hunter2222", "abc", ""], home="/home/ada", host="pi-ada")(text) == wanted


def test_a_secret_is_also_found_as_json_has_it() -> None:
    secret = 'say"friend\\and-enter'
    told = json.dumps({"reason": f"refused: {secret}"})
    assert json.loads(Cleaner([secret])(told)) == {"reason": "refused: ********"}


def test_a_plain_secret_of_the_configuration_is_found_in_every_part() -> None:
    config = parse(
        "provider: local\nmqtt: {host: h, user: u, password: hunter2plain}\nopenai: {api_key: sesame-open-1}\n"
        "hooks: [{on: [heard], command: [x], environment: {DOOR_TOKEN: doorbell-4711}}]\n",
        "p",
    ).config
    assert set(bug_report.secrets_of(config)) == {"hunter2plain", "sesame-open-1", "doorbell-4711"}


@pytest.mark.parametrize("words", [False, True])
def test_of_a_program_only_its_name_is_shown_and_of_a_header_never_its_value(words: bool) -> None:
    config = parse(
        "provider: local\ncamera: {command: [grab, 'http://c/?usr=admin']}\n"
        "hooks: [{on: [heard], command: [curl, -H, 'X-Door: open-sesame']}, {on: [woken], command: [blink]}]\n"
        "tools:\n"
        "  command: {door: {description: d, run: [curl, -u, 'anna:geheimnis']}}\n"
        "  http: {gate: {description: d, url: 'https://g.example/', headers: {X-Api: friend-and-enter}}}\n",
        "p",
    ).config
    text = bug_report.configuration(config, words=words)
    assert "X-Api: '********'" in text
    assert "friend-and-enter" not in text
    assert ("anna:geheimnis" in text) is words
    assert ("open-sesame" in text) is words
    assert ("usr=admin" in text) is words
    assert "- blink" in text
    assert ("- (1 argument)" in text, text.count("- (2 arguments)")) == ((False, 0) if words else (True, 2))


def test_texts_of_people_are_replaced_by_their_length() -> None:
    config = parse(
        "provider: openai\nopenai: {instructions: Be kind., dynamic_variables: {who: Ada}}\n"
        "elevenlabs: {overrides: {prompt: abc, keywords: [Anna]}, agent: {prompt: {file: p.txt}}}\n",
        "p",
    ).config
    text = bug_report.configuration(config, words=False)
    assert "(8 characters)" in text
    assert "Ada" not in text
    assert "Anna" not in text
    assert "file: p.txt" in text
    assert "Be kind." in bug_report.configuration(config, words=True)
    more = parse(
        "provider: local\nmqtt: {host: h, name: Ada's clock, area: Grandmother's room, user: ada, password: abcdef}\n"
        "budget: {spent_text: 'Ada, be quiet.'}\n"
        "tools: {command: {tea: {description: Makes Ada's tea., run: [tea]}}}\n",
        "p",
    ).config
    text = bug_report.configuration(more, words=False)
    assert "Ada" not in text
    assert "ada" not in text
    assert "Grandmother" not in text
    assert text.count("Ada") == 0 < bug_report.configuration(more, words=True).count("Ada")
    seen = {"microphone": {"name": "USB Audio"}, "approvals": [{"name": "pay", "description": "Pays Ada."}]}
    assert bug_report.without_words(seen) == {
        "microphone": {"name": "USB Audio"},
        "approvals": [{"name": "pay", "description": "(9 characters)"}],
    }
    called = {"confirmations": [{"name": "pay", "parameters": {"to": "Ada"}}], "timers": [{"label": "tea"}]}
    assert bug_report.without_words(called) == {
        "confirmations": [{"name": "pay", "parameters": {"to": "(3 characters)"}}],
        "timers": [{"label": "(3 characters)"}],
    }


def entry(level: int, message: str, *traceback: str, reason: str = "") -> Entry:
    return Entry(
        at_s=1e9, level=level, logger="parleyd.x", message=message, traceback=traceback, fields={"reason": reason}
    )


FAILED_HOOK = "hooks.1 (lamp (old)), run for heard, failed with code 1: {said}; fix the command"
FAILED_TOOL = "sh: The tool failed with code 1: {said}; it runs apart"


@pytest.mark.parametrize("before", ["", "2026-11-29T22:00:00+0000 parleyd[12]: "], ids=["plain", "of journald"])
@pytest.mark.parametrize("form", [dated_text, text, json_line])
def test_without_words_the_log_has_no_debug_lines_and_nothing_that_a_hook_wrote(
    form: Callable[[Entry], str], before: str
) -> None:
    entries = [
        entry(logging.INFO, 'debug is no level here: "level": "debug"'),
        entry(logging.DEBUG, f"came: {SAID}", "Traceback", f"Error: {SAID}"),
        entry(logging.WARNING, FAILED_HOOK.format(said=SAID), reason=f"failed: {SAID}"),
        entry(logging.WARNING, FAILED_TOOL.format(said=SAID)),
        entry(logging.ERROR, "it broke", "Traceback", "Error: bad"),
    ]
    lines = [before + line + "\n" for one in entries for line in form(one).split("\n")]
    told = bug_report.log_without_words(f"{before}    the end of a traceback: {SAID}\n" + "".join(lines))
    assert SAID not in told
    assert "debug is no level here" in told
    assert "run for heard, failed with code 1: (what it wrote is left out)\n" in told
    assert "The tool failed with code 1: (what it wrote is left out)\n" in told
    assert "it broke" in told
    assert "Error: bad" in told
    assert len(told.splitlines()) == (4 if form is json_line else 6)


def test_what_a_real_hook_quotes_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    bus = events.Bus()
    hook = Hook(on=["heard"], command=["/bin/sh", "-c", "cat >&2; exit 3"], timeout_s=WAIT_S)
    hooks = Hooks([hook], bus)
    hooks.start()
    try:
        bus.publish(events.Heard(at_s=time.monotonic(), text=SAID, final=True))
        until("the warning", lambda: "failed with code 3" in caplog.text)
    finally:
        hooks.begin_stop()
        hooks.end_stop()
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    for form in (dated_text, json_line):
        line = form(entry_of(warning, {}))
        assert SAID in line
        told = bug_report.log_without_words(line)
        assert SAID not in told
        assert "hooks.1 (sh), run for heard, failed with code 3: (what it wrote is left out)" in told


def test_the_archive_holds_its_parts_in_one_folder() -> None:
    packed = archive([Part("a.txt", "a", b"1"), Part("tune.png", "b", b"\x89PNG")], "report", 1e9)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["report/a.txt", "report/tune.png"]
