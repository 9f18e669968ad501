"""Decides which profile is in force. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from parleyd.config.profile_sections import AUTO, NONE, Profile
from parleyd.usage.quiet_hours import covers


def profile_at(profiles: Mapping[str, Profile], chosen: str, local: datetime | None) -> str | None:
    """The profile for this time; None: no profile. If the hours of several profiles overlap, the first one.

    chosen: by a person; AUTO, NONE, or a name. local: the local time; None if the clock is not set yet.
    """
    if chosen != AUTO:
        return chosen if chosen != NONE and chosen in profiles else None
    if local is None:
        return None
    fitting = (name for name, one in profiles.items() if any(covers(hours, local) for hours in one.schedule))
    return next(fitting, None)
