"""Hears "stop", "louder" and "repeat that" on the device itself, so that an agent can be stopped when the line is slow.

The thread recognises what the ears hand to it, and carries the order out. The agent hears the same words and is told
that it need not do anything about them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from parleyd.audio.gate.order_words import Order, OrderWords
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.core.no_memory import NoMemory

log = logging.getLogger(__name__)

# By how much the volume changes, of 1.
STEP = 0.15
# Stretches that wait; the agent is spoken to in the meantime, so a further one is not worth waiting for.
_MOST_WAITING = 2


class Words(Protocol):
    """See OrderWords."""

    def heard(self, pcm: bytes) -> Order | None: ...


class Actions(Struct, frozen=True):
    """The functions of the daemon that orders use. silence: ends the answer that is being given. volume: from 0 to 1.
    set_volume: may take two seconds; raises UserError. repeat: says the text in the device's own voice; returns whether
    there is one. tell_agent: without an answer."""

    silence: Callable[[], None]
    volume: Callable[[], float]
    set_volume: Callable[[float], None]
    repeat: Callable[[str], bool]
    tell_agent: Callable[[str], object]


class SpokenOrders:
    """take() from the ears' thread, never waits; start(), stop(). A subscriber of the bus."""

    def __init__(
        self,
        actions: Actions,
        bus: events.Bus,
        on_death: Callable[[str, BaseException], None],
        words: Words | None = None,
    ) -> None:
        """words: None for those of pocketsphinx. Raises UserError if its package is missing."""
        self._words = words if words is not None else OrderWords()
        self._actions = actions
        self._bus = bus
        self._on_death = on_death
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._last_answer = ""
        self._thread = threading.Thread(target=self._run, name="orders", daemon=True)
        self._memory = NoMemory("orders", "a stretch of talk is not searched for orders")
        self.pulse = Pulse("orders")
        bus.subscribe(self._take)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        # A full queue is emptied within the time of two recognitions.
        try:
            self._waiting.put(None, timeout=1.0)
        except queue.Full:
            return
        if self._thread.is_alive():
            self._thread.join(1.0)

    def take(self, pcm: bytes) -> None:
        try:
            self._waiting.put_nowait(pcm)
        except queue.Full:
            log.debug("a stretch of talk is not searched for orders: two wait already")

    def _take(self, event: events.Event) -> None:
        match event:
            case events.AnswerText(text=str(text)) if text:
                self._last_answer = text
            case events.SessionEnded():
                # It may have been for somebody else.
                self._last_answer = ""
            case _:
                pass

    def _run(self) -> None:
        try:
            while True:
                self.pulse.rest()
                pcm = self._waiting.get()
                if pcm is None:
                    return
                self.pulse.beat()
                order = self._recognised(pcm)
                if order is not None:
                    self._carry_out(order)
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("orders", error)

    def _recognised(self, pcm: bytes) -> Order | None:
        try:
            order = self._words.heard(pcm)
        except MemoryError as error:
            self._memory.fails(error)
            return None
        self._memory.succeeds()
        return order

    def _carry_out(self, order: Order) -> None:
        log.info("heard the order %s", order)
        self._bus.publish(events.OrderHeard(at_s=time.monotonic(), order=order))
        actions = self._actions
        match order:
            case "stop":
                actions.silence()
                actions.tell_agent("The person has told the device to be quiet, and it is. Say nothing about it.")
            case "louder" | "quieter":
                self._turn(STEP if order == "louder" else -STEP)
            case "repeat":
                text = self._last_answer
                # First, because without a voice for it the agent goes on.
                if text and actions.repeat(text):
                    actions.silence()
                    actions.tell_agent("The device has repeated your last answer. Say nothing about it.")

    def _turn(self, by: float) -> None:
        volume = round(min(1.0, max(0.0, self._actions.volume() + by)), 3)
        try:
            self._actions.set_volume(volume)
        except UserError as error:
            log.warning("the volume could not be set: %s", error)
            return
        told = f"The device has set its volume to {volume:.0%}, as the person asked. Do not set it again."
        self._actions.tell_agent(f"{told} Say nothing about it.")
