"""A host has several addresses, and not all of them answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from parleyd.agents.elevenlabs.address import signed_address
from parleyd.agents.elevenlabs.endings import judge_http
from parleyd.agents.provider import Address
from parleyd.conversation.session.connecting import connect
from parleyd.core.endings import DialError
from parleyd.host.proxies import ProxyError
from parleyd.host.reaching import Deadline, abort, reach, unacknowledged_bytes
from several_addresses import addresses, silent


@contextlib.contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("first", [silent, nobody])
def test_an_address_that_does_not_work_keeps_nobody_from_the_next(
    first: Callable[[], AbstractContextManager[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with first() as bad, listening() as good:
        addresses(monkeypatch, bad, good)
        with reach("host.example", 443, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)], 30.0) as line:
            assert line.getpeername()[1] == good
            assert line.gettimeout() == 30.0
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_first_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as first, listening() as second:
        addresses(monkeypatch, first, second)
        with reach("host.example", 443, [], 30.0) as line:
            assert line.getpeername()[1] == first


def test_nobody_listens_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody() as one, nobody() as other:
        addresses(monkeypatch, one, other)
        with pytest.raises(OSError, match="refused"):
            reach("host.example", 443, [], 30.0)


def test_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as one, silent() as other:
        addresses(monkeypatch, one, other)
        with pytest.raises(TimeoutError):
            reach("host.example", 443, [], 0.5)


def test_what_answers_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Watched(socket.socket):
        def __init__(self, *args: int) -> None:
            super().__init__(*args)
            made.append(self)

    with silent() as bad, listening() as good:
        addresses(monkeypatch, bad, good)
        monkeypatch.setattr(socket, "socket", Watched)
        with reach("host.example", 443, [], 30.0):
            assert [line.fileno() == -1 for line in made] == [True, False]


def test_without_a_thread_left_there_is_no_line_and_no_other_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with listening() as port, monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", refuse)
        system.setattr("_thread.start_new_thread", refuse)
        for url in (f"ws://127.0.0.1:{port}/", f"ws://localhost:{port}/"):
            with pytest.raises(DialError, match="no thread left"):
                connect(Address(url), 30.0, judge_http, key="elevenlabs.base_url")
        with pytest.raises(DialError, match="no thread left"):
            signed_address(f"http://127.0.0.1:{port}", "a", "sk_0123456789", 30.0)
        with pytest.raises(OSError, match="no thread left"):
            reach("localhost", port, [], 30.0)


def test_what_is_cut_off_is_told_as_late_and_what_is_certain_as_it_is() -> None:
    with Deadline(30.0) as deadline:
        lost, proxied = ConnectionResetError(), ProxyError("the proxy", "m", is_lasting=True)
        assert deadline.cause(lost) is lost
        deadline.cut_off()
        assert isinstance(deadline.cause(lost), TimeoutError)
        assert deadline.cause(proxied) is proxied


def test_a_line_that_is_given_after_the_time_is_cut_off_at_once() -> None:
    one, other = socket.socketpair()
    with one, other, Deadline(30.0) as deadline:
        deadline.cut_off()
        deadline.guard(one)
        assert other.recv(1) == b""


def read_to_the_end(line: socket.socket) -> None:
    while line.recv(2**20):
        pass


def test_a_connection_is_reset_while_another_thread_reads_it() -> None:
    """What waits to be sent is discarded: the other side sees a lost connection, and no regular end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        errors: list[OSError] = []

        def read() -> None:
            try:
                ours.recv(1)
            except OSError as error:
                errors.append(error)

        with ours, theirs:
            # More than the other side takes without reading.
            ours.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(2**16))
            ours.setblocking(True)
            assert unacknowledged_bytes(ours) > 0
            reading = threading.Thread(target=read)
            reading.start()
            assert abort(ours)
            reading.join()
            assert len(errors) == 1
            with pytest.raises(ConnectionResetError):
                read_to_the_end(theirs)


def test_a_closed_socket_is_not_aborted() -> None:
    one = socket.socket()
    one.close()
    assert not abort(one)
