"""Whoever waits for a line is told before it has failed."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from harness import Daemon

from parleyd import events
from parleyd.config.schema import Config, ElevenLabs, Session, Wake
from parleyd.conversation.outage import SLOW_S
from parleyd.conversation.states import State


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
            assert (trouble.part, trouble.mend) == ("agent", "`parleyd doctor` finds out what does not answer")
            assert daemon.service.status().state == State.CONNECTING.value
            said = [record.getMessage() for record in caplog.records if "still no line" in record.getMessage()]
            assert len(said) == 1
            assert f"after {SLOW_S:g} s" in said[0]
            until_s, pause = time.monotonic() + 15.0, threading.Event()
            while not (found := daemon.service.status().findings):
                assert time.monotonic() < until_s, "the health does not say it"
                pause.wait(0.02)
            assert [(one.part, one.text) for one in found] == [("agent", trouble.text)]
            daemon.service.sleep()
            daemon.expect_state(State.ASLEEP)
