"""The keys under `profiles:`. schema.py explains the conventions, docs/profiles.md explains profiles."""

from typing import Annotated

from msgspec import Meta, field

from parleyd.config.base import Section
from parleyd.config.retention import QuietHours, TimeOfDay
from parleyd.config.secrets import masked

# Values of `parleyd profile` besides the names of profiles.
AUTO, NONE = "auto", "none"


class ProfileHours(QuietHours, frozen=True):
    """A period of the day in which a profile is in force."""

    from_: Annotated[TimeOfDay, Meta(description="the beginning, in local time")] = field(name="from")
    to: Annotated[TimeOfDay, Meta(description="the end, in local time; if it is before the beginning: on the next day")]


class Profile(Section, frozen=True):
    """Settings that are in force for a while: docs/profiles.md."""

    schedule: Annotated[
        list[ProfileHours],
        Meta(description="the periods in which it is in force; none: only by `parleyd profile NAME`"),
    ] = field(default_factory=list)
    settings: Annotated[
        dict[str, object],
        Meta(
            description="the keys that are different, as at the top of the file: those that can change without a "
            "restart",
            extra={"partial": True},
        ),
    ] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Profile({masked(self)})"
