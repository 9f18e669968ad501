"""What goes into the image of packaging/replicas: without an engine, by the COPY lines and the .dockerignore."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = "packaging/replicas/Dockerfile"
BUILT_FROM = ["LICENSE", "README.md", "pyproject.toml", "setup.cfg"]


def taken(context: Path, *more: Path) -> list[str]:
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts/lib/docker_context.py",
        context,
        context / DOCKERFILE,
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return sorted(done.stdout.splitlines())


def test_the_image_gets_the_package_and_nothing_else_of_a_checkout(tmp_path: Path) -> None:
    context, image = tmp_path / "checkout", tmp_path / "image"
    wanted = [*BUILT_FROM, "daemon/parleyd/cli/main.py", "daemon/parleyd/py.typed"]
    unwanted = [
        "key",
        "config/parleyd.yaml",
        ".git/config",
        ".venv/bin/python",
        ".coverage.host.1",
        "tests/README.md",
        "daemon/parleyd/__pycache__/a.cpython-311.pyc",
        "daemon/parleyd/cli/__pycache__/main.cpython-311.pyc",
        "daemon/parleyd.egg-info/PKG-INFO",
    ]
    for name in (*wanted, *unwanted):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("")
    (context / DOCKERFILE).parent.mkdir(parents=True)
    for name in (DOCKERFILE, ".dockerignore"):
        shutil.copy(ROOT / name, context / name)
    assert taken(context, image) == sorted(wanted)
    there = [path.relative_to(image / "src").as_posix() for path in image.rglob("*") if path.is_file()]
    assert sorted(there) == sorted(wanted)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_image_gets_every_file_of_the_package() -> None:
    listed = ["git", "ls-files", "-z", "daemon", *BUILT_FROM]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    names = {name for name in tracked.split("\0") if name and (ROOT / name).exists()}
    assert names <= set(taken(ROOT))
