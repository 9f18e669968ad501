"""The line that the person types, with a history. Texts that come meanwhile appear above it; no word gets lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.output.vt100 import Vt100_Output

from parleyd.chat.screen import is_dumb

MARK = "> "
MOST_LINES = 1000
# Returns the whole lines that came since the last call, and whether the agent is out of reach: then the prompt ends.
News = Callable[[], tuple[str, bool]]


class Prompt:
    """Belongs to the main thread. A context manager.

    history: the file for typed lines, readable for its owner only; None: they are kept in memory.
    unfinished: returns the words of a line that is not finished yet; they appear above the typed text.
    """

    def __init__(self, history: Path | None, unfinished: Callable[[], str], *, colour: bool) -> None:
        self._unfinished = unfinished
        self._style = "bold" if colour else ""
        self._is_dumb = is_dumb()
        # On a dumb terminal the session needs an app session with a plain output: without one it would draw nothing or
        # send control sequences.
        with create_app_session(output=PlainTextOutput(sys.stdout)) if self._is_dumb else contextlib.nullcontext():
            self._session: PromptSession[str] = PromptSession(
                self._message,
                output=None if self._is_dumb else _output(colour=colour),
                history=_history(history),
                enable_suspend=True,
            )
        self._news: News = lambda: ("", False)
        # Protects _nudge, because a closed loop accepts no calls.
        self._lock = threading.Lock()
        self._nudge: Callable[[], object] | None = None
        self._interrupt: Callable[[], object] | None = None
        self._is_asking = False
        self._is_interrupted = False
        self._error: BaseException | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Prompt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._take_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def nudge(self) -> None:
        """Shows the news; may be called from any thread."""
        with self._lock:
            if self._nudge is not None:
                self._nudge()

    def ask(self, news: News) -> str | None:
        """Returns the typed line; shows `news` meanwhile. None: the agent is out of reach.

        Raises EOFError and KeyboardInterrupt.
        """
        self._news = news
        try:
            self._is_asking = True
            return None if self._is_interrupted else asyncio.run(self._ask())
        except asyncio.CancelledError:
            return None
        finally:
            self._is_asking = False
            # Raised here as well, because a callback may have swallowed the KeyboardInterrupt of the handler.
            if self._is_interrupted:
                raise KeyboardInterrupt
            if self._error is not None:
                raise self._error

    async def _ask(self) -> str:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        loop.set_exception_handler(lambda _, context: self._fail(context.get("exception"), task))
        # Cancelling works before the prompt is drawn and while it is removed; the prompt's own exit() does not.
        self._interrupt = lambda: loop.call_soon_threadsafe(task.cancel)
        with self._lock:
            self._nudge = lambda: loop.call_soon_threadsafe(self._show, task)
        try:
            self._show(task)
            if self._is_interrupted:
                raise asyncio.CancelledError
            return await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
        finally:
            with self._lock:
                self._nudge = None
            self._interrupt = None

    def _take_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Ends the prompt through its loop, which restores the terminal. Without a prompt, raises KeyboardInterrupt."""
        self._is_interrupted = True
        if not self._is_asking:
            raise KeyboardInterrupt
        if self._interrupt is not None:
            self._interrupt()

    def _fail(self, error: BaseException | None, task: asyncio.Task[Any]) -> None:
        self._error = error
        task.cancel()

    # ------------------------------------------------------------ drawing

    def _message(self) -> StyleAndTextTuples:
        unfinished = self._unfinished()
        # A dumb terminal cannot draw again; and when a line is finished, only the typed part stays.
        if not unfinished or self._is_dumb or self._session.app.is_done:
            return [(self._style, MARK)]
        return [("", f"{unfinished}\n"), (self._style, MARK)]

    def _show(self, task: asyncio.Task[Any]) -> None:
        text, is_over = self._news()
        if self._is_dumb:
            if text and not self._unfinished():
                self._write(f"\n{text}{MARK}{self._session.default_buffer.text}")
        else:
            app = self._session.app
            if text:
                app.renderer.erase()
                self._write(text)
            app.invalidate()
        if is_over:
            task.cancel()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class _FileHistory(History):
    """Keeps a line in the file for each typed line, in the format of readline."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """Yields the newest line first."""
        return reversed(self._path.read_text(errors="replace").splitlines()[-MOST_LINES:])

    def append_string(self, string: str) -> None:
        if string.strip():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        # The file is appended to, so that two chats at the same time keep both their lines.
        with contextlib.suppress(OSError), self._path.open("a", errors="replace") as file:
            file.write(" ".join(string.splitlines()) + "\n")


def _history(path: Path | None) -> History:
    """Returns the history; it is in memory if the file cannot be used."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        if len(lines) > MOST_LINES:
            path.write_text("".join(lines[-MOST_LINES:]), errors="replace")
    except OSError:
        return InMemoryHistory()
    return _FileHistory(path)


def _output(*, colour: bool) -> Vt100_Output:
    return Vt100_Output(
        sys.stdout,
        _size,
        term=os.environ.get("TERM"),
        default_color_depth=None if colour else ColorDepth.DEPTH_1_BIT,
        # Only menus need the cursor's row, and without an answer from the terminal a warning would appear.
        enable_cpr=False,
    )


def _size() -> Size:
    columns, rows = shutil.get_terminal_size()
    return Size(rows=rows, columns=columns)
