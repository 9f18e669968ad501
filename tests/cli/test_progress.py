"""Long work says on a terminal what it is at, in one line that is gone afterwards; into a pipe it says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

ROOT = Path(__file__).parents[2]
WORK = """
import sys
from parleyd.cli.terminal import working
try:
    with working("drawing the picture …", sys.stderr):
        input()
        if "fails" in sys.argv:
            raise SystemExit(3)
finally:
    print("done", file=sys.stderr)
"""
# The functions of scripts/setup that show where apt-get and pip are, without what it installs.
SETUP = (ROOT / "scripts" / "setup").read_text()
FUNCTIONS = SETUP[SETUP.index("width=80") : SETUP.index("command -v apt-get")]
# A line that is longer than any terminal, with what would move its cursor.
LINE = "Collecting \x1b[2Jnumpy " + "from the lists " * 20
INSTALL = f"""
set -euo pipefail
{FUNCTIONS}
installs() {{ printf '%s\\n' "$long_line" short; read -r _ <"$go"; printf '%s\\n' last; return "$ends"; }}
say "$about" | cat
if watched "$log" installs; then echo done; else echo failed; fi
"""


def rows(child: pexpect.spawn[str], until: str, screen: pyte.Screen) -> list[str]:
    child.expect(until)
    pyte.Stream(screen).feed(f"{child.before}{child.after}")
    return [row.rstrip() for row in screen.display if row.strip()]


@pytest.mark.parametrize("ends", ["well", "fails"])
def test_a_command_shows_what_it_does_and_removes_it(ends: str) -> None:
    screen = pyte.Screen(40, 10)
    environment = dict(os.environ)
    child = pexpect.spawn(
        sys.executable,
        ["-c", WORK, ends],
        dimensions=(10, 40),
        encoding="utf-8",
        timeout=30,
        env=environment,
        echo=False,
    )
    assert rows(child, "…", screen) == ["drawing the picture …"]
    child.sendline("")
    assert rows(child, "done", screen) == ["done"]
    child.close()


def test_into_a_pipe_a_command_shows_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], input="\n", capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "done\n")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(("ends", "said"), [("0", "done"), ("1", "failed")])
def test_the_setup_of_a_checkout_shows_one_line_and_removes_it(
    width: int, ends: str, said: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    about = "installing Python packages into .venv (once; a minute or two, 100 MB)"
    values = {"long_line": LINE, "log": str(tmp_path / "log"), "go": str(tmp_path / "go"), "ends": ends, "about": about}
    screen = pyte.Screen(width, 10)
    child = pexpect.spawn(
        "bash", ["-c", INSTALL], dimensions=(10, width), encoding="utf-8", timeout=30, env=os.environ | values
    )
    before = rows(child, "short", screen)
    assert before[-1] == "  short", "the long line before it has left nothing"
    assert " ".join(" ".join(before[:-1]).split()) == f"setup: {about}"
    (tmp_path / "go").write_text("\n")
    assert rows(child, said, screen) == [*before[:-1], said]
    child.close()
    assert (tmp_path / "log").read_text() == f"{LINE}\nshort\nlast\n"


def test_into_a_pipe_the_setup_of_a_checkout_shows_no_line(tmp_path: Path) -> None:
    values = {"long_line": LINE, "log": str(tmp_path / "log"), "go": "/dev/null", "ends": "0", "about": "installing"}
    script = INSTALL.replace('read -r _ <"$go"', "true")
    done = subprocess.run(["bash", "-c", script], env=os.environ | values, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", "setup: installing\n")
