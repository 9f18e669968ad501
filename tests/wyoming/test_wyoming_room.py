"""The threads that talk to the daemon, where the kernel gives this program nothing."""

from __future__ import annotations

import resource
from pathlib import Path

from parleyd.wyoming.room import Gone, Heard, Here, Room
from parleyd.wyoming.target import Play

WAIT_S = 60.0
SOUND = Play(bytearray(2000), 16_000)


def test_a_program_without_a_handle_left_says_so_and_goes_on(tmp_path: Path) -> None:
    """A thread that died would hold the turn for ever: each later announcement would be refused."""
    room = Room(tmp_path / "none.sock", lambda: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        room.start()
        room.play(SOUND)
        came = [room.news.get(timeout=WAIT_S) for _ in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {type(news) for news in came} == {Gone, Heard}
    for news in came:
        assert not isinstance(news, Here)
        assert "nothing can be passed on to the daemon: Too many open files" in str(news.error)
    room.play(SOUND)
    # The other thread looks again, too.
    last = {type(news): news for news in (room.news.get(timeout=WAIT_S), room.news.get(timeout=WAIT_S))}
    room.stop()
    heard = last[Heard]
    assert isinstance(heard, Heard)
    assert "is not running" in str(heard.error)
    assert Gone in last
