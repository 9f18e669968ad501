"""The threads that talk to the daemon, where the kernel gives this program nothing."""

from __future__ import annotations

import resource
from pathlib import Path

from parleyd.control.follower import Gone
from parleyd.wyoming.daemon_link import DaemonLink, Heard, News
from parleyd.wyoming.target import Play

WAIT_S = 60.0
SOUND = Play(bytearray(2000), 16_000)


def news_of_both(link: DaemonLink) -> tuple[Gone, Heard]:
    """Waits for news of each thread; the first one looks again and again, and says so each time."""
    came: dict[type[News], News] = {}
    while not {Gone, Heard} <= came.keys():
        news = link.news.get(timeout=WAIT_S)
        came[type(news)] = news
    gone, heard = came[Gone], came[Heard]
    assert isinstance(gone, Gone)
    assert isinstance(heard, Heard)
    return gone, heard


def test_a_program_without_a_handle_left_says_so_and_goes_on(tmp_path: Path) -> None:
    """A thread that died would hold the turn for ever: each later announcement would be refused."""
    link = DaemonLink(tmp_path / "none.sock", lambda: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        link.start()
        link.play(SOUND)
        gone, heard = news_of_both(link)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(gone.error) == "cannot talk to the daemon: Too many open files"
    assert str(heard.error) == "nothing can be passed on to the daemon: Too many open files"
    link.play(SOUND)
    gone, heard = news_of_both(link)
    link.stop()
    assert "is not running" in str(heard.error)
    assert str(gone.error)
