"""`parleyd chat` as its user meets it: on a real terminal and through pipes, against the embedded agent."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pexpect
import pyte
import pytest

from parleyd.control.client import Client

AGENT = "{ears: none, first_message: 'Hi there.', replies: [{heard: hostile, say: \"a\\e[2Jb \\a漢字\"}]}"


def configuration(folder: Path, more_agent: str = "", connections: str = "") -> Path:
    scenario, config = folder / "scenario.yaml", folder / "parleyd.yaml"
    scenario.write_text(f"agent: {AGENT.removesuffix('}')}{more_agent}}}\n{connections}")
    config.write_text(
        f"provider: local\nlocal: {{scenario: {scenario}}}\naudio: off\nreconnect: {{initial_s: 0.1, max_s: 1}}\n"
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
            process.communicate(timeout=60)


class Terminal:
    """What a person sees: a terminal of 200 rows, so that nothing scrolls away. raw: all that was written."""

    def __init__(self, child: pexpect.spawn, width: int) -> None:
        self.child = child
        self.raw = ""
        self._screen = pyte.Screen(width, 200)
        self._stream = pyte.Stream(self._screen)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def type(self, text: str) -> None:
        self.child.send(text)

    def shows(self, *patterns: str) -> None:
        """Waits until all of them can be read."""
        self._until(lambda: all(re.search(pattern, self.text) for pattern in patterns), patterns)

    def waits(self, typed: str = "") -> None:
        """Waits for the prompt with this behind it, and nothing below it."""
        self._until(lambda: self._row() == f"> {typed}".rstrip() and self.text.endswith(self._row()), typed)

    def ends(self, code: int) -> None:
        with suppress(pexpect.EOF):
            while True:
                self._read()
        self.child.close()
        assert self.child.exitstatus == code, (self.child.exitstatus, self.child.signalstatus, self.text)

    def _row(self) -> str:
        return str(self._screen.display[self._screen.cursor.y]).rstrip()

    def _until(self, holds: Callable[[], bool], wanted: object) -> None:
        while not holds():
            try:
                self._read()
            except (pexpect.EOF, pexpect.TIMEOUT) as error:
                raise AssertionError(f"{wanted!r} was not shown, but\n{self.text}") from error

    def _read(self) -> None:
        more = self.child.read_nonblocking(65536, timeout=60)
        self.raw += more
        self._stream.feed(more)


@contextmanager
def terminal(
    *arguments: str, width: int = 60, program: Sequence[str] = ("-m", "parleyd", "chat"), **environment: str
) -> Iterator[Terminal]:
    child = pexpect.spawn(
        sys.executable,
        [*program, *arguments],
        dimensions=(200, width),
        encoding="utf-8",
        # pexpect's own dimensions count, not those that a test runner has left.
        env={name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm", **environment},
    )
    try:
        yield Terminal(child, width)
    finally:
        child.close(force=True)


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
    with terminal("-c", str(configuration(tmp_path, connections=drop))) as one:
        one.shows("  Hi there\\.")
        one.waits()
        one.type("tell me a story\r")
        one.shows("loudspeaker", "(?m)^  on a shelf above the kitchen table\\.")
        one.waits()
        one.type("hostile\r")
        one.shows("a \\[2Jb  漢字")
        one.type(f"/file '{tmp_path}/a picture.png' what's this?\r")
        one.shows(
            "a picture.png was sent \\(image/png, 5 KiB\\)",
            "I got a picture.png: image/png,\\s+5004 bytes. You said:\\s+what's\\s+this",
        )
        one.type("/file /nope\r")
        one.shows("cannot read /nope: No such file")
        one.type("turn on the light\r")
        one.shows('  - tool set_light {"light": "light", "on": true}', "could not do that")
        assert "\x1b[2m  - tool set_light" in one.raw
        # The line goes under the next one, and comes back with it.
        one.type("still there\r")
        one.shows("the line is back", "You said: still there")
        one.waits()
        one.child.sendeof()
        one.ends(0)
        assert one.text.count("Hi there.") == 1
    history = Path(os.environ["XDG_STATE_HOME"]) / "parleyd" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.read_text().splitlines()[:2] == ["tell me a story", "hostile"]


def test_a_history_and_a_paste_of_several_lines(tmp_path: Path) -> None:
    history = Path(os.environ["XDG_STATE_HOME"]) / "parleyd" / "chat_history"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_bytes(b"too old\n" + b"filler\n" * 998 + b"caf\xe9\nyesterday's\n")
    history.chmod(0o644)
    with terminal("-c", str(configuration(tmp_path))) as one:
        one.shows("Hi there")
        one.waits()
        one.type("\x1b[A")
        one.waits("yesterday's")
        one.type(" news\r")
        one.shows("You said: yesterday's news")
        # The end of a line within a paste sends nothing.
        one.type("\x1b[200~two\rlines\x1b[201~")
        one.shows("(?m)^> two\\n *lines")
        one.type("\r")
        one.shows("You said: two\n  lines")
        one.type("quick\x7f\x7f\x7f\x7f\x7f/quit\r")
        one.ends(0)
    kept = history.read_bytes().splitlines()
    assert (len(kept), kept[0]) == (1003, b"filler")
    assert kept[-3:] == [b"yesterday's news", b"two lines", b"/quit"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_two_terminals_a_dumb_one_and_a_command_share_a_daemon(tmp_path: Path) -> None:
    with (
        daemon(configuration(tmp_path)) as process,
        terminal() as one,
        terminal(TERM="dumb", NO_COLOR="1") as dumb,
    ):
        one.waits()
        dumb.waits()
        # In the middle of a line: what was typed stays, below what came.
        one.type("half a ")
        one.waits("half a")
        dumb.type("mine")
        dumb.waits("mine")
        assert parleyd("say", "--wait", "hello").stdout == "Hello. How can I help you?\n"
        one.shows("written elsewhere\\) hello", "How can I help you\\?")
        one.waits("half a")
        one.type("word\r")
        one.shows("You said: half a word")
        dumb.shows("written elsewhere\\) hello", "You said: half a word")
        dumb.waits("mine")
        assert "\x1b" not in dumb.raw
        dumb.child.sendintr()
        dumb.ends(130)
        one.waits()
        process.terminate()
        one.shows("the daemon has ended")
        one.ends(os.EX_UNAVAILABLE)


FLOODED = """
import contextlib, io, sys, threading
from parleyd.chat.prompt import Prompt
from parleyd.chat.screen import Screen
from parleyd.chat.talk import Talk

def flood(talk, is_over):
    number = 0
    while not is_over.is_set():
        number += 1
        talk.take({"event": "typed", "text": f"news {number}"})
        is_over.wait(0.0003)

screen = Screen(sys.stdout, colour=False)
for round in range(ROUNDS):
    is_over = threading.Event()
    with Prompt(None, lambda: screen.unfinished, colour=False) as prompt:
        talk = Talk(screen, prompt)
        thread = threading.Thread(target=flood, args=(talk, is_over))
        thread.start()
        try:
            print(f"round {round} begins", flush=True)
            talk.run(None)
        except KeyboardInterrupt:
            pass
    is_over.set()
    thread.join()
    print(f"round {round} ended", flush=True)
"""


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_ctrl_c_at_any_moment_is_not_lost_while_news_arrive(term: str) -> None:
    """In the switch between the terminal's two modes, in the middle of what is drawn, between two lines."""
    rounds = 60
    program = ["-c", FLOODED.replace("ROUNDS", str(rounds))]
    with terminal(program=program, TERM=term) as one:
        for number in range(rounds):
            one.child.expect_exact(f"round {number} begins")
            for _ in range(number % 7):
                one.child.expect_exact("news")
            if number % 3 == 2:
                one.child.send("\r")
            one.child.send("\x03") if number % 2 else one.child.kill(signal.SIGINT)
            one.child.expect_exact(f"round {number} ended", timeout=60)
        one.ends(0)


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
    with terminal(NO_COLOR="1") as one:
        one.shows("No daemon runs here; the embedded agent answers", "Hello! How can I help you\\?")
        one.waits()
        one.type("/quit\r")
        one.ends(0)
        assert not re.search(r"\x1b\[[\d;]*[1-9][\d;]*m", one.raw)


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
