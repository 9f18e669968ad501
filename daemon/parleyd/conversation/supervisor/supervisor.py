"""The supervisor: the thread that holds sessions. One inbox; what it decides is lifecycle.py's, by the table's moves.

Everything that happens elsewhere arrives as a message; timers are deadlines looked at between messages. Sessions that
were given up may still report; only the current one counts.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from parleyd.agents.events import AgentEvent, AnswerFailed, EndsSoon, Ready
from parleyd.agents.provider import Agent, Capabilities
from parleyd.config.schema import Config
from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.dialogue.dialogue import Dialogue
from parleyd.conversation.dialogue.idle import IdleEnd, Patience
from parleyd.conversation.session.in_flight import Lines
from parleyd.conversation.session.outbox import Outbox
from parleyd.conversation.session.probing import answers
from parleyd.conversation.session.retries import retry
from parleyd.conversation.session.traffic import Traffic
from parleyd.conversation.session.uplink import GivenUp, Loss
from parleyd.conversation.supervisor.commands import (
    Abandon,
    Command,
    Commands,
    Conclude,
    Connect,
    ForgetSpeech,
    GiveUpSpeech,
    GiveUpTyped,
    HangUp,
    LineEnded,
    PersonWakes,
    Probe,
    Refuse,
    Sleep,
    StartFallback,
    StopFallback,
    Wake,
    WakeAgain,
    WokenForNothing,
)
from parleyd.conversation.supervisor.fallback import Fallback
from parleyd.conversation.supervisor.lifecycle import Lifecycle
from parleyd.core import events
from parleyd.core.endings import Ending
from parleyd.core.health import Pulse
from parleyd.core.log_fields import fields
from parleyd.core.states import State
from parleyd.usage.allowance import Refusal
from parleyd.usage.limits import UsageLimits

if TYPE_CHECKING:
    from parleyd.conversation.session.session import Session

log = logging.getLogger(__name__)

# How long a stopping daemon waits for the server's answer to its close.
STOP_S = 1.0
# While somebody is busy past a deadline, it is looked at again soon rather than at once.
SOONEST_LOOK_S = 0.05


class Reconfigure(Struct, frozen=True):
    config: Config
    agent: Agent


class Stop(Struct, frozen=True):
    pass


class LookAgain(Struct, frozen=True):
    """The deadlines may have changed."""


class Opened(Struct, frozen=True):
    session: Session
    ready: Ready


class WillEnd(Struct, frozen=True):
    """The server has announced the end of the session."""

    session: Session
    in_s: float


class Ended(Struct, frozen=True):
    session: Session
    ending: Ending


class NotBegun(Struct, frozen=True):
    """A session could not even be made. sink: its own."""

    sink: SessionSink
    ending: Ending


class OutOfCredit(Struct, frozen=True):
    """The session goes on, and nothing will be answered in it."""

    session: Session
    reason: str
    hint: str | None


class Probed(Struct, frozen=True):
    """answers: the agent's server does."""

    answers: bool


Message = Wake | Sleep | Reconfigure | Stop | LookAgain | Opened | WillEnd | Ended | NotBegun | OutOfCredit | Probed


class SessionSink:
    """Where one session hands in what happens in it, on its receiver thread: straight to the dialogue.

    Its first events wait until the supervisor has told that it has opened, and says let_in(). After close() they are
    dropped; so is the session, if it begins only then. capabilities: of its agent. greeting_is_unwanted: asked once the
    session is ready.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        capabilities: Capabilities,
        tell: Callable[[Message], None],
        greeting_is_unwanted: Callable[[], bool],
        *,
        is_fallback: bool,
    ) -> None:
        self._dialogue = dialogue
        self._capabilities = capabilities
        self._tell = tell
        self._greeting_is_unwanted = greeting_is_unwanted
        self._is_fallback = is_fallback
        self._is_open = True
        self._may_go_on = threading.Event()

    # ------------------------------------------------------------ receiver thread

    def ready(self, session: Session, ready: Ready) -> None:
        greets = not session.asked_for_silence
        is_wanted = self._dialogue.begin(
            session,
            self._capabilities,
            ready,
            lambda: self._is_open,
            greets=greets,
            skip_greeting=greets and self._greeting_is_unwanted(),
            is_fallback=self._is_fallback,
        )
        if not is_wanted:
            session.hang_up("a session that is no longer wanted")
            return
        self._tell(Opened(session, ready))
        # The supervisor never waits for a session, so this is short; if it hangs, the health of both threads tells.
        self._may_go_on.wait()

    def event(self, session: Session, event: AgentEvent) -> None:
        if not self._is_open:
            return
        self._dialogue.agent_event(session, event)
        match event:
            case EndsSoon(in_s=in_s):
                self._tell(WillEnd(session, in_s))
            case AnswerFailed(reason=reason, hint=hint, without_credit=True):
                self._tell(OutOfCredit(session, reason, hint))
            case AnswerFailed():
                # The dialogue may want to be looked at when another try is due.
                self._tell(LookAgain())
            case _:
                pass

    def ended(self, session: Session, ending: Ending) -> None:
        # The signs that the agent heard something are known to the uplink before the end is judged.
        self._dialogue.then(lambda: self._tell(Ended(session, ending)))

    # ------------------------------------------------------------ supervisor

    def let_in(self) -> None:
        """That the session has opened is told."""
        self._may_go_on.set()

    def close(self) -> None:
        """Nothing that happens from now on in this session is taken in. Dialogue.line_ended() has to follow."""
        self._is_open = False
        self._may_go_on.set()


class DaemonFacts:
    """The answers of the rest of the daemon to the lifecycle's questions; see commands.Facts."""

    def __init__(self, outbox: Outbox, dialogue: Dialogue, usage_limits: UsageLimits) -> None:
        self._outbox = outbox
        self._dialogue = dialogue
        self._usage_limits = usage_limits

    @property
    def kept_until_s(self) -> float | None:
        return self._outbox.kept_until_s

    @property
    def kept_from_s(self) -> float | None:
        return self._outbox.kept_from_s

    @property
    def kept_ms(self) -> int:
        return self._outbox.kept_ms

    @property
    def typed_s(self) -> float | None:
        return self._dialogue.typed_s

    @property
    def only_device_typed(self) -> bool:
        return self._dialogue.only_device_typed

    @property
    def talk_since_s(self) -> float | None:
        return self._dialogue.talk_since_s

    @property
    def continues(self) -> bool:
        return self._dialogue.continues

    @property
    def understood(self) -> bool:
        return self._dialogue.understood

    @property
    def agent_hangs_up(self) -> bool:
        return self._dialogue.agent_hangs_up

    @property
    def farewell_s(self) -> float | None:
        return self._dialogue.farewell_s

    def quiet_s(self, now_s: float) -> float:
        return self._dialogue.quiet_s(now_s)

    def between_turns(self, now_s: float) -> bool:
        return self._dialogue.between_turns(now_s)

    def no_longer_needed(self, now_s: float, patience: Patience) -> IdleEnd | None:
        return self._dialogue.no_longer_needed(now_s, patience)

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        return self._dialogue.next_idle_look_s(now_s, patience)

    def is_asked_again(self, now_s: float) -> bool:
        return self._outbox.closed(now_s)

    def refusal(self, *, of_its_own: bool) -> Refusal | None:
        return self._usage_limits.refusal(of_its_own=of_its_own)

    def budget_spent(self) -> Refusal | None:
        return self._usage_limits.watch()

    def next_budget_look_s(self, now_s: float) -> float:
        return self._usage_limits.next_look_s(now_s)


class Supervisor:
    """start(), then stop().

    usage_limits: knows budgets and quiet hours. traffic: where sessions count their bytes. lines: where they put
    themselves while they are connected.
    fallback: answers while the agent cannot; None: there is none.
    woken_for_nothing: told when what the gate took for speech was none. on_death: told of the thread's end by an error.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        outbox: Outbox,
        dialogue: Dialogue,
        usage_limits: UsageLimits,
        traffic: Traffic,
        lines: Lines,
        woken_for_nothing: Callable[[], None],
        on_death: Callable[[str, BaseException], None],
        fallback: Fallback | None = None,
    ) -> None:
        self._config = config
        self._agent = agent
        self._fallback = fallback
        self._outbox = outbox
        self._dialogue = dialogue
        self._usage_limits = usage_limits
        self._traffic = traffic
        self._lines = lines
        self._woken_for_nothing = woken_for_nothing
        self._on_death = on_death
        self._facts = DaemonFacts(outbox, dialogue, usage_limits)
        self._lifecycle = Lifecycle(config)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.pulse = Pulse("supervisor")
        self._session: Session | None = None
        self._sink: SessionSink | None = None

    @property
    def state(self) -> State:
        return self._lifecycle.state

    @property
    def asleep(self) -> bool:
        return self._lifecycle.state is State.ASLEEP

    @property
    def deaf(self) -> bool:
        """See Lifecycle.deaf."""
        return self._lifecycle.deaf

    def start(self) -> None:
        self._thread.start()
        if self._config.wake.mode == "always":
            self._inbox.put(Wake(by_speech=False, standing=True))

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        session = self._session
        return (self.pulse,) if session is None else (self.pulse, session.receiver_pulse, session.sender_pulse)

    def reconfigure(self, config: Config, agent: Agent) -> None:
        """Settings that are looked at anew each time take effect now; the agent is that of the next session, which is
        tried for at once where it was waited for."""
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
        self._inbox.put(LookAgain())

    def look_again(self) -> None:
        """The dialogue may want to be looked at earlier than it was said."""
        self._inbox.put(LookAgain())

    def stop(self) -> None:
        """Hangs up with 1000 and ends the thread; at most about STOP_S."""
        self._inbox.put(Stop())
        if self._thread.is_alive():
            self._thread.join(2 * STOP_S)

    # ------------------------------------------------------------ any thread

    def tell_loss(self, loss: Loss) -> None:
        """Speech that no agent will hear."""
        # Not a warning: if it is due to an outage, that has been told.
        log.info(
            "%.2f s of speech reached no agent: %s", loss.lost_ms / 1000, loss.cause, extra=fields(reason=loss.cause)
        )
        self._dialogue.publish(events.SpeechLost(at_s=time.monotonic(), lost_ms=loss.lost_ms, cause=loss.cause))

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while True:
                self.pulse.rest()
                try:
                    message = self._inbox.get(timeout=self._time_to_next_look_s())
                except queue.Empty:
                    message = LookAgain()
                self.pulse.beat()
                if isinstance(message, Stop):
                    break
                # When it was taken: what is typed later is not its subject.
                self._carry_out(self._take(message, time.monotonic()))
                self._carry_out(self._lifecycle.look(time.monotonic(), self._facts))
                self._dialogue.look()
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._let_go()
            self._on_death("supervisor", error)
            return
        session = self._let_go()
        if session is not None:
            session.hang_up("the daemon stops")
            session.wait_over(STOP_S)
        self._dialogue.line_ended()
        self._carry_out(self._lifecycle.stop(time.monotonic()))

    def _time_to_next_look_s(self) -> float | None:
        now_s = time.monotonic()
        due_s = self._lifecycle.next_look_s(now_s, self._facts)
        if (retry_s := self._dialogue.next_look_s) is not None:
            due_s = min(due_s, retry_s)
        return max(SOONEST_LOOK_S, due_s - now_s) if due_s < float("inf") else None

    def _take(self, message: Message, now_s: float) -> Commands:
        match message:
            case Wake() | Sleep():
                yield from self._lifecycle.take(message, now_s, self._facts)
            case Reconfigure(config=config, agent=agent):
                self._config, self._agent = config, agent
                yield from self._lifecycle.reconfigure(config, now_s, self._facts)
            case Opened(session=session, ready=ready) if session is self._session:
                yield from self._lifecycle.opened(ready, now_s, self._facts)
                if self._sink is not None:
                    self._dialogue.then(self._sink.let_in)
            case OutOfCredit(session=session, reason=reason, hint=hint) if session is self._session:
                yield from self._lifecycle.out_of_credit(reason, hint, now_s, self._facts)
            case Probed(answers=is_back):
                self._lifecycle.probed(now_s, answers=is_back)
            case WillEnd(session=session, in_s=in_s) if session is self._session:
                self._lifecycle.ends_soon(in_s, now_s)
            case Ended(session=session, ending=ending) if session is self._session:
                self._session = self._sink = None
                _tell_ignored(session)
                yield from self._lifecycle.ended(ending, session.asked_for_silence, now_s, self._facts)
            case NotBegun(sink=sink, ending=ending) if sink is self._sink and self._session is None:
                self._sink = None
                yield from self._lifecycle.ended(ending, False, now_s, self._facts)
            case _:
                pass

    # ------------------------------------------------------------ commands

    def _carry_out(self, commands: Commands) -> None:
        """One after the other: a decision may ask about what the command before it has changed."""
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        match command:
            case Publish(event=event):
                self._dialogue.publish(event)
            case Log(level=level, text=text, fields=told):
                # A record names the state and the conversation that were told before it.
                self._dialogue.then(partial(log.log, level, "%s", text, extra=fields(**told)))
            case Connect():
                self._connect(command)
            case StartFallback() if self._fallback is not None:
                self._fallback.start()
            case StopFallback() if self._fallback is not None:
                self._fallback.stop()
            case Probe():
                self._probe()
            case HangUp():
                session = self._let_go()
                if session is not None:
                    session.hang_up("nobody needs the session any more")
                self._dialogue.line_ended()
            case Abandon():
                session = self._let_go()
                if session is not None:
                    session.hang_up("it hangs")
                    self._outbox.end(session)
            case LineEnded():
                self._dialogue.line_ended(is_lost=True)
            case Conclude(decided_s=decided_s, keep_history=keep_history):
                self._dialogue.conclude(decided_s, keep_history=keep_history)
            case GiveUpSpeech():
                self._give_up(command)
            case ForgetSpeech(before_s=before_s):
                self._outbox.forget(before_s)
            case GiveUpTyped(before_s=before_s, cause=cause):
                self._dialogue.forget_typed(before_s, cause)
            case PersonWakes():
                self._dialogue.person_wakes()
            case WokenForNothing():
                self._woken_for_nothing()
            case WakeAgain(wake=wake):
                self._inbox.put(wake)
            case Refuse(refusal=refusal, of_its_own=of_its_own):
                self._usage_limits.refuse(refusal, of_its_own=of_its_own)

    def _connect(self, command: Connect) -> None:
        agent = self._agent
        if command.to_fallback and self._fallback is not None:
            agent = self._fallback.agent
        self._sink = SessionSink(
            self._dialogue,
            agent.capabilities,
            self._inbox.put,
            lambda: self._lifecycle.greeting_is_unwanted(self._facts),
            is_fallback=command.to_fallback,
        )
        # Imported here, because the daemon is ready without: WebSockets and TLS follow right after (app/agents.py).
        try:
            from parleyd.conversation.session.session import Session

            agent.load()
        except (OSError, ImportError, MemoryError) as error:
            # Such as without file handles, which were lacking then, too.
            ending = retry(f"what a session needs cannot be loaded: {error}", "see what else runs on this device")
            self._inbox.put(NotBegun(self._sink, ending))
            return
        self._session = Session(
            agent,
            self._outbox,
            self._sink,
            wish=partial(self._dialogue.wish, greet=not command.suppress_greeting),
            timeout_s=self._config.session.connect_timeout_s,
            traffic=self._traffic,
            lines=self._lines,
            on_death=self._on_death,
        )
        self._session.start()

    def _probe(self) -> None:
        agent, timeout_s = self._agent, self._config.session.connect_timeout_s

        def probe() -> None:
            try:
                is_back = answers(agent, timeout_s)
            except MemoryError as error:
                log.debug("no memory to ask whether the agent is back: %s", error)
                is_back = False
            self._inbox.put(Probed(is_back))

        thread = threading.Thread(target=probe, name="agent-probe", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._inbox.put(Probed(answers=False))

    def _let_go(self) -> Session | None:
        """Nothing more is heard of it."""
        session, self._session = self._session, None
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
        return session

    def _give_up(self, command: GiveUpSpeech) -> None:
        forget = self._outbox.forget_ended if command.is_whole_utterances else self._outbox.forget
        gone = forget(command.before_s, time.monotonic())
        made_nothing_ms = gone.passed_over_ms
        if made_nothing_ms and not command.was_heard_out:
            # It was not lost: the agent had it, and had the time for it.
            log.info("the agent has made nothing of %.2f s of speech", made_nothing_ms / 1000)
        loss = loss_of(gone, command)
        if loss is not None:
            self.tell_loss(loss)


def loss_of(gone: GivenUp, command: GiveUpSpeech) -> Loss | None:
    """The part of the speech that was given up that is to be told as lost."""
    passed_over_ms = gone.sent_ms if command.was_heard_out else gone.passed_over_ms
    lost_ms = gone.unsent_ms + gone.sent_ms - passed_over_ms
    if not lost_ms or not command.is_told:
        return None
    was_sent = gone.sent_ms > passed_over_ms
    never_shown = "; it was sent, but never shown to have been heard" if was_sent else ""
    return Loss(lost_ms, command.cause + never_shown)


def _tell_ignored(session: Session) -> None:
    malformed, unknown, refused_calls = session.ignored
    if malformed or unknown:
        log.info("%d messages could not be read, %d were of unknown types", malformed, unknown)
    if refused_calls:
        log.info("%d calls of tools had not the form of one, and were answered so", refused_calls)
