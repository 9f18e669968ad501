"""The way to the agent in the whole daemon: through a proxy, and when it takes its time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme
from harness import Daemon
from scripted_server import WAIT_S, Line, ScriptedServer

from own_proxy import proxy
from parleyd.config.schema import Config, ElevenLabs, Session, Wake
from parleyd.conversation.supervisor.lifecycle import SLOW_S
from parleyd.core import events
from parleyd.core.states import State


def test_connecting_that_takes_its_time_is_told_in_log_room_and_health(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = Config(
            elevenlabs=ElevenLabs(agent_id="agent_test", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}"),
            wake=Wake(mode="manual"),
            session=Session(connect_timeout_s=60.0),
        )
        with Daemon(config) as daemon:
            daemon.service.wake()
            trouble = daemon.expect(events.Trouble)
            assert (trouble.part, trouble.hint) == ("agent", "`parleyd doctor` finds out what does not answer")
            assert daemon.service.status().state == State.CONNECTING.value
            said = [record.getMessage() for record in caplog.records if "still no line" in record.getMessage()]
            assert len(said) == 1
            assert f"after {SLOW_S:g} s" in said[0]
            until_s, pause = time.monotonic() + 15.0, threading.Event()
            while not (found := daemon.service.status().troubles):
                assert time.monotonic() < until_s, "the health does not say it"
                pause.wait(0.02)
            assert [(one.part, one.text) for one in found] == [("agent", trouble.text)]
            daemon.service.sleep()
            daemon.expect_state(State.ASLEEP)


def test_a_conversation_through_a_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    authority.issue_cert("agent.example").configure_cert(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    def play(line: Line) -> None:
        line.ready()
        line.wait_turn()
        line.hears("What time is it now?")
        line.says("Noon.", 0.5)
        line.over.wait(WAIT_S)

    with ScriptedServer(play, tls=tls) as server, proxy("basic:me:hunter2", port_of(server)) as way:
        monkeypatch.setenv("https_proxy", f"me:hunter2@127.0.0.1:{way.port}")
        config = Config(elevenlabs=ElevenLabs(agent_id="agent_test", base_url="https://agent.example"))
        with Daemon(config) as daemon:
            daemon.say("What time is it now?")
            assert daemon.expect(events.AnswerEnded).finished
            # Another password: told by what it is, and only once.
            monkeypatch.setenv("https_proxy", f"me:hunter3@127.0.0.1:{way.port}")
            server.lines[0].drop()
            trouble = daemon.expect(events.Trouble, lambda event: "proxy" in event.text)
            assert "does not accept the user and the password (HTTP 407)" in trouble.text
            assert "hunter" not in trouble.text + (trouble.hint or "")
    assert set(way.asked()) == {"CONNECT agent.example:443 HTTP/1.1"}


def port_of(server: ScriptedServer) -> int:
    return int(server.base_url.rpartition(":")[2])
