"""coverage_floors.py hold|raise|show REPORT: compares a JSON report of coverage with the floors beside the tests."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

FLOORS = Path(__file__).parents[2] / "tests" / "coverage_floors.json"


def main(mode: str, report: Path) -> int:
    lines: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for name, file in json.loads(report.read_text())["files"].items():
        inside = PurePosixPath(name.partition("daemon/parleyd/")[2])
        package = inside.parts[0] if len(inside.parts) > 1 else "(top)"
        lines[package] += file["summary"]["num_statements"]
        run[package] += file["summary"]["covered_lines"]
    # Rounded down, so that what is reached is held, and not what was nearly reached.
    reached = {one: 100 * run[one] // lines[one] for one in sorted(lines) if lines[one]}
    if mode == "raise":
        FLOORS.write_text(json.dumps(reached, indent=2) + "\n")
    floors = json.loads(FLOORS.read_text()) if FLOORS.exists() and mode == "hold" else {}
    for one, percent in reached.items():
        print(
            f"{one:14} {percent:3} %"
            + (f"  BELOW its floor of {floors[one]} %" if percent < floors.get(one, 0) else "")
        )
    return int(any(percent < floors.get(one, 0) for one, percent in reached.items()))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
