"""The addresses of a server of the OpenAI Realtime protocol. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from parleyd.agents.openai.session_settings import model
from parleyd.agents.provider import Address, Server
from parleyd.config.openai_section import OpenAI
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.host.proxies import is_this_machine

KEY = "openai.base_url"


def session_address(config: OpenAI, key: str | None) -> Address:
    """The address at which sessions are opened. Raises DialError.

    The retired header OpenAI-Beta is never sent: with it the server ends each session.
    """
    server(config)
    check_key(config, key)
    parts = urlsplit(config.base_url)
    query = dict(config.query)
    if config.model_in in ("query", "both") and (named := model(config)) is not None:
        query["model"] = named
    scheme = "wss" if parts.scheme == "https" else "ws"
    path = f"{parts.path.rstrip('/')}/realtime"
    url = urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))
    return Address(url, tuple(f"{name}: {value}" for name, value in headers(config, key).items()))


def sessions_over_http(config: OpenAI, key: str | None) -> str:
    """The address of sessions for a plain HTTP request. Raises DialError."""
    parts = urlsplit(session_address(config, key).url)
    return urlunsplit(parts._replace(scheme="https" if parts.scheme == "wss" else "http"))


def http_url(config: OpenAI, *path: str) -> str:
    """A URL beside the sessions', such as /models/NAME."""
    base = config.base_url.rstrip("/")
    query = f"?{urlencode(config.query)}" if config.query else ""
    return "/".join((base, *(quote(part, safe="") for part in path))) + query


def headers(config: OpenAI, key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {config.key_header: f"Bearer {key}" if config.key_header.lower() == "authorization" else key}


def server(config: OpenAI) -> Server:
    """Raises DialError if the address is not usable."""
    parts = urlsplit(config.base_url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise DialError(Ending(EndingKind.FINAL, "openai.base_url has no usable host or port", "correct it"))
    is_tls = parts.scheme == "https"
    return Server(host, port or (443 if is_tls else 80), is_tls, KEY)


def check_key(config: OpenAI, key: str | None) -> None:
    """Raises DialError if the key would cross the network unencrypted."""
    parts = urlsplit(config.base_url)
    if key is not None and parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        raise DialError(
            Ending(
                EndingKind.FINAL,
                "the API key would cross the network unencrypted",
                "use https in openai.base_url, or remove openai.api_key",
            )
        )
