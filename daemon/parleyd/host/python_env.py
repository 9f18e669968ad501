"""The Python interpreter of this process: how to start another one, and how to install packages for it."""

from __future__ import annotations

import importlib.util
import os
import sys


def command() -> list[str]:
    """The command of a child process, up to the module. The working directory is not searched for modules, because
    under sudo it may belong to another user."""
    return [sys.executable, "-I" if sys.flags.isolated else "-P"]


# The Python of the Debian package, which can also import Debian's packages.
DEBIAN_PREFIX = "/usr/lib/parleyd"
# Packages that Debian itself provides on all supported releases.
_OF_DEBIAN = {"matplotlib": "python3-matplotlib"}


def install(*packages: str) -> str:
    """The command with which a user installs them. A plain `pip install` would use another Python, or is refused (PEP
    668)."""
    if sys.prefix == DEBIAN_PREFIX and all(package in _OF_DEBIAN for package in packages):
        return f"sudo apt install {' '.join(_OF_DEBIAN[package] for package in packages)}"
    sudo = "" if os.access(sys.prefix, os.W_OK) else "sudo "
    # The Debian package's environment has no pip of its own.
    first = "" if importlib.util.find_spec("pip") else "sudo apt-get install python3-pip; "
    return f"{first}{sudo}{sys.executable} -m pip install {' '.join(packages)}"
