"""Runs the hooks: a subscriber of the bus that returns at once, and a few threads that run commands.

Of one hook no two run at the same time, so its commands come in order; several hooks do not wait for each other. A
command that does not end in time is killed with all that it has started (host/subprocesses.py).
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parleyd.config.hook_sections import Hook
from parleyd.core import events
from parleyd.core.log_fields import NOTICE, fields
from parleyd.core.text import bounded, cause, clean
from parleyd.hooks.occasion import Occasion, Occasions
from parleyd.hooks.waiting import MOST_WAITING, Waiting
from parleyd.host import apart as apart_module
from parleyd.host import subprocesses
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4
# A stopping daemon: what still runs has this long, then what is to be run for `stopped`, then nothing is left.
LAST_RUN_S = 0.3
STOP_S = 1.2
_KILLED_S = 0.3
_MAX_LOGGED_CHARS = 1000


@dataclass(frozen=True, slots=True)
class HookCounts:
    """failed: of those that ran. dropped: not run, for more came than a hook could do."""

    runs: int
    failed: int
    dropped: int


class _Entry:
    """One hook, under the lock of Hooks."""

    def __init__(self, number: int, hook: Hook) -> None:
        self.hook = hook
        self.name = f"hooks.{number} ({Path(hook.command[0]).name})"
        self.waiting = Waiting()
        self.is_running = False
        self.is_failing = False
        self.told_dropped = False


class Hooks:
    """Thread-safe. start(); begin_stop() before the daemon takes itself apart, end_stop() after it.

    apart: how the commands are kept apart from the daemon; None: as this machine can."""

    def __init__(self, hooks: Sequence[Hook], bus: events.Bus, apart: Apart | None = None) -> None:
        self._apart = apart or apart_module.here()
        self._changed = threading.Condition()
        self._occasions = Occasions()
        self._entries = _entries(hooks)
        self._threads: list[threading.Thread] = []
        self._running: set[Stop] = set()
        self._started = False
        self._stop_by_s: float | None = None
        self._runs = self._failed = self._dropped = 0
        bus.subscribe(self._take)

    def start(self) -> None:
        with self._changed:
            self._started = True
            self._hire()
        self._look_for_programs()

    def reconfigure(self, hooks: Sequence[Hook]) -> None:
        """What waits for the old ones is forgotten; what runs may end. Those that stay as they were notice nothing."""
        with self._changed:
            old, self._entries = self._entries, _entries(hooks)
            for n, entry in enumerate(self._entries):
                same = next((one for one in old if one.hook == entry.hook), None)
                if same is not None:
                    old.remove(same)
                    same.name = entry.name
                    self._entries[n] = same
            self._dropped += sum(entry.waiting.dropped for entry in old)
            self._hire()
            self._changed.notify_all()
        self._look_for_programs()

    def begin_stop(self) -> None:
        """Returns at once; `stopped` is run for while the rest of the daemon stops."""
        with self._changed:
            if self._stop_by_s is not None or not self._started:
                return
            now_s = time.monotonic()
            self._stop_by_s = now_s + STOP_S
            last = self._occasions.stopped(now_s)
            for entry in self._entries:
                entry.waiting.clear()
                if last.name in entry.hook.on:
                    entry.waiting.put(last)
            running = list(self._running)
            self._changed.notify_all()
        for stop in running:
            _after(LAST_RUN_S, stop)

    def end_stop(self) -> None:
        """At most until STOP_S after begin_stop(), and a moment for what is killed then."""
        if self._stop_by_s is None:
            return
        for thread in self._threads:
            thread.join(max(0.0, self._stop_by_s - time.monotonic()))
        with self._changed:
            running = list(self._running)
        for stop in running:
            stop.set()
        until_s = time.monotonic() + _KILLED_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    @property
    def counts(self) -> HookCounts:
        with self._changed:
            dropped = self._dropped + sum(entry.waiting.dropped for entry in self._entries)
            return HookCounts(self._runs, self._failed, dropped)

    def _take(self, event: events.Event) -> None:
        with self._changed:
            occasion = self._occasions(event)
            if occasion is None or self._stop_by_s is not None:
                return
            wanted = [entry for entry in self._entries if occasion.name in entry.hook.on]
            for entry in self._entries:
                entry.waiting.outdate(occasion)
            for entry in wanted:
                if not entry.waiting.put(occasion) and not entry.told_dropped:
                    entry.told_dropped = True
                    # A record goes to a thread of its own, and is not waited for.
                    log.warning("%s is too slow: of more than %d events that wait, the oldest are dropped",
                                entry.name, MOST_WAITING)  # fmt: skip
            if wanted:
                self._changed.notify_all()

    def _hire(self) -> None:
        """As many threads as can have something to do. Under the lock."""
        wanted = min(MOST_AT_ONCE, len(self._entries) + len(self._running))
        while self._started and len(self._threads) < wanted:
            thread = threading.Thread(target=self._work, name=f"hooks-{len(self._threads) + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                log.error("hooks have %d threads and get no more: %s", len(self._threads), error)
                return
            self._threads.append(thread)

    # ------------------------------------------------------------ the threads

    def _work(self) -> None:
        while (job := self._next()) is not None:
            entry, occasion, stop, timeout_s = job
            timer = _after(timeout_s, stop)
            trouble = _run(entry, occasion, stop, self._apart)
            timer.cancel()
            with self._changed:
                entry.is_running = False
                self._running.discard(stop)
                is_stopping = self._stop_by_s is not None
                self._changed.notify_all()
            if trouble is not None and stop.is_set:
                trouble = f"did not end within {timeout_s:.3g} s and was killed"
                if is_stopping and occasion.name != "stopped":
                    # No fault of its own.
                    trouble = None
            self._tell(entry, occasion, trouble)

    def _next(self) -> tuple[_Entry, Occasion, Stop, float] | None:
        """Waits for something to do; None: there will be nothing more."""
        with self._changed:
            while True:
                if self._stop_by_s is not None and time.monotonic() >= self._stop_by_s:
                    return None
                free = [entry for entry in self._entries if not entry.is_running]
                ready = [(oldest_s, n) for n, one in enumerate(free) if (oldest_s := one.waiting.oldest_s) is not None]
                if ready:
                    entry = free[min(ready)[1]]
                    stop, timeout_s = Stop(), entry.hook.timeout_s
                    if self._stop_by_s is not None:
                        timeout_s = min(timeout_s, self._stop_by_s - time.monotonic())
                    entry.is_running = True
                    self._running.add(stop)
                    return entry, entry.waiting.take(), stop, timeout_s
                if self._stop_by_s is not None and all(one.waiting.oldest_s is None for one in self._entries):
                    return None
                self._changed.wait()

    def _tell(self, entry: _Entry, occasion: Occasion, trouble: str | None) -> None:
        with self._changed:
            self._runs += 1
            self._failed += trouble is not None
            was_failing, entry.is_failing = entry.is_failing, trouble is not None
        if trouble is not None and not was_failing:
            hint = "fix the command; until it has worked again this is not repeated"
            log.warning("%s, run for %s, %s; %s", entry.name, occasion.name, trouble, hint,
                        extra=fields(reason=trouble, hint=hint))  # fmt: skip
        elif trouble is not None:
            log.debug("%s, run for %s, %s", entry.name, occasion.name, trouble)
        elif was_failing:
            log.log(NOTICE, "%s works again", entry.name)

    def _look_for_programs(self) -> None:
        """Said at the start, rather than when it matters."""
        with self._changed:
            entries = [entry for entry in self._entries if not entry.is_failing]
        for entry in entries:
            program = entry.hook.command[0]
            if shutil.which(program, path=subprocesses.search_path(entry.hook.environment)) is None:
                with self._changed:
                    entry.is_failing = True
                hint = "write the whole path of a program that this user may run"
                log.warning("%s: there is no program %s; %s", entry.name, program, hint, extra=fields(hint=hint))


def _entries(hooks: Sequence[Hook]) -> list[_Entry]:
    return [_Entry(number, hook) for number, hook in enumerate(hooks, 1)]


def _after(seconds: float, stop: Stop) -> threading.Timer:
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        # The system has no thread left: what cannot be bounded is not run.
        stop.set()
    return timer


def _run(entry: _Entry, occasion: Occasion, stop: Stop, apart: Apart) -> str | None:
    """What went wrong, in words."""
    began_s = time.monotonic()
    own = None if entry.hook.run_as == "daemon" else apart
    try:
        ran = subprocesses.run(
            entry.hook.command,
            apart=own,
            directory="/",
            environment=entry.hook.environment | occasion.environment(),
            stdin=occasion.document(),
            stop=stop,
        )
    except (subprocesses.NotStartedError, OSError) as error:
        return _hinted(f"could not be run: {str(error).rstrip('.')}", own)
    took_ms = round((time.monotonic() - began_s) * 1000)
    said = " | ".join(line for line in clean(f"{ran.output}\n{ran.errors}").splitlines() if line.strip())
    log.debug("%s ran %d ms for %s, code %d%s", entry.name, took_ms, occasion.name, ran.status,
              f": {bounded(said, _MAX_LOGGED_CHARS)}" if said else "")  # fmt: skip
    if ran.status == 0:
        return None
    how = f"was ended by signal {-ran.status}" if ran.status < 0 else f"failed with code {ran.status}"
    words = cause(ran.errors) or cause(ran.output)
    return _hinted(f"{how}{f': {words}' if words else ''}", own)


def _hinted(trouble: str, apart: Apart | None) -> str:
    hint = "" if apart is None else apart.hint_about(trouble)
    return f"{trouble}; {hint}" if hint else trouble
