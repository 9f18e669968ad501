"""Microphones and speakers by the names that PulseAudio or PipeWire have for them; ALSA knows `default` alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from parleyd.host import subprocesses

Kind = Literal["source", "sink"]

# A sound server that hangs must not block a list.
_SERVER_S = 3.0
_HDMI = re.compile(r"\b(hdmi|displayport|vc4)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerDevice:
    """A device of the sound server."""

    name: str
    """The server's own name, for pactl."""
    description: str
    """The name that is shown to people."""
    is_default: bool
    """True if it is the server's default."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def is_hdmi(name: str) -> bool:
    """Whether the device is an HDMI output, at whose end there is often no speaker. vc4: the Raspberry Pi's."""
    return _HDMI.search(name.replace("_", " ")) is not None


def hdmi_last(devices: Iterable[N]) -> list[N]:
    return sorted(devices, key=lambda device: is_hdmi(device.name))


def listed_by_server(kind: Kind) -> list[ServerDevice] | None:
    """All sources or sinks, HDMI last; None if no server answers, or if its tool pactl is not installed. Monitors of
    speakers are left out, because they are not microphones."""
    try:
        answers = [
            subprocesses.ask(["pactl", *words], timeout_s=_SERVER_S)
            for words in (["-f", "json", "list", f"{kind}s"], [f"get-default-{kind}"])
        ]
        if any(answer.status for answer in answers):
            return None
        listed, default = json.loads(answers[0].output), answers[1].output.strip()
    except (OSError, ValueError):
        return None
    found = [
        ServerDevice(one["name"], one.get("description") or one["name"], one["name"] == default)
        for one in listed
        if not one.get("monitor_source") or kind == "sink"
    ]
    return sorted(found, key=lambda one: is_hdmi(one.name) or is_hdmi(one.description))


def set_default(kind: Kind, name: str) -> bool:
    """Makes it the server's default, for all programs of this user. Returns whether the server did so."""
    try:
        return subprocesses.ask(["pactl", f"set-default-{kind}", name], timeout_s=_SERVER_S).status == 0
    except OSError:
        return False
