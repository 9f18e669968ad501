"""The proof: rights, roll-outs, a broker that is killed, a storm of wills, usage, figures. A line for each check.

python -m fleet [--long] [--devices N] [--prometheus FOLDER]
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fleet.house import FLEET, SCENARIO, Certificates, Device, Mosquitto, Part, Prometheus, Reader
from fleet.simulated import BAD_KEY
from programs import free_port

PATIENCE_S = 120.0
# The real devices of each ring.
REAL = (2, 3, 5)
# The one expression of the dashboard that runs, but shows nothing where no part has a trouble.
WITHOUT_TROUBLE = "sum by (part) (parleyd_trouble)"
RINGS = ("ring-1", "ring-2", "ring-3")


class Failed(Exception):  # noqa: N818 - the end of the run
    """A check has failed."""


class Proof:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self._folder, self._args = folder, args
        self._began_s = time.monotonic()
        self._ends = ExitStack()
        self._checks = self._failures = 0
        many = args.devices
        self._simulated = (many // 20, many // 4, many - many // 20 - many // 4)
        self._patience_s = PATIENCE_S * (3 if args.long else 1)

    def check(self, what: str, is_so: object, more: str = "") -> None:
        now_s = time.monotonic() - self._began_s
        print(f"{'ok  ' if is_so else 'FAIL'} {now_s:5.0f} s  {what}{f': {more}' if more else ''}", flush=True)
        self._checks += 1
        if not is_so:
            self._failures += 1
            raise Failed(what)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        with self._ends:
            yield

    def run(self) -> int:
        try:
            with self._ending():
                self._steps()
        except Failed:
            self._show_logs()
        took_s = time.monotonic() - self._began_s
        print(f"{self._checks} checks, {self._failures} failed, {took_s:.0f} s")
        return min(1, self._failures)

    def _show_logs(self) -> None:
        for log in sorted(self._folder.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-4:]
            if "real-1" in str(log) or log.parent == self._folder:
                print(f"--- {log.relative_to(self._folder)}", *lines, sep="\n    ")

    # ---------------------------------------------------------------- the steps

    def _steps(self) -> None:
        self._start()
        self._rights()
        self._roll_outs()
        self._usage()
        self._figures()
        self._broker_is_killed()
        self._storm_of_wills()

    def _start(self) -> None:
        folder = self._folder
        certificates = self.certificates = Certificates(folder / "certificates")
        certificates.make("broker", "127.0.0.1")
        real = [(f"real-{number}", ring) for number, ring in enumerate(_spread(REAL), 1)]
        for name in ("operator", "books", *(name for name, _ in real)):
            certificates.make("device", name)
        certificates.make_many([f"sim-{number}" for number in range(self._args.devices)])
        self.check("certificates", True, f"an authority, a broker, {len(real) + self._args.devices + 2} clients")
        self.mosquitto = Mosquitto(folder, certificates.folder)
        self.mosquitto.start()
        self._ends.callback(self.mosquitto.kill, forget=False)
        agent = free_port()
        (folder / "scenario.yaml").write_text(SCENARIO)
        words = ("agent", "--port", str(agent), "--scenario", folder / "scenario.yaml")
        self._part("agent.log", sys.executable, "-m", "parleyd", *words)
        self.devices = [
            Device(name, ring, folder, certificates.folder, self.mosquitto.port, agent, short=not self._args.long)
            for name, ring in real
        ]
        for device in self.devices:
            self._ends.callback(device.end)
            device.start()
        self._simulate()
        self.operator = Reader(certificates, "operator", self.mosquitto.port, "parleyd/#")
        self._ends.callback(self.operator.close)
        everybody = len(self.devices) + self._args.devices
        self._await(
            lambda: self.operator.count("/online", "online", "parleyd/") == everybody,
            f"{everybody} devices are online, {len(self.devices)} of them real daemons",
        )

    def _part(self, log: str, *words: str | Path) -> Part:
        part = Part(self._folder / log, *words)
        self._ends.callback(part.end)
        return part

    def _simulate(self) -> None:
        counts = map(str, self._simulated)
        words: tuple[str | Path, ...] = (
            "-m",
            "fleet.simulated",
            str(self.mosquitto.port),
            self.certificates.folder,
            *counts,
        )
        self.simulator = self._part("simulated.log", sys.executable, *words)

    def _await(self, done: Callable[[], Any], what: str, more: Callable[[], str] = lambda: "") -> None:
        self.check(what, self.operator.wait(done, self._patience_s), more())

    def _rights(self) -> None:
        thief = Reader(self.certificates, "sim-1", self.mosquitto.port, "parleyd/sim-2/state", "parleyd/#")
        try:
            thief.wait(lambda: len(thief.refusals) == 2, 10)
            thief.publish("parleyd/sim-2/do/mute", "")
            thief.publish("parleyd/group/all/config/desired", '{"revision": 1, "settings": {}}', retain=True)
            thief.wait(lambda: len(thief.refusals) == 4, 10)
            more = f"{len(thief.came)} messages read; publishing: {', '.join(thief.refusals[2:])}"
            all_refused = len(thief.refusals) == 4 and all(thief.refusals[2:])
            self.check("one device's certificate orders no other, and no group", all_refused, more)
            foreign = [topic for topic, _ in thief.came if not topic.startswith(("parleyd/sim-1/", "parleyd/group/"))]
            self.check("and learns nothing of them", not foreign, f"{len(foreign)} messages of others")
        finally:
            thief.close()
        refused = ""
        try:
            nobody = Reader(self.certificates, "operator", self.mosquitto.port)
            nobody.close()
            with socket.create_connection(("127.0.0.1", self.mosquitto.port), 10) as plain:
                context = self.certificates.context(None)
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
                    line.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
                    refused = "" if line.recv(4) else "closed"
        except (ssl.SSLError, ConnectionError) as error:
            refused = str(error)
        self.check("without a certificate nobody gets in", refused, refused)

    # ---------------------------------------------------------------- roll-outs

    def _roll_out(self, revision: str, settings: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
        file = self._folder / f"{revision}.json"
        file.write_text(json.dumps(settings))
        folder = self.certificates.folder
        tls = ("--ca", folder / "ca.pem", "--certificate", folder / "operator.pem", "--key", folder / "operator.key")
        where = ("--host", "127.0.0.1", "--port", str(self.mosquitto.port))
        command: list[str | Path] = [
            sys.executable,
            FLEET / "roll_out.py",
            file,
            *RINGS,
            "--revision",
            revision,
            *where,
            *tls,
            *more,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
        for line in (done.stdout + done.stderr).splitlines()[:12]:
            print(f"               {line[:150]}")
        return done

    def _roll_outs(self) -> None:
        good = self._roll_out("good-1", {"gate.hangover_ms": 650, "barge_in.confirm_ms": 250})
        self.check("a good configuration goes through all rings", good.returncode == 0)
        kept = [self.operator.reported(one.name).get("state") for one in self.devices]
        self.check("ten real daemons keep it", kept == ["kept"] * len(self.devices))

        before = {one.name: self.operator.reported(one.name)["settings_revision"] for one in self.devices}
        bad = self._roll_out("bad-1", {"gate.hangover_ms": 660, BAD_KEY: "xx"}, "--say", "What time is it?")
        self.check("a bad one stops at ring-1", bad.returncode == 1 and "ring-2" not in bad.stdout)
        first = [one for one in self.devices if one.ring == "ring-1"]
        went_back = [one.name for one in first if f"{one.name}: rolled_back: agent" in bad.stdout]
        self.check(
            "the real daemons there took it back and say why", len(went_back) == len(first), ", ".join(went_back)
        )
        untouched = all(
            self.operator.reported(one.name)["settings_revision"] == before[one.name]
            for one in self.devices
            if one.ring != "ring-1"
        )
        self.check("no device of another ring was touched", untouched)
        self._await(
            lambda: all(
                self.operator.reported(name).get("desired", {}).get("group/ring-1") == "good-1"
                and self.operator.reported(name).get("state") == "kept"
                for name in [*(one.name for one in first), *(f"sim-{n}" for n in range(self._simulated[0]))]
            ),
            "the whole ring has the good one again",
        )
        refused = self._roll_out("power-1", {"hooks": [], "elevenlabs.agent_id": "agent_of_somebody_else"})
        self.check(
            "keys that give power are refused",
            refused.returncode == 1 and "elevenlabs.agent_id: this cannot be changed by a setting" in refused.stdout,
        )

    # ---------------------------------------------------------------- usage and figures

    def _usage(self) -> None:
        self.operator.came.clear()
        self.operator.publish("parleyd/group/ring-2/do/say", '{"text": "Tell me a story.", "id": 7}')
        second = [one.name for one in self.devices if one.ring == "ring-2"]

        def answers() -> list[dict[str, Any]]:
            said = [json.loads(text) for topic, text in self.operator.came if topic.endswith("/result")]
            return [one for one in said if one.get("id") == 7]

        everybody = len(second) + self._simulated[1]
        self._await(lambda: len(answers()) == everybody, f"a command to ring-2 is answered by all {everybody}")
        self._await(
            lambda: all(self._state(name) == "responding" for name in second), "its real daemons speak at the same time"
        )
        # A tenth of a minute is the least that a bill shows.
        time.sleep(4)
        self.operator.publish("parleyd/group/ring-2/do/sleep", "")
        self._await(lambda: all(self._billed(name) for name in second), "the usage of the day is retained for each")

    def _state(self, name: str) -> str:
        return str(json.loads(self.operator.kept.get(f"parleyd/{name}/state") or "{}").get("state"))

    def _billed(self, name: str) -> list[str]:
        return sorted(text for topic, text in self.operator.kept.items() if topic.startswith(f"parleyd/{name}/usage/"))

    def _figures(self) -> None:
        if self._args.prometheus is None:
            print("skip         Prometheus: --prometheus FOLDER names none")
            return
        targets = {one.name: f"127.0.0.1:{one.metrics}" for one in self.devices}
        prometheus = Prometheus(self._args.prometheus / "prometheus", self._folder, targets)
        self._ends.callback(prometheus.part.end)
        seen = prometheus.wait("count(parleyd_build_info)", lambda many: many == len(targets), self._patience_s)
        self.check("Prometheus has the figures of the real daemons", seen == len(targets), f"{seen or 0:g} of them")
        told = subprocess.run([sys.executable, FLEET / "dashboard.py", "--expressions"], capture_output=True, text=True)
        expressions = told.stdout.splitlines()
        prometheus.query(WITHOUT_TROUBLE)
        showing = [one for one in expressions if one != WITHOUT_TROUBLE]
        empty = [one for one in showing if prometheus.wait(one, lambda _: True, 20) is None]
        self.check("every expression of the dashboard runs there, and shows something",
                   len(showing) == len(expressions) - 1 and not empty,
                   f"{len(expressions)} expressions" if not empty else "; ".join(empty))  # fmt: skip
        agent = prometheus.agent(targets["real-1"], "real-1")
        try:
            way = 'parleyd_build_info{instance="real-1", way="remote write"}'
            sent = prometheus.wait(way, lambda _: True, 30)
            self.check("an agent of Prometheus' sends the figures from behind NAT", sent is not None)
        finally:
            agent.end()
        down = self.devices[-1]
        assert down.daemon is not None
        down.daemon.end(signal.SIGKILL)
        query = f'ALERTS{{alertname="ParleydGone", alertstate="pending", instance="{down.name}"}}'
        fires = prometheus.wait(query, lambda _: True, 30)
        # It fires after two minutes, which promtool's tests show.
        self.check("a daemon that was killed becomes a pending alert", fires is not None)
        self._await(lambda: self.operator.kept.get(f"parleyd/{down.name}/online") == "offline", "and offline")
        assert down.bridge is not None
        down.bridge.end()
        down.start()
        self._await(lambda: self.operator.kept.get(f"parleyd/{down.name}/online") == "online", "and comes back")

    # ---------------------------------------------------------------- the broker, and all lines at once

    def _broker_is_killed(self) -> None:
        assert self.mosquitto.part is not None
        memory_mb = self.mosquitto.part.memory_mb
        bills = {one.name: self._billed(one.name) for one in self.devices}
        revisions = {one.name: self.operator.reported(one.name).get("settings_revision") for one in self.devices}
        away_s = 600 if self._args.long else 3
        self.mosquitto.kill(forget=True)
        time.sleep(away_s)  # the time without a broker
        self.operator.kept.clear()
        self.mosquitto.start()
        everybody = len(self.devices) + self._args.devices
        self._await(
            lambda: self.operator.count("/online", "online", "parleyd/") == everybody,
            f"the broker was killed for {away_s} s and has forgotten all: {everybody} are back",
            lambda: f"it had {memory_mb:.0f} MB",
        )
        self._await(
            lambda: all(self._billed(name) == bill for name, bill in bills.items()), "no bill is lost",
            lambda: f"{sum(map(len, bills.values()))} days of {len(bills)} devices",
        )  # fmt: skip
        self._await(
            lambda: all(self.operator.reported(one.name).get("state") == "none" for one in self.devices),
            "nothing is wanted any more, and nothing was taken away",
        )
        again = self._roll_out("good-1", {"gate.hangover_ms": 650, "barge_in.confirm_ms": 250})
        same = {one.name: self.operator.reported(one.name).get("settings_revision") for one in self.devices}
        self.check("the same settings said again change nothing", again.returncode == 0 and same == revisions)

    def _storm_of_wills(self) -> None:
        began_s = time.monotonic()
        self.simulator.end(signal.SIGKILL)
        many = self._args.devices
        self._await(
            lambda: self.operator.count("/online", "offline") == many,
            f"{many} lines cut at once: every will is seen",
            lambda: f"in {time.monotonic() - began_s:.1f} s",
        )
        late = Reader(self.certificates, "books", self.mosquitto.port, "parleyd/+/online")
        try:
            seen = late.wait(lambda: late.count("/online", "offline") == many, 30)
            self.check("and read as well by whoever comes later", seen)
        finally:
            late.close()
        online = [one.name for one in self.devices if self.operator.kept.get(f"parleyd/{one.name}/online") == "online"]
        self.check("the real daemons did not notice", len(online) == len(self.devices))
        self._simulate()
        self._await(lambda: self.operator.count("/online", "online") == many, f"all {many} are back")
        bridges = [one.bridge.memory_mb for one in self.devices if one.bridge is not None]
        self.check("memory", True, f"a bridge has {max(bridges):.0f} MB at most, the simulator "
                   f"{self.simulator.memory_mb:.0f} MB")  # fmt: skip


def _spread(counts: tuple[int, ...]) -> Iterator[str]:
    for ring, many in zip(RINGS, counts, strict=True):
        yield from [ring] * many


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-fleet", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--long", action="store_true", help="the real probation, and ten minutes without a broker")
    parser.add_argument("--devices", type=int, default=1000, help="simulated ones, default: %(default)s")
    parser.add_argument("--prometheus", type=Path, help="the folder of a program prometheus")
    parser.add_argument("--keep", type=Path, help="a folder that keeps logs and files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parleyd-fleet-") as folder:
        where = args.keep or Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        return Proof(where, args).run()


if __name__ == "__main__":
    sys.exit(main())
