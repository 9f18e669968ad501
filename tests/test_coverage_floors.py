"""The floors of scripts/coverage."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "lib" / "coverage_floors.py"
REPORT = {
    "daemon/parleyd/mqtt/bridge.py": (100, 90),
    "daemon/parleyd/mqtt/patience.py": (100, 10),
    "daemon/parleyd/usage/ledger.py": (50, 50),
    "daemon/parleyd/__main__.py": (3, 3),
}


@pytest.fixture
def floors(tmp_path: Path) -> tuple[dict[str, Any], Path, Path]:
    """→ (the functions of the script, its file of floors, a report of coverage)."""
    script = runpy.run_path(str(SCRIPT))
    kept, report = tmp_path / "floors.json", tmp_path / "report.json"
    script["main"].__globals__["FLOORS"] = kept
    modules = ["mqtt/patience.py", "usage/ledger.py"]
    kept.write_text(json.dumps({"packages": {}, "decisions": {"modules": modules, "tests": []}}))
    files = {name: {"summary": {"num_statements": all_, "covered_lines": run}} for name, (all_, run) in REPORT.items()}
    report.write_text(json.dumps({"files": files}))
    return script, kept, report


def test_a_floor_is_a_percent_below_what_is_reached_without_what_decides(
    floors: tuple[dict[str, Any], Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    script, kept, report = floors
    assert script["main"]("raise", str(report)) == 0
    assert json.loads(kept.read_text())["packages"] == {"(top)": 99, "mqtt": 89}
    assert script["main"]("hold", str(report)) == 0
    report.write_text(report.read_text().replace('"covered_lines": 90', '"covered_lines": 88'))
    capsys.readouterr()
    assert script["main"]("hold", str(report)) == 1
    assert "mqtt            88 %  BELOW its floor of 89 %" in capsys.readouterr().out
    assert script["main"]("show", str(report)) == 0


def test_the_floor_of_a_package_that_is_gone_is_told(
    floors: tuple[dict[str, Any], Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    script, kept, report = floors
    script["main"]("raise", str(report))
    kept.write_text(kept.read_text().replace('"mqtt"', '"mqtt_of_old"'))
    assert script["main"]("hold", str(report)) == 1
    assert "packages that are gone: mqtt_of_old" in capsys.readouterr().out


def test_a_package_without_a_floor_is_told(
    floors: tuple[dict[str, Any], Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    script, kept, report = floors
    script["main"]("raise", str(report))
    report.write_text(report.read_text().replace("mqtt/bridge", "wyoming/server"))
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"packages": {"(top)": 99}}))
    capsys.readouterr()
    assert script["main"]("hold", str(report)) == 1
    assert "wyoming         90 %  has no floor" in capsys.readouterr().out
    assert script["main"]("show", str(report)) == 0


def test_every_package_has_a_floor() -> None:
    held = json.loads((ROOT / "tests" / "coverage_floors.json").read_text())["packages"]
    packages = {path.parent.name for path in (ROOT / "daemon" / "parleyd").glob("*/__init__.py")}
    assert held.keys() == packages | {"(top)"}


def test_the_modules_and_the_tests_of_the_list_exist() -> None:
    decisions = json.loads((ROOT / "tests" / "coverage_floors.json").read_text())["decisions"]
    assert [one for one in decisions["modules"] if not (ROOT / "daemon" / "parleyd" / one).is_file()] == []
    assert [one for one in decisions["tests"] if not (ROOT / one).is_file()] == []
