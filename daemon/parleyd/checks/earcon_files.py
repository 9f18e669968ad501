"""Checks whether the WAV files of the section `earcons` can be used, and whether spoken earcons can be made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Earcons
from parleyd.core.errors import UserError


def check(section: Earcons, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """Like rules.check."""
    for name, choice in msgspec.structs.asdict(section).items():
        key = f"earcons.{name}"
        if not isinstance(choice, str) or choice in ("on", "off") or not is_settled(key):
            continue
        if choice == "spoken":
            if not any(map(shutil.which, ("flite", "espeak-ng"))):
                yield KeyProblem(key, "no speech synthesiser is installed", "apt install flite (or espeak-ng)")
            continue
        # Imported here because reading sound needs numpy, which is slow to load.
        from parleyd.audio.earcons.sounds import from_file

        try:
            from_file(Path(choice))
        except UserError as error:
            yield KeyProblem(key, str(error), error.hint or "")
