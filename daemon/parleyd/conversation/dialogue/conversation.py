"""The conversation itself: what the agent does, what the person does, and what follows from it. Pure.

Events come in from the agent (agent_event), the person (talk_…), the speaker (answer_…), the tools (tool_worked,
approval_given) and from commands (say, tell, …), each with its time. What follows is collected as commands, which
take_commands() hands out in the order in which they are to be carried out. What has to be known of the speaker, the
tools and the uplink is an argument.

**Sessions.** A conversation goes on over several sessions. begin() opens one, line_ended() closes it, conclude() ends
the conversation. A session is known by a token; nothing that comes of a session which is not open counts.

**Invariants**, held by tests/conversation/test_conversation.py over generated sequences:

1. Every message goes into the session that was open when it was decided on. A session is told nothing after it ended.
2. What was typed goes into each session once, in order, until an answer shows that the agent has it; after that never
   again. What was never sent and is given up is told as lost, once.
3. Answers are numbered upwards. After a cut, a final transcript or a new session, sound belongs to a later answer, so
   at most one answer has the floor.
4. After a cut by this side, nothing more of that turn is played: a cut leaves nothing.
5. What is told to the next session as heard of an answer that was cut is no more than what the speaker played of it; of
   one that was cut before its sound began, nothing. (Of an answer whose line went in its middle the whole text is told:
   how much of it had come as sound, nobody knows.)
6. The agent's voice is ducked only while both talk, and comes back when one of them ends.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from parleyd.agents.agent import (
    AgentAudio,
    AgentError,
    AgentEvent,
    AgentHangsUp,
    AgentResponse,
    AgentResponseComplete,
    AgentResponseCorrection,
    AgentResponsePart,
    ApprovalAsked,
    Codec,
    Interruption,
    Malformed,
    Ready,
    ToolCall,
    Unknown,
    UserTranscript,
    within_bounds,
)
from parleyd.audio.pcm import AudioFormat
from parleyd.audio.playback.playhead import Heard
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.agent_input import AgentInput
from parleyd.conversation.dialogue.commands import (
    Answered,
    AskApproval,
    Command,
    Cut,
    Duck,
    EndAnswer,
    Log,
    PersonSpeaks,
    Play,
    Publish,
    SessionOver,
    SetFormat,
    Transcribed,
    UseTool,
)
from parleyd.conversation.dialogue.history import History
from parleyd.conversation.dialogue.idle import Idle, Patience, Verdict
from parleyd.conversation.dialogue.turns import (
    FLOORS,
    GREETING_WITHIN_S,
    TURN_GAP_S,
    AnswerNumbers,
    Cue,
    Effect,
    Floor,
    TurnFilter,
)
from parleyd.conversation.dialogue.voice import duration_s, is_audible
from parleyd.core import events
from parleyd.tools.audit import bounded_parameters
from parleyd.tools.result import Result
from parleyd.tools.timers import duration

# After `end_conversation`: quiet time until we hang up, once the agent has said goodbye, and if it says nothing.
FAREWELL_S = 1.5
FAREWELL_UNSAID_S = 6.0
# Quiet that is required before a session may be exchanged; while the agent still owes an answer, more of it.
PAUSE_S, OWED_S = 1.0, 10.0
# What the agent is told when its answer was longer than this device can keep.
UNHEARD_END = (
    "(Your last answer was too long for this device: the person heard its first {heard} and nothing after that. "
    "If they want the rest, say it again from there, in a shorter answer.)"
)
# An agent that has said that it hangs up, and then goes on for longer than this, has not hung up.
HANGS_UP_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Busy:
    """What goes on elsewhere. is_audible: the agent's voice is heard right now. silent_from_s: when all that the
    speaker has of it will have been heard. tools: one works, or a question waits for the person."""

    is_audible: bool
    silent_from_s: float
    tools: bool


class Conversation:
    """One owner; times are monotonic, in order.

    by_text: nobody hears the agent; answers are texts. barge_in, continuity: the configuration sections. tools: the
    names of those that exist here. to_agent: what is told to the agent beside the sound.
    """

    def __init__(self, *, by_text: bool, barge_in: BargeIn, continuity: Continuity, tools: Container[str]) -> None:
        self._by_text = by_text
        self.barge_in = barge_in
        self._continuity = continuity
        self._tools = tools
        self._commands: list[Command] = []
        self.to_agent = AgentInput(self._commands.append)
        self._history = History(continuity.max_lines, continuity.max_chars, continuity.max_age_s)
        self._idle = Idle()
        self._activity_s = 0.0
        # The person. talk_since_s: when their current stretch of talk began; None while they are silent.
        self.talk_since_s: float | None = None
        self._talk_end_s = 0.0
        # The floor, and since when an answer is audible.
        self._floor = Floor.QUIET
        self._is_ducked = False
        self._answer_since_s = 0.0
        # The agent's turns: which answer what comes belongs to, and what is dropped of it.
        self._numbers = AnswerNumbers(by_text=by_text)
        self._filter: TurnFilter | None = None
        # The answer that counts as given, when it began to count, and when the last of any came.
        self._given: int | None = None
        self._given_s = self._voice_s = 0.0
        # The session that is open; what follows is of it.
        self._session: object | None = None
        self._ready_s = 0.0
        self._output_format = AudioFormat("pcm", 16_000)
        self._first_answer = 1
        self._greeting_possible = False
        self._responses = 0
        self._transcripts_seen = False
        self._calls = 0
        self._hangs_up_s: float | None = None
        # After so much quiet the conversation shall end, because the agent wanted it; None: it did not.
        self.farewell_s: float | None = None

    def take_commands(self) -> list[Command]:
        """What has been decided since the last call."""
        taken = self._commands.copy()
        self._commands.clear()
        return taken

    def reconfigure(self, barge_in: BargeIn, continuity: Continuity) -> None:
        self.barge_in = barge_in
        self._continuity = continuity
        self._history.bound(continuity.max_lines, continuity.max_chars, continuity.max_age_s)

    # ------------------------------------------------------------ what is so

    def activity_s(self, busy: Busy) -> float:
        """When somebody last did something, the agent too; its voice counts until it has been heard."""
        return max(self._activity_s, self.to_agent.activity_s, busy.silent_from_s)

    def quiet_s(self, now_s: float, busy: Busy) -> float:
        """How long nobody has done anything; 0 while somebody is at it: talks, or waits for a tool."""
        is_busy = self.talk_since_s is not None or busy.is_audible or busy.tools
        return 0.0 if is_busy else now_s - self.activity_s(busy)

    def between_turns(self, now_s: float, busy: Busy) -> bool:
        """Nobody talks, nobody owes an answer, and that has been so for a moment."""
        return self.quiet_s(now_s, busy) >= (OWED_S if self._floor is Floor.WAITING else PAUSE_S)

    @property
    def understood(self) -> bool:
        """The agent has shown, in this conversation, that it made words of what it heard."""
        return self._idle.understood

    def continues(self, now_s: float) -> bool:
        """There is something said that a new session should know."""
        return self._carried_over(now_s) is not None

    def agent_hangs_up(self, now_s: float) -> bool:
        """The agent has said just now that it will end this session."""
        return self._hangs_up_s is not None and now_s - self._hangs_up_s <= HANGS_UP_WITHIN_S

    def no_longer_needed(self, now_s: float, patience: Patience) -> Verdict | None:
        """See Idle.due."""
        self._look_at_commands()
        return self._idle.due(now_s, patience)

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        """See Idle.next_look_s."""
        self._look_at_commands()
        return self._idle.next_look_s(now_s, patience)

    # ------------------------------------------------------------ the session

    def begin(
        self,
        session: object,
        codec: Codec,
        ready: Ready,
        now_s: float,
        *,
        greeting_possible: bool,
        skip_greeting: bool,
        has_kept_speech: bool,
    ) -> None:
        """A session is ready. skip_greeting: the agent will greet, but nobody is to hear it. has_kept_speech: what an
        earlier session heard is sent again, or what none has heard yet."""
        self._session = session
        self._ready_s = self._activity_s = now_s
        self._look_at_commands()
        again = has_kept_speech or self.to_agent.typed_s is not None
        self._idle.begin(now_s, greets=greeting_possible and not skip_greeting, again=again)
        self._output_format = ready.output_format
        self._numbers.cut()
        self._given = None
        self._first_answer = self._numbers.current + 1
        self._greeting_possible = greeting_possible
        self._responses = 0
        self._transcripts_seen = False
        # A tool of the session before may have asked for it too late.
        self.farewell_s = None
        self._filter = TurnFilter(now_s, skip_responses=1) if skip_greeting else None
        self._do(SetFormat(ready.output_format))
        self.to_agent.open(session, codec, self._carried_over(now_s), now_s)

    def line_ended(self) -> None:
        """Nobody is there to be told anything; what was said is carried over into the next session."""
        self._session = None
        self.to_agent.close()
        self._idle.line_ended()
        self.farewell_s = None
        self._hangs_up_s = None
        self._do(SessionOver())

    def conclude(self, decided_s: float, now_s: float, *, keep_history: bool) -> None:
        """The session is over, and what is queued is still played out. decided_s: what is typed since then is for the
        next conversation. keep_history: the session ends, but the conversation may go on in another."""
        if not keep_history or self._continuity.mode != "always":
            self._history.clear()
        self.to_agent.close()
        self.to_agent.forget_typed(decided_s, "the conversation was over", now_s)
        self._idle.conclude(decided_s)
        self._do(EndAnswer(self._numbers.current))

    # ------------------------------------------------------------ the agent

    def agent_event(self, session: object, event: AgentEvent, now_s: float) -> None:
        if session is not self._session:
            return
        event = within_bounds(event)
        if self._filter is not None and not self._filter.admits(event, now_s):
            return
        answer = self._numbers.step(event)
        match event:
            case AgentAudio(data=data):
                self._activity_s = now_s
                self._audio(answer, data, now_s)
            case Interruption():
                self._activity_s = now_s
                self._cut("server", now_s)
            case UserTranscript():
                self._activity_s = now_s
                self._transcript(event, now_s)
            case AgentResponse():
                self._activity_s = now_s
                self._response(event, now_s)
            case AgentResponsePart(kind=kind, text=text, event_id=part_of):
                self._activity_s = now_s
                if text and self._by_text:
                    self._look_at_commands()
                    self._idle.voice(now_s, 0.0, self._numbers.of_text, is_audible=True)
                self._publish(events.AnswerPart(at_s=now_s, kind=kind, text=text, part_of=part_of))
            case AgentResponseComplete():
                self._do(EndAnswer(answer))
            case AgentResponseCorrection(corrected=text):
                if not self._by_text:  # What was read was read.
                    self._history.corrected(text)
                    of = self._history.last_answer
                    self._publish(events.AnswerText(at_s=now_s, text=text, corrected=True, answer=of))
            case ToolCall():
                self._activity_s = now_s
                self._use_tool(event, now_s)
            case ApprovalAsked():
                self._activity_s = now_s
                # A question that is put twice is answered once.
                key = self._begins_to_work(now_s, f"approval {event.call_id}")
                self._do(AskApproval(session, event, key))
            case AgentHangsUp():
                self._hangs_up_s = now_s
            case AgentError(kind=error_kind, code=code):
                # Without its text, in which a server may repeat the key. If it ends the session, that tells it.
                self._do(Log(logging.DEBUG, f"the agent reports an error ({error_kind})", {"code": code}))
            case Malformed(why=why):
                self._do(Log(logging.DEBUG, f"a message from the agent could not be read: {why}", {}))
            case Unknown(type=name):
                self._do(Log(logging.DEBUG, f"the agent sent an event of the unknown type {name!r}", {}))
            case _:
                pass

    def _audio(self, answer: int, data: bytes, now_s: float) -> None:
        if self.farewell_s is not None:
            self.farewell_s = FAREWELL_S
        self._do(Play(answer, data))
        fmt = self._output_format
        if audible := is_audible(fmt, data):
            self._heard_by_answer(answer, now_s, after_pause=now_s - self._voice_s >= TURN_GAP_S)
            self._voice_s = now_s
        self._idle.voice(now_s, duration_s(fmt, data), answer, is_audible=audible)

    def _transcript(self, event: UserTranscript, now_s: float) -> None:
        self._publish(events.Heard(at_s=now_s, text=event.text, final=event.final))
        has_words = any(sign.isalnum() for sign in event.text)
        self._transcripts_seen = True
        self._idle.transcript(now_s, has_words=has_words, final=event.final)
        if event.final:
            self._history.user_said(event.text, now_s)
        if event.final and has_words:
            self.farewell_s = None
            self._hangs_up_s = None
            self._do(Transcribed(now_s))

    def _response(self, event: AgentResponse, now_s: float) -> None:
        self.to_agent.response(event.event_id)
        of = self._numbers.of_text
        self._responses += 1
        # Behind a filter the greeting does not come this far.
        greeting = self._filter is None and self._may_be_greeting(of, now_s)
        if event.text:
            # What was typed stands before the answer to it.
            self._heard_by_answer(of, now_s)
            if self._by_text:
                self._idle.voice(now_s, 0.0, of, is_audible=True)
        self._history.agent_says(event.text, of, now_s)
        self._publish(events.AnswerText(at_s=now_s, text=event.text, answer=of, greeting=greeting))

    def _heard_by_answer(self, answer: int, now_s: float, *, after_pause: bool = False) -> None:
        """An answer shows that the agent heard us, unless it may be the greeting. Transcripts show it better. Each
        counts once. after_pause: where nothing tells one answer from the next, it is another if somebody has spoken."""
        self._look_at_commands()
        is_new = answer != self._given or (after_pause and self._talk_end_s > self._given_s)
        if not is_new or self._may_be_greeting(answer, now_s):
            return
        self._given, self._given_s = answer, now_s
        for text in self.to_agent.answered():
            self._idle.typed_answered()
            self._history.user_said(text, now_s)
        self._idle.answer_begins(now_s)
        self._do(Answered(now_s, self._transcripts_seen))

    def _may_be_greeting(self, answer: int, now_s: float) -> bool:
        is_first = answer == self._first_answer and self._responses <= 1
        return self._greeting_possible and is_first and now_s - self._ready_s < GREETING_WITHIN_S

    # ------------------------------------------------------------ tools

    def _use_tool(self, call: ToolCall, now_s: float) -> None:
        shown = bounded_parameters(call.parameters)
        self._publish(events.ToolCalled(at_s=now_s, name=call.name, parameters=shown))
        key = self._begins_to_work(now_s) if call.expects_response and call.name in self._tools else ""
        self._do(UseTool(self._session, call, key))

    def _begins_to_work(self, now_s: float, key: str = "") -> str:
        self._look_at_commands()
        self._calls += 1
        key = key or f"call {self._calls}"
        self._idle.tool_began(now_s, key)
        return key

    def tool_worked(self, session: object, call_id: str, key: str, result: Result, now_s: float) -> bool:
        """→ whether the session that called it is still there."""
        self._idle.tool_ended(now_s, key)
        return self.to_agent.reply(
            session,
            lambda codec: codec.tool_result(
                call_id, result.text, is_error=result.is_error, error_type=result.error_type
            ),
            now_s,
        )

    def approval_given(self, session: object, call_id: str, key: str, now_s: float, *, is_approved: bool) -> bool:
        """→ whether the session that asked for it is still there."""
        self._idle.tool_ended(now_s, key)
        return self.to_agent.reply(session, lambda codec: codec.approval(call_id, is_approved=is_approved), now_s)

    def end_soon(self, now_s: float) -> None:
        """The conversation shall end after what the agent still says: farewell_s."""
        self._activity_s = now_s
        self.farewell_s = FAREWELL_UNSAID_S

    # ------------------------------------------------------------ the person

    def talk_started(self, since_s: float, now_s: float) -> None:
        self._activity_s = now_s
        self.talk_since_s = since_s
        self._idle.talk_started(now_s)
        self._cue(Cue.TALK_STARTED, now_s)
        self._do(PersonSpeaks())

    def talk_goes_on(self, talk_ms: int, now_s: float, *, is_audible: bool) -> None:
        """Once per frame of talk, which has lasted so long, up to its last speech. is_audible: the agent's voice is."""
        if self.barge_in.mode != "local" or self._floor is not Floor.BOTH or self.talk_since_s is None:
            return
        before_ms = max(0.0, self._answer_since_s - self.talk_since_s) * 1000
        if talk_ms - before_ms >= self.barge_in.confirm_ms and is_audible:
            self._cut("local", now_s)
            self._filter = TurnFilter(now_s)

    def talk_stopped(self, now_s: float) -> None:
        self._activity_s = now_s
        self.talk_since_s, self._talk_end_s = None, now_s
        self._idle.talk_stopped(now_s)
        self._cue(Cue.TALK_STOPPED, now_s)

    def person_wakes(self, now_s: float) -> None:
        """Somebody wakes the agent, in a session that the device has opened."""
        self._activity_s = now_s
        self._idle.acted(now_s)

    # ------------------------------------------------------------ the speaker

    def answer_started(self, answer: int, at_s: float, now_s: float) -> None:
        self._answer_since_s = at_s
        self._cue(Cue.ANSWER_STARTED, now_s)
        self._publish(events.AnswerStarted(at_s=at_s, answer=answer))

    def answer_ended(self, heard: Heard, now_s: float) -> None:
        self._cue(Cue.ANSWER_ENDED, now_s)
        if not heard.finished:
            self._history.cut(heard.answer, heard.heard_ms, heard.total_ms)
        self._publish(
            events.AnswerEnded(
                at_s=heard.ended_s,
                answer=heard.answer,
                heard_ms=heard.heard_ms,
                finished=heard.finished,
                total_ms=heard.total_ms,
                lost_ms=heard.lost_ms,
            )
        )
        if heard.lost_ms:
            unheard = UNHEARD_END.format(heard=duration(heard.heard_ms / 1000))
            self.to_agent.context(unheard, None, now_s, by_person=False)

    # ------------------------------------------------------------ inside

    def _do(self, command: Command) -> None:
        self._commands.append(command)

    def _publish(self, event: events.Event) -> None:
        self._commands.append(Publish(event))

    def _carried_over(self, now_s: float) -> str | None:
        return None if self._continuity.mode == "off" else self._history.carried_over(now_s)

    def _cue(self, cue: Cue, now_s: float) -> None:
        self._floor, effect = FLOORS.get((self._floor, cue), (self._floor, None))
        on = effect is Effect.DUCK
        if effect is None or on is self._is_ducked or (on and self.barge_in.mode == "off"):
            return
        self._is_ducked = on
        self._do(Duck(on))
        self._publish(events.Ducked(at_s=now_s, on=on))

    def _cut(self, by: Literal["server", "local"], now_s: float) -> None:
        self._do(Cut(by, now_s))
        self._history.never_heard(after=self._numbers.current)
        self._numbers.cut()
        self._idle.cut(now_s)

    def _look_at_commands(self) -> None:
        """What was typed, or told by the device, since the last look."""
        self._idle.acted(self.to_agent.person_s)
        self._idle.told(self.to_agent.device_s)
