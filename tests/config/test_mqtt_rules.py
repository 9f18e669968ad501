"""The section `mqtt`: each problem names its file, line and key, and says what to write instead."""

from __future__ import annotations

import pytest
from one_problem import problem_of

from parleyd.checks.configuration import parse
from parleyd.config.mqtt_section import DEFAULT_COMMANDS, Mqtt
from parleyd.config.secrets import masked

BEGINNING = "provider: local\nmqtt:\n  "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host: 192.168.1.10:1883", "3: mqtt.host: a port stands in a key of its own; write host: 192.168.1.10, and"),
        (
            "host: mqtt://broker",
            "3: mqtt.host: mqtt://broker cannot stand here; use a name or an address, such as 192.168.1.10",
        ),
        ("password: x", "3: mqtt.password: a password belongs to a user; set mqtt.user, too"),
        ("tls: {ca: /ca.pem}", "3: mqtt.tls.ca: the connection is not encrypted; set mqtt.tls.mode to on"),
        ("tls: {mode: on, key: /k}", "3: mqtt.tls.key: it is of no use without mqtt.tls.certificate; set certificate"),
        ("tls: {mode: on, certificate: /c}", "3: mqtt.tls.certificate: it is of no use without mqtt.tls.key; set key"),
        ("topic_prefix: homeassistant", "3: mqtt.topic_prefix: this is where Home Assistant looks for devices"),
        ("topic_prefix: a/#", "3: mqtt.topic_prefix: a/# cannot stand here; use the beginning of a topic"),
        ("topic_prefix: /a", "3: mqtt.topic_prefix: /a cannot stand here; use the beginning of a topic"),
        ("discovery_prefix: a/", "3: mqtt.discovery_prefix: a/ cannot stand here; use the beginning of a topic"),
        (
            "device: a b",
            "3: mqtt.device: 'a b' cannot stand here; use at most 64 of the letters a to z, digits, _ and -",
        ),
        ("commands: [wake, approve]", "3: mqtt.commands"),
        ("host: b\ncontrol: {socket: off}", "3: mqtt.host: `parleyd mqtt` could not reach the daemon"),
    ],
)
def test_a_problem_is_one_line_with_its_hint(text: str, expected: str) -> None:
    assert problem_of(BEGINNING + text).startswith(f"p.yaml:{expected}")


@pytest.mark.parametrize(
    "text",
    [
        "host: broker.example",
        "host: fe80::1",
        "user: kitchen\n  password: {credential: mqtt}",
        "user: kitchen",
        "tls: {mode: on}",
        "tls: {mode: on, ca: /ca.pem, certificate: /c.pem, key: /k.pem}",
        "discovery_prefix: null",
        "commands: []",
        "device: kueche-1",
    ],
)
def test_what_is_right_has_no_problem(text: str) -> None:
    assert parse(BEGINNING + text, "p.yaml").warnings == ()


def test_the_port_follows_the_encryption() -> None:
    ports = {
        text: parse(BEGINNING + text, "p.yaml").config.mqtt.broker_port
        for text in ("tls: {mode: off}", "tls: {mode: on}", "port: 1234")
    }
    assert list(ports.values()) == [1883, 8883, 1234]


def test_the_password_is_never_shown() -> None:
    section = Mqtt(user="kitchen", password="a-secret")
    assert "a-secret" not in repr(section) + str(masked(section))
    assert masked(section)["commands"] == list(DEFAULT_COMMANDS)
