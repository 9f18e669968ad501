"""Hooks of a whole daemon: they follow a conversation, never hold it up, and do what docs/hooks.md says."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import get_args

import pytest
from harness import Daemon
from plays import answering, config, silent
from scripted_server import WAIT_S, Line, ScriptedServer

from parleyd.audio.pcm import FRAME_MS
from parleyd.checks.configuration import parse
from parleyd.config.hook_sections import Hook, HookName
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.states import State
from waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text()
EVERYTHING: list[HookName] = list(get_args(HookName))
HOSTILE = "conv_1; touch /tmp/x $(id)\n'\""


def listings(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_hooks_that_hang_fork_and_flood_do_not_hold_up_the_line(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    bad = [
        script(tmp_path / "hangs", f"#!/bin/sh\ntrap '' TERM HUP INT\necho $$ >> {pids}\nsleep 60\n"),
        script(tmp_path / "floods", f"#!/bin/sh\necho $$ >> {pids}\nexec yes\n"),
        script(tmp_path / "forks", f"#!/bin/sh\necho $$ >> {pids}\nfor i in 1 2 3 4; do sleep 60 & done\nwait\n"),
        script(tmp_path / "quick", "#!/bin/sh\ncat > /dev/null\n"),
    ]
    hooks = [Hook(on=EVERYTHING, command=[command], timeout_s=60) for command in bad]
    with ScriptedServer(answering) as server:
        with Daemon(config(server, hooks=hooks)) as daemon:
            until("three of them to hang", lambda: pids.exists() and len(pids.read_text().split()) == 3)
            microphone = daemon.service.status().microphone
            assert microphone is not None
            dropped = microphone.overflows
            daemon.say("What time is it now?")
            assert daemon.expect(events.Heard).text == "what time is it"
            daemon.expect(events.AnswerStarted)
            assert daemon.expect(events.AnswerEnded).finished
            # All the while they were at it; every frame of the room has come through.
            assert all(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split())
            before = daemon.service.status().metrics.heard_s
            until("more frames", lambda: daemon.service.status().metrics.heard_s > before + 50 * FRAME_MS / 1000)
            status = daemon.service.status()
            assert status.microphone is not None
            assert status.microphone.overflows == dropped
            assert status.health == "well"
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 30, "half of what the hooks would take"
    until("nothing to be left", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.read_text().split()))


def test_a_server_cannot_put_words_into_a_command(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def hostile(line: Line) -> None:
        line.send({
            "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {
                "conversation_id": HOSTILE, "agent_output_audio_format": "pcm_16000",
                "user_input_audio_format": "pcm_16000",
            },
        })  # fmt: skip
        line.over.wait(WAIT_S)

    told = f'echo "$#:$PARLEYD_CONVERSATION_ID:$PARLEYD_STATE" >> {out}'
    tell = script(tmp_path / "tell", f"#!/bin/sh\n{told}\ncat >> {out}\n")
    with ScriptedServer(hostile) as server, Daemon(config(server, hooks=[Hook(on=["live"], command=[tell])])) as daemon:
        daemon.service.wake()
        until("the hook", lambda: out.exists() and out.read_text().count("\n") == 2)
    first, second = out.read_text().splitlines()
    assert first == "0::live"
    assert '"conversation_id": "conv_1; touch /tmp/x $(id)\\n\'\\""' in second


def led_hook(page_config: Config, tmp_path: Path) -> tuple[Hook, Path]:
    """That of the page, with a folder in the place of the LED."""
    led = tmp_path / "sys" / "class" / "leds" / "ACT"
    led.mkdir(parents=True)
    (led / "trigger").write_text("[mmc0]\n")
    (led / "brightness").write_text("255\n")
    hook = page_config.hooks[0]
    (source,) = (text for text in listings("sh") if "# led " in text)
    program, folder = hook.command
    assert (program, folder) == ("/usr/local/lib/parleyd/led", "/sys/class/leds/ACT")
    return Hook(on=hook.on, command=[script(tmp_path / "led", source), f"{tmp_path}{folder}"]), led


def test_the_led_of_the_page(tmp_path: Path) -> None:
    hook, led = led_hook(parse("provider: local\n" + listings("yaml")[0], "hooks.md").config, tmp_path)

    def shows(trigger: str, light: str | None = None) -> None:
        def test() -> bool:
            seen = (led / "trigger").read_text(), (led / "brightness").read_text()
            return seen[0] == f"{trigger}\n" and (light is None or seen[1] == f"{light}\n")

        until(f"the LED to show {trigger} {light}", test)

    def first_late_then_lost(line: Line) -> None:
        if len(server.lines) == 1:
            until("the LED to beat", lambda: (led / "trigger").read_text() == "heartbeat\n")
            silent(line)
        else:
            line.connection.socket.close()

    with ScriptedServer(first_late_then_lost) as server, Daemon(config(server, hooks=[hook])) as daemon:
        shows("none", "0")
        daemon.service.wake()
        shows("none", "1")
        daemon.service.sleep()
        shows("none", "0")
        daemon.service.wake()
        shows("heartbeat")
        daemon.service.sleep()
        daemon.expect_state(State.ASLEEP)
        daemon.service.wake()
        shows("heartbeat")
    shows("none", "0")


@pytest.mark.parametrize("player", ["mpc", "playerctl"])
def test_the_radio_of_the_page(player: str, tmp_path: Path) -> None:
    (source,) = (text for text in listings("sh") if "# radio:" in text)
    if player == "playerctl":
        for mpc, other in (
            (r"mpc status | grep -q '^\[playing\]'", "playerctl status | grep -q Playing"),
            ("mpc -q pause", "playerctl pause"),
            ("mpc -q play", "playerctl play"),
        ):
            assert mpc in source
            assert f"`{other}`" in PAGE
            source = source.replace(mpc, other)
    radio, now = script(tmp_path / "radio", source), tmp_path / "now"
    script(
        tmp_path / player,
        f"""\
#!/bin/sh
case $* in
  status) if [ "$(cat {now})" = playing ]; then echo "[playing] #1/1"; echo Playing; else echo Stopped; fi ;;
  *pause) echo paused > {now} ;;
  *play) echo playing > {now} ;;
esac
""",
    )
    pages = [parse("provider: local\n" + text, "hooks.md").config.hooks for text in listings("yaml")]
    (on,) = {tuple(hook.on) for hooks in pages for hook in hooks if hook.command[0].endswith("/radio")}
    path = f"{tmp_path}:/usr/bin:/bin"
    environment = {"PATH": path, "WAS_PLAYING": str(tmp_path / "was")}
    hook = Hook(on=list(on), command=[radio], environment=environment)
    now.write_text("playing\n")
    with ScriptedServer(silent) as server, Daemon(config(server, hooks=[hook])) as daemon:
        for before, meanwhile in (("playing", "paused"), ("stopped", "stopped")):
            now.write_text(f"{before}\n")
            runs = daemon.service.status().hooks.runs
            daemon.service.wake()
            until("the first run", lambda runs=runs: daemon.service.status().hooks.runs == runs + 1)  # type: ignore[misc]
            daemon.expect_state(State.LIVE)
            assert now.read_text() == f"{meanwhile}\n"
            daemon.service.sleep()
            until("the second run", lambda runs=runs: daemon.service.status().hooks.runs == runs + 2)  # type: ignore[misc]
            assert now.read_text() == f"{before}\n"
            daemon.expect_state(State.ASLEEP)
        assert daemon.service.status().hooks.failed == 0


def test_every_name_is_on_the_page() -> None:
    before = PAGE.split("## What a command gets")[0]
    assert {name for name in re.findall(r"`([a-z_]+)`", before) if name in EVERYTHING} == set(EVERYTHING)
