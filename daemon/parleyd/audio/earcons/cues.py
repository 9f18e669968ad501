"""Decides from events which earcon is played when. Pure: time is that of the events.

An order gets its sound at once, but not over the person's own words. Actions of the daemon itself are silent as long as
nobody waits for it, and an outage is reported once.
"""

from __future__ import annotations

import math

from msgspec import Struct

from parleyd.audio.earcons.sounds import Earcon
from parleyd.core import events
from parleyd.core.states import State, Trigger

# How long after speaking or pressing a button a person is assumed to be present and waiting.
PRESENT_S = 30.0
# How long an earcon waits for a pause before it is dropped.
HELD_S = 10.0
# A failed try that took longer than this is reported at once, because somebody has waited; after a shorter one the
# daemon tries again first.
LONG_TRY_S = 2.0
# With a fallback so many failures are no outage for the person: two of the agent, and one of the fallback.
BEFORE_FALLBACK = 3
# After a session of this duration the next failure is a new outage.
STABLE_S = 10.0
# How long after a timer's ring a wake by this timer needs no sound of its own.
RING_S = 5.0
# How long after the last report a lasting outage is reported again.
AGAIN_S = 3600.0


class Cue(Struct, frozen=True):
    """An earcon that is to be played."""

    earcon: Earcon
    """The name of the earcon."""
    after_voice: bool = False
    """True if it waits until the agent has finished."""


class EarconCues:
    """always: the session is always open (wake.mode). after_speech: conversations that begin by speech get sounds,
    too. has_fallback: where the agent fails, somebody else answers and says so."""

    def __init__(self, *, always: bool, after_speech: bool, has_fallback: bool = False) -> None:
        self.always = always
        self._after_speech = after_speech
        self._has_fallback = has_fallback
        self._talking = False
        self._present_s = -math.inf  # last sign of a person
        self._held: Earcon | None = None  # waits waits until the person pauses
        self._held_s = -math.inf
        self._announced = False  # this conversation
        self._rung_s = -math.inf
        self._connecting_s = 0.0
        self._live_s = 0.0
        self._failures = 0
        self._error_s: float | None = None  # when this outage was told
        self._error_due = False  # to be reported as soon as somebody is present
        self._return_due = False

    def step(self, event: events.Event) -> Cue | None:
        """The earcon for this event, if any."""
        cue = self._step(event)
        # A newer sound cuts an older one short; but the ring of a timer must not be cut, because somebody may depend on
        # it.
        is_answer = cue is not None and cue.earcon in ("timer", "muted", "unmuted", "confirm")
        return cue if is_answer or not self._rings(event.at_s) else None

    def _step(self, event: events.Event) -> Cue | None:
        match event:
            case events.Woken():
                return self._woken(event)
            case events.StateChanged():
                return self._moved(event)
            case events.Muted(on=on):
                self._held = None
                return Cue("muted" if on else "unmuted")
            case events.TimerWentOff():
                self._rung_s = event.at_s
                return Cue("timer")
            case events.ConfirmationWanted():
                # A person has seconds to answer: neither the agent's voice nor theirs may hold it back.
                return Cue("confirm")
            case events.BudgetNear() | events.BudgetSpent():
                return Cue("budget", after_voice=True)
            case events.SpeechLost():
                return self._lost(event.at_s)
            case events.WakeRefused(by="budget"):
                # A person who speaks should know why nothing happens; in quiet hours there is no sound.
                return self._sound("budget", event.at_s)
            case events.FallbackBegan():
                self._failures = 0
            case events.Trouble(part="agent") if not self._has_fallback:
                # Connecting takes long; a failure that follows is part of the same report.
                return self._fail(event.at_s)
            case events.UtteranceStarted():
                self._talking = True
                self._present_s = event.at_s
            case events.TalkStopped() | events.UtteranceEnded():
                return self._paused(event.at_s)
            case events.AnswerFailed():
                # Silence would be taken for an answer that takes its time.
                return self._sound("error", event.at_s)
            case events.AnswerIncomplete():
                # Otherwise its end is taken for the agent's own.
                return self._sound("error", event.at_s)
            case events.AnswerEnded(lost_ms=lost_ms) if lost_ms:
                # The answer stops in the middle of a sentence, which must not be taken for its end.
                return self._sound("error", event.at_s)
            case events.AnswerStarted():
                # The agent itself shows that it listens.
                self._held = None
            case _:
                pass
        return None

    def _woken(self, event: events.Woken) -> Cue | None:
        if event.by == "device":
            # Perhaps nobody is present, nobody is heard, and the ring has reported the timer.
            self._announced, self._return_due = True, False
            return None
        by_speech = event.by == "speech"
        self._announced = self._after_speech or not by_speech
        again = self._error_s is not None and event.at_s - self._error_s > AGAIN_S
        if not by_speech:
            self._present_s = event.at_s
        if again or not by_speech:
            self._forget_outage()
        # A session that is always open is announced when it is live.
        self._return_due = self.always
        return self._sound("listening", event.at_s) if self._announced and not self.always else None

    def _moved(self, event: events.StateChanged) -> Cue | None:
        match event.after:
            case State.CONNECTING.value:
                self._connecting_s = event.at_s
            case State.LIVE.value:
                self._live_s = event.at_s
                self._error_due = False
                if self._return_due:
                    self._return_due = False
                    told_s = self._error_s
                    fresh = told_s is None or event.at_s - max(told_s, self._present_s) < PRESENT_S
                    return self._sound("listening", event.at_s) if fresh else None
            case State.BACKING_OFF.value:
                return self._failed(event)
            case State.ASLEEP.value:
                self._held = None
                self._error_due = self._return_due = False
                if event.before == State.LIVE.value:
                    self._failures = 0
                if event.trigger == Trigger.SLEEP.value:
                    return Cue("sleeping", after_voice=True)
                # After GIVEN_UP no conversation ends, and the error was already reported.
                if event.before == State.LIVE.value and self._announced and not self.always:
                    return Cue("sleeping", after_voice=True)
        return None

    def _failed(self, event: events.StateChanged) -> Cue | None:
        if event.before == State.LIVE.value and event.at_s - self._live_s >= STABLE_S:
            self._forget_outage()
        self._failures += 1
        took_s = event.at_s - self._connecting_s if event.before == State.CONNECTING.value else 0.0
        if self._has_fallback and self._failures <= BEFORE_FALLBACK:
            return None
        hopeless = event.trigger == Trigger.REFUSED.value or self._failures > 1 or took_s > LONG_TRY_S
        return self._fail(event.at_s) if hopeless else None

    def _fail(self, at_s: float) -> Cue | None:
        """Reports a failure, once in an outage."""
        if self._error_s is not None or self._error_due:
            return None
        if at_s - self._present_s > PRESENT_S or self._rings(at_s):
            self._error_due = True
            return None
        return self._error(at_s)

    def _error(self, at_s: float) -> Cue | None:
        self._error_due = False
        self._error_s = at_s
        self._return_due = True
        return self._sound("error", at_s)

    def _lost(self, at_s: float) -> Cue | None:
        """Speech is lost. A person who has heard of the outage, or is not present, is not told again."""
        told = self._error_s is not None or self._error_due
        return None if told or at_s - self._present_s > PRESENT_S else self._sound("error", at_s)

    def _forget_outage(self) -> None:
        self._failures = 0
        self._error_s = None
        self._error_due = False

    def _paused(self, at_s: float) -> Cue | None:
        self._talking = False
        self._present_s = max(self._present_s, at_s)
        if self._rings(at_s):
            # Other sounds are played after this one.
            return None
        held, self._held = self._held, None
        if held is not None and at_s - self._held_s <= HELD_S:
            return Cue(held, after_voice=True)
        return self._error(at_s) if self._error_due else None

    def _rings(self, at_s: float) -> bool:
        return at_s - self._rung_s < RING_S

    def _sound(self, earcon: Earcon, at_s: float) -> Cue | None:
        if self._talking:
            self._held, self._held_s = earcon, at_s
            return None
        return Cue(earcon, after_voice=True)
