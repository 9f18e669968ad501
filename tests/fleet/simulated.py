"""A thousand devices in one process: each has its own session at the broker, its own certificate, and the part of
`parleyd mqtt` that decides; what stands in for its daemon is a few lines. It runs until it is killed.

    python -m fleet.simulated PORT FOLDER NUMBER RINGS...

FOLDER has the certificates. RINGS: how many devices are in ring-1, ring-2, ...
"""

from __future__ import annotations

import random
import selectors
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parleyd.config.mqtt_section import Mqtt, MqttTls
from parleyd.mqtt.broker import Broker, BrokerError
from parleyd.mqtt.names import OFFLINE, Device
from parleyd.mqtt.orders import Order
from parleyd.mqtt.patience import Patience
from parleyd.mqtt.publications import Ask, Publish
from parleyd.mqtt.translator import Command, Translator

# What makes a stand-in's health worse: an override that its agent does not allow.
BAD_KEY = "elevenlabs.overrides.language"
PROBATION_S, WORSE_S = 4.0, 2.0
# A handshake takes some milliseconds, in which nobody else is served.
MOST_AT_ONCE = 200


class StandIn:
    """For the daemon: its settings, with a short probation."""

    def __init__(self) -> None:
        self.revision = 0
        self.values: dict[str, Any] = {}
        self.label = ""
        self.before: tuple[dict[str, Any], str] = ({}, "")
        self.went_back: dict[str, Any] | None = None
        self.since_s: float | None = None

    def config(self, now_s: float) -> dict[str, Any]:
        probation = None
        if self.since_s is not None:
            left_s = max(0, round(self.since_s + PROBATION_S - now_s))
            probation = {"left_s": left_s, "confirmed": True, "after_restart": False}
        values = {key: {"value": value, "origin": "settings"} for key, value in self.values.items()}
        return {
            "revision": self.revision, "values": values, "label": self.label, "changed_since": False,
            "went_back": self.went_back, "probation": probation,
        }  # fmt: skip

    def put(self, changes: dict[str, Any], label: str, now_s: float) -> dict[str, Any]:
        self.before = (self.values, self.label)
        self.values = {key: value for key, value in {**self.values, **changes}.items() if value is not None}
        self.revision, self.label, self.went_back, self.since_s = self.revision + 1, label, None, now_s
        return {"revision": self.revision, "now": sorted(changes), "next_session": [], "restart": []}

    def step(self, now_s: float) -> bool:
        """Returns whether the settings went back."""
        if self.since_s is None:
            return False
        if BAD_KEY in self.values and now_s >= self.since_s + WORSE_S:
            label, (self.values, self.label) = self.label, self.before
            self.went_back = {"revision": self.revision, "label": label, "reason": "agent: it allows no such override"}
            self.revision, self.since_s = self.revision + 1, None
            return True
        if now_s >= self.since_s + PROBATION_S:
            self.since_s = None
        return False


class Simulated:
    """One device. step() about once a second, serve() when its socket can be read."""

    def __init__(self, name: str, ring: str, port: int, folder: Path) -> None:
        own = {"certificate": f"{folder}/{name}.pem", "key": f"{folder}/{name}.key"}
        self._settings = Mqtt(
            host="127.0.0.1", port=port, device=name, discovery_prefix=None, settings="on", groups=["all", ring],
            tls=MqttTls(mode="on", ca=f"{folder}/ca.pem", **own),
        )  # fmt: skip
        self._device = Device(name, name, "0.1.0")
        self._translator = Translator(self._settings, self._device)
        self._patience = Patience("5")
        self._daemon = StandIn()
        self._try_s = 0.0
        self._was_ready = self._was_subscribed = False
        self.broker: Broker | None = None
        self._do(self._translator.told({"event": "snapshot", "status": {"state": "asleep"}}))

    def connect(self, now_s: float) -> Broker | None:
        if self.broker is not None or now_s < self._try_s:
            return None
        topics = self._translator.topics
        broker = Broker(self._settings, self._device.id, "5", topics.subscriptions, (topics.online, OFFLINE))
        try:
            broker.open()
        except BrokerError as error:
            self._failed(error, now_s)
            return None
        self.broker, self._was_ready, self._was_subscribed = broker, False, False
        return broker

    def _failed(self, error: BrokerError, now_s: float) -> None:
        self._try_s = now_s + self._patience.failed(error.failure, random.random())

    def serve(self, now_s: float, *, readable: bool) -> bool:
        """Returns whether the connection is there."""
        broker = self.broker
        if broker is None:
            return False
        for message in broker.serve(readable=readable, writable=broker.wants_write):
            self._do(self._translator.message(message))
        if broker.is_ready and not self._was_ready:
            self._was_ready = True
            self._do(self._translator.connected())
        if broker.is_subscribed and not self._was_subscribed:
            self._was_subscribed = True
            self._translator.subscribed(now_s)
        if broker.failure is not None:
            broker.drop()
            self.broker = None
            self._failed(broker.failure, now_s)
            return False
        return True

    def step(self, now_s: float) -> None:
        if self._daemon.step(now_s):
            self._do(self._translator.told({"event": "settings_changed"}))
        self._do(self._translator.tick(now_s))

    def _do(self, commands: Iterable[Command]) -> None:
        waiting = deque(commands)
        now_s = time.monotonic()
        while waiting:
            match waiting.popleft():
                case Publish() as what if self.broker is not None:
                    self.broker.publish(what)
                case Order(reply=reply):
                    waiting.extend(self._translator.answered(reply, {"ok": True, "result": {}}))
                case Ask(what="config"):
                    self._translator.config(self._daemon.config(now_s), now_s)
                case Ask(what="put_config", fields=fields):
                    result = self._daemon.put(fields["changes"], fields["label"], now_s)
                    waiting.extend(self._translator.put({"ok": True, "result": result}, now_s))
                case Ask(what="profile"):
                    waiting.extend(self._translator.profiles(None))
                case _:
                    pass


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    rings = [f"ring-{ring}" for ring, many in enumerate(map(int, sys.argv[3:]), 1) for _ in range(many)]
    fleet = [Simulated(f"sim-{number}", ring, port, folder) for number, ring in enumerate(rings)]
    waits = selectors.DefaultSelector()
    places: dict[Simulated, int] = {}
    look_s = 0.0
    while True:
        now_s = time.monotonic()
        ready = {key.data for key, _ in waits.select(0.05)}
        everybody = now_s >= look_s
        due: Iterable[Simulated] = fleet if everybody else ready
        if everybody:
            look_s = now_s + 1.0
        opened = 0
        for one in due:
            if opened < MOST_AT_ONCE and (broker := one.connect(now_s)) is not None:
                opened += 1
                places[one] = broker.fileno()
                waits.register(places[one], selectors.EVENT_READ, one)
            # TLS may have more than the socket shows.
            readable = one in ready or (one.broker is not None and one.broker.has_read)
            if one in places and not one.serve(now_s, readable=readable):
                waits.unregister(places.pop(one))
            if everybody:
                one.step(now_s)


if __name__ == "__main__":
    main()
