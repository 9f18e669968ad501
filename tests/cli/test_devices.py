"""`parleyd devices` beside a sound server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("vcard")


def devices(environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", "devices"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | environment,
    ).stdout


def test_the_sound_server_s_own_microphones_and_speakers_are_listed_by_their_names() -> None:
    told = devices({}).split("Microphones of the sound server")[1]
    microphones, speakers = told.split("Speakers of the sound server")
    assert "     vmic\n" in microphones
    assert "pactl set-default-source NAME" in microphones
    # What records a speaker is no microphone.
    assert "monitor\n" not in microphones
    assert " * Null Output\n     vspk\n" in speakers


def test_without_a_sound_server_s_tool_nothing_is_said_of_it() -> None:
    told = devices({"PATH": "/nowhere"})
    assert "vmic" in told
    assert "sound server" not in told
