"""Every page at 40, 80 and 200 columns and in a pipe: no line is wider than the terminal, and no word is cut.

The commands run in this process, on a real terminal (a pty), against a real daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from parleyd.board.row import HEAD
from parleyd.chat.wrap import columns
from parleyd.cli.commands import COMMANDS
from parleyd.cli.main import main

WIDTHS = [40, 80, 200]
HELP = [
    (),
    ("help",),
    *((name, "--help") for name in COMMANDS),
    ("help", "tools", "run"),
    ("help", "platform", "apply"),
]
# Commands of dialogues, whose tests are at the end of this file.
ASKING = {"secret", "report", "agent", "bench"}
# Commands whose own tests look at the width of what they show while they run.
# (`check --all` prints YAML, whose lines are not wrapped.)
ELSEWHERE = {"demo", "setup"}
DAEMON = [
    ("status",),
    ("status", "--all"),
    ("events",),
    ("wake",),
    ("sleep",),
    ("mute",),
    ("status",),
    ("unmute",),
    ("volume",),
    ("volume", "0"),
    ("status",),
    ("volume", "40"),
    ("profile",),
    ("announce", "Dinner"),
    ("say", "hello"),
    ("context", "the window is open"),
    ("send-file", "none.pdf"),
    ("activity",),
    ("feedback", "like"),
    ("approve",),
    ("approve", "17"),
    ("deny",),
    ("reload",),
    ("transcript",),
    ("transcript", "--since", "1s"),
    ("usage",),
    ("settings",),
    ("settings", "--all"),
    ("set", "gate.hangover_ms", "50"),
    ("unset", "gate.hangover_ms"),
    ("look",),
]
ALONE = [
    ("statsu",),
    ("volume", "0.5"),
    ("volume", "loud"),
    ("status", "--socket", "none.sock"),
    ("stop", "--socket", "none.sock"),
    ("transcript", "-c", "good.yaml"),
    ("check", "-c", "good.yaml"),
    ("check", "-c", "warned.yaml"),
    ("check", "-c", "bad.yaml"),
    ("run", "-c", "bad.yaml"),
    ("button", "-c", "good.yaml"),
    ("chat", "-c", "bad.yaml"),
    ("devices",),
    ("tools", "-c", "good.yaml"),
    ("tools", "-c", "warned.yaml"),
    ("tools", "run", "-c", "good.yaml", "nothing"),
    ("tune", "--wav", "said.wav", "-c", "good.yaml"),
    ("tune", "-c", "good.yaml"),
    ("conversations", "-c", "bad.yaml"),
    ("conversations", "-c", "good.yaml"),
    ("platform", "plan", "-c", "good.yaml"),
    ("doctor", "-c", "good.yaml"),
    ("mqtt", "-c", "good.yaml"),
    ("wyoming", "-c", "good.yaml"),
]
GOOD = """
provider: local
audio: {input: {device: "wav:none.wav"}, output: {device: "null"}}
wake: {mode: manual}
transcript: {enabled: true}
quiet_hours: [{from: "00:00", to: "23:59"}]
profiles:
  night: {settings: {audio: {output: {volume: 0.3}}}}
tools: {built_in: [set_volume, set_timer]}
"""
RUNNING = GOOD.replace("provider: local", 'elevenlabs: {agent_id: agent_1, base_url: "http://127.0.0.1:9"}').replace(
    "wav:none.wav", "null"
)
WARNED = (
    GOOD
    + """
gate: {vad: silero}
hooks: [{on: [heard], run: [no-such-program]}]
"""
)
BAD = """
elevenlabs: {agent_id: agent_1, base_url: "http://elsewhere.example", agent: 3}
gate: {hangover: 500, pre_roll_ms: soon}
"""


class Terminal:
    """What the command prints, on a pty of this width; None: into a pipe."""

    def __init__(self, width: int | None) -> None:
        self._width = width

    def __call__(self, *arguments: str) -> str:
        ours, its = os.openpty() if self._width is not None else os.pipe()
        if self._width is not None:
            fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._width, 0, 0))
        pieces: list[bytes] = []

        def read() -> None:
            # A pty ends with an error.
            with contextlib.suppress(OSError):
                while piece := os.read(ours, 65536):
                    pieces.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        before = {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__")}
        with io.TextIOWrapper(io.FileIO(its, "w"), encoding="utf-8", line_buffering=True) as stream:
            for name in before:
                setattr(sys, name, stream)
            try:
                main(arguments)
            finally:
                for name, old in before.items():
                    setattr(sys, name, old)
        reader.join(60)
        os.close(ours)
        text = b"".join(pieces).decode().replace("\r\n", "\n")
        # A line that was erased again is not seen.
        return re.sub(r"[^\n]*\r\x1b\[K|\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        (tmp_path / f"{name}.yaml").write_text(text)
    with wave.open("said.wav", "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(96_000))
    number: int = request.param
    return number


def words(text: str) -> set[str]:
    """Without those that the time, or a drawn bar, changes."""
    return {word for word in text.split() if not re.search(r"[0-9#|]|\.\.\.", word)}


def assert_fits(arguments: tuple[str, ...], shown: str, whole: str, width: int) -> None:
    for line in shown.split("\n"):
        longest = max(map(columns, line.split()), default=0)
        # A path or a command that is longer than a line is not cut: it can be copied.
        fits = columns(line) <= width or longest + 8 > width or (width == 40 and longest > 22)
        assert fits, f"parleyd {' '.join(arguments)} at {width} columns: {line}"
    cut = words(shown) - words(whole)
    assert not cut, f"parleyd {' '.join(arguments)} at {width} columns cuts words: {cut}"


def test_no_command_is_forgotten() -> None:
    shown = {arguments[0] for arguments in (*DAEMON, *ALONE)}
    assert COMMANDS.keys() - shown - ASKING - ELSEWHERE == set()


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_the_help(arguments: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal(width)(*arguments)
    monkeypatch.setenv("COLUMNS", "1000")
    assert_fits(arguments, shown, Terminal(None)(*arguments), width)


@pytest.mark.parametrize("arguments", ALONE, ids=" ".join)
def test_pages_without_a_daemon(arguments: tuple[str, ...], width: int) -> None:
    assert_fits(arguments, Terminal(width)(*arguments), Terminal(None)(*arguments), width)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(tmp_path / "daemon.yaml")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        assert any("runs; provider" in line for line in lines), "the daemon did not start"
        yield
        process.terminate()
        # So that it is never stuck at a full pipe.
        list(lines)


def test_pages_of_a_daemon(width: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "daemon.yaml").write_text(RUNNING)
    request.getfixturevalue("daemon")
    for arguments in DAEMON:
        # The daemon lives on: an underrun is counted, a state changes. A word that is cut is cut each time.
        for _ in range(5):
            before = Terminal(None)(*arguments)
            shown = Terminal(width)(*arguments)
            # The state that the events begin with changes.
            whole = shown if arguments[0] == "events" else f"{Terminal(None)(*arguments)}\n{before}"
            if not words(shown) - words(whole):
                break
        assert_fits(arguments, shown, whole, width)


def test_the_end_of_a_daemon(width: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "daemon.yaml").write_text(RUNNING)
    request.getfixturevalue("daemon")
    assert_fits(("stop",), Terminal(width)("stop"), "stopped", width)


# ---------------------------------------------------------------- commands that ask, or that run for long


@contextlib.contextmanager
def typing(width: int, *arguments: str) -> Iterator[pexpect.spawn[str]]:
    """The command as a process on a terminal of its own, at which somebody types."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "parleyd", *arguments],
        dimensions=(50, width),
        encoding="utf-8",
        timeout=60,
        # Without LINES and COLUMNS, which readline has put into this process's own environment.
        env=dict(os.environ),
    )
    try:
        yield child
    finally:
        child.close(force=True)


def into_a_pipe(*arguments: str, said: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments], input=said, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == os.EX_OK, done.stderr
    return done.stdout + done.stderr


def seen(child: pexpect.spawn[str]) -> str:
    assert child.before is not None
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", child.before).replace("\r\n", "\n")


@pytest.mark.parametrize("name", ["elevenlabs", "mqtt", "another"])
def test_a_key_is_asked_for_and_stored(width: int, name: str) -> None:
    key = f"sk_{'0a' * 24}"
    arguments = ("secret", name, "--file", "key")
    with typing(width, *arguments) as child:
        child.expect(r"shown\):")
        asked = f"{seen(child)}shown):"
        child.sendline(key)
        child.expect(pexpect.EOF)
        stored = seen(child)
    question = f"Paste the key {name} (what you type is not shown):"
    assert_fits(arguments, asked, question, width)
    assert_fits(arguments, stored, into_a_pipe(*arguments, said=key), width)
    assert "stored in" in stored


def test_a_report_before_it_is_written(width: int) -> None:
    arguments = ("report", "--no-doctor", "-c", "good.yaml", "-o", "report.tar.gz")
    whole = into_a_pipe(*arguments, "--yes")
    Path("report.tar.gz").unlink()
    shown_whole = into_a_pipe(*arguments, "--show")
    question = "Write it? [y]es, [n]o, or the name of a file to read it:"
    with typing(width, *arguments) as child:
        child.expect(r"read\s+it: ")
        listed = f"{seen(child)}it:"
        child.sendline("nothing")
        child.expect(r"read\s+it: ")
        refused = f"{seen(child)}it:"
        child.sendline("about.txt")
        child.expect(r"read\s+it: ")
        # What is in a file is shown as it is there; it begins with the version.
        heading = seen(child).partition("\nparleyd ")[0]
        child.sendline("no")
        child.expect(pexpect.EOF)
    names = re.findall(r"^ +(\S+\.\w+) ", whole, re.MULTILINE)
    told = f"nothing There is no nothing; there are: {', '.join(names)}"
    assert_fits(arguments, listed, f"{whole} {question}", width)
    assert_fits(arguments, refused, f"{told} {question}", width)
    assert_fits(arguments, heading, f"about.txt ==== {whole} {shown_whole}", width)
    assert not Path("report.tar.gz").exists()


def test_the_first_lines_of_the_agent(width: int) -> None:
    arguments = ("agent", "--port", "0", "--ears", "none", "--quit-with-stdin")
    with typing(width, *arguments[:-1]) as child:
        child.expect("/v1\r\n")
        shown = f"{seen(child)}/v1\n"
    assert_fits(arguments, shown, into_a_pipe(*arguments), width)


def test_a_measurement(width: int) -> None:
    Path("bench.yaml").write_text('provider: local\naudio: {input: {device: "null"}, output: {device: "null"}}\n')
    shown = Terminal(width)("bench", "--seconds", "0.1", "-c", "bench.yaml")
    # The line to be copied is never wrapped.
    lines, _, line = shown.rstrip("\n").rpartition("\n")
    assert line.startswith("| ")
    assert line.count("|") == HEAD.count("|")
    whole = into_a_pipe("bench", "--seconds", "0.1", "-c", "bench.yaml")
    # Words, not figures, of which no two runs have the same.
    assert_fits(("bench",), re.sub(r"\d+(\.\d+)?", "N", lines), re.sub(r"\d+(\.\d+)?", "N", whole), width)
