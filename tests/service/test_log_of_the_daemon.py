"""What `parleyd run` logs: how much of an outage, with which fields, what never, and when nobody takes it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import spoken
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import write_config, write_wav

from fake_journal import FakeJournal

# The daemon itself, with another socket in journald's place.
START = """
import sys
from parleyd.cli.main import main
from parleyd.host import journal
journal.SOCKET = sys.argv.pop(1)
sys.exit(main())
"""
FAST = "{initial_s: 0.1, max_s: 1}"


class Run:
    """The process, and what it writes to standard error as it comes."""

    def __init__(self, folder: Path, *options: str, as_service: bool) -> None:
        reader, writer = os.pipe()
        status = os.fstat(writer)
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"} if as_service else {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(folder / "journal"), *options, "run", "-c", "parleyd.yaml"],
            cwd=folder,
            env={**os.environ, **stream},
            stderr=writer,
        )
        os.close(writer)
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, errors="surrogateescape", newline="\n") as file:
            for line in file:
                self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def read_until(self, words: str) -> str:
        until_s = time.monotonic() + WAIT_S
        while (line := self._new.get(timeout=max(0.01, until_s - time.monotonic()))) is not None:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} never came; {self.lines}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S)
        self._thread.join(WAIT_S)
        while (line := self._new.get(timeout=WAIT_S)) is not None:
            self.lines.append(line)
        return code


@contextmanager
def running(folder: Path, *options: str, as_service: bool = False) -> Iterator[Run]:
    """as_service: standard error is what systemd connected with the journal."""
    run = Run(folder, *options, as_service=as_service)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()


def until_hung_up(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


def test_an_outage_is_one_warning_and_one_notice_however_many_tries_fail(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(3200))
    with FakeJournal(tmp_path / "journal") as journal, ExitStack() as first:
        server = first.enter_context(ScriptedServer(until_hung_up))
        port = int(server.base_url.rsplit(":", 1)[1])
        # format: auto, as a service has it.
        write_config(tmp_path, server.base_url, wake="{mode: always}", reconnect=FAST, log="{level: debug}")
        with running(tmp_path, as_service=True) as run:
            server.next_line()
            live = journal.wait(lambda e: e.get("PARLEYD_STATE") == "live")
            first.close()
            lost = journal.wait(lambda e: e["PRIORITY"] == "4")
            journal.wait(lambda e: "connection refused" in e["MESSAGE"], times=50)
            with ScriptedServer(until_hung_up, port=port) as again:
                back = journal.wait(lambda e: e["PRIORITY"] == "5")
                again.next_line()
                assert run.stop() == 0
        entries = journal.read()
    conversation = live["PARLEYD_CONVERSATION_ID"]
    assert conversation.startswith("conv_")
    assert int(live["PARLEYD_HANDSHAKE_MS"]) >= 0
    # The loss belongs to the conversation that was lost, the return to the new one.
    assert lost["PARLEYD_CONVERSATION_ID"] == conversation
    assert (lost["PARLEYD_STATE"], lost["PARLEYD_ENDING"]) == ("live", "retry")
    assert lost["PARLEYD_REASON"] in lost["MESSAGE"]
    assert "the line is back after" in back["MESSAGE"]
    assert back["PARLEYD_STATE"] == "live"
    assert back["PARLEYD_CONVERSATION_ID"].startswith("conv_")
    assert float(back["PARLEYD_AWAY_S"]) >= 0
    assert [e["MESSAGE"] for e in entries if e["PRIORITY"] <= "5"] == [lost["MESSAGE"], back["MESSAGE"]]
    tries = [e for e in entries if "refused" in e["MESSAGE"] and "no line" in e["MESSAGE"]]
    assert len(tries) >= 20
    assert {e["PRIORITY"] for e in tries} == {"7"}
    assert run.lines == []


def test_a_refusal_is_one_error_whatever_words_the_server_finds(tmp_path: Path) -> None:
    number = iter(range(10_000))
    write_wav(tmp_path / "in.wav", bytes(3200))

    def refuse(line: Line) -> None:
        line.hang_up(1008, f"This request exceeds your quota limit. Request {next(number)}\n<0>forged")

    with FakeJournal(tmp_path / "journal") as journal, ScriptedServer(refuse) as server:
        write_config(tmp_path, server.base_url, wake="{mode: always}", reconnect=FAST, log="{format: journal}")
        with running(tmp_path) as run:
            for _ in range(10):
                server.next_line()
            run.stop()
        loud = [e for e in journal.read() if e["PRIORITY"] <= "5"]
    assert [e["PRIORITY"] for e in loud] == ["3"]
    assert (loud[0]["PARLEYD_ENDING"], loud[0]["PARLEYD_CODE"]) == ("final", "1008")
    assert "credit" in loud[0]["PARLEYD_HINT"]
    assert "\n" not in loud[0]["MESSAGE"]


def test_a_stuck_journald_holds_up_no_sound_and_loses_no_record(tmp_path: Path) -> None:
    go_on = threading.Event()

    def chatter(line: Line) -> None:
        line.ready()
        for number in range(300):
            line.send({"type": f"oddity_{number}"})
        assert go_on.wait(WAIT_S)
        line.send({"type": "oddity_300"})
        line.over.wait(WAIT_S)

    write_wav(tmp_path / "in.wav", bytes(3200))
    with FakeJournal(tmp_path / "journal") as journal, ScriptedServer(chatter) as server:
        write_config(tmp_path, server.base_url, wake="{mode: always}", log="{level: debug, format: journal}")
        with running(tmp_path) as run:
            line = server.next_line()
            run.read_until("journald takes no log records (it is stuck)")
            run.read_until("oddity_299")
            heard = len(line.audio)
            line.wait("two more seconds of sound", lambda: len(line.audio) >= heard + 2 * 32_000)
            # Read at last, it is used again.
            journal.read()
            go_on.set()
            journal.wait(lambda e: "oddity_300" in e["MESSAGE"])
            assert journal.wait(lambda e: "takes log records again" in e["MESSAGE"])["PRIORITY"] == "5"
            assert run.stop() == 0
        said = [*journal.texts(), *run.lines]
    assert all(re.match(r"<[3-7]>", text) for text in run.lines)
    for number in range(301):
        assert sum(f"'oddity_{number}'" in text for text in said) == 1
    assert not any("were lost" in text for text in said)


@pytest.mark.parametrize("form", ["text", "json", "journal"])
def test_neither_the_key_nor_what_was_said_is_in_the_log(form: str, tmp_path: Path) -> None:
    key, signature = "sk_marker_0123456789", "cvtkn_marker_0123456789"
    secrets = [key, signature, "what secret is it", "It is noon, dear."]

    def converse(line: Line) -> None:
        line.ready()
        # As a careless server might.
        line.send({"type": "client_error", "error_event": {"message": f"{key} is odd", "code": 1011}})
        line.wait_turn()
        line.hears("what secret is it")
        line.says("It is noon, dear.", 0.5)
        line.hang_up(1011, f"internal error for {key}")

    write_wav(tmp_path / "in.wav", bytes(32000) + spoken("What time is it now?"))
    (tmp_path / "key").write_text(key + "\n")
    (tmp_path / "key").chmod(0o600)
    with FakeJournal(tmp_path / "journal") as journal, ScriptedServer(converse, key=key, signature=signature) as server:
        private = f'{{agent_id: a, base_url: "{server.base_url}", api_key: {{file: key}}}}'
        write_config(tmp_path, elevenlabs=private, log=f"{{format: {form}}}", reconnect="{initial_s: 30, max_s: 60}")
        with running(tmp_path, "--debug") as run:
            line = server.next_line()
            if form == "journal":
                journal.wait(lambda e: "internal error" in e["MESSAGE"])
            else:
                run.read_until("internal error")
            arguments = Path(f"/proc/{run.process.pid}/cmdline").read_text()
            assert run.stop() == 0
        records = json.dumps(journal.read()) + "\n".join(run.lines)
        assert line.speech_s() > 0.3
    assert "the agent reports an error" in records
    for secret in secrets:
        assert secret not in records + arguments
    if form == "json":
        assert {"time", "level", "where", "message"} <= set.intersection(*(set(json.loads(s)) for s in run.lines))


def test_why_it_ends_is_an_error_in_the_journal(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", bytes(3200))
    write_config(tmp_path, audio="{input: {device: 'wav:none.wav'}, output: {device: 'null'}}")
    with FakeJournal(tmp_path / "journal") as journal, running(tmp_path, as_service=True) as run:
        assert run.process.wait(WAIT_S) == os.EX_UNAVAILABLE
        (error,) = [e for e in journal.read() if e["PRIORITY"] == "3"]
    assert "none.wav" in error["MESSAGE"]
    # Before it knows where to log, a prefix tells the priority.
    write_config(tmp_path, gate="{aggressiveness: 9}")
    with running(tmp_path, as_service=True) as run:
        assert run.process.wait(WAIT_S) == os.EX_CONFIG
        assert run.read_until("aggressiveness").startswith("<3>parleyd: ")
