"""What all commands have in common."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from parleyd.cli.commands import COMMANDS, GROUPS
from parleyd.cli.examples import EXAMPLES, block
from parleyd.cli.main import parser_for
from parleyd.core.errors import UserError
from parleyd.host.packages import PACKAGES


def parleyd(*arguments: str, shell: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """shell: redirections."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "parleyd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_failure(closed: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("provider: local\naudio: off\n")
    told = parleyd("check", "-c", "good.yaml", shell=closed, folder=tmp_path)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    assert (">&-" in f" {closed}".replace("2>&-", "")) == (told.stdout == "")


def test_a_hint_follows_a_question_without_a_second_mark() -> None:
    assert UserError("unknown key; did you mean volume?", "nothing was changed").with_hint.endswith(
        "volume? nothing was changed"
    )
    assert UserError("it is away", "try again").with_hint == "it is away; try again"
    assert UserError("it is away").with_hint == "it is away"


# Python itself reports a module as missing that is None there.
_WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from parleyd.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


CONFIG = "parleyd.yaml"


def parleyd_without(module: str, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """path: a folder in which modules are looked for first."""
    program = [sys.executable, "-c", _WITHOUT, module, *arguments]
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.mark.parametrize(
    ("module", "command", "package", "remedy"),
    [
        ("pyaudio", ("devices",), "PyAudio", "apt-get install python3-pyaudio"),
        ("pyaudio", ("tune",), "PyAudio", "apt-get install python3-pyaudio"),
        ("numpy", ("tune",), "numpy", "pip install numpy"),
        ("samplerate", ("tune",), "samplerate", "pip install samplerate"),
        ("yaml", ("check",), "PyYAML", "pip install PyYAML"),
        ("msgspec", ("check",), "msgspec", "pip install msgspec"),
        ("msgspec", ("run", "-c", CONFIG), "msgspec", "pip install msgspec"),
        ("numpy", ("run", "-c", CONFIG), "numpy", "pip install numpy"),
        ("websocket", ("run", "-c", CONFIG), "websocket-client", "pip install websocket-client"),
    ],
)
def test_a_missing_package_is_one_line_that_names_it_and_the_command_that_installs_it(
    module: str, command: tuple[str, ...], package: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `run` imports most packages after it has read a configuration that is good.
    monkeypatch.chdir(tmp_path)
    Path(CONFIG).write_text("elevenlabs: {agent_id: a}\naudio: off\n")
    told = parleyd_without(module, *command)
    assert (told.returncode, told.stdout) == (os.EX_UNAVAILABLE, "")
    assert told.stderr.startswith(f"parleyd: the package {package} is missing; ")
    assert remedy in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_the_doctor_starts_without_any_of_the_packages() -> None:
    """It says which is missing; so it must not need one itself."""
    without = "".join(f"sys.modules[{package.module.partition('.')[0]!r}] = None\n" for package in PACKAGES)
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\n{without}import parleyd.cli.doctor"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stderr) == (os.EX_OK, "")


def test_a_missing_package_is_told_to_programs_and_its_origin_to_who_debugs() -> None:
    told = json.loads(parleyd_without("pyaudio", "devices", "--json").stdout)["error"]
    assert (told["text"], told["exit_code"]) == ("the package PyAudio is missing", os.EX_UNAVAILABLE)
    assert "Traceback" in parleyd_without("pyaudio", "--debug", "devices").stderr


def test_a_package_that_is_there_and_broken_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2: cannot open\\nMore of it.')")
    told = parleyd_without("nothing", "devices", path=tmp_path)
    assert told.returncode == os.EX_UNAVAILABLE
    assert "the package PyAudio cannot be imported: libportaudio.so.2: cannot open; " in told.stderr
    assert "More of it" not in told.stderr


def test_a_module_of_parleyd_that_is_missing_is_a_fault_and_no_missing_package() -> None:
    told = parleyd_without("parleyd.cli.devices", "devices")
    assert told.returncode == 1
    assert "Traceback" in told.stderr


def test_a_command_that_is_nearly_one_is_recognised() -> None:
    told = parleyd("statsu")
    assert told.returncode == os.EX_USAGE
    assert "there is no command 'statsu'; did you mean status?" in told.stderr


@pytest.mark.parametrize("words", [(), ("--debug",)], ids=" ".join)
def test_who_types_no_command_is_shown_the_first_steps(words: tuple[str, ...]) -> None:
    told = parleyd(*words)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    lines = told.stdout.splitlines()
    assert lines[2].startswith("first steps:")
    assert lines[3].split()[:2] == ["parleyd", "demo"]
    assert "`parleyd help` lists all commands" in told.stdout
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("words", [("help",), ("--help",)], ids=" ".join)
def test_who_does_not_know_the_commands_is_shown_them(words: tuple[str, ...]) -> None:
    told = parleyd(*words)
    assert (told.returncode, told.stderr) == (os.EX_OK, "")
    lines = told.stdout.splitlines()
    for heading, group in GROUPS.items():
        below = lines[lines.index(f"{heading}:") + 1 :]
        shown = [line.split()[0] for line in below[: below.index("")] if line.startswith("  ") and line[2] != " "]
        assert shown == list(group)
    examples = lines[lines.index("examples:") + 1 :]
    assert [line.split()[:2] for line in examples[:2]] == [["parleyd", "demo"], ["parleyd", "run"]]
    assert max(map(len, lines)) < 80


def test_every_command_has_examples_and_each_of_them_can_be_typed() -> None:
    assert COMMANDS.keys() - EXAMPLES.keys() == set()
    for examples in (EXAMPLES[name] for name in EXAMPLES if not name or name.split()[0] in COMMANDS):
        for line, _ in examples:
            words = shlex.split(line)
            chosen = [word for word in words if word in COMMANDS][:1]
            assert chosen or words[0] == "help", line
            if chosen and words[0] != "help":
                # An unknown option or a missing word raises.
                parser_for(chosen).parse_args([word for word in words if word not in ("<", "key.txt")])


def test_the_examples_stand_at_the_end_of_the_help() -> None:
    told = parleyd("volume", "--help").stdout
    assert "\nexamples:\n  parleyd volume        show it\n" in told


def test_an_example_stands_above_its_comment_where_the_terminal_is_narrow() -> None:
    assert block("examples", [("volume 40", "quieter than it was before")], 30) == (
        "examples:\n  parleyd volume 40\n      quieter than it was\n      before\n"
    )
    assert block("examples", [("volume 40", "quieter")], 60) == "examples:\n  parleyd volume 40  quieter\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("status", "--json", "--socket", "none.sock"), os.EX_UNAVAILABLE, "parleyd is not running: "),
        (("tune", "--json", "--seconds", "x"), os.EX_USAGE, "argument --seconds: "),
        (("tools", "--json", "-c", "none.yaml"), os.EX_CONFIG, "none.yaml"),
        (("statsu", "--json"), os.EX_USAGE, "there is no command 'statsu'"),
    ],
    ids=["no daemon", "usage", "configuration", "no command"],
)
def test_who_asks_for_json_gets_errors_in_json(words: tuple[str, ...], code: int, text: str, tmp_path: Path) -> None:
    told = parleyd(*words, folder=tmp_path)
    error = json.loads(told.stdout)["error"]
    assert (told.returncode, told.stderr) == (code, "")
    assert text in error["text"]
    assert error["exit_code"] == code
    assert "hint" in error


def test_wrong_usage_is_told_with_the_usage() -> None:
    told = parleyd("volume", "loud")
    assert (told.returncode, told.stdout) == (os.EX_USAGE, "")
    assert told.stderr.startswith("usage: parleyd volume ")
    assert told.stderr.endswith("parleyd volume: argument LEVEL: 'loud' is not a volume; use 0 to 100, up or down\n")


@pytest.mark.parametrize(
    ("words", "told_usage", "text"),
    [
        (("check", "new.yaml"), "parleyd check", "unrecognized arguments: new.yaml; a configuration is named by -c: "
         "-c new.yaml"),
        (("doctor", "-v"), "parleyd doctor", "unrecognized arguments: -v"),
        (("usage", "now.yml", "-x"), "parleyd usage", "unrecognized arguments: now.yml -x"),
        (("devices", "x.yaml"), "parleyd devices", "unrecognized arguments: x.yaml"),
        (("tools", "run", "get_time", "{}", "more"), "parleyd tools run", "unrecognized arguments: more"),
        (("-v",), "parleyd", "unrecognized arguments: -v"),
        (("--verison", "status"), "parleyd", "unrecognized arguments: --verison"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_word_that_nobody_asks_for_is_told_with_the_usage_of_its_command(
    words: tuple[str, ...], told_usage: str, text: str
) -> None:
    told = parleyd(*words)
    assert (told.returncode, told.stdout) == (os.EX_USAGE, "")
    assert told.stderr.startswith(f"usage: {told_usage} [-h]")
    assert f"{told_usage}: {text}\n" in told.stderr


def test_the_version_and_the_help_are_commands_for_newcomers() -> None:
    asked, option = parleyd("version"), parleyd("--version")
    assert (asked.returncode, asked.stdout) == (os.EX_OK, option.stdout)
    assert "did you mean help?" in parleyd("hlep").stderr
    assert "did you mean version?" in parleyd("verison").stderr


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--mind", "localhost:11434"),
        ("--mind", "foo"),
        ("--mind", "tcp://127.0.0.1:1"),
        ("--ears-at", "127.0.0.1:10300"),
        ("--ears-at", "tcp://127.0.0.1"),
        ("--voice-at", "http://"),
        ("--voice-at", "http://[::1/v1"),
    ],
)
def test_the_agent_does_not_serve_with_an_address_that_is_none(option: str, address: str) -> None:
    with pytest.raises(UserError, match=f"argument {option}: '.*' is no address; use http://HOST:PORT/v1"):
        parser_for(["agent"]).parse_args(["agent", option, address])


def test_addresses_of_the_agent_s_parts_are_taken_as_they_are() -> None:
    words = ["--mind", "http://127.0.0.1:11434/v1", "--ears-at", "tcp://pi.local:10300", "--voice-at", "https://h/v1"]
    args = parser_for(["agent"]).parse_args(["agent", *words])
    assert [args.mind, args.ears_at, args.voice_at] == words[1::2]


@pytest.mark.parametrize(("fraction", "percent"), [("0.5", "50"), ("0.05", "5"), ("0.999", "99.9")])
def test_a_volume_as_the_configuration_has_it_is_not_taken_for_less_than_one_percent(
    fraction: str, percent: str
) -> None:
    told = parleyd("volume", fraction)
    assert (told.returncode, told.stdout) == (64, "")
    assert f"the volume is given in percent: did you mean {percent}? (or write {fraction}%)" in told.stderr


def test_help_has_the_options_of_one_command() -> None:
    asked, option = parleyd("help", "tools", "run"), parleyd("tools", "run", "--help")
    assert (asked.returncode, asked.stdout) == (os.EX_OK, option.stdout)
    assert asked.stdout.startswith("usage: parleyd tools run ")


def test_help_for_a_command_that_there_is_not() -> None:
    told = parleyd("help", "statsu")
    assert told.returncode == os.EX_USAGE
    assert "did you mean status?" in told.stderr
