"""The loop of `parleyd button`: turns presses into orders to the daemon, both of which may be missing for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from parleyd.button.contact import ButtonGoneError, Contact
from parleyd.button.presses import Press, Presses
from parleyd.config.button import Button, Order
from parleyd.control.client import Client, NotRunningError, RefusedError

log = logging.getLogger(__name__)

# The interval of the search for a missing button, and the delay before an order is tried again while the daemon is
# being restarted.
LOOK_AGAIN_S = 1.0
ASK_AGAIN_S = 3.0


class Orders:
    """Gives the order of a press. Each press has its own connection, because the daemon may have been restarted.

    socket: of the daemon; None: the client's usual places.
    """

    def __init__(self, socket: Path | None) -> None:
        self._socket = socket

    def give(self, order: Order) -> None:
        """Logs the result; a failure does not end the program."""
        if order == "none":
            return
        for is_last in (False, True):
            try:
                log.info("%s", self._ask(order))
            except NotRunningError as error:
                if is_last:
                    log.error("%s -> %s", error, error.hint)
                else:
                    time.sleep(ASK_AGAIN_S)
            except RefusedError as error:
                log.error("the daemon refuses: %s%s", error, f" -> {error.hint}" if error.hint else "")
                return
            else:
                return

    def _give(self, client: Client, now: str) -> str:
        if warning := client.ask(now).get("warning"):
            log.warning("%s: %s", now, warning)
        return now

    def _ask(self, order: Order) -> str:
        try:
            return self._ask_knowing(order)
        except RefusedError as error:
            if error.kind != "busy" or order != "mute_or_unmute":
                raise
        # There are too many clients for a status; but mute always has a place.
        with Client(self._socket) as client:
            return self._give(client, "mute")

    def _ask_knowing(self, order: Order) -> str:
        with Client(self._socket) as client:
            now: Literal["wake", "sleep", "mute", "unmute"]
            if order == "mute_or_unmute":
                now = "unmute" if client.ask("status")["microphone"]["muted"] else "mute"
            elif order == "wake_or_sleep":
                now = "wake" if client.ask("status")["state"] in ("asleep", "starting") else "sleep"
            elif order == "wake":
                now = "wake"
            else:
                now = "sleep"
            return self._give(client, now)


def watch(config: Button, find: Callable[[Button], Contact], give: Callable[[Order], None]) -> None:
    """Never returns. find: opens the button. ButtonGoneError is followed by another try later; other errors are passed
    on."""
    has: dict[Press, Order] = {"short": config.short_press, "long": config.long_press}
    presses = Presses(config.debounce_ms, None if config.long_press == "none" else config.long_ms)
    told = ""
    while True:
        try:
            contact = find(config)
        except ButtonGoneError as error:
            if str(error) != told:
                told = str(error)
                log.warning("%s -> %s; waiting for it", error, error.hint)
            time.sleep(LOOK_AGAIN_S)
            continue
        log.info("listening to %s", contact.name)
        try:
            while True:
                due_s = presses.due_s
                timeout_s = None if due_s is None else max(0.0, due_s - time.monotonic())
                made: list[Press] = []
                for closed, at_s in contact.changes(timeout_s):
                    made += presses.change(closed, at_s)
                made += presses.pass_to(time.monotonic())
                for press in made:
                    give(has[press])
        except ButtonGoneError as error:
            told = str(error)
            log.warning("%s -> %s; waiting for it", error, error.hint)
            presses.lost()
        finally:
            contact.close()
