"""Finds the agent's answer to one text among all events. Pure: time is an argument.

Events are those of the control socket, as mappings (docs/control.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# How long to wait for the whole text after the end of the parts; some agents send only parts.
WHOLE_S = 1.0
# A text that may be a greeting is the answer if nothing follows it for this time.
AFTER_GREETING_S = 5.0
# How long to wait for the next session if the agent was hanging up when the text came.
NEXT_SESSION_S = 1.0


class Reply:
    """step() takes every event in order, until there is an `answer`, or until_s has come: then settle().

    text: as typed. upload: the number of the file that the answer is about. until_s: the end of waiting; it may change.
    """

    def __init__(self, text: str | None, until_s: float, upload: int | None = None) -> None:
        self.answer: str | None = None
        self.until_s = until_s
        self._give_up_at_s = until_s
        self._text = text
        self._upload = upload
        self._is_told = False  # the agent has been
        self._parts = ""
        self._is_whole = False
        self._greeting: str | None = None
        self._ended: str | None = None
        self._trouble: tuple[str, str | None] | None = None
        self._is_refused = self._has_failed = False

    @property
    def has_ended(self) -> bool:
        """Whether the conversation is over without an answer."""
        return self.answer is None and self._ended is not None

    def step(self, event: Mapping[str, Any], now_s: float) -> None:
        match event["event"]:
            case "typed" if event["text"] == self._text:
                self._is_told = True
            case "file_sent" if event["upload"] == self._upload:
                self._is_told = True
            case "trouble":
                self._trouble = event["text"], event["hint"]
            case "state_changed" if event["trigger"] == "refused":
                # The error cannot pass by itself.
                self._is_refused = True
                self._trouble = self._trouble or (event["reason"], None)
                self._wait(now_s)
            case _ if not self._is_told:
                # This is an answer to somebody else, who was earlier.
                pass
            case "answer_text" if event["greeting"] and event["text"].strip():
                self._greeting = event["text"].strip()
                # Its parts may have come before, or may come now.
                self._is_whole = False
                self._wait(now_s + AFTER_GREETING_S)
            case "answer_text" if not event["corrected"] and event["text"].strip():
                self.answer = event["text"]
            case "answer_part":
                self._parts = event["text"] if event["kind"] == "start" else self._parts + event["text"]
                self._is_whole = event["kind"] == "stop" and self._parts.strip() not in ("", self._greeting)
                if self._is_whole:
                    self._wait(now_s + WHOLE_S)
                elif self._greeting is None:
                    self._wait(self._give_up_at_s)
            case "tool_called" if self._greeting is not None:
                # Something follows, and may take longer.
                self._wait(self._give_up_at_s)
            case "answer_failed" if event.get("retry_after_s") is None:
                # Nor can this one. Others are asked for again.
                self._has_failed = True
                self._trouble = event["text"], event["hint"]
                self._wait(now_s)
            case "state_changed" if event["after"] == "asleep":
                self._ended = event["reason"]
                self._wait(now_s + NEXT_SESSION_S)
            case "state_changed" if self._ended is not None:
                self._ended = None
                self._wait(self._give_up_at_s)
            case _:
                pass

    def settle(self) -> None:
        """Ends the waiting."""
        if self.answer is None:
            self.answer = self._parts if self._is_whole else self._greeting

    def why_none(self, timeout_s: float) -> tuple[str, str | None]:
        """Why there is no answer, and the hint."""
        if self._ended is not None:
            return f"the conversation ended without an answer: {self._ended}", None
        text, hint = self._trouble or ("", "see `parleyd status`")
        within = "" if self._is_refused or self._has_failed else f" within {timeout_s:g} s"
        return f"no answer{within}{f': {text}' if text else ''}", hint

    @property
    def exit_code(self) -> int:
        """The exit code of a command that gets no answer: a person has to correct something, the agent cannot answer
        now, or the time was over."""
        return os.EX_CONFIG if self._is_refused else os.EX_UNAVAILABLE if self._has_failed else os.EX_TEMPFAIL

    def _wait(self, until_s: float) -> None:
        self.until_s = min(until_s, self._give_up_at_s)
