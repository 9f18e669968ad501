"""The rules for the section `wyoming`, which types cannot express. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config

KEY = "wyoming"
# IPv4 as sockets for both have it (RFC 4291, 2.5.5.2). `parleyd wyoming` compares IPv4 as such: nothing in here fits.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """See rules.check."""
    wyoming = config.wyoming
    if is_settled(f"{KEY}.allow"):
        for one in wyoming.allow:
            try:
                network = ipaddress.ip_network(one)
                if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
                    raise ValueError("IPv4 is written as IPv4")
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
