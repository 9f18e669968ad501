"""The Python that runs this: how to start another one like it, and how to bring packages to it."""

from __future__ import annotations

import importlib.util
import os
import sys


def command() -> list[str]:
    """For a child process, up to the module. Never with modules out of the working directory: under sudo that may be
    somebody else's."""
    return [sys.executable, "-I" if sys.flags.isolated else "-P"]


# Where the Debian package has its Python, which sees Debian's packages as well.
DEBIAN_PREFIX = "/usr/lib/parleyd"
# What Debian has for it, on all releases that parleyd runs on.
_OF_DEBIAN = {"matplotlib": "python3-matplotlib"}


def install(*packages: str) -> str:
    """What a user types to have them. A plain `pip install` goes to another Python, or is refused there (PEP 668)."""
    if sys.prefix == DEBIAN_PREFIX and all(package in _OF_DEBIAN for package in packages):
        return f"sudo apt install {' '.join(_OF_DEBIAN[package] for package in packages)}"
    sudo = "" if os.access(sys.prefix, os.W_OK) else "sudo "
    # The Debian package's environment has none of its own.
    first = "" if importlib.util.find_spec("pip") else "sudo apt-get install python3-pip; "
    return f"{first}{sudo}{sys.executable} -m pip install {' '.join(packages)}"
