"""The threads that talk to the daemon: where the kernel gives this program nothing, and what an order to end finds."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from parleyd.control.follower import Gone
from parleyd.control.protocol import PROTOCOL
from parleyd.mqtt.daemon_link import Answered, DaemonLink, Known, News
from parleyd.mqtt.orders import Order, Reply
from parleyd.mqtt.publications import Ask

WAIT_S = 40
NO_HANDLES = "cannot talk to the daemon: Too many open files"


def news_of_both(link: DaemonLink) -> tuple[Gone, Known, Answered]:
    """Waits for news of each thread; the first one looks again and again, and says so each time."""
    came: dict[type[News], News] = {}
    while not {Gone, Known, Answered} <= came.keys():
        news = link.news.get(timeout=WAIT_S)
        came[type(news)] = news
    gone, known, answered = came[Gone], came[Known], came[Answered]
    assert isinstance(gone, Gone)
    assert isinstance(known, Known)
    assert isinstance(answered, Answered)
    return gone, known, answered


def test_a_program_without_a_handle_left_says_so_and_goes_on(tmp_path: Path) -> None:
    """A thread that died would leave all later commands without an answer."""
    link = DaemonLink(tmp_path / "none.sock", lambda: None)
    order = Order("wake", {}, Reply("wake", "answers"), time.monotonic() + 3600)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        link.start()
        for one in (Ask("status"), order):
            link.give(one)
        gone, known, answered = news_of_both(link)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(gone.error) == NO_HANDLES
    assert known.error is not None
    assert (known.error["kind"], known.error["text"]) == ("not_running", NO_HANDLES)
    assert answered.answer["error"]["text"] == NO_HANDLES
    for one in (Ask("status"), order):
        link.give(one)
    gone, known, answered = news_of_both(link)
    link.stop()
    assert str(gone.error)
    assert known.error is not None
    assert "is not running" in known.error["text"]
    assert "is not running" in answered.answer["error"]["text"]


def answered(link: DaemonLink) -> Answered:
    while not isinstance(news := link.news.get(timeout=WAIT_S), Answered):
        pass
    return news


@pytest.mark.parametrize("has_ended", [True, False])
def test_an_order_to_restart_is_carried_out_only_where_somebody_took_it(tmp_path: Path, has_ended: bool) -> None:
    """A daemon may end before it has answered. One that is away, or hangs, restarts nothing."""
    place = tmp_path / "control.sock"
    link = DaemonLink(place, lambda: None)
    listening = socket.socket(socket.AF_UNIX)

    def ends() -> None:
        # The thread that follows the daemon connects as well.
        while True:
            line, _ = listening.accept()
            with line, line.makefile("rb") as requests:
                line.sendall(json.dumps({"parleyd": "0.1.0", "protocol": PROTOCOL}).encode() + b"\n")
                if json.loads(requests.readline())["do"] == "stop":
                    return

    if has_ended:
        listening.bind(str(place))
        listening.listen()
        threading.Thread(target=ends, daemon=True).start()
    with listening:
        link.start()
        link.give(Order("stop", {}, Reply("restart", "answers"), time.monotonic() + 3600))
        answer = answered(link).answer
        link.stop()
    if has_ended:
        assert answer == {"ok": True, "result": {}}
    else:
        assert answer["error"]["kind"] == "not_running"
