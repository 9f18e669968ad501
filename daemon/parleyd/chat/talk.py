"""A conversation at a terminal: the prompt waits for the person, the screen for the agent, and each makes room."""

from __future__ import annotations

import os
import queue
import time
from pathlib import Path

from parleyd.chat.link import Event, Link, LinkError, unsayable
from parleyd.chat.prompt import Prompt, without_echo
from parleyd.chat.screen import Screen
from parleyd.chat.view import Piece, View
from parleyd.host.files import open_regular

# So long an answer may take to begin before the prompt comes back; it may come later all the same.
BEGIN_S = 2.0
# An answer that has begun and does not go on for so long is left as it is.
STALL_S = 10.0
HELP = (
    "/file PATH [TEXT]  shows the agent a file",
    "/quit              ends, as Ctrl-D does",
    "//...              a message that begins with a slash",
)


class Talk:
    """take() is for the link, from any thread; run() for the main one."""

    def __init__(self, screen: Screen, prompt: Prompt) -> None:
        self._screen = screen
        self._prompt = prompt
        self._view = View()
        self._pieces: queue.SimpleQueue[list[Piece]] = queue.SimpleQueue()

    def take(self, event: Event) -> None:
        pieces = self._view.take(event)
        if pieces:
            self._pieces.put(pieces)
            self._prompt.nudge()

    def run(self, link: Link) -> bool:
        """Until the person has enough; False when the agent is out of reach. Raises KeyboardInterrupt."""
        while True:
            with without_echo():
                if not self._show_waiting():
                    return False
            try:
                line = self._prompt.ask(lambda: not self._pieces.empty())
            except EOFError:
                self._screen.write("\n")
                return True
            if line is None or not line.strip():
                continue
            if line.strip() == "/quit":
                return True
            if self._do(line.strip(), link):
                with without_echo():
                    if not self._show_waiting(BEGIN_S):
                        return False

    def _show_waiting(self, begin_s: float = 0.0) -> bool:
        """All that has come, and an answer that has begun to its end. begin_s: for its beginning. → go on?"""
        until_s = time.monotonic() + begin_s
        while True:
            left_s = STALL_S if self._screen.in_answer else max(0.0, until_s - time.monotonic())
            try:
                pieces = self._pieces.get(timeout=left_s) if left_s else self._pieces.get_nowait()
            except queue.Empty:
                self._screen.show([Piece("end")])
                return True
            self._screen.show(pieces)
            if any(piece.kind == "over" for piece in pieces):
                return False
            if any(piece.kind == "end" for piece in pieces):
                until_s = 0.0

    def _do(self, line: str, link: Link) -> bool:
        """→ whether the agent will answer."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._order(line, link)
            text = line.removeprefix("/") if line.startswith("//") else line
            if why := unsayable(text):
                raise LinkError(f"this {why}")
            self._view.said(text)
            link.say(text)
        except LinkError as error:
            self._screen.show([Piece("trouble", str(error))])
            return False
        return True

    def _order(self, line: str, link: Link) -> bool:
        name, _, rest = line.partition(" ")
        if name != "/file":
            if name != "/help":
                self._screen.note(f"there is no {name}; a message may begin with // instead")
            for one in HELP:
                self._screen.write(f"  {one}\n")
            return False
        path, text = _path_and_text(rest.strip())
        try:
            descriptor = open_regular(Path(path).expanduser())
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a usable path"
            raise LinkError(f"cannot read {path}: {reason}") from error
        try:
            if text is not None:
                self._view.said(text)
            link.send_file(descriptor, Path(path).name, text)
        finally:
            os.close(descriptor)
        return True


def _path_and_text(rest: str) -> tuple[str, str | None]:
    """Only the path may be in quotes: a text has apostrophes of its own. Raises LinkError."""
    quote = rest[:1] if rest[:1] in ("'", '"') else ""
    path, end, text = rest[1:].partition(quote) if quote else rest.partition(" ")
    if not path or (quote and not end):
        raise LinkError('write /file PATH [TEXT], and a path with blanks as "A PATH"')
    return path, text.strip() or None
