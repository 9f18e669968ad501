from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from parleyd.cli.completion import completion

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize(("shell", "file"), [("bash", "parleyd.bash"), ("zsh", "_parleyd")])
def test_what_is_installed_knows_every_command_and_option(shell: str, file: str) -> None:
    hint = f"python -m parleyd.cli.completion {shell} > completions/{file}"
    assert (FOLDER / file).read_text() == completion(shell), hint


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sta", {"status"}), ("volume --js", {"--json"}), ("status --w", {"--watch"}), ("mut", {"mute"})],
)
def test_a_shell_completes(typed: str, offered: set[str]) -> None:
    words = ["parleyd", *typed.split()]
    script = (
        f"source {FOLDER / 'parleyd.bash'}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1};"
        "_shtab_parleyd; echo ${COMPREPLY[@]}"
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert set(told.stdout.split()) == offered
