"""The supervisor: decides when there shall be a session. One thread, one inbox, one table (states.py).

Everything that happens elsewhere arrives as a message; timers are deadlines looked at between messages. Sessions that
were given up may still report; only the current one counts.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from parleyd import events
from parleyd.agents.agent import Agent, AgentEvent, Ending, EndingKind, Ready
from parleyd.config.schema import Config
from parleyd.conversation.backoff import Backoff
from parleyd.conversation.dialogue import Dialogue
from parleyd.conversation.outbox import Outbox
from parleyd.conversation.session import Session
from parleyd.conversation.states import Action, State, Trigger, move
from parleyd.health import Pulse
from parleyd.log_fields import NOTICE, Fields, fields

log = logging.getLogger(__name__)

# A session that lived this long was a good one: after it the delays start from the beginning.
STABLE_S = 10.0
# How long a stopping daemon waits for the server's answer to its close.
STOP_S = 1.0
# How often a conversation that is to end is looked at.
FAREWELL_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class _Wake:
    by_speech: bool


@dataclass(frozen=True, slots=True)
class _Sleep:
    pass


@dataclass(frozen=True, slots=True)
class _Reconfigure:
    config: Config
    agent: Agent


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


@dataclass(frozen=True, slots=True)
class _EndSoon:
    pass


@dataclass(frozen=True, slots=True)
class _Ready:
    session: Session
    ready: Ready


@dataclass(frozen=True, slots=True)
class _Ended:
    session: Session
    ending: Ending


class Supervisor:
    """A Listener of sessions.

    raise_gate: makes the gate harder of hearing for a while. on_death: told when the thread ends by an error.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        outbox: Outbox,
        dialogue: Dialogue,
        bus: events.Bus,
        raise_gate: Callable[[], None],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self._config = config
        self._agent = agent
        self._outbox = outbox
        self._dialogue = dialogue
        self._bus = bus
        self._raise_gate = raise_gate
        self._on_death = on_death
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._inbox: queue.SimpleQueue[_Wake | _Sleep | _EndSoon | _Reconfigure | _Stop | _Ready | _Ended]
        self._inbox = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.pulse = Pulse("supervisor")
        self._session: Session | None = None
        self._state = State.ASLEEP
        self._retry_at_s: float | None = None
        self._woken_by_speech = False
        self._always = config.wake.mode == "always"
        self._greeting_refused = False
        self._connect_since_s = 0.0
        self._live_since_s = 0.0
        self._down_since_s: float | None = None
        self._told: set[tuple[int | None, str | None] | None] = set()  # about the outage that lasts
        self._short_sessions = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def asleep(self) -> bool:
        return self._state is State.ASLEEP

    def start(self) -> None:
        self._thread.start()
        if self._always:
            self.wake(by_speech=False)

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        session = self._session
        return (self.pulse,) if session is None else (self.pulse, session.receiver_pulse, session.sender_pulse)

    def reconfigure(self, config: Config, agent: Agent) -> None:
        """What is looked at anew each time takes effect now; the agent is that of the next session, which is tried for
        at once where it was waited for."""
        self._inbox.put(_Reconfigure(config, agent))

    def wake(self, *, by_speech: bool) -> None:
        self._inbox.put(_Wake(by_speech))

    def sleep(self) -> None:
        self._inbox.put(_Sleep())

    def end_soon(self) -> None:
        """The agent wants the conversation to end: after what it still says, and a little quiet."""
        self._dialogue.end_soon()
        self._inbox.put(_EndSoon())

    def stop(self) -> None:
        """Hangs up with 1000 and ends the thread; at most about STOP_S."""
        self._inbox.put(_Stop())
        if self._thread.is_alive():
            self._thread.join(2 * STOP_S)

    # ------------------------------------------------------------ receiver thread

    def session_ready(self, session: Session, ready: Ready) -> None:
        if session is not self._session:
            session.hang_up("a session that is no longer wanted")
            return
        unwanted = self._greeting_unwanted()
        self._dialogue.begin(
            session.codec,
            ready,
            greeting_possible=not session.suppress_greeting,
            skip_greeting=unwanted and not session.suppress_greeting,
        )
        self._inbox.put(_Ready(session, ready))

    def session_event(self, session: Session, event: AgentEvent) -> None:
        if session is self._session:
            self._dialogue.agent_event(event)

    def session_ended(self, session: Session, ending: Ending) -> None:
        self._inbox.put(_Ended(session, ending))

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while True:
                patience_s = self._time_to_next_look_s()
                self.pulse.rest()
                try:
                    message = self._inbox.get(timeout=patience_s)
                except queue.Empty:
                    message = None
                self.pulse.beat()
                if isinstance(message, _Stop):
                    break
                if message is not None:
                    self._take(message)
                self._look_at_timers(time.monotonic())
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("supervisor", error)
            return
        session = self._session
        self._session = None
        if session is not None:
            session.hang_up("the daemon stops")
            session.wait_over(STOP_S)

    def _take(self, message: _Wake | _Sleep | _EndSoon | _Reconfigure | _Ready | _Ended) -> None:
        match message:
            case _Wake(by_speech=True):
                # Speech waits for the retry that is due anyhow; a noisy room must not hammer a broken server.
                if self._state is State.ASLEEP:
                    self._woken_by_speech = True
                    self._woken("word" if self._config.wake.mode == "word" else "speech")
                    self._move(Trigger.WAKE, "somebody speaks")
            case _Wake():
                self._woken_by_speech = False
                if move(self._state, Trigger.WAKE) is not None:
                    self._woken("command")
                self._move(Trigger.WAKE, "woken")
            case _Sleep():
                self._retry_at_s = None
                self._move(Trigger.SLEEP, "sent to sleep")
            case _Reconfigure(config=config, agent=agent):
                self._reconfigure(config, agent)
            case _Ready(session=session, ready=ready) if session is self._session:
                self._opened(ready)
            case _Ended(session=session, ending=ending) if session is self._session:
                self._session = None
                self._ended(session, ending)
            case _:
                pass

    def _woken(self, by: Literal["speech", "word", "command"]) -> None:
        self._bus.publish(events.Woken(at_s=time.monotonic(), by=by))

    def _reconfigure(self, config: Config, agent: Agent) -> None:
        self._config = config
        self._agent = agent
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._greeting_refused = False
        self._always = config.wake.mode == "always"
        if self._state is State.BACKING_OFF:
            self._move(Trigger.RETRY_DUE, "the configuration was read again")
        elif self._always:
            self._move(Trigger.WAKE, "always")

    def _opened(self, ready: Ready) -> None:
        now_s = time.monotonic()
        self._live_since_s = now_s
        tries = max(1, self._backoff.tries)
        handshake_ms = round((now_s - self._connect_since_s) * 1000)
        self._move(
            Trigger.READY,
            f"conversation {ready.conversation_id}",
            {"conversation_id": ready.conversation_id, "handshake_ms": handshake_ms},
        )
        self._bus.publish(
            events.SessionOpened(
                at_s=now_s,
                conversation_id=ready.conversation_id,
                handshake_ms=handshake_ms,
                resent_ms=self._outbox.kept_ms,
                tries=tries,
            )
        )
        # A line that is lost again at once is not back; then it is told when it has held.
        if self._short_sessions <= 1:
            self._tell_return(now_s)

    def _ended(self, session: Session, ending: Ending) -> None:
        now_s = time.monotonic()
        self._dialogue.line_ended()
        self._bus.publish(events.SessionEnded(at_s=now_s, ending=ending))
        codec = session.codec
        if codec.malformed or codec.unknown:
            log.info("%d messages could not be read, %d were of unknown types", codec.malformed, codec.unknown)
        if self._state is State.LIVE:
            self._short_sessions = 0 if self._is_stable(now_s) else self._short_sessions + 1
            if self._is_stable(now_s):
                self._backoff.reset()
        if ending.refused_override is not None and session.suppress_greeting and self._greeting_is_meant(ending):
            self._greeting_refused = True
            text = "the agent does not allow this device to switch off its greeting; what it says first is not played"
            mend = "enable the override 'first_message' under Security in its settings, or set wake.greeting: play"
            log.warning("%s; %s", text, mend, extra=fields(reason=ending.reason, mend=mend))
            self._bus.publish(events.Trouble(at_s=now_s, text=text, mend=mend))
            self._move(Trigger.GREETING_REFUSED, "again, with its greeting")
            return
        match ending.kind:
            case _ if ending.kind is EndingKind.AGENT or self._dialogue.agent_hangs_up:
                self._move(Trigger.AGENT_HUNG_UP, ending.reason, _about(ending))
                if self._always or self._talk_begins_s() < float("inf"):
                    self._woken_by_speech = not self._always
                    self._retry_at_s = now_s + self._backoff.next_s()
            case EndingKind.FINAL:
                self._tell(ending.reason, ending, logging.ERROR)
                self._move(Trigger.REFUSED, ending.reason, _about(ending))
            case _:
                what = "" if self._state is State.LIVE else "no line to the agent: "
                self._tell(what + ending.reason, ending, logging.WARNING)
                self._move(Trigger.LOST, ending.reason, _about(ending))

    def _greeting_is_meant(self, ending: Ending) -> bool:
        """Whether the refused override is the one that we added ourselves."""
        first_message_is_set = self._config.elevenlabs.overrides.first_message is not None
        return ending.refused_override == "first_message" and not first_message_is_set

    def _tell(self, text: str, ending: Ending, level: int) -> None:
        """A warning or an error at loss, a notice at return, no repeats but for errors of another kind."""
        if self._down_since_s is None:
            self._down_since_s = time.monotonic()
        # By its mend: what a server says may be worded anew every time.
        kind = (ending.code, ending.mend) if level >= logging.ERROR else None
        repeated = kind in self._told if kind else bool(self._told)
        self._told.add(kind)
        log.log(
            logging.DEBUG if repeated else level,
            "%s; %s",
            text,
            ending.mend or "it is tried again and again",
            extra=fields(**_about(ending)),
        )
        if not repeated:
            self._bus.publish(events.Trouble(at_s=time.monotonic(), text=text, mend=ending.mend))

    def _tell_return(self, now_s: float) -> None:
        if self._down_since_s is not None:
            away_s = round(self._live_since_s - self._down_since_s, 1)
            log.log(NOTICE, "the line is back after %.1f s", away_s, extra=fields(away_s=away_s))
            self._down_since_s = None
            self._told.clear()

    def _is_stable(self, now_s: float) -> bool:
        return now_s - self._live_since_s >= STABLE_S

    # ------------------------------------------------------------ moves

    def _move(self, trigger: Trigger, reason: str, more: Fields | None = None) -> None:
        step = move(self._state, trigger)
        if step is None:
            return
        before, self._state = self._state, step.to
        for action in step.actions:
            self._act(action)
        if before is not step.to:
            # An outage is told once when it begins and once when it ends, not at every try.
            retrying = self._told and State.ASLEEP not in (before, step.to)
            level = logging.DEBUG if retrying else logging.INFO
            about: Fields = more or {}
            about = {**about, "state": step.to.value, "reason": reason}
            log.log(level, "%s -> %s (%s)", before.value, step.to.value, reason, extra=fields(**about))
            self._bus.publish(
                events.StateChanged(
                    at_s=time.monotonic(),
                    before=before.value,
                    after=step.to.value,
                    trigger=trigger.value,
                    reason=reason,
                )
            )
        if trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SLEEP):
            self._backoff.reset()

    def _act(self, action: Action) -> None:
        match action:
            case Action.CONNECT | Action.CONNECT_WITHOUT_OVERRIDE:
                self._connect()
            case Action.ANNOUNCE:
                self._retry_at_s = None
            case Action.HANG_UP:
                session, self._session = self._session, None
                self._dialogue.line_ended()
                if session is not None:
                    session.hang_up("nobody needs the session any more")
            case Action.RETRY_SOON:
                self._retry_at_s = time.monotonic() + self._backoff.next_s()
            case Action.RETRY_LATE:
                self._retry_at_s = time.monotonic() + self._backoff.longest_s()
            case Action.RAISE_GATE:
                self._raise_gate()
            case Action.FORGET:
                self._retry_at_s = None
                self._dialogue.conclude()
                self._forget(self._talk_begins_s(), "the conversation was over")

    def _connect(self) -> None:
        self._retry_at_s = None
        self._connect_since_s = time.monotonic()
        unwanted = self._greeting_unwanted()
        self._session = Session(
            self._agent,
            self._outbox,
            self,
            suppress_greeting=unwanted and not self._greeting_refused,
            timeout_s=self._config.session.connect_timeout_s,
            on_death=self._on_death,
        )
        self._session.start()

    def _talk_begins_s(self) -> float:
        """From when on speech belongs to what somebody is saying right now; infinite when nobody talks."""
        since_s = self._dialogue.talk_since_s
        if since_s is None or self._config.wake.mode in ("manual", "word"):
            return float("inf")
        return since_s - self._config.gate.pre_roll_ms / 1000

    def _greeting_unwanted(self) -> bool:
        wish = self._config.wake.greeting
        asked = self._woken_by_speech or self._dialogue.continues or self._dialogue.typed_s is not None
        return wish == "skip" or (wish == "auto" and asked)

    # ------------------------------------------------------------ timers

    def _time_to_next_look_s(self) -> float | None:
        due_s: list[float] = []
        if self._retry_at_s is not None:
            due_s.append(self._retry_at_s)
        if self._state is State.LIVE and self._down_since_s is not None:
            due_s.append(self._live_since_s + STABLE_S)
        if self._state is State.LIVE and not self._always:
            due_s.append(self._dialogue.activity_s + self._patience_s())
        if self._state is State.LIVE and self._dialogue.farewell_s is not None:
            # How long is decided by what the agent still says.
            due_s.append(time.monotonic() + FAREWELL_LOOK_S)
        if self._state is not State.ASLEEP and (kept_s := self._unanswered_s) is not None:
            due_s.append(kept_s + self._config.session.keep_utterance_s)
        if not due_s:
            return None
        # While somebody is busy past the deadline, look again soon rather than at once.
        return max(0.05, min(due_s) - time.monotonic())

    def _patience_s(self) -> float:
        """How long a live session may be quiet."""
        session = self._config.session
        return min(session.idle_timeout_s, session.false_wake_s) if self._is_false_wake() else session.idle_timeout_s

    def _is_false_wake(self) -> bool:
        return self._woken_by_speech and not self._dialogue.understood

    def _look_at_timers(self, now_s: float) -> None:
        if self._retry_at_s is not None and now_s >= self._retry_at_s:
            self._retry_at_s = None
            self._move(Trigger.RETRY_DUE if self._state is State.BACKING_OFF else Trigger.WAKE, "next try")
        if self._state is State.LIVE and self._is_stable(now_s):
            self._tell_return(now_s)
        farewell_s = self._dialogue.farewell_s if self._state is State.LIVE else None
        if farewell_s is not None and not self._dialogue.busy(now_s):
            quiet_s = now_s - self._dialogue.activity_s
            if quiet_s >= farewell_s:
                self._move(Trigger.IDLE, "the agent ended the conversation")
        if self._state is State.LIVE and not self._always:
            quiet_s = now_s - self._dialogue.activity_s
            if quiet_s >= self._patience_s() and not self._dialogue.busy(now_s):
                if self._is_false_wake():
                    self._move(Trigger.FALSE_WAKE, "the agent understood nothing")
                else:
                    self._move(Trigger.IDLE, f"quiet for {quiet_s:.0f} s")
        kept_s = self._unanswered_s
        if kept_s is not None and now_s >= kept_s + self._config.session.keep_utterance_s:
            self._forget(float("inf"), "no agent could be reached for it in time")
            self._dialogue.forget_typed()
            if not self._always:
                self._move(Trigger.GIVEN_UP, "what was said is too old to be answered")

    @property
    def _unanswered_s(self) -> float | None:
        """When the newest of what no agent has answered was said, spoken or typed."""
        said_s = (self._outbox.kept_until_s, self._dialogue.typed_s)
        return max((at_s for at_s in said_s if at_s is not None), default=None)

    def _forget(self, before_s: float, cause: str) -> None:
        lost_ms = self._outbox.forget(before_s)
        if lost_ms:
            # Not a warning: if it is due to an outage, that has been told.
            log.info("%.1f s of speech reached no agent: %s", lost_ms / 1000, cause, extra=fields(reason=cause))
            self._bus.publish(events.SpeechLost(at_s=time.monotonic(), lost_ms=lost_ms, cause=cause))


def _about(ending: Ending) -> Fields:
    return {"reason": ending.reason, "mend": ending.mend, "ending": ending.kind.value, "code": ending.code}
