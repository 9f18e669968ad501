"""Which HTTP requests come from a web page, and so from whoever wrote the page, rather than from a program. Pure.

A browser on this machine opens connections to 127.0.0.1 for any page. It tells the page's origin with every WebSocket
handshake (RFC 6455, section 10.2). With a plain GET to a name that was rebound to 127.0.0.1 (DNS rebinding) it tells
none, but the name itself, in Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def origin_refusal(origin: str | None, allowed: Collection[str] = ()) -> str | None:
    """Why a request with this Origin header is refused; None where it is not. Pages of this machine may ask; allowed:
    other origins, as https://example.org."""
    if origin is None or origin in allowed:
        return None
    try:
        name = urlsplit(origin).hostname
    except ValueError:
        name = None
    return None if name is not None and is_this_machine(name) else "The page's origin is not allowed here."


def host_refusal(host: str | None, own: Collection[str] = ()) -> str | None:
    """Why a request with this Host header is refused; None where it is not. own: further names of the server."""
    try:
        name = urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        name = ""
    return None if name is None or is_this_machine(name) or name in own else "There is no server of that name here."


def is_this_machine(name: str) -> bool:
    """localhost, and addresses of the loopback."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
