"""The two threads that talk to the daemon: one follows whether it is there, the other has a sound played."""

from __future__ import annotations

import os
import queue
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parleyd.control import follower
from parleyd.control.client import Client
from parleyd.core.errors import UserError
from parleyd.wyoming.target import Play

# Beside its own length: others may be spoken before it, and it may wait for a pause in a conversation.
_PATIENCE_S = 300.0
NAME = "Home Assistant"


@dataclass(frozen=True, slots=True)
class Heard:
    """The sound is over. error: why it was not heard to its end; None: it was."""

    error: UserError | None


News = follower.News | Heard


class DaemonLink:
    """Use start(), then stop(). socket: of the daemon; None: it is searched for in the usual places. wake: called after
    each news."""

    def __init__(self, socket: Path | None, wake: Callable[[], None]) -> None:
        self._socket = socket
        self._wake = wake
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._sounds: queue.SimpleQueue[Play] = queue.SimpleQueue()
        # Only its presence is followed: after this request nothing comes until the daemon ends.
        self._follower = follower.Follower(socket, "profile", self._tell, "daemon-presence")
        self._working = threading.Thread(target=self._work, name="daemon-sounds", daemon=True)

    def start(self) -> None:
        self._follower.start()
        self._working.start()

    def stop(self) -> None:
        """The threads end with the process."""
        self._follower.stop()

    def play(self, sound: Play) -> None:
        """Has a sound played; a Heard follows. One after the other: the caller waits for that."""
        self._sounds.put(sound)

    def _tell(self, news: News) -> None:
        self.news.put(news)
        self._wake()

    def _work(self) -> None:
        while True:
            sound = self._sounds.get()
            try:
                self._play(sound)
            except UserError as error:
                self._tell(Heard(error))
            except OSError as error:
                self._tell(Heard(_short_of(error)))
            else:
                self._tell(Heard(None))

    def _play(self, sound: Play) -> None:
        """Returns when it has been heard. Raises UserError."""
        descriptor = file_of(sound)
        try:
            with Client(self._socket) as client:
                client.ask("events")
                number = client.announce_sound(descriptor, NAME)
                for event in client.events_until(time.monotonic() + sound.length_s + _PATIENCE_S):
                    if event["event"] == "announcement_ended" and event["announcement"] == number:
                        if not event["finished"]:
                            raise UserError(str(event["reason"]), event["hint"])
                        return
        finally:
            os.close(descriptor)
        raise UserError("the announcement does not come to its end", "see parleyd status")


def file_of(sound: Play) -> int:
    """Returns the descriptor of a WAV file in memory. Raises OSError."""
    descriptor = os.memfd_create("announcement", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file, wave.open(file, "wb") as sounds:
            sounds.setparams((1, 2, sound.rate_hz, 0, "NONE", ""))
            sounds.writeframes(sound.pcm)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _short_of(error: OSError) -> UserError:
    """The kernel has no memory or no handle left for this program. The thread goes on: it may have some later."""
    text = f"nothing can be passed on to the daemon: {error.strerror or error}"
    return UserError(text, "see the limits of the unit, and the memory: systemctl status parleyd-wyoming")
