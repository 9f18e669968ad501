"""The results of one run of the doctor that later checks need."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.config.schema import Config
    from parleyd.doctor.service import Unit
    from parleyd.doctor.sound_access import Holder


@dataclass
class Examination:
    """config: None until a valid configuration was read. key: None if there is none, or if it cannot be read here.

    holders: programs that have sound devices open. sound_opens: both configured devices could be opened.
    """

    config_path: Path | None = None
    config: Config | None = None
    units: list[Unit] = field(default_factory=list)
    key: str | None = None
    holders: list[Holder] = field(default_factory=list)
    sound_opens: bool = False

    def configured(self) -> Config:
        """The configuration; the defaults if there is no valid one, so that sound can be checked anyway."""
        if self.config is not None:
            return self.config
        from parleyd.config.schema import Config

        return Config()


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def our_name() -> str:
    return user_name(os.geteuid())
