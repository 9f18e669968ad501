"""An HTTP proxy in a process of its own: own_proxy.py MODE TARGET_PORT. Prints its port, then a line per request.

Whatever host it is asked for, it connects with TARGET_PORT on loopback: names of tests exist nowhere. MODE: open; or a
status with which it refuses everybody; or basic:USER:PASSWORD; or silent, or garbage, or drip.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from waiting import rest_of


def _head(line: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (piece := line.recv(1)):
        data += piece
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _serve(line: socket.socket, mode: str, target_port: int) -> None:
    head = _head(line).decode("latin-1")
    first, *fields = head.split("\r\n")
    print(first, flush=True)
    given = next((one.partition(": ")[2] for one in fields if one.lower().startswith("proxy-authorization:")), "")
    if mode == "silent":
        line.recv(1)
        return
    if mode == "garbage":
        line.sendall(b"SSH-2.0-OpenSSH\r\n")
        return
    if mode == "drip":
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 " + b"x" * 1000:
                line.sendall(bytes([byte]))
                time.sleep(0.05)  # A proxy that is slow for ever.
        return
    wanted = mode.partition(":")[2]
    if wanted and given != "Basic " + base64.b64encode(wanted.encode()).decode():
        line.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n<p>who are you?")
        return
    if mode.isdigit():
        line.sendall(f"HTTP/1.1 {mode} No\r\nContent-Length: 0\r\n\r\n".encode())
        return
    with socket.create_connection(("127.0.0.1", target_port)) as other:
        if first.startswith("CONNECT "):
            line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            method, address, version = first.split(" ")
            path = "/" + address.partition("//")[2].partition("/")[2]
            # What is between two neighbours alone is not passed on (RFC 9110, section 7.6.1): neither is a handshake.
            kept = [one for one in fields if not one.lower().startswith(("proxy-", "connection:", "upgrade:"))]
            other.sendall("\r\n".join([f"{method} {path} {version}", "Connection: close", *kept]).encode("latin-1"))
        back = threading.Thread(target=_copy, args=(other, line), daemon=True)
        back.start()
        _copy(line, other)
        back.join()


def main(mode: str, target_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            line, _ = listener.accept()

            def serve(line: socket.socket = line) -> None:
                with line, contextlib.suppress(OSError):
                    _serve(line, mode, target_port)

            threading.Thread(target=serve, daemon=True).start()


class OwnProxy:
    """The process. asked(): the request lines that came, after it was closed."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port
        self._asked: list[str] | None = None

    def asked(self) -> list[str]:
        if self._asked is None:
            self._process.terminate()
            self._asked = rest_of(self._process)[0].splitlines()
        return self._asked


@contextlib.contextmanager
def proxy(mode: str, target_port: int = 9) -> Iterator[OwnProxy]:
    command = [sys.executable, __file__, mode, str(target_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        running = OwnProxy(process, int(process.stdout.readline()))
        try:
            yield running
        finally:
            running.asked()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
