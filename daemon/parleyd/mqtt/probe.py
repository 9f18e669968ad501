"""Asks a broker whether it accepts this device, for the doctor."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass

from parleyd.config.schema import Config
from parleyd.mqtt.broker import Broker, BrokerError
from parleyd.mqtt.identity import device_of
from parleyd.mqtt.names import ONLINE, Topics
from parleyd.mqtt.patience import Failure, Patience, Version

_TICK_S = 0.2
# The broker sends what it keeps right after the subscription.
_KEPT_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """version: the version of MQTT that the broker speaks. is_online: whether `parleyd mqtt` is online, as the broker
    keeps it; None: it keeps nothing of it. complaints: the rights that this device lacks there, each with a hint."""

    version: Version
    device: str
    is_online: bool | None
    complaints: tuple[tuple[str, str], ...]


def ask(config: Config) -> Answer:
    """Asks the broker, which takes seconds. Raises BrokerError, and UserError if the device has no name."""
    device = device_of(config)
    topics = Topics(config.mqtt, device)
    patience = Patience(config.mqtt.protocol)
    while True:
        broker = Broker(config.mqtt, device.id, patience.version, [topics.online], None, suffix="-doctor")
        try:
            return _ask(broker, patience.version, device.id, topics.online)
        except BrokerError as error:
            before = patience.version
            patience.failed(error.failure, 0.0)
            # A broker that knows 3.1.1 alone; with that the same failure is a real one.
            if error.failure not in (Failure.VERSION, Failure.SILENT) or before != "5" or patience.version == before:
                raise
        finally:
            broker.drop()


def _ask(broker: Broker, version: Version, device: str, topic: str) -> Answer:
    broker.open()
    is_online: bool | None = None
    until_s: float | None = None
    while until_s is None or (time.monotonic() < until_s and is_online is None):
        place = broker.fileno()
        if place >= 0:
            select.select([place], [place] if broker.wants_write else [], [], 0 if broker.has_read else _TICK_S)
        for message in broker.serve(readable=place >= 0, writable=broker.wants_write):
            is_online = message.payload == ONLINE.encode() if message.topic == topic else is_online
        if broker.failure is not None:
            raise broker.failure
        if broker.is_ready and until_s is None:
            until_s = time.monotonic() + _KEPT_S
    broker.close()
    return Answer(version, device, is_online, tuple(broker.complaints))
