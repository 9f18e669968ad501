"""A client that is closed while another thread of its program follows the events."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from parleyd.control.client import Client, NotRunningError

WAIT_S = 60.0


def test_closing_does_not_wait_for_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        served: list[socket.socket] = []

        def serve() -> None:
            connection, _ = listening.accept()
            served.append(connection)
            connection.sendall(b'{"parleyd": "0", "protocol": 2}\n{"event": "muted"}\n')

        threading.Thread(target=serve, daemon=True).start()
        client = Client(path)
        has_read = threading.Event()

        def follow() -> None:
            with contextlib.suppress(NotRunningError, OSError, ValueError):
                for _ in client.events():
                    has_read.set()

        reader = threading.Thread(target=follow, daemon=True)
        reader.start()
        assert has_read.wait(WAIT_S)
        state = Path(f"/proc/self/task/{reader.native_id}/stat")
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            has_read.wait(0.01)
        closer = threading.Thread(target=client.__exit__, args=(None, None, None), daemon=True)
        closer.start()
        closer.join(WAIT_S)
        assert not closer.is_alive()
        reader.join(WAIT_S)
        assert not reader.is_alive()
        served[0].close()
