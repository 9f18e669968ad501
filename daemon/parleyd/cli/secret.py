"""`parleyd secret`: stores a key for the daemon, without showing it."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import grp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from parleyd.config.secrets import KEY_NAMES, MAX_SECRET_BYTES, SecretError, check_key, clean
from parleyd.core.errors import UserError
from parleyd.host.directories import SYSTEM_CONFIG, user_config_directory

# systemd.exec(5): the directory of LoadCredentialEncrypted=NAME without a path.
CREDENTIAL_STORE = Path("/etc/credstore.encrypted")
DEFAULT_NAME = KEY_NAMES[0]
# The password of the broker, which systemd/parleyd-mqtt.service loads.
MQTT_NAME = "mqtt"
SERVICE_GROUP = "parleyd"
_ENCRYPT_S = 60.0


@dataclass(frozen=True)
class Stored:
    """The place of a stored key, and who can read it. config: the value for api_key in the configuration."""

    name: str
    path: str
    encrypted: bool
    readers: str
    config: str


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
        default=DEFAULT_NAME,
        metavar="NAME",
        help="the name of the key; default: %(default)s",
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
    try:
        key = clean(_read(args.name), "what was given", "give the key and nothing else, on one line")
        if args.name in KEY_NAMES:
            check_key(key, "what was given")
    except SecretError as error:
        raise UserError(str(error), error.hint, os.EX_DATAERR) from None
    try:
        stored = _store(args.name, key, args.file)
    except OSError as error:
        where = error.filename or args.file or args.name
        raise UserError(f"cannot store the key at {where}: {error.strerror}", None, os.EX_CANTCREAT) from None
    if args.json:
        print(json.dumps(asdict(stored), indent=2))
    else:
        _print(stored)
    return os.EX_OK


def _read(name: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"Paste the key {name} (what you type is not shown): ")
    data = sys.stdin.buffer.read(MAX_SECRET_BYTES)
    lines = data.decode("utf-8-sig", "replace").splitlines()
    return lines[0] if lines else ""


def _store(name: str, key: str, file: Path | None) -> Stored:
    """Stores the key. Raises OSError, UserError."""
    if file is not None:
        path = file.expanduser().absolute()
    elif os.geteuid() != 0:
        path = user_config_directory() / f"{name}.key"
    elif shutil.which("systemd-creds") is not None:
        path = CREDENTIAL_STORE / name
        _write(path, _encrypted(name, key), 0o600)
        return Stored(name, str(path), True, "this machine", f"{{credential: {name}}}")
    else:
        path = SYSTEM_CONFIG.parent / f"{name}.key"
    _write(path, key.encode() + b"\n", 0o600)
    readers = "you"
    if os.geteuid() == 0:
        readers = "root"
        # The daemon is not root, so its user gets the file. Without such a user only root needs to read it.
        with contextlib.suppress(KeyError):
            os.chown(path, 0, grp.getgrnam(SERVICE_GROUP).gr_gid)
            path.chmod(0o640)
            readers = f"root and the group {SERVICE_GROUP}"
    shown = str(path) if re.fullmatch(r"[\w./-]+", str(path)) else json.dumps(str(path))
    return Stored(name, str(path), False, readers, f"{{file: {shown}}}")


def _encrypted(name: str, key: str) -> bytes:
    """Raises UserError."""
    hint = "store it in a file: parleyd secret --file PATH"
    try:
        done = subprocess.run(
            ["systemd-creds", "encrypt", f"--name={name}", "-", "-"],
            input=key.encode(),
            capture_output=True,
            timeout=_ENCRYPT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it takes longer than {_ENCRYPT_S:g} s"
        raise UserError(f"systemd-creds cannot encrypt: {reason}", hint, os.EX_UNAVAILABLE) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else f"it ended with {done.returncode}"
        raise UserError(f"systemd-creds cannot encrypt: {reason}", hint, os.EX_UNAVAILABLE)
    return done.stdout


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes the file completely or not at all; others can never read it. Raises OSError."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp creates the file with mode 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _print(stored: Stored) -> None:
    how = "encrypted for" if stored.encrypted else "not encrypted, readable by"
    print(f"stored in {stored.path}, {how} {stored.readers}")
    key = f"{stored.name}.api_key" if stored.name in KEY_NAMES else "where the key belongs"
    is_of_mqtt = stored.name == MQTT_NAME
    if is_of_mqtt:
        key = "mqtt.password"
    print(f"in the configuration, {key}: {stored.config}")
    if is_of_mqtt and os.geteuid() == 0:
        print("then: systemctl restart parleyd-mqtt")
        return
    if stored.encrypted and stored.name not in KEY_NAMES:
        print(f"and let the service have it: systemctl edit parleyd, [Service], LoadCredentialEncrypted={stored.name}")
    if os.geteuid() == 0:
        print("then: systemctl restart parleyd")
    else:
        print("then: systemctl --user restart parleyd (for the system service, store it with sudo)")
