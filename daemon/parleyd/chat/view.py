"""Selects the daemon's events that a person in a conversation wants to see. Pure.

Events are those of the control socket, as mappings (docs/control.md).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from parleyd.core.text import name_text, question, settled

MOST_PARAMETERS_CHARS = 80


@dataclass(frozen=True, slots=True)
class Piece:
    """begin, text, end: an answer piece by piece. said: by the person, elsewhere. note, trouble: one line about the
    conversation. over: the conversation has ended for good."""

    kind: Literal["begin", "text", "end", "said", "note", "trouble", "over"]
    text: str = ""


class View:
    """Takes every event in order. An answer that was streamed is not shown again when its whole text comes."""

    def __init__(self) -> None:
        self._own: deque[str] = deque(maxlen=20)
        self._part_of: object = None
        self._is_open = False
        self._is_hidden = False  # the whole text was shown before its parts came
        self._streamed = ""
        self._whole = ""
        self._is_down = False

    def said(self, text: str) -> None:
        """The person has typed this text here; the daemon's event for it is not shown again."""
        self._own.append(text)
        self._streamed = self._whole = ""

    def take(self, event: Mapping[str, Any]) -> list[Piece]:
        match event["event"]:
            case "answer_part":
                return self._part(event)
            case "answer_text":
                return self._text(event)
            case "typed" if event["text"] in self._own:
                self._own.remove(event["text"])
                return []
            case "typed":
                return [*self._close(), Piece("said", f"(written elsewhere) {event['text']}")]
            case "heard" if event["final"] and event["text"].strip():
                return [*self._close(), Piece("said", f"(spoken) {event['text']}")]
            case "tool_called":
                parameters = json.dumps(event.get("parameters"), ensure_ascii=False)
                return [*self._close(), Piece("note", f"tool {name_text(event['name'])} {_cut(parameters)}")]
            case "tool_ended" if event["fault"]:
                return [*self._close(), Piece("note", f"tool {name_text(event['name'])}: {event['fault']}")]
            case "approval_wanted":
                order = f"parleyd approve {event['approval']}, or deny"
                return [*self._close(), Piece("note", f"may the agent call {question(event)}? {order}")]
            case "confirmation_wanted":
                order = f"parleyd approve {event['approval']}, or deny"
                return [*self._close(), Piece("note", f"may the agent run {question(event)} here? {order}")]
            case "confirmation_settled":
                return [*self._close(), Piece("note", settled(event["name"], event["by"], allowed=event["allowed"]))]
            case "trouble":
                self._is_down = True
                hint = f"; {event['hint']}" if event.get("hint") else ""
                return [*self._close(), Piece("trouble", f"{event['text']}{hint}")]
            case "answer_failed" | "answer_incomplete":
                hint = f"; {event['hint']}" if event.get("hint") else ""
                return [*self._close(), Piece("trouble", f"{event['text']}{hint}")]
            case "state_changed":
                return self._state(event)
            case "file_sent":
                size = _size(event["size_bytes"])
                return [*self._close(), Piece("note", f"{event['name']} was sent ({event['media_type']}, {size})")]
            case "file_failed":
                return [*self._close(), Piece("trouble", f"{event['text']}; {event['hint']}")]
            case "gone":
                return [*self._close(), Piece("over", event["text"])]
            case _:
                return []

    def _part(self, event: Mapping[str, Any]) -> list[Piece]:
        pieces: list[Piece] = []
        if event["kind"] == "start" or not self._is_open or event["part_of"] != self._part_of:
            if event["kind"] == "stop" and not self._is_open:
                return []
            pieces += self._close()
            self._is_open, self._part_of, self._streamed = True, event["part_of"], ""
            self._is_hidden = bool(self._whole)
            if not self._is_hidden:
                pieces.append(Piece("begin"))
        if event["text"]:
            self._streamed += event["text"]
            if not self._is_hidden:
                pieces.append(Piece("text", event["text"]))
            elif not _plain(self._whole).startswith(_plain(self._streamed)):
                # It is another answer.
                self._is_hidden = False
                pieces += [Piece("begin"), Piece("text", self._streamed)]
        if event["kind"] == "stop":
            pieces += self._close()
            self._whole = ""
        return pieces

    def _text(self, event: Mapping[str, Any]) -> list[Piece]:
        text = event["text"]
        if not text.strip():
            return []
        if event["corrected"]:
            return [*self._close(), Piece("note", f"interrupted after: {text}")]
        if self._is_open:
            # Its parts have shown it.
            return []
        if _plain(text) == _plain(self._streamed):
            self._streamed = ""
            return []
        self._whole = text
        return [Piece("begin"), Piece("text", text), Piece("end")]

    def _state(self, event: Mapping[str, Any]) -> list[Piece]:
        match event["after"]:
            case "live" if self._is_down:
                self._is_down = False
                return [Piece("note", "the line is back")]
            case "asleep":
                self._is_down = False
                return [*self._close(), Piece("note", f"the conversation has ended: {event['reason']}")]
            case "backing off":
                return self._close()
            case _:
                return []

    def _close(self) -> list[Piece]:
        was_shown, self._is_open = self._is_open and not self._is_hidden, False
        return [Piece("end")] if was_shown else []


def _plain(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= MOST_PARAMETERS_CHARS else text[: MOST_PARAMETERS_CHARS - 3] + "..."


def _size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    kib = size_bytes / 1024
    return f"{kib:.0f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"
