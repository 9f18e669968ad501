"""What a person has set by hand, over a power cut; `parleyd run` as processes, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from started import started
from test_run import write_config

NO_SOUND_CARD = '{{input: {{device: "null"}}, output: {{device: "null"{}}}}}'


def parleyd(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def test_mute_and_volume_are_as_they_were_left(tmp_path: Path) -> None:
    write_config(tmp_path, audio=NO_SOUND_CARD.format(", volume: 0.8"))
    with started(tmp_path):
        parleyd("mute")
        assert parleyd("volume", "down", "50") == "volume 30%\n"
    with started(tmp_path) as log:
        assert parleyd("volume") == "volume 30%\n"
        assert "the volume is 30%, as it was set last, and not the configuration's 80%" in "".join(log)
        assert "the microphone is muted, as it was left" in "".join(log)
        parleyd("unmute")
        write_config(tmp_path, audio=NO_SOUND_CARD.format(", volume: 0.6"))
        parleyd("reload")
        assert parleyd("volume") == "volume 60%\n"
    with started(tmp_path) as log:
        assert parleyd("volume") == "volume 60%\n"
        assert "as it was" not in "".join(log)


def test_a_learnt_gain_is_as_it_was_left(tmp_path: Path) -> None:
    audio = '{{input: {{device: "null", gain_db: {}, auto_gain: on}}, output: {{device: "null"}}}}'
    state = Path(os.environ["XDG_STATE_HOME"]) / "parleyd"
    state.mkdir()
    (state / "gain.json").write_text('{"device": "null", "configured_db": 3, "learnt_db": 12}')
    write_config(tmp_path, audio=audio.format(3))
    with started(tmp_path):
        microphone = json.loads(parleyd("status", "--json"))["microphone"]
        assert (microphone["gain_db"], microphone["learnt_db"]) == (15.0, 12.0)
        assert "with a gain of 15 dB, 12 of it learnt" in parleyd("status")
        write_config(tmp_path, audio=audio.format(6))
        assert "audio.input.gain_db" in parleyd("reload")
        assert json.loads(parleyd("status", "--json"))["microphone"]["gain_db"] == 18.0
    # Told by the reload, and kept with what is configured now.
    assert json.loads((state / "gain.json").read_text()) == {"device": "null", "configured_db": 6, "learnt_db": 12}
    with started(tmp_path):
        assert json.loads(parleyd("status", "--json"))["microphone"]["gain_db"] == 18.0
