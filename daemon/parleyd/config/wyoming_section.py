"""The keys under `wyoming:`, for `parleyd wyoming`. schema.py explains the conventions, docs/announce.md explains the
section."""

from typing import Annotated

from msgspec import Meta, field

from parleyd.config.base import Section


class Wyoming(Section, frozen=True):
    """Announcements from Home Assistant, by its Wyoming integration, for `parleyd wyoming`; it needs one more package:
    docs/announce.md."""

    allow: Annotated[
        list[Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]+(/\d{1,3})?$(?!\s)")]],
        Meta(
            max_length=16,
            description="the addresses that may connect: Home Assistant's; the protocol knows no password; none: "
            "`parleyd wyoming` does not run",
            extra={"expected": "an address or a network, such as 192.168.1.10 or 192.168.1.0/24"},
        ),
    ] = field(default_factory=list)
    host: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]+$(?!\s)")] | None,
        Meta(
            extra={"expected": "an address of this machine, such as 192.168.1.20"},
            description="the address of this machine at which it listens; null: all of them",
        ),
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535, description="the port at which it listens")] = 10700
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=60)] | None,
        Meta(description="its name in Home Assistant; null: parleyd and the name of the machine"),
    ] = None
    area: Annotated[
        Annotated[str, Meta(min_length=1, max_length=60)] | None,
        Meta(description="the room that Home Assistant proposes; null: none"),
    ] = None
    max_s: Annotated[float, Meta(ge=1, le=120, description="the longest sound; a longer one is refused")] = 60.0
    per_minute: Annotated[int, Meta(ge=1, le=60, description="announcements within a minute; more are refused")] = 10
