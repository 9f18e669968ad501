"""The conversation for all who take part in it: the thread-safe shell around conversation.py.

Several threads come here: the session's receiver (agent events), ears (talk), playback (what is audible), tools,
whoever gives commands, and the supervisor. A lock makes them take turns in what is decided, and nothing else is done
under it. All decisions are carried out afterwards, in the same order and under no lock: see InOrder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

from parleyd.agents import commands as to_agent
from parleyd.agents.commands import Prepared
from parleyd.agents.events import AgentEvent, Ready
from parleyd.agents.provider import Capabilities, SessionWish, ToolSpec
from parleyd.audio.playback.playhead import HeardPart
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.answers import heard_of
from parleyd.conversation.dialogue.commands import (
    Answered,
    AskApproval,
    CancelTools,
    Channel,
    Command,
    Cut,
    Duck,
    EndAnswer,
    Log,
    PersonSpeaks,
    Play,
    Publish,
    Send,
    SessionOver,
    SetFormat,
    Taken,
    Transcribed,
    UseTool,
)
from parleyd.conversation.dialogue.conversation import Busy, Conversation
from parleyd.conversation.dialogue.idle import IdleEnd, Patience
from parleyd.conversation.dialogue.voice import NoVoice, Voice
from parleyd.conversation.session.outbox import Outbox
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.tools.device_tools import DeviceTools
from parleyd.tools.result import Result

log = logging.getLogger(__name__)


class InOrder:
    """Carries things out one at a time, in the order in which they were put here, and under no lock.

    After put() comes run(). A thread that finds another one at work leaves its calls to that one, and goes on; so does
    a call that is made in the midst of being carried out. All calls that are put here must return at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_running = False

    def put(self, *calls: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.extend(calls)

    def run(self) -> None:
        while True:
            with self._lock:
                if self._is_running or not self._waiting:
                    return
                self._is_running = True
                call = self._waiting.popleft()
            try:
                call()
            finally:
                with self._lock:
                    self._is_running = False


class Dialogue:
    """Thread-safe; everything returns at once. See conversation.py for what each method means.

    voice: None where nobody hears the agent; answers are texts then. barge_in, continuity: the configuration
    sections. tools: what the agent may do here.
    """

    def __init__(
        self,
        voice: Voice | None,
        outbox: Outbox,
        bus: events.Bus,
        barge_in: BargeIn,
        continuity: Continuity,
        tools: DeviceTools,
    ) -> None:
        self._voice: Voice = voice or NoVoice()
        self._outbox = outbox
        self._bus = bus
        self._tools = tools
        self._lock = threading.Lock()
        self._conversation = Conversation(
            by_text=voice is None,
            barge_in=barge_in,
            continuity=continuity,
            tools=tools.tools,
            specs=tools.specs,
        )
        self._in_order = InOrder()

    @contextmanager
    def _turn(self) -> Iterator[tuple[Conversation, float]]:
        """The conversation, and the time; the decisions are carried out at the end."""
        with self._lock:
            yield self._conversation, time.monotonic()
            self._in_order.put(*(partial(self._do, command) for command in self._conversation.take_commands()))
        self._in_order.run()

    def _busy(self, now_s: float) -> Busy:
        """Asked without the lock."""
        return Busy(self._voice.audible(now_s), self._voice.silent_from_s, self._tools.busy)

    def reconfigure(self, barge_in: BargeIn, continuity: Continuity) -> None:
        with self._turn() as (conversation, _):
            conversation.reconfigure(barge_in, continuity)

    def offer(self, tools: Container[str], specs: Sequence[ToolSpec]) -> None:
        """See Conversation.offer."""
        with self._turn() as (conversation, _):
            conversation.offer(tools, specs)

    # ------------------------------------------------------------ supervisor

    def publish(self, event: events.Event) -> None:
        """After all that was decided before, and before all that is decided from now on."""
        self.then(partial(self._bus.publish, event))

    def then(self, call: Callable[[], object]) -> None:
        """Once all that was decided before is carried out. The call must return at once."""
        self._in_order.put(call)
        self._in_order.run()

    @property
    def farewell_s(self) -> float | None:
        with self._lock:
            return self._conversation.farewell_s

    def quiet_s(self, now_s: float) -> float:
        busy = self._busy(now_s)
        with self._lock:
            return self._conversation.quiet_s(now_s, busy)

    def between_turns(self, now_s: float) -> bool:
        busy = self._busy(now_s)
        with self._lock:
            return self._conversation.between_turns(now_s, busy)

    @property
    def talk_since_s(self) -> float | None:
        with self._lock:
            return self._conversation.talk_since_s

    @property
    def continues(self) -> bool:
        with self._lock:
            return self._conversation.continues(time.monotonic())

    @property
    def understood(self) -> bool:
        with self._lock:
            return self._conversation.understood

    @property
    def agent_hangs_up(self) -> bool:
        with self._lock:
            return self._conversation.agent_hangs_up(time.monotonic())

    @property
    def typed_s(self) -> float | None:
        with self._lock:
            return self._conversation.to_agent.typed_s

    @property
    def only_device_typed(self) -> bool:
        with self._lock:
            return self._conversation.to_agent.only_device_typed

    def no_longer_needed(self, now_s: float, patience: Patience) -> IdleEnd | None:
        with self._lock:
            return self._conversation.no_longer_needed(now_s, patience)

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        with self._lock:
            return self._conversation.next_idle_look_s(now_s, patience)

    def line_ended(self, *, is_lost: bool = False) -> None:
        with self._turn() as (conversation, _):
            conversation.line_ended(is_lost=is_lost)

    def conclude(self, decided_s: float, *, keep_history: bool) -> None:
        with self._turn() as (conversation, now_s):
            conversation.conclude(decided_s, now_s, keep_history=keep_history)

    @property
    def next_look_s(self) -> float | None:
        """See Conversation.next_look_s."""
        with self._lock:
            return self._conversation.next_look_s

    def look(self) -> None:
        """See Conversation.look."""
        with self._turn() as (conversation, now_s):
            conversation.look(now_s)

    def forget_typed(self, before_s: float, cause: str) -> None:
        with self._turn() as (conversation, now_s):
            conversation.to_agent.forget_typed(before_s, cause, now_s)

    def person_wakes(self) -> None:
        with self._turn() as (conversation, now_s):
            conversation.person_wakes(now_s)

    def end_soon(self) -> None:
        with self._turn() as (conversation, now_s):
            conversation.end_soon(now_s)

    # ------------------------------------------------------------ receiver thread

    def wish(self, *, greet: bool) -> SessionWish:
        """See Conversation.wish."""
        with self._lock:
            return self._conversation.wish(time.monotonic(), greet=greet)

    def begin(
        self,
        session: Channel,
        capabilities: Capabilities,
        ready: Ready,
        is_wanted: Callable[[], bool],
        *,
        greets: bool,
        skip_greeting: bool,
        is_fallback: bool = False,
    ) -> bool:
        """Returns whether the session is still wanted. is_wanted: asked in the conversation's turn; must return at
        once."""
        has_kept_speech = self._outbox.kept_ms > 0
        with self._turn() as (conversation, now_s):
            if not is_wanted():
                return False
            conversation.begin(
                session,
                capabilities,
                ready,
                now_s,
                greets=greets,
                skip_greeting=skip_greeting,
                has_kept_speech=has_kept_speech,
                is_fallback=is_fallback,
            )
            return True

    def agent_event(self, session: Channel, event: AgentEvent) -> None:
        with self._turn() as (conversation, now_s):
            conversation.agent_event(session, event, now_s)

    # ------------------------------------------------------------ ears thread

    def talk_started(self, since_s: float) -> None:
        with self._turn() as (conversation, now_s):
            conversation.talk_started(since_s, now_s)

    def talk_goes_on(self, talk_ms: int) -> None:
        # Asked without the lock, as most talk is over no agent. If the agent begins now, the next frame will tell.
        if not self._conversation.may_cut:
            return
        is_audible = self._voice.audible(time.monotonic())
        with self._turn() as (conversation, now_s):
            conversation.talk_goes_on(talk_ms, now_s, is_audible=is_audible)

    def talk_stopped(self) -> None:
        with self._turn() as (conversation, now_s):
            conversation.talk_stopped(now_s)

    # ------------------------------------------------------------ playback thread

    def answer_started(self, answer: int, at_s: float) -> None:
        with self._turn() as (conversation, now_s):
            conversation.answer_started(answer, at_s, now_s)

    def answer_ended(self, heard: HeardPart) -> None:
        with self._turn() as (conversation, now_s):
            conversation.answer_ended(heard, now_s)

    # ------------------------------------------------------------ commands

    def say(self, text: str) -> None:
        """See AgentInput.say."""
        with self._turn() as (conversation, now_s):
            conversation.say(text, now_s)

    def context(self, text: str, context_id: str | None = None, *, by_person: bool = True) -> bool:
        """See AgentInput.context."""
        with self._turn() as (conversation, now_s):
            return conversation.to_agent.context(text, context_id, now_s, by_person=by_person)

    def send_file(self, file: Prepared, text: str | None, sent: events.FileSent, *, of_camera: bool = False) -> bool:
        """See AgentInput.send_file."""
        with self._turn() as (conversation, now_s):
            return conversation.send_file(file, text, sent, now_s, of_camera=of_camera)

    def mute(self, on: bool) -> None:
        """See Conversation.mute."""
        with self._turn() as (conversation, now_s):
            conversation.mute(on, now_s)

    def silence(self) -> None:
        """Ends the answer that is being given: a person has told the device itself to be quiet."""
        is_audible = self._voice.audible(time.monotonic())
        with self._turn() as (conversation, now_s):
            conversation.silence(now_s, is_audible=is_audible)

    def user_active(self) -> bool:
        """See AgentInput.user_active."""
        with self._turn() as (conversation, now_s):
            return conversation.to_agent.user_active(now_s)

    def feedback(self, score: Literal["like", "dislike"] | None) -> bool:
        """See AgentInput.feedback."""
        with self._turn() as (conversation, now_s):
            return conversation.to_agent.feedback(score, now_s)

    def tell(self, text: str) -> None:
        """See AgentInput.tell. The agent is to say so unless somebody is talking with it right now."""
        busy = self._busy(time.monotonic())
        with self._turn() as (conversation, now_s):
            conversation.to_agent.tell(text, now_s, ask=conversation.between_turns(now_s, busy))

    # ------------------------------------------------------------ the consequences; under no lock

    def _do(self, command: Command) -> None:
        match command:
            case Play(answer=answer, data=data):
                self._voice.enqueue(answer, data)
            case EndAnswer(answer=answer):
                self._voice.end_answer(answer)
            case Duck(on=on):
                self._voice.duck(on)
            case Cut():
                self._cut(command)
            case SetFormat(fmt=fmt):
                self._voice.set_format(fmt)
            case Send(session=session, command=told):
                session.send(told)
            case Taken(until_ms=until_ms):
                self._outbox.taken(until_ms)
            case Transcribed(at_s=at_s):
                self._outbox.transcribed(at_s)
            case Answered(at_s=at_s, has_transcripts=has_transcripts):
                self._outbox.answered(at_s, has_transcripts=has_transcripts)
            case UseTool():
                self._tools.call(command.call, partial(self._tool_worked, command))
            case AskApproval():
                self._tools.ask(command.asked, partial(self._approval_given, command))
            case CancelTools(call_ids=call_ids):
                self._tools.cancel(call_ids)
            case PersonSpeaks():
                self._tools.person_speaks()
            case SessionOver():
                self._tools.session_over()
            case Publish(event=event):
                self._bus.publish(event)
            case Log(level=level, text=text, fields=about):
                log.log(level, "%s", text, extra=fields(**about))

    def _cut(self, cut: Cut) -> None:
        cleared = self._voice.clear()
        if cleared:
            self._bus.publish(events.BargedIn(at_s=cut.at_s, by=cut.by, heard_ms=cleared[0].heard_ms))
        if cut.session is not None:
            # Here, and not as a command of its own: nothing that was decided after the cut may reach the agent before.
            cut.session.send(to_agent.Cut(heard_of(cut.answers, cleared), cut.by))

    def _tool_worked(self, use: UseTool, result: Result) -> bool:
        """Any thread."""
        with self._turn() as (conversation, now_s):
            return conversation.tool_worked(use.session, use.call.call_id, use.key, result, now_s)

    def _approval_given(self, ask: AskApproval, is_approved: bool) -> bool:
        """Any thread."""
        with self._turn() as (conversation, now_s):
            return conversation.approval_given(ask.session, ask.asked.call_id, ask.key, now_s, is_approved=is_approved)
