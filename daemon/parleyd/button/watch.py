"""The loop of `parleyd button`: turns presses into orders to the daemon, both of which may be missing for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from parleyd.button.contact import ButtonGoneError, Contact
from parleyd.button.presses import Press, Presses
from parleyd.config.button import Button, Order
from parleyd.control.client import Client, NotRunningError, RefusedError

log = logging.getLogger(__name__)

# The interval of the search for a missing button, and the delay before an order is tried again while the daemon is
# being restarted.
LOOK_AGAIN_S = 1.0
ASK_AGAIN_S = 3.0
# A press that comes sooner after the question than this is not an answer to it, because the person cannot have heard
# it.
HEARD_S = 0.7


def meaning(press: Press, order: Order, status: Mapping[str, Any], pressed_s: float) -> tuple[str | None, bool]:
    """Returns (the id of the call that this press answers, or None; whether the press allows it). Pure.

    status: the daemon's. pressed_s: in the clock of the daemon's events, the monotonic one.

    A short press allows the call and a long one denies it. A press that would mute always mutes, and denies it.
    """
    asked = [one for one in status.get("confirmations", ()) if pressed_s - one["at_s"] >= HEARD_S]
    # Only one question can be answered; with two it would be unclear which one is meant.
    if len(asked) != 1:
        return None, False
    return str(asked[0]["approval"]), press == "short" and not would_mute(order, status)


def would_mute(order: Order, status: Mapping[str, Any]) -> bool:
    microphone = status["microphone"]
    return order == "mute_or_unmute" and microphone is not None and not microphone["muted"]


class Orders:
    """Gives the order of a press. Each press has its own connection, because the daemon may have been restarted.

    socket: of the daemon; None: the client's usual places. confirms: a press answers the question of a tool that waits
    for a person.
    """

    def __init__(self, socket: Path | None, *, confirms: bool = True) -> None:
        self._socket = socket
        self._confirms = confirms

    def give(self, press: Press, order: Order) -> None:
        """Logs the result; a failure does not end the program."""
        if order == "none" and not self._confirms:
            return
        # A press that is tried again later does not answer a question that was asked after the press.
        pressed_s = time.monotonic()
        for is_last in (False, True):
            try:
                if done := self._ask(press, order, pressed_s):
                    log.info("%s", done)
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

    def _ask(self, press: Press, order: Order, pressed_s: float) -> str:
        """Gives the order. Returns the action in words; empty for none."""
        try:
            return self._ask_knowing(press, order, pressed_s)
        except RefusedError as error:
            if error.kind != "busy" or order != "mute_or_unmute":
                raise
        # There are too many clients for a status; but mute always has a place.
        with Client(self._socket) as client:
            return self._give(client, "mute")

    def _ask_knowing(self, press: Press, order: Order, pressed_s: float) -> str:
        with Client(self._socket) as client:
            status = client.ask("status")
            if self._confirms and (meant := meaning(press, order, status, pressed_s))[0] is not None:
                approval, allows = meant
                muted = self._give(client, "mute") + ", " if would_mute(order, status) else ""
                answer = "approve" if allows else "deny"
                return f"{muted}{answer} {client.ask(answer, approval=approval)['name']}"
            now: Literal["wake", "sleep", "mute", "unmute"]
            if order == "mute_or_unmute":
                now = "unmute" if status["microphone"]["muted"] else "mute"
            elif order == "wake_or_sleep":
                now = "wake" if status["state"] in ("asleep", "starting") else "sleep"
            elif order == "none":
                return ""
            else:
                now = order
            return self._give(client, now)


def watch(config: Button, find: Callable[[Button], Contact], give: Callable[[Press, Order], None]) -> None:
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
                    give(press, has[press])
        except ButtonGoneError as error:
            told = str(error)
            log.warning("%s -> %s; waiting for it", error, error.hint)
            presses.lost()
        finally:
            contact.close()
