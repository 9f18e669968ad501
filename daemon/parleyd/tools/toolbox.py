"""The tools of this device, and their calls while they run.

One thread per running call, bounded; one timer per call, which answers at the deadline whatever the thread does. A
thread that cannot be stopped keeps its place until it ends: then others are told `busy`, and memory stays bounded.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from parleyd.agents.agent import ToolCall
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.core.text import bounded, clean
from parleyd.host.stopping import Stop
from parleyd.tools.audit import Audit, bounded_parameters
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Result, ToolError, failed, good

log = logging.getLogger(__name__)

# How long a stopping daemon waits for what it has killed.
STOP_S = 1.0
_MAX_NAME_CHARS = 80
# So many unknown tools are told in the log.
_MAX_UNKNOWN = 20


class Runner(Protocol):
    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        """Blocks; returns text, or something that JSON can hold. stop is set when nobody waits any more.

        Raises ToolError.
        """


@dataclass(frozen=True, slots=True)
class Tool:
    """kind: for lists and the audit log. secrets: never to be seen in either. as_daemon: it may do all that the daemon
    may, for the configuration says so."""

    name: str
    kind: str
    description: str
    parameters: Parameters
    runner: Runner
    timeout_s: float = 10.0
    at_once: int = 1
    cancel_on_speech: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)
    as_daemon: bool = False


# Takes the result; returns whether the session from which the call came is still there.
Respond = Callable[[Result], bool]


class _Running:
    """One call. Whoever takes it answers it; there is only one."""

    def __init__(self, tool: Tool, call: ToolCall, respond: Respond) -> None:
        self.tool = tool
        self.call = call
        self.respond = respond
        self.stop = Stop()
        self.began_s = time.monotonic()
        self.timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._taken = False

    @property
    def is_taken(self) -> bool:
        return self._taken

    def take(self) -> bool:
        with self._lock:
            taken, self._taken = self._taken, True
        return not taken


class Toolbox:
    """Thread-safe. call() and what ends calls return at once; results come through `respond`, from any thread.

    at_once: calls of all tools together. result_chars: bound of a result.
    """

    def __init__(
        self, tools: Mapping[str, Tool], bus: events.Bus, audit: Audit, *, at_once: int, result_chars: int
    ) -> None:
        self.tools = dict(tools)
        self._bus = bus
        self._audit = audit
        self._at_once = at_once
        self._result_chars = result_chars
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._numbers = itertools.count(1)
        self._stopped = False
        self._unknown: set[str] = set()

    @property
    def busy(self) -> bool:
        """Somebody waits for a call."""
        return any(not running.is_taken for running in self._all())

    def call(self, call: ToolCall, respond: Respond) -> None:
        """Runs the tool, or answers why not. Must be called without locks that respond takes, or re-entrantly."""
        tool = self.tools.get(call.name)
        if tool is None:
            name = bounded(clean(call.name), _MAX_NAME_CHARS)
            self._tell_unknown(name)
            self._refuse(call, respond, ToolError(Fault.UNKNOWN_TOOL, f"There is no tool {name!r} on this device."))
            return
        running = _Running(tool, call, respond)
        with self._lock:
            busy_with_it = sum(one.tool is tool for one in self._running.values())
            is_busy = self._stopped or busy_with_it >= tool.at_once or len(self._running) >= self._at_once
            number = next(self._numbers)
            if not is_busy:
                self._running[number] = running
                thread = threading.Thread(target=self._run, args=(number, running), name=f"tool-{number}", daemon=True)
                self._threads[number] = thread
        if is_busy or not self._start(running, number, thread):
            error = ToolError(Fault.BUSY, f"The tool {tool.name} is busy. It can be tried again in a moment.")
            self._refuse(call, respond, error)

    def _tell_unknown(self, name: str) -> None:
        """Each once, and not without end: an agent may call the same one all day."""
        with self._lock:
            if name in self._unknown or len(self._unknown) >= _MAX_UNKNOWN:
                return
            self._unknown.add(name)
        hint = "take it off the agent's page, or declare it here (docs/tools.md)"
        text = "the agent called the tool %r, which does not exist on this device; %s; this is not repeated"
        log.warning(text, name, hint, extra=fields(hint=hint))

    def _start(self, running: _Running, number: int, thread: threading.Thread) -> bool:
        """False: the system has no thread left for it."""
        timer = threading.Timer(running.tool.timeout_s, self._deadline, (running,))
        timer.daemon = True
        running.timer = timer
        try:
            timer.start()
            thread.start()
        except RuntimeError as error:
            timer.cancel()
            log.error("the tool %s cannot run: %s", running.tool.name, error)
            with self._lock:
                self._running.pop(number, None)
                self._threads.pop(number, None)
            return False
        return True

    def person_speaks(self) -> None:
        """Somebody begins to speak: tools that are declared so are stopped."""
        for running in self._all():
            if running.tool.cancel_on_speech and running.take():
                error = ToolError(Fault.CANCELLED, f"{running.tool.name} was stopped because the person spoke.")
                self._end(running, failed(error))
                running.stop.set()

    def session_over(self) -> None:
        """Nobody waits for what is still running: it is stopped."""
        self._drop_all("the session ended")

    def close(self) -> None:
        """The daemon stops; at most STOP_S."""
        with self._lock:
            self._stopped = True
        self._drop_all("the daemon stopped")
        until_s = time.monotonic() + STOP_S
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.monotonic()))

    # ------------------------------------------------------------ the threads of calls

    def _run(self, number: int, running: _Running) -> None:
        try:
            self._run_it(number, running)
        finally:
            with self._lock:
                self._threads.pop(number, None)

    def _run_it(self, number: int, running: _Running) -> None:
        tool = running.tool
        is_refused = False
        try:
            try:
                parameters = tool.parameters.check(running.call.parameters)
            except ToolError as error:
                is_refused = True
                self._audit.add(what="refused", outcome=error.fault.value, **self._about(running))
                raise
            self._audit.add(what="began", **self._about(running))
            if running.stop.is_set:
                return
            result = good(tool.runner.run(parameters, running.stop), self._result_chars)
        except ToolError as error:
            result = failed(error)
        except Exception as error:  # a defect here: the agent is told, the daemon goes on
            log.error("a defect in the tool %s", tool.name, exc_info=error)
            result = failed(ToolError(Fault.FAILED, f"{tool.name} failed by a defect of this device."))
        finally:
            # Before the answer: the agent may call again as soon as it has it.
            with self._lock:
                self._running.pop(number, None)
        if running.take():
            self._end(running, result, is_audited=is_refused)

    def _deadline(self, running: _Running) -> None:
        if running.take():
            tool = running.tool
            error = ToolError(Fault.TIMEOUT, f"{tool.name} did not finish within {tool.timeout_s:g} s and was stopped.")
            # The answer first: what is to be stopped may resist.
            self._end(running, failed(error))
            running.stop.set()

    # ------------------------------------------------------------ any thread

    def _all(self) -> list[_Running]:
        with self._lock:
            return list(self._running.values())

    def _drop_all(self, why: str) -> None:
        for running in self._all():
            if running.take():
                if running.timer is not None:
                    running.timer.cancel()
                self._audit.add(what="dropped", why=why, **self._about(running, parameters=False))
            running.stop.set()

    def _end(self, running: _Running, result: Result, *, is_audited: bool = False) -> None:
        """Answers, if an answer is wanted and somebody is there for it. is_audited: already."""
        if running.timer is not None:
            running.timer.cancel()
        took_ms = round((time.monotonic() - running.began_s) * 1000)
        wanted = running.call.expects_response
        delivered = running.respond(result) if wanted else None
        fault = None if result.fault is None else result.fault.value
        if not is_audited:
            self._audit.add(
                what="ended",
                outcome=fault or "done",
                result=result.text,
                took_ms=took_ms,
                answered={None: "not wanted", True: "yes", False: "no: the session ended"}[delivered],
                **self._about(running, parameters=False),
            )
        self._bus.publish(events.ToolEnded(at_s=time.monotonic(), name=running.tool.name, fault=fault, took_ms=took_ms))

    def _refuse(self, call: ToolCall, respond: Respond, error: ToolError) -> None:
        result = failed(error)
        if call.expects_response:
            respond(result)
        self._audit.add(
            what="refused",
            outcome=error.fault.value,
            tool=call.name,
            call_id=call.call_id,
            parameters=bounded_parameters(call.parameters),
        )

    def _about(self, running: _Running, *, parameters: bool = True) -> dict[str, object]:
        about: dict[str, object] = {
            "tool": running.tool.name,
            "kind": running.tool.kind,
            "call_id": running.call.call_id,
        }
        if parameters:
            about["parameters"] = bounded_parameters(running.call.parameters, running.tool.secrets)
        return about
