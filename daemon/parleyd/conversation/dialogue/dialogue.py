"""The conversation itself: what the agent does, what the person does, and what follows for the speaker.

Three threads come here: the session's receiver (agent events), ears (talk), playback (what is audible). A lock makes
them take turns; everything inside is arithmetic and calls that return at once.
"""

from __future__ import annotations

import logging
import threading
import time

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
from parleyd.config.keeping import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.agent_input import ToAgent
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
from parleyd.conversation.dialogue.voice import NoVoice, Voice, duration_s, is_audible
from parleyd.conversation.session.outbox import Outbox
from parleyd.core import events
from parleyd.core.log_fields import fields
from parleyd.tools.audit import bounded_parameters
from parleyd.tools.device_tools import DeviceTools
from parleyd.tools.result import Result
from parleyd.tools.timers import duration

log = logging.getLogger(__name__)

# After `end_conversation`: quiet time until we hang up, once the agent has said goodbye, and if it says nothing.
FAREWELL_S = 1.5
FAREWELL_UNSAID_S = 6.0
# A session may be exchanged after so much quiet; and when an answer is owed, only once none is to be expected.
PAUSE_S, OWED_S = 1.0, 10.0
# What the agent is told when its answer was longer than this device can keep.
UNHEARD_END = (
    "(Your last answer was too long for this device: the person heard its first {heard} and nothing after that. "
    "If they want the rest, say it again from there, in a shorter answer.)"
)
# An agent that has said that it hangs up, and then goes on for longer than this, has not hung up.
HANGS_UP_WITHIN_S = 30.0


class Dialogue:
    """voice: None where nobody hears the agent; answers are texts then. barge_in, continuity: the configuration
    sections. tools: what the agent may do here.
    """

    def __init__(
        self,
        voice: Voice | None,
        outbox: Outbox,
        to_agent: ToAgent,
        bus: events.Bus,
        barge_in: BargeIn,
        continuity: Continuity,
        tools: DeviceTools,
    ) -> None:
        self._text_only = voice is None
        self._voice: Voice = voice or NoVoice()
        self._outbox = outbox
        self._to_agent = to_agent
        self._bus = bus
        self._barge_in = barge_in
        self._continuity = continuity
        self._tools = tools
        self._lock = threading.RLock()
        self._floor = Floor.QUIET
        self._talk_since_s: float | None = None
        self._talk_end_s = 0.0
        self._numbers = AnswerNumbers(by_text=self._text_only)
        self._filter: TurnFilter | None = None
        self._history = History(continuity.max_lines, continuity.max_chars, continuity.max_age_s)
        self._ready_s = 0.0
        self._first_answer = 1
        self._greeting_possible = False
        self._responses = 0
        self._transcripts_seen = False
        self._answer_since_s = 0.0
        self._activity_s = 0.0
        self._hangs_up_s: float | None = None
        self._idle = Idle()
        self._output_format = AudioFormat("pcm", 16_000)
        self._calls = 0
        # The answer that counts as given, when it began to count, and when the last of any came.
        self._given: int | None = None
        self._given_s = self._voice_s = 0.0
        self._farewell_s: float | None = None

    # ------------------------------------------------------------ supervisor

    @property
    def activity_s(self) -> float:
        """When somebody last did something, the agent too; its voice counts until it has been heard."""
        with self._lock:
            return max(self._activity_s, self._to_agent.activity_s, self._voice.silent_from_s)

    def busy(self, now_s: float) -> bool:
        """Somebody talks right now, person or agent, or the agent waits for a tool."""
        with self._lock:
            return self._talk_since_s is not None or self._voice.audible(now_s) or self._tools.busy

    @property
    def farewell_s(self) -> float | None:
        """After so much quiet the conversation shall end, because the agent wanted it; None: it did not."""
        with self._lock:
            return self._farewell_s

    def between_turns(self, now_s: float) -> bool:
        """Nobody talks, nobody owes an answer, and that has been so for a moment."""
        with self._lock:
            quiet_s = now_s - self.activity_s
            patience_s = OWED_S if self._floor is Floor.WAITING else PAUSE_S
            return quiet_s >= patience_s and not self.busy(now_s)

    @property
    def talk_since_s(self) -> float | None:
        """When the person's current stretch of talk began; None while they are silent."""
        with self._lock:
            return self._talk_since_s

    @property
    def continues(self) -> bool:
        """There is something said that a new session should know."""
        with self._lock:
            return self._carried_over(time.monotonic()) is not None

    @property
    def understood(self) -> bool:
        """The agent has shown, in this conversation, that it made words of what it heard."""
        with self._lock:
            return self._idle.understood

    def no_longer_needed(self, now_s: float, patience: Patience) -> Verdict | None:
        """See Idle.due."""
        with self._lock:
            self._look_at_commands()
            return self._idle.due(now_s, patience)

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        """See Idle.next_look_s."""
        with self._lock:
            self._look_at_commands()
            return self._idle.next_look_s(now_s, patience)

    def line_ended(self) -> None:
        """Nobody is there to be told anything; what was said is carried over into the next session."""
        with self._lock:
            self._to_agent.close()
            self._idle.line_ended()
            self._farewell_s = None
            self._hangs_up_s = None
        self._tools.session_over()

    def conclude(self, decided_s: float, *, keep_history: bool) -> None:
        """The session is over, and what is queued is still played out. decided_s: what is typed since then is for the
        next one. keep_history: not the conversation, perhaps."""
        with self._lock:
            if not keep_history or self._continuity.mode != "always":
                self._history.clear()
            self._to_agent.close()
            self._to_agent.forget_typed(decided_s, "the conversation was over")
            self._idle.conclude(decided_s)
            self._voice.end_answer(self._numbers.current)

    # ------------------------------------------------------------ receiver thread

    def begin(self, codec: Codec, ready: Ready, *, greeting_possible: bool, skip_greeting: bool) -> None:
        """A session is ready. skip_greeting: the agent will greet, but nobody is to hear it."""
        now_s = time.monotonic()
        with self._lock:
            self._ready_s = self._activity_s = now_s
            self._look_at_commands()
            again = self._outbox.kept_ms > 0 or self._to_agent.typed_s is not None
            self._idle.begin(now_s, greets=greeting_possible and not skip_greeting, again=again)
            self._output_format = ready.output_format
            self._numbers.cut()
            self._given = None
            self._first_answer = self._numbers.current + 1
            self._greeting_possible = greeting_possible
            self._responses = 0
            self._transcripts_seen = False
            # A tool of the session before may have asked for it too late.
            self._farewell_s = None
            self._filter = TurnFilter(now_s, skip_responses=1) if skip_greeting else None
            self._voice.set_format(ready.output_format)
            self._to_agent.open(codec, self._carried_over(now_s))

    def agent_event(self, event: AgentEvent) -> None:
        now_s = time.monotonic()
        event = within_bounds(event)
        with self._lock:
            if self._filter is not None and not self._filter.admits(event, now_s):
                return
            answer = self._numbers.step(event)
            match event:
                case AgentAudio(data=data):
                    self._activity_s = now_s
                    if self._farewell_s is not None:
                        self._farewell_s = FAREWELL_S
                    self._voice.enqueue(answer, data)
                    fmt = self._output_format
                    if audible := is_audible(fmt, data):
                        self._heard_by_answer(answer, now_s, after_pause=now_s - self._voice_s >= TURN_GAP_S)
                        self._voice_s = now_s
                    self._idle.voice(now_s, duration_s(fmt, data), answer, is_audible=audible)
                case Interruption():
                    self._activity_s = now_s
                    self._cut("server", now_s)
                case UserTranscript(text=text, final=final):
                    self._activity_s = now_s
                    self._bus.publish(events.Heard(at_s=now_s, text=text, final=final))
                    has_words = any(sign.isalnum() for sign in text)
                    self._transcripts_seen = True
                    self._idle.transcript(now_s, has_words=has_words, final=final)
                    if final:
                        self._history.user_said(text, now_s)
                    if final and has_words:
                        self._farewell_s = None
                        self._hangs_up_s = None
                        self._outbox.transcribed(now_s)
                case AgentResponse(text=text, event_id=event_id):
                    self._activity_s = now_s
                    self._to_agent.response(event_id)
                    of = self._numbers.of_text
                    self._responses += 1
                    # Behind a filter the greeting does not come this far.
                    greeting = self._filter is None and self._may_be_greeting(of, now_s)
                    if text:
                        # What was typed stands before the answer to it.
                        self._heard_by_answer(of, now_s)
                        if self._text_only:
                            self._idle.voice(now_s, 0.0, of, is_audible=True)
                    self._history.agent_says(text, of, now_s)
                    self._bus.publish(events.AnswerText(at_s=now_s, text=text, answer=of, greeting=greeting))
                case AgentResponsePart(kind=kind, text=text, event_id=part_of):
                    self._activity_s = now_s
                    if text and self._text_only:
                        self._look_at_commands()
                        self._idle.voice(now_s, 0.0, self._numbers.of_text, is_audible=True)
                    self._bus.publish(events.AnswerPart(at_s=now_s, kind=kind, text=text, part_of=part_of))
                case AgentResponseComplete():
                    self._voice.end_answer(answer)
                case AgentResponseCorrection() if self._text_only:
                    # What was read was read.
                    pass
                case AgentResponseCorrection(corrected=text):
                    self._history.corrected(text)
                    of = self._history.last_answer
                    self._bus.publish(events.AnswerText(at_s=now_s, text=text, corrected=True, answer=of))
                case ToolCall():
                    self._activity_s = now_s
                    self._use_tool(event, now_s)
                case ApprovalAsked():
                    self._activity_s = now_s
                    self._ask_approval(event, now_s)
                case AgentHangsUp():
                    self._hangs_up_s = now_s
                case AgentError(kind=error_kind, code=code):
                    # Without its text, in which a server may repeat the key. If it ends the session, that tells it.
                    log.debug("the agent reports an error (%s)", error_kind, extra=fields(code=code))
                case Malformed(why=why):
                    log.debug("a message from the agent could not be read: %s", why)
                case Unknown(type=name):
                    log.debug("the agent sent an event of the unknown type %r", name)
                case _:
                    pass

    @property
    def agent_hangs_up(self) -> bool:
        """The agent has said just now that it will end this session."""
        with self._lock:
            said_s = self._hangs_up_s
            return said_s is not None and time.monotonic() - said_s <= HANGS_UP_WITHIN_S

    # ------------------------------------------------------------ commands

    def reconfigure(self, barge_in: BargeIn, continuity: Continuity) -> None:
        with self._lock:
            self._barge_in = barge_in
            self._continuity = continuity
            self._history.bound(continuity.max_lines, continuity.max_chars, continuity.max_age_s)

    # ------------------------------------------------------------ ears thread

    def talk_started(self, since_s: float) -> None:
        with self._lock:
            self._activity_s = time.monotonic()
            self._talk_since_s = since_s
            self._idle.talk_started(self._activity_s)
            self._cue(Cue.TALK_STARTED)
            self._tools.person_speaks()

    def talk_goes_on(self, talk_ms: int) -> None:
        """Once per frame of talk, which has lasted so long, up to its last speech."""
        if self._barge_in.mode != "local":
            return
        with self._lock:
            if self._floor is not Floor.BOTH or self._talk_since_s is None:
                return
            before_ms = max(0.0, self._answer_since_s - self._talk_since_s) * 1000
            now_s = time.monotonic()
            if talk_ms - before_ms >= self._barge_in.confirm_ms and self._voice.audible(now_s):
                self._cut("local", now_s)
                self._filter = TurnFilter(now_s)

    def talk_stopped(self) -> None:
        with self._lock:
            self._activity_s = time.monotonic()
            self._talk_since_s, self._talk_end_s = None, self._activity_s
            self._idle.talk_stopped(self._activity_s)
            self._cue(Cue.TALK_STOPPED)

    # ------------------------------------------------------------ any thread

    def person_wakes(self) -> None:
        """Somebody wakes the agent, in a session that the device has opened."""
        with self._lock:
            self._activity_s = time.monotonic()
            self._idle.acted(self._activity_s)

    def end_soon(self) -> None:
        """The conversation shall end after what the agent still says; the supervisor looks at farewell_s."""
        with self._lock:
            self._activity_s = time.monotonic()
            self._farewell_s = FAREWELL_UNSAID_S

    # ------------------------------------------------------------ playback thread

    def answer_started(self, answer: int, at_s: float) -> None:
        with self._lock:
            self._answer_since_s = at_s
            self._cue(Cue.ANSWER_STARTED)
            self._bus.publish(events.AnswerStarted(at_s=at_s, answer=answer))

    def answer_ended(self, heard: Heard) -> None:
        with self._lock:
            self._cue(Cue.ANSWER_ENDED)
            if not heard.finished:
                self._history.cut(heard.answer, heard.heard_ms, heard.total_ms)
            self._bus.publish(
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
                self._to_agent.context(UNHEARD_END.format(heard=duration(heard.heard_ms / 1000)), None)

    # ------------------------------------------------------------ inside the lock

    def _carried_over(self, now_s: float) -> str | None:
        return None if self._continuity.mode == "off" else self._history.carried_over(now_s)

    def _cue(self, cue: Cue) -> None:
        self._floor, effect = FLOORS.get((self._floor, cue), (self._floor, None))
        if effect is None or (effect is Effect.DUCK and self._barge_in.mode == "off"):
            return
        self._voice.duck(effect is Effect.DUCK)
        self._bus.publish(events.Ducked(at_s=time.monotonic(), on=effect is Effect.DUCK))

    def _cut(self, by: str, now_s: float) -> None:
        heard = self._voice.clear()
        self._numbers.cut()
        self._idle.cut(now_s)
        if heard is not None:
            self._bus.publish(events.BargedIn(at_s=now_s, by=by, heard_ms=heard.heard_ms))

    def _look_at_commands(self) -> None:
        """What was typed, or told by the device, since the last look."""
        self._idle.acted(self._to_agent.person_s)
        self._idle.told(self._to_agent.device_s)

    def _heard_by_answer(self, answer: int, now_s: float, *, after_pause: bool = False) -> None:
        """An answer shows that the agent heard us, unless it may be the greeting. Transcripts show it better. Each
        counts once. after_pause: where nothing tells one answer from the next, it is another if somebody has spoken."""
        self._look_at_commands()
        is_new = answer != self._given or (after_pause and self._talk_end_s > self._given_s)
        if not is_new or self._may_be_greeting(answer, now_s):
            return
        self._given, self._given_s = answer, now_s
        for text in self._to_agent.answered():
            self._idle.typed_answered()
            self._history.user_said(text, now_s)
        self._idle.answer_begins(now_s)
        self._outbox.answered(now_s, has_transcripts=self._transcripts_seen)

    def _may_be_greeting(self, answer: int, now_s: float) -> bool:
        is_first = answer == self._first_answer and self._responses <= 1
        return self._greeting_possible and is_first and now_s - self._ready_s < GREETING_WITHIN_S

    def _use_tool(self, call: ToolCall, now_s: float) -> None:
        shown = bounded_parameters(call.parameters)
        self._bus.publish(events.ToolCalled(at_s=now_s, name=call.name, parameters=shown))
        codec = self._to_agent.codec
        if codec is None:
            return

        key = self._begins_to_work(now_s) if call.expects_response and call.name in self._tools.tools else ""

        def respond(result: Result) -> bool:
            self._has_worked(key)
            message = codec.tool_result(
                call.call_id, result.text, is_error=result.is_error, error_type=result.error_type
            )
            return self._to_agent.reply(codec, message)

        self._tools.call(call, respond)

    def _ask_approval(self, asked: ApprovalAsked, now_s: float) -> None:
        codec = self._to_agent.codec
        if codec is None:
            return
        # A question that is put twice is answered once.
        key = self._begins_to_work(now_s, f"approval {asked.call_id}")

        def answer(allowed: bool) -> bool:
            self._has_worked(key)
            return self._to_agent.reply(codec, codec.approval(asked.call_id, is_approved=allowed))

        self._tools.ask(asked, answer)

    def _begins_to_work(self, now_s: float, key: str = "") -> str:
        self._look_at_commands()
        self._calls += 1
        key = key or f"call {self._calls}"
        self._idle.tool_began(now_s, key)
        return key

    def _has_worked(self, key: str) -> None:
        """Any thread."""
        with self._lock:
            self._idle.tool_ended(time.monotonic(), key)
