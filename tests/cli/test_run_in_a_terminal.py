"""`parleyd run` as a person starts it: it tells what to say, and what was heard."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import pexpect
import pytest

from parleyd.chat.wrap import columns as width_of
from parleyd.cli.in_a_terminal import hint, wrap
from parleyd.config.schema import Audio, AudioOutput, Config, Wake
from parleyd.embedded.voice import Voice

RATE_HZ = 16_000


def configuration(folder: Path) -> Path:
    with Voice("rms") as voice, wave.open(str(folder / "said.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        # Time enough for the daemon to learn what quiet is, and for the answer.
        file.writeframes(bytes(2 * RATE_HZ) + voice.say("What time is it?", RATE_HZ) + bytes(20 * RATE_HZ))
    path = folder / "parleyd.yaml"
    audio = f"{{input: {{device: 'wav:{folder}/said.wav'}}, output: {{device: null}}}}"
    path.write_text(f"provider: local\naudio: {audio}\n")
    return path


def test_a_terminal_shows_what_to_say_and_what_was_heard(tmp_path: Path) -> None:
    arguments = ["-m", "parleyd", "run", "-c", str(configuration(tmp_path))]
    child = pexpect.spawn(sys.executable, arguments, dimensions=(50, 200), encoding="utf-8", timeout=60)
    try:
        child.expect_exact("try: what time is it · tell me a story · Ctrl-C ends")
        child.expect_exact("somebody speaks")
        child.expect_exact("understood: “What time is it?”")
        child.expect("the agent answers: “It is ")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
    finally:
        child.close(force=True)
    assert child.exitstatus == 0


def test_a_log_that_is_kept_has_no_words_in_it(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "parleyd", "run", "-c", str(configuration(tmp_path))]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "the agent answers after" in line:
                process.terminate()
        assert "the agent answers after" in "".join(lines)
    assert not [line for line in lines if "hat time is it" in line or "“" in line or "try:" in line]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_an_entry_of_the_log_is_wrapped_between_words_behind_its_time(columns: int) -> None:
    words = "a loudspeaker who tells " * 9 + "日本" * 60
    entry = f"21:28:40 info the agent answers: “{words}”\n    Traceback"
    shown = wrap(entry, columns).split("\n")
    assert shown[0].startswith("21:28:40 info the agent")
    assert all(line.startswith(" ") for line in shown[1:]), "no row looks like another entry"
    assert max(map(width_of, shown)) < columns
    assert " ".join(shown).split()[:14] == entry.split()[:14]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (Config(), "try: say something · Ctrl-C ends"),
        (Config(wake=Wake(mode="word", word="hey_jarvis")), "first the wake word, hey jarvis · say something"),
        (Config(wake=Wake(mode="manual")), "parleyd wake, in another terminal · say something"),
        (Config(audio=Audio(mode="off", output=AudioOutput())), "parleyd chat, in another terminal"),
    ],
)
def test_the_hint_fits_the_configuration(config: Config, told: str) -> None:
    assert told in hint(config)
