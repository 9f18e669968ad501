"""A daemon one of whose threads stops dead in the middle of its work, once the file `armed` is there.

    python stalling.py PART MODULE:NAME ARGUMENTS...

NAME: of the function in which the thread stops. PART: as in health.NORMS; its limit becomes a second.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from pathlib import Path

import msgspec

from parleyd.app import prometheus
from parleyd.cli.main import main
from parleyd.core import health


def stop_dead_in(target: str) -> None:
    module, _, name = target.partition(":")
    *owners, attribute = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    real = getattr(owner, attribute)

    def stop_dead(*arguments: object, **named: object) -> object:
        if Path("armed").exists():
            threading.Event().wait()
        return real(*arguments, **named)

    setattr(owner, attribute, stop_dead)


if __name__ == "__main__":
    part, target, *arguments = sys.argv[1:]
    stop_dead_in(target)
    health.NORMS[part] = msgspec.structs.replace(health.NORMS[part], limit_s=1.0)
    prometheus.EVERY_S = 0.1
    sys.exit(main(arguments))
