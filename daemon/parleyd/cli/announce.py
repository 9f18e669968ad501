"""`parleyd announce`: speaks a text, or plays a sound, to the people in the room, without the agent."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from parleyd.cli.daemon import add_options, add_wait, connected, open_file, tell, text_of
from parleyd.control.client import Client
from parleyd.core.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "announce",
        description="Speaks a text without a conversation. While somebody speaks with the agent it waits for a pause.",
    )
    parser.add_argument("text", nargs="*", metavar="TEXT")
    parser.add_argument("--sound", type=Path, metavar="FILE", help="play this WAV file in place of a text")
    parser.add_argument("--now", action="store_true", help="do not wait for a pause: the agent becomes quieter")
    add_wait(parser, "until it has been spoken", timeout_s=120.0)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.sound is not None and args.text:
        raise UserError("either a text or a sound can be announced", "leave one of them out", os.EX_USAGE)
    text = "" if args.sound is not None else text_of(args.text)
    sound = None if args.sound is None else open_file(args.sound)
    try:
        with connected(args) as client:
            if args.wait:
                client.ask("events")
            if sound is None:
                result = client.ask("announce", text=text, now=args.now)
            else:
                result = {"announcement": client.announce_sound(sound, args.sound.name[:255], now=args.now)}
            if args.wait:
                result = _ended(client, result["announcement"], args.timeout)
            when = "as soon as it has been fetched" if args.now else "in the next pause"
            tell(args, result, "spoken" if args.wait else f"it will be spoken {when}")
    finally:
        if sound is not None:
            os.close(sound)
    return os.EX_OK


def _ended(client: Client, announcement: int, timeout_s: float) -> dict[str, Any]:
    """The last event of a text that was spoken. Raises UserError."""
    for event in client.events_until(time.monotonic() + timeout_s):
        if event["event"] == "announcement_ended" and event["announcement"] == announcement:
            if event["finished"]:
                return event
            raise UserError(f"it was not spoken to its end: {event['reason']}", event["hint"], os.EX_TEMPFAIL)
    raise UserError(f"it was not spoken within {timeout_s:g} s", "see `parleyd status`", os.EX_TEMPFAIL)
