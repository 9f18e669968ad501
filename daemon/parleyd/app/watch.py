"""The health thread: checks all parts at intervals, tells systemd, and feeds its watchdog while nothing is stuck."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from parleyd.core import events, health
from parleyd.core.health import Grade, Pulse, Trouble
from parleyd.core.no_memory import NoMemory
from parleyd.host import handed_over, notify, resources
from parleyd.host.orphans import Orphans

log = logging.getLogger(__name__)

LOOK_S = 5.0


class StuckError(Exception):
    """A part of the daemon makes no progress."""


class Watch:
    """pulses: returns the pulses of all threads; called at every check.

    on_failure(what, error): a part is stuck. The watchdog is not fed any more, in case the end gets stuck, too.
    """

    def __init__(
        self,
        pulses: Callable[[], Iterable[Pulse]],
        bus: events.Bus,
        on_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._pulses = pulses
        self._on_failure = on_failure
        self._troubles = health.Troubles()
        self._state = "asleep"
        self._told = ""
        self._orphans = Orphans()
        watchdog_s = notify.watchdog_s()
        # sd_watchdog_enabled(3) recommends half of the time; a quarter, because a verdict needs several checks.
        self._interval_s = LOOK_S if watchdog_s is None else min(LOOK_S, watchdog_s / 4)
        self._memory = NoMemory("health", "a check of the daemon's health is left out")
        self._nudged = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self.troubles: tuple[Trouble, ...] = ()
        bus.subscribe(self._take)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._nudged.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    @property
    def status(self) -> str:
        """The state and the troubles, in a few words."""
        wrong = health.in_words(self.troubles)
        return f"{self._state}; {wrong}" if wrong else self._state

    def _take(self, event: events.Event) -> None:
        self._troubles.take(event)
        match event:
            case events.StateChanged(after=after):
                self._state = after
            case events.DeviceLost() | events.DeviceBack() | events.Trouble() | events.TroubleOver():
                pass
            case events.FallbackBegan() | events.FallbackOver():
                pass
            case _:
                return
        self._nudged.set()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_failure("health", error)

    def _watch(self) -> None:
        look_at_s = time.monotonic()
        while not self._stopping:
            now_s = time.monotonic()
            reported = self._troubles.present
            if now_s >= look_at_s:
                look_at_s = now_s + self._interval_s
                files = _hanging_files()
                try:
                    self.troubles = health.look(self._pulses(), resources.load(), (*reported, *files), now_s)
                except MemoryError as error:
                    # The verdict of the last check stays, and the watchdog is not fed.
                    self._memory.fails(error)
                    continue
                self._memory.succeeds()
                if health.grade(self.troubles) is Grade.SICK:
                    raise StuckError(health.in_words(self.troubles))
                notify.watchdog()
                self._orphans.look(now_s)
            else:
                # Troubles that only a check can see stay until the next check.
                seen = [it for it in self.troubles if it.part not in health.TOLD_PARTS]
                self.troubles = (*reported, *seen)
            if self.status != self._told:
                self._told = self.status
                notify.status(self._told)
            self._nudged.wait(max(0.0, look_at_s - time.monotonic()))
            self._nudged.clear()


def _hanging_files() -> tuple[Trouble, ...]:
    hanging = handed_over.hanging()
    if not hanging:
        return ()
    # Without durations: the text is told again whenever it changes.
    names = ", ".join(dict.fromkeys(one.in_words() for one in hanging))
    count = f"{len(hanging)} file{'' if len(hanging) == 1 else 's'}"
    left = handed_over.MOST_WAITING - len(hanging)
    text = f"{count} that clients have handed over hang{'s' if len(hanging) == 1 else ''} ({names}); {left} more may"
    return (Trouble(health.FILES, Grade.TROUBLE, text, handed_over.HINT),)
