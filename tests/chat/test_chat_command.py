"""`parleyd chat` as its user meets it: on a real terminal and through pipes, against the embedded agent."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from parleyd.control.client import Client

AGENT = "{ears: none, first_message: 'Hi there.', replies: [{heard: hostile, say: \"a\\e[2Jb \\a漢字\"}]}"


def configuration(folder: Path, more_agent: str = "", connections: str = "") -> Path:
    scenario, config = folder / "scenario.yaml", folder / "parleyd.yaml"
    scenario.write_text(f"agent: {AGENT.removesuffix('}')}{more_agent}}}\n{connections}")
    config.write_text(
        f"provider: local\nlocal: {{scenario: {scenario}}}\naudio: off\nreconnect: {{initial_s: 0.05, max_s: 0.2}}\n"
    )
    return config


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "parleyd", "run", "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("runs;" in line for line in process.stderr), "the daemon did not start"
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextmanager
def terminal(*arguments: str, width: int = 60, **environment: str) -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "parleyd", "chat", *arguments],
        dimensions=(24, width),
        encoding="utf-8",
        timeout=30,
        # pexpect's own dimensions count, not those that a test runner has left.
        env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm", **environment},
    )
    try:
        yield child
    finally:
        child.close(force=True)


def ends(child: pexpect.spawn, code: int) -> str:
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code, (child.exitstatus, child.signalstatus)
    return str(child.before)


def parleyd(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=80,
        errors="surrogateescape",
    )


def test_a_conversation_of_its_own_on_a_terminal(tmp_path: Path) -> None:
    drop = "connections: [{steps: [{on: message, type: user_message, nth: 4, do: drop}]}, {}]\n"
    (tmp_path / "a picture.png").write_bytes(b"\x89PNG" + bytes(5000))
    with terminal("-c", str(configuration(tmp_path, connections=drop))) as child:
        child.expect("Hi there.")
        child.expect("> ")
        child.sendline("tell me a story")
        child.expect("loudspeaker")
        child.expect("> ")
        assert max(len(line) for line in child.before.split("\r\n")) < 60
        assert "\r\n  on a shelf above the kitchen table." in child.before
        child.sendline("hostile")
        child.expect("a \\[2Jb  漢字")
        child.sendline(f"/file '{tmp_path}/a picture.png' what's this?")
        child.expect("a picture.png was sent \\(image/png, 5 KiB\\)")
        child.expect("I got a picture.png: image/png,\\s+5004 bytes. You said:\\s+what's\\s+this")
        child.sendline("/file /nope")
        child.expect("cannot read /nope: No such file")
        child.sendline("turn on the light")
        child.expect('\x1b\\[2m  - tool set_light {"light": "light", "on": true}')
        child.expect("could not do that")
        # The line goes under the next one, and comes back with it.
        child.sendline("still there")
        child.expect("the line is back")
        child.expect("You said: still there")
        child.expect("> ")
        child.sendeof()
        ends(child, 0)
    history = Path(os.environ["XDG_STATE_HOME"]) / "parleyd" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.read_text().splitlines()[:2] == ["tell me a story", "hostile"]


def test_two_terminals_a_dumb_one_and_a_command_share_a_daemon(tmp_path: Path) -> None:
    with (
        daemon(configuration(tmp_path)) as process,
        terminal() as one,
        terminal(TERM="dumb", NO_COLOR="1") as dumb,
    ):
        one.expect("> ")
        dumb.expect("> ")
        # In the middle of a line: what was typed is there again after what came.
        one.send("half a ")
        one.expect("half a ")
        assert parleyd("say", "--wait", "hello").stdout == "Hello. How can I help you?\n"
        one.expect("written elsewhere\\) hello")
        one.expect("How can I help you\\?")
        one.expect("half a ")
        one.sendline("word")
        one.expect("You said: half a word")
        dumb.expect("written elsewhere\\) hello")
        dumb.expect("You said: half a word")
        dumb.expect("> ")
        assert "\x1b" not in dumb.before
        dumb.sendintr()
        ends(dumb, 130)
        one.expect("> ")
        process.terminate()
        one.expect("the daemon has ended")
        ends(one, os.EX_UNAVAILABLE)


def test_programs_that_wait_get_the_answer_to_their_own_text(tmp_path: Path) -> None:
    with daemon(configuration(tmp_path, ", reply_delay_s: 0.05")), ThreadPoolExecutor(4) as pool:
        said = [f"number {number}" for number in range(8)]
        one = [pool.submit(parleyd, "say", "--wait", text) for text in said[:3]]
        piped = pool.submit(parleyd, "chat", stdin="\n".join(said[3:]))
        assert [done.result().stdout for done in one] == [f"You said: {text}\n" for text in said[:3]]
        assert piped.result().stdout.splitlines() == [f"You said: {text}" for text in said[3:]]
        with Client() as other, other.turn(time.monotonic() + 5):
            late = parleyd("say", "--wait", "--timeout", "0.3", "hello")
        assert late.returncode == os.EX_TEMPFAIL
        assert "another program still waits for the answer to its own text" in late.stderr


def test_what_commands_print_of_the_agents_text_steers_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "hostile.png").write_bytes(b"\x89PNG")
    with daemon(configuration(tmp_path)):
        assert parleyd("say", "--wait", "hostile").stdout == "a [2Jb  漢字\n"
        assert parleyd("say", "--wait", "--json", "hostile").stdout == '{"answer": "a\\u001b[2Jb \\u0007漢字"}\n'
        sent = parleyd("send-file", str(tmp_path / "hostile.png"), "--wait")
        assert (sent.stdout, sent.stderr) == ("I got hostile.png: image/png, 4 bytes.\n", "")
        refused = parleyd("send-file", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (os.EX_NOINPUT, "")
    assert "Is a directory; name another file" in refused.stderr


def test_who_has_no_daemon_talks_to_the_embedded_agent() -> None:
    if Path("/etc/parleyd/parleyd.yaml").exists():
        pytest.skip("this machine has a configuration")
    with terminal(NO_COLOR="1") as child:
        child.expect("No daemon runs here; the embedded agent answers")
        child.expect("Hello! How can I help you\\?")
        child.expect("> ")
        child.sendline("/quit")
        assert "\x1b[2m" not in ends(child, 0)


def test_a_message_per_line_and_an_answer_per_line(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    done = parleyd("chat", "-c", str(config), stdin="hello\n\nhostile\ngoodbye\nwhat did I say?")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "Hello. How can I help you?\na [2Jb 漢字\nGoodbye. It was nice to talk to you.\n"
        "You have not said anything before.\n"
    )
    for line, why in (("a" * 8001, "has 8001 characters; 8000 are allowed"), ("caf\udce9", "is not UTF-8")):
        done = parleyd("chat", "-c", str(config), stdin=f"hello\n{line}\n")
        assert (done.returncode, done.stdout) == (os.EX_DATAERR, "Hello. How can I help you?\n")
        assert done.stderr == f"parleyd: line 2 {why}\n"
    config.write_text('elevenlabs: {agent_id: a, base_url: "http://127.0.0.1:9"}\n')
    done = parleyd("chat", "-c", str(config), "--timeout", "1", stdin="hello\n")
    assert (done.returncode, done.stdout) == (os.EX_TEMPFAIL, "")
    assert "no answer within 1 s: no line to the agent" in done.stderr
