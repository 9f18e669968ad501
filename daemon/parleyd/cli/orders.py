"""`parleyd wake`, `sleep`, `mute`, `unmute`, `stop`: orders to a running daemon without arguments."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from parleyd.cli.commands import SUMMARIES
from parleyd.cli.daemon import add_options, connected, tell
from parleyd.cli.terminal import show
from parleyd.core.errors import UserError
from parleyd.core.text import printable

# How long to wait for the end of the daemon. It takes about two seconds; systemd allows five.
STOP_S = 10.0

# Each order, and the message after it.
ORDERS = {
    "wake": "woken: a session is being opened",
    "sleep": "asleep: the session has ended",
    "mute": "muted: the agent hears nothing",
    "unmute": "unmuted: the agent hears the microphone again",
    "stop": "",
}


_DESCRIPTIONS = {
    "stop": "Ends the running daemon, and waits until it has ended. systemd starts a service again: stop that with "
    "systemctl.",
}


def _tells(order: str) -> str:
    return f"Tells the running daemon to {SUMMARIES[order]}."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for order in ORDERS:
        parser = subparsers.add_parser(order, description=_DESCRIPTIONS.get(order, _tells(order)))
        add_options(parser)
        if order == "wake":
            parser.add_argument("--anyway", action="store_true", help="ignore a spent budget")
        parser.set_defaults(run=_stop if order == "stop" else partial(_run, order))


def _run(order: str, args: argparse.Namespace) -> int:
    with connected(args) as client:
        done = client.ask(order, **({"anyway": True} if getattr(args, "anyway", False) else {}))
    tell(args, done, ORDERS[order])
    if warning := done.get("warning"):
        # The order is in force; the warning and the exit code tell users who rely on more.
        show(printable(f"parleyd: {warning}"), sys.stderr)
        return os.EX_IOERR
    return os.EX_OK


def _stop(args: argparse.Namespace) -> int:
    # Imported here, because the other orders never ask systemd.
    from parleyd.doctor.service import known_units, log_command

    with connected(args) as client:
        unit = next((one for one in known_units() if one.is_running and one.main_pid == client.daemon_pid), None)
        if not client.stop(STOP_S):
            text = f"the daemon was told to end, and has not within {STOP_S:g} s"
            raise UserError(text, f"see its log: {log_command(unit)}", os.EX_TEMPFAIL)
        words = "stopped"
        if unit is not None:
            words += f"; systemd starts it again. To keep it stopped: {unit.order('stop')}"
        tell(args, {}, words)
    return os.EX_OK
