"""The addresses of a mind, of ears and of a voice over HTTP: whether they are ones, and how they are shown. Pure."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from parleyd.core.errors import UserError


def is_address(url: str) -> bool:
    """Whether it can be asked."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check(url: str) -> None:
    """Raises UserError if it is no address."""
    if not is_address(url):
        text = f"base_url: {shown(url)} is no address"
        raise UserError(text, "write it like http://127.0.0.1:8080/v1", os.EX_CONFIG)


def shown(url: str) -> str:
    """The address without what may be secret: a user with a password, and a query."""
    before, has_host, rest = url.partition("://")
    if not has_host:
        before, rest = "", url
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{before}{has_host}{place.rpartition('@')[2]}{slash}{path}"
