"""The rules for the section `mqtt`, which types cannot express. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from parleyd.config.mqtt_section import GROUP
from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config

KEY = "mqtt"


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """See rules.check."""
    mqtt = config.mqtt
    if is_settled(f"{KEY}.host") and mqtt.host is not None and re.fullmatch(r"[^:\[\]]+:\d+", mqtt.host):
        name, _, port = mqtt.host.partition(":")
        yield KeyProblem(f"{KEY}.host", "a port stands in a key of its own", f"write host: {name}, and port: {port}")
    if is_settled(f"{KEY}.password") and is_settled(f"{KEY}.user") and mqtt.password is not None and mqtt.user is None:
        yield KeyProblem(f"{KEY}.password", "a password belongs to a user", "set mqtt.user, too")
    if is_settled(f"{KEY}.tls"):
        yield from _tls(config, is_settled)
    if is_settled(f"{KEY}.device") and mqtt.device == GROUP:
        yield KeyProblem(f"{KEY}.device", "the topics of groups begin with that", "choose another name")
    same = mqtt.topic_prefix == mqtt.discovery_prefix
    if is_settled(f"{KEY}.topic_prefix") and is_settled(f"{KEY}.discovery_prefix") and same:
        text = "this is where Home Assistant looks for devices (mqtt.discovery_prefix)"
        yield KeyProblem(f"{KEY}.topic_prefix", text, "choose another, such as parleyd")
    if is_settled(f"{KEY}.host") and mqtt.host is not None and config.control.socket == "off":
        text = "`parleyd mqtt` could not reach the daemon: control.socket is off"
        yield KeyProblem(f"{KEY}.host", text, "set control.socket to auto")


def _tls(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    tls = config.mqtt.tls
    section = f"{KEY}.tls"
    for key, value in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if value is not None and tls.mode == "off" and is_settled(f"{section}.mode"):
            yield KeyProblem(f"{section}.{key}", "the connection is not encrypted", "set mqtt.tls.mode to on")
            return
    for key, value, other, its in (
        ("certificate", tls.certificate, "key", tls.key),
        ("key", tls.key, "certificate", tls.certificate),
    ):
        if value is not None and its is None and is_settled(f"{section}.{other}"):
            yield KeyProblem(f"{section}.{key}", f"it is of no use without mqtt.tls.{other}", f"set {other}, too")
