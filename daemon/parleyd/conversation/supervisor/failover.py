"""Failover: whether the next session is with the agent, or with the fallback while the agent is away. Pure.

The news of sessions come in (connects, opened, ended, sleeps), the outcome of probes (probed) and the passing of time
(look); out come the choice for the next session (choose), and commands: start and stop the fallback's process, probe
the agent, tell that the fallback answers, and that it is over. Nothing here knows what was said: the uplink keeps the
speech that no agent has acknowledged, and the next session begins with it, whoever that session is with. So a sentence
in whose middle the line died reaches the fallback whole, and nothing is sent twice that was answered.

**The agent is away** when

* a session ends for a reason that does not pass by itself (no credit, no quota, a wrong key): at once;
* it cannot be reached, or its sessions break, FAILURES times in a row: a single loss is tried again with it first;
* a line has been wanted for after_s, and there is none: a name that is not found, a server that does not answer.

Besides, the fallback answers while a budget is spent: what it says costs nothing.

**The agent is tried again**, after FIRST_S, then at intervals that double up to MOST_S (LASTING_S where the reason does
not pass by itself): in a session with the fallback by a probe that costs nothing, and when that succeeds by a session
in the next pause between turns; asleep by the next wake. A probe may be wrong, since servers and what stands before
them differ: when the agent was not tried by a session for BELIEVED_S, it is, whatever the probes say. One failure of
such a trial is enough to have the fallback back. A session that has held for STABLE_S ends all that.

**The fallback fails**, too: it is tried again at once, then the agent has its turn as if there were no fallback, and
the fallback is left alone for a time that doubles up to REST_MOST_S. It is told once. Only a session that has held for
STABLE_S ends that: speech in which its sessions break would otherwise be put to it again without a pause.

**Its process** is started with the first failure, so that it is there when it is needed, and stopped KEEP_S after it
was used last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.supervisor.commands import Probe, StartFallback, StopFallback
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.log_fields import NOTICE, Fields

# The number of failures in a row, with no session between them that has held, after which the agent is away.
FAILURES = 2
# A session that lived this long was a good one.
STABLE_S = 10.0
# The intervals after which the agent is tried again: the first, the longest, and that of a reason which does not pass.
FIRST_S, MOST_S, LASTING_S = 5.0, 60.0, 600.0
# How long probes without success are believed, in a session with the fallback.
BELIEVED_S = 600.0
# The fallback's process ends when it was not used for so long.
KEEP_S = 60.0
# How long a fallback that failed twice in a row is left alone, at first and at most.
REST_FIRST_S, REST_MOST_S = 5.0, 60.0
# A pause between turns is looked for this often; and the end of a spent budget, which may be hours away.
PAUSE_LOOK_S, SPENT_LOOK_S = 0.25, 2.0

HINT_FALLBACK = "`parleyd check` names what the fallback needs"
_NEVER_S = float("inf")

Commands = Iterator[StartFallback | StopFallback | Probe | Publish | Log]


class Failover:
    """One owner; times are monotonic, in order. Without is_configured it always chooses the agent, and says nothing.

    answers: the fallback answers, or would answer, in place of the agent. in_fallback: the session that is open or
    being opened is with the fallback.
    """

    def __init__(self, *, is_configured: bool, after_s: float) -> None:
        self.is_configured = is_configured
        self._after_s = after_s
        self.answers = False
        self.in_fallback = False
        # From a connect until the session ends: with the agent or the fallback. And since when a line is wanted.
        self._is_connecting = self._is_live = False
        self._wanted_since_s: float | None = None
        self._live_since_s = 0.0
        # The agent. reason, hint: why it is away; None: it is not, as far as is known.
        self._failures = 0
        self._reason: str | None = None
        self._hint: str | None = None
        self._away_since_s = 0.0
        # When the last session with the agent failed.
        self._tried_s = 0.0
        self._is_lasting = False
        self._interval_s = FIRST_S
        self._again_s = _NEVER_S
        self._is_probed = False
        self._is_back = False
        # The fallback answers because of a budget; nothing is wrong with the agent.
        self._is_spent = False
        self._is_said = False
        # The fallback itself.
        self._fallback_failures = 0
        self._rests_until_s = 0.0
        self._is_failure_told = False
        self._used_s: float | None = None

    # ------------------------------------------------------------ which one

    def choose(self, now_s: float, *, is_spent: bool) -> bool:
        """Whether the session that is about to be opened is with the fallback. is_spent: no budget is left for the
        agent."""
        if not self.is_configured:
            return False
        if is_spent:
            return True
        if self._reason is None or now_s < self._rests_until_s:
            return False
        return not (self._is_back or now_s >= self._again_s)

    def connects(self, now_s: float, *, to_fallback: bool, is_spent: bool) -> Commands:
        """A session is being opened, as it was chosen."""
        if not self.is_configured:
            return
        self._look_at_fallback(now_s)
        self._is_connecting, self._is_live = True, False
        self.in_fallback = to_fallback
        self._is_spent = to_fallback and is_spent and self._reason is None
        if self._wanted_since_s is None or (not to_fallback and self._reason is not None):
            # A trial of the agent has its own time.
            self._wanted_since_s = now_s
        if to_fallback or self._reason is not None:
            yield from self._uses(now_s)
        if not to_fallback:
            # This is the trial, however it ends.
            self._is_back = False
            self._again_s = _NEVER_S

    # ------------------------------------------------------------ sessions

    def opened(self, now_s: float) -> Commands:
        """The session has begun."""
        if not self.is_configured:
            return
        self._is_connecting, self._is_live = False, True
        self._live_since_s = now_s
        self._wanted_since_s = None
        if not self.in_fallback:
            yield from self._over(now_s)
            return
        self._used_s = now_s
        if not self.answers:
            self.answers = True
            reason, hint = self._why()
            yield Log(NOTICE, f"the fallback answers: {reason}", {"reason": reason, "hint": hint})
            is_said, self._is_said = not self._is_said, True
            yield Publish(events.FallbackBegan(at_s=now_s, reason=reason, hint=hint, is_first=is_said))

    def ended(self, ending: Ending, now_s: float) -> Commands:
        """The session has ended by itself, or did not come about."""
        if not self.is_configured:
            return
        self._look_at_fallback(now_s)
        lived_s = now_s - self._live_since_s if self._is_live else 0.0
        was_live = self._is_live
        self._is_connecting = self._is_live = False
        if self.in_fallback:
            self._used_s = now_s
            yield from self._fallback_ended(ending, now_s, was_live=was_live)
            return
        if lived_s >= STABLE_S or (was_live and ending.kind is EndingKind.AGENT):
            self._holds()
        if ending.kind in (EndingKind.RETRY, EndingKind.FINAL) and not ending.greeting_refused:
            self._failures += 1
            if was_live:
                self._wanted_since_s = now_s
            is_lasting = ending.kind is EndingKind.FINAL
            # A trial that fails has failed.
            if is_lasting or self._failures >= FAILURES or self._reason is not None:
                self._goes_away(ending, now_s, is_lasting=is_lasting)
            yield from self._uses(now_s)
        elif self._reason is not None:
            # It was no trial yet.
            self._is_back = True

    def _fallback_ended(self, ending: Ending, now_s: float, *, was_live: bool) -> Commands:
        # One that hangs up before it has begun has failed, too; it would be asked again at once for ever.
        is_failure = ending.kind in (EndingKind.RETRY, EndingKind.FINAL) or not was_live
        if not is_failure or ending.greeting_refused:
            return
        self._fallback_failures += 1
        if self._fallback_failures >= FAILURES or ending.kind is EndingKind.FINAL:
            rest_s = min(REST_MOST_S, REST_FIRST_S * 2.0 ** min(self._fallback_failures - FAILURES, 10))
            self._rests_until_s = now_s + max(REST_FIRST_S, rest_s)
        if not self._is_failure_told:
            self._is_failure_told = True
            text = f"the fallback fails: {ending.reason}"
            hint = ending.hint or HINT_FALLBACK
            yield Log(logging.ERROR, f"{text}; {hint}", {"reason": ending.reason, "hint": hint})
            yield Publish(events.Trouble(at_s=now_s, text=text, hint=hint))

    def sleeps(self, now_s: float) -> None:
        """There is no session any more, and nobody wants one."""
        if self._is_in_use:
            self._used_s = now_s
        # It has come to a proper end.
        if self._is_live and self.in_fallback:
            self._fallback_holds()
        elif self._is_live:
            self._holds()
        if self._is_connecting and not self.in_fallback:
            # Somebody has broken the trial off.
            self._is_back = self._reason is not None
        self._is_connecting = self._is_live = self.in_fallback = False
        self._wanted_since_s = None

    def is_next_at_once(self, now_s: float) -> bool:
        """Whether the session that has just failed is followed by another one without delay, with the fallback."""
        return self._reason is not None and self.choose(now_s, is_spent=False)

    # ------------------------------------------------------------ time, and probes

    def probed(self, now_s: float, *, answers: bool) -> None:
        """The outcome of Probe."""
        self._is_probed = False
        if self._reason is None:
            return
        if answers:
            self._is_back = True
        else:
            self._later(now_s)

    def is_overdue(self, now_s: float) -> bool:
        """Whether the session with the agent that is being opened has taken too long, and is to be given up."""
        return now_s >= self._overdue_s

    @property
    def _overdue_s(self) -> float:
        since_s = self._wanted_since_s
        if not self.is_configured or self.in_fallback or not self._is_connecting or since_s is None:
            return _NEVER_S
        # With nobody to answer in its place the agent has the time of session.connect_timeout_s.
        return since_s + self._after_s if since_s >= self._rests_until_s else _NEVER_S

    def overdue(self) -> Ending:
        """The ending of that session, which is not tried again."""
        self._failures = FAILURES
        return Ending(EndingKind.RETRY, f"nothing answered within {self._after_s:g} s")

    def goes_back(self, *, is_pause: bool, is_spent: bool) -> bool:
        """Whether the session with the fallback is to be exchanged for one with the agent now."""
        if not (self._is_live and self.in_fallback and is_pause) or is_spent:
            return False
        return self._is_back or self._is_spent

    def look(self, now_s: float) -> Commands:
        """The consequences of the time that has passed."""
        if not self.is_configured:
            return
        if self._is_live and not self.in_fallback and now_s - self._live_since_s >= STABLE_S:
            self._holds()
        if self._is_live and self.in_fallback and now_s >= self._again_s and not self._is_back:
            if self._is_lasting or now_s >= self._tried_s + BELIEVED_S:
                # Nothing but a session shows that there is credit again, or that the key is right.
                self._is_back = True
            elif not self._is_probed:
                self._is_probed = True
                yield Probe()
        if now_s >= self._stop_s:
            self._used_s = None
            yield StopFallback()

    def next_look_s(self, now_s: float) -> float:
        """When look(), is_overdue() or goes_back() may have something else to say; infinite: not before other news."""
        due_s = [self._overdue_s, self._stop_s]
        if self._is_live and self.in_fallback:
            if self._is_back or self._is_spent:
                due_s.append(now_s + (SPENT_LOOK_S if self._is_spent else PAUSE_LOOK_S))
            else:
                # A probe that is under way tells its outcome by itself; if it never does, it is not waited for.
                due_s.append(max(self._again_s, self._tried_s + BELIEVED_S) if self._is_probed else self._again_s)
        if self._is_live and not self.in_fallback and self._failures:
            due_s.append(self._live_since_s + STABLE_S)
        return min(due_s)

    @property
    def _stop_s(self) -> float:
        return _NEVER_S if self._used_s is None or self._is_in_use else self._used_s + KEEP_S

    @property
    def _is_in_use(self) -> bool:
        return self.in_fallback and (self._is_connecting or self._is_live)

    def reconfigure(self, after_s: float) -> None:
        """The configuration was read again: what kept the agent away may be mended."""
        self._after_s = after_s
        self._rests_until_s = 0.0
        if self._reason is not None:
            self._is_back = True

    # ------------------------------------------------------------ inside

    def _uses(self, now_s: float) -> Commands:
        is_new, self._used_s = self._used_s is None, now_s
        if is_new:
            yield StartFallback()

    def _goes_away(self, ending: Ending, now_s: float, *, is_lasting: bool) -> None:
        if self._reason is None:
            self._away_since_s = now_s
        self._reason, self._hint, self._is_lasting = ending.reason, ending.hint, is_lasting
        self._is_back = False
        self._tried_s = now_s
        self._later(now_s)

    def _later(self, now_s: float) -> None:
        self._again_s = now_s + (LASTING_S if self._is_lasting else self._interval_s)
        self._interval_s = min(MOST_S, 2 * self._interval_s)

    def _why(self) -> tuple[str, str | None]:
        return (self._reason, self._hint) if self._reason is not None else ("the budget is spent", None)

    def _over(self, now_s: float) -> Commands:
        """There is a session with the agent."""
        if self.answers:
            away_s = round(now_s - self._away_since_s, 1) if self._reason is not None else 0.0
            more: Fields = {"away_s": away_s}
            yield Log(NOTICE, "the agent answers again", more)
            yield Publish(events.FallbackOver(at_s=now_s))
        self.answers = False
        self._reason = self._hint = None

    def _look_at_fallback(self, now_s: float) -> None:
        if self._is_live and self.in_fallback and now_s - self._live_since_s >= STABLE_S:
            self._fallback_holds()

    def _fallback_holds(self) -> None:
        """The session with the fallback was a good one."""
        self._fallback_failures = 0
        self._is_failure_told = False

    def _holds(self) -> None:
        """The session with the agent is a good one."""
        self._failures = 0
        self._interval_s = FIRST_S
        self._is_said = False
