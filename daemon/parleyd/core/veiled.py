"""Structs that leave fields out of their text: sound, pictures, and what nobody may read in a log.

A dataclass can do that, too, but making its class takes forty times as long, at each start of the daemon.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Veiled(Struct, frozen=True):
    """hidden: the names of the fields that repr() and str() leave out. They count in comparisons."""

    hidden: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__qualname__}({', '.join(shown)})"
