"""Runs the hooks: a subscriber of the bus that returns at once, and a few threads that run the commands.

Two commands of the same hook never run at the same time, so they keep the order of the events; different hooks do not
wait for each other. A command that does not end in time is killed with all its children (host/subprocesses.py).
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from parleyd.config.hook_sections import Hook
from parleyd.core import events
from parleyd.core.log_fields import NOTICE, fields
from parleyd.core.text import bounded, cause, clean
from parleyd.hooks.hook_event import HookEvent, HookEvents
from parleyd.hooks.hook_queue import MOST_WAITING, HookQueue
from parleyd.host import apart as apart_module
from parleyd.host import subprocesses
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4
# When the daemon stops, running commands get this time; then the commands for `stopped` run, until STOP_S has passed.
LAST_RUN_S = 0.3
STOP_S = 1.2
_KILLED_S = 0.3
_MAX_LOGGED_CHARS = 1000


class HookCounts(Struct, frozen=True):
    """failed: runs that failed. dropped: events for which a hook was not run because too many came."""

    runs: int
    failed: int
    dropped: int


class _Entry:
    """One hook. The lock of Hooks protects it."""

    def __init__(self, number: int, hook: Hook) -> None:
        self.hook = hook
        self.name = f"hooks.{number} ({Path(hook.command[0]).name})"
        self.waiting = HookQueue()
        self.is_running = False
        self.is_failing = False
        self.told_dropped = False


class Hooks:
    """Thread-safe: start(); begin_stop() before the daemon stops its parts, end_stop() after it.

    apart: how the commands are separated from the daemon; None: as this machine allows.
    """

    def __init__(self, hooks: Sequence[Hook], bus: events.Bus, apart: Apart | None = None) -> None:
        self._apart = apart or apart_module.here()
        self._changed = threading.Condition()
        self._hook_events = HookEvents()
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
        """Replaces the hooks. Unchanged hooks keep their queues, others lose them; running commands may end."""
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
        """Returns at once; the commands for `stopped` run while the rest of the daemon stops."""
        with self._changed:
            if self._stop_by_s is not None or not self._started:
                return
            now_s = time.monotonic()
            self._stop_by_s = now_s + STOP_S
            last = self._hook_events.stopped(now_s)
            for entry in self._entries:
                entry.waiting.clear()
                if last.name in entry.hook.on:
                    entry.waiting.put(last)
            running = list(self._running)
            self._changed.notify_all()
        for stop in running:
            _after(LAST_RUN_S, stop)

    def end_stop(self) -> None:
        """Waits until STOP_S after begin_stop() at most, and a moment longer for commands that are killed then."""
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
            hook_event = self._hook_events(event)
            if hook_event is None or self._stop_by_s is not None:
                return
            wanted = [entry for entry in self._entries if hook_event.name in entry.hook.on]
            for entry in self._entries:
                entry.waiting.outdate(hook_event)
            for entry in wanted:
                if not entry.waiting.put(hook_event) and not entry.told_dropped:
                    entry.told_dropped = True
                    # Logging does not block: log records are written by a thread of their own.
                    log.warning("%s is too slow: more than %d events wait, and the oldest are dropped",
                                entry.name, MOST_WAITING)  # fmt: skip
            if wanted:
                self._changed.notify_all()

    def _hire(self) -> None:
        """Starts as many threads as can have work. The lock is held."""
        wanted = min(MOST_AT_ONCE, len(self._entries) + len(self._running))
        while self._started and len(self._threads) < wanted:
            thread = threading.Thread(target=self._work, name=f"hooks-{len(self._threads) + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                log.error("hooks have %d threads, and the system has no more: %s", len(self._threads), error)
                return
            self._threads.append(thread)

    # ------------------------------------------------------------ the threads

    def _work(self) -> None:
        while (job := self._next()) is not None:
            entry, hook_event, stop, timeout_s = job
            timer = _after(timeout_s, stop)
            trouble = _run(entry, hook_event, stop, self._apart)
            timer.cancel()
            with self._changed:
                entry.is_running = False
                self._running.discard(stop)
                is_stopping = self._stop_by_s is not None
                self._changed.notify_all()
            if trouble is not None and stop.is_set:
                trouble = f"did not end within {timeout_s:.3g} s and was killed"
                if is_stopping and hook_event.name != "stopped":
                    # The stop of the daemon ended the command; that is no fault of the hook.
                    trouble = None
            self._tell(entry, hook_event, trouble)

    def _next(self) -> tuple[_Entry, HookEvent, Stop, float] | None:
        """Blocks until a command has to run; None: the daemon stops, and no more will."""
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

    def _tell(self, entry: _Entry, hook_event: HookEvent, trouble: str | None) -> None:
        with self._changed:
            self._runs += 1
            self._failed += trouble is not None
            was_failing, entry.is_failing = entry.is_failing, trouble is not None
        if trouble is not None and not was_failing:
            hint = "fix the command; until it has worked again this is not repeated"
            log.warning("%s, run for %s, %s; %s", entry.name, hook_event.name, trouble, hint,
                        extra=fields(reason=trouble, hint=hint))  # fmt: skip
        elif trouble is not None:
            log.debug("%s, run for %s, %s", entry.name, hook_event.name, trouble)
        elif was_failing:
            log.log(NOTICE, "%s works again", entry.name)

    def _look_for_programs(self) -> None:
        """Logs missing programs at the start instead of when they are needed."""
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
        # The system has no thread left; a command without a time limit is not run.
        stop.set()
    return timer


def _run(entry: _Entry, hook_event: HookEvent, stop: Stop, apart: Apart) -> str | None:
    """Runs the command. Returns the trouble as text, or None."""
    began_s = time.monotonic()
    own = None if entry.hook.run_as == "daemon" else apart
    try:
        ran = subprocesses.run(
            entry.hook.command,
            apart=own,
            directory="/",
            environment=entry.hook.environment | hook_event.environment(),
            stdin=hook_event.document(),
            stop=stop,
        )
    except (subprocesses.NotStartedError, OSError) as error:
        return _hinted(f"could not be run: {str(error).rstrip('.')}", own)
    took_ms = round((time.monotonic() - began_s) * 1000)
    said = " | ".join(line for line in clean(f"{ran.output}\n{ran.errors}").splitlines() if line.strip())
    log.debug("%s ran %d ms for %s, code %d%s", entry.name, took_ms, hook_event.name, ran.status,
              f": {bounded(said, _MAX_LOGGED_CHARS)}" if said else "")  # fmt: skip
    if ran.status == 0:
        return None
    how = f"was ended by signal {-ran.status}" if ran.status < 0 else f"failed with code {ran.status}"
    words = cause(ran.errors) or cause(ran.output)
    return _hinted(f"{how}{f': {words}' if words else ''}", own)


def _hinted(trouble: str, apart: Apart | None) -> str:
    hint = "" if apart is None else apart.hint_about(trouble)
    return f"{trouble}; {hint}" if hint else trouble
