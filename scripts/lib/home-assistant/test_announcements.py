"""What a real Home Assistant makes of `parleyd wyoming`, and what is heard when it announces something there."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from hass import Hass, until
from wyoming_house import House, tone

from parleyd.control.client import Client

NAME = "Kitchen loudspeaker"
RATE_HZ = 44_100


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, "max_s: 5")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, *lengths_s: float) -> Iterator[list[str]]:
    """Serves WAV files in stereo, which Home Assistant has to convert; yields their addresses."""
    for length_s in lengths_s:
        with wave.open(str(folder / f"{length_s}.wav"), "wb") as file:
            file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(tone(length_s * 2, RATE_HZ))
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield [f"http://127.0.0.1:{server.server_address[1]}/{length_s}.wav" for length_s in lengths_s]
        server.shutdown()
        thread.join()


def satellite(hass: Hass) -> str | None:
    found = [one["entity_id"] for one in hass.entities(NAME).values()]
    return next((one for one in found if one.startswith("assist_satellite.")), None)


@contextlib.contextmanager
def found_by(hass: Hass, house: House) -> Iterator[str]:
    """Yields the entity for announcements, as a person gets it who enters the address."""
    entry = hass.add("wyoming", {"host": "127.0.0.1", "port": house.port})
    try:
        until(lambda: satellite(hass) is not None, "there is nothing to announce to")
        entity = satellite(hass)
        assert entity is not None
        yield entity
    finally:
        hass.forget(entry)


def test_an_announcement_of_home_assistant_is_heard(hass: Hass, house: House, tmp_path: Path) -> None:
    with house.both() as target, found_by(hass, house) as entity:
        for name, one in hass.entities(NAME).items():
            print(f"{one['entity_id']:55} {one['state']!s:10} {one['entity_category'] or '':10} {name}")
        target.says("listens at port")
        with served(tmp_path, 2.0) as (bell,), Client() as client:
            client.ask("events")
            happened = client.events(60)
            for _ in range(2):
                # It has a line to the device soon after it knows it.
                until(lambda: hass.error(ANNOUNCE, entity, media_id=bell) is None, "it is not announced")
                started = next(one for one in happened if one["event"] == "announcement_started")
                assert started["text"] == "Home Assistant"
                ended = next(one for one in happened if one["event"] == "announcement_ended")
                assert ended["finished"]
            began_s = time.monotonic()
            hass.use(ANNOUNCE, entity, media_id=bell)
            ended = next(one for one in happened if one["event"] == "announcement_ended")
            print(f"an announcement of 2 s: the action took {time.monotonic() - began_s:.1f} s")
            assert ended["finished"]
        target.says("sent an announcement of 2.0 s")
        assert hass.state(entity) == "idle"


def test_what_is_not_heard_fails_in_home_assistant(hass: Hass, house: House, tmp_path: Path) -> None:
    with house.target() as target, house.daemon() as daemon:
        target.says("listens at port")
        with found_by(hass, house) as entity, served(tmp_path, 1.0, 20.0) as (bell, long):
            until(lambda: hass.error(ANNOUNCE, entity, media_id=bell) is None, "it is not announced")
            told = hass.error(ANNOUNCE, entity, media_id=long)
            print(f"too long: {told}")
            target.says("the sound is longer than 5 s")
            until(lambda: hass.error(ANNOUNCE, entity, media_id=bell) is None, "it does not come back")
            daemon.end()
            target.says("has ended")
            told = hass.error(ANNOUNCE, entity, media_id=bell)
            print(f"without the daemon: {told}")
            assert told is not None


ANNOUNCE = "assist_satellite.announce"
