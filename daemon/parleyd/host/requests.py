"""A connection for one HTTP request: to the host, or to the proxy that the environment names for it.

It uses http.client of the standard library, which ignores proxies and follows no redirects. This
module is imported where it is needed, because http.client takes 8 ms and a megabyte.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult

from msgspec import Struct, field

from parleyd.host.proxies import Proxy, proxy_for
from parleyd.host.reaching import Deadline, Option, open_line, proxy_refusal


class Way(Struct, frozen=True):
    """connection: connected. prefix: the text before the path in the request line. headers: additional headers.

    proxy: the proxy that gets the request instead of the host.
    """

    connection: http.client.HTTPConnection
    prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    proxy: Proxy | None = None

    def answer(self) -> http.client.HTTPResponse:
        """The answer to the request that was sent. Raises OSError, HTTPException, and ProxyError for a status that only
        a proxy sends."""
        answer = self.connection.getresponse()
        if self.proxy is not None and answer.status == 407:
            raise proxy_refusal(self.proxy, answer.status, answer.reason, self.prefix.removeprefix("http://"))
        return answer


def open_http(
    url: SplitResult,
    options: Sequence[Option],
    deadline: Deadline,
    *,
    tls: ssl.SSLContext | None,
    tunnel: bool = False,
) -> Way:
    """url: http or https, with a host; its path does not matter. tls: for https; None: the url is http. tunnel: a
    proxy connects us with the host in any case, as for a WebSocket, whose handshake it would not pass on. Raises as
    open_line() does."""
    host, is_tls = url.hostname or "", url.scheme == "https"
    assert tls is not None or not is_tls
    default_port = 443 if is_tls else 80
    port = url.port or default_port
    proxy = proxy_for(host, port, is_tls=is_tls)
    connection = http.client.HTTPConnection(host, port)
    connection.default_port = default_port
    tunnel |= is_tls
    connection.sock = open_line(host, port, options, deadline, tls=tls if is_tls else None, proxy=proxy, tunnel=tunnel)
    if proxy is None or tunnel:
        return Way(connection)
    # RFC 9112, section 3.2.2: an unencrypted request goes to the proxy itself, because many proxies open no tunnel for
    # it.
    extra = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    return Way(connection, f"http://{url.netloc}", extra, proxy)
