"""Runs one call of a Python tool in a process of its own: python -m parleyd.tools.python_function ENTRY_POINT

The parameters come as JSON on standard input; the function gets them as keywords. Its result goes to standard output:
text as it is, nothing for None, other values as JSON. Its own output, and that of programs that it runs, goes to
standard error and does not disturb the result.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points

from parleyd.tools import ENTRY_POINT_GROUP


def main(name: str) -> int:
    found = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if len(found) != 1:
        what = "several installed packages have" if found else "no installed package has"
        print(f"{what} the entry point {name} in the group {ENTRY_POINT_GROUP}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    parameters = json.load(sys.stdin)
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        result = found[0].load()(**parameters)
        text = result if isinstance(result, str) else "" if result is None else json.dumps(result, ensure_ascii=False)
    except Exception as error:  # noqa: BLE001 - a stranger's code; its last line goes to the agent
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    with os.fdopen(output, "w", encoding="utf-8", errors="replace") as answer:
        answer.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
