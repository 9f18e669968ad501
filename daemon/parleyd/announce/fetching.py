"""The sound of a text that comes over HTTP, from a thread of its own: the announcer must look around meanwhile."""

from __future__ import annotations

import queue
import threading

from parleyd.agents.speech import StreamedSpeech
from parleyd.conversation.session.retries import no_memory, no_thread
from parleyd.core.endings import DialError, Ending

# Pieces of sound that wait for the announcer; beyond that the server waits.
MOST_WAITING = 64


class Fetching:
    """Begins at once. next() returns the pieces in order, and then the end, which comes at once if the system has no
    thread left."""

    def __init__(self, speech: StreamedSpeech, text: str, timeout_s: float) -> None:
        self._speech = speech
        self._text = text
        self._timeout_s = timeout_s
        self._came: queue.Queue[bytes | Ending | None] = queue.Queue(MOST_WAITING)
        self._given_up = threading.Event()
        try:
            threading.Thread(target=self._run, name="announcement", daemon=True).start()
        except RuntimeError:
            self._came.put(no_thread())

    def next(self, wait_s: float) -> bytes | Ending | None:
        """The next piece; None: that was all; an Ending: the rest will not come. Raises queue.Empty after wait_s."""
        return self._came.get(timeout=wait_s)

    def give_up(self) -> None:
        """Nobody wants the rest; the connection ends with its next piece."""
        self._given_up.set()

    def _run(self) -> None:
        try:
            for piece in self._speech.stream(self._text, self._timeout_s):
                if not self._put(piece):
                    return
        except DialError as error:
            self._put(error.ending)
        except MemoryError as error:
            self._put(no_memory(error))
        else:
            self._put(None)

    def _put(self, what: bytes | Ending | None) -> bool:
        while not self._given_up.is_set():
            try:
                self._came.put(what, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
