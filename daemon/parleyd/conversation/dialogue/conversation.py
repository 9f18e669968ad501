"""The conversation itself: what the agent does, what the person does, and what follows from it. Pure.

Events come in from the agent (agent_event), the person (talk_…), the speaker (answer_…), the tools (tool_worked,
approval_given) and from commands (say, tell, …), each with its time. The consequences are collected as commands, which
take_commands() hands out in the order in which they are to be carried out. All that has to be known of the speaker, the
tools and the uplink is an argument.

**Sessions.** A conversation goes on over several sessions. begin() opens one, line_ended() closes it, conclude() ends
the conversation. A session is known by its channel; events of a session which is not open count for nothing.

**Providers** differ by their capabilities, and by nothing else: this module knows none by name. The answers have the
provider's ids (agents/events.py); the numbers under which everybody else knows them are given here.

**Invariants**, held by tests/conversation/test_conversation.py over generated sequences:

1. Every command for the agent goes into the session that was open when it was decided on. A session is told nothing
   after it ended.
2. A typed text goes into each session once, in order, until an answer shows that the agent has it; after that never
   again. A text that was never sent and is given up is told as lost, once.
3. Answers are numbered upwards. At most one answer has the floor.
4. After a cut nothing more is played of the answers that had begun: a cut leaves nothing.
5. The next session is told no more of an answer that was cut than the speaker played of it; of one that was cut before
   its sound began, nothing. (Of an answer whose line was lost in its middle the whole text is told: how much of it had
   come as sound, nobody knows.)
6. The agent's voice is ducked only while both talk, and comes back when one of them ends.

**The rest of a lost line.** What a session has sent of an answer is played to its end, even if its line is lost. No
server can interrupt that any more: the next one knows nothing of it. So a person who speaks over it, or types, cuts it
here, in every mode in which a person can interrupt. A session that was told the whole answer by then, as history, is
told how much of it was heard; the one after it gets these words alone.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from typing import Literal

from msgspec import Struct

from parleyd.agents import commands as to_agent
from parleyd.agents.commands import Approve, Prepared, SkipGreeting, SpeakNow, ToolDone
from parleyd.agents.events import (
    AgentAudio,
    AgentError,
    AgentEvent,
    AgentHangsUp,
    AnswerBegins,
    AnswerEnds,
    AnswerFailed,
    AnswerText,
    AnswerTextEnds,
    ApprovalAsked,
    Corrected,
    Interrupted,
    Malformed,
    NotTaken,
    NotTranscribed,
    Ready,
    Resumable,
    SpeechTaken,
    Spent,
    ToolCall,
    ToolsCancelled,
    Unknown,
    UserTranscript,
    Why,
    WordsExpected,
    within_bounds,
)
from parleyd.agents.provider import Capabilities, Interrupts, Said, SessionWish, ToolSpec
from parleyd.audio.pcm import AudioFormat, duration_s, is_audible
from parleyd.audio.playback.playhead import HeardPart
from parleyd.config.retention import Continuity
from parleyd.config.schema import BargeIn
from parleyd.conversation.dialogue.agent_input import AgentInput
from parleyd.conversation.dialogue.answers import Answer, Answers
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
from parleyd.conversation.dialogue.history import History
from parleyd.conversation.dialogue.idle import Idle, IdleEnd, Patience
from parleyd.conversation.dialogue.pictures import Pause, Pictures
from parleyd.conversation.dialogue.turns import FLOORS, Cue, Effect, Floor
from parleyd.conversation.dialogue.unanswered import Unanswered
from parleyd.conversation.dialogue.utterances import Utterances
from parleyd.core import events
from parleyd.tools.audit import bounded_parameters
from parleyd.tools.result import Result
from parleyd.tools.timers import duration

# After `end_conversation`: quiet time until we hang up, once the agent has said goodbye, and if it says nothing.
FAREWELL_S = 1.5
FAREWELL_UNSAID_S = 6.0
# Quiet that is required before a session may be exchanged; while the agent still owes an answer, more of it.
PAUSE_S, OWED_S = 1.0, 10.0
# The agent is told this when its answer was longer than this device can keep.
UNHEARD_END = (
    "(Your last answer was too long for this device: the person heard its first {heard} and nothing after that. "
    "If they want the rest, say it again from there, in a shorter answer.)"
)
# The agent is told this when the history that it was given has an answer as a whole of which less was heard.
CUT_BEFORE = (
    "(The person has interrupted the last answer of the conversation so far, which you were told as a whole. They "
    "heard this of it, and nothing after that: {heard})"
)
# An agent that has said that it hangs up, and then goes on for longer than this, has not hung up.
HANGS_UP_WITHIN_S = 30.0
# A failed answer is asked for again this often without a success; then the person has to ask.
MOST_RETRIES = 3
# While somebody talks, a retry that is due waits, and is looked at again after this.
RETRY_LOOK_S = 0.25
# A setting that the server does not take is told once; this is the number of settings that are remembered.
MOST_TOLD = 20
HINT_NOT_TAKEN = "`parleyd doctor` compares the whole session"
# The wish for interruptions, by barge_in.mode.
INTERRUPTS = {"server": Interrupts.SERVER, "local": Interrupts.CLIENT, "off": Interrupts.NEVER}


class Busy(Struct, frozen=True):
    """The state of the rest of the daemon. is_audible: the agent's voice is heard right now. silent_from_s: when all
    that the speaker has of it will have been heard. tools: one works, or a question waits for the person."""

    is_audible: bool
    silent_from_s: float
    tools: bool


class Conversation:
    """One owner; times are monotonic, in order.

    by_text: nobody hears the agent; answers are texts. barge_in, continuity: the configuration sections. tools: the
    names of the tools that exist here. specs: their descriptions, for agents that learn of them in the session.
    to_agent: the agent's input beside the sound.
    """

    def __init__(
        self,
        *,
        by_text: bool,
        barge_in: BargeIn,
        continuity: Continuity,
        tools: Container[str],
        specs: Sequence[ToolSpec] = (),
    ) -> None:
        self._by_text = by_text
        self.barge_in = barge_in
        self._continuity = continuity
        self._tools = tools
        self._specs = specs
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
        # The number of the answer that is heard.
        self._heard_now: int | None = None
        self._answers = Answers()
        self._utterances = Utterances()
        # The answer that counts as given, and when it began to count.
        self._given: int | None = None
        self._given_s = 0.0
        # The handle by which the next session can continue at the server.
        self._resume: str | None = None
        # The session that is open, and its state.
        self._session: Channel | None = None
        self._can: Capabilities | None = None
        self._output_format = AudioFormat("pcm", 16_000)
        self._transcripts_seen = False
        self._unanswered = Unanswered()
        # Whether the last session was with the fallback, and whether its line was lost.
        self._was_fallback = self._was_lost = False
        # Whether the history was told to the session that is open, or being opened; and what it has to know beside it.
        self._is_history_told = False
        self._untold: str | None = None
        self._calls = 0
        # The calls that run: the agent's id of each, and the key by which it holds the session.
        self._running: dict[str, str] = {}
        # When a failed answer is asked for again, and how often that has been done in a row.
        self._retry_s: float | None = None
        self._retries = 0
        self._hangs_up_s: float | None = None
        # The quiet after which the conversation shall end, because the agent wanted it; None: it did not.
        self.farewell_s: float | None = None
        self._farewell_from_s = float("-inf")
        self._pictures = Pictures(self.to_agent, self._publish, self._interrupt_by_text)
        # The settings that the server did not take, as they were told.
        self._told: set[str] = set()

    def take_commands(self) -> list[Command]:
        """The decisions since the last call."""
        taken = self._commands.copy()
        self._commands.clear()
        return taken

    def offer(self, tools: Container[str], specs: Sequence[ToolSpec]) -> None:
        """The tools of this device have changed, perhaps in the middle of a session."""
        is_new = tuple(specs) != tuple(self._specs)
        self._tools, self._specs = tools, specs
        if is_new and self._session is not None and self._can is not None and self._can.tools == "session":
            self._do(Send(self._session, to_agent.Offer(tuple(specs))))

    def reconfigure(self, barge_in: BargeIn, continuity: Continuity) -> None:
        self.barge_in = barge_in
        self._continuity = continuity
        self._history.bound(continuity.max_lines, continuity.max_chars, continuity.max_age_s)

    # ------------------------------------------------------------ questions

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
        return bool(self._carried_over(now_s))

    def agent_hangs_up(self, now_s: float) -> bool:
        """The agent has said just now that it will end this session."""
        return self._hangs_up_s is not None and now_s - self._hangs_up_s <= HANGS_UP_WITHIN_S

    def no_longer_needed(self, now_s: float, patience: Patience) -> IdleEnd | None:
        """See Idle.due."""
        self._look_at_commands()
        return self._idle.due(now_s, patience)

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        """See Idle.next_look_s."""
        self._look_at_commands()
        return self._idle.next_look_s(now_s, patience)

    # ------------------------------------------------------------ the session

    def wish(self, now_s: float, *, greet: bool) -> SessionWish:
        """The wish for a session that is being opened. greet: the agent may speak first."""
        history = self._carried_over(now_s)
        self._is_history_told, self._untold = True, None
        # A handle is used once: if the session does not come about, the next one is told the lines.
        resume, self._resume = self._resume, None
        return SessionWish(
            greet=greet,
            text_only=self._by_text,
            interrupts=INTERRUPTS[self.barge_in.mode],
            tools=self._specs,
            history=history,
            resume=resume if history else None,
        )

    def begin(
        self,
        session: Channel,
        capabilities: Capabilities,
        ready: Ready,
        now_s: float,
        *,
        greets: bool,
        skip_greeting: bool,
        has_kept_speech: bool,
        is_fallback: bool = False,
    ) -> None:
        """A session is ready. greets: its wish allows the agent to speak first. skip_greeting: nobody is to hear that.
        has_kept_speech: speech that an earlier session heard is sent again, or speech that none has heard yet.
        is_fallback: it is with the fallback."""
        self._session = session
        self._can = capabilities
        self._activity_s = now_s
        self._look_at_commands()
        is_asked_again = self._was_lost or is_fallback != self._was_fallback
        self._was_lost, self._was_fallback = False, is_fallback
        if not is_asked_again:
            self._unanswered.clear()
        asked = self._unanswered.to_ask(now_s)
        again = has_kept_speech or asked is not None or self.to_agent.typed_s is not None
        self._idle.begin(now_s, again=again)
        self._output_format = ready.output_format
        self._answers.clear()
        self._utterances.clear()
        self._given = None
        self._transcripts_seen = False
        # A tool of the session before may have asked for it too late.
        self.farewell_s = None
        self._do(SetFormat(ready.output_format))
        if greets and skip_greeting and capabilities.speaks_first:
            self._do(Send(session, SkipGreeting()))
        self.to_agent.open(session, now_s)
        self._tell_untold(now_s)
        if asked is not None:
            self._do(Send(session, to_agent.Say(asked)))
        if greets and not skip_greeting and not capabilities.speaks_first:
            self._do(Send(session, SpeakNow(is_greeting=True)))

    def line_ended(self, *, is_lost: bool = False) -> None:
        """Nobody is there to be told anything; the lines so far are carried over into the next session. is_lost: the
        session ended by itself."""
        self._was_lost |= is_lost
        self._is_history_told, self._untold = False, None
        self._stream_ends()
        self._session = None
        self._retry_s = None
        self._running.clear()
        self._answers.clear()
        self._utterances.clear()
        self.to_agent.close()
        self._pictures.session_over(self._activity_s)
        self._idle.line_ended()
        self.farewell_s = None
        self._hangs_up_s = None
        self._do(SessionOver())

    def conclude(self, decided_s: float, now_s: float, *, keep_history: bool) -> None:
        """The session is over, and the sound that waits is still played out. decided_s: texts that are typed since then
        are for the next conversation. keep_history: the session ends, but the conversation may go on in another."""
        if not keep_history or self._continuity.mode != "always":
            self._history.clear()
            self._resume = None
        self._unanswered.clear()
        self._was_lost = False
        self.to_agent.close()
        self._pictures.session_over(now_s)
        self.to_agent.forget_typed(decided_s, "the conversation was over", now_s)
        self._idle.conclude(decided_s)
        self._do(EndAnswer(self._answers.sounding))

    # ------------------------------------------------------------ the agent

    def agent_event(self, session: Channel, event: AgentEvent, now_s: float) -> None:
        if session is not self._session or self._can is None:
            return
        event = within_bounds(event)
        match event:
            case AnswerBegins(answer=answer_id, is_greeting=is_greeting):
                self._begins(answer_id, is_greeting=is_greeting)
            case AgentAudio(answer=answer_id, data=data):
                self._audio(self._answers.of(answer_id), data, now_s)
            case AnswerText():
                self._text(self._answers.of(event.answer), event, now_s)
            case AnswerTextEnds(answer=answer_id):
                self._stream_ends(answer_id, now_s)
            case AnswerEnds(answer=answer_id):
                self._ends(self._answers.known(answer_id))
                if event.why is Why.INCOMPLETE:
                    self._incomplete(event, now_s)
            case AnswerFailed():
                self._failed(event, now_s)
            case Interrupted():
                self._activity_s = now_s
                self._cut("server", now_s)
            case Corrected(answer=answer_id, text=text):
                answer = self._answers.known(answer_id)
                if answer is not None and not self._by_text:  # A text that was read cannot be taken back.
                    self._history.corrected(answer.number, text)
                    self._publish(events.AnswerText(at_s=now_s, text=text, corrected=True, answer=answer.number))
            case UserTranscript():
                self._activity_s = now_s
                self._transcript(event, now_s, self._can)
            case WordsExpected(utterance=utterance):
                expected = self._utterances.expect(utterance, now_s)
                self._history.expect(expected.number, now_s)
                self._publish(events.WordsExpected(at_s=now_s, said=expected.number))
            case NotTranscribed(utterance=utterance, reason=reason):
                known = self._utterances.known(utterance)
                self._do(Log(logging.DEBUG, f"an utterance has no transcript: {reason}", {}))
                self._publish(events.NotTranscribed(at_s=now_s, said=known.number if known else 0, reason=reason))
            case SpeechTaken(until_ms=until_ms):
                self._unanswered.taken(now_s)
                self._do(Taken(until_ms))
            case ToolCall():
                self._activity_s = now_s
                self._use_tool(session, event, now_s)
            case ToolsCancelled(call_ids=call_ids):
                self._cancel(call_ids, now_s)
            case ApprovalAsked():
                self._activity_s = now_s
                # A question that is put twice is answered once.
                key = self._begins_to_work(now_s, f"approval {event.call_id}")
                self._do(AskApproval(session, event, key))
            case Spent(model=model, tokens=tokens, seconds=seconds):
                counted = {kind.value: count for kind, count in tokens.items()}
                self._publish(events.Spent(at_s=now_s, model=model, tokens=counted, seconds=seconds))
            case Resumable(handle=handle):
                self._resume = handle
            case NotTaken():
                self._not_taken(event)
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

    def _not_taken(self, event: NotTaken) -> None:
        """Told once, not in each session."""
        text = f"the server did not take {event.key} ({event.wanted}): {event.got}"
        if text not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(text)
            self._do(Log(logging.WARNING, f"{text}; {HINT_NOT_TAKEN}", {"reason": text, "hint": HINT_NOT_TAKEN}))

    def _begins(self, answer_id: str, *, is_greeting: bool) -> None:
        known = self._answers.known(answer_id)
        answer = self._answers.of(answer_id)
        answer.may_be_another |= known is not None
        answer.is_greeting = is_greeting
        # An answer has come after all, or instead.
        self._retry_s = None

    def _audio(self, answer: Answer, data: bytes, now_s: float) -> None:
        if answer.is_cut:
            return
        self._activity_s = now_s
        if self.farewell_s is not None:
            self.farewell_s = FAREWELL_S
        answer.has_sound = True
        answer.is_heard_out = False
        self._answers.sounding = max(self._answers.sounding, answer.number)
        self._do(Play(answer.number, data))
        fmt = self._output_format
        if audible := is_audible(fmt, data):
            self._retries = 0
            self._heard_by_answer(answer, now_s)
        self._idle.voice(
            now_s, duration_s(fmt, data), answer.number, is_audible=audible, is_greeting=answer.is_greeting
        )

    def _text(self, answer: Answer, said: AnswerText, now_s: float) -> None:
        if not said.final:
            self._piece(answer, said.text, now_s)
            return
        self._activity_s = now_s
        self.to_agent.rates(answer.answer_id if said.can_be_rated else None)
        if said.text and not answer.is_cut:
            # A typed text stands before the answer to it.
            self._heard_by_answer(answer, now_s)
            if self._by_text:
                self._retries = 0
                self._idle.voice(now_s, 0.0, answer.number, is_audible=True, is_greeting=answer.is_greeting)
        heard = self._history.agent_says(said.text, answer.number, now_s)
        if heard != "":
            text = said.text if heard is None else heard
            self._publish(events.AnswerText(at_s=now_s, text=text, answer=answer.number, greeting=answer.is_greeting))
        if heard is not None and (words := self._history.words_of(answer.number)):
            # The answer was cut before this text came, and these are the words of it, with those of the texts before,
            # that were heard.
            self._publish(events.AnswerText(at_s=now_s, text=words, corrected=True, answer=answer.number))

    def _piece(self, answer: Answer, text: str, now_s: float) -> None:
        if answer.is_cut:
            return
        self._activity_s = now_s
        if not answer.is_streaming:
            answer.is_streaming = True
            self._publish_piece("start", "", answer, now_s)
        if text:
            if self._by_text:
                self._look_at_commands()
                self._idle.voice(now_s, 0.0, answer.number, is_audible=True, is_greeting=answer.is_greeting)
            self._publish_piece("delta", text, answer, now_s)

    def _stream_ends(self, answer_id: str | None = None, now_s: float | None = None) -> None:
        """No further piece of this text will come. answer_id: None means every text."""
        for answer in self._answers:
            if answer.is_streaming and answer_id in (None, answer.answer_id):
                answer.is_streaming = False
                if now_s is not None:
                    self._publish_piece("stop", "", answer, now_s)

    def _publish_piece(self, kind: str, text: str, answer: Answer, now_s: float) -> None:
        self._publish(events.AnswerPart(at_s=now_s, kind=kind, text=text, part_of=answer.number))

    def _ends(self, answer: Answer | None) -> None:
        if answer is not None:
            answer.has_ended = True
            self._do(EndAnswer(answer.number))

    def _incomplete(self, end: AnswerEnds, now_s: float) -> None:
        known = self._answers.known(end.answer)
        text, hint = f"the agent's answer ends in the middle: {end.reason}", end.hint
        self._do(Log(logging.WARNING, f"{text}; {hint}" if hint else text, {"reason": end.reason, "hint": hint}))
        number = known.number if known is not None else 0
        self._publish(events.AnswerIncomplete(at_s=now_s, text=text, hint=hint, answer=number))

    def _failed(self, failure: AnswerFailed, now_s: float) -> None:
        self._activity_s = now_s
        self._ends(self._answers.known(failure.answer))
        text, hint = f"the agent could not answer: {failure.reason}", failure.hint
        again_s = failure.retry_after_s if self._retries < MOST_RETRIES else None
        if again_s is not None:
            self._retries += 1
            self._retry_s = now_s + again_s
            hint = hint or "it is asked again by itself"
        self._do(Log(logging.WARNING, f"{text}; {hint}" if hint else text, {"reason": failure.reason, "hint": hint}))
        self._publish(
            events.AnswerFailed(
                at_s=now_s, text=text, hint=hint, retry_after_s=again_s, without_credit=failure.without_credit
            )
        )

    def _transcript(self, event: UserTranscript, now_s: float, can: Capabilities) -> None:
        known = self._utterances.known(event.utterance)
        number, said_s = (known.number, known.at_s) if known else (0, now_s)
        self._publish(events.Heard(at_s=now_s, text=event.text, final=event.final, said=number))
        self._transcripts_seen = True
        self._idle.transcript(now_s, has_words=event.is_understood, final=event.final)
        if event.final:
            # A noise to which a recogniser has given words was said by nobody.
            self._history.user_said(event.text if event.is_understood else "", now_s, number)
        if event.final and event.is_understood:
            self._unanswered.understood(event.text, said_s, now_s, announces_speech=can.announces_speech)
            # Not by words that come late: the agent took its leave in answer to them.
            if said_s >= self._farewell_from_s:
                self.farewell_s = None
            if said_s >= (self._hangs_up_s or 0.0):
                self._hangs_up_s = None
            if not can.announces_speech:
                self._do(Transcribed(now_s))

    def _heard_by_answer(self, answer: Answer, now_s: float) -> None:
        """An answer shows that the agent heard us, unless it is the greeting. Transcripts show it better. Each counts
        once; one that may be another counts again if somebody has spoken since."""
        self._look_at_commands()
        may_be_another, answer.may_be_another = answer.may_be_another, False
        is_new = answer.number != self._given or (may_be_another and self._talk_end_s > self._given_s)
        if not is_new or answer.is_greeting:
            return
        self._given, self._given_s = answer.number, now_s
        self._unanswered.answered(now_s)
        for text in self.to_agent.answered():
            self._idle.typed_answered()
            self._history.user_said(text, now_s)
        self._idle.answer_begins(now_s)
        if self._can is not None and not self._can.announces_speech:
            self._do(Answered(now_s, self._transcripts_seen))

    # ------------------------------------------------------------ failed answers

    @property
    def next_look_s(self) -> float | None:
        """When look() has something to do; None: not before the next event."""
        times = [at_s for at_s in (self._retry_s, self._pictures.next_look_s) if at_s is not None]
        return min(times, default=None)

    def look(self, now_s: float) -> None:
        """Sends pictures in a pause. Asks again for an answer that failed, when the time has come and nobody talks."""
        self._pictures.look(now_s, self._pause(now_s))
        if self._session is None or self._retry_s is None or now_s < self._retry_s:
            return
        if self.talk_since_s is not None:
            self._retry_s = now_s + RETRY_LOOK_S
            return
        self._retry_s = None
        self._do(Send(self._session, SpeakNow()))

    # ------------------------------------------------------------ tools

    def _use_tool(self, session: Channel, call: ToolCall, now_s: float) -> None:
        self._unanswered.answered(now_s)
        shown = bounded_parameters(call.parameters)
        self._publish(events.ToolCalled(at_s=now_s, name=call.name, parameters=shown))
        key = self._begins_to_work(now_s) if call.expects_response and call.name in self._tools else ""
        if key:
            self._running[call.call_id] = key
        self._do(UseTool(session, call, key))

    def _cancel(self, call_ids: Sequence[str], now_s: float) -> None:
        for call_id in call_ids:
            if (key := self._running.pop(call_id, None)) is not None:
                self._idle.tool_ended(now_s, key)
        self._do(CancelTools(tuple(call_ids)))

    def _begins_to_work(self, now_s: float, key: str = "") -> str:
        self._look_at_commands()
        self._calls += 1
        key = key or f"call {self._calls}"
        self._idle.tool_began(now_s, key)
        return key

    def tool_worked(self, session: Channel, call_id: str, key: str, result: Result, now_s: float) -> bool:
        """Returns whether the session that called it is still there."""
        self._idle.tool_ended(now_s, key)
        self._running.pop(call_id, None)
        picture = result.picture
        if picture is None:
            return self.to_agent.reply(session, ToolDone(call_id, result.text, result.fault), now_s)
        if session is not self._session:
            return False
        self._activity_s = now_s
        done = ToolDone(call_id, result.text, result.fault, (picture,))
        self._pictures.add_result(session, done, picture, now_s, self._pause(now_s))
        return True

    def approval_given(self, session: Channel, call_id: str, key: str, now_s: float, *, is_approved: bool) -> bool:
        """Returns whether the session that asked for it is still there."""
        self._idle.tool_ended(now_s, key)
        return self.to_agent.reply(session, Approve(call_id, is_approved), now_s)

    def end_soon(self, now_s: float) -> None:
        """The conversation shall end after the agent's goodbye: farewell_s."""
        self._activity_s = self._farewell_from_s = now_s
        self.farewell_s = FAREWELL_UNSAID_S

    # ------------------------------------------------------------ the person

    def talk_started(self, since_s: float, now_s: float) -> None:
        self._activity_s = now_s
        self.talk_since_s = since_s
        self._idle.talk_started(now_s)
        self._cue(Cue.TALK_STARTED, now_s)
        self._do(PersonSpeaks())

    @property
    def may_cut(self) -> bool:
        """Whether somebody talks over the agent, and it is for us to cut it when that goes on."""
        is_ours = self.barge_in.mode == "local" or (self.barge_in.mode == "server" and self._sounds_from_before)
        return is_ours and self._floor is Floor.BOTH

    def talk_goes_on(self, talk_ms: int, now_s: float, *, is_audible: bool) -> None:
        """Once per frame of talk, which has lasted so long, up to its last speech. is_audible: the agent's voice is."""
        if not self.may_cut or self.talk_since_s is None:
            return
        before_ms = max(0.0, self._answer_since_s - self.talk_since_s) * 1000
        if talk_ms - before_ms >= self.barge_in.confirm_ms and is_audible:
            self._cut("local", now_s)

    def talk_stopped(self, now_s: float) -> None:
        self._activity_s = now_s
        self.talk_since_s, self._talk_end_s = None, now_s
        self._idle.talk_stopped(now_s)
        self._cue(Cue.TALK_STOPPED, now_s)

    def silence(self, now_s: float, *, is_audible: bool) -> None:
        """A person has told the device itself to be quiet. is_audible: the agent's voice is."""
        if is_audible or self._answers.is_speaking:
            self._cut("local", now_s)

    def say(self, text: str, now_s: float) -> None:
        """See AgentInput.say. It ends the answer that is being given."""
        self._interrupt_by_text(now_s)
        self.to_agent.say(text, now_s)

    def send_file(
        self, file: Prepared, text: str | None, sent: events.FileSent, now_s: float, *, of_camera: bool = False
    ) -> bool:
        """See AgentInput.send_file. A file that is on the server already ends the answer that is being given. One that
        goes over the line itself waits for a pause, for the sound waits behind it. of_camera: mute covers it."""
        if not file.data:
            self._interrupt_by_text(now_s)
            return self.to_agent.send_file(file, text, sent, now_s)
        if self._session is None:
            return False
        pause = self._pause(now_s)
        if self._pictures.add_file(self._session, file, text, sent, now_s, pause, of_camera=of_camera):
            self._activity_s = now_s
        return True

    def mute(self, on: bool, now_s: float) -> None:
        """Mute covers the pictures of the camera, and what was said and not yet answered; see Pictures.mute."""
        self._pictures.mute(on, now_s)
        if on:
            self._unanswered.clear()

    def _pause(self, now_s: float) -> Pause:
        is_owed = self._floor is Floor.WAITING and now_s - self._talk_end_s < OWED_S
        return Pause(person=self.talk_since_s is None, agent=not (self._answers.is_speaking or is_owed))

    def _interrupt_by_text(self, now_s: float) -> None:
        self._retry_s = None
        is_ours = self._can is not None and not self._can.text_interrupts and self._answers.is_speaking
        if is_ours or self._sounds_from_before:
            self._cut("local", now_s)

    @property
    def _sounds_from_before(self) -> bool:
        """The answer that is heard was begun in an earlier session."""
        return self._heard_now is not None and self._heard_now <= self._answers.last_of_before

    def person_wakes(self, now_s: float) -> None:
        """Somebody wakes the agent, in a session that the device has opened."""
        self._activity_s = now_s
        self._idle.acted(now_s)

    # ------------------------------------------------------------ the speaker

    def answer_started(self, answer: int, at_s: float, now_s: float) -> None:
        self._answer_since_s = at_s
        self._heard_now = answer
        self._cue(Cue.ANSWER_STARTED, now_s)
        self._publish(events.AnswerStarted(at_s=at_s, answer=answer))

    def answer_ended(self, heard: HeardPart, now_s: float) -> None:
        self._heard_now = None
        self._cue(Cue.ANSWER_ENDED, now_s)
        self._answers.heard(heard)
        if not heard.finished:
            words = self._history.cut(heard.answer, heard.heard_ms, heard.total_ms)
            if words is not None and not heard.lost_ms:
                self._tell_cut(heard.answer, words, now_s)
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
            if not self.to_agent.context(unheard, None, now_s, by_person=False) and self._is_told_whole(heard.answer):
                self._untold = unheard
            self._truncate(heard)

    def _tell_cut(self, answer: int, words: str, now_s: float) -> None:
        """An answer was interrupted. Its history is right from now on."""
        if self._is_told_whole(answer):
            self._untold = CUT_BEFORE.format(heard=words or "nothing")
            self._tell_untold(now_s)

    def _is_told_whole(self, answer: int) -> bool:
        """Whether the answer is of an earlier session, and the one that is open, or being opened, has been told all of
        it: its wish was made before now."""
        is_told = self._is_history_told and self._continuity.mode != "off"
        return is_told and answer <= self._answers.last_of_before

    def _tell_untold(self, now_s: float) -> None:
        if self._untold is not None and self.to_agent.context(self._untold, None, now_s, by_person=False):
            self._untold = None

    def _truncate(self, heard: HeardPart) -> None:
        """The agent's own memory of an answer shall not hold the end that was lost here."""
        if self._session is None or self._can is None or not self._can.truncates:
            return
        for answer in self._answers:
            if answer.number == heard.answer:
                cut = to_agent.HeardOf(answer.answer_id, heard.heard_ms, heard.total_ms)
                self._do(Send(self._session, to_agent.Cut((cut,), "local")))

    # ------------------------------------------------------------ inside

    def _do(self, command: Command) -> None:
        self._commands.append(command)

    def _publish(self, event: events.Event) -> None:
        self._commands.append(Publish(event))

    def _carried_over(self, now_s: float) -> Sequence[Said]:
        return () if self._continuity.mode == "off" else self._history.carried_over(now_s)

    def _cue(self, cue: Cue, now_s: float) -> None:
        self._floor, effect = FLOORS.get((self._floor, cue), (self._floor, None))
        on = effect is Effect.DUCK
        if effect is None or on is self._is_ducked or (on and self.barge_in.mode == "off"):
            return
        self._is_ducked = on
        self._do(Duck(on))
        self._publish(events.Ducked(at_s=now_s, on=on))

    def _cut(self, by: Literal["server", "local"], now_s: float) -> None:
        self._retry_s = None
        # A session that says nothing has nothing to leave unsaid: its next answer is not to be taken for a cut one.
        session = self._session if by == "server" or self._answers.is_speaking else None
        cut = self._answers.cut()
        if not self._by_text:  # A text that was read was read.
            self._history.never_heard(answer.number for answer in cut if not answer.has_sound)
        self._do(Cut(by, now_s, session, cut))
        self._idle.cut(now_s)

    def _look_at_commands(self) -> None:
        """Takes in the texts that were typed, or told by the device, since the last look."""
        self._idle.acted(self.to_agent.person_s)
        self._idle.told(self.to_agent.device_s)
