"""All tools of one device: built from the configuration, called by the dialogue, owned by the service."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from parleyd.agents.events import ApprovalAsked, ToolCall
from parleyd.agents.provider import ToolSpec
from parleyd.config import tool_sections as sections
from parleyd.config.base import Secret
from parleyd.config.camera_section import Camera
from parleyd.config.secrets import resolve
from parleyd.core import events
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.host import apart as apart_module
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop
from parleyd.tools import ENTRY_POINT_GROUP, timers
from parleyd.tools.alarm_clock import AlarmClock
from parleyd.tools.approvals import DAEMON_STOPPED, SESSION_ENDED, Approvals
from parleyd.tools.asking import Answerer
from parleyd.tools.audit import Audit
from parleyd.tools.built_in import BUILT_IN, Device, built_in_tools
from parleyd.tools.confirmations import BY_COMMAND, Confirmations
from parleyd.tools.limits import Limits
from parleyd.tools.parameters import Parameters, load_checker
from parleyd.tools.result import Fault, Result, Shown, ToolError, failed
from parleyd.tools.specs import spec
from parleyd.tools.toolbox import STOP_S, Respond, Runner, Tool, Toolbox

log = logging.getLogger(__name__)


def no_camera(_stop: Stop) -> Shown:
    raise ToolError(Fault.FAILED, "There is no camera here.")


class DaemonActions(Struct, frozen=True):
    """The functions of the daemon that the tools call; each returns at once.

    set_volume: from 0 to 1. mute: returns the reason why it will not outlive a restart, or None. end_conversation:
    takes effect after the agent has finished speaking. tell: gives the agent a text and wakes it for that; the agent
    says it, unless a person is talking with it right now. look: takes a picture and makes it ready for the agent; it
    blocks. say_aloud: has a text spoken without the agent, and tells an
    agent that is there the second one; returns whether there is a voice for it.
    """

    set_volume: Callable[[float], None]
    mute: Callable[[bool], str | None]
    end_conversation: Callable[[], None]
    status: Callable[[], str]
    tell: Callable[[str], None]
    look: Callable[[Stop], Shown] = no_camera
    say_aloud: Callable[[str, str], bool] = lambda _text, _for_agent: False


class DeviceTools:
    """start(), close(). Raises SecretError if a secret of a tool cannot be read.

    folder: the state directory; None: nothing is written, and timers end with the daemon. how_to_confirm: tells the
    agent how a person allows a call. apart: how programs are separated from the daemon; None: as this machine allows.
    camera: the section, for agents that take pictures.
    """

    def __init__(
        self,
        config: sections.Tools,
        host: DaemonActions,
        bus: events.Bus,
        folder: Path | None,
        how_to_confirm: str = BY_COMMAND,
        apart: Apart | None = None,
        camera: Camera | None = None,
    ) -> None:
        self._host = host
        self._bus = bus
        self._timer_text = config.timer_text
        self._audit = Audit(folder, config.audit_kib * 1024)
        self.alarm_clock = AlarmClock(folder, self._timer_goes_off, self._timers_stored)
        self._apart = apart
        tools = self.made(config, camera)
        self._confirmations = Confirmations(how_to_confirm, bus, self._audit)
        self._toolbox = Toolbox(
            tools,
            bus,
            self._audit,
            self._confirmations,
            Limits(config.per_minute, config.per_session),
            at_once=config.at_once,
            result_chars=config.result_chars,
        )
        self._approvals = Approvals(config.mcp, bus, self._audit)
        self._is_prepared = not tools
        self._preparing: threading.Thread | None = None
        bus.subscribe(self._prepare)

    def made(self, config: sections.Tools, camera: Camera | None) -> dict[str, Tool]:
        """The tools of a configuration. Raises SecretError."""
        host = self._host
        has_camera = camera is not None and camera.is_there
        device = Device(
            host.set_volume,
            host.mute,
            host.end_conversation,
            host.status,
            self.alarm_clock,
            look=host.look if has_camera else None,
            look_s=camera.timeout_s + sections.SEND_S if camera is not None else 0.0,
        )
        tools = {**built_in_tools(config.built_in, device), **declared_tools(config, self._apart)}
        asked = {str(name) for name in config.confirm_built_in}
        if camera is not None and camera.confirm:
            asked.add("look")
        for name in asked & tools.keys():
            if tools[name].kind == BUILT_IN:
                tools[name] = replace(tools[name], confirm_s=config.confirm_s)
        return tools

    def reconfigure(self, config: sections.Tools, tools: Mapping[str, Tool]) -> None:
        """tools: made(). Calls that run go on as they began."""
        limits = Limits(config.per_minute, config.per_session)
        self._is_prepared = self._is_prepared and not tools
        self._toolbox.reconfigure(tools, limits, at_once=config.at_once, result_chars=config.result_chars)

    @property
    def tools(self) -> Mapping[str, Tool]:
        return self._toolbox.tools

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the agent is told of them."""
        return tuple(map(spec, self._toolbox.tools.values()))

    def start(self) -> None:
        self.alarm_clock.start()

    def close(self) -> None:
        """Kills running tools; takes about two seconds at most."""
        self._approvals.drop_all(DAEMON_STOPPED)
        self._toolbox.close()
        self.alarm_clock.close()
        self._audit.close()
        if self._preparing is not None:
            # An interpreter that ends in the middle of an import may end in a crash.
            self._preparing.join(STOP_S)

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        return self.alarm_clock.pulse, self._audit.pulse

    # ------------------------------------------------------------ for the dialogue; all return at once

    @property
    def busy(self) -> bool:
        """Returns whether a call runs or a question waits, so that the session is still needed."""
        return self._toolbox.busy or bool(self._approvals.waiting)

    def call(self, call: ToolCall, respond: Respond) -> None:
        """See Toolbox.call."""
        self._toolbox.call(call, respond)

    def ask(self, asked: ApprovalAsked, answer: Callable[[bool], bool]) -> None:
        """See Approvals.ask."""
        self._approvals.ask(asked, answer)

    def cancel(self, call_ids: Collection[str]) -> None:
        """See Toolbox.cancel; a question of this id is settled with a no."""
        self._toolbox.cancel(call_ids)
        self._approvals.cancel(call_ids)

    def person_speaks(self) -> None:
        self._toolbox.person_speaks()

    def session_over(self) -> None:
        """Kills running tools and denies waiting questions: the agent that asked for them is gone."""
        self._toolbox.session_over()
        self._approvals.drop_all(SESSION_ENDED)

    def _prepare(self, event: events.Event) -> None:
        """In the first session: loads the checker of parameters, so that no call has to wait for it."""
        if self._is_prepared or not isinstance(event, events.SessionOpened):
            return
        self._is_prepared = True
        thread = threading.Thread(target=self._load_checker, name="tools-preparing", daemon=True)
        # If the system has no thread left, the first call loads it.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._preparing = thread

    def _load_checker(self) -> None:
        try:
            load_checker()
        except (OSError, ImportError) as error:
            # Such as without file handles. The next session tries it again, and a call loads it in any case.
            log.debug("the checker of parameters cannot be loaded now: %s", error)
            self._is_prepared = False

    # ------------------------------------------------------------ for commands

    def by_hand(self, name: str, parameters: Mapping[str, object], wait_s: float) -> Result:
        """Returns the answer that the agent would get for this call. Blocks, for wait_s at most."""
        results: queue.SimpleQueue[Result] = queue.SimpleQueue()

        def respond(result: Result) -> bool:
            results.put(result)
            return True

        self._toolbox.call(ToolCall(name, "by hand", parameters, expects_response=True), respond, by_hand=True)
        try:
            return results.get(timeout=wait_s)
        except queue.Empty:
            # The end of a conversation has stopped the call.
            return failed(ToolError(Fault.CANCELLED, f"{name} was stopped before it was done."))

    def approve(
        self, approval: str, *, allow: bool, who: Answerer
    ) -> events.ApprovalWanted | events.ConfirmationWanted | None:
        """See Approvals.answer and Confirmations.answer."""
        settled = self._approvals.answer(approval, allow=allow, who=who)
        return settled or self._confirmations.answer(approval, allow=allow, who=who)

    @property
    def waiting_approvals(self) -> tuple[events.ApprovalWanted, ...]:
        return self._approvals.waiting

    @property
    def waiting_confirmations(self) -> tuple[events.ConfirmationWanted, ...]:
        return self._confirmations.waiting

    def _timers_stored(self, trouble: str | None) -> None:
        if trouble is None:
            log.info("timers can be saved again")
            self._bus.publish(events.TroubleOver(at_s=time.monotonic(), part="timer file"))
            return
        hint = "see the disk (df, dmesg)"
        log.warning("%s; %s", trouble, hint)
        self._bus.publish(events.Trouble(at_s=time.monotonic(), text=trouble, hint=hint, part="timer file"))

    def _timer_goes_off(self, timer: timers.Timer, late_s: float) -> None:
        late = f" It was due {timers.duration(late_s)} ago." if late_s > 5 else ""
        # Not the label: a log that is stored contains no words of a conversation.
        log.info("the timer %d goes off", timer.number)
        self._audit.add(what="timer", number=timer.number, label=timer.label, late_s=round(max(0.0, late_s), 1))
        self._bus.publish(
            events.TimerWentOff(at_s=time.monotonic(), number=timer.number, label=timer.label, late_s=max(0.0, late_s))
        )
        # In words that can be spoken as they are.
        happened = (
            f"{_sentence(timer.label)} is ready: the timer has gone off" if timer.label else "The timer has gone off"
        )
        if self._timer_text is not None:
            text = _sentence(self._timer_text.replace("{label}", timer.label or "the timer"))
            if self._host.say_aloud(f"{text}{late}", f"{happened}.{late} The person was told."):
                return
        self._host.tell(f"{happened}.{late} Tell the person.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def declared_tools(config: sections.Tools, apart: Apart | None = None) -> dict[str, Tool]:
    """Returns the tools of a configuration that has passed its rules. apart: see DeviceTools. Raises SecretError."""
    apart = apart or apart_module.here()
    tools: dict[str, Tool] = {}
    if config.command or config.python:
        # Imported here, because few devices have tools of their own.
        from parleyd.tools.command import Command, PythonFunction

    for name, command in config.command.items():
        secrets = _secrets(command.secrets)
        runner: Runner = Command(
            command.run,
            may_be_option=command.may_be_option,
            directory=command.directory,
            stdin=command.stdin == "parameters",
            environment=command.environment,
            secrets=secrets,
            apart=None if command.run_as == "daemon" else apart,
        )
        tools[name] = _tool(name, "command", command, runner, secrets, config)
    if config.http:
        # Imported here, because it loads what speaks HTTP: 8 ms and a megabyte.
        from parleyd.tools.http import Http

    for name, http in config.http.items():
        secrets = _secrets(http.secrets)
        runner = Http(
            http.method,
            http.url,
            headers=http.headers,
            secrets=secrets,
            body=http.body,
            allowed_status=http.allowed_status,
            timeout_s=http.timeout_s,
            result=http.result,
            remember=http.remember,
            remember_s=http.remember_s,
        )
        tools[name] = _tool(name, "http", http, runner, secrets, config)
    installed = _installed() if config.python else frozenset()
    for name, python in config.python.items():
        entry_point = python.entry_point or name
        if entry_point not in installed:
            text = f"tools.python.{name}: no installed package has the entry point {entry_point}"
            hint = f"install the package into the environment of parleyd (its group is {ENTRY_POINT_GROUP})"
            log.warning("%s; %s", text, hint, extra=fields(hint=hint))
        secrets = _secrets(python.secrets)
        runner = PythonFunction(
            entry_point,
            environment=python.environment,
            secrets=secrets,
            apart=None if python.run_as == "daemon" else apart,
        )
        tools[name] = _tool(name, "python", python, runner, secrets, config)
    return tools


def _installed() -> frozenset[str]:
    # The import costs a megabyte; only devices with such a tool pay for it.
    from importlib.metadata import entry_points

    return frozenset(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))


def _tool(
    name: str, kind: str, section: sections.Tool, runner: Runner, secrets: Mapping[str, str], config: sections.Tools
) -> Tool:
    return Tool(
        name=name,
        kind=kind,
        description=section.description,
        parameters=Parameters(section.parameters),
        runner=runner,
        timeout_s=section.timeout_s,
        at_once=section.at_once,
        cancel_on_speech=section.cancel_on_speech,
        confirm_s=config.confirm_s if section.confirm else None,
        secrets=tuple(secrets.values()),
        as_daemon=getattr(section, "run_as", "") == "daemon",
    )


def _secrets(secrets: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value for name, secret in secrets.items() if (value := resolve(secret)) is not None}
