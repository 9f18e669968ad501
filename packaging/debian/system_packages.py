"""Prints, as a substvar, on which Debian packages the installed parleyd rests: its Python, and what pip found there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

# For pictures alone.
SUGGESTED = {"matplotlib"}


def main() -> None:
    major, minor = sys.version_info[:2]
    packages = {f"python3 (>= {major}.{minor}~)", f"python3 (<< {major}.{minor + 1}~)"}
    waiting, seen = ["parleyd"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name in SUGGESTED:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            # Of another extra, another platform, another Python; pip has seen to the rest.
            continue
        if not str(found.locate_file("")).startswith(sys.prefix):
            packages.add(owner(found))
            continue
        waiting += [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in found.requires or ()]
    print("python3:Depends=" + ", ".join(sorted(packages)))


def owner(found: Distribution) -> str:
    """The Debian package to which it belongs."""
    path = getattr(found, "_path")  # noqa: B009 - there is no public way to ask
    return subprocess.run(
        ["dpkg-query", "--search", f"{path}*"], check=True, capture_output=True, text=True
    ).stdout.split(":")[0]


main()
