"""`parleyd announce` in a terminal, against a real daemon with the embedded agent, and with one that has no voice."""

from __future__ import annotations

import json
import os
import wave
from pathlib import Path

import pytest
from test_control_server import CONFIG, daemon, parleyd

from parleyd.control.client import Client, RefusedError
from programs import until

LOCAL = """
provider: local
local: {scenario: %s}
audio: {input: {device: "null"}, output: {device: "null"}}
wake: {mode: manual}
announce: {max_chars: 30, local_voice: "off"}
"""
SCENARIO = """
agent: {ears: none}
speech:
- {}
- end: {error: quota_exceeded, message: No credits left.}
"""


def test_with_the_embedded_agent_nothing_is_to_be_configured(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO)
    (tmp_path / "parleyd.yaml").write_text(LOCAL % scenario)
    with daemon(tmp_path):
        said = parleyd("announce", "--wait", "--json", "The", "tea", "is", "ready.")
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["finished"]
        failed = parleyd("announce", "--wait", "The tea is cold.")
        assert failed.returncode == os.EX_TEMPFAIL
        assert failed.stdout == ""
        assert failed.stderr == (
            'parleyd: it was not spoken to its end: the account has no credit left ("No credits left."); '
            "add credit to the ElevenLabs account, or raise its quota\n"
        )
        assert json.loads(parleyd("announce", "--now", "--json", "Fire!").stdout) == {"announcement": 3}
        for text, why in (("?!", "nothing to be spoken"), ("a" * 31, "31 characters")):
            refused = parleyd("announce", text)
            assert refused.returncode == os.EX_DATAERR
            assert why in refused.stderr
        assert json.loads(parleyd("status", "--json").stdout)["state"] == "asleep"


def test_without_a_voice_it_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "parleyd.yaml").write_text(CONFIG + "announce: {local_voice: 'off'}\n")
    with daemon(tmp_path):
        refused = parleyd("announce", "hello")
        assert refused.returncode == os.EX_CONFIG
        assert "no voice is configured for announcements; set announce.voice_id" in refused.stderr


def test_a_sound_needs_no_voice_and_what_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parleyd.yaml").write_text(CONFIG + "announce: {local_voice: 'off'}\n")
    bell = tmp_path / "bell.wav"
    with wave.open(str(bell), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    with daemon(tmp_path) as process:
        before = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        said = parleyd("announce", "--wait", "--json", "--sound", str(bell))
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["finished"]
        for arguments, code, why in (
            (("--sound", __file__), os.EX_DATAERR, "not a WAV file with PCM; make it one: ffmpeg"),
            (("--sound", str(tmp_path)), os.EX_NOINPUT, "cannot read"),
            (("--sound", str(bell), "and a text"), os.EX_USAGE, "either a text or a sound"),
            ((), os.EX_USAGE, "the text is empty"),
        ):
            refused = parleyd("announce", *arguments)
            assert refused.returncode == code, refused.stderr
            assert why in refused.stderr
        with Client() as client:
            with pytest.raises(RefusedError) as caught:
                client.ask("announce_sound", name="bell.wav")
            assert caught.value.kind == "no_file"
            reading, writing = os.pipe()
            with pytest.raises(RefusedError, match="not a file"):
                client.announce_sound(reading, "a pipe")
            os.close(reading)
            os.close(writing)
        until(lambda: len(list(Path(f"/proc/{process.pid}/fd").iterdir())) <= before, "descriptors are left over")
