"""`parleyd secret`: stores a key for the daemon, without showing it."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from parleyd.checks.configuration import ConfigError, load
from parleyd.cli.terminal import show, wrapped
from parleyd.config.secret_store import Stored, store
from parleyd.config.secrets import KEY_NAMES, MAX_SECRET_BYTES, SecretError, check_key, clean
from parleyd.core.errors import UserError
from parleyd.host.directories import config_path
from parleyd.host.interruptible import interruptible

DEFAULT_NAME = KEY_NAMES[0]
# The password of the broker, which systemd/parleyd-mqtt.service loads.
MQTT_NAME = "mqtt"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "secret",
        description="Stores a key for the daemon. It is asked for without echo, or read from standard input. As root "
        "it becomes a systemd credential, encrypted for this machine; otherwise a file that only you can read.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        type=_name,
        metavar="NAME",
        help=f"the name of the key; default: that of the configured provider, otherwise {DEFAULT_NAME}",
    )
    parser.add_argument("--file", type=Path, metavar="PATH", help="store it in this file, mode 0600, not encrypted")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", text):
        # The argument may be the key itself, which must not be repeated.
        raise argparse.ArgumentTypeError("a name is lower-case letters, digits and -; the key is not given here")
    return text


def run(args: argparse.Namespace) -> int:
    name = args.name or default_name()
    try:
        key = clean(_read(name), "what was given", "give the key and nothing else, on one line")
        if name in KEY_NAMES:
            check_key(key, "what was given")
    except SecretError as error:
        raise UserError(str(error), error.hint, os.EX_DATAERR) from None
    try:
        stored = store(name, key, args.file)
    except OSError as error:
        where = error.filename or args.file or name
        raise UserError(f"cannot store the key at {where}: {error.strerror}", None, os.EX_CANTCREAT) from None
    if args.json:
        print(json.dumps(asdict(stored), indent=2))
    else:
        _print(stored)
    return os.EX_OK


def default_name() -> str:
    """The provider's of the configuration. A configuration may come later than the key, or be for root alone."""
    try:
        provider = load(config_path()).config.provider
    except ConfigError:
        return DEFAULT_NAME
    return provider if provider in KEY_NAMES else DEFAULT_NAME


def _read(name: str) -> str:
    if sys.stdin.isatty():
        return _hidden(f"{wrapped(f'Paste the key {name} (what you type is not shown):', sys.stdin)} ")
    with interruptible():
        data = sys.stdin.buffer.read(MAX_SECRET_BYTES)
    lines = data.decode("utf-8-sig", "replace").splitlines()
    return lines[0] if lines else ""


def _hidden(question: str) -> str:
    """Asks at the terminal. A signal to end takes effect once the terminal shows again what is typed."""
    ended_by: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended_by.append(number)
        raise KeyboardInterrupt

    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        with interruptible():
            return getpass.getpass(question)
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        for by in ended_by:
            os.kill(os.getpid(), by)


def _print(stored: Stored) -> None:
    how = "encrypted for" if stored.encrypted else "not encrypted, readable by"
    show(f"stored in {stored.path}, {how} {stored.readers}")
    key = f"{stored.name}.api_key" if stored.name in KEY_NAMES else "where the key belongs"
    is_of_mqtt = stored.name == MQTT_NAME
    if is_of_mqtt:
        key = "mqtt.password"
    show(f"in the configuration, {key}: {stored.config}")
    if is_of_mqtt and os.geteuid() == 0:
        show("then: systemctl restart parleyd-mqtt")
        return
    if stored.encrypted and stored.name not in KEY_NAMES:
        show(f"and let the service have it: systemctl edit parleyd, [Service], LoadCredentialEncrypted={stored.name}")
    if os.geteuid() == 0:
        show("then: systemctl restart parleyd")
    else:
        show("then: systemctl --user restart parleyd (for the system service, store it with sudo)")
