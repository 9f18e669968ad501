"""The tools of this device, and their running calls.

Each running call has a thread, and their number is bounded; each has a timer, which answers at the deadline whatever
the thread does. A thread that cannot be stopped keeps its place until it ends: further calls are answered with `busy`,
and memory stays bounded.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from parleyd.agents.events import ToolCall
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.core.no_memory import HINT, in_words
from parleyd.core.text import bounded, clean
from parleyd.core.veiled import Veiled
from parleyd.host.stopping import Stop
from parleyd.tools.audit import Audit, bounded_parameters
from parleyd.tools.confirmations import Confirmations
from parleyd.tools.limits import Limits
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Result, ToolError, failed, good

log = logging.getLogger(__name__)

# How long a stopping daemon waits for the killed tools.
STOP_S = 1.0
_MAX_NAME_CHARS = 80
# The most unknown tools that are logged.
_MAX_UNKNOWN = 20


class Runner(Protocol):
    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        """Blocks; returns text, or a value that JSON can hold. stop is set when nobody waits for the result any more.

        Raises ToolError.
        """


class Tool(Veiled, frozen=True):
    """A tool with its rules.

    kind: for lists and the audit log. confirm_s: how long a person may take to allow a call; None: nobody is asked.
    secrets: never shown in lists and the audit log. as_daemon: the configuration lets it do all that the daemon may do.
    """

    hidden = ("secrets",)

    name: str
    kind: str
    description: str
    parameters: Parameters
    runner: Runner
    timeout_s: float = 10.0
    at_once: int = 1
    cancel_on_speech: bool = False
    confirm_s: float | None = None
    secrets: tuple[str, ...] = ()
    as_daemon: bool = False


# Takes the result; returns whether the session of the call still exists.
Respond = Callable[[Result], bool]


class _Running:
    """One call. Only the thread for which take() returns True may answer it."""

    def __init__(self, tool: Tool, call: ToolCall, respond: Respond, *, by_hand: bool) -> None:
        self.tool = tool
        self.call = call
        self.respond = respond
        self.by_hand = by_hand
        # A call by hand comes from the person who would be asked.
        self.confirm_s = None if by_hand else tool.confirm_s
        self.is_asking = False
        self.is_written = True  # whether its beginning is in the audit log
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
    """Thread-safe. All methods return at once; results come through `respond`, from any thread.

    at_once: the most running calls of all tools. result_chars: the longest result. limits: how often a tool may be
    called.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        bus: events.Bus,
        audit: Audit,
        confirmations: Confirmations,
        limits: Limits,
        *,
        at_once: int,
        result_chars: int,
    ) -> None:
        self.tools = dict(tools)
        self._bus = bus
        self._audit = audit
        self._confirmations = confirmations
        self._limits = limits
        self._at_once = at_once
        self._result_chars = result_chars
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._numbers = itertools.count(1)
        self._stopped = False
        self._unknown: set[str] = set()

    def reconfigure(self, tools: Mapping[str, Tool], limits: Limits, *, at_once: int, result_chars: int) -> None:
        """Replaces the tools and their limits; calls that run go on as they began."""
        with self._lock:
            self.tools = dict(tools)
            self._limits = limits
            self._at_once = at_once
            self._result_chars = result_chars

    @property
    def busy(self) -> bool:
        """Returns whether an agent waits for the result of a call."""
        return any(not running.is_taken for running in self._all())

    def call(self, call: ToolCall, respond: Respond, *, by_hand: bool = False) -> None:
        """Runs the tool, or answers why it does not. The caller holds no lock that respond takes, unless re-entrant.

        by_hand: a person calls it instead of the agent: nobody is asked, and no limit on the agent's calls applies.
        """
        tool = self.tools.get(call.name)
        if tool is None:
            name = bounded(clean(call.name), _MAX_NAME_CHARS)
            self._tell_unknown(name)
            self._refuse(call, respond, ToolError(Fault.UNKNOWN_TOOL, f"There is no tool {name!r} on this device."))
            return
        if not by_hand:
            try:
                with self._lock:
                    self._limits.check(tool.name, time.monotonic())
            except ToolError as error:
                self._refuse(call, respond, error)
                return
        running = _Running(tool, call, respond, by_hand=by_hand)
        with self._lock:
            busy_with_it = sum(one.tool.name == tool.name for one in self._running.values())
            is_busy = self._stopped or busy_with_it >= tool.at_once or len(self._running) >= self._at_once
            number = next(self._numbers)
            if not is_busy:
                self._running[number] = running
                thread = threading.Thread(target=self._run, args=(number, running), name=f"tool-{number}", daemon=True)
                self._threads[number] = thread
        if is_busy or not self._start(running, number, thread):
            text = f"The tool {tool.name} is busy. It can be tried again in a moment."
            if any(one.name == tool.name for one in self._confirmations.waiting):
                text = (
                    f"An earlier call of {tool.name} waits for the person's answer; it can be called again after that."
                )
            self._refuse(call, respond, ToolError(Fault.BUSY, text))

    def _tell_unknown(self, name: str) -> None:
        """Logs each name once, and a bounded number of names: an agent may call the same one all day."""
        with self._lock:
            if name in self._unknown or len(self._unknown) >= _MAX_UNKNOWN:
                return
            self._unknown.add(name)
        hint = "take it off the agent's page, or declare it here (docs/tools.md)"
        text = "the agent called the tool %r, which does not exist on this device; %s; this is not repeated"
        log.warning(text, name, hint, extra=fields(hint=hint))

    def _start(self, running: _Running, number: int, thread: threading.Thread) -> bool:
        """Starts the thread and the timer of a call. False: the system has no thread left."""
        timer = threading.Timer(running.tool.timeout_s + (running.confirm_s or 0.0), self._deadline, (running,))
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
        """Stops the tools with cancel_on_speech, because a person begins to speak."""
        for running in self._all():
            # A person who is being asked may well say something about it.
            if running.tool.cancel_on_speech and not running.is_asking and running.take():
                error = ToolError(Fault.CANCELLED, f"{running.tool.name} was stopped because the person spoke.")
                self._end(running, failed(error))
                running.stop.set()

    def cancel(self, call_ids: Collection[str]) -> None:
        """The agent waits for these calls no longer: they are stopped, and nothing is answered."""
        for running in self._all():
            is_meant = not running.by_hand and running.call.call_id in call_ids
            if is_meant and self._drop(running, "the agent took it back"):
                took_ms = round((time.monotonic() - running.began_s) * 1000)
                fault = Fault.CANCELLED.value
                self._bus.publish(
                    events.ToolEnded(at_s=time.monotonic(), name=running.tool.name, fault=fault, took_ms=took_ms)
                )

    def session_over(self) -> None:
        """Stops all running calls, because nobody waits for their results."""
        with self._lock:
            self._limits.session_over()
        self._drop_all("the session ended")

    def close(self) -> None:
        """Stops all running calls; waits STOP_S at most."""
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
            if running.confirm_s is not None:
                is_refused = True
                self._confirm(running, parameters, running.confirm_s)
                is_refused = False
            running.is_written = self._audit.add(what="began", **self._about(running))
            if running.stop.is_set:
                return
            result = good(tool.runner.run(parameters, running.stop), self._result_chars)
        except ToolError as error:
            result = failed(error)
        except MemoryError as error:
            log.warning("the tool %s failed: %s; %s", tool.name, in_words(error), HINT, extra=fields(hint=HINT))
            result = failed(ToolError(Fault.FAILED, f"{tool.name} failed: this device has not enough memory for it."))
        except Exception as error:  # a defect here: the agent is told, the daemon goes on
            log.error("a defect in the tool %s", tool.name, exc_info=error)
            result = failed(ToolError(Fault.FAILED, f"{tool.name} failed by a defect of this device."))
        finally:
            # The call is removed before the answer, because the agent may call again as soon as it has it.
            with self._lock:
                self._running.pop(number, None)
        if running.take():
            self._end(running, result, is_audited=is_refused)

    def _confirm(self, running: _Running, parameters: Mapping[str, object], wait_s: float) -> None:
        """Asks a person. Raises ToolError if the call was not allowed; the audit log then has the refusal.

        The time limit of the tool itself begins with the permission.
        """
        tool, call = running.tool, running.call
        running.is_asking = True
        try:
            self._confirmations.ask(tool.name, call.call_id, parameters, running.stop, wait_s, self._about(running))
        finally:
            running.is_asking = False
        timer = threading.Timer(tool.timeout_s, self._deadline, (running,))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            # The first timer stays, and ends the call later.
            return
        running.began_s = time.monotonic()
        first, running.timer = running.timer, timer
        if first is not None:
            first.cancel()

    def _deadline(self, running: _Running) -> None:
        if running.take():
            tool = running.tool
            error = ToolError(Fault.TIMEOUT, f"{tool.name} did not finish within {tool.timeout_s:g} s and was stopped.")
            # The answer comes first, because stopping the tool may take time.
            self._end(running, failed(error))
            running.stop.set()

    # ------------------------------------------------------------ any thread

    def _all(self) -> list[_Running]:
        with self._lock:
            return list(self._running.values())

    def _drop_all(self, why: str) -> None:
        for running in self._all():
            self._drop(running, why)

    def _drop(self, running: _Running, why: str) -> bool:
        """Stops it without an answer. Returns whether it still ran."""
        is_taken = running.take()
        if is_taken:
            if running.timer is not None:
                running.timer.cancel()
            about = self._about(running, parameters=False)
            self._audit.add(running.is_written, what="dropped", why=why, **about)
        running.stop.set()
        return is_taken

    def _end(self, running: _Running, result: Result, *, is_audited: bool = False) -> None:
        """Answers a call, if an answer is wanted and the session exists. is_audited: the audit log has it already."""
        if running.timer is not None:
            running.timer.cancel()
        took_ms = round((time.monotonic() - running.began_s) * 1000)
        wanted = running.call.expects_response
        delivered = running.respond(result) if wanted else None
        fault = None if result.fault is None else result.fault.value
        if not is_audited:
            self._audit.add(
                running.is_written,
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
