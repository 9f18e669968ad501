"""A conversation at a terminal: the prompt waits for the person while the agent's texts appear on the screen."""

from __future__ import annotations

import os
import queue
from pathlib import Path

from parleyd.chat.link import Event, Link, LinkError, unsayable
from parleyd.chat.prompt import Prompt
from parleyd.chat.screen import Screen
from parleyd.chat.view import Piece, View
from parleyd.host.files import open_regular

HELP = (
    "/file PATH [TEXT]  shows the agent a file",
    "/quit              ends, as Ctrl-D does",
    "//...              a message that begins with a slash",
)


class Talk:
    """take() may be called by the link from any thread; run() belongs to the main thread."""

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
        """Returns True if the person ends the chat, False if the agent is out of reach. Raises KeyboardInterrupt."""

        try:
            while True:
                try:
                    line = self._prompt.ask(self._news)
                except EOFError:
                    return True
                if line is None:
                    return False
                if line.strip() == "/quit":
                    return True
                if line.strip():
                    self._do(line.strip(), link)
        finally:
            self._screen.show([Piece("end")])

    def _news(self) -> tuple[str, bool]:
        text, is_over = "", False
        while not self._pieces.empty():
            pieces = self._pieces.get()
            text += self._screen.lines(pieces)
            is_over |= any(piece.kind == "over" for piece in pieces)
        return text, is_over

    def _do(self, line: str, link: Link) -> None:
        try:
            if line.startswith("/") and not line.startswith("//"):
                self._order(line, link)
                return
            text = line.removeprefix("/") if line.startswith("//") else line
            if why := unsayable(text):
                raise LinkError(f"this {why}")
            self._view.said(text)
            link.say(text)
        except LinkError as error:
            self._screen.show([Piece("trouble", str(error))])

    def _order(self, line: str, link: Link) -> None:
        name, _, rest = line.partition(" ")
        if name != "/file":
            if name != "/help":
                self._screen.note(f"there is no {name}; a message may begin with // instead")
            for one in HELP:
                self._screen.write(f"  {one}\n")
            return
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


def _path_and_text(rest: str) -> tuple[str, str | None]:
    """Splits the line. Only the path may be in quotes, because texts contain apostrophes. Raises LinkError."""
    quote = rest[:1] if rest[:1] in ("'", '"') else ""
    path, end, text = rest[1:].partition(quote) if quote else rest.partition(" ")
    if not path or (quote and not end):
        raise LinkError('write /file PATH [TEXT], and a path with blanks as "A PATH"')
    return path, text.strip() or None
