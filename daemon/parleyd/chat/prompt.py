"""What the person types, with a history; what comes meanwhile is shown above it, and no word of either gets lost."""

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
# Whole lines that came since the last call, and whether there is nobody left to write to: then the prompt ends.
News = Callable[[], tuple[str, bool]]


class Prompt:
    """For the main thread. history: kept there, for its owner alone; None: only in memory. A context manager.

    unfinished: the words of a line that is still being made; they stand above what is typed."""

    def __init__(self, history: Path | None, unfinished: Callable[[], str], *, colour: bool) -> None:
        self._unfinished = unfinished
        self._style = "bold" if colour else ""
        self._is_dumb = is_dumb()
        # On a dumb terminal a session without an output of its own draws nothing; that of its surroundings has no
        # sequences.
        with create_app_session(output=PlainTextOutput(sys.stdout)) if self._is_dumb else contextlib.nullcontext():
            self._session: PromptSession[str] = PromptSession(
                self._message,
                output=None if self._is_dumb else _output(colour=colour),
                history=_history(history),
                enable_suspend=True,
            )
        self._news: News = lambda: ("", False)
        # Guards _nudge: a loop that is closed takes nothing more.
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
        """There is news; from any thread."""
        with self._lock:
            if self._nudge is not None:
                self._nudge()

    def ask(self, news: News) -> str | None:
        """A line, with `news` shown as they come. None when there is nobody left to write to.

        Raises EOFError and KeyboardInterrupt."""
        self._news = news
        try:
            self._is_asking = True
            return None if self._is_interrupted else asyncio.run(self._ask())
        except asyncio.CancelledError:
            return None
        finally:
            self._is_asking = False
            # Told here, too, since the KeyboardInterrupt of the handler may have been swallowed by a callback.
            if self._is_interrupted:
                raise KeyboardInterrupt
            if self._error is not None:
                raise self._error

    async def _ask(self) -> str:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        loop.set_exception_handler(lambda _, context: self._fail(context.get("exception"), task))
        # Cancelled, not told to exit: that holds before the prompt stands, too, and while it goes.
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
        """The prompt ends by way of its loop, which leaves the terminal as it was; elsewhere an exception does."""
        self._is_interrupted = True
        if not self._is_asking:
            raise KeyboardInterrupt
        if self._interrupt is not None:
            self._interrupt()

    def _fail(self, error: BaseException | None, task: asyncio.Task[Any]) -> None:
        self._error = error
        task.cancel()

    # ------------------------------------------------------------ what is shown

    def _message(self) -> StyleAndTextTuples:
        unfinished = self._unfinished()
        # On a dumb terminal nothing can be drawn again; and of a line that is done, the typed part stays.
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
    """A line of the file for each line that was typed, as readline writes them too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        return reversed(self._path.read_text(errors="replace").splitlines()[-MOST_LINES:])

    def append_string(self, string: str) -> None:
        if string.strip():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        # Appended, so that two of them at the same time keep both their lines.
        with contextlib.suppress(OSError), self._path.open("a", errors="replace") as file:
            file.write(" ".join(string.splitlines()) + "\n")


def _history(path: Path | None) -> History:
    """In memory where the file cannot be had."""
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
        # Only menus need to know the row of the cursor, and a terminal that does not answer would be told so.
        enable_cpr=False,
    )


def _size() -> Size:
    columns, rows = shutil.get_terminal_size()
    return Size(rows=rows, columns=columns)
