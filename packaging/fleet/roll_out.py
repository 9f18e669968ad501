#!/usr/bin/env python3
"""Gives settings to a fleet of parleyd devices, ring by ring, and stops at the first ring in which a device does not
keep them: docs/fleet.md. A ring is a group (mqtt.groups). It needs paho-mqtt 2 alone, and no parleyd.

Exit codes: 0: all rings keep them; 1: a ring has not, and has its earlier settings again; 65: the file has no settings,
or other settings have its revision; 66: a file is missing, or no device of a ring is there; 69: the broker is away, or
lets nobody in with this certificate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

try:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
except ImportError:
    print(
        "roll_out.py needs paho-mqtt 2: apt install python3-paho-mqtt from Debian 13 on; before that, and elsewhere:\n"
        "  python3 -m venv fleet && fleet/bin/pip install 'paho-mqtt>=2.1' && fleet/bin/python roll_out.py ...",
        file=sys.stderr,
    )
    sys.exit(os.EX_UNAVAILABLE)

# Until the broker has answered a connection.
CONNECT_S = 20.0
# What the broker keeps comes right after the subscription; this long after the last of it all of it is there.
QUIET_S = 2.0
# States that a device does not leave by itself; it does leave waits_for_session, with the next session, which may be
# hours away.
GOOD, BAD = ("kept", "waits_for_session"), ("refused", "rolled_back", "changed_here")


class Fleet:
    """What the devices say, and what is wanted of each group. changed: for whoever waits for either."""

    def __init__(self, client: paho.Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self.changed = threading.Condition()
        self.last_s = time.monotonic()
        # What the broker answered to the connection; None: nothing yet.
        self.refusal: str | None = None
        self.online: dict[str, bool] = {}
        self.reported: dict[str, dict[str, Any]] = {}
        self.wanted: dict[str, bytes] = {}
        client.on_message = self._on_message
        client.on_connect = self._on_connect

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, reason: Any, _more: object) -> None:
        with self.changed:
            self.refusal = reason.getName() if reason.is_failure else ""
            self.last_s = time.monotonic()
            self.changed.notify_all()
        # Also after a connection that was lost: whoever has changed in the meantime is said again.
        topics = ("+/online", "+/config/reported", "group/+/config/desired")
        client.subscribe([(f"{self._prefix}/{topic}", 1) for topic in topics])

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        parts = message.topic.removeprefix(f"{self._prefix}/").split("/")
        with self.changed:
            self.last_s = time.monotonic()
            if parts[0] == "group":
                self.wanted[parts[1]] = message.payload
            elif parts[1] == "online":
                self.online[parts[0]] = message.payload == b"online"
            else:
                try:
                    said = json.loads(message.payload or b"{}")
                except ValueError:
                    said = {}
                self.reported[parts[0]] = said if isinstance(said, dict) else {}
            self.changed.notify_all()

    def want(self, ring: str, payload: bytes) -> None:
        self._client.publish(f"{self._prefix}/group/{ring}/config/desired", payload, 1, retain=True).wait_for_publish(
            30
        )

    def order(self, ring: str, command: str, payload: str) -> None:
        self._client.publish(f"{self._prefix}/group/{ring}/do/{command}", payload, 1).wait_for_publish(30)

    def try_out(self, ring: str, text: str) -> None:
        """The devices talk with their agents, in a session that has the new settings."""
        self.order(ring, "sleep", "")
        self.order(ring, "say", text)

    def members(self, ring: str) -> tuple[list[str], list[str]]:
        """The devices of a ring: those that are there, and those that are away."""
        all_ = sorted(name for name, one in self.reported.items() if ring in one.get("groups", ()))
        return [name for name in all_ if self.online.get(name)], [name for name in all_ if not self.online.get(name)]

    def wait(self, done: Callable[[], bool], until_s: float) -> bool:
        with self.changed:
            return self.changed.wait_for(done, max(0.0, until_s - time.monotonic()))

    def settle(self) -> None:
        """Returns when all that the broker keeps has come."""
        while (left_s := self.last_s + QUIET_S - time.monotonic()) > 0:
            time.sleep(left_s)


def tally(fleet: Fleet, ring: str, names: list[str], revision: object) -> dict[str, list[str]]:
    """The devices by what became of the revision there; waiting: they have not said it yet."""
    found: dict[str, list[str]] = {}
    for name in names:
        one = fleet.reported[name]
        knows = one.get("desired", {}).get(f"group/{ring}") == revision
        found.setdefault(str(one.get("state")) if knows else "waiting", []).append(name)
    return found


def ring_keeps(fleet: Fleet, ring: str, said: Mapping[str, Any], args: argparse.Namespace) -> bool:
    """Gives the ring the settings. Returns whether all of its devices keep them; else it has the earlier ones again."""
    here, away = fleet.members(ring)
    before = fleet.wanted.get(ring)
    print(f"{ring}: {len(here)} devices, {len(away)} away (they take it when they come back)", flush=True)
    fleet.want(ring, json.dumps(said).encode())
    began_s, has_asked = time.monotonic(), args.say is None

    def over() -> bool:
        nonlocal has_asked
        found = tally(fleet, ring, here, said["revision"])
        if not has_asked and not found.get("waiting"):
            has_asked = True
            threading.Thread(target=fleet.try_out, args=(ring, args.say)).start()
        # Each of them has decided, so that all that went back are told of.
        return sum(len(found.get(state, ())) for state in (*GOOD, *BAD)) == len(here)

    fleet.wait(over, began_s + args.patience_s)
    found = tally(fleet, ring, here, said["revision"])
    states = ", ".join(f"{len(names)} {state}" for state, names in sorted(found.items()))
    print(f"{ring}: {states or 'no devices'}, after {time.monotonic() - began_s:.0f} s", flush=True)
    if all(state in GOOD for state in found):
        return True
    for name in here:
        one = fleet.reported[name]
        if one.get("state") in BAD:
            why = one.get("reason") or "; ".join(one.get("problems", ())) or "somebody changed its settings there"
            print(f"  {name}: {one['state']}: {why}", flush=True)
    # Whoever has kept them goes back, too; empty: nothing was wanted before, so all settings of the ring go.
    earlier = before or json.dumps({"revision": f"before {said['revision']}", "settings": {}}).encode()
    fleet.want(ring, earlier)
    print(f"{ring}: stopped; the ring is given what it had before", flush=True)
    return False


def settings_of(file: Path) -> dict[str, Any]:
    """Raises OSError, and ValueError for a file that is no JSON object."""
    settings = json.loads(file.read_text())
    if not isinstance(settings, dict):
        raise ValueError('it has to be a JSON object, such as {"gate.hangover_ms": 700}')
    return settings


def without_devices(fleet: Fleet, rings: list[str]) -> list[str]:
    """What is wrong with rings that prove nothing, because no device of theirs is there: a typo lets all pass."""
    found = []
    for ring in rings:
        here, away = fleet.members(ring)
        if not here and away:
            found.append(f"{ring}: all of its {len(away)} devices are away")
        elif not here:
            found.append(f"{ring}: no device has this group, or none has mqtt.settings on")
    return found


def reused(fleet: Fleet, rings: list[str], said: Mapping[str, Any]) -> list[str]:
    """The rings that want other settings under this revision: what their devices have said of those would be taken for
    what they say of the new ones."""
    found = []
    for ring in rings:
        try:
            before = json.loads(fleet.wanted.get(ring) or b"{}")
        except ValueError:
            continue
        if isinstance(before, dict) and before.get("revision") == said["revision"] and before != said:
            found.append(f"{ring}: other settings have the revision {said['revision']}; give these another")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("settings", type=Path, help='a JSON file: {"gate.hangover_ms": 700, ...}')
    parser.add_argument("rings", nargs="+", metavar="RING", help="groups of devices, in their order")
    parser.add_argument("--revision", required=True, help="a name for these settings, other than all before")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--ca", type=Path, required=True, help="certificate of the authority")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--prefix", default="parleyd", help="mqtt.topic_prefix")
    parser.add_argument(
        "--say", metavar="TEXT", help="say this to the agents of a ring once the settings are made there"
    )
    parser.add_argument(
        "--patience-s", type=float, default=300.0, help="for each ring; more than the probation of 120 s"
    )
    args = parser.parse_args()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    try:
        said = {"revision": args.revision, "settings": settings_of(args.settings)}
        client.tls_set(str(args.ca), str(args.certificate), str(args.key))
    except OSError as error:
        # ssl names no file.
        files = ", ".join(str(one) for one in (args.settings, args.ca, args.certificate, args.key))
        print(f"one of these files cannot be read: {files}: {error}", file=sys.stderr)
        return os.EX_NOINPUT
    except ValueError as error:
        print(f"{args.settings}: {error}", file=sys.stderr)
        return os.EX_DATAERR
    fleet = Fleet(client, args.prefix)
    try:
        client.connect(args.host, args.port)
    except OSError as error:
        print(f"{args.host}:{args.port}: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    client.loop_start()
    try:
        fleet.wait(lambda: fleet.refusal is not None, time.monotonic() + CONNECT_S)
        if fleet.refusal != "":
            why = fleet.refusal or "it accepts no such certificate, or does not answer"
            print(f"{args.host}:{args.port} lets nobody in with {args.certificate}: {why}", file=sys.stderr)
            return os.EX_UNAVAILABLE
        fleet.settle()
        if empty := without_devices(fleet, args.rings):
            print(*empty, "nothing was changed", sep="\n", file=sys.stderr)
            return os.EX_NOINPUT
        if taken := reused(fleet, args.rings, said):
            print(*taken, "nothing was changed", sep="\n", file=sys.stderr)
            return os.EX_DATAERR
        for ring in args.rings:
            if not ring_keeps(fleet, ring, said, args):
                return 1
    finally:
        client.disconnect()
        client.loop_stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
