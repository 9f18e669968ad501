"""The numbers of the control socket's protocol, and its file's name, which both of its ends know. Pure.

Apart from messages.py, because a client needs no more than these, and is started for every order: see
tests/cli/test_light_clients.py.
"""

from __future__ import annotations

PROTOCOL = 2
SOCKET_NAME = "control.sock"
MAX_TEXT = 8000
