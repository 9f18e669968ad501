"""A conversation through a pipe: a message per line, an answer per line."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterable
from typing import TextIO

from parleyd.chat.link import Event, Link, LinkError, unsayable
from parleyd.chat.reply import Reply
from parleyd.core.text import printable


class NoAnswerError(Exception):
    """There is no answer. exit_code: of the command."""

    def __init__(self, text: str, exit_code: int = os.EX_TEMPFAIL) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class BadLineError(Exception):
    """A line is not a message."""


class Pipe:
    """take() is for the link, from any thread. timeout_s: for each answer."""

    def __init__(self, out: TextIO, timeout_s: float) -> None:
        self._out = out
        self._timeout_s = timeout_s
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def take(self, event: Event) -> None:
        self._events.put(event)

    def run(self, lines: Iterable[str], link: Link) -> None:
        """Raises NoAnswerError and BadLineError."""
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text:
                continue
            if why := unsayable(text):
                raise BadLineError(f"line {number} {why}")
            reply = self._ask(text, link)
            if reply.has_ended:
                # The agent was hanging up when the text came; the next session answers it.
                reply = self._ask(text, link)
            if reply.answer is None:
                raise NoAnswerError("; ".join(filter(None, reply.why_none(self._timeout_s))), reply.exit_code)
            print(" ".join(printable(reply.answer).split()), file=self._out, flush=True)

    def _ask(self, text: str, link: Link) -> Reply:
        until_s = time.monotonic() + self._timeout_s
        try:
            with link.turn(until_s):
                # Earlier events are not answers to the next text.
                while not self._events.empty():
                    self._events.get_nowait()
                link.say(text)
                return self._await(Reply(text, until_s))
        except LinkError as error:
            raise NoAnswerError(str(error)) from error

    def _await(self, reply: Reply) -> Reply:
        while reply.answer is None:
            try:
                event = self._events.get(timeout=max(0.0, reply.until_s - time.monotonic()))
            except queue.Empty:
                reply.settle()
                break
            if event["event"] == "gone":
                raise NoAnswerError(event["text"])
            reply.step(event, time.monotonic())
        return reply
