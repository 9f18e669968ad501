"""SECURITY.md: every row names what shows it, and all that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "SECURITY.md"
# The functions of scripts whose checks count.
CHECKS = {
    "scripts/test-service": ROOT / "scripts/lib/service-checks",
    "scripts/test-repository": ROOT / "scripts/lib/repository-checks",
}
FLEET = ROOT / "tests/fleet/__main__.py"
ACTORS = (
    *("The agent", "The talker", "The MQTT broker", "Home Assistant's address", "Tools, hooks", "Members of the group"),
    *("A thief", "Supply chain", "The network"),
)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Rows by heading, without the heads of the tables."""
    found = {}
    for part in text.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        if lines:
            found[part.splitlines()[0]] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


def missing(cell: str) -> list[str]:
    """Of the names in a cell, those that do not exist."""
    gone = []
    for name in re.findall(r"`([^`]+)`", cell):
        script, _, check = name.partition(": ")
        if script == "scripts/test-fleet":
            exists = bool(check) and f'"{check}"' in FLEET.read_text()
        elif script in CHECKS:
            text = CHECKS[script].read_text() + (ROOT / script).read_text()
            # Defined, and run.
            exists = (
                f"\n{check}() {{" in text and re.search(rf"^(check|always) .* {check}$", text, re.MULTILINE) is not None
            )
        else:
            path, _, test = name.partition("::")
            file = ROOT / "tests" / path
            exists = file.is_file() and re.search(rf"^def {test}\(", file.read_text(), re.MULTILINE) is not None
        if not exists:
            gone.append(name)
    return gone


def test_each_actor_has_a_table() -> None:
    headings = list(tables(PAGE.read_text()))
    assert len(headings) == len(ACTORS)
    for actor, heading in zip(ACTORS, headings, strict=True):
        assert heading.startswith(actor)


@pytest.mark.parametrize("actor", ACTORS)
def test_each_row_names_what_shows_it_or_says_that_it_is_not_bounded(actor: str) -> None:
    (rows,) = (rows for heading, rows in tables(PAGE.read_text()).items() if heading.startswith(actor))
    open_rows = 0
    for can, bounded_by, shown_by in rows:
        assert can
        assert bounded_by
        if bounded_by.startswith("**not bounded**"):
            open_rows += 1
            assert shown_by == "", can
        else:
            assert re.findall(r"`([^`]+)`", shown_by), can
            assert missing(shown_by) == [], can
    assert open_rows == 1


def test_a_name_that_does_not_exist_is_found() -> None:
    assert missing("`test_security_page.py::test_each_actor_has_a_table`") == []
    assert missing("`test_security_page.py::test_no_such` `no/file.py::test_x`") == [
        "test_security_page.py::test_no_such",
        "no/file.py::test_x",
    ]
    assert missing("`scripts/test-service: hardened`") == []
    for script, check in (("service", "within"), ("repository", "publish"), ("fleet", "no such check")):
        name = f"scripts/test-{script}: {check}"
        assert missing(f"`{name}`") == [name]
