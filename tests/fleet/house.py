"""The parts of the fleet: mosquitto, an agent, ten daemons each with its `parleyd mqtt`, Prometheus, and a reader."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from programs import free_port

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "packaging" / "fleet"
# In the short form a probation lasts this long.
SHORT = "from parleyd.app import probation; probation.PROBATION_S, probation.WORSE_S = 12.0, 3.0; "
DAEMON = """
provider: elevenlabs
elevenlabs: {{agent_id: agent_1, base_url: "http://127.0.0.1:{agent}"}}
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
wake: {{mode: manual}}
control: {{socket: {folder}/control.sock}}
metrics: {{port: {metrics}}}
mqtt:
  host: 127.0.0.1
  port: {broker}
  device: {name}
  discovery_prefix: null
  tls: {{mode: on, ca: {certificates}/ca.pem, certificate: {certificates}/{name}.pem, key: {certificates}/{name}.key}}
  groups: [all, {ring}]
  settings: on
  usage_days: 31
  figures_s: 5
"""
SCENARIO = """
agent:
  ears: none
  allowed_overrides: [first_message]
"""


class Part:
    """A process with a log of its own."""

    def __init__(self, log: Path, *words: str | Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        self._out: IO[bytes] = log.open("ab")
        self.process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._out,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()

    @property
    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0


class Certificates:
    """The project's own script makes them; those of the simulated devices come from the same authority, faster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.make("init")

    def make(self, what: str, *name: str) -> None:
        subprocess.run([FLEET / "certificates", what, self.folder, *name], check=True, timeout=60)

    def make_many(self, names: list[str]) -> None:
        import trustme

        authority = trustme.CA.from_pem((self.folder / "ca.pem").read_bytes(), (self.folder / "ca.key").read_bytes())
        for name in names:
            made = authority.issue_cert(f"{name}.invalid", common_name=name)
            made.private_key_pem.write_to_path(self.folder / f"{name}.key")
            made.cert_chain_pems[0].write_to_path(self.folder / f"{name}.pem")

    def context(self, name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context


# As Debian's own mosquitto.conf: mosquitto refuses a file beside it that says one of these again.
DEBIANS = """
pid_file {folder}/mosquitto.pid
persistence true
persistence_location {folder}/store/
log_dest stderr
include_dir {folder}/conf.d
"""


class Mosquitto:
    """With the configuration and the rights that docs/fleet.md describes, beside Debian's; paths and port are this
    run's."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.port = free_port()
        self._folder = folder
        for name in ("store", "conf.d"):
            (folder / name).mkdir()
        said = (FLEET / "mosquitto.conf").read_text()
        said = said.replace("/etc/mosquitto/parleyd/acl", str(FLEET / "acl"))
        said = said.replace("/etc/mosquitto/parleyd/", f"{certificates}/")
        said = said.replace("listener 8883", f"listener {self.port} 127.0.0.1")
        (folder / "conf.d" / "parleyd.conf").write_text(said)
        self._config = folder / "mosquitto.conf"
        # As root it would become another user, who may read no file of this run's folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(user + DEBIANS.format(folder=folder))
        self.part: Part | None = None

    def start(self) -> None:
        self.part = Part(self._folder / "mosquitto.log", "mosquitto", "-c", self._config)

    def kill(self, *, forget: bool) -> None:
        if self.part is not None:
            self.part.end(signal.SIGKILL)
        if forget:
            for file in (self._folder / "store").iterdir():
                file.unlink()


class Device:
    """A real daemon and its `parleyd mqtt`."""

    def __init__(
        self, name: str, ring: str, folder: Path, certificates: Path, broker: int, agent: int, *, short: bool
    ) -> None:
        self.name, self.ring = name, ring
        self.folder = folder / name
        self.folder.mkdir()
        self.metrics = free_port()
        self._config = self.folder / "parleyd.yaml"
        self._config.write_text(
            DAEMON.format(
                agent=agent, folder=self.folder, metrics=self.metrics, broker=broker, name=name, ring=ring,
                certificates=certificates,
            )
        )  # fmt: skip
        self._program = f"import sys; {SHORT if short else ''}from parleyd.cli.main import main; sys.exit(main())"
        self.daemon: Part | None = None
        self.bridge: Part | None = None

    def start(self) -> None:
        state = self.folder / "state"
        state.mkdir(exist_ok=True)
        run = (sys.executable, "-c", self._program)
        env = {"STATE_DIRECTORY": str(state)}
        self.daemon = Part(self.folder / "daemon.log", *run, "run", "-c", self._config, env=env)
        self.bridge = Part(self.folder / "mqtt.log", *run, "mqtt", "-c", self._config)

    def end(self) -> None:
        for part in (self.bridge, self.daemon):
            if part is not None:
                part.end()


class Reader:
    """Somebody with a certificate, who keeps what is retained, and what came. topics: that it reads."""

    def __init__(self, certificates: Certificates, name: str, port: int, *topics: str) -> None:
        self.kept: dict[str, str] = {}
        self.came: list[tuple[str, str]] = []
        self.refusals: list[str] = []
        self.changed = threading.Condition()
        self._topics = [(topic, 1) for topic in topics]
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"{name}-reader-{free_port()}", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.tls_set_context(certificates.context(name))
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.reconnect_delay_set(1, 2)
        client.connect("127.0.0.1", port)
        client.loop_start()

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        if self._topics:
            client.subscribe(self._topics)

    def _on_publish(self, _client: object, _data: object, _mid: int, reason: Any, _more: object) -> None:
        self._note([reason])

    def _on_subscribe(self, _client: object, _data: object, _mid: int, reasons: list[Any], _more: object) -> None:
        self._note(reasons)

    def _note(self, reasons: list[Any]) -> None:
        with self.changed:
            self.refusals.extend(one.getName() if one.is_failure else "" for one in reasons)
            self.changed.notify_all()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self.changed:
            self.came.append((message.topic, message.payload.decode()))
            self.kept[message.topic] = message.payload.decode()
            self.changed.notify_all()

    def wait(self, done: Callable[[], Any], patience_s: float) -> Any:
        with self.changed:
            return self.changed.wait_for(done, patience_s)

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(30)

    def count(self, ending: str, payload: str, beginning: str = "parleyd/sim-") -> int:
        """Call it under `changed`, as wait() does."""
        return sum(
            topic.startswith(beginning) and topic.endswith(ending) and said == payload
            for topic, said in self.kept.items()
        )

    def reported(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kept.get(f"parleyd/{name}/config/reported") or "{}")
        return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Prometheus:
    """A real one, with the alert rules of packaging/fleet. targets: host:port of each device."""

    def __init__(self, program: Path, folder: Path, targets: dict[str, str]) -> None:
        self._port = free_port()
        labelled = [{"targets": [target], "labels": {"instance": name}} for name, target in targets.items()]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FLEET / "alerts.yaml")],
            "scrape_configs": [{"job_name": "parleyd", "static_configs": labelled}],
        }
        file = folder / "prometheus.yaml"
        file.write_text(json.dumps(config))
        where = f"127.0.0.1:{self._port}"
        self.part = Part(
            folder / "prometheus.log", program, f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={where}", "--web.enable-remote-write-receiver",
        )  # fmt: skip
        self._program, self._folder = program, folder
        self._url = f"http://{where}/api/v1"

    def agent(self, target: str, device: str) -> Part:
        """Another one, as a device behind NAT runs it: it asks the daemon beside it, and tells this one."""
        scraped = [{"targets": [target], "labels": {"instance": device, "way": "remote write"}}]
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "parleyd", "static_configs": scraped}],
            "remote_write": [{"url": f"{self._url}/write", "queue_config": {"batch_send_deadline": "1s"}}],
        }
        file = self._folder / "agent.yaml"
        file.write_text(json.dumps(config))
        return Part(
            self._folder / "prometheus-agent.log", self._program, "--enable-feature=agent", f"--config.file={file}",
            f"--storage.agent.path={self._folder}/wal", f"--web.listen-address=127.0.0.1:{free_port()}",
        )  # fmt: skip

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Raises OSError, also for an expression that Prometheus does not take."""
        url = f"{self._url}/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def number(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def wait(self, expression: str, fits: Callable[[float], bool], patience_s: float) -> float | None:
        until_s = time.monotonic() + patience_s
        found: float | None = None
        while time.monotonic() < until_s:
            try:
                found = self.number(expression)
            except OSError:
                found = None
            if found is not None and fits(found):
                break
            time.sleep(0.5)  # it asks the daemons once a second
        return found
