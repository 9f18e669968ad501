"""packaging/fleet/roll_out.py where it cannot begin: a real mosquitto with certificates, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from mqtt_house import Mosquitto, Watcher

from programs import free_port

ROLL_OUT = Path(__file__).resolve().parents[2] / "packaging" / "fleet" / "roll_out.py"


def certificate(authority: trustme.CA, folder: Path, name: str) -> None:
    made = authority.issue_cert(f"{name}.invalid", "127.0.0.1", common_name=name)
    made.private_key_pem.write_to_path(folder / f"{name}.key")
    made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")


class Fleet:
    """A broker that keeps what two devices said: one is there, the other one is away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        for name in ("broker", "operator"):
            certificate(authority, folder, name)
        certificate(trustme.CA(), folder, "stranger")
        self._tls_port = free_port()
        self.mosquitto = Mosquitto(
            folder,
            f"allow_anonymous true\nlistener {self._tls_port} 127.0.0.1\ncafile {folder}/ca.pem\n"
            f"certfile {folder}/broker.pem\nkeyfile {folder}/broker.key\nrequire_certificate true",
        )

    def tell(self) -> None:
        with Watcher(self.mosquitto.port) as watcher:
            for name, online, groups in (("a", "online", ["all", "ring-1"]), ("b", "offline", ["all", "ring-2"])):
                watcher.client.publish(f"parleyd/{name}/online", online, 1, retain=True)
                said = json.dumps({"state": "none", "groups": groups})
                watcher.client.publish(f"parleyd/{name}/config/reported", said, 1, retain=True)
                watcher.wait_for(f"parleyd/{name}/config/reported", said)

    def roll_out(self, *rings: str, settings: str = "{}", who: str = "operator") -> tuple[int, str]:
        (self._folder / "new.json").write_text(settings)
        where = ("--host", "127.0.0.1", "--port", str(self._tls_port), "--revision", "new")
        tls = ("--ca", "ca.pem", "--certificate", f"{who}.pem", "--key", f"{who}.key")
        done = subprocess.run(
            [sys.executable, ROLL_OUT, "new.json", *rings, *where, *tls],
            cwd=self._folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def wanted(self) -> list[str]:
        with Watcher(self.mosquitto.port) as watcher:
            # What the broker keeps has come before this.
            watcher.client.publish("end", "", 1)
            watcher.wait_for("end", "")
            return [topic for topic, *_ in watcher.came if topic.endswith("/config/desired")]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    with made.mosquitto:
        yield made


def test_a_ring_without_a_device_stops_it_before_anything_is_changed(fleet: Fleet) -> None:
    """With a typo in the first ring all others would get settings that nobody has tried."""
    fleet.tell()
    for rings, told in (
        (("rnig-1", "all"), "rnig-1: no device has this group"),
        (("all", "ring-2"), "ring-2: all of its 1 devices are away"),
    ):
        code, said = fleet.roll_out(*rings)
        assert (code, said.splitlines()[-1]) == (66, "nothing was changed")
        assert told in said
    assert fleet.wanted() == []


def test_what_it_is_given_is_looked_at_first(fleet: Fleet) -> None:
    assert fleet.roll_out("all", settings="{")[0] == 65
    code, said = fleet.roll_out("all", settings="[]")
    assert code == 65
    assert "JSON object" in said
    code, said = fleet.roll_out("all", who="nobody")
    assert code == 66
    assert "nobody.pem" in said
    code, said = fleet.roll_out("all", who="stranger")
    assert code == 69
    assert "lets nobody in with stranger.pem" in said


def test_a_revision_that_other_settings_have_is_refused(fleet: Fleet) -> None:
    """What the devices have said of those would be taken for what they say of the new ones."""
    fleet.tell()
    with Watcher(fleet.mosquitto.port) as watcher:
        for topic, text in (
            ("group/ring-1/config/desired", '{"revision": "new", "settings": {"gate.hangover_ms": 600}}'),
            ("a/config/reported", '{"state": "kept", "groups": ["ring-1"], "desired": {"group/ring-1": "new"}}'),
        ):
            watcher.client.publish(f"parleyd/{topic}", text, 1, retain=True)
            watcher.wait_for(f"parleyd/{topic}", text)
    code, said = fleet.roll_out("ring-1", settings='{"gate.hangover_ms": 700}')
    assert (code, said.splitlines()[-1]) == (65, "nothing was changed")
    assert "ring-1: other settings have the revision new" in said
    # A run that broke off may be repeated.
    assert fleet.roll_out("ring-1", settings='{"gate.hangover_ms": 600}')[0] == 0
