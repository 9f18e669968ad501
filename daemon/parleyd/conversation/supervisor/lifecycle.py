"""The life of sessions: when one is opened, when it is tried again, when it is refused, and when and why it ends. Pure.

The question "why did it hang up now?" is answered here, and for idle, which is the usual reason, in
dialogue/idle.py. table.py says which states there are and what follows from a trigger; this decides on the triggers.

Messages come in through take(), the news of a session through opened() and ended(), the passing of time through look().
Each yields commands, which the supervisor carries out one by one: every command is carried out before the next decision
is made, for what it changes (a line that is closed, speech that was given up) may be asked about in the next one. All
else that has to be known of the daemon is asked from Facts at the moment of the decision.

**Why a live session ends**, in the order in which it is looked at:

* the line is lost, the agent hangs up or refuses (ended); somebody sends it to sleep (take);
* the agent ended the conversation (`end_conversation`), and its goodbye is through (_idle);
* nobody needs it: idle, a false wake, no person for too long (_idle, with the rules of idle.py);
* a budget is spent: in the next pause, after GRACE_S in any case (_too_dear_or_old);
* it is old, or the server will end it: it is exchanged for a new one, in a pause only (_too_dear_or_old);
* it is with the fallback, and the agent is back: it is exchanged, too, in a pause (_agent_is_back).

**When a session is refused**: where one would begin, by budgets and quiet hours, and when the device has opened too
many of its own accord (_refuses). A conversation that has begun may go on: a lost line is taken up again in quiet hours
too.

**When it is tried again**: at once, then with growing delays (Backoff), until what was said is too old to be answered
(_too_old_to_say).

**With whom**: with the agent, or with the fallback while the agent is away; failover.py decides.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from typing import Literal

from parleyd.agents.events import Ready
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.dialogue.idle import Patience
from parleyd.conversation.supervisor.commands import (
    Abandon,
    Command,
    Commands,
    Conclude,
    Connect,
    Facts,
    ForgetSpeech,
    GiveUpSpeech,
    GiveUpTyped,
    HangUp,
    LineEnded,
    PersonWakes,
    Refuse,
    Sleep,
    Wake,
    WakeAgain,
    WokenForNothing,
)
from parleyd.conversation.supervisor.failover import Failover
from parleyd.conversation.supervisor.table import Action, move
from parleyd.core import events
from parleyd.core.endings import NORMAL_CLOSURE, Ending, EndingKind
from parleyd.core.log_fields import NOTICE, Fields
from parleyd.core.states import State, Trigger
from parleyd.usage.allowance import ByDevice

# A session whose budget is spent ends in the next pause, and after this in any case.
GRACE_S = 60.0
# A session whose end is known is exchanged this long before, or after all but this share of a shorter one: a pause has
# to come within that.
LEAD_S, LEAD_SHARE = 120.0, 0.2
# How often it is looked whether a budget is left, or quiet hours are over, where that decides about a session.
ALLOWED_LOOK_S = 30.0
# How often a conversation that is to end is looked at: how long it takes is decided by what the agent still says.
FAREWELL_LOOK_S = 0.25
# A session that the device has opened, and in which nobody has woken the agent, ends after this in any case: a timer
# that goes off in it would hold it for longer.
DEAF_S = 120.0
# A session that lived this long was a good one: after it the delays start from the beginning.
STABLE_S = 10.0
# A person who waits for a line that long is told that it is being tried: a look-up, a connection and a first message
# may take the time of session.connect_timeout_s each before there is a reason to tell.
SLOW_S = 5.0
HINT_SLOW = "`parleyd doctor` finds out what does not answer"
# Beyond the deadlines of a session that connects: then nobody keeps them.
HANGS_AFTER_S = 2.0

_NEVER_S = float("inf")


class Backoff:
    """The first retry comes at once; then full jitter below a bound that doubles from initial_s up to max_s.

    Full jitter after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a thousand boxes that lost the
    same server do not come back in the same second.
    """

    def __init__(self, initial_s: float, max_s: float, uniform: Callable[[float, float], float] = random.uniform):
        self._initial_s = initial_s
        self._max_s = max_s
        self._uniform = uniform
        self.tries = 0

    def next_s(self) -> float:
        """The delay before the next try."""
        self.tries += 1
        if self.tries == 1:
            return 0.0
        # 2.0 ** 60 is beyond any cap and still a float; an unbounded exponent would overflow after a long outage.
        bound_s = min(self._max_s, self._initial_s * 2.0 ** min(self.tries - 2, 60))
        return self._uniform(0.0, bound_s)

    def longest_s(self) -> float:
        """The delay after a final error: trying soon cannot help."""
        self.tries += 1
        return self._max_s

    def reset(self) -> None:
        self.tries = 0


class Lifecycle:
    """One owner. Each method that yields has to be run to its end; times are monotonic, in order.

    state: one of the table's.
    deaf: the device has opened the session, for it has to tell something, and nobody has woken the agent in it.
    """

    def __init__(self, config: Config) -> None:
        self.state = State.ASLEEP
        self.deaf = False
        self._by_device = ByDevice()
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._failover = Failover(is_configured=config.has_fallback, after_s=config.local.after_s)
        # From a wake until the next time that it falls asleep, and beyond it only where a retry is due.
        self._woken_by_speech = False
        self._despite_budget = False
        self._spent_since_s: float | None = None
        self._retry_at_s: float | None = None
        # Until a session is allowed again: what was said when one was refused is for nobody ...
        self._was_refused = False
        # And the mode `always` waits for the end of quiet hours, or for a new day's budget.
        self._waits_until_allowed = False
        # While a session is being opened. tries: those that were begun since the last one that came about. hangs:
        # neither begun nor ended by then, it is given up.
        self._tries = 0
        self._connect_since_s = 0.0
        self._slow_at_s: float | None = None
        self._hangs_at_s = _NEVER_S
        # From an exchange for age until the new session has begun.
        self._rolling_over = False
        # The session that is open, or was open last.
        self._conversation_id = ""
        self._live_since_s = 0.0
        # When the server will end it, or has said so; it is exchanged LEAD_S before.
        self._ends_s = _NEVER_S
        self._is_announced = False
        # An outage: from the first loss until a session has held. told: about what kinds of endings, once each.
        self._outage_since_s: float | None = None
        self._outage_told: set[tuple[int | None, str | None] | None] = set()
        self._short_sessions = 0
        # The agent has not refused to be asked for silence, as far as is known.
        self._may_suppress_greeting = True
        self._set(config)

    def _set(self, config: Config) -> None:
        self._config = config
        self._always = config.wake.mode == "always"

    # ------------------------------------------------------------ messages

    def take(self, message: Wake | Sleep, now_s: float, facts: Facts) -> Commands:
        if isinstance(message, Sleep):
            self._retry_at_s = None
            yield from self._move(Trigger.SLEEP, "sent to sleep", now_s, facts)
            return
        refused = yield from self._refuses(message, now_s, facts)
        if not refused:
            yield from self._wake(message, now_s, facts)

    def _wake(self, wake: Wake, now_s: float, facts: Facts) -> Commands:
        is_asleep = self.state is State.ASLEEP
        if wake.by_device:
            if is_asleep:
                self._woken_by_speech = False
                self.deaf = not self._config.tools.timer_listens
                yield _woken("device", now_s)
                yield from self._move(Trigger.WAKE, "the device has something to tell", now_s, facts)
        elif wake.by_speech:
            # Speech waits for the retry that is due anyhow; a noisy room must not hammer a broken server.
            by_word = self._config.wake.mode == "word"
            if is_asleep or self.deaf:
                self._woken_by_speech = True
                yield _woken("word" if by_word else "speech", now_s)
                yield from self._hear()
            if is_asleep:
                reason = "somebody says the wake word" if by_word else "somebody speaks"
                yield from self._move(Trigger.WAKE, reason, now_s, facts)
        else:
            self._woken_by_speech = False
            if not wake.standing and (self.deaf or move(self.state, Trigger.WAKE) is not None):
                yield _woken("command", now_s)
            yield from self._hear()
            yield from self._move(Trigger.WAKE, "woken", now_s, facts)

    def _hear(self) -> Commands:
        """Somebody has woken the agent: from now on the room is for it."""
        if self.deaf:
            yield Log(logging.INFO, "somebody wakes the agent, in a session that the device has opened", {})
            yield PersonWakes()
        self.deaf = False

    def reconfigure(self, config: Config, now_s: float, facts: Facts) -> Commands:
        """Settings that are looked at anew each time take effect now. Where a retry is due it comes now."""
        self._set(config)
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._failover.reconfigure(config.local.after_s)
        self._may_suppress_greeting = True
        self._waits_until_allowed = self._waits_until_allowed and self._always
        if self.state is State.BACKING_OFF:
            yield from self._move(Trigger.RETRY_DUE, "the configuration was read again", now_s, facts)
        elif self._always:
            yield from self._wake_unless_refused(
                Wake(by_speech=False, standing=True), "always", now_s, facts, keeps_cause=True
            )

    def _wake_unless_refused(
        self, wake: Wake, reason: str, now_s: float, facts: Facts, *, keeps_cause: bool
    ) -> Commands:
        """keeps_cause: what woke us before counts still."""
        refused = yield from self._refuses(wake, now_s, facts)
        if not refused:
            self._woken_by_speech = self._woken_by_speech and keeps_cause
            yield from self._move(Trigger.WAKE, reason, now_s, facts)

    def stop(self, now_s: float) -> Commands:
        """The daemon stops. Speech and texts are kept in memory only: the next daemon knows nothing of them."""
        yield from self._hung_up("the daemon stops", now_s)
        yield from self._give_up_all(_NEVER_S, "the daemon stops")

    # ------------------------------------------------------------ sessions

    def opened(self, ready: Ready, now_s: float, facts: Facts) -> Commands:
        """The session that was being opened has begun."""
        self._rolling_over = False
        handshake_ms = round((now_s - self._connect_since_s) * 1000)
        more: Fields = {"conversation_id": ready.conversation_id, "handshake_ms": handshake_ms}
        tries, self._tries = self._tries, 0
        is_fallback = self._failover.in_fallback
        reason = f"conversation {ready.conversation_id}{' with the fallback' if is_fallback else ''}"
        yield from self._move(Trigger.READY, reason, now_s, facts, more=more)
        self._conversation_id = ready.conversation_id
        yield Publish(
            events.SessionOpened(
                at_s=now_s,
                conversation_id=ready.conversation_id,
                handshake_ms=handshake_ms,
                resent_ms=facts.kept_ms,
                tries=tries,
                is_fallback=is_fallback,
            )
        )
        yield from self._failover.opened(now_s)
        # After it, for the return belongs to the new conversation.
        self._live_since_s = now_s
        self._is_announced = False
        self._ends_s = _NEVER_S if ready.ends_in_s is None else now_s + ready.ends_in_s
        # A line that is lost again at once is not back; then it is told when it has held.
        if self._short_sessions <= 1 and not is_fallback:
            yield from self._outage_over()

    def ends_soon(self, in_s: float, now_s: float) -> None:
        """The server announces the end of the session that is open."""
        self._ends_s = min(self._ends_s, now_s + in_s)
        # It is no guess: the session is exchanged in the next pause.
        self._is_announced = True

    def ended(self, ending: Ending, suppressed_greeting: bool, now_s: float, facts: Facts) -> Commands:
        """The session has ended by itself, or could not be opened."""
        agent_hangs_up = facts.agent_hangs_up
        yield LineEnded()
        yield self._session_ended(ending, now_s)
        is_live, is_fallback = self.state is State.LIVE, self._failover.in_fallback
        if is_live and not is_fallback:
            is_good = now_s - self._live_since_s >= STABLE_S
            self._short_sessions = 0 if is_good else self._short_sessions + 1
            if is_good:
                self._backoff.reset()
        yield from self._failover.ended(ending, now_s)
        if suppressed_greeting and ending.greeting_refused:
            self._may_suppress_greeting = False
            text = "the agent does not allow this device to switch off its greeting; its first answer is not played"
            hint = ending.hint or "set wake.greeting: play"
            yield Log(logging.WARNING, f"{text}; {hint}", {"reason": ending.reason, "hint": hint})
            yield Publish(events.Trouble(at_s=now_s, text=text, hint=hint))
            yield from self._move(Trigger.GREETING_REFUSED, "again, with its greeting", now_s, facts)
        elif ending.kind is EndingKind.AGENT or agent_hangs_up:
            yield from self._agent_hung_up(ending, is_announced=agent_hangs_up, now_s=now_s, facts=facts)
        elif is_fallback:
            # It is told by itself; the outage is the agent's.
            yield from self._move(Trigger.LOST, ending.reason, now_s, facts, more=about(ending))
        elif ending.kind is EndingKind.FINAL:
            yield from self._tell_outage(ending.reason, ending, logging.ERROR, now_s)
            yield from self._move(Trigger.REFUSED, ending.reason, now_s, facts, more=about(ending))
        else:
            what = "" if is_live else "no line to the agent: "
            yield from self._tell_outage(what + ending.reason, ending, logging.WARNING, now_s)
            yield from self._move(Trigger.LOST, ending.reason, now_s, facts, more=about(ending))

    def out_of_credit(self, reason: str, hint: str | None, now_s: float, facts: Facts) -> Commands:
        """The agent cannot answer any more, although the session is open: with a fallback nobody waits for its end."""
        if self.state is State.LIVE and self._failover.is_configured and not self._failover.in_fallback:
            yield Abandon()
            ending = Ending(EndingKind.FINAL, reason, hint or "see the account at the provider", without_credit=True)
            yield from self.ended(ending, False, now_s, facts)

    def _agent_hung_up(self, ending: Ending, *, is_announced: bool, now_s: float, facts: Facts) -> Commands:
        """is_announced: the agent has said that it would."""
        if ending.time_is_up:
            text = "the session was cut for its age; set session.max_s below the agent's own limit"
            yield Log(logging.WARNING, text, {})
        is_live = self.state is State.LIVE
        if not is_live and not self._failover.in_fallback:
            # There has been nobody to hang up: a person who waits for the line has to know why there is none.
            yield from self._tell_outage(f"no line to the agent: {ending.reason}", ending, logging.WARNING, now_s)
        if is_live and not is_announced and facts.is_asked_again(now_s):
            # Not an answer to what was said just before.
            reason = f"{ending.reason} before it answered; it is asked again"
            yield from self._move(Trigger.LOST, reason, now_s, facts, more=about(ending))
            return
        again = self._always or self._talk_begins_s(facts) < _NEVER_S
        # An agent that hangs up while somebody talks, or before it began, has not judged what woke the daemon.
        if is_live and not again and self._woken_by_speech and not facts.understood:
            yield from self._doubt()
        keeps = ending.time_is_up
        yield from self._move(
            Trigger.AGENT_HUNG_UP, ending.reason, now_s, facts, more=about(ending), keep_history=keeps
        )
        if self.state is State.ASLEEP and again:
            self._woken_by_speech = not self._always
            self._retry_at_s = now_s + self._backoff.next_s()

    # ------------------------------------------------------------ greeting

    def greeting_is_unwanted(self, facts: Facts) -> bool:
        """Whether the session that is being opened shall begin without a greeting. Any thread may ask."""
        wish = self._config.wake.greeting
        if wish == "skip" or self._rolling_over:
            return True
        # Something has been said already, which is to be answered.
        return wish == "auto" and (self._woken_by_speech or facts.continues or facts.typed_s is not None)

    # ------------------------------------------------------------ time

    def next_look_s(self, now_s: float, facts: Facts) -> float:
        """When look() may have something to say; infinite: not before the next message."""
        due_s = [self._next_allowed_look_s(now_s, facts), self._failover.next_look_s(now_s)]
        if self._retry_at_s is not None:
            due_s.append(self._retry_at_s)
        if self.state is State.CONNECTING:
            due_s.append(self._hangs_at_s)
            if self._slow_at_s is not None:
                due_s.append(self._slow_at_s)
        if self.state is State.LIVE:
            if self._outage_since_s is not None and not self._failover.in_fallback:
                due_s.append(self._live_since_s + STABLE_S)
            if facts.farewell_s is not None:
                due_s.append(now_s + FAREWELL_LOOK_S)
            if not self._is_held_open(facts):
                due_s.append(facts.next_idle_look_s(now_s, self._patience()))
        if self.state is not State.ASLEEP:
            said_s = (_newest(facts), facts.kept_from_s)
            due_s += [at_s + self._config.session.keep_utterance_s for at_s in said_s if at_s is not None]
        return min(due_s)

    def _next_allowed_look_s(self, now_s: float, facts: Facts) -> float:
        is_live = self.state is State.LIVE
        due_s = [now_s + ALLOWED_LOOK_S] if self._waits_until_allowed or (self._always and is_live) else [_NEVER_S]
        if is_live:
            due_s.append(self._exchange_s)
        if self.state is not State.ASLEEP and not self._despite_budget:
            due_s.append(facts.next_budget_look_s(now_s))
        return min(due_s)

    def look(self, now_s: float, facts: Facts) -> Commands:
        """The consequences of the time that has passed."""
        if self._retry_at_s is not None and now_s >= self._retry_at_s:
            self._retry_at_s = None
            if self.state is State.BACKING_OFF:
                yield from self._move(Trigger.RETRY_DUE, "next try", now_s, facts)
            else:
                wake = Wake(by_speech=not self._always, standing=self._always)
                yield from self._wake_unless_refused(wake, "next try", now_s, facts, keeps_cause=True)
        if self._waits_until_allowed and facts.refusal(of_its_own=True) is None:
            self._waits_until_allowed = False
            wake = Wake(by_speech=False, standing=True)
            yield from self._wake_unless_refused(wake, "sessions are allowed again", now_s, facts, keeps_cause=False)
        if self.state is State.CONNECTING and self._slow_at_s is not None and now_s >= self._slow_at_s:
            self._slow_at_s = None
            if not self._failover.in_fallback:
                yield from self._tell_slow(now_s)
        yield from self._failover.look(now_s)
        if self.state is State.CONNECTING and self._failover.is_overdue(now_s):
            yield Abandon()
            yield from self.ended(self._failover.overdue(), False, now_s, facts)
        if self.state is State.CONNECTING and now_s >= self._hangs_at_s:
            # Where memory ran out, its thread may have died or hang before its first line was run, and tells nobody.
            yield Abandon()
            hangs = Ending(EndingKind.RETRY, f"connecting has hung for {now_s - self._connect_since_s:.0f} s")
            yield from self.ended(hangs, False, now_s, facts)
        is_with_agent = self.state is State.LIVE and not self._failover.in_fallback
        if is_with_agent and now_s - self._live_since_s >= STABLE_S:
            yield from self._outage_over()
        # Before its age: nobody needs another one instead.
        if self.state is State.LIVE and (idle := self._idle(now_s, facts)):
            yield from self._move(*idle, now_s, facts)
        due = yield from self._too_dear_or_old(now_s, facts)
        if due is not None:
            yield from self._move(*due, now_s, facts)
        if self.state is State.LIVE and self._agent_is_back(now_s, facts):
            reason = "the session with the fallback is exchanged for one with the agent"
            yield from self._move(Trigger.AGENT_IS_BACK, reason, now_s, facts)
        yield from self._too_old_to_say(now_s, facts)

    # ------------------------------------------------------------ why a live session ends

    def _idle(self, now_s: float, facts: Facts) -> tuple[Trigger, str] | None:
        farewell_s = facts.farewell_s
        if farewell_s is not None and facts.quiet_s(now_s) >= farewell_s:
            return Trigger.IDLE, "the agent ended the conversation"
        if self._is_held_open(facts):
            return None
        verdict = facts.no_longer_needed(now_s, self._patience())
        if verdict is None:
            return None
        return Trigger.FALSE_WAKE if verdict.is_false_wake else Trigger.IDLE, verdict.reason

    def _is_held_open(self, facts: Facts) -> bool:
        """The mode `always`, but for the quiet hours: no quiet is a reason to end it."""
        return self._always and not self.deaf and facts.refusal(of_its_own=True) is None

    def _patience(self) -> Patience:
        section = self._config.session
        # A long time for idle is meant.
        no_person_s = max(section.no_person_s, section.idle_timeout_s)
        if self.deaf:
            no_person_s = min(no_person_s, DEAF_S)
        return Patience(section.idle_timeout_s, section.false_wake_s, no_person_s, self._woken_by_speech)

    def probed(self, now_s: float, *, answers: bool) -> None:
        """The outcome of the command Probe. answers: the agent's server does."""
        self._failover.probed(now_s, answers=answers)

    def _agent_is_back(self, now_s: float, facts: Facts) -> bool:
        is_spent = self._failover.in_fallback and self._is_spent(facts)
        return self._failover.goes_back(is_pause=facts.between_turns(now_s), is_spent=is_spent)

    def _is_spent(self, facts: Facts) -> bool:
        """No budget is left, and nobody wants a session in spite of that."""
        return not self._despite_budget and facts.budget_spent() is not None

    def _too_dear_or_old(self, now_s: float, facts: Facts) -> Generator[Command, None, tuple[Trigger, str] | None]:
        """A budget may cut a turn, after GRACE_S; age alone never does."""
        if self.state is State.ASLEEP:
            return None
        is_pause = self.state is not State.LIVE or facts.between_turns(now_s)
        # Where a line is waited for, the fallback is asked next: what was said is not given up for a budget.
        is_for_fallback = self._failover.is_configured and self.state is State.BACKING_OFF
        is_free = self._despite_budget or self._failover.in_fallback or is_for_fallback
        spent = None if is_free else facts.budget_spent()
        if spent is None:
            self._spent_since_s = None
        else:
            if self._spent_since_s is None:
                self._spent_since_s = now_s
                yield Log(logging.WARNING, f"{spent.text}; {spent.hint}", {"reason": spent.text, "hint": spent.hint})
                yield Publish(events.BudgetSpent(at_s=now_s, reason=spent.text, hint=spent.hint))
            if is_pause or now_s - self._spent_since_s >= GRACE_S:
                return Trigger.SPENT, spent.text
        age_s = now_s - self._live_since_s
        if self.state is State.LIVE and is_pause and now_s >= self._exchange_s:
            return Trigger.OLD, f"a session of {age_s:.0f} s is exchanged for a new one"
        return None

    @property
    def _exchange_s(self) -> float:
        """When the session that is open is old enough to be exchanged for a new one."""
        by_age_s = self._live_since_s + self._config.session.max_s
        if self._is_announced:
            return self._live_since_s
        length_s = self._ends_s - self._live_since_s
        return min(by_age_s, self._ends_s - min(LEAD_S, length_s * LEAD_SHARE))

    # ------------------------------------------------------------ words that were not answered

    def _too_old_to_say(self, now_s: float, facts: Facts) -> Commands:
        before_s = now_s - self._config.session.keep_utterance_s
        cause = "no agent could be reached for it in time"
        newest_s = _newest(facts)
        if newest_s is not None and newest_s <= before_s:
            yield from self._give_up_all(now_s, cause)
            if not self._always:
                yield from self._move(Trigger.GIVEN_UP, "what was said is too old to be answered", now_s, facts)
        elif (oldest_s := facts.kept_from_s) is not None and oldest_s <= before_s:
            yield GiveUpSpeech(before_s, cause, is_whole_utterances=True, is_told=not self._was_refused)

    def _give_up_all(self, typed_before_s: float, cause: str) -> Commands:
        yield GiveUpSpeech(_NEVER_S, cause, is_told=not self._was_refused)
        yield GiveUpTyped(typed_before_s, cause)

    def _talk_begins_s(self, facts: Facts) -> float:
        """From when on speech belongs to what somebody is saying right now; infinite when nobody talks."""
        since_s = facts.talk_since_s
        if since_s is None or self._config.wake.mode in ("manual", "word"):
            return _NEVER_S
        return since_s - self._config.gate.pre_roll_ms / 1000

    # ------------------------------------------------------------ when a session is refused

    def _refuses(self, wake: Wake, now_s: float, facts: Facts) -> Generator[Command, None, bool]:
        """Whether there may be no session now; if so, says so."""
        is_asleep = self.state is State.ASLEEP
        begins = is_asleep or (self.state is State.BACKING_OFF and not wake.of_its_own)
        refusal = None if wake.anyway or not begins else facts.refusal(of_its_own=wake.of_its_own)
        opens = wake.by_device and is_asleep
        if refusal is None and opens:
            refusal = self._by_device.refusal(now_s)
        if refusal is not None:
            self._waits_until_allowed |= wake.standing
            yield Refuse(refusal, wake.of_its_own)
            yield ForgetSpeech(_NEVER_S)
            yield GiveUpTyped(_NEVER_S, "no session may be begun now")
            self._was_refused = True
            return True
        if opens:
            self._by_device.opens(now_s)
        self._despite_budget |= wake.anyway
        if self._was_refused:
            # The rest of what was said then is for nobody; what is being said right now is for the agent.
            self._was_refused = False
            yield ForgetSpeech(min(now_s, self._talk_begins_s(facts)))
        return False

    # ------------------------------------------------------------ moves

    def _move(
        self,
        trigger: Trigger,
        reason: str,
        now_s: float,
        facts: Facts,
        *,
        more: Fields | None = None,
        keep_history: bool = False,
    ) -> Commands:
        """keep_history: besides the triggers after which a conversation may go on."""
        step = move(self.state, trigger)
        if step is None:
            return
        before, self.state = self.state, step.to
        is_exchange = trigger in (Trigger.OLD, Trigger.AGENT_IS_BACK)
        self._rolling_over = is_exchange or (self._rolling_over and trigger is Trigger.GREETING_REFUSED)
        keep_history |= trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SPENT, Trigger.GIVEN_UP)
        at_once = self._failover.is_next_at_once(now_s)
        for action in step.actions:
            match action:
                case Action.CONNECT | Action.CONNECT_WITHOUT_OVERRIDE:
                    yield from self._connect(now_s, facts)
                case Action.CANCEL_RETRY:
                    self._retry_at_s = None
                case Action.HANG_UP:
                    yield HangUp()
                    yield from self._hung_up(reason, now_s)
                case Action.RETRY_SOON:
                    self._retry_at_s = now_s + (0.0 if at_once else self._backoff.next_s())
                case Action.RETRY_LATE:
                    self._retry_at_s = now_s + (0.0 if at_once else self._backoff.longest_s())
                case Action.DOUBT:
                    yield from self._doubt()
                case Action.FORGET:  # pragma: no branch: these are all actions
                    yield from self._forget(trigger, reason, now_s, facts, keep_history=keep_history)
        if step.to is State.ASLEEP:
            self._tries = 0
            self._failover.sleeps(now_s)
            self._despite_budget = False
            self._spent_since_s = None
            # A session that was just opened for a timer had been sent to sleep before, and stays so.
            ends_for_now = trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SPENT)
            self._waits_until_allowed = not self.deaf and self._always and ends_for_now
            self.deaf = False
        if before is not step.to:
            # An outage is told once when it begins and once when it ends, not at every try.
            is_one_of_many = bool(self._outage_told) and State.ASLEEP not in (before, step.to)
            told: Fields = {**(more or {}), "state": step.to.value, "reason": reason}
            level = logging.DEBUG if is_one_of_many else logging.INFO
            yield Log(level, f"{before.value} -> {step.to.value} ({reason})", told)
            yield Publish(
                events.StateChanged(
                    at_s=now_s, before=before.value, after=step.to.value, trigger=trigger.value, reason=reason
                )
            )
        if trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SLEEP):
            self._backoff.reset()

    def _connect(self, now_s: float, facts: Facts) -> Commands:
        self._retry_at_s = None
        self._tries += 1
        self._connect_since_s = now_s
        self._slow_at_s = now_s + SLOW_S
        # Its thread keeps three deadlines of that length, unless it has died or hangs.
        self._hangs_at_s = now_s + 3 * self._config.session.connect_timeout_s + HANGS_AFTER_S
        is_spent = self._failover.is_configured and self._is_spent(facts)
        to_fallback = self._failover.choose(now_s, is_spent=is_spent)
        yield from self._failover.connects(now_s, to_fallback=to_fallback, is_spent=is_spent)
        yield Connect(self._may_suppress_greeting and self.greeting_is_unwanted(facts), to_fallback)

    def _forget(self, trigger: Trigger, reason: str, now_s: float, facts: Facts, *, keep_history: bool) -> Commands:
        self._retry_at_s = None
        yield Conclude(now_s, keep_history)
        was_heard_out = trigger in (Trigger.IDLE, Trigger.FALSE_WAKE)
        begins_s = self._talk_begins_s(facts)
        yield GiveUpSpeech(begins_s, reason, was_heard_out=was_heard_out, is_told=not self._was_refused)
        if facts.typed_s is not None:
            # It was typed into a session that was just ending; nothing has woken the daemon for it yet.
            yield WakeAgain(Wake(by_speech=False, by_device=facts.only_device_typed))

    def _doubt(self) -> Commands:
        # A wake word is no matter of loudness.
        if self._config.wake.mode == "speech":
            yield WokenForNothing()

    # ------------------------------------------------------------ what is told

    def _session_ended(self, ending: Ending, now_s: float) -> Publish:
        """Also of a session that never began."""
        conversation_id, self._conversation_id = self._conversation_id, ""
        return Publish(events.SessionEnded(at_s=now_s, ending=ending, conversation_id=conversation_id))

    def _hung_up(self, reason: str, now_s: float) -> Commands:
        """By us; only of a session that had begun. Every session that is told to have begun is told to have ended."""
        if self._conversation_id:
            yield self._session_ended(Ending(EndingKind.USER, reason, code=NORMAL_CLOSURE), now_s)

    def _tell_outage(self, text: str, ending: Ending, level: int, now_s: float) -> Commands:
        """A warning or an error at loss, a notice at return, no repeats but for errors of another kind."""
        if self._outage_since_s is None:
            self._outage_since_s = now_s
        # By its hint: what a server says may be worded anew every time.
        kind = (ending.code, ending.hint) if level >= logging.ERROR else None
        is_repeated = kind in self._outage_told if kind else bool(self._outage_told)
        self._outage_told.add(kind)
        hint = ending.hint or "parleyd goes on trying"
        yield Log(logging.DEBUG if is_repeated else level, f"{text}; {hint}", about(ending))
        if not is_repeated:
            yield Publish(events.Trouble(at_s=now_s, text=text, hint=ending.hint))

    def _tell_slow(self, now_s: float) -> Commands:
        """Connecting takes its time. The reason, when there is one, is told by itself."""
        if not self._outage_told:
            text = f"there is still no line to the agent after {SLOW_S:g} s"
            yield Log(logging.WARNING, f"{text}; it is still being tried; {HINT_SLOW}", {"hint": HINT_SLOW})
            yield Publish(events.Trouble(at_s=now_s, text=text, hint=HINT_SLOW, part="agent"))

    def _outage_over(self) -> Commands:
        if self._outage_since_s is not None:
            away_s = round(self._live_since_s - self._outage_since_s, 1)
            yield Log(NOTICE, f"the line is back after {away_s:.1f} s", {"away_s": away_s})
            self._outage_since_s = None
            self._outage_told.clear()


def about(ending: Ending) -> Fields:
    """For a log record."""
    return {"reason": ending.reason, "hint": ending.hint, "ending": ending.kind.value, "code": ending.code}


def _newest(facts: Facts) -> float | None:
    """When the newest of what was said or typed was said that no agent has answered."""
    return max((at_s for at_s in (facts.kept_until_s, facts.typed_s) if at_s is not None), default=None)


def _woken(by: Literal["speech", "word", "command", "device"], now_s: float) -> Publish:
    return Publish(events.Woken(at_s=now_s, by=by))
