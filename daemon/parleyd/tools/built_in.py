"""The tools that parleyd itself offers to the agent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from msgspec import Struct

from parleyd.config.tool_sections import BuiltIn
from parleyd.core.text import clean
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.host.stopping import Stop
from parleyd.tools import timers
from parleyd.tools.alarm_clock import AlarmClock
from parleyd.tools.parameters import Parameters
from parleyd.tools.result import Fault, Shown, ToolError
from parleyd.tools.toolbox import Tool

TIMEOUT_S = 10.0
# The kind of these tools, in lists and in the audit log.
BUILT_IN = "built in"


class Device(Struct, frozen=True):
    """The functions of the daemon that built-in tools call; each returns at once and may raise ToolError.

    set_volume: from 0 to 1. end_conversation: takes effect after the agent has finished speaking. status: in sentences.
    look: takes a picture and makes it ready for the agent; it alone blocks, for look_s at most. None: no camera.
    """

    set_volume: Callable[[float], None]
    mute: Callable[[bool], str | None]
    end_conversation: Callable[[], None]
    status: Callable[[], str]
    alarm_clock: AlarmClock
    look: Callable[[Stop], Shown] | None = None
    look_s: float = 0.0


class _Function(Struct, frozen=True):
    """A Runner that calls a function with the parameters as keywords."""

    function: Callable[..., object]

    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        return self.function(**parameters)


class _Look(Struct, frozen=True):
    """A Runner."""

    look: Callable[[Stop], Shown]

    def run(self, parameters: Mapping[str, object], stop: Stop) -> object:
        return self.look(stop)


def built_in_tools(names: Collection[BuiltIn], device: Device) -> dict[str, Tool]:
    functions: dict[BuiltIn, Callable[..., object]] = {
        "get_time": get_time,
        "set_volume": lambda percent: _set_volume(device, percent),
        "mute": lambda: _mute(device),
        "end_conversation": lambda: _end_conversation(device),
        "set_timer": lambda **given: _set_timer(device.alarm_clock, **given),
        "list_timers": lambda: _list_timers(device.alarm_clock),
        "cancel_timer": lambda timer: _cancel_timer(device.alarm_clock, timer),
        "device_status": device.status,
    }
    tools: dict[str, Tool] = {
        name: Tool(
            name=name,
            kind=BUILT_IN,
            description=DESCRIPTIONS[name],
            parameters=Parameters(_schema(name)),
            runner=_Function(functions[name]),
            timeout_s=TIMEOUT_S,
            at_once=4,
        )
        for name in names
        if name in functions
    }
    if "look" in names and device.look is not None:
        tools["look"] = Tool(
            name="look",
            kind=BUILT_IN,
            description=DESCRIPTIONS["look"],
            parameters=Parameters(_schema("look")),
            runner=_Look(device.look),
            timeout_s=device.look_s,
        )
    return tools


DESCRIPTIONS: dict[BuiltIn, str] = {
    "get_time": "Tells date and time where the person is. Use it whenever the time of day or the date matters.",
    "set_volume": "Sets how loud your voice is on this device, in percent.",
    "mute": "Switches off this device's microphone. Only the person there can switch it on again; say so first.",
    "end_conversation": "Ends this conversation. Say goodbye after calling it; then the device hangs up.",
    "set_timer": "Sets a timer on this device. It rings there, also when nobody is in a conversation.",
    "list_timers": "Lists the timers that are running, with their numbers and the time that is left.",
    "cancel_timer": "Cancels a timer by the number that list_timers or set_timer gave.",
    "look": "Takes a picture with this device's camera and shows it to you. Use it when the person wants you to see "
    "something.",
    "device_status": "Tells how this device is: its sound devices, its connection, its uptime.",
}

_COUNT = {"type": "integer", "minimum": 0}
_PROPERTIES: dict[BuiltIn, dict[str, Any]] = {
    "get_time": {
        "timezone": {"type": "string", "description": "IANA name such as Europe/Berlin; left out: where this device is"}
    },
    "set_volume": {
        "percent": {"type": "integer", "minimum": 0, "maximum": 100, "description": "0 is silent, 100 is loudest"}
    },
    "set_timer": {
        "hours": {**_COUNT, "maximum": 168, "description": "hours until it rings; added to minutes and seconds"},
        "minutes": {**_COUNT, "maximum": 10_080, "description": "minutes until it rings"},
        "seconds": {**_COUNT, "maximum": 604_800, "description": "seconds until it rings"},
        "label": {
            "type": "string",
            "maxLength": timers.MAX_LABEL_CHARS,
            "description": "what is ready then, in a word or two of the person's language, such as tea",
        },
    },
    "cancel_timer": {"timer": {**_COUNT, "description": "the number of the timer"}},
}
_REQUIRED: dict[BuiltIn, list[str]] = {"set_volume": ["percent"], "cancel_timer": ["timer"]}


def _schema(name: BuiltIn) -> dict[str, object]:
    return {"type": "object", "properties": _PROPERTIES.get(name, {}), "required": _REQUIRED.get(name, [])}


def get_time(timezone: str | None = None, now: datetime | None = None) -> str:
    """now: for tests. Raises ToolError if the time zone does not exist, or if this device's clock is not set."""
    zone: tzinfo | None = None
    if timezone:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ToolError(Fault.BAD_PARAMETERS, "There is no such time zone; names are like Europe/Berlin.") from None
    at = (now or datetime.now(UTC)).astimezone(zone)
    if at.timestamp() < EARLIEST_S:
        raise ToolError(Fault.FAILED, "The clock of this device has not been set yet; it needs the network for that.")
    return f"{at:%A}, {at.day} {at:%B %Y}, {at:%H:%M} ({timezone or at.tzname()}, {at:%z})."


def _set_volume(device: Device, percent: int) -> str:
    device.set_volume(percent / 100)
    return f"The volume is {percent} percent now."


def _mute(device: Device) -> str:
    warning = device.mute(True)
    more = f" Warn the person: {warning}." if warning else ""
    return f"The microphone is off. Only the person at the device can switch it on again.{more}"


def _end_conversation(device: Device) -> str:
    device.end_conversation()
    return "The conversation ends as soon as you have said goodbye."


def _set_timer(clock: AlarmClock, hours: int = 0, minutes: int = 0, seconds: int = 0, label: str = "") -> str:
    timer = clock.set(hours * 3600 + minutes * 60 + seconds, " ".join(clean(label).split()))
    named = f" ({timer.label})" if timer.label else ""
    stored = f" Warn the person: {clock.trouble}." if clock.trouble else ""
    return f"Timer {timer.number}{named} rings in {timers.duration(hours * 3600 + minutes * 60 + seconds)}.{stored}"


def _list_timers(clock: AlarmClock) -> str:
    running = clock.all()
    if not running:
        return "No timer is running."
    return " ".join(
        f"Timer {timer.number}{f' ({timer.label})' if timer.label else ''} has {timers.duration(left_s)} left."
        for timer, left_s in running
    )


def _cancel_timer(clock: AlarmClock, timer: int) -> str:
    cancelled = clock.cancel(timer)
    if cancelled is None:
        raise ToolError(Fault.FAILED, f"There is no timer {timer}.")
    return f"Timer {timer} was cancelled{f' ({cancelled.label})' if cancelled.label else ''}."
