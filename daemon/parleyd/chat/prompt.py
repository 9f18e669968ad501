"""What the person types: readline with a history, in which the agent may interrupt without a word getting lost."""

from __future__ import annotations

import contextlib
import os
import readline
import shutil
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from parleyd.chat.screen import is_dumb
from parleyd.chat.wrap import columns

MARK = "> "
MOST_LINES = 1000


class _NewsError(Exception):
    """Raised out of readline: there is something to show. What had been typed is in the prompt's hands."""


class Prompt:
    """For the main thread. history: kept there, for its owner alone; None: only in memory. A context manager."""

    def __init__(self, history: Path | None, *, colour: bool) -> None:
        # \001 and \002 tell readline what takes no room.
        self._mark = f"\001\x1b[1m\002{MARK}\001\x1b[0m\002" if colour else MARK
        self._history = history
        self._last = ""
        self._typed = ""
        self._is_asking = False
        self._lock = threading.Lock()
        self._is_nudged = False
        self._main = threading.get_ident()

    def __enter__(self) -> Prompt:
        signal.signal(signal.SIGUSR1, self._interrupt)
        readline.set_auto_history(False)
        if is_dumb():
            readline.parse_and_bind("set enable-bracketed-paste off")
        with contextlib.suppress(OSError):
            self._load()
        return self

    def __exit__(self, *_: object) -> None:
        # Not as it was, which would end the process: somebody may still have news.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def nudge(self) -> None:
        """There is news; from any thread. Ends an ask()."""
        with self._lock:
            # A second signal, before the first one's exception is out of input(), makes a SystemError of it.
            if not self._is_nudged:
                self._is_nudged = True
                signal.pthread_kill(self._main, signal.SIGUSR1)

    def ask(self, is_news: Callable[[], bool]) -> str | None:
        """A line; None when there is news first: what was typed so far is there again at the next call.

        Raises EOFError and KeyboardInterrupt."""
        try:
            self._is_asking = True
            if is_news():
                return None
            if self._typed:
                readline.set_pre_input_hook(self._put_back)
            line = input(self._mark)
            self._is_asking = False
        except (_NewsError, SystemError) as error:
            # See nudge(): a signal may come late.
            if isinstance(error, SystemError) and not isinstance(error.__cause__, _NewsError):
                raise
            self._erase()
            return None
        finally:
            self._is_asking = self._is_nudged = False
            readline.set_pre_input_hook(None)
        self._typed = ""
        self._remember(line)
        return line

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_asking:
            self._is_asking = False
            self._typed = readline.get_line_buffer()
            raise _NewsError
        self._is_nudged = False

    def _put_back(self) -> None:
        readline.insert_text(self._typed)
        readline.redisplay()

    def _erase(self) -> None:
        """The prompt goes, so that the news stand in its place."""
        width = shutil.get_terminal_size().columns
        rows = (len(MARK) + columns(self._typed)) // max(width, 1)
        if is_dumb():
            text = "\n"
        elif rows:
            # In which of its rows the cursor stands is not known; what stands there is left.
            text = f"\x1b[{rows}B\n"
        else:
            text = "\r\x1b[K"
        sys.stdout.write(text)
        sys.stdout.flush()

    # ------------------------------------------------------------ history

    def _load(self) -> None:
        if self._history is None:
            return
        self._history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._history, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._history.chmod(0o600)
        readline.read_history_file(self._history)
        readline.set_history_length(MOST_LINES)
        if readline.get_current_history_length() > MOST_LINES:
            readline.write_history_file(self._history)
            self._history.chmod(0o600)

    def _remember(self, line: str) -> None:
        if not line.strip() or line == self._last:
            return
        self._last = line
        readline.add_history(line)
        if self._history is not None:
            # Line by line, so that two of them at the same time keep both their lines.
            with contextlib.suppress(OSError):
                readline.append_history_file(1, self._history)


@contextlib.contextmanager
def without_echo() -> Iterator[None]:
    """What is typed meanwhile does not show between the words of an answer; it is there at the next prompt."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
