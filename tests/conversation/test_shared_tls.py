"""One TLS connection, one thread that reads and one that writes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme

from parleyd.conversation.session.shared_tls import SharedTlsSocket

Serve = Callable[[ssl.SSLSocket], None]


@contextlib.contextmanager
def connected(serve: Serve) -> Iterator[SharedTlsSocket]:
    """serve(line) runs in one thread, on the other side."""
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # That of the process is left as it is.
    ours = ssl.create_default_context()
    ours.sslsocket_class = SharedTlsSocket
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    near, far = socket.socketpair()

    def run() -> None:
        with contextlib.suppress(OSError), theirs.wrap_socket(far, server_side=True) as line:
            serve(line)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        near.settimeout(60)
        with ours.wrap_socket(near, server_hostname="localhost") as line:
            assert isinstance(line, SharedTlsSocket)
            line.share()
            yield line
    finally:
        thread.join()


def echo(line: ssl.SSLSocket) -> None:
    while data := line.recv(65536):
        line.sendall(data)


@contextlib.contextmanager
def silent() -> Iterator[SharedTlsSocket]:
    """The other side neither reads nor writes."""
    done = threading.Event()
    with connected(lambda _line: wait(done)) as line:
        try:
            yield line
        finally:
            done.set()


def wait(done: threading.Event) -> None:
    done.wait(60)


def write_for_ever(line: SharedTlsSocket) -> None:
    while True:
        line.send(b"x" * 65536)


def test_all_that_is_written_is_read_meanwhile() -> None:
    sent = bytes(range(256)) * 16_000
    heard = bytearray()
    with connected(echo) as line:

        def write() -> None:
            at = 0
            while at < len(sent):
                at += line.send(sent[at : at + 5000])

        writer = threading.Thread(target=write)
        writer.start()
        while len(heard) < len(sent):
            heard += line.recv(16384)
        writer.join()
    assert heard == sent


def test_the_timeout_is_that_of_a_socket() -> None:
    with silent() as line:
        line.settimeout(0.05)
        assert line.gettimeout() == 0.05
        with pytest.raises(TimeoutError):
            line.recv(1)
        with pytest.raises(TimeoutError):
            write_for_ever(line)


def test_after_a_shutdown_no_cipher_is_taken_for_the_message() -> None:
    """Whoever reads at that moment finds the rest of it, or an end."""

    def flood(line: ssl.SSLSocket) -> None:
        while True:
            line.sendall(b"a" * 10_000)

    heard = bytearray()
    with connected(flood) as line:
        heard += line.recv(16384)
        line.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            while data := line.recv(16384):
                heard += data
    assert set(heard) == {ord("a")}


def test_a_shutdown_wakes_who_reads() -> None:
    woken = threading.Event()
    with silent() as line:

        def read() -> None:
            with contextlib.suppress(OSError):
                line.recv(1)
            woken.set()

        threading.Thread(target=read).start()
        line.shutdown(socket.SHUT_RDWR)
        assert woken.wait(60)
