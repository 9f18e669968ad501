"""`parleyd say`: a text to the agent, as if the person had said it."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from parleyd.cli.daemon import add_options, connected, text_of
from parleyd.cli.errors import CommandError
from parleyd.control.client import Client

# What may be a greeting was the answer after all, when nothing follows it for so long.
AFTER_GREETING_S = 5.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "say",
        help="say something to the agent in writing",
        description="Sends a text to the agent as if the person had said it; the daemon wakes if it is asleep.",
    )
    parser.add_argument("text", nargs="+", metavar="TEXT")
    parser.add_argument("--wait", action="store_true", help="wait for the agent's answer and print it")
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="for the answer; default: %(default)g"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = text_of(args.text)
    with connected(args) as client:
        if args.wait:
            client.ask("events")
        result = client.ask("say", text=text)
        answer = await_answer(client, args.timeout, text) if args.wait else None
    if args.json:
        print(json.dumps(result if answer is None else {"answer": answer}, ensure_ascii=False))
    elif answer is not None:
        print(answer)
    return os.EX_OK


def await_answer(client: Client, timeout_s: float, said: str | None = None) -> str:
    """The first whole text of the agent after ours. said: what is still to come back as our words, so that an answer to
    somebody else who was quicker is none to us. Raises CommandError."""
    until_s = time.monotonic() + timeout_s
    trouble: dict[str, Any] = {}
    greeting: str | None = None
    while (left_s := until_s - time.monotonic()) > 0:
        try:
            event = next(client.events(left_s))
        except TimeoutError:
            break
        match event["event"]:
            case "typed" if event["text"] == said:
                said = None
            case "answer_text" if said is None and event["greeting"]:
                greeting = str(event["text"])
                until_s = min(until_s, time.monotonic() + AFTER_GREETING_S)
            case "answer_text" if said is None and not event["corrected"]:
                return str(event["text"])
            case "trouble":
                trouble = event
    if greeting is not None:
        return greeting
    text = f"no answer within {timeout_s:g} s"
    if trouble:
        raise CommandError(f"{text}: {trouble['text']}", trouble["mend"], os.EX_TEMPFAIL)
    raise CommandError(text, "see `parleyd status`", os.EX_TEMPFAIL)


def seconds(text: str) -> float:
    """For argparse: above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
