"""A house for the tests: a real mosquitto, a real daemon with the embedded agent, `parleyd mqtt`, and somebody who
reads along at the broker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from programs import PATIENCE_S, Program, free_port, until

DEVICE = "house-1"
BASE = f"parleyd/{DEVICE}"
DISCOVERY = f"homeassistant/device/{DEVICE}/config"

CONFIG = """
provider: local
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
wake: {{mode: manual}}
profiles: {{night: {{settings: {{audio: {{output: {{volume: 0.2}}}}}}}}}}
mqtt: {{host: 127.0.0.1, port: {port}, device: house-1, figures_s: 5{more}}}
"""


class Mosquitto:
    """A context manager. more: lines of its configuration."""

    def __init__(self, folder: Path, more: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        # As root it would become another user, who may read no file of the test's folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        self._file.write_text(
            f"{user}listener {self.port} 127.0.0.1\npersistence false\nset_tcp_nodelay true\n{more}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", self._file], stdout=log, stderr=log)
        until(self._answers, "mosquitto did not start")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def log(self) -> str:
        return self._log.read_text()


class Watcher:
    """Reads everything at the broker. A context manager."""

    def __init__(self, port: int, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5, **login: str) -> None:
        self.came: list[tuple[str, str, bool, Any]] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._is_5 = version is MQTTProtocolVersion.MQTTv5
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        if login:
            self.client.username_pw_set(login["user"], login["password"])
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._ready.set()
        self._port = port

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe("#", 1)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.came.append((message.topic, message.payload.decode(), message.retain, message.properties))
            self._changed.notify_all()

    def __enter__(self) -> Watcher:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def mark(self) -> int:
        with self._changed:
            return len(self.came)

    def wait(self, fits: Callable[[str, str], bool], since: int = 0) -> Any:
        """Returns the message: its properties are its fourth part."""

        return self.came[self.behind(fits, since) - 1]

    def behind(self, fits: Callable[[str, str], bool], since: int) -> int:
        """Waits for the message, and returns the mark behind it."""

        def found() -> int:
            coming = enumerate(self.came[since:], since + 1)
            return next((mark for mark, one in coming if fits(one[0], one[1])), 0)

        with self._changed:
            mark = self._changed.wait_for(found, PATIENCE_S)
        assert mark, f"it did not come; these did: {[one[:2] for one in self.came[since:]]}"
        return mark

    def wait_for(self, topic: str, payload: str, since: int = 0) -> None:
        self.wait(lambda where, what: (where, what) == (topic, payload), since)

    def wait_for_state(self, since: int = 0, **fields: Any) -> int:
        """Returns the mark behind that state: whoever looks for the next one must not miss what came meanwhile."""

        def fits(topic: str, payload: str) -> bool:
            return topic == f"{BASE}/state" and fields.items() <= json.loads(payload).items()

        return self.behind(fits, since)

    def online(self, what: str, since: int = 0) -> None:
        self.wait_for(f"{BASE}/online", what, since)

    def order(self, name: str, payload: str = "", **more: Any) -> None:
        """more: ResponseTopic, CorrelationData, MessageExpiryInterval; retain."""
        retain = bool(more.pop("retain", False))
        properties = None
        if self._is_5 and more:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            for key, value in more.items():
                setattr(properties, key, value)
        self.client.publish(f"{BASE}/do/{name}", payload, 1, retain, properties)

    def answer(self, name: str, payload: str = "") -> dict[str, Any]:
        """Gives an order, and returns the answer to it; the answer to an earlier one may still come before it."""

        def fits(topic: str, text: str) -> bool:
            return topic == f"{BASE}/result" and json.loads(text)["command"] == name

        since = self.mark()
        self.order(name, payload)
        answer: dict[str, Any] = json.loads(self.wait(fits, since)[1])
        return answer


class House:
    """folder: for configuration and logs. more: further keys of the section mqtt. microphone: a recording, which wakes
    the daemon."""

    def __init__(self, folder: Path, port: int, more: str = "", microphone: Path | None = None) -> None:
        self.config = folder / "parleyd.yaml"
        said = CONFIG.format(port=port, more=f", {more}" if more else "")
        if microphone is not None:
            said = said.replace('input: {device: "null"}', f'input: {{device: "wav:{microphone}"}}')
            said = said.replace("wake: {mode: manual}", "wake: {mode: speech}")
        self.config.write_text(said)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Program]:
        with Program("run", "-c", self.config) as program:
            program.says("runs; provider")
            yield program

    def bridge(self, *options: str) -> Program:
        return Program(*options, "mqtt", "-c", self.config)
