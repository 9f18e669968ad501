"""Whether an agent's server answers, found out without a session, which would cost something."""

from __future__ import annotations

import contextlib
import http.client
from urllib.parse import urlsplit

from parleyd.agents.provider import Agent
from parleyd.core.endings import DialError
from parleyd.host import authorities
from parleyd.host.reaching import Deadline
from parleyd.host.requests import open_http
from parleyd.host.resolving import NoThreadLeftError


def answers(agent: Agent, timeout_s: float) -> bool:
    """Blocks for up to twice timeout_s: asks for the address of a session, as far as a server has to be asked for it,
    and for any page of the server. An open port alone says little: the system accepts connections for a process that
    hangs."""
    deadline = Deadline(timeout_s)
    try:
        agent.dial(timeout_s)
        server = agent.server()
        host = f"[{server.host}]" if ":" in server.host else server.host
        url = urlsplit(f"{'https' if server.is_tls else 'http'}://{host}:{server.port}/")
        with deadline:
            way = open_http(url, (), deadline, tls=authorities.context())
            with contextlib.closing(way.connection) as connection:
                connection.request("GET", f"{way.prefix}/", headers={**way.headers, "Connection": "close"})
                # Any status shows that there is a server.
                way.answer().close()
    except (DialError, OSError, http.client.HTTPException, ValueError, NoThreadLeftError):
        return False
    return not deadline.is_over
