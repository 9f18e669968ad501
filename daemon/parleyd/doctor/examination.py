"""What one run of the doctor knows so far: earlier checks leave here what later ones need."""

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
    """config: None until a usable one was read. key: None where there is none, or it cannot be had from here.

    holders: programs that have sound devices open. sound_opens: the configured devices were opened, both of them.
    """

    config_path: Path | None = None
    config: Config | None = None
    units: list[Unit] = field(default_factory=list)
    key: str | None = None
    holders: list[Holder] = field(default_factory=list)
    sound_opens: bool = False

    def configured(self) -> Config:
        """The defaults where no usable one was read: whether sound works can be seen all the same."""
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
