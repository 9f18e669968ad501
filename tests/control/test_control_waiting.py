"""Nobody waits for another client: a control server whose handler takes its time."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parleyd.config.schema import Control
from parleyd.control import messages, server
from parleyd.control.commands import takes_time
from parleyd.control.messages import AnyRequest, RequestError
from parleyd.control.roles import Caller, roles_of
from parleyd.control.server import MOST_WORKERS, ControlServer
from parleyd.core import events
from parleyd.core.errors import UserError
from waiting import until

WAIT_S = 60.0


class Talker:
    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.settimeout(WAIT_S)
        self._path = path
        self._lines: Any = None

    def connect(self) -> Talker:
        self.connection.connect(str(self._path))
        self._lines = self.connection.makefile("rb")
        return self

    def send(self, *requests: dict[str, object]) -> Talker:
        self.connection.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in requests))
        return self

    def next(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, "the server has hung up"
        found: dict[str, Any] = json.loads(line)
        return found

    def answer(self) -> Any:
        while "parleyd" in (message := self.next()):
            pass
        return message


class Slow:
    """A server whose `volume` waits until it may go on. meanwhile: what the handler of another request does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.may_go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.deaths: list[BaseException] = []
        self.died = threading.Event()
        self.fault: Exception | None = None
        self.asked: list[str] = []
        # `status` holds up the control thread itself while this is not set.
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.server = ControlServer(
            path,
            self.handle,
            lambda: {"state": "asleep"},
            events.Bus(),
            self.on_death,
            roles_of(Control()),
            takes_time,
        )

    def on_death(self, what: str, error: BaseException) -> None:
        self.deaths.append(error)
        self.died.set()

    def handle(self, request: AnyRequest, descriptor: int | None, caller: Caller) -> object:
        if isinstance(request, messages.Volume):
            self.begun.release()
            assert self.may_go_on.wait(WAIT_S)
            if self.fault is not None:
                raise self.fault
            return {"volume": request.to}
        self.meanwhile.get(type(request).__name__, lambda: None)()
        if isinstance(request, messages.Status):
            self.begun.release()
            assert self.may_answer.wait(WAIT_S)
        self.asked.append(type(request).__name__)
        return {"was": type(request).__name__}

    def caller(self) -> Talker:
        return Talker(self.path).connect()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    one = Slow(tmp_path / "control.sock")
    one.server.start()
    yield one
    one.may_go_on.set()
    one.server.stop()


def ok(answer: Any) -> Any:
    assert answer.get("ok"), answer
    return answer


def test_others_are_answered_while_one_waits_for_a_mixer(slow: Slow) -> None:
    waiting = [slow.caller().send({"do": "volume", "to": n / 10, "id": n}) for n in range(MOST_WORKERS + 3)]
    for _ in range(MOST_WORKERS):
        assert slow.begun.acquire(timeout=WAIT_S)
    other = slow.caller()
    for _ in range(3):
        assert ok(other.send({"do": "status"}).answer())["result"] == {"was": "Status"}
    slow.may_go_on.set()
    for n, caller in enumerate(waiting):
        assert ok(caller.answer())["result"] == {"volume": n / 10}
    assert slow.deaths == []


def test_an_answer_that_is_ready_while_another_client_is_served_is_sent(slow: Slow) -> None:
    """The nudge of the worker must not be read as part of an earlier nudge, after its answer was looked for."""
    one, first, second = (slow.caller() for _ in range(3))
    for caller in (first, second):
        ok(caller.send({"do": "unmute"}).answer())

    def both_become_readable() -> None:
        # In this order, and for the same select(): the second client's request, then a nudge.
        second.send({"do": "mute"})
        slow.server._nudge()

    def the_worker_answers() -> None:
        slow.may_go_on.set()
        until("the worker has not ended", lambda: not slow.server._workers, WAIT_S)

    slow.meanwhile = {"Sleep": both_become_readable, "Mute": the_worker_answers}
    one.send({"do": "volume", "to": 0.5})
    assert slow.begun.acquire(timeout=WAIT_S)
    ok(first.send({"do": "sleep"}).answer())
    ok(second.answer())
    assert ok(one.answer())["result"] == {"volume": 0.5}


def test_what_a_client_sent_before_it_went_away_is_carried_out(slow: Slow) -> None:
    """It reads nothing: neither the greeting nor an answer can be sent to it any more."""
    slow.may_answer.clear()
    slow.caller().send({"do": "status"})
    assert slow.begun.acquire(timeout=WAIT_S)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hurried:
        hurried.connect(str(slow.path))
        hurried.sendall(b'{"do": "mute"}\n{"do": "volume", "to": 0.1}\n{"do": "sleep"}')
    slow.may_answer.set()
    slow.may_go_on.set()
    until("all requests", lambda: slow.asked == ["Status", "Mute", "Sleep"])
    until("the end of the connection", lambda: len(slow.server._clients) <= 1)
    assert slow.deaths == []


def test_the_requests_of_one_client_are_answered_in_their_order(slow: Slow) -> None:
    caller = slow.caller()
    caller.send({"do": "volume", "to": 0.1, "id": 1}, {"do": "status", "id": 2}, {"do": "volume", "to": 0.3, "id": 3})
    caller.send({"do": "mute", "id": 4})
    caller.connection.shutdown(socket.SHUT_WR)
    assert slow.begun.acquire(timeout=WAIT_S)
    slow.may_go_on.set()
    assert [ok(caller.answer())["id"] for _ in range(4)] == [1, 2, 3, 4]
    assert caller.connection.recv(1) == b""


def test_who_leaves_meanwhile_is_forgotten(slow: Slow) -> None:
    gone = slow.caller().send({"do": "volume", "to": 0.1})
    assert slow.begun.acquire(timeout=WAIT_S)
    gone.connection.close()
    slow.may_go_on.set()
    other = slow.caller()
    assert ok(other.send({"do": "volume", "to": 0.7}).answer())["result"] == {"volume": 0.7}
    assert slow.deaths == []


def test_what_a_worker_cannot_do_is_told_and_a_defect_ends_the_daemon(slow: Slow) -> None:
    slow.may_go_on.set()
    slow.fault = RequestError("unavailable", "the mixer does not answer", "see the card")
    answer = slow.caller().send({"do": "volume", "to": 0.1, "id": 7}).answer()
    assert (answer["ok"], answer["id"], answer["error"]["kind"]) == (False, 7, "unavailable")
    slow.fault = ZeroDivisionError("a defect")
    # Kept: a client that leaves before it has read anything takes its request along.
    caller = slow.caller().send({"do": "volume", "to": 0.1})
    assert slow.died.wait(WAIT_S)
    assert slow.deaths == [slow.fault]
    caller.connection.close()


def test_without_memory_the_request_is_refused_and_the_next_one_is_served(slow: Slow) -> None:
    def none_left() -> None:
        raise MemoryError("Unable to allocate 4 MiB")

    slow.may_go_on.set()
    slow.fault = MemoryError("Unable to allocate 1 MiB")
    slow.meanwhile = {"Mute": none_left}
    caller = slow.caller()
    for request, much in (({"do": "volume", "to": 0.1, "id": 7}, "1 MiB"), ({"do": "mute", "id": 7}, "4 MiB")):
        answer = caller.send(request).answer()
        assert (answer["ok"], answer["id"], answer["error"]["kind"]) == (False, 7, "busy")
        assert answer["error"]["text"] == f"there is not enough memory (Unable to allocate {much})"
    assert ok(caller.send({"do": "status"}).answer())
    assert slow.deaths == []


@pytest.mark.parametrize(
    "lack", [OSError(24, "Too many open files", "reading.py"), ImportError("_ssl.so: cannot open shared object file")]
)
def test_a_request_for_which_the_system_refuses_something_is_refused(slow: Slow, lack: Exception) -> None:
    """Modules that few requests need are imported at their first use."""

    def refused() -> None:
        raise lack

    slow.may_go_on.set()
    slow.fault = lack
    slow.meanwhile = {"Mute": refused}
    caller = slow.caller()
    for request in ({"do": "volume", "to": 0.1, "id": 7}, {"do": "mute", "id": 7}):
        answer = caller.send(request).answer()
        assert (answer["ok"], answer["id"], answer["error"]["kind"]) == (False, 7, "busy")
        assert str(lack) in answer["error"]["text"]
    assert ok(caller.send({"do": "status"}).answer())
    assert slow.deaths == []


def test_without_a_thread_to_be_had_the_client_is_told(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    caller = slow.caller()
    assert "parleyd" in caller.next()
    monkeypatch.setattr(threading.Thread, "start", none_left)
    answer = caller.send({"do": "volume", "to": 0.1}).answer()
    assert answer["error"]["kind"] == "busy"
    assert ok(caller.send({"do": "status"}).answer())


def test_without_a_free_handle_those_who_are_there_are_served(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCEPT_AGAIN_S", 3600.0)
    here, there = slow.caller(), Talker(slow.path)
    ok(here.send({"do": "status"}).answer())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    fillers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1, limits[1]))
    try:
        while True:
            try:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        there.connection.connect(str(slow.path))
        for _ in range(3):
            ok(here.send({"do": "status"}).answer())
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    slow.server._accepts_from_s = 0.0
    ok(here.send({"do": "status"}).answer())
    there._lines = there.connection.makefile("rb")
    ok(there.send({"do": "status"}).answer())


def test_events_that_wait_are_bounded_in_number_and_in_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = Slow(tmp_path / "control.sock").server  # whose thread does not run
    for number in range(100):
        one._take(events.Heard(at_s=float(number), text="x" * 99_000, final=True))
        assert one._event_chars <= server.MOST_WAITING_CHARS
    kept = len(one._events)
    assert kept == server.MOST_WAITING_CHARS // 99_000
    one._spread()
    assert f"{100 - kept} events came too fast" in caplog.text
    assert one._event_chars == 0


def test_of_two_who_start_over_a_dead_socket_one_gets_the_place(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    for _ in range(150):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            path.unlink(missing_ok=True)
            dead.bind(str(path))
        begin = threading.Barrier(2)
        got: list[Any] = []
        refused: list[str] = []

        def start(begin: threading.Barrier = begin, got: list[Any] = got, refused: list[str] = refused) -> None:
            begin.wait()
            try:
                got.append(server._listen(path))
            except UserError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert (len(got), len(refused)) == (1, 1)
        assert "a parleyd is already running" in refused[0]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
        listening, place = got[0]
        listening.close()
        place.close()


def test_who_never_asks_anything_is_hung_up_on_and_who_has_asked_may_wait(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = slow.caller().send({"do": "events"})
    assert ok(follower.answer())
    assert follower.next()["event"] == "snapshot"
    monkeypatch.setattr(server, "SILENT_S", 0.3)
    silent = [slow.caller() for _ in range(3)]
    for one in silent:
        assert one.answer()["error"]["kind"] == "silent"
        assert one.connection.recv(10) == b""
    assert ok(follower.send({"do": "status"}).answer())["result"] == {"was": "Status"}
