"""`parleyd say`: sends a text to the agent, as if the person had said it."""

from __future__ import annotations

import argparse
import os
import time

from parleyd.chat.reply import Reply
from parleyd.cli.daemon import add_options, add_wait, connected, tell, text_of
from parleyd.control.client import Client
from parleyd.core.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "say",
        description="Sends a text to the agent as if the person had said it; the daemon wakes if it is asleep.",
    )
    parser.add_argument("text", nargs="+", metavar="TEXT")
    add_wait(parser, "for the agent's answer, and print it", timeout_s=60.0)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    text = text_of(args.text)
    with connected(args) as client:
        if not args.wait:
            tell(args, client.ask("say", text=text), "said to the agent; with --wait its answer is shown here")
            return os.EX_OK
        reply = Reply(text, time.monotonic() + args.timeout)
        with client.turn(reply.until_s):
            client.ask("events")
            client.ask("say", text=text)
            answer = await_answer(client, reply, args.timeout)
        tell(args, {"answer": answer}, answer)
    return os.EX_OK


def await_answer(client: Client, reply: Reply, timeout_s: float) -> str:
    """Waits for the answer. Raises UserError. timeout_s: also shown in the error."""
    while reply.answer is None:
        try:
            event = next(client.events(max(0.001, reply.until_s - time.monotonic())))
        except TimeoutError:
            reply.settle()
            break
        reply.step(event, time.monotonic())
    if reply.answer is None:
        raise UserError(*reply.why_none(timeout_s), reply.exit_code)
    return reply.answer
