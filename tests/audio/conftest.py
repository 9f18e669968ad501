from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playback_room import Room

from parleyd.audio.devices.device import OutputDevice


@pytest.fixture
def room() -> Iterator[Callable[..., Room]]:
    """Makes started playbacks, and stops them afterwards."""
    rooms: list[Room] = []

    def make(device: OutputDevice, **options: object) -> Room:
        rooms.append(Room(device, **options))
        rooms[-1].playback.start()
        return rooms[-1]

    yield make
    for each in rooms:
        each.playback.stop()
        assert each.playback._thread.is_alive() is False
