"""`parleyd send-file`: sends a file to the agent."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path
from typing import Any

from parleyd.chat.reply import Reply
from parleyd.cli.daemon import add_options, add_wait, connected, open_file, tell, text_of
from parleyd.cli.say import await_answer
from parleyd.control.client import Client
from parleyd.core.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "send-file",
        description="Sends a file, such as an image or a PDF, into the conversation; the daemon wakes if it is asleep.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--text", help="a text about the file, such as a question")
    add_wait(parser, "for the agent's answer, and print it", timeout_s=150.0)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = None if args.text is None else text_of([args.text])
    descriptor = open_file(args.file)
    until_s = time.monotonic() + args.timeout
    try:
        with connected(args) as client, client.turn(until_s) if args.wait else contextlib.nullcontext():
            client.ask("events")
            upload = client.send_file(descriptor, args.file.name, text)
            reply = Reply(text, until_s, upload)
            sent = await_sent(client, upload, reply)
            if args.wait:
                sent["answer"] = await_answer(client, reply, args.timeout)
            tell(args, sent, sent.get("answer", ""))
    finally:
        os.close(descriptor)
    return os.EX_OK


def await_sent(client: Client, upload: int, reply: Reply) -> dict[str, Any]:
    """Name, type and size of what was sent. Raises UserError."""
    for event in client.events_until(reply.until_s):
        reply.step(event, time.monotonic())
        if event.get("upload") != upload:
            continue
        if event["event"] == "file_sent":
            return {name: event[name] for name in ("name", "media_type", "size_bytes")}
        if event["event"] == "file_failed":
            raise UserError(event["text"], event["hint"], os.EX_UNAVAILABLE)
    raise UserError("the file is still on its way", "see `parleyd events`", os.EX_TEMPFAIL)
