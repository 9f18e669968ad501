"""Profiles of a whole daemon: a session lives through the change, and the command tells and chooses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from harness import Daemon
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.service import Service
from parleyd.audio.mixer import MixerError
from parleyd.checks.configuration import load, parse
from parleyd.config.changes import Changes
from parleyd.config.overlay import overlay
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.states import State
from parleyd.profiles.profiles import Profiles

CONFIG = """
elevenlabs: {{agent_id: agent_test, base_url: "{url}", overrides: {{language: en}}}}
audio: {{input: {{device: "null"}}, output: {{device: "null", volume: 0.8}}}}
reconnect: {{initial_s: 30, max_s: 60}}
wake: {{mode: manual}}
profiles:
  whole_day:
    schedule: [{{from: 00:00, to: "12:00"}}, {{from: "12:00", to: 00:00}}]
    settings: {{audio: {{output: {{volume: 0.4}}}}}}
  night:
    settings:
      audio: {{output: {{volume: 0.2}}}}
      session: {{idle_timeout_s: 7}}
      elevenlabs: {{overrides: {{voice_id: owl}}}}
"""


def apply(service: Service, config: Config) -> Changes:
    return service.reconfigure(config, lambda one: ElevenLabsAgent(one.elevenlabs, None))


def silent(line: Line) -> None:
    line.ready()
    line.over.wait(WAIT_S)


def overrides(line: Line) -> dict[str, object]:
    line.wait("the opening", lambda: line.opening)
    override: dict[str, object] = line.opening.get("conversation_config_override", {})
    return override


AMIXER = """#!{python}
import pathlib, sys
level = pathlib.Path({level!r})
if not level.exists():
    sys.exit("amixer: Unable to open mixer")
if "sset" in sys.argv:
    level.write_text(sys.argv[-1])
print("Capabilities: pvolume", "Mono: Playback 1 [" + level.read_text() + "]", sep=chr(10))
"""


def test_a_volume_that_could_not_be_moved_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level, program = tmp_path / "level", tmp_path / "amixer"
    program.write_text(AMIXER.format(python=sys.executable, level=str(level)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    level.write_text("50%")
    with_mixer = CONFIG.replace("volume: 0.8", "volume: 0.8, mixer: {{control: PCM}}")
    config = parse(with_mixer.format(url="http://127.0.0.1:9"), "p.yaml").config
    night = overlay(config, config.profiles["night"].settings)
    with Daemon(config) as daemon:
        assert level.read_text() == "80%"
        level.unlink()
        with pytest.raises(MixerError, match="Unable to open mixer"):
            apply(daemon.service, night)
        assert daemon.service.volume == 0.8
        level.write_text("80%")
        changed = apply(daemon.service, night)
        assert changed.now == ("audio.output.volume", "session.idle_timeout_s"), "all of it is tried again"
        assert (level.read_text(), daemon.service.volume) == ("20%", 0.2)


def test_a_session_lives_through_a_change_of_profile() -> None:
    with ScriptedServer(silent) as server:
        config = parse(CONFIG.format(url=server.base_url), "p.yaml").config
        with Daemon(config) as daemon:
            service, stage = daemon.service, daemon.stage
            profiles = Profiles(config, service._bus)
            profiles.start(service, partial(apply, service), service.fail)
            try:
                assert (profiles.current, service.volume) == ("whole_day", 0.4)
                service.wake()
                first = daemon.expect(events.SessionOpened).conversation_id
                profiles.choose("night")
                assert daemon.expect(events.ProfileChanged).profile == "night"
                status = service.status()
                assert status.speaker is not None
                assert (status.profile, status.speaker.volume) == ("night", 0.2)
                assert (status.state, status.conversation_id) == ("live", first)
                service.sleep()
                daemon.expect_state(State.ASLEEP)
                service.wake()
                assert daemon.expect(events.SessionOpened).conversation_id != first
                before, after = (overrides(line) for line in server.lines)
                assert before == {"agent": {"language": "en"}}
                assert after == {"agent": {"language": "en"}, "tts": {"voice_id": "owl"}}
            finally:
                profiles.stop()
            assert not [event for event in stage.events if isinstance(event, events.Trouble)]


def parleyd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def running(file: Path) -> Iterator[list[str]]:
    """→ its log so far."""
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(file)], stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    log: list[str] = []
    try:
        for line in process.stderr:
            log.append(line)
            if " runs; provider" in line:
                break
        yield log
        assert parleyd("stop").returncode == 0
        assert process.wait(60) == 0
        log += process.stderr.readlines()
    finally:
        process.kill()
        process.communicate()


def test_in_a_terminal(tmp_path: Path) -> None:
    # One folder deeper: no hook makes a file beside the configuration.
    file, told = tmp_path / "parleyd.yaml", tmp_path / "out" / "told"
    told.parent.mkdir()
    tell = f"echo $PARLEYD_EVENT $PARLEYD_PROFILE >> {told}"
    hook = f"hooks: [{{on: [profile_changed, stopped], command: [sh, -c, '{tell}']}}]\n"
    file.write_text(CONFIG.format(url="http://127.0.0.1:9") + hook)
    with running(file) as log:
        assert parleyd("profile").stdout == "whole_day, by the schedule\nthere are: whole_day, night\n"
        chosen = "night, by hand, until `parleyd profile auto` or a restart\n"
        assert parleyd("profile", "night").stdout == chosen
        assert parleyd("volume").stdout == "volume 20%\n"
        assert "profile     night" in parleyd("status").stdout
        assert json.loads(parleyd("profile", "--json").stdout) == {
            "profile": "night", "chosen": "night", "profiles": ["whole_day", "night"],
        }  # fmt: skip
        unknown = parleyd("profile", "nigt")
        assert unknown.returncode == os.EX_USAGE
        assert unknown.stderr == "parleyd: there is no profile of this name; did you mean night?\n"
        file.write_text(file.read_text().replace("idle_timeout_s: 7", "idle_timeout_s: 8"))
        assert "session.idle_timeout_s" in parleyd("reload").stdout
        assert parleyd("profile", "none").stdout.startswith("none, by hand")
        assert parleyd("volume").stdout == "volume 80%\n"
        assert parleyd("profile", "auto").stdout == "whole_day, by the schedule\n"
    assert [line.split("profile: ")[1] for line in log if "profile: " in line] == [
        "whole_day, by schedule; in force now: audio.output.volume\n",
        "night, by command; in force now: audio.output.volume, session.idle_timeout_s; from the next session on: "
        "elevenlabs.overrides.voice_id\n",
        "none, by command; in force now: audio.output.volume, session.idle_timeout_s; from the next session on: "
        "elevenlabs.overrides.voice_id\n",
        "whole_day, by command; in force now: audio.output.volume\n",
    ]
    # A slow machine may tell of the newest only.
    assert told.read_text().splitlines()[-1] == "stopped whole_day"


@pytest.mark.parametrize("page", ["hooks.md", "profiles.md"])
def test_what_stands_in_the_documentation_is_good(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        file = tmp_path / "parleyd.yaml"
        file.write_text("provider: local\n" + example)
        assert load(file).warnings == ()
