"""The loop of `parleyd mqtt`: stands between the daemon and the broker, both of which may be away for any time."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import select
import time
from collections.abc import Iterable
from pathlib import Path

from parleyd.config.mqtt_section import Mqtt
from parleyd.control.follower import Gone, Here, Told
from parleyd.core.log_fields import fields
from parleyd.host.told_once import ToldOnce
from parleyd.mqtt.broker import Broker, BrokerError
from parleyd.mqtt.daemon_link import Answered, DaemonLink, Known, News, make_pipe
from parleyd.mqtt.names import OFFLINE, Device
from parleyd.mqtt.orders import Order
from parleyd.mqtt.patience import Failure, Patience
from parleyd.mqtt.publications import Ask, Publish, Warn
from parleyd.mqtt.translator import Command, Translator

log = logging.getLogger(__name__)

_TICK_S = 1.0
# How long the goodbye may take.
_GOODBYE_S = 2.0
_MOST_WARNINGS = 32
_BUSY = {"kind": "busy", "text": "too many commands wait already", "hint": "try again"}


class Stopped(Exception):  # noqa: N818 - an end, no error
    """Somebody has ended the program."""


class Bridge:
    """Use run(), which returns after stop(). socket: the socket of the daemon; None: it is searched for in the usual
    places."""

    def __init__(self, settings: Mqtt, device: Device, socket: Path | None) -> None:
        self._settings = settings
        self._device = device
        self._translator = Translator(settings, device)
        self._patience = Patience(settings.protocol)
        self._broker: Broker | None = None
        self._was_ready = False
        self._was_subscribed = False
        self._ready_s = 0.0
        self._try_at_s = 0.0
        self._look_at_s = 0.0
        self._reading, self._writing = make_pipe()
        self._daemon = DaemonLink(socket, self._wake)
        self._daemon_is_there = False
        self._about_broker, self._about_daemon = ToldOnce(log), ToldOnce(log)
        self._warned: set[str] = set()
        self._stopping = False
        self._is_connecting = False

    def stop(self) -> None:
        """For signal handlers. Raises Stopped where the program waits for a broker."""
        self._stopping = True
        self._wake()
        if self._is_connecting:
            raise Stopped

    def run(self) -> None:
        self._daemon.start()
        try:
            while not self._stopping:
                self._step()
        except Stopped:
            pass
        finally:
            self._end()

    def _wake(self) -> None:
        # If the pipe is full, the loop will wake in any case.
        with contextlib.suppress(OSError):
            os.write(self._writing, b"\0")

    def _step(self) -> None:
        now_s = time.monotonic()
        if self._broker is None and now_s >= self._try_at_s:
            self._connect()
        if self._daemon_is_there and now_s >= self._look_at_s:
            self._look_at_s = now_s + self._settings.figures_s
            self._do((Ask("status"), Ask("profile")))
        readable, writable = self._wait()
        with contextlib.suppress(OSError):
            os.read(self._reading, 4096)
        if self._broker is not None:
            self._serve(self._broker, readable, writable)
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(self._daemon.news.get_nowait())
        if self._was_ready:
            self._do(self._translator.tick(time.monotonic()))

    def _wait(self) -> tuple[bool, bool]:
        """Returns whether the broker's socket can be read, and written."""
        broker = self._broker
        if broker is None or (place := broker.fileno()) < 0:
            left_s = max(0.0, self._try_at_s - time.monotonic())
            select.select([self._reading], [], [], min(_TICK_S, left_s) if broker is None else 0)
            return False, False
        timeout_s = 0.0 if broker.has_read else _TICK_S
        readable, writable, _ = select.select(
            [self._reading, place], [place] if broker.wants_write else [], [], timeout_s
        )
        return place in readable or broker.has_read, place in writable

    # ------------------------------------------------------------ the broker

    def _connect(self) -> None:
        topics = self._translator.topics
        broker = Broker(
            self._settings, self._device.id, self._patience.version, topics.subscriptions, (topics.online, OFFLINE)
        )
        try:
            self._is_connecting = True
            broker.open()
        except BrokerError as error:
            self._failed(error)
        else:
            self._broker, self._was_ready, self._was_subscribed = broker, False, False
        finally:
            self._is_connecting = False

    def _serve(self, broker: Broker, readable: bool, writable: bool) -> None:
        for message in broker.serve(readable=readable, writable=writable):
            self._do(self._translator.message(message))
        for text, hint in broker.complaints:
            self._warn(text, hint)
        broker.complaints.clear()
        if broker.is_ready and not self._was_ready:
            self._was_ready, self._ready_s = True, time.monotonic()
            self._patience.connected()
            where = f"{self._settings.host}:{self._settings.broker_port}"
            log.info("connected to %s with MQTT %s as %s", where, self._patience.version, self._device.id)
            self._about_broker.over(f"{where} is there again")
            self._do(self._translator.connected())
        if broker.is_subscribed and not self._was_subscribed:
            self._was_subscribed = True
            self._translator.subscribed(time.monotonic())
        if broker.failure is not None:
            broker.drop()
            self._broker = None
            self._failed(broker.failure)

    def _failed(self, error: BrokerError) -> None:
        lasted_s = time.monotonic() - self._ready_s if self._was_ready else 0.0
        self._was_ready = False
        delay_s = self._patience.failed(error.failure, random.random(), lasted_s)
        self._try_at_s = time.monotonic() + delay_s
        hint = error.hint
        if error.failure is Failure.LOST and self._patience.seems_doubled:
            hint = "it ends again and again: does another device have the same mqtt.device? Give each its own"
        if error.failure is not Failure.VERSION or delay_s > 0:
            self._about_broker.trouble(str(error), hint)
        log.debug("%s; the next try comes in %.1f s", error, delay_s)

    # ------------------------------------------------------------ the daemon

    def _hear(self, news: News) -> None:
        match news:
            case Here():
                self._daemon_is_there = True
                self._look_at_s = time.monotonic() + self._settings.figures_s
                self._about_daemon.over("the daemon is there")
            case Told(event=event):
                self._do(self._translator.told(event))
            case Gone(error=error):
                self._daemon_is_there = False
                self._about_daemon.trouble(str(error), error.hint or "see its log: journalctl -u parleyd")
                self._do(self._translator.daemon_gone())
            case Known(ask=Ask(what="profile"), answer=answer):
                self._do(self._translator.profiles(answer))
            case Known(ask=Ask(what="config"), answer=answer):
                self._translator.config(answer, time.monotonic())
            case Known(ask=Ask(what="put_config"), answer=answer, error=error):
                said = {"ok": False, "error": error} if answer is None else {"ok": True, "result": answer}
                self._do(self._translator.put(said, time.monotonic()))
            case Known(ask=Ask(what="usage"), answer=dict(answer)):
                self._do(self._translator.usage(answer))
            case Known(ask=Ask(what="status"), answer=dict(answer)):
                self._do(self._translator.status(answer))
            case Known():
                pass
            case Answered(reply=reply, answer=answer):
                self._do(self._translator.answered(reply, answer))

    def _do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Publish():
                    if self._broker is not None:
                        self._broker.publish(command)
                case Ask():
                    if not self._daemon.give(command) and command.what != "profile":
                        self._hear(Known(command, None, _BUSY))
                case Order():
                    if not self._daemon.give(command):
                        self._do(self._translator.answered(command.reply, {"ok": False, "error": _BUSY}))
                case Warn(text=text, hint=hint):
                    self._warn(text, hint)

    def _warn(self, text: str, hint: str) -> None:
        if text not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(text)
            log.warning("%s; %s", text, hint, extra=fields(reason=text, hint=hint))

    def _end(self) -> None:
        self._daemon.stop()
        broker = self._broker
        if broker is None or not broker.is_ready:
            return
        broker.publish(Publish(self._translator.topics.online, OFFLINE))
        until_s = time.monotonic() + _GOODBYE_S
        while not broker.is_idle and broker.failure is None and time.monotonic() < until_s:
            readable, writable = self._wait()
            broker.serve(readable=readable, writable=writable)
        broker.close()
