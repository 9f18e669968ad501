"""Finds the proxy for a connection in the environment; all connections of the program use it. Pure.

The variables, their order and their meaning are those of curl (curl(1), ENVIRONMENT), and docs/network.md describes
them. Only proxies with plain HTTP are supported; all others are refused by name.
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_DEFAULT_PORT = 80
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_KNOWN_SCHEMES = ("https", "socks", "socks4", "socks4a", "socks5", "socks5h")


class ProxyError(OSError):
    """A proxy that is set and cannot be used. str(): the reason, without the password.

    is_lasting: another try is useless until something is changed.
    """

    def __init__(self, reason: str, hint: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.hint = hint
        self.is_lasting = is_lasting


@dataclass(frozen=True)
class Proxy:
    """variable: the environment variable that named it. authorization: the value of the header Proxy-Authorization."""

    host: str
    port: int
    variable: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """Host and port, without user and password."""
        return f"{self.address} ({self.variable})"


def proxy_for(host: str, port: int, *, is_tls: bool, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy through which to connect, or None. Raises ProxyError if the named proxy cannot be used.

    This machine is never reached through a proxy: for the proxy, "localhost" is another machine.
    """
    host = host.strip("[]").rstrip(".").lower()
    found = next(_named(is_tls, environment), None)
    if found is None or is_this_machine(host):
        return None
    variable, value = found
    if not value.strip() or _is_excepted(host, port, environment):
        return None
    return _parsed(variable, value.strip())


def is_this_machine(host: str) -> bool:
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _named(is_tls: bool, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The first variable that is set, in the order of curl. An empty value counts, too: it means no proxy."""
    own = "https_proxy" if is_tls else "http_proxy"
    # curl ignores HTTP_PROXY in capitals: a web server sets it for its programs from a visitor's header `Proxy`. No web
    # server starts parleyd.
    for name in (own, own.upper(), "all_proxy", "ALL_PROXY"):
        if name in environment:
            yield name, environment[name]


def _parsed(variable: str, value: str) -> Proxy:
    scheme = _SCHEME.match(value)
    if scheme and scheme["scheme"].lower() != "http":
        name = scheme["scheme"].lower()
        rest = value[scheme.end() :].rpartition("@")[2].partition("/")[0]
        shown = f"{name}://{rest}" if name in _KNOWN_SCHEMES and rest.isprintable() else f"{name}://"
        raise ProxyError(
            f"the proxy {shown} ({variable}) is not supported",
            f"set {variable} to an HTTP proxy, http://HOST:PORT, or take the host into no_proxy",
            is_lasting=True,
        )
    try:
        parts = urlsplit(value if scheme else f"http://{value}")
        host, port, user, password = parts.hostname, parts.port, parts.username, parts.password
    except ValueError:
        host = port = user = password = None
    # Refuses characters that would end a line of the request, or that cannot be part of a host.
    if not host or re.search(r"[\s\x00-\x20\x7f\"'<>\\^`{|}]", host) or not host.isascii():
        raise ProxyError(
            f"{variable} holds no address of a proxy",
            f"set {variable} to http://HOST:PORT, or remove it",
            is_lasting=True,
        )
    authorization = None
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}"
        authorization = "Basic " + b64encode(pair.encode("utf-8", "replace")).decode()
    return Proxy(host, port if port is not None else _DEFAULT_PORT, variable, authorization)


# ---------------------------------------------------------------- no_proxy


def _is_excepted(host: str, port: int, environment: Mapping[str, str]) -> bool:
    listed = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    return any(_excepts(one.lower(), host, port) for one in re.split(r"[\s,]+", listed) if one)


def _excepts(rule: str, host: str, port: int) -> bool:
    """rule: *, a name with all below it, an address, a network in CIDR; each but the first and last with a port."""
    if rule == "*":
        return True
    address = _address(host)
    network = _network(rule)
    if network is not None:
        return address is not None and address in network
    with_port = re.fullmatch(r"(\[[0-9a-f:.%]+\]|[^:\[\]]+):(\d+)", rule)
    if with_port:
        if int(with_port[2]) != port:
            return False
        rule = with_port[1]
    rule_address = _address(rule.strip("[]"))
    if rule_address is not None or address is not None:
        return rule_address == address
    name = rule.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is the IPv4 address 192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _network(rule: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in rule:
        return None
    try:
        return ipaddress.ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        return None
