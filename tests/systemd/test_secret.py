"""`parleyd secret`: where a key goes, who can read it, and that nobody sees it on the way."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parleyd.cli import secret
from parleyd.config import secret_store
from parleyd.config.base import Secret
from parleyd.config.secrets import KEY_NAMES, resolve
from parleyd.core.errors import UserError

KEY = "sk_0123456789abcdef"


def store(*words: str | Path, key: bytes = f"{KEY}\n".encode()) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "parleyd", "secret", *map(str, words)]
    done = subprocess.run(command, input=key, capture_output=True, timeout=60)
    assert KEY.encode() not in done.stdout + done.stderr
    return done


def test_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    done = store("--file", path, "--json")
    facts = json.loads(done.stdout)
    assert facts["path"] == str(path)
    assert facts["config"] == f"{{file: {path}}}"
    assert path.stat().st_mode & 0o007 == 0
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert resolve(Secret(file=str(path))) == KEY
    store("--file", path, key=b"sk_another\n")
    assert resolve(Secret(file=str(path))) == "sk_another"
    assert os.listdir(path.parent) == ["key"]  # noqa: PTH208 - nothing temporary is left


def test_asked_for_without_echo(tmp_path: Path) -> None:
    path = tmp_path / "key"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "parleyd", "secret", "--file", str(path)])
    said = b""
    while b"not shown" not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, f"{KEY}\n".encode())
    try:
        while more := os.read(terminal, 1024):
            said += more
    except OSError:
        # How a terminal whose other side has gone tells so.
        pass
    _, code = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(code) == 0, said
    assert KEY.encode() not in said
    assert resolve(Secret(file=str(path))) == KEY


@pytest.mark.parametrize("given", [b"", b"\n", b"two words\n", b"\xff\xfe\n"])
def test_what_is_no_key_is_not_stored(given: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key"
    done = store("--file", path, key=given)
    assert done.returncode == os.EX_DATAERR
    assert b"one line" in done.stderr
    assert not path.exists()


def test_a_key_on_the_command_line_is_refused_and_not_repeated() -> None:
    done = store(KEY)
    assert done.returncode == os.EX_USAGE


def test_where_it_cannot_be_stored() -> None:
    done = store("--file", "/proc/parleyd/key")
    assert done.returncode == os.EX_CANTCREAT
    assert b"cannot store the key at /proc/parleyd" in done.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-creds") is None, reason="a credential wants root and systemd-creds"
)
def test_root_gets_a_credential_that_this_machine_can_decrypt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_store, "CREDENTIAL_STORE", tmp_path / "store")
    stored = secret_store.store("elevenlabs", KEY, None)
    path = tmp_path / "store" / "elevenlabs"
    assert (stored.path, stored.encrypted, stored.config) == (str(path), True, "{credential: elevenlabs}")
    assert KEY.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    decrypted = subprocess.run(
        ["systemd-creds", "decrypt", "--name=elevenlabs", str(path), "-"], capture_output=True, timeout=30
    )
    assert decrypted.stdout.decode().strip() == KEY


def test_without_systemd_creds_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = tmp_path / "systemd-creds"
    failing.write_text("#!/bin/sh\necho 'No TPM and no host key' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="No TPM and no host key") as caught:
        secret_store.encrypted("elevenlabs", KEY)
    assert str(caught.value.hint).startswith("store it in a file")
    assert KEY not in caught.value.with_hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("provider: openai\n", "openai"),
        ("elevenlabs: {agent_id: agent_x}\n", "elevenlabs"),
        ("provider: local\n", "elevenlabs"),
        ("provider: [\n", "elevenlabs"),
        (None, "elevenlabs"),
    ],
)
def test_without_a_name_it_is_the_key_of_the_configured_provider(
    text: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parleyd.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(secret, "config_path", lambda: path)
    assert secret.default_name() == name


@pytest.mark.parametrize("name", ["elevenlabs", "openai"])
def test_it_says_where_a_providers_key_belongs(name: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    told = store(name, "--file", path).stdout.decode()
    assert f"in the configuration, {name}.api_key: {{file: {path}}}" in told


def test_the_service_loads_the_keys_of_all_providers() -> None:
    unit = Path(__file__).parents[2] / "systemd" / "parleyd.service"
    loaded = re.findall(r"^LoadCredentialEncrypted=(\S+)$", unit.read_text(), re.MULTILINE)
    assert set(KEY_NAMES) <= set(loaded)
