"""What coverage has to reach: tests/coverage_floors.json holds a floor in percent of lines for each package, and under
"decisions" the modules that are covered wholly, with the tests that do so.

The modules that decide do not count for their package, in which they would hide what the rest of it lacks.

coverage_floors.py tests                                 the tests of what decides, one a line
coverage_floors.py hold|raise|show|decisions REPORT      compares a JSON report of coverage
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

FLOORS = Path(__file__).parents[2] / "tests" / "coverage_floors.json"


# Which lines run depends a little on the machine: a thread that comes a moment later takes another way.
MARGIN_PERCENT = 1


def by_package(files: dict[str, Any], decided: set[str]) -> dict[str, int]:
    """→ the percent of lines for each package, rounded down. decided: modules that are left out."""
    lines: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for name, file in files.items():
        if name in decided:
            continue
        inside = PurePosixPath(name)
        package = inside.parts[0] if len(inside.parts) > 1 else "(top)"
        lines[package] += file["summary"]["num_statements"]
        run[package] += file["summary"]["covered_lines"]
    return {one: 100 * run[one] // lines[one] for one in sorted(lines) if lines[one]}


def is_held(reached: dict[str, int], floors: dict[str, int]) -> bool:
    """Prints what each package reaches. → whether each has a floor, and is not below it."""
    for one, percent in reached.items():
        if one not in floors:
            print(f"{one:14} {percent:3} %  has no floor; scripts/coverage --raise gives it one")
        else:
            print(f"{one:14} {percent:3} %" + (f"  BELOW its floor of {floors[one]} %" * (percent < floors[one])))
    gone = sorted(floors.keys() - reached.keys())
    if gone:
        print(f"there are floors of packages that are gone: {', '.join(gone)}; scripts/coverage --raise removes them")
    return not gone and all(one in floors and percent >= floors[one] for one, percent in reached.items())


def decisions(files: dict[str, Any], modules: list[str]) -> bool:
    """Whether every line and branch of the modules is run."""
    is_whole = True
    for name in modules:
        file = files.get(name, {"missing_lines": ["all of it"], "missing_branches": []})
        missing = [*file["missing_lines"], *(f"{start} to {end}" for start, end in file["missing_branches"])]
        if missing:
            is_whole = False
            print(f"daemon/parleyd/{name}: its own tests do not run the lines {', '.join(map(str, missing))}")
    print(f"{len(modules)} modules that decide: " + ("every line and branch is run" if is_whole else "see above"))
    return is_whole


def main(mode: str, *report: str) -> int:
    kept = json.loads(FLOORS.read_text())
    if mode == "tests":
        print("\n".join(kept["decisions"]["tests"]))
        return 0
    found = json.loads(Path(report[0]).read_text())["files"]
    files = {name.partition("daemon/parleyd/")[2]: file for name, file in found.items()}
    if mode == "decisions":
        return int(not decisions(files, kept["decisions"]["modules"]))
    reached = by_package(files, set(kept["decisions"]["modules"]))
    if mode == "raise":
        floors = {one: max(0, percent - MARGIN_PERCENT) for one, percent in reached.items()}
        FLOORS.write_text(json.dumps(kept | {"packages": floors}, indent=2) + "\n")
        return int(not is_held(reached, floors))
    if mode == "hold":
        return int(not is_held(reached, kept["packages"]))
    for one, percent in reached.items():
        print(f"{one:14} {percent:3} %")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
