"""`parleyd bench`: the row, the facts, and the command itself on the virtual sound card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from parleyd.board import facts
from parleyd.board.row import HEAD, Figures, page, row

FIGURES = Figures(
    model="Raspberry Pi 4 Model B Rev 1.4",
    system="Debian GNU/Linux 12 (bookworm), aarch64, Python 3.11.2",
    microphone="USB | Array",
    speaker="bcm2835",
    packages={"wheel": ["numpy", "samplerate"], "compiled": ["pyaudio"]},
    cpu={"asleep": 0.048, "live": 0.0581, "agent talks": 0.3},
    rss_mib=61.7,
    start_ms=1370.4,
    wake_ms=171.2,
    xruns=(0, 3),
    temperature_c=(48.3, 51.9),
)


def test_a_row_has_a_cell_for_each_head_and_keeps_a_foreign_bar_out() -> None:
    line = row(FIGURES)
    assert line.count("|") == HEAD.count("|")
    assert "USB / Array / bcm2835" in line
    assert "| 4.8% | 5.8% | 30.0% | 62 MiB | 1370 ms | 171 ms | 0 / 3 | 48 → 52 °C |" in line


def test_the_page_says_what_the_row_says_with_its_units() -> None:
    told = dict(page(FIGURES))
    assert told["CPU"] == "4.8% of one core asleep, 5.8% in a session, 30.0% while the agent talks"
    assert told["time"] == "1370 ms from the start until it listens, 171 ms from the order to the session"
    assert told["xruns"] == "0 of the microphone, 3 of the speaker"
    assert told["temperature"] == "48 → 52 °C"


def test_a_machine_without_a_thermometer_says_so() -> None:
    silent = replace(FIGURES, temperature_c=(None, None))
    assert dict(page(silent))["temperature"] == "this machine does not tell it"
    assert row(silent).endswith("| unknown |")


def test_the_facts_of_a_raspberry_pi(tmp_path: Path) -> None:
    """Of its files, as its kernel has them: no board is here."""
    for name, text in {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone1/temp": "51000\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert facts.model(tmp_path) == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.system(tmp_path).startswith("Debian GNU/Linux 12 (bookworm), ")
    assert facts.temperature_c(tmp_path) == 51.0


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert facts.temperature_c(tmp_path) is None
    assert facts.model(tmp_path)
    assert facts.system(tmp_path).startswith("Linux, ")


def test_each_package_is_told_once() -> None:
    told = facts.packages()
    assert sorted(name for names in told.values() for name in names) == sorted(facts.PACKAGES)
    assert "numpy" in told.get("wheel", []) + told.get("of the system", [])


def bench(folder: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "parleyd.yaml").write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "parleyd", "bench", "-c", "parleyd.yaml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("vcard")
def test_on_the_virtual_card(tmp_path: Path) -> None:
    config = "provider: local\naudio: {input: {device: vmic}, output: {device: vspk}}\n"
    done = bench(tmp_path, config, "--seconds", "1", "--json")
    assert done.returncode == os.EX_OK, done.stderr
    told = json.loads(done.stdout)
    assert (told["microphone"], told["speaker"]) == ("vmic", "vspk")
    assert set(told["cpu"]) == {"asleep", "live", "agent talks"}
    assert all(share > 0 for share in told["cpu"].values())
    assert told["rss_mib"] > 10
    assert told["start_ms"] > 0
    assert told["wake_ms"] > 0
    assert row(Figures(**told)).startswith("| ")


@pytest.mark.parametrize("section", ["elevenlabs: {agent_id: agent_xxx}", "provider: elevenlabs"])
def test_it_needs_no_agent(tmp_path: Path, section: str) -> None:
    """As in the file that an installation leaves, in which the agent is still to be named."""
    config = f'{section}\naudio: {{input: {{device: "null"}}, output: {{device: "null"}}}}\n'
    done = bench(tmp_path, config, "--seconds", "0.1")
    assert done.returncode == os.EX_OK, done.stderr
    assert "this machine" in done.stdout or "°C" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("| ")


def test_a_fault_of_the_sound_is_told(tmp_path: Path) -> None:
    done = bench(tmp_path, "audio: {input: {gain_db: 400}}\n")
    assert done.returncode == os.EX_CONFIG
    assert "audio.input.gain_db" in done.stderr


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = bench(tmp_path, "audio: {input: {device: nonesuch}, output: {device: 'null'}}\n")
    assert done.returncode != os.EX_OK
    assert "nonesuch" in done.stderr
    assert "parleyd doctor" in done.stderr
    assert done.stdout == "" or not done.stdout.startswith("|")


def test_without_sound_there_is_nothing_to_measure(tmp_path: Path) -> None:
    done = bench(tmp_path, "provider: local\naudio: off\n")
    assert done.returncode == os.EX_CONFIG
    assert "audio.mode: off" in done.stderr
