"""The MQTT broker of `parleyd mqtt`: is it there, and does it accept this device?"""

from __future__ import annotations

from collections.abc import Iterator

from parleyd.core.errors import UserError
from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.host.proxies import is_this_machine


def broker(examination: Examination) -> Iterator[Finding]:
    mqtt = examination.configured().mqtt
    if mqtt.host is None:
        yield skipped("the configuration names no broker")
        return
    try:
        from parleyd.mqtt.broker import BrokerError
        from parleyd.mqtt.patience import Failure
        from parleyd.mqtt.probe import ask
    except ImportError as refusal:
        # The check of the extra packages says how to install it.
        yield skipped(f"the package paho-mqtt cannot be imported: {refusal}")
        return
    try:
        answer = ask(examination.configured())
    except BrokerError as refusal:
        is_wrong = refusal.failure is Failure.REFUSED
        yield (misconfigured if is_wrong else error)(str(refusal), refusal.hint)
        return
    except UserError as refusal:
        yield misconfigured(str(refusal), refusal.hint or "")
        return
    who = f"accepts the user {mqtt.user}" if mqtt.user is not None else "asks for no password"
    yield good(f"{mqtt.host}:{mqtt.broker_port} {who}, MQTT {answer.version}, device {answer.device}")
    for text, hint in answer.complaints:
        yield warning(text, hint)
    if answer.is_online is None:
        yield note("`parleyd mqtt` has not been there yet", "sudo systemctl enable --now parleyd-mqtt")
    elif not answer.is_online:
        yield note("the device is offline there", "do the daemon and `parleyd mqtt` run? systemctl status parleyd-mqtt")
    if mqtt.user is not None and mqtt.tls.mode == "off" and not is_this_machine(mqtt.host):
        yield note("the password goes to the broker unencrypted", "where others can listen: mqtt.tls, docs/mqtt.md")
