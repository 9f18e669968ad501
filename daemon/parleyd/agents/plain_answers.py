"""Judges the answer of a server to a plain HTTP request at the address of its sessions. Pure.

Nothing is begun by such a request, so it costs nothing. A server that speaks WebSocket there refuses it, in one of few
ways. All else is somebody between: the page of a guest network, a proxy whose server is away.
"""

from __future__ import annotations

# Bad request, not found (of frameworks that know the path for WebSocket alone), method not allowed, upgrade required
# (RFC 9110, section 15.5).
_WANTS_WEBSOCKET = frozenset((400, 404, 405, 426))


def is_page(body: str) -> bool:
    """Whether this is written for a browser. No API answers so."""
    return body.lstrip("\ufeff \t\r\n").startswith("<")


def wants_websocket(status: int, body: str) -> bool:
    """Whether the server would open a WebSocket there."""
    return status in _WANTS_WEBSOCKET and not is_page(body)
