"""Stores a key where the daemon finds it: as root a systemd credential, encrypted for this machine; otherwise a file
that only its owner can read."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from parleyd.core.errors import UserError
from parleyd.host import subprocesses
from parleyd.host.directories import SYSTEM_CONFIG, user_config_directory

# systemd.exec(5): the directory of LoadCredentialEncrypted=NAME without a path.
CREDENTIAL_STORE = Path("/etc/credstore.encrypted")
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


def store(name: str, key: str, file: Path | None) -> Stored:
    """Stores the key. file: None for the usual place. Raises OSError, UserError."""
    if file is not None:
        path = file.expanduser().absolute()
    elif os.geteuid() != 0:
        path = user_config_directory() / f"{name}.key"
    elif shutil.which("systemd-creds") is not None:
        path = CREDENTIAL_STORE / name
        _write(path, encrypted(name, key), 0o600)
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


def encrypted(name: str, key: str) -> bytes:
    """Raises UserError."""
    hint = "store it in a file: parleyd secret --file PATH"
    try:
        command = ["systemd-creds", "encrypt", f"--name={name}", "-", "-"]
        done = subprocesses.ask(command, stdin=key.encode(), timeout_s=_ENCRYPT_S)
    except OSError as error:
        raise UserError(f"systemd-creds cannot encrypt: {error.strerror}", hint, os.EX_UNAVAILABLE) from None
    if done.status or not done.data:
        reason = done.last_words() or f"it ended with {done.status}"
        raise UserError(f"systemd-creds cannot encrypt: {reason}", hint, os.EX_UNAVAILABLE)
    return done.data


def revealed(name: str) -> str | None:
    """The key of a stored credential; None if there is none, or if only root can read it. systemd passes credentials
    to the service alone, so its own tool is asked."""
    path = CREDENTIAL_STORE / name
    if not os.access(path, os.R_OK):
        return None
    try:
        done = subprocesses.ask(["systemd-creds", "decrypt", f"--name={name}", str(path), "-"], timeout_s=_ENCRYPT_S)
    except OSError:
        return None
    return (done.output.strip() or None) if done.status == 0 else None


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
