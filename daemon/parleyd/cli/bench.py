"""`parleyd bench`: measures on this board what the daemon costs, with its own sound devices; prints a line to paste."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from parleyd.board import facts
from parleyd.board.row import Figures, page, row
from parleyd.checks.configuration import load_for_sound
from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of
from parleyd.cli.daemon import seconds
from parleyd.cli.terminal import rows, show, terminal_width
from parleyd.config.nodes import dump
from parleyd.config.schema import Audio
from parleyd.control.client import Client, NotRunningError
from parleyd.core.errors import UserError
from parleyd.host.directories import config_path
from parleyd.host.subprocesses import await_end

# The delay before the measurement: until the devices are open, and a speaker without sound has been closed again.
SETTLE_S = 15.0
# A slow machine is measured as well, and not given up.
READY_S, LIVE_S = 300.0, 300.0
STOP_S = 30.0
STORY_S = 15.0
# The embedded agent's answer to it is long enough to be measured.
ORDER = "Tell me a long story."
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "bench",
        description="Starts a daemon of its own with the configured sound devices and the embedded agent, measures for "
        "two minutes what it costs, and prints that, and as a line for the table in docs/measurements/boards.md. It "
        "needs no key and no network. Be quiet meanwhile; at the end the agent tells a story.",
    )
    add_config(parser)
    parser.add_argument(
        "--seconds", type=seconds, default=30.0, metavar="SECONDS", help="for each state; default: %(default)g"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with contextlib.suppress(NotRunningError), Client():
        hint = "stop it for as long: sudo systemctl stop parleyd (a user's: systemctl --user stop parleyd)"
        raise UserError("a daemon runs here, which would be measured as well and holds the devices", hint)
    audio = _audio(args.config)
    settle_s = min(SETTLE_S, args.seconds)
    before_c = facts.temperature_c()
    with _daemon(audio) as (process, control, start_ms):
        cpu = {}
        _say(args, f"1 of 3: asleep, {settle_s + args.seconds:.0f} s; be quiet")
        time.sleep(settle_s)
        cpu["asleep"] = _share(process.pid, args.seconds)
        if _status(control)["state"] != "asleep":
            text = "somebody spoke, and the daemon woke: nothing was measured"
            raise UserError(text, "try again in a quiet room", os.EX_TEMPFAIL)
        wake_ms = _wake(control)
        _say(args, f"2 of 3: in a session where nobody speaks, {settle_s + args.seconds:.0f} s")
        time.sleep(settle_s)
        cpu["live"] = _share(process.pid, args.seconds)
        story_s = min(args.seconds, STORY_S)
        _say(args, f"3 of 3: the agent tells a story, {story_s:.0f} s")
        with Client(control) as client:
            client.ask("events")
            client.ask("say", text=ORDER)
            _await(client, "answer_started")
        cpu["agent talks"] = _share(process.pid, story_s)
        status = _status(control)
        figures = Figures(
            model=facts.model(),
            system=facts.system(),
            microphone=status["microphone"]["name"],
            speaker=status["speaker"]["name"],
            packages=facts.packages(),
            cpu=cpu,
            rss_mib=_resident_mib(process.pid),
            start_ms=start_ms,
            wake_ms=wake_ms,
            xruns=(status["microphone"]["overflows"], status["speaker"]["underruns"]),
            temperature_c=(before_c, facts.temperature_c()),
        )
    if args.json:
        print(json.dumps(asdict(figures), ensure_ascii=False))
    else:
        _print(figures)
    return os.EX_OK


def _print(figures: Figures) -> None:
    print()
    for heading, words in page(figures):
        print("\n".join(rows(words, terminal_width(), lead=f"{heading:<13}", indent=" " * 13)))
    print()
    show("The line for the table in docs/measurements/boards.md of the sources:")
    # To be copied, so it is not wrapped.
    print(row(figures))


def _say(args: argparse.Namespace, words: str) -> None:
    if not args.json:
        show(words)


def _audio(path: Path) -> Audio:
    """The section `audio` of the configuration; the defaults if there is no file. Raises UserError."""
    if not path.exists() and path == config_path():
        return Audio()
    audio = config_of(path, load_for_sound).audio
    if audio.mode == "off":
        raise UserError(f"{path} has no sound (audio.mode: off)", "name another file with -c", os.EX_CONFIG)
    return audio


@contextlib.contextmanager
def _daemon(audio: Audio) -> Iterator[tuple[subprocess.Popen[bytes], Path, float]]:
    """Yields the process, its control socket, and the milliseconds until it was READY. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="parleyd-bench-") as name, socket.socket(socket.AF_UNIX, 2) as told:
        folder = Path(name)
        told.bind(str(folder / "notify"))
        told.settimeout(READY_S)
        config = {
            "provider": "local",
            "audio": msgspec.to_builtins(audio),
            # Neither a pause nor a noise may end the session while it is measured.
            "session": {"idle_timeout_s": 3600, "false_wake_s": 3600},
            "control": {"socket": str(folder / "control.sock")},
            "log": {"level": "error"},
        }
        (folder / "parleyd.yaml").write_text(dump(config))
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "STATE_DIRECTORY": name, "RUNTIME_DIRECTORY": name}
        began_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "parleyd", "run", "-c", str(folder / "parleyd.yaml")], env=os.environ | environment
        )
        try:
            _await_ready(told, process)
            start_ms = 1000 * (time.monotonic() - began_s)
            # A full socket that nobody reads would hold up the daemon when it says that it stops.
            told.close()
            yield process, folder / "control.sock", start_ms
        finally:
            process.terminate()
            await_end(process, STOP_S)


def _await_ready(told: socket.socket, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + READY_S
    told.settimeout(0.5)
    while process.poll() is None and time.monotonic() < until_s:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in told.recv(65536):
                return
    # It has said why on standard error, which is this program's, too.
    raise UserError("the daemon does not start with these devices", "parleyd doctor finds out why")


def _status(control: Path) -> dict[str, Any]:
    """Asks on a connection of its own, because the daemon closes one on which nothing is asked for 30 s."""
    with Client(control) as client:
        return client.ask("status")


def _wake(control: Path) -> float:
    """Returns the milliseconds from the order to the open session. Raises UserError."""
    with Client(control) as client:
        client.ask("wake")
    until_s = time.monotonic() + LIVE_S
    while time.monotonic() < until_s:
        measured = _status(control)["metrics"]["wake_to_live"]
        if measured["count"]:
            return float(measured["last_ms"])
        time.sleep(0.1)
    raise UserError(f"the embedded agent opens no session within {LIVE_S:g} s", "parleyd doctor finds out why")


def _await(client: Client, name: str) -> None:
    if not any(event["event"] == name for event in client.events_until(time.monotonic() + LIVE_S)):
        raise UserError(f"the embedded agent does not answer within {LIVE_S:g} s", "parleyd doctor finds out why")


def _share(pid: int, for_s: float) -> float:
    """The share of one core that the process takes from now on, ended threads as well: clock_getcpuclockid(3)."""
    clock = (~pid << 3) | 2
    began_s, used_s = time.monotonic(), time.clock_gettime(clock)
    time.sleep(for_s)
    return (time.clock_gettime(clock) - used_s) / (time.monotonic() - began_s)


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20
