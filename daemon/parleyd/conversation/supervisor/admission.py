"""Whether there may be a session, from the supervisor's side: budgets, quiet hours, and the longest duration."""

from __future__ import annotations

import logging

from parleyd.conversation.supervisor import limits
from parleyd.conversation.supervisor.inbox import Wake
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.core.states import State, Trigger
from parleyd.usage.allowance import ByDevice
from parleyd.usage.warden import LOOK_S, Warden

log = logging.getLogger(__name__)


class Admission:
    """For the supervisor's thread. always: the mode of that name. max_s: of a session."""

    def __init__(self, warden: Warden, bus: events.Bus, *, always: bool, max_s: float) -> None:
        self._warden = warden
        self._bus = bus
        self._always = always
        self._max_s = max_s
        # The mode `always` waits for the end of quiet hours, or for a new day's budget.
        self._waits = False
        self._anyway = False
        self._spent_since_s: float | None = None
        self._by_device = ByDevice()

    def reconfigure(self, *, always: bool, max_s: float) -> None:
        self._always = always
        self._max_s = max_s
        self._waits = self._waits and always

    @property
    def held_open(self) -> bool:
        """The mode `always`, but for the quiet hours."""
        return self._always and self._warden.refusal(of_its_own=True) is None

    def refuses(self, wake: Wake, state: State, now_s: float) -> bool:
        """Whether there may be no session now; if so, says so."""
        # What was begun may go on: a lost line is taken up again in quiet hours too.
        begins = state is State.ASLEEP or (state is State.BACKING_OFF and not wake.of_its_own)
        refusal = None if wake.anyway or not begins else self._warden.refusal(of_its_own=wake.of_its_own)
        opens = wake.by_device and state is State.ASLEEP
        if refusal is None and opens:
            refusal = self._by_device.refusal(now_s)
        if refusal is None:
            if opens:
                self._by_device.opens(now_s)
            self._anyway |= wake.anyway
            return False
        self._waits |= wake.standing
        self._warden.refuse(refusal, of_its_own=wake.of_its_own)
        return True

    def fell_asleep(self, trigger: Trigger, *, resumes: bool = True) -> None:
        """resumes: what has ended was not just opened for a timer, while the daemon had been sent to sleep."""
        self._anyway = False
        self._spent_since_s = None
        self._waits = resumes and self._always and trigger in (Trigger.IDLE, Trigger.SPENT)

    def may_resume(self) -> bool:
        """What the mode `always` waited for has come; tells it once."""
        if not self._waits or self._warden.refusal(of_its_own=True) is not None:
            return False
        self._waits = False
        return True

    def next_look_s(self, now_s: float, state: State, live_since_s: float) -> float:
        """When due() or may_resume() may have another answer; may be infinite."""
        due_s = [now_s + LOOK_S] if self._waits or (self._always and state is State.LIVE) else [float("inf")]
        if state is State.LIVE:
            due_s.append(live_since_s + self._max_s)
        if state is not State.ASLEEP and not self._anyway:
            due_s.append(self._warden.next_look_s(now_s))
        return min(due_s)

    def due(
        self, now_s: float, state: State, live_since_s: float, *, between_turns: bool
    ) -> tuple[Trigger, str] | None:
        """What is to be done about a session that costs too much or is too old, and why."""
        if state is State.ASLEEP:
            return None
        spent = None if self._anyway else self._warden.watch()
        if spent is None:
            self._spent_since_s = None
        elif self._spent_since_s is None:
            self._spent_since_s = now_s
            log.warning("%s; %s", spent.text, spent.hint, extra=fields(reason=spent.text, hint=spent.hint))
            self._bus.publish(events.BudgetSpent(at_s=now_s, reason=spent.text, hint=spent.hint))
        live = state is State.LIVE
        trigger = limits.verdict(
            now_s,
            live_since_s=live_since_s if live else float("inf"),
            max_s=self._max_s,
            spent_since_s=self._spent_since_s,
            between_turns=between_turns or not live,
        )
        if trigger is None:
            return None
        old = f"a session of {now_s - live_since_s:.0f} s is exchanged for a new one"
        return trigger, spent.text if spent and trigger is Trigger.SPENT else old
