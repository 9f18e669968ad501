"""The rules for the section `wyoming`, which types cannot express. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config

KEY = "wyoming"


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """See rules.check."""
    wyoming = config.wyoming
    if is_settled(f"{KEY}.allow"):
        for one in wyoming.allow:
            try:
                ipaddress.ip_network(one)
            except ValueError as error:
                text = f"{one} is neither an address nor a network: {error}"
                yield KeyProblem(f"{KEY}.allow", text, "write such as 192.168.1.10 or 192.168.1.0/24")
        if wyoming.allow and config.control.socket == "off":
            text = "`parleyd wyoming` could not reach the daemon: control.socket is off"
            yield KeyProblem(f"{KEY}.allow", text, "set control.socket to auto")
        if wyoming.allow and is_settled("audio.mode") and config.audio.mode == "off":
            yield KeyProblem(f"{KEY}.allow", "there is nothing to play it with: audio.mode is off", "set it to on")
    if is_settled(f"{KEY}.host") and wyoming.host is not None:
        try:
            ipaddress.ip_address(wyoming.host)
        except ValueError:
            text = f"{wyoming.host} is no address"
            yield KeyProblem(f"{KEY}.host", text, "write one of this machine's, such as 192.168.1.20, or null")
