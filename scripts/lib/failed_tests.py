"""Prints the tests that failed in the last run of pytest, one a line, as pytest's own cache has them."""

from __future__ import annotations

import json
from pathlib import Path

LAST_FAILED = Path(__file__).resolve().parents[2] / ".pytest_cache/v/cache/lastfailed"


def main() -> None:
    if LAST_FAILED.exists():
        for test in json.loads(LAST_FAILED.read_text()):
            print(test)


if __name__ == "__main__":
    main()
