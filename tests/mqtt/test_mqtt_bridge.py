"""`parleyd mqtt` between a real mosquitto and a real daemon, both of which are killed, stopped and started again."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from home_assistant import faults
from mqtt_house import BASE, DISCOVERY, House, Mosquitto, Watcher
from paho.mqtt.enums import MQTTProtocolVersion

from parleyd.config.base import Secret
from parleyd.config.mqtt_section import Mqtt, MqttTls
from parleyd.config.schema import Config
from parleyd.control import follower
from parleyd.control.client import Client
from parleyd.control.follower import Gone, Here, Told
from parleyd.doctor.examination import Examination
from parleyd.doctor.mqtt import broker as doctor_s_check
from parleyd.mqtt import bridge as bridging
from parleyd.mqtt import broker as connecting
from parleyd.mqtt.bridge import Bridge
from parleyd.mqtt.broker import Broker
from parleyd.mqtt.daemon_link import DaemonLink
from parleyd.mqtt.names import Device
from parleyd.mqtt.patience import LASTING_S
from parleyd.mqtt.publications import Publish
from programs import PATIENCE_S, Program, free_port, until


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def house(tmp_path: Path, mosquitto: Mosquitto) -> House:
    return House(tmp_path, mosquitto.port, "texts: all")


def test_a_conversation_as_home_assistant_sees_it(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), house.bridge() as bridge, Watcher(mosquitto.port) as house_assistant:
        house_assistant.online("online")
        assert list(faults(json.loads(house_assistant.wait(lambda topic, _: topic == DISCOVERY)[1]))) == []
        house_assistant.wait_for_state(state="idle", muted=False, profile="auto")
        since = house_assistant.mark()

        assert house_assistant.answer("say", "What time is it?")["ok"]
        house_assistant.wait(lambda topic, text: topic == f"{BASE}/event" and json.loads(text)["event_type"] == "woken")
        at = since
        for state in ("connecting", "processing", "responding", "listening"):
            at = house_assistant.wait_for_state(at, state=state)
        answer = house_assistant.wait(lambda topic, _: topic == f"{BASE}/answer", since)
        assert json.loads(answer[1])["text"].startswith("It is")
        assert house_assistant.answer("sleep") == {"command": "sleep", "ok": True, "result": {}}
        house_assistant.wait_for_state(at, state="idle")

        # The owner has not said that the broker may unmute; the device shows what the daemon says.
        since = house_assistant.mark()
        assert house_assistant.answer("mute")["ok"]
        house_assistant.wait_for_state(since, muted=True)
        for order in (("mute", '{"on": false}'), ("unmute", "")):
            assert house_assistant.answer(*order)["error"]["kind"] == "not_allowed"
        with Client() as client:
            assert client.ask("status")["microphone"]["muted"]
            since = house_assistant.mark()
            client.ask("unmute")
        house_assistant.wait_for_state(since, muted=False)
        assert house_assistant.answer("volume", '{"to": 0.3}')["result"] == {"volume": 0.3}
        house_assistant.wait_for_state(volume=30)
        assert house_assistant.answer("profile", '{"name": "night"}')["result"]["chosen"] == "night"
        house_assistant.wait_for_state(profile="night")
        assert house_assistant.answer("profile", '{"name": "day"}')["error"]["kind"] == "unknown_profile"
        assert house_assistant.answer("context", "It rains.")["error"]["kind"] == "no_session"
        assert house_assistant.answer("volume", '{"too": 0.3}')["error"]["kind"] == "bad_request"
        since = house_assistant.mark()
        assert house_assistant.answer("announce", "Dinner is ready.")["result"] == {"announcement": 1}
        since = house_assistant.wait_for_state(since, state="responding", agent_speaks=True)
        house_assistant.wait_for_state(since, state="idle", agent_speaks=False)
        assert bridge.end() == os.EX_OK
        house_assistant.online("offline", since)


def test_an_answer_finds_its_sender_with_both_versions(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), house.bridge(), Watcher(mosquitto.port) as new:
        new.online("online")
        new.order("volume", '{"id": 3}', ResponseTopic="backend/answers", CorrelationData=b"\x00\xff")
        _, payload, is_retained, properties = new.wait(lambda topic, _: topic == "backend/answers")
        assert properties.CorrelationData == b"\x00\xff"
        assert not is_retained
        assert json.loads(payload)["id"] == 3
        with Watcher(mosquitto.port, MQTTProtocolVersion.MQTTv311) as old:
            assert old.answer("volume", '{"id": "x"}')["id"] == "x"
        # It had expired when it was to be carried out.
        new.order("wake", MessageExpiryInterval=0, ResponseTopic="backend/late")
        # A flood of texts is bounded.
        since = new.mark()
        for _ in range(60):
            new.order("announce", "Dinner.")
        kinds = [json.loads(one[1]).get("error", {}).get("kind") for one in _results(new, since, 60)]
        assert kinds.count("too_many") == 50


def _results(watcher: Watcher, since: int, count: int) -> list[tuple[str, str, bool, object]]:
    def found() -> list[tuple[str, str, bool, object]]:
        return [one for one in watcher.came[since:] if one[0] == f"{BASE}/result"]

    until(lambda: len(found()) >= count, "answers are missing")
    return found()


def test_a_command_that_was_kept_is_ignored_and_said(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), Watcher(mosquitto.port) as watcher:
        watcher.order("mute", "{}", retain=True)
        watcher.wait(lambda topic, _: topic.endswith("/do/mute"))
        with house.bridge() as bridge:
            assert "mosquitto_pub" in bridge.says("is kept by the broker")
            watcher.online("online")
            assert watcher.answer("volume")["ok"]
            with Client() as client:
                assert not client.ask("status")["microphone"]["muted"]


def test_home_assistant_comes_back_and_removes_the_device(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), Watcher(mosquitto.port) as watcher, house.bridge() as bridge:
        watcher.online("online")
        since = watcher.mark()
        watcher.client.publish("homeassistant/status", "online", 1)
        watcher.wait(lambda topic, text: topic == DISCOVERY and bool(text), since)
        watcher.online("online", since)
        watcher.client.publish(DISCOVERY, "", 1, retain=True)
        since = watcher.mark()
        watcher.client.publish("homeassistant/status", "online", 1)
        watcher.online("online", since)
        assert [text for topic, text, *_ in watcher.came[since:] if topic == DISCOVERY and text] == []
        bridge.end()
        since = watcher.mark()
        with house.bridge():
            watcher.wait(lambda topic, text: topic == DISCOVERY and bool(text), since)


def test_what_a_change_of_the_configuration_leaves_out_is_taken_away_in_home_assistant(
    tmp_path: Path, house: House, mosquitto: Mosquitto
) -> None:
    """House has mqtt.texts: all. Home Assistant would go on to show the last answer."""

    def components(text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text)["components"]
        return found

    with house.daemon(), Watcher(mosquitto.port) as watcher:
        with house.bridge() as bridge:
            watcher.online("online")
            bridge.end()
        since = watcher.mark()
        silent = tmp_path / "silent"
        silent.mkdir()
        with House(silent, mosquitto.port).bridge():
            taken = watcher.behind(
                lambda topic, text: topic == DISCOVERY and components(text).get("answer") == {"platform": "sensor"},
                since,
            )
            watcher.wait(lambda topic, text: topic == DISCOVERY and "answer" not in components(text), taken)
    with Watcher(mosquitto.port) as late:
        kept = late.wait(lambda topic, _: topic == DISCOVERY)[1]
        assert "answer" not in components(kept)
        assert list(faults(json.loads(kept))) == []


def test_no_message_ends_the_program(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), house.bridge() as bridge, Watcher(mosquitto.port) as watcher:
        watcher.online("online")
        for payload in (r'{"id": "\ud800"}', '{"id": NaN}', '{"id": ' + "[" * 20_000):
            assert watcher.answer("wake", payload)["error"]["kind"] == "bad_request"
        # An empty topic, at which the broker would end the connection of who answers there. A newer mosquitto (2.0.21)
        # does not take it, and ends the connection of its sender.
        since = watcher.mark()
        with Watcher(mosquitto.port) as stranger:
            is_cut_off = threading.Event()
            stranger.client.on_disconnect = lambda *_: is_cut_off.set()

            def results() -> list[str]:
                return [text for topic, text, *_ in watcher.came[since:] if topic == f"{BASE}/result"]

            stranger.order("volume", ResponseTopic="")
            until(lambda: is_cut_off.is_set() or bool(results()), "neither an answer nor a refusal")
            expected = [] if is_cut_off.is_set() else ["bad_request"]
        answers = [json.loads(text)["error"]["kind"] for text in results()]
        assert answers == expected
        assert watcher.answer("volume")["ok"]
        assert not [line for line in bridge.lines if "is lost" in line]
        assert bridge.process.poll() is None


def served(broker: Broker, done: Callable[[], bool], otherwise: str) -> None:
    def is_done() -> bool:
        broker.serve(readable=True, writable=True)
        return done()

    until(is_done, otherwise)


def test_a_message_whose_topic_is_no_text_is_ignored_and_said() -> None:
    """A stand-in: mosquitto passes no such thing on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        broker = Broker(Mqtt(host="127.0.0.1", port=listening.getsockname()[1]), "house-1", "5", ["x"], None)
        broker.open()
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"\x20\x03\x00\x00\x00" + b"\x30\x05\x00\x02\xff\xff\x00")
            served(broker, lambda: bool(broker.complaints), "it says nothing")
        assert "whose topic is not UTF-8" in broker.complaints[0][0]
        assert broker.failure is None
        broker.drop()


def test_a_command_that_waited_while_the_program_stood_still_is_as_old_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lay in the kernel's buffer, also after the broker had given up the connection: nobody shall hear an
    announcement hours later. What comes in the normal course is as new as it is read: it may expire within a second."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        broker = Broker(Mqtt(host="127.0.0.1", port=listening.getsockname()[1]), "house-1", "5", ["x"], None)
        broker.open()
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"\x20\x03\x00\x00\x00")
            served(broker, lambda: broker.is_ready, "it is not connected")
            ages_s = []
            for gap_s in (0.9, 3600.0, 0.9):
                looked_s = time.monotonic()
                broker.serve(readable=False, writable=False)
                connection.sendall(b"\x30\x04\x00\x01x\x00")
                assert select.select([broker.fileno()], [], [], PATIENCE_S)[0]
                monkeypatch.setattr(time, "monotonic", lambda at_s=looked_s + gap_s: at_s)
                [came] = broker.serve(readable=True, writable=False)
                monkeypatch.undo()
                ages_s.append(looked_s + gap_s - came.at_s)
        broker.drop()
    assert [round(age_s) for age_s in ages_s] == [0, 3600, 0]


@pytest.mark.parametrize(("told", "expected"), [(b"\x03\x21\x00\x02", 2), (b"\x03\x21\xff\xff", 16), (b"\x00", 16)])
def test_a_broker_that_takes_few_messages_at_once_gets_no_more(told: bytes, expected: int) -> None:
    """A stand-in, whose first answer names its receive maximum; a broker that gets more ends the connection. mosquitto
    confirms too soon for that. expected: messages that are not confirmed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        broker = Broker(Mqtt(host="127.0.0.1", port=listening.getsockname()[1]), "house-1", "5", ["x"], None)
        broker.open()
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as reading:

            def packet() -> tuple[int, bytes]:
                """Its first byte, and the rest of it; none here has more than 127 bytes."""
                kind, length = reading.read(2)
                return kind, reading.read(length)

            connection.sendall(bytes((0x20, 2 + len(told), 0, 0)) + told)
            served(broker, lambda: broker.is_ready, "it is not connected")
            for number in range(20):
                broker.publish(Publish(f"t/{number}", "x"))
            served(broker, lambda: not broker.wants_write, "it sends without end")
            came = [packet() for _ in range(2 + expected)]
            assert [kind for kind, _ in came] == [0x10, 0x82, *[0x33] * expected]
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                packet()
            connection.settimeout(None)
            assert not broker.is_idle
        broker.drop()


def test_a_text_with_half_a_character_is_sent(mosquitto: Mosquitto) -> None:
    broker = Broker(Mqtt(host="127.0.0.1", port=mosquitto.port), "house-1", "5", ["y"], None)
    with Watcher(mosquitto.port) as watcher:
        broker.open()
        served(broker, lambda: broker.is_ready, "it is not connected")
        broker.publish(Publish("x", json.dumps({"text": "\ud800"}, ensure_ascii=False), is_retained=False))
        served(broker, lambda: broker.is_idle, "it was not sent")
        assert json.loads(watcher.wait(lambda topic, _: topic == "x")[1]) == {"text": "\ud800"}
        broker.close()


# ---------------------------------------------------------------- the broker fails


def test_a_broker_that_is_away_comes_and_forgets_everything(tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path)
    house = House(tmp_path, mosquitto.port)
    with house.daemon(), house.bridge() as bridge:
        assert "is the broker on" in bridge.says("nothing listens at")
        for _ in range(2):
            with mosquitto, Watcher(mosquitto.port) as watcher:
                watcher.online("online")
                watcher.wait(lambda topic, _: topic == DISCOVERY)
                assert watcher.answer("volume")["ok"]
        # Killed: it was said once each time, however often it was tried.
        bridge.says("is lost")
        assert bridge.end() == os.EX_OK
        assert len([line for line in bridge.lines if "nothing listens" in line]) <= 3


def test_a_broker_that_hangs_holds_nothing_up(house: House, mosquitto: Mosquitto) -> None:
    """Neither the daemon nor its sound; and afterwards the newest state is there, not a queue of old ones."""
    with house.daemon(), house.bridge() as bridge, Watcher(mosquitto.port) as watcher:
        watcher.online("online")
        watcher.wait_for_state(volume=100)
        mosquitto.send(signal.SIGSTOP)
        with Client() as client:
            client.ask("events")
            heard = client.events(PATIENCE_S)
            for percent in range(100):
                client.ask("volume", to=percent / 100)
            client.ask("say", text="What time is it?")
            ended = next(one for one in heard if one["event"] == "answer_ended")
            assert ended["finished"]
            assert client.ask("status")["health"] == "well"
        since = watcher.mark()
        mosquitto.send(signal.SIGCONT)
        watcher.wait_for_state(since, volume=99, state="listening")
        states = [text for topic, text, *_ in watcher.came[since:] if topic == f"{BASE}/state"]
        assert len(states) < 20
        assert watcher.answer("volume")["result"] == {"volume": 0.99}
        assert bridge.process.poll() is None


class InProcess:
    """The bridge on a thread of the test, for deadlines that are shortened there. A context manager."""

    def __init__(self, settings: Mqtt) -> None:
        self.bridge = Bridge(settings, Device("house-1", "House", "0.1.0"), None)
        self._thread = threading.Thread(target=self.bridge.run)

    def __enter__(self) -> InProcess:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bridge._stopping = True
        self.bridge._wake()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def test_a_broker_that_hangs_for_long_is_given_up_and_found_again(
    house: House, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connecting, "KEEP_ALIVE_S", 3)
    monkeypatch.setattr(connecting, "GREETING_S", 0.5)
    with house.daemon(), InProcess(Mqtt(host="127.0.0.1", port=mosquitto.port)), Watcher(mosquitto.port) as watcher:
        watcher.online("online")
        mosquitto.send(signal.SIGSTOP)
        until(lambda: "does not answer within" in caplog.text, "it waits for ever")
        since = watcher.mark()
        mosquitto.send(signal.SIGCONT)
        watcher.online("online", since)
        until(lambda: watcher.answer("volume")["ok"], "no answer")


def test_a_daemon_that_hangs_is_offline_until_it_goes_on(
    house: House, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parleyd.control.client.ANSWER_S", 1.0)
    settings = Mqtt(host="127.0.0.1", port=mosquitto.port, figures_s=5)
    with house.daemon() as daemon, InProcess(settings), Watcher(mosquitto.port) as watcher:
        watcher.online("online")
        since = watcher.mark()
        daemon.process.send_signal(signal.SIGSTOP)
        watcher.online("offline", since)
        assert watcher.answer("volume")["error"]["kind"] == "not_running"
        since = watcher.mark()
        daemon.process.send_signal(signal.SIGCONT)
        watcher.online("online", since)


def test_a_connection_that_is_closed_before_its_first_event_is_made_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other thread does to a daemon that is stuck, at the moment that a thread can hardly be made to meet."""
    closed: list[str] = []
    link = DaemonLink(None, lambda: None)

    class ClosedOnce(Client):
        def ask(self, do: str, **fields: object) -> dict[str, Any]:
            answer = super().ask(do, **fields)
            if not closed:
                closed.append(do)
                link._follower.connect_again()
            return answer

    monkeypatch.setattr(follower, "Client", ClosedOnce)
    monkeypatch.setattr(follower, "LOOK_AGAIN_S", 0.1)
    with house.daemon():
        link.start()
        try:
            came = [type(link.news.get(timeout=PATIENCE_S)) for _ in range(4)]
        finally:
            link.stop()
    assert closed == ["events"]
    assert came == [Here, Gone, Here, Told]


# ---------------------------------------------------------------- the others fail


def test_the_last_will_says_that_it_was_killed(house: House, mosquitto: Mosquitto) -> None:
    with house.daemon(), Watcher(mosquitto.port) as watcher:
        with house.bridge():
            watcher.online("online")
        watcher.online("offline")
        since = watcher.mark()
        with house.bridge():
            watcher.online("online", since)


def test_a_bridge_that_was_stopped_for_a_while_goes_on_and_the_daemon_does_not_notice(
    house: House, mosquitto: Mosquitto
) -> None:
    with house.daemon(), house.bridge() as bridge, Watcher(mosquitto.port) as watcher:
        watcher.online("online")
        bridge.process.send_signal(signal.SIGSTOP)
        with Client() as client:
            # More than the daemon keeps for a client that does not read.
            for _ in range(600):
                client.ask("volume", to=0.5)
                client.ask("volume", to=0.25)
            assert client.ask("status")["health"] == "well"
        bridge.process.send_signal(signal.SIGCONT)
        watcher.wait_for_state(volume=25)
        assert watcher.answer("volume")["result"] == {"volume": 0.25}


def test_a_daemon_that_was_killed_is_offline_and_its_successor_is_not(house: House, mosquitto: Mosquitto) -> None:
    with house.bridge() as bridge, Watcher(mosquitto.port) as watcher:
        watcher.online("offline")
        assert watcher.answer("wake")["error"]["kind"] == "not_running"
        for _ in range(2):
            since = watcher.mark()
            with house.daemon():
                watcher.online("online", since)
                assert watcher.answer("volume")["ok"]
            watcher.online("offline", since)
        assert "start it" in bridge.says("parleyd is not running")
        since = watcher.mark()
        with house.daemon() as daemon:
            watcher.online("online", since)
            watcher.order("restart")
            assert daemon.process.wait(PATIENCE_S) == 0


def test_two_devices_with_one_name_are_noticed(house: House) -> None:
    """Debian 12's mosquitto ends the older connection without a word."""
    with house.bridge() as first, house.bridge() as second:
        until(
            lambda: any("have the same mqtt.device" in line for line in first.lines + second.lines),
            "neither says that there are two",
        )


def next_try_s(bridge: Program) -> float:
    """The time that the bridge waits until its next try, as its log has it with --debug."""
    found = re.search(r"the next try comes in ([0-9.]+) s", bridge.says("the next try comes in"))
    assert found
    return float(found[1])


def test_a_broker_that_says_that_another_has_come_is_left_alone_for_minutes(tmp_path: Path) -> None:
    """A stand-in, for brokers that say so (MQTT 5, reason code 142)."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        House(tmp_path, listening.getsockname()[1]).bridge("--debug") as bridge,
    ):
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x03\x00\x00\x00")
            connection.recv(1000)
            connection.sendall(b"\xe0\x01\x8e")
            assert "mqtt.device" in bridge.says("has taken the place of this device")
            assert next_try_s(bridge) >= LASTING_S / 2


# ---------------------------------------------------------------- passwords and certificates


def with_password(folder: Path, more: str = "") -> str:
    """Returns the broker's settings for the user kitchen with the password `right`."""
    file = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", file, "kitchen", "right"], check=True, capture_output=True)
    file.chmod(0o644)
    folder.chmod(0o755)
    return f"allow_anonymous false\npassword_file {file}\n{more}"


def test_a_wrong_password_is_said_once_and_the_right_one_is_found(tmp_path: Path) -> None:
    secret = tmp_path / "mqtt.key"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    with Mosquitto(tmp_path, with_password(tmp_path)) as mosquitto:
        house = House(tmp_path, mosquitto.port, f"user: kitchen, password: {{file: {secret}}}")
        with house.daemon():
            with house.bridge("--debug") as bridge:
                said = bridge.says("does not accept the user kitchen with this password")
                assert "wrong" not in said.replace("wrong password", "")
                assert next_try_s(bridge) >= LASTING_S / 2
                assert mosquitto.log.count("not authorised") == 1
            secret.write_text("right\n")
            with house.bridge() as bridge, Watcher(mosquitto.port, user="kitchen", password="right") as watcher:
                bridge.says("connected to")
                watcher.online("online")


def authority(folder: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, certificate in (
        ("broker", made.issue_cert("127.0.0.1")),
        ("device", made.issue_cert("kitchen", common_name="kitchen")),
    ):
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for part in certificate.cert_chain_pems:
            part.write_to_path(str(folder / f"{name}.pem"), append=True)
    return made


def test_tls_with_an_authority_and_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority(tmp_path)
    tls = f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n"
    with Mosquitto(tmp_path, f"{tls}require_certificate true\nuse_identity_as_username true") as mosquitto:
        own = f"certificate: {tmp_path}/device.pem, key: {tmp_path}/device.key"
        house = House(tmp_path, mosquitto.port, f"tls: {{mode: on, ca: {tmp_path}/ca.pem, {own}}}")
        with house.daemon(), house.bridge() as bridge:
            bridge.says("connected to")
        house = House(tmp_path, mosquitto.port, f"tls: {{mode: on, ca: {tmp_path}/ca.pem}}")
        with house.bridge() as bridge:
            # With TLS 1.3 the broker's refusal comes after the handshake.
            until(lambda: any("mqtt.tls" in line for line in bridge.lines), "it says nothing of the certificate")
        other = tmp_path / "other"
        other.mkdir()
        authority(other)
        house = House(tmp_path, mosquitto.port, f"tls: {{mode: on, ca: {other}/ca.pem}}")
        with house.bridge() as bridge:
            assert "is mqtt.tls.ca the authority of this broker" in bridge.says("certificate")
        house = House(tmp_path, mosquitto.port, f"tls: {{mode: on, ca: {tmp_path}/nothing.pem}}")
        with house.bridge() as bridge:
            bridge.says("the files of mqtt.tls cannot be used")


def test_a_broker_that_knows_the_older_version_alone(tmp_path: Path) -> None:
    """A stand-in, since every broker to be had here knows both: it refuses the first version, and notes the second."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while len(seen) < 2:
                connection, _ = listening.accept()
                with connection:
                    # Fixed header, length, name of the protocol, and its level (MQTT 3.1.2).
                    packet = connection.recv(1000)
                    level = packet[packet.index(b"\x00\x04MQTT") + 6]
                    seen.append(level)
                    connection.sendall(b"\x20\x03\x00\x84\x00" if level == 5 else b"\x20\x02\x00\x00")
                    if level == 4:
                        connection.recv(1000)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        house = House(tmp_path, listening.getsockname()[1])
        with house.bridge() as bridge:
            assert "with MQTT 3.1.1" in bridge.says("connected to")
        thread.join(PATIENCE_S)
    assert seen == [5, 4]


# ---------------------------------------------------------------- the command and the doctor


def test_without_a_broker_the_command_says_what_to_set(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    file.write_text("provider: local\n")
    program = Program("mqtt", "-c", file)
    assert program.says("names no broker").endswith("set mqtt.host; see docs/mqtt.md")
    assert program.process.wait(PATIENCE_S) == os.EX_CONFIG
    program.end()


def test_somebody_who_waits_for_a_broker_that_does_not_answer_can_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The next one waits for a place in the queue.
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
    ):
        bridge = Bridge(Mqtt(host="127.0.0.1", port=full.getsockname()[1]), Device("x", "X", "0"), None)
        before = signal.signal(signal.SIGALRM, lambda *_: bridge.stop())
        monkeypatch.setattr(connecting, "CONNECT_S", PATIENCE_S)
        monkeypatch.setattr(bridging, "_TICK_S", PATIENCE_S)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began_s = time.monotonic()
        try:
            bridge.run()
        finally:
            signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - began_s < PATIENCE_S


def checked(**mqtt: object) -> list[tuple[str, str, str]]:
    examination = Examination(config=Config(mqtt=Mqtt(device="house-1", **mqtt)))  # type: ignore[arg-type]
    return [(one.severity.value, one.text, one.hint) for one in doctor_s_check(examination)]


def test_the_doctor_asks_the_broker(tmp_path: Path) -> None:
    assert [one[0] for one in checked()] == ["skip"]
    [(severity, text, _)] = checked(host="127.0.0.1", port=free_port())
    assert (severity, "nothing listens at" in text) == ("FAIL", True)
    with Mosquitto(tmp_path, with_password(tmp_path)) as mosquitto:
        where = {"host": "127.0.0.1", "port": mosquitto.port}
        found = checked(**where, user="kitchen", password="right")
        assert [one[0] for one in found] == ["ok", "note"]
        assert "accepts the user kitchen, MQTT 5, device house-1" in found[0][1]
        assert "has not been there yet" in found[1][1]
        [(severity, text, hint)] = checked(**where, user="kitchen", password="wrong")
        assert (severity, "does not accept the user kitchen" in text) == ("FAIL", True)
        assert "wrong" not in text + hint
        [(severity, text, hint)] = checked(**where)
        assert (severity, hint) == ("FAIL", "set mqtt.user and mqtt.password")
        [(severity, text, _)] = checked(**where, user="kitchen", password=Secret(credential="mqtt"))
        assert (severity, text) == ("skip", "the password is for the service alone to read")


def test_the_doctor_sees_whether_the_bridge_is_there(house: House, mosquitto: Mosquitto) -> None:
    where = {"host": "127.0.0.1", "port": mosquitto.port}
    with house.daemon(), Watcher(mosquitto.port) as watcher:
        with house.bridge():
            watcher.online("online")
            assert [one[0] for one in checked(**where)] == ["ok"]
            # The check has not taken its place.
            assert watcher.answer("volume")["ok"]
        watcher.online("offline")
        assert [one[1] for one in checked(**where)][1] == "the device is offline there"


def test_a_port_without_tls_is_told_from_a_wrong_certificate(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as mosquitto:
        [(severity, _, hint)] = checked(host="127.0.0.1", port=mosquitto.port, tls=MqttTls(mode="on"))
        assert severity == "FAIL"
        assert "mqtt.port" in hint
