"""Recognises HTTP requests that a web page causes, and so the author of the page, rather than a program. Pure.

A browser on this machine opens connections to 127.0.0.1 for any page. It sends the page's origin with every WebSocket
handshake (RFC 6455, section 10.2). With a plain GET to a name that was rebound to 127.0.0.1 (DNS rebinding) it sends no
origin, but the name itself, in Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def origin_refusal(origin: str | None, allowed: Collection[str] = ()) -> str | None:
    """The reason for which a request with this Origin header is refused; None if it is accepted. Pages of this machine
    are accepted. allowed: further origins, such as https://example.org."""
    if origin is None or origin in allowed:
        return None
    try:
        name = urlsplit(origin).hostname
    except ValueError:
        name = None
    return None if name is not None and is_this_machine(name) else "The page's origin is not allowed here."


def host_refusal(host: str | None, own: Collection[str] = ()) -> str | None:
    """The reason for which a request with this Host header is refused; None if it is accepted. own: further names of
    the server."""
    try:
        name = urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        name = ""
    return None if name is None or is_this_machine(name) or name in own else "There is no server of that name here."


def is_this_machine(name: str) -> bool:
    """Whether the host is localhost or a loopback address."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
