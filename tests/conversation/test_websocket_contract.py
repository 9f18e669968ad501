"""What BoundedWebSocket takes from the private parts of websocket-client: a new version of it has to pass this.

Two ends of a real line, without the handshake: what comes is written byte by byte.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import websocket

from parleyd.conversation.session.bounded_socket import MOST_MESSAGE_BYTES, BoundedWebSocket, MessageTooLongError

TEXT, BINARY, MORE, LAST = 0x1, 0x2, 0x00, 0x80


def frame(kind: int, payload: bytes, *, length: int | None = None) -> bytes:
    """As a server sends it: unmasked. length: what it says of itself."""
    return bytes([kind, 127]) + (len(payload) if length is None else length).to_bytes(8, "big") + payload


@pytest.fixture
def line() -> Iterator[tuple[BoundedWebSocket, socket.socket]]:
    """Ours, and the server's end."""
    ours, theirs = socket.socketpair()
    one = BoundedWebSocket()
    one.sock, one.connected = ours, True
    one.settimeout(60)
    with ours, theirs:
        yield one, theirs


def test_a_message_and_one_in_pieces(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    one, server = line
    server.sendall(frame(LAST | TEXT, b"whole") + frame(MORE | TEXT, b"in ") + frame(LAST, b"pieces"))
    assert (one.recv(), one.recv()) == ("whole", "in pieces")


def test_a_frame_that_is_too_long_is_refused_by_its_head(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    one, server = line
    server.sendall(frame(LAST | BINARY, b"", length=MOST_MESSAGE_BYTES + 1))
    with pytest.raises(MessageTooLongError, match="more than 16 MiB"):
        one.recv()


def test_pieces_that_are_too_long_together_are_refused(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    one, server = line
    piece = bytes(MOST_MESSAGE_BYTES // 4 + 1)

    def send() -> None:
        for number in range(4):
            server.sendall(frame(MORE | (0 if number else BINARY), piece))

    sending = threading.Thread(target=send)
    sending.start()
    with pytest.raises(MessageTooLongError):
        one.recv()
    sending.join()


def test_bytes_that_drip_in_do_not_put_off_the_end(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    one, server = line
    is_over = threading.Event()

    def drip() -> None:
        server.sendall(frame(LAST | BINARY, b"", length=1000))
        while not is_over.wait(0.02):
            server.sendall(b".")

    dripping = threading.Thread(target=drip)
    dripping.start()
    one.until_s = time.monotonic() + 0.3
    try:
        with pytest.raises(websocket.WebSocketTimeoutException):
            one.recv()
    finally:
        is_over.set()
        dripping.join()


def test_the_socket_stays_open_when_the_server_has_closed_it(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    """Another thread may be sending, and the number of a closed socket may soon be another file's."""
    one, server = line
    number = one.fileno()
    server.close()
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        one.recv()
    os.fstat(number)
    assert one.fileno() == number


def test_text_that_is_no_utf_8_is_not_looked_through(line: tuple[BoundedWebSocket, socket.socket]) -> None:
    """That would be 200 times the work of all the rest."""
    one, server = line
    server.sendall(frame(LAST | TEXT, b"\xff"))
    with pytest.raises(UnicodeDecodeError):
        one.recv()
