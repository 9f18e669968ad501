"""A person at a terminal who goes through `parleyd setup`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pexpect

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Everything up to the last erased line of the level meter.
METER = re.compile(r"[^\n]*\x1b\[K")


class Walk:
    """wide: the columns of the terminal. environment: in addition to that of this process."""

    def __init__(self, *words: str | Path, wide: int = 80, environment: Mapping[str, str] | None = None) -> None:
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", "parleyd", "setup", *map(str, words)],
            env={**os.environ, "TERM": "xterm", **(environment or {})},
            dimensions=(50, wide),
            encoding="utf-8",
            timeout=60,
        )
        self._seen = ""
        self.echoed_at_the_end = False

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.close(force=True)

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    @property
    def said(self) -> str:
        """What was printed so far, without colours."""
        return METER.sub("", COLOURS.sub("", self._seen)).replace("\r", "")

    def sees(self, *texts: str) -> int:
        """Waits for one of the texts, which may be wrapped; returns which."""
        patterns = [r"\s+".join(re.escape(word) for word in text.split()) for text in texts]
        found = self._child.expect(patterns)
        self._seen += str(self._child.before) + str(self._child.after)
        return int(found)

    def asked(self, question: str, answer: str = "") -> None:
        """Waits for the question and for the place to type, and answers."""
        self.sees(question)
        self._child.expect(r"(\]|:|\?) $")
        self._seen += str(self._child.before) + str(self._child.after)
        self._child.sendline(answer)

    def waits_hidden(self) -> bool:
        """Waits until typed text is not shown. Returns whether that happened."""
        return bool(self._child.waitnoecho(timeout=60))

    @property
    def echoes(self) -> bool:
        return bool(self._child.getecho())

    def interrupt(self) -> None:
        self._child.sendintr()

    def hang_up(self) -> None:
        """The terminal is closed. Waits for the end of the program."""
        nothing = os.open(os.devnull, os.O_RDWR)
        # The last descriptor of the terminal's other side is gone.
        os.dup2(nothing, self._child.child_fd)
        os.close(nothing)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> int:
        """Waits for the end. Returns the exit code."""
        self._child.expect(pexpect.EOF)
        self._seen += str(self._child.before)
        self.echoed_at_the_end = self.echoes
        self._child.close()
        return int(self._child.exitstatus if self._child.exitstatus is not None else -self._child.signalstatus)
