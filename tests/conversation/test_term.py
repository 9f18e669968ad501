"""When a session that is too old or too dear ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parleyd.conversation.supervisor.limits import GRACE_S, verdict
from parleyd.core.states import Trigger


@given(st.floats(0, 2000), st.floats(0, 2000), st.booleans())
def test_only_a_budget_cuts_a_turn_and_that_late(age_s: float, spent_s: float, between_turns: bool) -> None:
    now_s = 10_000.0
    for spent_since_s in (None, now_s - spent_s):
        trigger = verdict(
            now_s,
            live_since_s=now_s - age_s,
            max_s=540,
            spent_since_s=spent_since_s,
            between_turns=between_turns,
        )
        if spent_since_s is not None and (between_turns or spent_s >= GRACE_S):
            assert trigger is Trigger.SPENT
        else:
            assert (trigger is Trigger.OLD) is (between_turns and age_s >= 540)
