"""A TLS server on loopback, for tests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext, answer: Callable[[], bytes]) -> Iterator[int]:
    """Yields its port. It sends the answer to each client that has said something."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(line, server_side=True) as secured:
                        secured.recv(4096)
                        secured.sendall(answer())

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            # Wakes the thread that waits in accept.
            listener.shutdown(socket.SHUT_RDWR)
