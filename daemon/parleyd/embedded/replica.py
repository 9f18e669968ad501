"""The properties of one of several servers behind a balancer: its name, the secret, its limit, its certificate."""

from __future__ import annotations

import re
import secrets
import ssl
from dataclasses import dataclass, field

# In ids, and in the rules of a balancer.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
READY_PATH, LIVE_PATH, METRICS_PATH = "/health/ready", "/health/live", "/metrics"


@dataclass(frozen=True)
class Replica:
    """name: in the ids of its conversations, so that a balancer can send a file to the server that has the
    conversation; "": none. secret: of the signed URLs; the same for all replicas. most_sessions: None for no limit.
    tls: None: plain HTTP."""

    name: str = ""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    most_sessions: int | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    # Ids must be unique over replicas, and over the starts of each.
    _run: str = field(default_factory=lambda: secrets.token_hex(5), init=False)

    def new_id(self, kind: str, number: int) -> str:
        """An id such as conv_NAME_8c1f02d7aa0001."""
        name = f"{self.name}_" if self.name else ""
        return f"{kind}_{name}{self._run}{number:04}"
