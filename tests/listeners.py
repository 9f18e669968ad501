"""Which addresses a TCP port of this machine listens on, as the kernel says."""

from __future__ import annotations

import socket
from pathlib import Path

_LISTENING = "0A"


def addresses(port: int) -> set[str]:
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, of_port = local.partition(":")
            if state == _LISTENING and int(of_port, 16) == port:
                # Words of 32 bits, each in this machine's order.
                words = (address[start : start + 8] for start in range(0, len(address), 8))
                found.add(socket.inet_ntop(family, b"".join(bytes.fromhex(word)[::-1] for word in words)))
    return found
