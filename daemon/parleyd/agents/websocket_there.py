"""Finds out whether a server would open a WebSocket, without one: judges its answer to a handshake that cannot succeed.
Pure.

The handshake asks for a version that does not exist. A server of WebSocket refuses it before any program behind it
learns of it (RFC 6455, section 4.2.2), so nothing is begun, and nothing costs anything. All else has no WebSocket
there: the page of a guest network, a proxy whose server is away, a gateway that has lost its route. A plain request
would not tell these apart: frameworks that know a path for WebSocket alone answer it with 404, as a gateway does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# The headers of the handshake. The key is any 16 bytes.
NO_SESSION: Mapping[str, str] = MappingProxyType(
    {
        "Connection": "Upgrade, close",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "0",
        "Sec-WebSocket-Key": "cGFybGV5ZCByZWFjaGVzLg==",
    }
)
# Bad request, of most servers; upgrade required, of those that name the version that they have; and 101 of one that
# does not look at it, which loses the line at once.
_SPEAKS_WEBSOCKET = frozenset((101, 400, 426))


def is_handshake(headers: Mapping[str, str]) -> bool:
    """Whether a request with these headers is that handshake, and takes the way of a session."""
    return headers.get("Upgrade") == NO_SESSION["Upgrade"]


def is_page(body: str) -> bool:
    """Whether this is written for a browser. No API answers so."""
    return body.lstrip("\ufeff \t\r\n").startswith("<")


def speaks_websocket(status: int, body: str) -> bool:
    """Whether the server would open a WebSocket there. status, body: of its answer to NO_SESSION."""
    return status in _SPEAKS_WEBSOCKET and not is_page(body)
