"""`parleyd say --wait` against an agent that greets, and one that does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripted_server import WAIT_S, Line, ScriptedServer
from test_run import read_until, running, write_config, write_wav

from parleyd.cli import say
from parleyd.cli.main import main


@contextmanager
def daemon(folder: Path, script: Callable[[Line], None], greeting: str) -> Iterator[None]:
    write_wav(folder / "in.wav", bytes(3200))
    with ScriptedServer(script) as server:
        write_config(folder, server.base_url, wake=f"{{mode: manual, greeting: {greeting}}}")
        with running(folder) as process:
            read_until(process, "runs;")
            yield


def test_a_greeting_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(line: Line) -> None:
        line.ready()
        line.says("Hello, I am your agent.")
        line.wait_message("user_message")
        line.says("It is noon.")
        line.over.wait(WAIT_S)

    with daemon(tmp_path, script, "play"):
        assert main(["say", "--wait", "What time is it?"]) == os.EX_OK
    assert capsys.readouterr().out == "It is noon.\n"


def test_who_does_not_greet_is_heard_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(say, "AFTER_GREETING_S", 0.2)

    def script(line: Line) -> None:
        line.ready()
        line.wait_message("user_message")
        line.says("It is noon.")
        line.over.wait(WAIT_S)

    for greeting in ("play", "auto"):
        with daemon(tmp_path, script, greeting):
            assert main(["say", "--wait", "What time is it?"]) == os.EX_OK
        assert capsys.readouterr().out == "It is noon.\n"
