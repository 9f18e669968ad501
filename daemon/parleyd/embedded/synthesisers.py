"""The programs that speak on this machine. Loads little, for who only asks whether there is one."""

from __future__ import annotations

import shutil


def is_one_installed() -> bool:
    return shutil.which("flite") is not None or shutil.which("espeak-ng") is not None
