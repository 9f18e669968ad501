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

from parleyd.agents.agent import Agent, AgentEvent, Ready
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.agent_input import ToAgent
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.session.connecting import retry
from parleyd.conversation.session.in_flight import Lines
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.session import Session, Traffic
from parleyd.conversation.supervisor.admission import Admission
from parleyd.conversation.supervisor.backoff import Backoff
from parleyd.conversation.supervisor.greeting import Greeting
from parleyd.conversation.supervisor.idle_watch import Quiet
from parleyd.conversation.supervisor.inbox import Ended, EndSoon, Message, Opened, Reconfigure, Sleep, Stop, Wake
from parleyd.conversation.supervisor.moves import Action, move
from parleyd.conversation.supervisor.outage import SLOW_S, Outage, about
from parleyd.conversation.supervisor.pending_input import Unanswered
from parleyd.conversation.supervisor.reports import News
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.health import Pulse
from parleyd.core.log_fields import Fields
from parleyd.core.states import State, Trigger
from parleyd.usage.warden import Warden

log = logging.getLogger(__name__)

# How long a stopping daemon waits for the server's answer to its close.
STOP_S = 1.0
# How long a session's first events wait for its beginning to be told.
TOLD_S = 5.0
# Beyond the deadlines of a session that connects: then nobody keeps them.
HANGS_AFTER_S = 2.0


class Supervisor:
    """A Listener of sessions.

    warden: knows budgets and quiet hours. traffic: where sessions count their bytes. lines: where they put
    themselves while they are connected.
    woken_for_nothing: told when what the gate took for speech was none. on_death: told of the thread's end by an error.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        outbox: Outbox,
        to_agent: ToAgent,
        dialogue: Dialogue,
        unanswered: Unanswered,
        bus: events.Bus,
        warden: Warden,
        traffic: Traffic,
        lines: Lines,
        woken_for_nothing: Callable[[], None],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self._config = config
        self._agent = agent
        self._outbox = outbox
        self._to_agent = to_agent
        self._dialogue = dialogue
        self._bus = bus
        self._traffic = traffic
        self._lines = lines
        self._woken_for_nothing = woken_for_nothing
        self._on_death = on_death
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.pulse = Pulse("supervisor")
        self._session: Session | None = None
        # The session does not change while one of its events is taken in. Taken before the dialogue's lock.
        self._current = threading.Lock()
        self._state = State.ASLEEP
        self._decided_s = 0.0  # when the message that is being dealt with was taken: later acts are not its subject
        self._retry_at_s: float | None = None
        self._woken_by_speech = False
        self._deaf = False
        self._always = config.wake.mode == "always"
        self._greeting = Greeting(config, bus)
        self._connect_since_s = 0.0
        self._slow_at_s: float | None = None  # when to tell that connecting takes its time
        self._hangs_at_s = float("inf")  # when a session that has neither begun nor ended is given up
        self._outage = Outage(bus)
        self._news = News(bus)
        self._admission = Admission(warden, bus, always=self._always, max_s=config.session.max_s)
        self._unanswered = unanswered
        self._quiet = Quiet(dialogue, config.session)
        self._rolling_over = False
        self._keep_history = False
        self._was_heard_out = False

    @property
    def state(self) -> State:
        return self._state

    @property
    def asleep(self) -> bool:
        return self._state is State.ASLEEP

    @property
    def deaf(self) -> bool:
        """The device has opened the session, for it has to tell something, and nobody has woken the agent in it."""
        return self._deaf

    def start(self) -> None:
        self._thread.start()
        if self._always:
            self._inbox.put(Wake(by_speech=False, standing=True))

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        session = self._session
        return (self.pulse,) if session is None else (self.pulse, session.receiver_pulse, session.sender_pulse)

    def reconfigure(self, config: Config, agent: Agent) -> None:
        """What is looked at anew each time takes effect now; the agent is that of the next session, which is tried for
        at once where it was waited for."""
        self._inbox.put(Reconfigure(config, agent))

    def wake(self, *, by_speech: bool, anyway: bool = False) -> None:
        """anyway: also when a budget is spent; not for speech. A command wakes in quiet hours too."""
        self._inbox.put(Wake(by_speech, anyway=anyway and not by_speech))

    def wake_for_device(self) -> None:
        """The device has something to tell. In the session that is opened for it the microphone is not heard until
        somebody wakes the agent as usual, unless tools.timer_listens says otherwise."""
        self._inbox.put(Wake(by_speech=False, by_device=True))

    def sleep(self) -> None:
        self._inbox.put(Sleep())

    def end_soon(self) -> None:
        """The agent wants the conversation to end: after what it still says, and a little quiet."""
        self._dialogue.end_soon()
        self._inbox.put(EndSoon())

    def stop(self) -> None:
        """Hangs up with 1000 and ends the thread; at most about STOP_S."""
        self._inbox.put(Stop())
        if self._thread.is_alive():
            self._thread.join(2 * STOP_S)

    # ------------------------------------------------------------ receiver thread

    def session_ready(self, session: Session, ready: Ready) -> None:
        wanted = False
        with self._current:
            if session is self._session:
                self._dialogue.begin(
                    session.codec,
                    ready,
                    greeting_possible=not session.suppress_greeting,
                    skip_greeting=not session.suppress_greeting and self._greeting_unwanted(),
                )
                self._inbox.put(Opened(session, ready))
                wanted = True
        if not wanted:
            session.hang_up("a session that is no longer wanted")
            return
        # What follows in it is told after its beginning. The supervisor does not wait for the other side.
        if not session.told.wait(TOLD_S):
            log.warning("the supervisor is slow: events of the session may be told before its beginning")

    def session_event(self, session: Session, event: AgentEvent) -> None:
        with self._current:
            if session is self._session:
                self._dialogue.agent_event(event)

    def session_ended(self, session: Session, ending: Ending) -> None:
        self._inbox.put(Ended(session, ending))

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
                self._decided_s = time.monotonic()
                if isinstance(message, Stop):
                    break
                if message is not None:
                    self._take(message)
                self._look_at_timers(time.monotonic())
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("supervisor", error)
            return
        session = self._let_go()
        if session is not None:
            session.hang_up("the daemon stops")
            session.wait_over(STOP_S)
        self._news.hung_up("the daemon stops")
        # It is kept in memory only, so whoever starts next knows nothing of it.
        self._unanswered.give_up_all(float("inf"), "the daemon stops")

    def _take(self, message: Message) -> None:
        match message:
            case Wake() if self._is_refused(message):
                pass
            case Wake(by_device=True):
                if self._state is State.ASLEEP:
                    self._woken_by_speech = False
                    self._deaf = not self._config.tools.timer_listens
                    self._news.woken("device")
                    self._move(Trigger.WAKE, "the device has something to tell")
            case Wake(by_speech=True):
                # Speech waits for the retry that is due anyhow; a noisy room must not hammer a broken server.
                if self._state is State.ASLEEP or self._deaf:
                    self._woken_by_speech = True
                    by_word = self._config.wake.mode == "word"
                    self._news.woken("word" if by_word else "speech")
                    self._hear()
                if self._state is State.ASLEEP:
                    self._move(Trigger.WAKE, "somebody says the wake word" if by_word else "somebody speaks")
            case Wake(standing=standing):
                self._woken_by_speech = False
                if not standing and (self._deaf or move(self._state, Trigger.WAKE) is not None):
                    self._news.woken("command")
                self._hear()
                self._move(Trigger.WAKE, "woken")
            case Sleep():
                self._retry_at_s = None
                self._move(Trigger.SLEEP, "sent to sleep")
            case Reconfigure(config=config, agent=agent):
                self._reconfigure(config, agent)
            case Opened(session=session, ready=ready) if session is self._session:
                self._opened(session, ready)
            case Ended(session=session, ending=ending) if session is self._session:
                self._session = None
                self._ended(session, ending)
            case _:
                pass

    def _hear(self) -> None:
        """Somebody has woken the agent: from now on the room is for it."""
        if self._deaf:
            log.info("somebody wakes the agent, in a session that the device has opened")
            self._dialogue.person_wakes()
        self._deaf = False

    def _reconfigure(self, config: Config, agent: Agent) -> None:
        self._config = config
        self._agent = agent
        self._backoff = Backoff(config.reconnect.initial_s, config.reconnect.max_s)
        self._greeting.reconfigure(config)
        self._quiet.reconfigure(config.session)
        self._always = config.wake.mode == "always"
        self._admission.reconfigure(always=self._always, max_s=config.session.max_s)
        if self._state is State.BACKING_OFF:
            self._move(Trigger.RETRY_DUE, "the configuration was read again")
        elif self._always and not self._is_refused(Wake(by_speech=False, standing=True)):
            self._move(Trigger.WAKE, "always")

    def _opened(self, session: Session, ready: Ready) -> None:
        now_s = time.monotonic()
        self._rolling_over = False
        tries = max(1, self._backoff.tries)
        handshake_ms = round((now_s - self._connect_since_s) * 1000)
        self._move(
            Trigger.READY,
            f"conversation {ready.conversation_id}",
            {"conversation_id": ready.conversation_id, "handshake_ms": handshake_ms},
        )
        self._news.opened(ready, now_s, handshake_ms=handshake_ms, resent_ms=self._outbox.kept_ms, tries=tries)
        # After it, for the return belongs to the new conversation.
        self._outage.opened(now_s)
        session.told.set()

    def _ended(self, session: Session, ending: Ending) -> None:
        now_s = time.monotonic()
        agent_hangs_up = self._dialogue.agent_hangs_up
        self._dialogue.line_ended()
        self._news.ended(ending)
        codec = session.codec
        if codec.malformed or codec.unknown:
            log.info("%d messages could not be read, %d were of unknown types", codec.malformed, codec.unknown)
        if codec.refused_calls:
            log.info("%d calls of tools had not the form of one, and were answered so", codec.refused_calls)
        if self._state is State.LIVE and self._outage.was_good(now_s):
            self._backoff.reset()
        if session.suppress_greeting and self._greeting.is_refused(ending):
            self._move(Trigger.GREETING_REFUSED, "again, with its greeting")
            return
        match ending.kind:
            case _ if ending.kind is EndingKind.AGENT or agent_hangs_up:
                if ending.time_is_up:
                    log.warning("the session was cut for its age; set session.max_s below the agent's own limit")
                self._keep_history = ending.time_is_up
                if self._state is State.LIVE and not agent_hangs_up and self._outbox.closed(now_s):
                    # Not an answer to what was said just before.
                    self._move(Trigger.LOST, f"{ending.reason} before it answered; it is asked again", about(ending))
                    return
                again = self._always or self._talk_begins_s() < float("inf")
                # An agent that hangs up while somebody talks, or before it began, has not judged what woke the daemon.
                if self._state is State.LIVE and not again and self._quiet.is_false_wake(self._woken_by_speech):
                    self._doubt()
                self._move(Trigger.AGENT_HUNG_UP, ending.reason, about(ending))
                if self._state is State.ASLEEP and again:
                    self._woken_by_speech = not self._always
                    self._retry_at_s = now_s + self._backoff.next_s()
            case EndingKind.FINAL:
                self._outage.tell(ending.reason, ending, logging.ERROR)
                self._move(Trigger.REFUSED, ending.reason, about(ending))
            case _:
                what = "" if self._state is State.LIVE else "no line to the agent: "
                self._outage.tell(what + ending.reason, ending, logging.WARNING)
                self._move(Trigger.LOST, ending.reason, about(ending))

    # ------------------------------------------------------------ moves

    def _move(self, trigger: Trigger, reason: str, more: Fields | None = None) -> None:
        step = move(self._state, trigger)
        if step is None:
            return
        before, self._state = self._state, step.to
        self._rolling_over = trigger is Trigger.OLD or (self._rolling_over and trigger is Trigger.GREETING_REFUSED)
        self._was_heard_out = trigger in (Trigger.IDLE, Trigger.FALSE_WAKE)
        self._keep_history |= trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SPENT, Trigger.GIVEN_UP)
        for action in step.actions:
            self._act(action, reason)
        self._keep_history = False
        if step.to is State.ASLEEP:
            self._admission.fell_asleep(trigger, resumes=not self._deaf)
            self._deaf = False
        if before is not step.to:
            # An outage is told once when it begins and once when it ends, not at every try.
            retrying = self._outage.is_told and State.ASLEEP not in (before, step.to)
            self._news.moved(before, step.to, trigger, reason, more or {}, again=retrying)
        if trigger in (Trigger.IDLE, Trigger.FALSE_WAKE, Trigger.SLEEP):
            self._backoff.reset()

    def _act(self, action: Action, reason: str) -> None:
        match action:
            case Action.CONNECT | Action.CONNECT_WITHOUT_OVERRIDE:
                self._connect()
            case Action.ANNOUNCE:
                self._retry_at_s = None
            case Action.HANG_UP:
                session = self._let_go()
                if session is not None:
                    session.hang_up("nobody needs the session any more")
                self._dialogue.line_ended()
                self._news.hung_up(reason)
            case Action.RETRY_SOON:
                self._retry_at_s = time.monotonic() + self._backoff.next_s()
            case Action.RETRY_LATE:
                self._retry_at_s = time.monotonic() + self._backoff.longest_s()
            case Action.DOUBT:
                self._doubt()
            case Action.FORGET:
                self._retry_at_s = None
                self._dialogue.conclude(self._decided_s, keep_history=self._keep_history)
                self._unanswered.give_up(self._talk_begins_s(), reason, was_heard_out=self._was_heard_out)
                if self._to_agent.typed_s is not None:
                    # It was typed into a session that was just ending; nothing has woken the daemon for it yet.
                    self._inbox.put(Wake(by_speech=False, by_device=self._to_agent.only_device_typed))

    def _doubt(self) -> None:
        # A wake word is no matter of loudness.
        if self._config.wake.mode == "speech":
            self._woken_for_nothing()

    def _let_go(self) -> Session | None:
        """Nothing more is heard of it."""
        with self._current:
            session, self._session = self._session, None
        if session is not None:
            session.told.set()
        return session

    def _connect(self) -> None:
        self._retry_at_s = None
        self._connect_since_s = time.monotonic()
        self._slow_at_s = self._connect_since_s + SLOW_S
        # Its thread keeps three deadlines of that length, unless it has died or hangs.
        self._hangs_at_s = self._connect_since_s + 3 * self._config.session.connect_timeout_s + HANGS_AFTER_S
        unwanted = self._greeting_unwanted()
        self._session = Session(
            self._agent,
            self._outbox,
            self,
            suppress_greeting=unwanted and self._greeting.may_suppress,
            timeout_s=self._config.session.connect_timeout_s,
            traffic=self._traffic,
            lines=self._lines,
            on_death=self._on_death,
        )
        self._session.start()

    def _abandon(self) -> None:
        """The session's thread has neither begun nor ended it in time: where memory ran out, a thread may die or hang
        before its first line is run, and tells nobody."""
        session = self._let_go()
        if session is None:
            return
        session.hang_up("it hangs")
        self._outbox.end(session)
        waited_s = time.monotonic() - self._connect_since_s
        self._ended(session, retry(f"connecting has hung for {waited_s:.0f} s"))

    def _talk_begins_s(self) -> float:
        """From when on speech belongs to what somebody is saying right now; infinite when nobody talks."""
        since_s = self._dialogue.talk_since_s
        if since_s is None or self._config.wake.mode in ("manual", "word"):
            return float("inf")
        return since_s - self._config.gate.pre_roll_ms / 1000

    def _greeting_unwanted(self) -> bool:
        asked = self._woken_by_speech or self._dialogue.continues or self._to_agent.typed_s is not None
        return self._greeting.is_unwanted(asked=asked, in_mid_conversation=self._rolling_over)

    # ------------------------------------------------------------ timers

    def _time_to_next_look_s(self) -> float | None:
        now_s = time.monotonic()
        due_s = [self._admission.next_look_s(now_s, self._state, self._outage.live_since_s)]
        if self._retry_at_s is not None:
            due_s.append(self._retry_at_s)
        if self._state is State.CONNECTING:
            due_s.append(self._hangs_at_s)
            if self._slow_at_s is not None:
                due_s.append(self._slow_at_s)
        if self._state is State.LIVE:
            due_s.append(self._outage.next_look_s)
            held_open = self._admission.held_open and not self._deaf
            due_s.append(
                self._quiet.next_look_s(now_s, held_open=held_open, by_speech=self._woken_by_speech, deaf=self._deaf)
            )
        if self._state is not State.ASLEEP:
            said_s = (self._unanswered.newest_s, self._unanswered.oldest_spoken_s)
            due_s += [at_s + self._config.session.keep_utterance_s for at_s in said_s if at_s is not None]
        # While somebody is busy past the deadline, look again soon rather than at once.
        return max(0.05, min(due_s) - now_s) if min(due_s) < float("inf") else None

    def _look_at_timers(self, now_s: float) -> None:
        if self._retry_at_s is not None and now_s >= self._retry_at_s:
            self._retry_at_s = None
            if self._state is State.BACKING_OFF:
                self._move(Trigger.RETRY_DUE, "next try")
            elif not self._is_refused(Wake(by_speech=not self._always, standing=self._always)):
                self._move(Trigger.WAKE, "next try")
        if self._admission.may_resume() and not self._is_refused(Wake(by_speech=False, standing=True)):
            self._woken_by_speech = False
            self._move(Trigger.WAKE, "sessions are allowed again")
        if self._state is State.CONNECTING and self._slow_at_s is not None and now_s >= self._slow_at_s:
            self._slow_at_s = None
            self._outage.slow()
        if self._state is State.CONNECTING and now_s >= self._hangs_at_s:
            self._abandon()
        if self._state is State.LIVE:
            self._outage.look(now_s)
        if self._state is State.LIVE:
            # Before its age: nobody needs another one instead.
            held_open = self._admission.held_open and not self._deaf
            if quiet := self._quiet.due(now_s, held_open=held_open, by_speech=self._woken_by_speech, deaf=self._deaf):
                self._move(*quiet)
        pause = self._dialogue.between_turns(now_s)
        if due := self._admission.due(now_s, self._state, self._outage.live_since_s, between_turns=pause):
            self._move(*due)
        self._give_up_old(now_s - self._config.session.keep_utterance_s)

    def _give_up_old(self, before_s: float) -> None:
        cause = "no agent could be reached for it in time"
        newest_s = self._unanswered.newest_s
        if newest_s is not None and newest_s <= before_s:
            self._unanswered.give_up_all(self._decided_s, cause)
            if not self._always:
                self._move(Trigger.GIVEN_UP, "what was said is too old to be answered")
        elif (oldest_s := self._unanswered.oldest_spoken_s) is not None and oldest_s <= before_s:
            self._unanswered.give_up_old(before_s, cause)

    def _is_refused(self, wake: Wake) -> bool:
        if self._admission.refuses(wake, self._state, self._decided_s):
            self._unanswered.refused()
            return True
        self._unanswered.admitted(self._talk_begins_s())
        return False
