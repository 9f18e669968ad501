"""How long a live session may go on: the provider's bound on its age, and the user's budget. Pure."""

from __future__ import annotations

from parleyd.core.states import Trigger

# A session whose budget is spent ends in the next pause, and after this in any case.
GRACE_S = 60.0


def verdict(
    now_s: float, *, live_since_s: float, max_s: float, spent_since_s: float | None, between_turns: bool
) -> Trigger | None:
    """spent_since_s: since when the budget is spent; None while it is not. A session is never cut for its age alone."""
    if spent_since_s is not None and (between_turns or now_s - spent_since_s >= GRACE_S):
        return Trigger.SPENT
    if between_turns and now_s - live_since_s >= max_s:
        return Trigger.OLD
    return None
