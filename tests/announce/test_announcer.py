"""The announcer's thread; tests/service has whole announcements."""

from __future__ import annotations

import threading

from parleyd.announce.announcer import Announcer
from parleyd.audio.playback.announcements import Announcements
from parleyd.audio.playback.mix import Mix
from parleyd.config.schema import Announce
from parleyd.core import events
from parleyd.core.health import Pulse


def test_a_thread_that_ends_does_not_hide_the_next_ones_work() -> None:
    """Health is told that it rests while no other can have begun."""
    announcer = Announcer(
        None,
        Announce(),
        Announcements(Mix(volume=1.0, duck_db=12.0), threading.Condition()),
        events.Bus(),
        timeout_s=1.0,
        on_death=lambda _what, _error: None,
    )
    free: list[bool] = []

    class Seen(Pulse):
        def rest(self) -> None:
            free.append(announcer._thread is None)
            super().rest()

    announcer.pulse = Seen("announcer")
    announcer._thread = threading.current_thread()
    assert announcer._next() is None
    assert free == [False], "another thread may have begun, and its work would count as rest"
    assert announcer._thread is None
