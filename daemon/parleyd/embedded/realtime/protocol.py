"""The Realtime protocol of one client: its messages in, actions out. Pure.

Sound, words and time come in as arguments; the front carries the actions out in their order. The main rules:

- One response at a time in the conversation; `conversation: none` may run beside it.
- A response is announced at once, and thinks when the words of the person's sound have been recognised.
- Speech cancels the response under way if `interrupt_response` is set. The agent does not know what the client has
  played: it learns that by conversation.item.truncate.
- Clients fall silent at input_audio_buffer.speech_started. So where speech into an answer may be words that do not
  interrupt, nothing of it is told before that is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from parleyd.audio.pcm import BYTES_PER_SAMPLE, PIPELINE_RATE_HZ
from parleyd.audio.resample import Resampler
from parleyd.embedded import fillers, scenario
from parleyd.embedded.backchannels import Doubt
from parleyd.embedded.guesses import guess_after_ms
from parleyd.embedded.hearing import Hearing, SpeechEnded, SpeechMayHaveEnded, SpeechResumed, SpeechStarted
from parleyd.embedded.realtime import client_messages, items, thinking, tokens, wire_formats
from parleyd.embedded.realtime.actions import (
    Action,
    Actions,
    Ask,
    Deviation,
    DropGuess,
    End,
    Fire,
    Guess,
    Hush,
    Raw,
    Recognise,
    Remind,
    SoundArrived,
    Speak,
    Tell,
    Understood,
)
from parleyd.embedded.realtime.client_messages import Plain, RefusedError
from parleyd.embedded.realtime.history import Asked, asked
from parleyd.embedded.realtime.items import WIRE_RATE_HZ, Item, Items
from parleyd.embedded.realtime.response import Event, Response, Status
from parleyd.embedded.realtime.session import Session
from parleyd.embedded.realtime.tokens import Tokens
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.replies import Reply
from parleyd.embedded.scenario import ConnectionScript, ProtocolStep, ResponseEnd, Transcription
from parleyd.embedded.settings import AgentSettings, ToolSpec
from parleyd.embedded.spoken import heard_words, sentences

LEAST_COMMIT_MS = 100
LONGEST_APPEND_CHARS = 15 * 1024 * 1024
# The longest turn that a client ends itself: 58 MB.
MOST_BUFFER_S = 1200
_COUNTED_REQUESTS = 5_000

# Errors that a client may run into by bad luck alone; all others are deviations from the protocol.
_HARMLESS = frozenset(
    {"response_cancel_not_active", "conversation_already_has_active_response", "input_audio_buffer_commit_empty"}
)


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """An utterance that the client does not know of, since its words may be those that do not interrupt. start_ms,
    end_ms: its place in the sound of the client. pcm: at 16 kHz."""

    start_ms: int
    end_ms: int
    pcm: bytes = field(repr=False)


class Protocol:
    """All methods return the actions that follow, and are to be called in the order of the events. heard_until_s: when
    the client has played all sound, if it plays at once and in real time. now_s: of the same clock, which is never
    set."""

    def __init__(
        self, settings: AgentSettings, plan: ConnectionScript, session_id: str, model: str | None, ends_at: int
    ) -> None:
        self.session = Session(settings, session_id, model, ends_at)
        self._settings = settings
        self._dialect = settings.realtime.dialect
        self._plan = plan
        self._conversation_id = session_id.replace("sess_", "conv_", 1)
        self._ids = 0
        self._items = Items()
        self._responses: dict[str, Response] = {}
        self._calls: dict[str, Reply] = {}
        self._approvals: dict[str, tuple[scenario.McpToolCall, str]] = {}
        self._listed: set[str] = set()
        self._ends = list(plan.responses)
        self._transcriptions = list(plan.transcription)
        self._to_tell: dict[str, Transcription] = {}
        self._held: list[str] = []
        self._after_next: list[str] = []
        self._has_spoken = False
        self._last_audio_place: tuple[str, str] = ("resp_none", "item_none")
        self._hearing = self._new_hearing()
        self._resampler: Resampler | None = None
        self._format = ""
        self._heard_bytes = 0
        self._hearing_began_ms = 0
        self._buffer = bytearray()
        self._speech_item: str | None = None
        self._speech_start_ms = 0
        self._doubt = Doubt(settings.interruption_ignore_terms)
        self._doubtful: dict[str, _Doubtful] = {}
        self.heard_until_s = 0.0
        self._tokens_left = settings.realtime.tokens_per_minute
        self._requests_left = _COUNTED_REQUESTS
        self._updates = 0

    def _new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}_{self._ids:05}"

    @property
    def is_busy(self) -> bool:
        """Whether somebody speaks, or a response is under way."""
        return self._hearing.is_speech or bool(self._responses) or bool(self._doubtful)

    # ---------------------------------------------------------------- beginning and end

    def opening(self) -> Actions:
        yield self.created()
        yield Tell("ready", {"overrides": []})
        yield Fire("ready")

    def created(self) -> Event:
        return Event({"type": "session.created", "session": self.session.told()})

    def expired(self) -> Actions:
        """The longest duration of a session has been reached."""
        text = f"Your session hit the maximum duration of {self._settings.realtime.max_session_s / 60:g} minutes."
        yield self._error("session_expired", text)
        yield End(1001, text)

    def identified(self, event: Plain) -> Plain:
        """The event with an id of its own, in the dialect of the scenario."""
        event = {"event_id": self._new_id("event"), **event}
        if self._dialect.error_codes or event["type"] != "error":
            return event
        return {**event, "error": {name: event["error"][name] for name in ("type", "message")}}

    def _error(self, code: str | None, message: str, param: str | None = None, event_id: str | None = None) -> Event:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        return Event({"type": "error", "error": {**error, "event_id": event_id}})

    # ---------------------------------------------------------------- what the client sends

    def receive(self, message: Plain, now: datetime, now_s: float) -> Actions:
        event_id = message.get("event_id")
        event_id = event_id if isinstance(event_id, str) else None
        try:
            client_messages.check(message)
            # A refusal must come before the first action.
            actions = list(self._dispatch(message, event_id, now, now_s))
        except RefusedError as error:
            yield from self.refused(error, str(message.get("type")), event_id)
        else:
            yield from actions

    def refused(self, error: RefusedError, what: str = "message", event_id: str | None = None) -> Actions:
        if error.code not in _HARMLESS:
            yield Deviation(f"{what}: {error}")
        yield self._error(error.code, str(error), error.param, event_id)

    def _dispatch(self, message: Plain, event_id: str | None, now: datetime, now_s: float) -> Actions:
        match message["type"]:
            case "input_audio_buffer.append":
                yield from self._append(message["audio"], now, now_s)
            case "session.update":
                yield from self._update(message["session"])
            case "input_audio_buffer.commit":
                yield from self._commit_buffer(now)
            case "input_audio_buffer.clear":
                self._clear()
                yield DropGuess()
                yield Event({"type": "input_audio_buffer.cleared"})
            case "conversation.item.create":
                yield from self._create_item(message)
            case "conversation.item.truncate":
                yield from self._truncate(message)
            case "conversation.item.delete":
                self._items.remove(message["item_id"])
                yield Event({"type": "conversation.item.deleted", "item_id": message["item_id"]})
            case "conversation.item.retrieve":
                item = self._items.find(message["item_id"])
                yield Event({"type": "conversation.item.retrieved", "item": item.with_audio()})
            case "response.create":
                if self._plan.converse:
                    yield from self._respond(message.get("response") or {}, now)
            case "response.cancel":
                yield from self._cancel(message.get("response_id"))

    def _update(self, changes: Plain) -> Actions:
        before = self.session.detection
        self.session.update(changes, has_spoken=self._has_spoken)
        if self.session.detection != before:
            self._clear()
            self._hearing = self._new_hearing()
            self._hearing_began_ms = self._position_ms
            yield DropGuess()
        self._updates += 1
        if self._updates == 1:
            yield Fire("opening")
        yield Event({"type": "session.updated", "session": self.session.told()})
        for tool in self.session.tools:
            if tool["type"] == "mcp" and tool["server_label"] not in self._listed:
                self._listed.add(tool["server_label"])
                yield from self._list_tools(tool)

    def _list_tools(self, tool: Plain) -> Actions:
        allowed = tool.get("allowed_tools")
        names = allowed if isinstance(allowed, list) else []
        tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
        item_id = self._new_id("mcpl")
        plain = {"id": item_id, "type": "mcp_list_tools", "server_label": tool["server_label"], "tools": tools}
        yield from self._add_item(Item(plain), with_done=False)
        yield Event({"type": "mcp_list_tools.in_progress", "item_id": item_id})
        yield Event({"type": "mcp_list_tools.completed", "item_id": item_id})
        yield from self._item_done(plain, None)

    # ---------------------------------------------------------------- sound in

    @property
    def _position_ms(self) -> int:
        return int(self._heard_bytes / BYTES_PER_SAMPLE * 1000 / WIRE_RATE_HZ)

    def _new_hearing(self) -> Hearing:
        session = self.session
        return Hearing(
            WIRE_RATE_HZ,
            session.end_of_speech_ms,
            may_have_ended_ms=guess_after_ms(self._settings, session.end_of_speech_ms),
            pre_roll_ms=session.pre_roll_ms,
            onset_frames=session.onset_frames,
        )

    def _append(self, audio: str, now: datetime, now_s: float) -> Actions:
        if len(audio) > LONGEST_APPEND_CHARS:
            raise RefusedError("invalid_value", "The audio of one event may have 15 MiB.", "audio")
        data = client_messages.base64_bytes(audio, "audio")
        pcm = self._decoded(data)
        if len(self._buffer) + len(pcm) > MOST_BUFFER_S * WIRE_RATE_HZ * BYTES_PER_SAMPLE:
            text = f"The input audio buffer may have {MOST_BUFFER_S} seconds; commit or clear it."
            raise RefusedError("invalid_value", text, "audio")
        self._heard_bytes += len(pcm)
        yield SoundArrived(pcm)
        if self.session.detection is None:
            self._buffer += pcm
            return
        for event in self._hearing.push(pcm):
            match event:
                case SpeechStarted(start_ms):
                    yield from self._speech_started(self._hearing_began_ms + start_ms, now_s)
                case SpeechMayHaveEnded(so_far) if self._answers_speech and not self._doubt.is_open:
                    yield Guess(so_far)
                case SpeechResumed():
                    yield DropGuess()
                case SpeechEnded(spoken, end_ms):
                    yield from self._speech_ended(spoken, self._hearing_began_ms + end_ms, now)
        if self._doubt.goes_on(self._hearing.speech_ms):
            yield from self._tell_doubtful(now)

    def _decoded(self, data: bytes) -> bytes:
        """The sound at 24 kHz."""
        format_type = self.session.input_format
        if format_type == "audio/pcm" and len(data) % BYTES_PER_SAMPLE:
            raise RefusedError("invalid_value", "The audio has half a sample.", "audio")
        if format_type != self._format:
            self._format = format_type
            rate_hz = wire_formats.RATE_HZ[format_type]
            self._resampler = None if rate_hz == WIRE_RATE_HZ else Resampler(rate_hz, WIRE_RATE_HZ)
        pcm = wire_formats.decode(format_type, data)
        return self._resampler.process(pcm) if self._resampler else pcm

    def _speech_started(self, start_ms: int, now_s: float) -> Actions:
        self._speech_item = self._new_id("item")
        self._speech_start_ms = start_ms
        yield Fire("speech")
        is_answering = self._active() is not None or now_s < self.heard_until_s or bool(self._doubtful)
        if self._doubt.started(is_answering=is_answering):
            yield from self._tell_start(self._speech_item, start_ms)

    def _tell_start(self, item_id: str, start_ms: int) -> Actions:
        started = {"type": "input_audio_buffer.speech_started", "audio_start_ms": start_ms}
        yield Event({**started, "item_id": item_id})
        if (self.session.detection or {}).get("interrupt_response"):
            yield from self._interrupt()

    def _tell_doubtful(self, now: datetime) -> Actions:
        """Tells that somebody speaks who interrupts, after all that was said before."""
        yield from self._settle(None, now)
        assert self._speech_item is not None
        yield from self._tell_start(self._speech_item, self._speech_start_ms)

    def _settle(self, last_id: str | None, now: datetime) -> Actions:
        """Tells the utterances that may have been ignored, in their order, up to the one with this id; None: all."""
        for item_id in list(self._doubtful):
            doubtful = self._doubtful.pop(item_id)
            yield from self._tell_start(item_id, doubtful.start_ms)
            yield from self._tell_end(item_id, doubtful.pcm, doubtful.end_ms)
            yield from self._answer_speech(now)
            if item_id == last_id:
                return

    def _interrupt(self) -> Actions:
        # Clients that are told of speech stop playing.
        self.heard_until_s = 0.0
        response = self._active()
        if response is not None:
            yield from self._over(response, "cancelled", {"type": "cancelled", "reason": "turn_detected"})
            yield Fire("interruption")

    def _speech_ended(self, pcm: bytes, end_ms: int, now: datetime) -> Actions:
        item_id = self._speech_item or self._new_id("item")
        self._speech_item = None
        yield Fire("end_of_speech")
        if self._doubt.ended():
            self._doubtful[item_id] = _Doubtful(self._speech_start_ms, end_ms, pcm)
            yield Recognise(item_id, pcm, self.session.end_of_speech_ms)
            return
        yield from self._tell_end(item_id, pcm, end_ms)
        yield Recognise(item_id, pcm, self.session.end_of_speech_ms)
        yield from self._answer_speech(now)

    def _tell_end(self, item_id: str, pcm: bytes, end_ms: int) -> Actions:
        yield Event({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": end_ms, "item_id": item_id})
        yield from self._commit(item_id, pcm)

    def _answer_speech(self, now: datetime) -> Actions:
        if self._answers_speech:
            try:
                yield from self._respond({}, now)
            except RefusedError as error:
                yield DropGuess()
                yield from self.refused(error)

    @property
    def _answers_speech(self) -> bool:
        return bool((self.session.detection or {}).get("create_response")) and self._plan.converse

    def guessed(self, text: str) -> Asked:
        """The question to the model if these are the words of the person, and a response follows."""
        known = [item for item in self._items if item.kind != "user" or item.text is not None]
        words = Item(_message("guess", "user", "completed", []), text=text)
        return self._asked({}, [*known, words], self.session.for_response({}))

    def _commit_buffer(self, now: datetime) -> Actions:
        if self.session.detection is None:
            pcm = bytes(self._buffer)
            self._check_length(len(pcm) / BYTES_PER_SAMPLE * 1000 / WIRE_RATE_HZ)
            self._buffer.clear()
            resampler = Resampler(WIRE_RATE_HZ, PIPELINE_RATE_HZ)
            item_id, pcm = self._new_id("item"), resampler.process(pcm) + resampler.flush()
            yield from self._commit(item_id, pcm)
            yield Recognise(item_id, pcm)
            return
        ended = self._hearing.end()
        spoken = ended.pcm if ended is not None else b""
        self._check_length(len(spoken) / BYTES_PER_SAMPLE * 1000 / PIPELINE_RATE_HZ)
        if self._doubt.ended():
            yield from self._tell_doubtful(now)
        item_id, self._speech_item = self._speech_item or self._new_id("item"), None
        yield DropGuess()
        yield from self._commit(item_id, spoken)
        yield Recognise(item_id, spoken)

    def _check_length(self, audio_ms: float) -> None:
        if audio_ms < LEAST_COMMIT_MS:
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer "
                f"only has {audio_ms:.2f}ms of audio."
            )
            raise RefusedError("input_audio_buffer_commit_empty", text)

    def _clear(self) -> None:
        self._buffer.clear()
        self._hearing.forget()
        self._speech_item = None
        self._doubt.ended()

    def _commit(self, item_id: str, pcm: bytes) -> Actions:
        before = self._items.last_id()
        committed = {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": before}
        yield Event(committed)
        content = [{"type": "input_audio", "transcript": None}]
        plain = _message(item_id, "user", "completed", content)
        self._to_tell[item_id] = self._transcriptions.pop(0) if self._transcriptions else Transcription()
        yield from self._add_item(Item(plain, text=None, pcm=pcm))

    # ---------------------------------------------------------------- words of the person

    def recognised(self, item_id: str, text: str, now: datetime, understood: Understood | None = None) -> Actions:
        """The recogniser has finished with an item. understood: follows if that is a turn."""
        if item_id in self._doubtful:
            if self._doubt.is_ignored(text):
                del self._doubtful[item_id]
                yield Tell("ignored", {"text": text})
                return
            yield from self._settle(item_id, now)
        yield Tell("heard", {"text": text})
        if not self.session.transcribes:
            self._to_tell.pop(item_id, None)
        how = self._to_tell.get(item_id, Transcription())
        if self._items.has(item_id):
            item = self._items.find(item_id)
            item.text = text
            content = [
                {**part, "transcript": text} if part["type"] == "input_audio" else part
                for part in item.plain["content"]
            ]
            item.plain = {**item.plain, "content": content}
        if item_id in self._to_tell:
            match how.come:
                case "after_answer":
                    self._held.append(item_id)
                case "after_next":
                    self._after_next.append(item_id)
                case "missing":
                    del self._to_tell[item_id]
                case _ if how.delay_s:
                    yield Remind(item_id, how.delay_s)
                case _:
                    yield from self.transcript_due(item_id)
        yield Fire("transcript")
        waiting = [response for response in self._responses.values() if item_id in response.waits_for]
        if waiting and understood is not None:
            yield understood
        for response in waiting:
            response.waits_for.discard(item_id)
            yield from self._think(response, now)
        if not waiting:
            # Its response was cancelled before the words were there.
            yield DropGuess()

    def transcript_due(self, item_id: str) -> Actions:
        """The client is to be told the transcript now."""
        how = self._to_tell.pop(item_id, None)
        if how is None or not self._items.has(item_id):
            return
        item = self._items.find(item_id)
        kind = "conversation.item.input_audio_transcription"
        place = {"item_id": item_id, "content_index": 0}
        if how.come == "failed":
            error = {"type": "server_error", "code": "audio_unintelligible", "param": None}
            message = "Input transcription failed."
            yield Event({"type": f"{kind}.failed", **place, "error": {**error, "message": message}})
        else:
            # Words that nobody understood are an empty transcript.
            text = "" if item.text in (None, NOT_UNDERSTOOD) else str(item.text)
            if text:
                yield Event({"type": f"{kind}.delta", **place, "delta": text})
            usage = {"type": "duration", "seconds": round(item.input_s, 3)}
            yield Event({"type": f"{kind}.completed", **place, "transcript": text, "usage": usage})
        waiting, self._after_next = self._after_next, []
        for other in waiting:
            yield from self.transcript_due(other)

    # ---------------------------------------------------------------- items

    def _add_item(self, item: Item, after: str | None = None, *, with_done: bool = True) -> Actions:
        before = self._items.add(item, after)
        kind = "conversation.item.created" if self._dialect.item_events == "created" else "conversation.item.added"
        yield Event({"type": kind, "item": item.plain, "previous_item_id": before})
        if with_done:
            yield from self._item_done(item.plain, before)

    def _item_done(self, plain: Plain, before: str | None) -> Actions:
        if self._dialect.item_events != "created":
            yield Event({"type": "conversation.item.done", "item": plain, "previous_item_id": before})

    def _create_item(self, message: Plain) -> Actions:
        plain = message["item"]
        known = (one.plain["call_id"] for one in self._items if one.kind == "function_call")
        item = items.from_client(plain, plain.get("id") or self._new_id("item"), known)
        if plain["type"] == "mcp_approval_response" and plain["approval_request_id"] not in self._approvals:
            text = f"No approval request with id '{plain['approval_request_id']}' found."
            raise RefusedError("invalid_value", text, "item.approval_request_id")
        yield from self._add_item(item, message.get("previous_item_id"))
        match item.kind:
            case "user":
                if item.files:
                    for file in item.files:
                        told = {"name": file.name, "media_type": file.media_type, "size_bytes": file.size_bytes}
                        yield Tell("file", told)
                if item.text is None:
                    yield Recognise(item.id, item.pcm)
                else:
                    yield Tell("heard", {"text": item.text})
                    yield Fire("transcript")
            case "function_call_output":
                yield Tell("tool_result", {"text": plain["output"], "is_error": False})
            case "mcp_approval_response":
                yield from self._approved(plain)
            case kind:
                yield Tell("message", {"type": kind, "text": item.text or ""})

    def _approved(self, plain: Plain) -> Actions:
        step, response_id = self._approvals.pop(plain["approval_request_id"])
        yield Tell("message", {"type": "mcp_approval_response", "text": "allowed" if plain["approve"] else "denied"})
        if not plain["approve"]:
            return
        arguments = json.dumps(step.parameters)
        call = {
            "id": self._new_id("mcp"),
            "type": "mcp_call",
            "server_label": step.service,
            "name": step.name,
            "arguments": arguments,
            "approval_request_id": plain["approval_request_id"],
            "output": None,
            "error": None,
        }
        place = {"item_id": call["id"], "output_index": 0}
        item = Item(call)
        yield from self._add_item(item, with_done=False)
        yield Event({"type": "response.mcp_call.in_progress", **place})
        done = {"type": "response.mcp_call_arguments.done", **place, "response_id": response_id}
        yield Event({**done, "arguments": arguments})
        item.plain = {**call, "output": f"{step.name} is done."}
        yield Event({"type": "response.mcp_call.completed", **place})
        yield from self._item_done(item.plain, None)

    def _truncate(self, message: Plain) -> Actions:
        item = self._items.find(message["item_id"])
        end_ms = message["audio_end_ms"]
        if item.kind != "assistant" or not item.sent_ms:
            text = "Only model output audio messages can be truncated"
            raise RefusedError("unsupported_content_type", text, "item_id")
        if message["content_index"] != 0:
            raise RefusedError("invalid_value", "The content index is out of range.", "content_index")
        if end_ms > int(item.sent_ms + 0.5):
            text = f"Audio content of {item.sent_ms:.0f}ms is already shorter than {end_ms}ms"
            raise RefusedError("invalid_value", text, "audio_end_ms")
        item.kept_ms = min(item.kept_ms, float(end_ms))
        heard = heard_words(item.pieces, end_ms / 1000)
        told = {"item_id": item.id, "audio_end_ms": end_ms, "sent_ms": round(item.sent_ms), "heard": heard}
        yield Tell("truncated", told)
        item.heard = heard
        # The client has stopped playing.
        self.heard_until_s = 0.0
        item.text = ""
        item.plain = {**item.plain, "content": [{"type": "output_audio"}]}
        if self._dialect.truncated:
            place = {"item_id": item.id, "content_index": 0, "audio_end_ms": end_ms}
            yield Event({"type": "conversation.item.truncated", **place})

    # ---------------------------------------------------------------- responses

    def _active(self) -> Response | None:
        """The response of the conversation that is under way."""
        return next((one for one in self._responses.values() if one.conversation_id is not None), None)

    def _respond(self, wish: Plain, now: datetime) -> Actions:
        active = self._active()
        is_apart = wish.get("conversation") == "none"
        if active is not None and not is_apart:
            text = (
                f"Conversation already has an active response in progress: {active.id}. Wait until the response is "
                "finished before creating a new one."
            )
            raise RefusedError("conversation_already_has_active_response", text)
        settings = self.session.for_response(wish)
        given = list(self._given(wish))
        yield from self._begin(wish, settings, given, is_apart=is_apart)
        response = list(self._responses.values())[-1]
        if not response.waits_for:
            yield from self._think(response, now)

    def _given(self, wish: Plain) -> Iterator[Item]:
        """The items that the response answers to."""
        if "input" not in wish:
            yield from self._items
            return
        for plain in wish["input"]:
            if plain["type"] == "item_reference":
                yield self._items.find(plain["id"])
            else:
                calls = (one.plain["call_id"] for one in self._items if one.kind == "function_call")
                yield items.from_client(plain, plain.get("id") or self._new_id("item"), calls)

    def _begin(self, wish: Plain, settings: Plain, given: list[Item], *, is_apart: bool) -> Actions:
        end = self._ends.pop(0) if self._ends else ResponseEnd()
        conversation = None if is_apart else self._conversation_id
        response = Response(self._new_id("resp"), wish, settings, conversation, end, given)
        instructions = str(wish.get("instructions") or self.session.instructions)
        response.given = Tokens(tokens.of_text(instructions + json.dumps(settings["tools"])))
        for item in given:
            if item.is_filler:
                continue
            response.given += item.tokens
            if item.was_input:
                response.cached += item.tokens
            item.was_input = True
            if item.text is None:
                response.waits_for.add(item.id)
        self._responses[response.id] = response
        yield Event({"type": "response.created", "response": response.plain("in_progress", None, None)})
        yield self._rate_limits()
        yield Fire("response")

    def _rate_limits(self) -> Event:
        self._requests_left = max(0, self._requests_left - 1)
        limits = (
            ("requests", _COUNTED_REQUESTS, self._requests_left, 0.1),
            ("tokens", self._settings.realtime.tokens_per_minute, self._tokens_left, 60.0),
        )
        told = [
            {"name": name, "limit": limit, "remaining": left, "reset_seconds": reset_s}
            for name, limit, left, reset_s in limits
        ]
        return Event({"type": "rate_limits.updated", "rate_limits": told})

    def _think(self, response: Response, now: datetime) -> Actions:
        if response.outputs is None and not response.waits_for:
            if self._settings.mind is not None and response.end.status == "completed":
                yield from self._ask(response)
                return
            yield DropGuess()
            question = thinking.Question(
                response.items,
                self._calls,
                response.settings["tools"],
                response.settings["tool_choice"],
                str(response.wish.get("instructions") or ""),
                self._settings,
            )
            response.outputs = thinking.think(question, now)
            if response.end.status != "completed" and response.end.after_audio_ms == 0:
                yield from self._over(response, *response.early_end())
            else:
                yield from self._next_output(response)

    def _ask(self, response: Response) -> Actions:
        """The answer comes from the model, piece by piece."""
        response.outputs = []
        asked = self._asked(response.wish, response.items, response.settings)
        # A response beside the conversation is for a program, and nobody waits to hear it.
        said_meanwhile = () if response.conversation_id is None else fillers.texts(self._settings)
        yield Ask(response.id, asked, response.is_text, said_meanwhile)

    def _asked(self, wish: Plain, given: Sequence[Item], settings: Plain) -> Asked:
        instructions = str(wish.get("instructions") or self.session.instructions)
        return asked(given, settings, instructions, self._settings.prompt, may_shorten=self.session.truncates)

    def begin_words(self, response_id: str, *, is_filler: bool = False) -> Actions:
        """The first words of the model's answer are there. is_filler: something is said while the model thinks, as an
        item of its own, so that the client can tell how much of each was heard."""
        response = self._responses.get(response_id)
        if response is not None and response.current is None:
            plain = _message(self._new_id("item"), "assistant", "in_progress", [])
            yield from self._open(response, Item(plain, is_filler=is_filler))
            yield response.open_part()

    def filled(self, response_id: str) -> Actions:
        """The filler is spoken."""
        response = self._responses.get(response_id)
        if response is not None and response.current is not None:
            yield from self._close_words(response)

    def _close_words(self, response: Response) -> Actions:
        assert response.current is not None
        yield Tell("says", {"text": response.current.text or ""})
        yield from response.close_part()
        yield from self._close(response, "completed")

    def answered(self, response_id: str, calls: Iterable[ToolSpec]) -> Actions:
        """All words of the model's answer are spoken. calls: what follows them."""
        response = self._responses.get(response_id)
        if response is None:
            return
        if response.current is not None:
            yield from self._close_words(response)
        response.outputs = [thinking.Call(tool, Reply("{result}")) for tool in calls]
        yield from self._next_output(response)

    def _next_output(self, response: Response) -> Actions:
        while response.outputs:
            output = response.outputs.pop(0)
            if isinstance(output, thinking.Words):
                yield from self._open_words(response, output.text)
                return
            yield from self._call(response, output)
        yield from self._over(response, "completed", {"type": "completed"})
        yield Fire("spoken")

    def _open(self, response: Response, item: Item) -> Actions:
        yield response.open_item(item)
        if response.conversation_id is not None:
            yield from self._add_item(item, with_done=False)

    def _close(self, response: Response, status: str) -> Actions:
        assert response.current is not None
        item = response.current
        item.was_input = True
        yield response.close_item(status)
        if response.conversation_id is not None:
            yield from self._item_done(item.plain, None)

    def _open_words(self, response: Response, text: str) -> Actions:
        item = Item(_message(self._new_id("item"), "assistant", "in_progress", []))
        yield from self._open(response, item)
        yield response.open_part()
        yield Tell("says", {"text": text})
        yield Speak(response.id, tuple(sentences(text)), response.is_text)

    def _call(self, response: Response, call: thinking.Call) -> Actions:
        call_id = self._new_id("call")
        self._calls[call_id] = call.reply
        arguments = json.dumps(dict(call.tool.parameters))
        plain = {
            "id": self._new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": call.tool.name,
            "call_id": call_id,
            "arguments": "",
        }
        item = Item(plain)
        yield from self._open(response, item)
        yield from response.add_arguments(arguments)
        item.plain = {**plain, "arguments": arguments}
        yield from self._close(response, "completed")
        yield Tell("tool_call", {"name": call.tool.name, "parameters": call.tool.parameters})

    def sentence(self, response_id: str, text: str, duration_s: float) -> Actions:
        """The next sentence of a response; its sound follows."""
        response = self._responses.get(response_id)
        if response is None or response.current is None:
            return
        is_first = not response.current.text
        response.current.pieces.append((text, duration_s))
        yield response.add_words(text)
        if is_first and response.is_text:
            yield Fire("speaking")
        if response.is_text and response.audio_left_ms() <= 0:
            yield from self._over(response, *response.early_end())

    def sound(self, response_id: str, pcm: bytes, now_s: float) -> Actions:
        """The next sound of a response, at 24 kHz."""
        response = self._responses.get(response_id)
        if response is None or response.current is None:
            return
        is_first = not response.current.sent_ms
        left_ms = response.audio_left_ms()
        sound_ms = len(pcm) / BYTES_PER_SAMPLE * 1000 / WIRE_RATE_HZ
        if left_ms < sound_ms:
            pcm = pcm[: int(left_ms * WIRE_RATE_HZ / 1000) * BYTES_PER_SAMPLE]
        if pcm:
            self._has_spoken = True
            self._last_audio_place = (response.id, response.current.id)
            yield response.add_sound(pcm)
            sent_s = len(pcm) / BYTES_PER_SAMPLE / WIRE_RATE_HZ
            self.heard_until_s = max(self.heard_until_s, now_s) + sent_s
            if is_first:
                yield Fire("speaking")
        if left_ms < sound_ms:
            yield from self._over(response, *response.early_end())

    def spoken(self, response_id: str) -> Actions:
        """All sentences have been spoken."""
        response = self._responses.get(response_id)
        if response is not None and response.current is not None:
            yield from response.close_part()
            yield from self._close(response, "completed")
            yield from self._next_output(response)

    def voice_failed(self, response_id: str, text: str) -> Actions:
        """The synthesiser does not work."""
        response = self._responses.get(response_id)
        if response is not None:
            error = {"type": "server_error", "code": None, "message": text}
            yield from self._over(response, "failed", {"type": "failed", "error": error})

    def _over(self, response: Response, status: Status, details: Plain) -> Actions:
        """Ends a response, whatever it is doing."""
        del self._responses[response.id]
        yield Hush(response.id)
        if response.outputs is None:
            # It was never asked for.
            yield DropGuess()
        if response.current is not None:
            if response.current.kind == "assistant":
                yield from response.close_part()
            yield from self._close(response, "completed" if status == "completed" else "incomplete")
        usage = response.usage() if self._dialect.usage and response.outputs is not None else None
        if usage is not None:
            self._tokens_left = max(0, self._tokens_left - int(usage["total_tokens"]))
        if status == "cancelled":
            yield Tell("cancelled", {"response_id": response.id, "reason": details["reason"]})
        yield Event({"type": "response.done", "response": response.plain(status, details, usage)})
        yield Tell("response", {"response_id": response.id, "status": status, "audio_ms": round(response.audio_ms)})
        held, self._held = self._held, []
        for item_id in held:
            yield from self.transcript_due(item_id)

    def _cancel(self, response_id: str | None) -> Actions:
        response = self._active() if response_id is None else self._responses.get(response_id)
        if response is None:
            raise RefusedError("response_cancel_not_active", "Cancellation failed: no active response found")
        yield from self._over(response, "cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    # ---------------------------------------------------------------- the scenario

    def say_unasked(self, text: str) -> Actions:
        """The agent says something of its own accord, after it has stopped what it was saying."""
        yield from self._interrupt()
        settings = self.session.for_response({})
        yield from self._begin({}, settings, list(self._items), is_apart=False)
        response = list(self._responses.values())[-1]
        response.outputs, response.waits_for = [thinking.Words(text)], set()
        yield from self._next_output(response)

    def act(self, step: ProtocolStep) -> Actions:
        """A step that is a message of the protocol."""
        match step:
            case scenario.Error():
                told = self._error(step.error_type, step.message)
                if step.shape == "flat":
                    told = Event({"type": "error", "error": {"type": step.error_type, "message": step.message}})
                yield told
            case scenario.Malformed():
                yield Raw(_malformed(step.kind, self._last_audio_place), {"type": "(malformed)", "kind": step.kind})
            case scenario.Oversized():
                yield self._loose_audio(bytes(step.samples * BYTES_PER_SAMPLE))
            case scenario.DuplicateMetadata():
                yield self.created()
            case scenario.StaleAudio():
                samples = step.duration_ms * WIRE_RATE_HZ // 1000
                yield self._loose_audio(scenario.TONE * (samples // 2))
            case scenario.UnknownEvent():
                yield Event({"type": step.name})
            case scenario.Interrupt():
                started = {"type": "input_audio_buffer.speech_started", "audio_start_ms": self._position_ms}
                yield Event({**started, "item_id": self._new_id("item")})
                yield from self._interrupt()
            case scenario.ToolCall():
                yield from self._unasked_response(
                    lambda response: self._call(
                        response,
                        thinking.Call(ToolSpec(name=step.name, parameters=step.parameters), Reply("{result}")),
                    )
                )
            case scenario.McpToolCall():
                yield from self._unasked_response(lambda response: self._ask_approval(response, step))
            case scenario.QueueStatus():
                # The protocol has no queue.
                pass

    def _loose_audio(self, pcm: bytes) -> Event:
        """Sound that belongs to the last answer, whether or not that is over."""
        response_id, item_id = self._last_audio_place
        settings = self.session.for_response({})
        apart = Response(response_id, {}, settings, None, ResponseEnd(), [], current=Item({"id": item_id}))
        return apart.add_sound(pcm)

    def _unasked_response(self, fill: Callable[[Response], Iterable[Action]]) -> Actions:
        yield from self._interrupt()
        yield from self._begin({}, self.session.for_response({}), list(self._items), is_apart=False)
        response = list(self._responses.values())[-1]
        response.outputs, response.waits_for = [], set()
        yield from fill(response)
        yield from self._over(response, "completed", {"type": "completed"})

    def _ask_approval(self, response: Response, step: scenario.McpToolCall) -> Actions:
        request_id = self._new_id("mcpr")
        self._approvals[request_id] = (step, response.id)
        arguments = json.dumps(step.parameters)
        request = {"id": request_id, "type": "mcp_approval_request", "server_label": step.service}
        yield from self._open(response, Item({**request, "name": step.name, "arguments": arguments}))
        yield from self._close(response, "completed")
        yield Tell("tool_call", {"name": step.name, "parameters": step.parameters})


def _message(item_id: str, role: str, status: str, content: list[Plain]) -> Plain:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": content,
    }


def _malformed(kind: str, place: tuple[str, str]) -> str | bytes:
    """A frame with this fault. place: response and item of the last sound."""
    delta = {
        "type": "response.output_audio.delta",
        "event_id": "event_bad",
        "response_id": place[0],
        "item_id": place[1],
        "output_index": 0,
        "content_index": 0,
        "delta": "AAAA",
    }
    match kind:
        case "bad_json":
            return '{"type": "response.output_audio.delta", "delta": '
        case "not_object":
            return '["response.output_audio.delta"]'
        case "missing_type":
            return json.dumps({name: value for name, value in delta.items() if name != "type"})
        case "missing_fields":
            return json.dumps({"type": delta["type"], "event_id": "event_bad"})
        case "wrong_types":
            return json.dumps({"type": "response.done", "event_id": 5, "response": "none"})
        case "bad_base64":
            return json.dumps({**delta, "delta": "@@@"})
        case _:
            return b"\x00\x01\x02\xff"
