"""`parleyd look`: takes a picture with the camera, and shows it to the agent."""

from __future__ import annotations

import argparse
import contextlib
import os
import time

from parleyd.chat.reply import Reply
from parleyd.cli.daemon import add_options, add_wait, connected, tell, text_of
from parleyd.cli.say import await_answer
from parleyd.cli.send_file import await_sent


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "look",
        description="Takes a picture with the camera (camera.command in the configuration) and sends it into the "
        "conversation; the daemon wakes if it is asleep. Nothing is taken while the device is muted.",
    )
    parser.add_argument("text", nargs="*", metavar="TEXT", help="a text about it, such as: what is on the table?")
    add_wait(parser, "for the agent's answer, and print it", timeout_s=90.0)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = text_of(args.text) if args.text else None
    until_s = time.monotonic() + args.timeout
    with connected(args) as client, client.turn(until_s) if args.wait else contextlib.nullcontext():
        client.ask("events")
        upload = int(client.ask("look", text=text)["upload"])
        reply = Reply(text, until_s, upload)
        sent = await_sent(client, upload, reply)
        if args.wait:
            sent["answer"] = await_answer(client, reply, args.timeout)
        tell(args, sent, sent.get("answer", ""))
    return os.EX_OK
