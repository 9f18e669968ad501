"""`parleyd wyoming` with a real daemon and the real package as the other side."""

from __future__ import annotations

import contextlib
import selectors
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from wyoming.audio import AudioChunk
from wyoming.error import Error
from wyoming.ping import Ping
from wyoming.snd import Played
from wyoming_house import RATE_HZ, House, Peer, descriptors, tone

from parleyd.config.wyoming_section import Wyoming
from parleyd.control.client import Client
from parleyd.control.follower import Here
from parleyd.wyoming import server as server_module
from parleyd.wyoming.server import MOST_CONNECTIONS, Server
from programs import free_port, until


def told(peer: Peer) -> str:
    """The reason of a refusal, after which the connection ends."""
    event = peer.next()
    assert event is not None
    text = Error.from_event(event).text
    assert peer.next() is None
    return text


def test_it_is_found_and_an_announcement_is_heard(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.both() as program, Peer(house.port) as peer:
        satellite = peer.info().satellite
        assert satellite is not None
        assert (satellite.name, satellite.area) == ("Kitchen loudspeaker", "Kitchen")
        assert satellite.active_wake_words == []
        peer.announce(tone(1.0))
        # Home Assistant gives a connection up that does not answer meanwhile.
        peer.ping("still there?")
        event = peer.next()
        assert event is not None
        assert Played.is_type(event.type)
        program.says("127.0.0.1 sent an announcement of 1.0 s")
        assert program.end() == 0


def test_the_sound_is_the_daemons_and_another_follows(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.both() as program, Client() as client:
        client.ask("events")
        happened = client.events(40)
        before = descriptors(program.process.pid)
        for _ in range(3):
            with Peer(house.port) as peer:
                peer.announce(tone(0.3))
                started = next(one for one in happened if one["event"] == "announcement_started")
                assert started["text"] == "Home Assistant"
                ended = next(one for one in happened if one["event"] == "announcement_ended")
                assert ended["finished"]
                event = peer.next()
                assert event is not None
                assert Played.is_type(event.type)
            # The connection is closed a moment after its last answer.
            until(lambda: descriptors(program.process.pid) <= before, "handles are left open")


def test_who_may_not_connect_is_sent_away_and_the_log_says_so_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.config.write_text(house.config.read_text().replace("[127.0.0.1]", "[192.0.2.7, 198.51.100.0/24]"))
    with house.both() as program:
        for _ in range(3):
            with Peer(house.port) as peer:
                assert peer.next() is None
        program.says("127.0.0.1 may not connect; if that is Home Assistant, add it to wyoming.allow")
        assert program.end() == 0
        assert sum("may not connect" in line for line in program.lines) == 1


def test_while_the_daemon_is_away_nobody_can_connect(tmp_path: Path) -> None:
    house = House(tmp_path)

    def is_there() -> bool:
        try:
            with Peer(house.port) as peer:
                return peer.info().satellite is not None
        except (OSError, AssertionError):
            return False

    with house.target() as program:
        program.says("is not running")
        assert not is_there()
        with house.daemon() as daemon:
            program.says("listens at port")
            with Peer(house.port) as peer:
                peer.ping("a")
                daemon.end(signal.SIGKILL)
                assert peer.next() is None
            assert not is_there()
        with house.daemon():
            until(is_there, "it is not there again")
        assert program.end() == 0


def test_what_the_daemon_refuses_ends_the_connection(tmp_path: Path) -> None:
    house = House(tmp_path)
    # Eight announcements wait at the daemon, and it takes no more.
    house.config.write_text(house.config.read_text().replace("wait_s: 1", "wait_s: 600, local_voice: 'off'"))
    with house.both() as program, Client() as client:
        client.ask("announce", text="A long story about the sea and the wind. " * 10, now=True)
        for _ in range(8):
            client.ask("announce", text="and so on")
        with Peer(house.port) as peer:
            peer.announce(tone(0.2))
            assert "wait already" in told(peer)
        program.says("an announcement was not heard: 8 announcements wait already")


def test_limits_and_nonsense(tmp_path: Path) -> None:
    house = House(tmp_path, "max_s: 1, per_minute: 2")
    with house.both() as program:
        with Peer(house.port) as peer:
            peer.line.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert peer.next() is None
        program.says("does not speak the Wyoming protocol")
        with Peer(house.port) as peer, Peer(house.port) as other:
            peer.begin()
            peer.ping("begun")
            other.begin()
            assert "not over yet" in told(other)
            for _ in range(2):
                peer.send(AudioChunk(RATE_HZ, 2, 1, tone(0.6)).event())
            assert told(peer) == "the sound is longer than 1 s"
        with Peer(house.port) as peer:
            peer.announce(tone(0.1))
            event = peer.next()
            assert event is not None
            assert Played.is_type(event.type)
            peer.begin()
            assert "2 announcements within a minute" in told(peer)
        with Peer(house.port) as peer:
            peer.ping("and it goes on")


def test_whoever_was_silent_longest_makes_room(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.both(), contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(house.port)) for _ in range(MOST_CONNECTIONS)]
        for peer in (*peers, peers[0]):
            peer.ping("here")
        late = stack.enter_context(Peer(house.port))
        late.ping("late")
        assert peers[1].next() is None
        peers[0].ping("still here")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    house = House(tmp_path)
    with house.both(), house.target() as second:
        assert second.process.wait(40) == 69
        second.says("cannot listen at port")


@contextlib.contextmanager
def listening() -> Iterator[tuple[Server, int]]:
    """The loop itself, without a daemon; the test turns it."""
    port = free_port()
    server = Server(Wyoming(allow=["127.0.0.1"], host="127.0.0.1", port=port), None)
    server._selector.register(server._reading, selectors.EVENT_READ)
    server._daemon.news.put(Here())
    server._wake()
    server._step()
    try:
        yield server, port
    finally:
        server._be_away()


def test_an_announcement_of_a_client_that_has_gone_already_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody reads resets the connection in the middle of it."""
    monkeypatch.setattr(server_module, "_READ_BYTES", 1024)
    with listening() as (server, port):
        with Peer(port) as peer:
            for _ in range(3):
                peer.send(Ping("a" * 1500).event())
            peer.announce(tone(0.2))
        server._step()
        while server._connections and server._playing is None:
            server._step()
        assert server._playing is not None
        while server._connections:
            server._step()
