"""The MQTT broker of `parleyd mqtt`: is it there, and does it accept this device?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.core.errors import UserError
from parleyd.core.findings import Finding, Severity, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.host.proxies import is_this_machine

if TYPE_CHECKING:  # the doctor starts without what this imports
    from parleyd.config.schema import Config

# systemd.exec(5): where the credentials of the unit are while it runs.
_CREDENTIALS = Path("/run/credentials/parleyd-mqtt.service")


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
    config = _with_password(examination.configured())
    if config is None:
        hint = "sudo parleyd doctor" if os.geteuid() else "sudo systemctl start parleyd-mqtt, then try again"
        yield Finding(Severity.SKIPPED, "the password is for the service alone to read", hint)
        return
    try:
        answer = ask(config)
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


def _with_password(config: Config) -> Config | None:
    """Returns None if another user alone can read the password."""
    import msgspec

    from parleyd.config.base import Secret
    from parleyd.config.secrets import SecretError, resolve

    password = config.mqtt.password
    if isinstance(password, Secret) and password.credential is not None and "CREDENTIALS_DIRECTORY" not in os.environ:
        passed = _CREDENTIALS / password.credential
        if os.access(passed, os.R_OK):
            mqtt = msgspec.structs.replace(config.mqtt, password=Secret(file=str(passed)))
            return msgspec.structs.replace(config, mqtt=mqtt)
    try:
        resolve(password)
    except SecretError as refusal:
        is_anothers = "may not be read" in str(refusal) or "systemd passed no credentials" in str(refusal)
        return None if is_anothers else config
    return config
