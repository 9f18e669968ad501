"""A conversation through a pipe: a message per line, an answer per line."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable
from typing import TextIO

from parleyd.chat.link import Event, Link, LinkError
from parleyd.chat.wrap import printable
from parleyd.control.messages import MAX_TEXT

# From agents that send no whole texts, the end of the parts is all there is.
WHOLE_S = 1.0


class NoAnswerError(Exception):
    """The conversation does not go on."""


class Pipe:
    """take() is for the link, from any thread. timeout_s: for each answer."""

    def __init__(self, out: TextIO, timeout_s: float) -> None:
        self._out = out
        self._timeout_s = timeout_s
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._trouble = ""
        self._ended = ""

    def take(self, event: Event) -> None:
        self._events.put(event)

    def run(self, lines: Iterable[str], link: Link) -> None:
        """Raises NoAnswerError."""
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text:
                continue
            if len(text) > MAX_TEXT:
                raise NoAnswerError(f"line {number} has {len(text)} characters; {MAX_TEXT} are allowed")
            self._forget_old()
            answer = self._ask(text, link)
            if answer is None:
                # The agent was hanging up when it came; the next session is for it.
                answer = self._ask(text, link)
            if answer is None:
                raise NoAnswerError(f"the conversation ended without an answer: {self._ended}")
            print(" ".join(printable(answer).split()), file=self._out, flush=True)

    def _forget_old(self) -> None:
        """What was said before, to whomever, is no answer to what comes now."""
        while not self._events.empty():
            self._events.get_nowait()

    def _ask(self, text: str, link: Link) -> str | None:
        """None: the conversation ended first."""
        try:
            link.say(text)
        except LinkError as error:
            raise NoAnswerError(str(error)) from error
        until_s = time.monotonic() + self._timeout_s
        streamed, is_streamed, is_said = "", False, False
        while True:
            left_s = until_s - time.monotonic()
            try:
                event = self._events.get(timeout=max(0.0, left_s))
            except queue.Empty:
                if is_streamed:
                    return streamed
                why = f": {self._trouble}" if self._trouble else ""
                raise NoAnswerError(f"no answer within {self._timeout_s:g} s{why}") from None
            match event["event"]:
                case "typed" if event["text"] == text:
                    is_said = True
                case "answer_text" | "answer_part" if not is_said:
                    # To somebody else, who was quicker.
                    pass
                case "answer_text" if not event["corrected"]:
                    return str(event["text"])
                case "answer_part":
                    streamed = event["text"] if event["kind"] == "start" else streamed + event["text"]
                    if event["kind"] == "stop":
                        is_streamed = True
                        until_s = time.monotonic() + WHOLE_S
                case "trouble":
                    self._trouble = "; ".join(filter(None, (event["text"], event["mend"])))
                case "state_changed" if event["after"] == "asleep":
                    self._ended = event["reason"]
                    return None
                case "gone":
                    raise NoAnswerError(event["text"])
