"""`parleyd setup` at a real terminal, against the embedded agent and the virtual sound card."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from walk import Walk

from parleyd.checks.configuration import load
from parleyd.cli.main import main
from parleyd.config.secrets import resolve
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.voice import Voice
from vcard import VirtualCard

KEY = "sk_0123456789abcdef"
RATE_HZ = 16_000
HDMI = "alsa_output.platform-vc4.hdmi-stereo"


@pytest.fixture
def agent() -> Iterator[LocalAgent]:
    with LocalAgent(AgentSettings(api_key=KEY, require_auth=True)) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "parleyd.yaml"


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file, and its number: a file that was replaced by the same content has another one."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes()) for path in files}


def speak(card: VirtualCard, text: str) -> None:
    with Voice("rms") as voice:
        card.play(voice.say(text, RATE_HZ) + bytes(2 * RATE_HZ), rate_hz=RATE_HZ)


def answered(path: Path, agent: LocalAgent, *more: str) -> int:
    """Runs the whole set-up with answers and without a person."""
    key = path.parent / "key"
    key.write_text(f"{KEY}\n")
    given = [f"--answer={one}" for one in ("microphone=vmic", "speaker=vspk", f"key_file={key}", "service=no", *more)]
    return main(["setup", "-c", str(path), "--base-url", agent.base_url, *given])


def test_from_nothing_to_the_first_answer(vcard: VirtualCard, agent: LocalAgent, file: Path) -> None:
    with Walk("-c", file, "--base-url", agent.base_url) as walk:
        walk.asked("Which microphone?")
        walk.asked("Hear whether it works?")
        walk.sees("Say a sentence or two")
        speak(vcard, "Good morning. What will the weather be?")
        walk.sees("Your voice was heard")
        if walk.sees("gain_db:", "Which speaker?") == 0:
            walk.asked("?", "n")
            walk.sees("Which speaker?")
        walk.asked(":", "vspk")
        with vcard.listen() as heard:
            walk.asked("Play two notes?")
            walk.sees("Two notes were played")
            assert heard.wait(lambda: heard.last_sound_s() > 0, 5)
        walk.asked("Did you hear them?")
        walk.asked("Play back what you said?")
        with vcard.loopback(latency_ms=60):
            walk.asked("Measure the echo?")
            walk.asked("What shall be done about the echo?")
        walk.asked("Who answers?")
        walk.asked("Paste the API key", "sk_wrong0000000000")
        walk.sees("Invalid API key")
        walk.asked("What now?")
        walk.asked("Paste the API key", KEY)
        walk.sees("The key works.")
        walk.sees("The account has no agent yet")
        walk.asked("What is it called?", "Kitchen")
        walk.asked("Which language does it speak?", "en")
        walk.asked("The prompt")
        walk.sees("It fits this device.")
        walk.asked("Which voice?", "Robert")
        walk.asked("Hear Robert?")
        walk.asked("Take Robert?")
        walk.asked("The same voice for announcements")
        walk.sees("The service")
        walk.asked("Try it now?")
        walk.sees("Say: what time is it")
        speak(vcard, "What time is it?")
        walk.sees("heard: “What time is it?”")
        walk.sees("answered: “It is")
        walk.sees("Next:")
        assert walk.end() == 0
        assert KEY not in walk.said
    config = load(file).config
    assert config.elevenlabs.agent_id is not None
    assert resolve(config.elevenlabs.api_key) == KEY
    assert config.elevenlabs.agent.voice_id == config.announce.voice_id == "rms"
    assert config.audio.echo.mode == "aec"
    example = (Path(__file__).parents[2] / "config/parleyd.yaml").read_text(encoding="utf-8").splitlines()
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(example)
    assert sum(one != other for one, other in zip(lines, example, strict=True)) == 7
    assert not file.with_name("parleyd.yaml.before-setup").exists()


@pytest.mark.usefixtures("vcard")
def test_answers_give_the_same_file_and_a_second_run_changes_nothing(agent: LocalAgent, tmp_path: Path) -> None:
    files = [tmp_path / "one" / "parleyd.yaml", tmp_path / "two" / "parleyd.yaml"]
    for file in files:
        file.parent.mkdir()
        assert answered(file, agent, "agent=kitchen" if file is files[1] else "agent=new", "agent_name=Kitchen") == 0
    first, second = (file.read_text().replace(str(file.parent), "") for file in files)
    assert first == second
    (files[0].parent / "key").write_text(f"{KEY}\n")
    before = contents(files[0].parent)
    version = agent._api._platform.agents["agent_0001"]["version_id"]
    assert answered(files[0], agent) == 0
    assert contents(files[0].parent) == before
    assert agent._api._platform.agents["agent_0001"]["version_id"] == version


@pytest.mark.usefixtures("vcard")
def test_a_person_who_takes_what_is_there_changes_nothing(agent: LocalAgent, file: Path) -> None:
    assert answered(file, agent, "agent=new") == 0
    before = contents(file.parent)
    with Walk("-c", file, "audio", "provider", "agent", "voice", wide=40) as walk:
        walk.asked("Which microphone?")
        walk.asked("Hear whether it works?", "n")
        walk.asked("Which speaker?")
        walk.asked("Play two notes?", "n")
        walk.asked("Measure the echo?", "n")
        walk.asked("Who answers?")
        walk.sees("A key is stored, and it works.")
        walk.asked("Keep it?")
        walk.asked("Which agent?")
        walk.sees("The agent fits this device.")
        walk.asked("Which language does it speak?")
        walk.asked("Which voice?")
        assert walk.end() == 0
        said = walk.said
    assert contents(file.parent) == before
    too_wide = [line for line in said.splitlines() if len(line) > 40 and not line.startswith("    ")]
    assert not too_wide


@pytest.mark.usefixtures("vcard")
def test_a_part_of_a_name_in_the_configuration_stays(file: Path) -> None:
    text = "provider: local\naudio:\n  input: {device: SPK}  # mine\n  output: {device: 'null'}\n"
    file.write_text(text)
    assert main(["setup", "audio", "-c", str(file), "--answer", "tone=no"]) == 0
    assert file.read_text() == text


@pytest.mark.usefixtures("vcard")
def test_what_does_not_fit_is_shown_in_a_table_and_fitted(agent: LocalAgent, file: Path) -> None:
    assert answered(file, agent, "agent=new") == 0
    agents = agent._api._platform.agents
    agents["agent_0001"]["conversation_config"]["conversation"]["client_events"] = ["audio"]
    with Walk("-c", file, "agent") as walk:
        walk.asked("Which agent?")
        walk.sees("on the agent", "is now")
        walk.sees("events that it sends")
        walk.asked("Change it on the agent?", "n")
        walk.sees("It stays as it is")
        assert walk.end() == 0
    assert agents["agent_0001"]["conversation_config"]["conversation"]["client_events"] == ["audio"]
    assert main(["setup", "-c", str(file), "--answer", "fit=yes", "agent"]) == 0
    assert "ping" in agents["agent_0001"]["conversation_config"]["conversation"]["client_events"]


def test_a_machine_without_sound(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text('pcm.broken { type pulse server "unix:/nonexistent" hint { show on description "broken" } }\n')
    silent = {"ALSA_CONFIG_PATH": str(config), "PULSE_SERVER": "unix:/nonexistent"}
    with Walk("-c", file, "audio", environment=silent) as walk:
        walk.sees("There is no microphone.")
        walk.sees("dtoverlay=")
        walk.asked("Enter looks again")
        walk.asked("Enter looks again", "skip")
        walk.sees("Left out; nothing was changed.")
        assert walk.end() == 1
    assert not file.exists()
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "setup", "audio", "-c", file, "--answer", "tone=yes"],
        env=os.environ | silent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.split(";")[0]) == (69, "parleyd: there is no microphone")
    # Nobody is asked, so nobody can say it again; a device without one can be wanted.
    assert "for none: --answer microphone=null" in " ".join(done.stderr.split())
    assert "again" not in done.stderr


def test_a_speaker_at_hdmi_alone_is_said_so(file: Path) -> None:
    name = 'sink_properties=device.description="HDMI_of_the_board"'
    card = VirtualCard(f"load-module module-null-sink sink_name={HDMI} {name}\n")
    try:
        card.pactl("set-default-sink", HDMI)
        for sink in ("vspk", "mic_in"):
            card.remove(sink)
        # ALSA's own names for the devices that are gone stay in its configuration.
        (card.dir / "asound.conf").write_text(
            f'pcm.!default {{ type pulse server "unix:{card.dir}/native" hint {{ show on description "card" }} }}\n'
        )
        card.pactl("load-module", "module-null-source", "source_name=mic")
        with Walk("-c", file, "audio", environment=card.environment) as walk:
            walk.asked("Which microphone?")
            walk.asked("Hear whether it works?", "n")
            walk.sees("There is only HDMI")
            walk.asked("Which speaker?", "skip")
            assert walk.end() == 1
    finally:
        card.stop()


def test_another_device_of_the_server_is_heard_and_becomes_its_default(file: Path) -> None:
    card = VirtualCard("load-module module-null-sink sink_name=other rate=48000 channels=2 norewinds=1\n")
    environment = os.environ | card.environment
    ask = ["pactl", "get-default-sink"]
    try:
        with Walk("-c", file, "audio", environment=card.environment) as walk, card.listen("other.monitor") as heard:
            walk.asked("Which microphone?")
            walk.asked("Hear whether it works?", "n")
            walk.sees("Which speaker?")
            walk.asked(":", "other")
            walk.asked("Play two notes?")
            walk.sees("Two notes were played.")
            assert heard.wait(lambda: heard.last_sound_s() > 0, 5)
            default = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True).stdout.strip()
            assert default == "vspk"
            walk.asked("Did you hear them?")
            walk.asked("Measure the echo?", "n")
            walk.sees("is the sound server's default speaker now")
            assert walk.end() == 0
        default = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        assert default == "other"
    finally:
        card.stop()


QUESTIONS = {
    "audio": ("Which microphone?", "Which speaker?", "Measure the echo?"),
    "provider": ("Who answers?", "Keep it?"),
    "agent": ("Which agent?", "Change it on the agent?"),
    "voice": ("Which language does it speak?", "Which voice?"),
    "try": ("Try it now?",),
}


@pytest.mark.usefixtures("vcard")
@pytest.mark.parametrize("step", QUESTIONS)
def test_an_interruption_at_each_question_leaves_everything_as_it_was(agent: LocalAgent, file: Path, step: str) -> None:
    assert answered(file, agent, "agent=new") == 0
    agents = agent._api._platform.agents
    agents["agent_0001"]["conversation_config"]["conversation"]["client_events"] = ["audio"]
    before, remote = contents(file.parent), str(agents)
    for number, question in enumerate(QUESTIONS[step]):
        with Walk("-c", file, step) as walk:
            for earlier in QUESTIONS[step][:number]:
                # Another choice than the present one, so that there would be something to write.
                walk.asked(earlier, {"Who answers?": "1"}.get(earlier, ""))
                if earlier == "Which microphone?":
                    walk.asked("Hear whether it works?", "n")
                if earlier == "Which speaker?":
                    walk.asked("Play two notes?", "n")
            walk.sees(question)
            if number % 2:
                os.kill(walk.pid, signal.SIGTERM)
                assert walk.end() == 128 + signal.SIGTERM
            else:
                walk.interrupt()
                assert walk.end() == 130
            assert "Stopped." in walk.said
        assert contents(file.parent) == before
        assert str(agents) == remote


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_shows_what_is_typed_again_after_an_interruption_at_the_key(
    file: Path, ending: signal.Signals
) -> None:
    with Walk("-c", file, "provider") as walk:
        walk.asked("Who answers?")
        walk.sees("Paste the API key")
        assert walk.waits_hidden()
        os.kill(walk.pid, ending)
        assert walk.end() == 128 + ending
        assert walk.echoed_at_the_end
    assert not file.exists()


@pytest.mark.usefixtures("vcard")
def test_a_recording_is_interrupted_and_not_cut_short(file: Path) -> None:
    with Walk("-c", file, "audio") as walk:
        walk.asked("Which microphone?")
        walk.asked("Hear whether it works?")
        walk.sees(" s [")
        walk.interrupt()
        assert walk.end() == 130
    assert not file.exists()


@pytest.mark.usefixtures("vcard")
def test_a_closed_terminal_ends_the_trial_and_its_daemon(agent: LocalAgent, file: Path) -> None:
    assert answered(file, agent, "agent=new") == 0
    before = contents(file.parent)
    with Walk("-c", file, "try") as walk:
        walk.asked("Try it now?")
        walk.sees("Say: what time is it")
        children = Path(f"/proc/{walk.pid}/task/{walk.pid}/children").read_text().split()
        assert children
        walk.hang_up()
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert contents(file.parent) == before


@pytest.mark.usefixtures("vcard")
def test_a_daemon_that_cannot_start_says_why(file: Path) -> None:
    file.write_text("elevenlabs: {agent_id: agent_01, api_key: {file: /nonexistent}}\n")
    with Walk("-c", file, "try") as walk:
        walk.asked("Try it now?")
        walk.sees("the daemon does not start:")
        walk.asked("What now?", "3")
        assert walk.end() == 1
        assert "/nonexistent" in walk.said


def test_a_wrong_key_in_a_script_is_an_error_and_nothing_is_stored(agent: LocalAgent, file: Path) -> None:
    key = file.with_name("key")
    key.write_text("sk_wrong0000000000\n")
    before = contents(file.parent)
    arguments = ["setup", "provider", "-c", str(file), "--base-url", agent.base_url, "--answer", f"key_file={key}"]
    assert main(arguments) == os.EX_NOPERM
    assert contents(file.parent) == before


def test_answers_that_are_impossible_are_named(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "provider", "-c", str(file), "--answer", "provider=eleven-labs"]) == os.EX_DATAERR
    assert "provider: “eleven-labs” is not possible here; possible: ElevenLabs" in capfd.readouterr().err
    assert main(["setup", "-c", str(file), "--answer", "provider"]) == os.EX_USAGE
    assert main(["setup", "sound"]) == os.EX_USAGE


def test_the_embedded_agent_needs_neither_key_nor_agent(file: Path) -> None:
    answers = file.with_name("answers.yaml")
    answers.write_text("provider: local\nmicrophone: 'null'\nspeaker: 'null'\nservice: no\n")
    assert main(["setup", "-c", str(file), "--answers", str(answers)]) == 0
    config = load(file).config
    assert (config.provider, config.audio.input.device, config.audio.output.device) == ("local", "null", "null")


def test_through_a_pipe_the_questions_are_answered_by_lines(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "setup", "provider", "-c", file],
        input="local\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert load(file).config.provider == "local"
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "setup", "provider", "-c", file],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == os.EX_NOINPUT
    assert re.search("--answers FILE", done.stderr)


def test_a_server_of_the_openai_protocol(agent: LocalAgent, file: Path) -> None:
    key = file.with_name("key")
    key.write_text(f"{KEY}\n")
    given = ["provider=openai", f"key_file={key}", "voice=cedar", "language=de"]
    words = ["setup", "provider", "agent", "voice", "-c", str(file), "--base-url", f"{agent.base_url}/v1"]
    assert main([*words, *(f"--answer={one}" for one in given)]) == 0
    config = load(file).config
    assert (config.provider, config.openai.voice, config.openai.language) == ("openai", "cedar", "de")
    assert resolve(config.openai.api_key) == KEY
    key.write_text("sk_wrong0000000000\n")
    before = contents(file.parent)
    assert main([*words, *(f"--answer={one}" for one in given)]) != 0
    assert contents(file.parent) == before


def test_a_key_that_may_not_list_voices_names_the_permission(file: Path) -> None:
    with LocalAgent(AgentSettings(api_key=KEY, key_permissions=("convai_read", "convai_write"))) as agent:
        assert answered(file, agent, "agent=new", "microphone=null", "speaker=null") == 0
        with Walk("-c", file, "voice") as walk:
            walk.asked("Which language does it speak?", "de")
            walk.sees("the key lacks the permission voices_read")
            walk.sees("give the key voices_read at elevenlabs.io")
            assert walk.end() == 0
        agents = agent._api._platform.agents
        assert agents["agent_0001"]["conversation_config"]["agent"]["language"] == "de"
    assert load(file).config.elevenlabs.agent.language == "de"
