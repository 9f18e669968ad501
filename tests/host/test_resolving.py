"""Names with real name servers that do not answer, or say no: in namespaces of the tests' own."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from name_server import missing, run_with
from parleyd.host import resolving
from parleyd.host.resolving import MOST_AT_ONCE, NameServersSilentError, addresses, is_address

WAIT_S = 60.0

# What each kind of connection says, and how many look-ups are still waiting then.
EVERY_CONNECTION = """
import json, sys, threading
from parleyd.agents.provider import Address
from parleyd.core.endings import DialError
from parleyd.agents.elevenlabs.address import signed_address
from parleyd.agents.elevenlabs.endings import judge_http
from parleyd.config.schema import Config, ElevenLabs
from parleyd.conversation.session.connecting import connect
from parleyd.doctor import network
from parleyd.doctor.examination import Examination
from parleyd.tools.http import Http
from parleyd.tools.result import ToolError
from parleyd.host.stopping import Stop

def said(ask):
    try:
        ask()
    except DialError as error:
        return [error.ending.reason, error.ending.hint]
    except ToolError as error:
        return str(error)

network._LOOKUP_S, network._has_route = 1.0, lambda: True
tool = Http("GET", "http://agent.example/", headers={}, secrets={}, body=None, allowed_status=[200], timeout_s=1.0)
section = ElevenLabs(agent_id="agent_1", base_url="https://agent.example")
found, = network.name(Examination(config=Config(elevenlabs=section)))
told = {
    "signed": said(lambda: signed_address("https://agent.example", "a", "sk_0123456789", 1.0)),
    "socket": said(lambda: connect(Address("wss://agent.example/"), 1.0, judge_http, key="elevenlabs.base_url")),
    "tool": said(lambda: tool.run({}, Stop())),
    "doctor": [found.text, found.hint],
}
for number in range(20):
    said(lambda: connect(Address(f"wss://{number}.example/"), 0.02, judge_http, key="elevenlabs.base_url"))
told["waiting"] = sum("look-up" in thread.name for thread in threading.enumerate())
print(json.dumps(told))
"""

# For name servers that do answer, however busy this machine is.
PATIENT = EVERY_CONNECTION.replace("1.0", "30.0")

needs_namespaces = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@needs_namespaces
def test_name_servers_that_never_answer_keep_nobody_beyond_the_deadline() -> None:
    """The C library would wait for 150 s, and this test is over before."""
    told = json.loads(run_with("silent", EVERY_CONNECTION))
    for way in ("signed", "socket"):
        reason, hint = told[way]
        assert reason == "agent.example cannot be looked up: no name server answers"
        assert "/etc/resolv.conf" in hint
        assert "base_url" not in hint
    assert told["tool"] == "agent.example cannot be looked up: no name server answers."
    assert told["doctor"][0] == "agent.example cannot be looked up: no name server answers"
    assert "base_url" not in told["doctor"][1]
    assert told["waiting"] <= MOST_AT_ONCE


@needs_namespaces
@pytest.mark.parametrize("mode", ["failing", "refused"])
def test_name_servers_that_cannot_find_out_say_nothing_about_the_name(mode: str) -> None:
    told = json.loads(run_with(mode, PATIENT))
    for text in (told["signed"][0], told["socket"][0], told["tool"], told["doctor"][0]):
        assert text.rstrip(".") == "agent.example cannot be looked up: no name server answers"


@needs_namespaces
def test_a_name_that_is_not_known_is_told_as_such() -> None:
    told = json.loads(run_with("unknown", PATIENT))
    for text in (told["signed"][0], told["socket"][0], told["tool"], told["doctor"][0]):
        assert text.rstrip(".").lower() == "the name agent.example is not known"
    for hint in (told["signed"][1], told["socket"][1], told["doctor"][1]):
        assert "elevenlabs.base_url" in hint


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("localhost", False), ("1.2.3", False), ("", False)],
)
def test_for_an_address_nobody_is_asked(host: str, expected: bool) -> None:
    assert is_address(host) is expected


class Servers:
    """In place of the C library: hold() makes all look-ups wait until release()."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, **_: object) -> list[resolving.Found]:
        self.asked.append(host)
        self.begun.release()
        assert self.open.wait(WAIT_S)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


def test_a_look_up_that_is_under_way_is_shared_and_its_answer_is_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(addresses("shared.example", 443, WAIT_S))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert servers.begun.acquire(timeout=WAIT_S)
    servers.open.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert [one[0][4] for one in found] == [("shared.example", 443)] * 5  # type: ignore[index]


def test_more_look_ups_than_there_may_be_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch)
    for number in range(MOST_AT_ONCE):
        with pytest.raises(NameServersSilentError):
            addresses(f"{number}.example", 443, 0.01)
    for _ in range(MOST_AT_ONCE):
        assert servers.begun.acquire(timeout=WAIT_S)
    with pytest.raises(NameServersSilentError):
        addresses("one-more.example", 443, 0.01)
    assert "one-more.example" not in servers.asked
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(addresses("one-more.example", 443, WAIT_S)))
    waiting.start()
    servers.open.set()
    waiting.join(WAIT_S)
    assert found


def test_a_look_up_whose_thread_is_lost_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when memory ran out in the first moment of the thread; a test with Thread.start() would wait for ever here."""
    with monkeypatch.context() as lost:
        lost.setattr("_thread.start_new_thread", lambda *_: 0)
        for number in range(resolving.MOST_AT_ONCE):
            with pytest.raises(resolving.NameServersSilentError):
                resolving.addresses(f"lost-{number}.invalid", 1, 0.01)
    try:
        with pytest.raises(resolving.NameServersSilentError):
            resolving.addresses("localhost", 1, 0.01)
        # Once they are so old that no look-up takes so long, they count no more.
        monkeypatch.setattr(resolving, "_DEAD_S", 0.0)
        assert resolving.addresses("localhost", 1, 30.0)
    finally:
        resolving._running.clear()
