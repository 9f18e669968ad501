"""One session's messages: turns the server's messages into events, and commands into messages. Pure.

**Answers** are responses; their id is the response's. Requests for a response wait in requests.py. Sound that comes for
an answer after it was cut, by the server or by this side, is dropped by its id.

**Interruptions.** If the server is to interrupt, it stops its answer by itself when it hears the person: a
`response.cancel` of ours would race with it, and could hit the next answer. In every other case an answer that still
runs is cancelled by its id. In both cases each item of sound that was not heard to its end is truncated.

**Event ids** of our messages begin with a word for what they do, so that an error that quotes one can be understood.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from parleyd.agents import commands, events
from parleyd.agents.openai import client_messages as client
from parleyd.agents.openai import effective, errors, session_settings, usage
from parleyd.agents.openai import server_messages as server
from parleyd.agents.openai.answers import Answer, Answers
from parleyd.agents.openai.requests import Request, Requests
from parleyd.agents.provider import Interrupts, Received, SessionWish
from parleyd.agents.wire import MOST_QUOTED_CHARS, UNREADABLE, sendable
from parleyd.audio.pcm import AudioFormat
from parleyd.config.openai_section import OpenAI
from parleyd.core.text import one_line, without

MOST_ID_CHARS = 200
# The server takes no shorter turn, where this side tells its end.
LEAST_TURN_MS = 100
# An end that is announced for sooner or for later than this is not believed: it is a time of day, and the clock of the
# server or that of this device is wrong. A session that seemed to be about to end would be exchanged again and again.
LEAST_SESSION_S, MOST_SESSION_S = 60.0, 86_400.0
# Texts that recognisers are known to write for noise.
_INVENTED = frozenset(
    (
        "thank you for watching",
        "thanks for watching",
        "subtitles by the amara.org community",
        "please subscribe",
        "vielen dank für's zuschauen",
        "untertitel der amara.org-community",
        "sous-titres réalisés par la communauté d'amara.org",
    )
)
# The number of utterances of which it is remembered whether their words were told.
_MOST_TRANSCRIBED = 64
_Words = Literal["told", "missing"]
_NOTHING = Received()

_WHY = {"completed": events.Why.COMPLETE, "cancelled": events.Why.CANCELLED}

# The purposes of our messages: the beginnings of their event ids.
_For = Literal[
    "update", "tools", "history", "know", "forget", "say", "result", "approve", "create", "cancel", "truncate", "end"
]
# An error that quotes one of these harms nothing.
_HARMLESS_IDS = ("history", "know", "forget", "cancel", "truncate", "end")


class OpenAICodec:
    """Implements agents.provider.Codec.

    It counts: malformed (messages that could not be used), unknown (messages of unknown types), refused_calls (calls of
    tools that were answered with an error because of their form).
    """

    def __init__(
        self,
        config: OpenAI,
        wish: SessionWish,
        *,
        instructions: str = "",
        greeting: str = session_settings.GREETING,
        tokens: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        unix_s: float = 0.0,
    ) -> None:
        """instructions, greeting: with the values of variables. tokens: of MCP servers, by name. secrets: taken out of
        the server's texts. unix_s: the time of day at which the session begins; 0: not known."""
        self.malformed = 0
        self.unknown = 0
        self.refused_calls = 0
        self._config = config
        self._wish = wish
        self._instructions = session_settings.whole_instructions(config, instructions)
        self._greeting = greeting
        self._tokens = dict(tokens or {})
        self._secrets = tuple(secrets)
        self._unix_s = unix_s
        self._is_manual = session_settings.is_manual(config, wish)
        self._server_interrupts = wish.interrupts is Interrupts.SERVER and not self._is_manual
        self._numbers = 0
        self._events: list[events.AgentEvent] = []
        self._replies: list[bytes] = []
        # The session.
        self._is_ready = False
        self._model = session_settings.model(config) or ""
        self._input_format = self._output_format = session_settings.PCM
        self._reset_s: float | None = None
        self._asked = client.Session()
        # The session in force, while the server is asked for the formats that it has not told.
        self._without_formats: server.SessionPart | None = None
        # The agent.
        self._answers = Answers()
        self._requests = Requests()
        self._calls_seen: set[str] = set()
        self._approvals_seen: set[str] = set()
        self._mcp_calls: set[str] = set()
        self._known: dict[str, str] = {}
        # The person: bytes of sound sent, and of the turn that is not committed; where each utterance ended.
        self._sent_bytes = 0
        self._turn_bytes = 0
        self._taken_ms = 0
        # Speech was taken into the conversation, and no answer has been created since.
        self._waits_for_answer = False
        self._utterance_ends: dict[str, int] = {}
        self._pieces: dict[str, str] = {}
        # The utterances whose words were told, or were said to be missing.
        self._transcribed: OrderedDict[str, _Words] = OrderedDict()

    # ------------------------------------------------------------ sending

    def opening(self) -> Sequence[bytes]:
        """The wanted session, and the lines of the conversation so far as items of the new one."""
        self._asked = session_settings.session(self._config, self._wish, self._instructions, self._tokens)
        self._reply(client.SessionUpdate(event_id=self._event_id("update"), session=self._asked))
        for said in self._wish.history:
            text = f"{said.text} …" if said.is_cut else said.text
            if said.who == "person":
                self._item("history", "user", "input_text", text)
            else:
                self._item("history", "assistant", "output_text", text)
        return self._take()[1]

    def audio(self, data: bytes) -> bytes:
        self._sent_bytes += len(data)
        self._turn_bytes += len(data)
        return client.append(data)

    def send(self, command: commands.Command, now_s: float) -> Sequence[bytes]:
        match command:
            case commands.Say():
                self._say(command)
            case commands.Know(text=text, key=key):
                self._know(text, key)
            case commands.SpeakNow():
                self._speak_now(command)
            case commands.Cut():
                self._cut(command)
            case commands.ToolDone():
                self._tool_done(command)
            case commands.Offer(tools=tools):
                listed = session_settings.tools(self._config, tools, self._tokens)
                session = client.Session(tools=listed)
                self._reply(client.SessionUpdate(event_id=self._event_id("tools"), session=session))
            case commands.Approve(call_id=call_id, is_allowed=is_allowed):
                self._approve(call_id, is_allowed=is_allowed)
            case commands.EndOfTurn():
                self._end_of_turn()
            case commands.KeepAlive():
                self._replies.append(client.append(b""))
            case _:
                pass  # Nothing of the protocol stands for SkipGreeting, Rate and Busy.
        self._ask()
        return self._take()[1]

    def _say(self, command: commands.Say) -> None:
        """The answer that runs is over; the new one waits for its end."""
        self._cancel()
        self._requests.want(Request({self._said(command.text, command.attachments)}))

    def _said(self, text: str, attachments: Sequence[commands.Prepared]) -> str:
        """A message of the person's, as an item. Returns its id."""
        content = [client.Content(type="input_image", image_url=_data_url(one)) for one in attachments]
        if text or not content:
            content.append(client.Content(type="input_text", text=sendable(text)))
        item_id = self._item_id("say")
        item = client.Message(id=item_id, role="user", content=content)
        self._reply(client.ItemCreate(event_id=self._event_id("say"), item=item))
        return item_id

    def _know(self, text: str, key: str | None) -> None:
        if key is not None and (old := self._known.pop(key, None)) is not None:
            self._reply(client.ItemDelete(event_id=self._event_id("forget"), item_id=old))
        item_id = self._item("know", "system", "input_text", text)
        if key is not None:
            self._known[key] = item_id

    def _speak_now(self, command: commands.SpeakNow) -> None:
        told = command.instructions or (self._greeting if command.is_greeting else "")
        # The instructions of a response stand in the place of the session's.
        whole = "\n\n".join(part for part in (self._instructions, told) if part) if told else None
        self._requests.want(Request(instructions=whole, is_greeting=command.is_greeting))

    def _cut(self, command: commands.Cut) -> None:
        bytes_per_ms = _bytes_per_ms(self._output_format)
        for heard in command.heard:
            answer = self._answers.get(heard.answer)
            if answer is None:
                continue
            answer.is_void = True
            for item_id, heard_ms in answer.unheard(heard.heard_ms, bytes_per_ms):
                message = client.ItemTruncate(
                    event_id=self._event_id("truncate"), item_id=item_id, content_index=0, audio_end_ms=heard_ms
                )
                self._reply(message)
        self._answers.silence()
        if command.by == "local":
            self._cancel()

    def _cancel(self) -> None:
        """Stops the response that runs, unless the server has stopped it already."""
        active = self._requests.active
        answer = self._answers.get(active) if active is not None else None
        if answer is None or answer.is_cancelled:
            return
        answer.is_void = answer.is_cancelled = True
        self._reply(client.ResponseCancel(event_id=self._event_id("cancel"), response_id=active))

    def _tool_done(self, command: commands.ToolDone) -> None:
        """One response for all results of an answer, when the answer is over."""
        item_id = self._item_id("result")
        item = client.FunctionCallOutput(id=item_id, call_id=command.call_id, output=sendable(command.text))
        self._reply(client.ItemCreate(event_id=self._event_id("result"), item=item))
        items = {item_id}
        if command.attachments:
            # The result of a call has no place for a picture.
            items.add(self._said("", command.attachments))
        answer = self._answers.with_call(command.call_id)
        if answer is None:
            self._requests.want(Request(items))
            return
        answer.open_calls.discard(command.call_id)
        answer.result_items |= items
        self._ask_for_results(answer)

    def _ask_for_results(self, answer: Answer) -> None:
        if answer.is_over and not answer.open_calls and answer.result_items:
            self._requests.want(Request(answer.result_items))
            answer.result_items = set()

    def _approve(self, call_id: str, *, is_allowed: bool) -> None:
        item = client.McpApprovalResponse(id=self._item_id("approve"), approval_request_id=call_id, approve=is_allowed)
        self._reply(client.ItemCreate(event_id=self._event_id("approve"), item=item))
        if not is_allowed:
            # A call that is allowed asks for a response when it has worked.
            self._requests.want(Request({item.id}))

    def _end_of_turn(self) -> None:
        if self._turn_bytes < LEAST_TURN_MS * _bytes_per_ms(self._input_format):
            return
        self._reply(client.Commit(event_id=self._event_id("end")))
        self._utterance_ends[""] = self._sent_ms
        self._turn_bytes = 0
        self._requests.want(Request())

    def _ask(self) -> None:
        """Sends the next request for a response, if it is time for it."""
        if not self._is_ready:
            return
        request = self._requests.next(self._next_id("create"))
        if request is not None:
            self._numbers += 1
            wish = None if request.instructions is None else client.ResponseWish(instructions=request.instructions)
            self._reply(client.ResponseCreate(event_id=request.event_id, response=wish))

    # ------------------------------------------------------------ receiving

    def receive(self, message: str | bytes, now_s: float) -> Received:
        try:
            self._understand(server.MESSAGES.decode(message), now_s)
        except UNREADABLE as problem:
            self._unreadable(message, problem)
        self._ask()
        found, replies = self._take()
        return Received(found, replies) if found or replies else _NOTHING

    def _understand(self, message: server.ServerMessage, now_s: float) -> None:
        match message:
            case server.AudioDelta():
                self._audio(message, now_s)
            case (
                server.AudioTranscriptDelta()
                | server.BetaAudioTranscriptDelta()
                | server.TextDelta()
                | server.BetaTextDelta()
            ):
                self._text_piece(message)
            case (
                server.AudioTranscriptDone()
                | server.BetaAudioTranscriptDone()
                | server.TextDone()
                | server.BetaTextDone()
            ):
                self._text_done(self._answer(message.response_id), _key(message), message.transcript or message.text)
            case server.AudioDone(response_id=response_id, item_id=item_id):
                self._answer(response_id).item(_id(item_id)).is_whole = True
            case server.SessionUpdated(session=session):
                self._updated(session or server.SessionPart(), message)
            case server.SpeechStarted() | server.SpeechStopped() | server.Committed() | server.Cleared():
                self._person(message, now_s)
            case server.ResponseCreated(response=response):
                self._created(_id(response.id if response else None))
            case server.ResponseDone(response=response):
                self._done(response or server.ResponsePart())
            case server.OutputItemAdded(response_id=response_id, item=item):
                self._answer(response_id)
                self._item_seen(item)
            case server.OutputItemDone(response_id=response_id, item=item):
                self._output_item(self._answer(response_id), item)
            case server.ArgumentsDone(call_id=call_id, name=name, arguments=arguments):
                item = server.ItemPart(type="function_call", call_id=call_id, name=name, arguments=arguments)
                self._answer(message.response_id).arguments.append(item)
            case server.ItemAdded(item=item) | server.ItemDone(item=item):
                self._item_seen(item)
            case server.RateLimitsUpdated(rate_limits=limits):
                self._limits(limits or [])
                self._tell(message)
            case server.Error():
                self._error(message)
            case server.McpCallCompleted(item_id=item_id) | server.McpCallFailed(item_id=item_id):
                self._mcp_call_over(_id(item_id))
                self._tell(message)
            case _:
                if not self._transcript(message):
                    self._tell(message)

    def _updated(self, session: server.SessionPart, message: server.ServerMessage) -> None:
        if self._is_ready:
            self._tell(message)
            return
        audio = session.audio or server.AudioPart()
        formats, is_told = [], True
        for part, older in ((audio.input, session.input_audio_format), (audio.output, session.output_audio_format)):
            told = part.format if part is not None and part.format is not None else older
            is_told = is_told and told is not None
            found = _format(told, self._config)
            if found is None:
                text = f"the server uses the audio format {_shown(told)}, which this program does not know"
                self._events.append(events.AgentError(text, "unsupported_format", hopeless=True))
                return
            formats.append(found)
        if not is_told and self._config.audio_format is None and self._without_formats is None:
            # A server that tells no format may have any rate. Not in the first update, which it would lose as a whole
            # if it did not know the field.
            self._without_formats = session
            wanted = client.SessionUpdate(event_id=self._event_id("update"), session=session_settings.with_formats())
            self._reply(wanted)
            return
        self._is_ready = True
        self._input_format, self._output_format = formats
        self._model = session.model or self._model
        ends_in_s = self._ends_in_s(session.expires_at)
        self._events.append(events.Ready(_id(session.id), self._input_format, self._output_format, ends_in_s))
        self._events.extend(effective.not_taken(self._asked, session))

    def _ends_in_s(self, expires_at: server.Number) -> float | None:
        at_s = server.decimal(expires_at)
        if at_s is None or not self._unix_s or not LEAST_SESSION_S <= at_s - self._unix_s <= MOST_SESSION_S:
            return None
        return at_s - self._unix_s

    # ------------------------------------------------------------ the person

    def _person(
        self,
        message: server.SpeechStarted | server.SpeechStopped | server.Committed | server.Cleared,
        now_s: float,
    ) -> None:
        match message:
            case server.SpeechStarted(audio_start_ms=start):
                self._requests.person_speaks = True
                self._events.append(events.PersonHeard(self._position_ms(start)))
                if self._server_interrupts:
                    self._interrupted(now_s)
            case server.SpeechStopped(audio_end_ms=end, item_id=item_id):
                self._requests.person_speaks = False
                until_ms = self._position_ms(end)
                self._utterance_ends[_id(item_id)] = until_ms
                self._events.append(events.PersonPaused(until_ms))
            case server.Committed(item_id=item_id):
                self._requests.person_speaks = False
                self._committed(_id(item_id))
            case _:
                self._requests.person_speaks = False
        while len(self._utterance_ends) > 64:
            del self._utterance_ends[next(iter(self._utterance_ends))]

    def _committed(self, utterance: str) -> None:
        """The utterance is part of the conversation; sound that was sent after its end is not. It counts as taken when
        the answer to it has begun: until then a lost line would lose it with the server's session."""
        ends = self._utterance_ends
        until_ms = ends.pop(utterance, None) or ends.pop("", None) or self._sent_ms
        self._taken_ms = max(self._taken_ms, until_ms)
        self._waits_for_answer = True
        if utterance and utterance not in self._transcribed and self._config.transcription.mode != "off":
            self._events.append(events.WordsExpected(utterance))
        if not self._is_manual and not self._server_interrupts and self._requests.active is not None:
            # The server cannot answer while a response runs that it must not interrupt.
            self._requests.want(Request())

    def _interrupted(self, now_s: float) -> None:
        """The server has heard the person, and stops by itself what it says."""
        heard = self._answers.perhaps_heard(now_s)
        for answer in heard:
            answer.is_void = True
        active = self._answers.get(self._requests.active or "")
        if active is not None:
            active.is_void = active.is_cancelled = True
        if heard:
            self._answers.silence()
            self._events.append(events.Interrupted(heard[-1].id))

    def _transcript(self, message: server.ServerMessage) -> bool:
        """Whether the message was one of the person's words."""
        match message:
            case server.TranscriptionDelta(item_id=item_id, delta=delta):
                utterance = _id(item_id)
                if utterance not in self._transcribed:
                    whole = self._pieces.get(utterance, "") + (delta or "")
                    self._pieces[utterance] = whole[: events.MAX_TEXT_CHARS]
                    self._say_heard(utterance, self._pieces[utterance], final=False)
            case server.TranscriptionUpdated(item_id=item_id, transcript=transcript, text=text):
                if _id(item_id) not in self._transcribed:
                    self._say_heard(_id(item_id), transcript or text or "", final=False)
            case server.TranscriptionCompleted(item_id=item_id, transcript=transcript, usage=used):
                if self._words_end(_id(item_id), "told"):
                    self._say_heard(_id(item_id), transcript or "", final=True)
                model = session_settings.transcription_model(self._config) or self._model
                if (spent := usage.of_transcription(used, model)) is not None:
                    self._events.append(spent)
            case server.TranscriptionFailed(item_id=item_id, error=error):
                if self._words_end(_id(item_id), "missing"):
                    reason = errors.words_of(self._cleaned(error) or server.ErrorPart())
                    self._events.append(events.NotTranscribed(_id(item_id), reason))
            case _:
                return False
        while len(self._pieces) > 16:
            del self._pieces[next(iter(self._pieces))]
        return True

    def _words_end(self, utterance: str, how: _Words) -> bool:
        """Whether this is news of the utterance: its words are told once, and are not missing after that."""
        self._pieces.pop(utterance, None)
        before = self._transcribed.get(utterance)
        if before == "told" or before == how:
            return False
        self._transcribed[utterance] = how
        while len(self._transcribed) > _MOST_TRANSCRIBED:
            self._transcribed.popitem(last=False)
        return True

    def _say_heard(self, utterance: str, text: str, *, final: bool) -> None:
        bare = text.strip()[: events.MAX_TEXT_CHARS]
        if not bare and not final:
            return
        # Some write dots, or nothing at all, for a noise.
        has_words = any(sign.isalnum() for sign in bare)
        is_understood = has_words and bare.lower().rstrip(".!… ") not in _INVENTED
        self._events.append(events.UserTranscript(utterance, bare, final, is_understood))

    # ------------------------------------------------------------ the agent

    def _answer(self, response_id: str | None) -> Answer:
        """The answer of a response; begins it, where the server has not announced it."""
        known = response_id or self._requests.active
        if known is not None and (answer := self._answers.get(known)) is not None:
            return answer
        return self._created(_id(known))

    def _created(self, response_id: str) -> Answer:
        if response_id and (known := self._answers.get(response_id)) is not None:
            return known
        if not response_id:
            self._numbers += 1
            response_id = f"response {self._numbers}"
        request = self._requests.created(response_id)
        is_greeting = request is not None and request.is_greeting
        answer = self._answers.begin(response_id, is_greeting=is_greeting)
        if self._waits_for_answer:
            answer.takes_ms, self._waits_for_answer = self._taken_ms, False
        self._events.append(events.AnswerBegins(response_id, is_greeting))
        return answer

    def _gives(self, answer: Answer) -> None:
        """Something of the answer has come: the speech before it need not be sent again."""
        if answer.takes_ms is not None:
            self._events.append(events.SpeechTaken(answer.takes_ms))
            answer.takes_ms = None

    def _audio(self, message: server.AudioDelta, now_s: float) -> None:
        if not self._is_ready:
            self._bad("audio before the session has begun")
            return
        answer = self._answer(message.response_id)
        data = message.delta
        self._gives(answer)
        if not data or answer.is_void:
            return
        duration_s = len(data) / _bytes_per_ms(self._output_format) / 1000
        self._answers.sound(answer, _id(message.item_id), len(data), duration_s, now_s)
        self._events.append(events.AgentAudio(answer.id, data))

    def _text_piece(
        self,
        message: server.AudioTranscriptDelta
        | server.BetaAudioTranscriptDelta
        | server.TextDelta
        | server.BetaTextDelta,
    ) -> None:
        answer = self._answer(message.response_id)
        self._gives(answer)
        piece = answer.add(_key(message), message.delta or "")
        self._events.append(events.AnswerText(answer.id, piece, final=False))

    def _text_done(self, answer: Answer, key: str, text: str | None) -> None:
        if key in answer.texts_done:
            return
        answer.texts_done.add(key)
        whole = text if text is not None else "".join(answer.pieces.get(key, ()))
        answer.pieces.pop(key, None)
        if whole.strip():
            self._events.append(events.AnswerText(answer.id, whole.strip()[: events.MAX_TEXT_CHARS], final=True))

    def _done(self, response: server.ResponsePart) -> None:
        """The end of an answer, whatever became of it."""
        answer = self._answer(response.id)
        self._requests.done(response.id)
        if answer.is_over:
            return
        answer.is_over = True
        status, details = response.status or "completed", response.status_details or server.StatusPart()
        is_replaced = status == "cancelled" or (status == "failed" and self._is_asked_again(details))
        if is_replaced and answer.takes_ms is not None:
            # The next answer takes the speech. A line that is lost before it would lose the question with the session.
            answer.takes_ms, self._waits_for_answer = None, True
        if status != "failed" or not errors.is_without_credit(self._cleaned(details.error)):
            # Without credit nothing was made of the speech: it is for whoever answers next.
            self._gives(answer)
        for item in response.output or []:
            self._output_item(answer, item, is_last=status == "completed")
        if status == "completed":
            # A server that tells a call by its arguments alone.
            for item in answer.arguments:
                self._output_item(answer, item, is_last=True)
        for key in tuple(answer.pieces):
            self._text_done(answer, key, None)
        if answer.has_pieces:
            self._events.append(events.AnswerTextEnds(answer.id))
        if status == "failed":
            self._failed(answer.id, self._cleaned(details.error))
        else:
            if status == "cancelled" and not answer.is_cancelled and self._server_interrupts and answer.has_sound:
                # A server that does not tell when it hears the person.
                answer.is_void = True
                self._events.append(events.Interrupted(answer.id))
            self._events.append(self._end(answer, status, details))
        if (spent := usage.of_response(response.usage, self._model)) is not None:
            self._events.append(spent)
        self._ask_for_results(answer)

    def _end(self, answer: Answer, status: str, details: server.StatusPart) -> events.AnswerEnds:
        is_ours = answer.is_cancelled or answer.is_void or self._server_interrupts
        if status == "incomplete" or (status == "cancelled" and not is_ours):
            reason, hint = errors.incomplete("cancelled" if status == "cancelled" else details.reason)
            return events.AnswerEnds(answer.id, events.Why.INCOMPLETE, reason, hint)
        return events.AnswerEnds(answer.id, _WHY.get(status, events.Why.COMPLETE))

    # ------------------------------------------------------------ items and tools

    def _item_seen(self, item: server.ItemPart | None) -> None:
        if item is None:
            return
        self._requests.acknowledged(_id(item.id))
        if item.type == "mcp_approval_request":
            self._approval_asked(item)

    def _output_item(self, answer: Answer, item: server.ItemPart | None, *, is_last: bool = False) -> None:
        """is_last: the answer is complete, so its calls are too, whether or not they say so."""
        if item is None:
            return
        if item.type == "message":
            if (known := answer.items.get(_id(item.id))) is not None:
                known.is_whole = True
            for index, part in enumerate(item.content or []):
                key = f"{_id(item.id)}/{index}"
                if (part.transcript or part.text) and (is_last or key in answer.pieces):
                    self._text_done(answer, key, part.transcript or part.text)
        elif item.type == "function_call" and item.status != "incomplete" and (is_last or not answer.is_void):
            self._call(answer, item)
        elif item.type == "mcp_approval_request":
            self._approval_asked(item)

    def _call(self, answer: Answer, item: server.ItemPart) -> None:
        """A call that cannot be understood is answered with an error, because the agent waits for the answer."""
        call_id = item.call_id
        if not call_id:
            self._bad("function_call without call_id")
            return
        if call_id in self._calls_seen:
            return
        self._calls_seen.add(call_id)
        self._gives(answer)
        answer.open_calls.add(call_id)
        parameters = _parameters(item.arguments)
        if not item.name:
            problem = "The call names no tool."
        elif parameters is None:
            problem = "The arguments must be a JSON object. Nothing was done; call it again so."
        else:
            self._events.append(events.ToolCall(item.name, call_id, parameters))
            return
        self.refused_calls += 1
        self._events.append(events.Malformed(f"function_call: {problem}"))
        self._tool_done(commands.ToolDone(call_id, problem))

    def _approval_asked(self, item: server.ItemPart) -> None:
        request_id = item.id or ""
        if not request_id or request_id in self._approvals_seen:
            return
        self._approvals_seen.add(request_id)
        parameters = _parameters(item.arguments)
        if not item.name or parameters is None:
            self._bad("mcp_approval_request without a name or an object of arguments")
            self._approve(request_id, is_allowed=False)
            return
        asked = events.ApprovalAsked(request_id, item.server_label or "", item.name, "", parameters)
        self._events.append(asked)

    def _mcp_call_over(self, item_id: str) -> None:
        """The agent says nothing of the result by itself."""
        if item_id not in self._mcp_calls:
            self._mcp_calls.add(item_id)
            self._requests.want(Request())

    # ------------------------------------------------------------ errors

    def _error(self, message: server.Error) -> None:
        told = message.error
        if not isinstance(told, server.ErrorPart):
            beside = None if message.code is None else str(message.code)
            told = server.ErrorPart(message=told or message.message, code=beside)
        error = self._cleaned(told) or told
        purpose = (error.event_id or "").partition("-")[0]
        code, words = errors.code_of(error), errors.words_of(error)
        is_active = errors.is_active(error)
        if purpose == "create" or (error.event_id is None and is_active):
            self._request_refused(error, words, is_active=is_active)
        elif not self._is_ready and self._without_formats is not None and _is_about_update(purpose, code):
            # It does not let itself be asked for a format, and so has the protocol's own.
            self._events.append(events.Notice("error", {"code": code, "message": words}))
            self._updated(self._without_formats, server.SessionUpdated())
        elif purpose == "tools":
            self._events.append(events.NotTaken("tools", "the changed tools", f"those of before: {words}"))
        elif not self._is_ready and _is_about_update(purpose, code):
            named = f"{one_line(error.param)[:100]}: {words}" if error.param else words
            self._events.append(events.AgentError(named, "refused_session", hopeless=True))
        elif purpose in _HARMLESS_IDS or errors.is_harmless(error):
            self._events.append(events.Notice("error", {"code": code, "message": words}))
        elif purpose == "say":
            self._events.append(events.AnswerFailed(None, f"the server did not take the message: {words}"))
        else:
            self._events.append(events.AgentError(words, code or None))

    def _request_refused(self, error: server.ErrorPart, words: str, *, is_active: bool) -> None:
        is_ours = self._requests.is_refusal(error.event_id)
        mistaken = self._requests.refused(error.event_id, is_active=is_active)
        if mistaken is not None and mistaken.is_greeting and self._requests.active is not None:
            self._events.append(events.AnswerBegins(self._requests.active, is_greeting=False))
        if is_active or errors.is_harmless(error) or not is_ours:
            self._events.append(events.Notice("error", {"code": errors.code_of(error), "message": words}))
            return
        self._failed(None, error)

    def _failed(self, answer: str | None, error: server.ErrorPart | None) -> None:
        reason, hint, retry_s = errors.failure(error, self._reset_s)
        spent = errors.is_without_credit(error)
        self._events.append(events.AnswerFailed(answer, reason, hint, retry_s, spent))

    def _is_asked_again(self, details: server.StatusPart) -> bool:
        return errors.failure(details.error, self._reset_s)[2] is not None

    def _limits(self, limits: Sequence[server.RateLimitPart]) -> None:
        resets = [server.decimal(limit.reset_seconds) for limit in limits if limit.name == "tokens"]
        self._reset_s = next((reset for reset in resets if reset is not None and reset > 0), self._reset_s)

    def _unreadable(self, message: str | bytes, problem: Exception) -> None:
        event = server.MESSAGES.not_read(message, problem)
        if isinstance(event, events.Malformed):
            self.malformed += 1
        else:
            self.unknown += 1
        self._events.append(event)

    def _bad(self, why: str) -> None:
        self.malformed += 1
        self._events.append(events.Malformed(why))

    # ------------------------------------------------------------ inside

    def _tell(self, message: server.ServerMessage) -> None:
        kind = str(message.__struct_config__.tag)
        # Only plain fields: an item may hold all that was said, and is not for logs.
        fields = {
            name: value
            for name in message.__struct_fields__
            if isinstance(value := getattr(message, name), str | int | float)
            and name not in ("arguments", "text", "transcript", "delta")
        }
        self._events.append(events.Notice(kind, fields))

    @property
    def _sent_ms(self) -> int:
        return int(self._sent_bytes / _bytes_per_ms(self._input_format))

    def _position_ms(self, told: server.Number) -> int:
        """A position in the sound that was sent. One beyond its end, or none, is its end."""
        found = server.number(told)
        return min(max(found, 0), self._sent_ms) if found is not None else self._sent_ms

    def _item(self, purpose: _For, role: Literal["user", "assistant", "system"], kind: str, text: str) -> str:
        item_id = self._item_id(purpose)
        content = [client.Content(type=kind, text=sendable(text))]
        message = client.Message(id=item_id, role=role, content=content)
        self._reply(client.ItemCreate(event_id=self._event_id(purpose), item=message))
        return item_id

    def _item_id(self, purpose: _For) -> str:
        """At most 32 characters, as OpenAI wants it."""
        self._numbers += 1
        return f"parleyd_{purpose}_{self._numbers}"

    def _next_id(self, purpose: _For) -> str:
        return f"{purpose}-{self._numbers + 1}"

    def _event_id(self, purpose: _For) -> str:
        self._numbers += 1
        return f"{purpose}-{self._numbers}"

    def _reply(self, message: client.ClientMessage) -> None:
        self._replies.append(client.encode(message))

    def _take(self) -> tuple[list[events.AgentEvent], list[bytes]]:
        found, self._events = self._events, []
        replies, self._replies = self._replies, []
        return found, replies

    def _cleaned(self, error: server.ErrorPart | None) -> server.ErrorPart | None:
        """A server may repeat the key in its words."""
        if error is None or not error.message:
            return error
        return msgspec.structs.replace(error, message=without(error.message, self._secrets))


def _is_about_update(purpose: str, code: str) -> bool:
    """Before the session begins, an error that quotes nothing is about the update, unless it closes the session."""
    return purpose == "update" or (not purpose and code not in errors.CLOSING)


def _id(told: str | None) -> str:
    return (told or "")[:MOST_ID_CHARS]


def _key(
    message: server.AudioTranscriptDelta
    | server.BetaAudioTranscriptDelta
    | server.TextDelta
    | server.BetaTextDelta
    | server.AudioTranscriptDone
    | server.BetaAudioTranscriptDone
    | server.TextDone
    | server.BetaTextDone,
) -> str:
    """The text of the answer to which a message belongs."""
    return f"{_id(message.item_id)}/{server.number(message.content_index) or 0}"


def _format(told: object, config: OpenAI) -> AudioFormat | None:
    """The format that is in force. A server that tells none has the one that was asked for, or the protocol's own.
    None: a format that is not known here."""
    if isinstance(told, server.FormatPart):
        name, rate = told.type, server.number(told.rate)
    else:
        name, rate = (told if isinstance(told, str) else None), None
    match name:
        case None | "":
            return session_settings.FORMATS[config.audio_format or "pcm"]
        case "audio/pcm" | "pcm16" | "pcm":
            # Playback resamples any of these.
            return AudioFormat("pcm", rate or 24_000) if rate is None or 8_000 <= rate <= 48_000 else None
        case "audio/pcmu" | "g711_ulaw":
            return session_settings.FORMATS["pcmu"]
        case "audio/pcma" | "g711_alaw":
            return session_settings.FORMATS["pcma"]
        case _:
            return None


def _shown(told: object) -> str:
    name = told.type if isinstance(told, server.FormatPart) else told
    return repr(name)[:MOST_QUOTED_CHARS]


def _bytes_per_ms(fmt: AudioFormat) -> float:
    return fmt.rate_hz * fmt.sample_bytes / 1000


def _parameters(arguments: object) -> dict[str, object] | None:
    """The arguments of a call, which come as JSON in a text; None if they are no object."""
    if arguments is None or arguments == "":
        return {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None


def _data_url(attachment: commands.Prepared) -> str:
    return f"data:{attachment.media_type};base64,{base64.b64encode(attachment.data).decode('ascii')}"
