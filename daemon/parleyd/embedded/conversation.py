"""One conversation: takes the client's messages and sends turns. Runs on the server's event loop.

The rules are those of the real service (docs/scenarios.md explains how to break them): metadata are sent first and
once; the end of speech is detected in the received sound; answers are sent faster than they are spoken, so the agent
still "speaks" while the client has sound left to play; speech in this time interrupts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from datetime import datetime
from typing import Any

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio import pcm as sound
from parleyd.embedded import convai_steps, in_turn, incoming, messages, opening, replies, turn_delay
from parleyd.embedded.backchannels import Doubt
from parleyd.embedded.figures import Figures
from parleyd.embedded.fillers import while_waiting
from parleyd.embedded.guesses import Guesses, guess_after_ms
from parleyd.embedded.hearing import (
    Hearing,
    SpeechEnded,
    SpeechGoesOn,
    SpeechMayHaveEnded,
    SpeechResumed,
    SpeechStarted,
)
from parleyd.embedded.line import ConvaiLine, LineClosedError
from parleyd.embedded.mind.choice import Minds
from parleyd.embedded.mind.parts import Call, HangUp, Part, Result, Say, Turn, next_part
from parleyd.embedded.mouth import Mouth
from parleyd.embedded.opening import Opening
from parleyd.embedded.posts import RefusedPostError
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import ConnectionScript, ProtocolStep
from parleyd.embedded.script import Script
from parleyd.embedded.settings import AgentSettings, ToolSpec
from parleyd.embedded.turn_delay import TurnDelay
from parleyd.embedded.uploads import Upload
from parleyd.embedded.utterance import Utterance
from parleyd.embedded.voice import VoiceError
from parleyd.embedded.workers import Workers

_TICK_S = 0.1
# As the service has it in file_input.
MOST_FILES = 10

_log = logging.getLogger("parleyd.agent")


class Conversation:
    """run() lasts as long as the connection. script.Actor is the part that the steps use."""

    def __init__(
        self,
        line: ConvaiLine,
        settings: AgentSettings,
        script: ConnectionScript,
        record: ConnectionRecord,
        workers: Workers,
        minds: Minds,
        figures: Figures,
        conversation_id: str,
    ) -> None:
        self.line = line
        self.record = record
        self.conversation_id = conversation_id
        self._figures = figures
        self._settings = settings
        self._plan = script
        self._workers = workers
        self._input_format = parse_format(settings.input_format)
        self.output_rate_hz = parse_format(settings.output_format).rate_hz
        self._hearing = Hearing(
            self._input_format.rate_hz,
            settings.end_of_speech_ms,
            settings.tentative_every_ms,
            may_have_ended_ms=guess_after_ms(settings, settings.end_of_speech_ms),
        )
        self._script = Script(script, self)
        self._delay: TurnDelay = TurnDelay(figures, record)
        self._mouth = Mouth(line, settings, record, workers, self._script, self._delay.sound)
        self._opening = Opening("")
        self._mind = minds.mind(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer: asyncio.Task[None] | None = None
        self._utterances: asyncio.Queue[Utterance] = asyncio.Queue()
        self._guesses = Guesses(workers, figures, self._mind.drop_guess)
        self._doubt = Doubt(settings.interruption_ignore_terms)
        self._is_filling = False
        # A tool works; the words before its call were heard.
        self._is_calling = False
        # Something that nobody asked for waits to be said; the mind does not know of it yet.
        self._waits_to_say = False
        self._is_understanding = False
        self._scripted_transcripts = list(script.transcripts)
        self._tool_results: dict[str, asyncio.Future[tuple[str, bool]]] = {}
        self._files: dict[str, replies.ReceivedFile] = {}
        self._call_count = 0
        # How long the present answer still waits before it begins.
        self._delay_s = 0.0
        self._has_begun = False
        self._ready = asyncio.Event()
        self._nobody_speaks = asyncio.Event()
        self._nobody_speaks.set()
        self._ping_count = 0
        self._pings: dict[int, float] = {}
        self._ping_ms: int | None = None
        now_s = time.monotonic()
        self._began_s = self._last_message_s = self._last_activity_s = self._last_words_s = now_s

    async def run(self) -> None:
        try:
            await self._script.fire("connect")
            self.spawn(self._begin_late())
            self.spawn(self._recognise())
            self.spawn(self._watch())
            async for message in self.line.received():
                if not self.line.is_closing:
                    await self._receive(message)
        finally:
            tasks: list[asyncio.Task[Any]] = [
                *self._tasks,
                *self._guesses.tasks,
                *([self._answer] if self._answer else []),
            ]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # After the tasks that could begin another one. A task that is cancelled keeps its variables: this
            # conversation, which would keep itself.
            self._guesses.drop()
            self._answer = None

    # ---------------------------------------------------------------- for the script

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Starts a task that ends with the conversation, at the latest."""
        self._tasks.add(self._task(coroutine))

    @property
    def is_busy(self) -> bool:
        """Whether a turn goes on: somebody speaks, is being understood, or is being answered."""
        is_understanding = self._is_understanding or not self._utterances.empty()
        return self._hearing.is_speech or is_understanding or self._is_answering()

    def _is_answering(self) -> bool:
        """Whether an answer is made, or still heard."""
        return (self._answer is not None and not self._answer.done()) or self._mouth.is_heard()

    @property
    def user_id(self) -> str:
        """The client's name for its user or device; "" for none."""
        return self._opening.user_id

    def current_id(self) -> int:
        return self._mouth.current_id

    def reserve_reply_id(self) -> int:
        return self._mouth.reserve_id()

    def new_call_id(self) -> str:
        self._call_count += 1
        return f"call_{self._call_count}"

    def metadata_message(self) -> messages.Message:
        return messages.metadata(self.conversation_id, self._settings.output_format, self._settings.input_format)

    async def say_unasked(self, text: str, *, end_call: bool) -> None:
        self._start_answer(self._say(text, end_call=end_call))

    async def act(self, step: ProtocolStep) -> None:
        await convai_steps.perform(step, self)

    def _task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(coroutine))
        task.add_done_callback(self._task_ended)
        # A coroutine that is cancelled before it starts would warn that it was never awaited.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a defect in the embedded agent", exc_info=error)
            self.line.close(1011)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except LineClosedError:
            pass
        except VoiceError as error:
            await self._fail("tts_cascade_error", 1002, str(error))

    async def _fail(self, error_type: str, code: int, text: str) -> None:
        """Sends the machine-readable error, then the close frame."""
        with contextlib.suppress(LineClosedError):
            await self.line.send(messages.error(error_type, code, text))
        self.line.close(code, text)

    # ---------------------------------------------------------------- what the client sends

    async def _receive(self, message: str | bytes) -> None:
        now_s = time.monotonic()
        try:
            parsed = incoming.parse(message)
            if deviation := incoming.deviation(parsed):
                self.record.add_deviation(deviation)
            if incoming.AUDIO_KEY in parsed:
                self._last_message_s = now_s
                await self._hear(incoming.audio(parsed, self._input_format))
                return
        except incoming.InvalidMessageError as error:
            await self._fail("invalid_message", 1008, f"Invalid message received: {error}")
            return
        kind = parsed["type"]
        self.record.add_received(parsed)
        # A pong shows that the connection works, not that a person is present.
        if kind != "pong":
            self._last_message_s = now_s
        await self._script.fire("message", kind)
        await self._dispatch(kind, parsed, now_s)

    async def _dispatch(self, kind: str, message: dict[str, Any], now_s: float) -> None:
        match kind:
            case "conversation_initiation_client_data":
                await self._script.fire("opening")
                self._begin(message)
            case "pong":
                event_id = message.get("event_id")
                sent_s = self._pings.pop(event_id, None) if isinstance(event_id, int) else None
                if sent_s is not None:
                    self._ping_ms = round((now_s - sent_s) * 1000)
            case "user_message":
                await self._take_text(message.get("text"))
            case "multimodal_message":
                await self._take_files(message)
            case "contextual_update":
                text, context_id = message.get("text"), message.get("context_id")
                if isinstance(text, str):
                    self._mind.note(text, context_id if isinstance(context_id, str) else None)
                    self.record.tell("message", type=kind, text=text)
            case "user_activity":
                self._last_activity_s = now_s
            case "client_tool_result":
                self._take_tool_result(message)
            case _:
                self.record.tell("message", type=kind)

    async def _take_text(self, text: object) -> None:
        if not isinstance(text, str) or not text.strip():
            self._last_activity_s = time.monotonic()
            return
        await self._interrupt()
        self._delay.forget()
        await self._understood(text)

    def take_file(self, upload: Upload) -> str:
        """Accepts a file that a later message will mention. Raises RefusedPostError."""
        if len(self._files) >= MOST_FILES:
            raise RefusedPostError(429, f"A conversation may have {MOST_FILES} files.")
        if not (upload.media_type.startswith("image/") or upload.media_type == "application/pdf"):
            raise RefusedPostError(400, f"{upload.media_type} is not supported: only images and PDF.")
        file_id = f"file_{len(self._files) + 1:04}"
        self._files[file_id] = replies.ReceivedFile(upload.name, upload.media_type, upload.size_bytes)
        self._last_message_s = self._last_activity_s = time.monotonic()
        self.record.tell("file", name=upload.name, media_type=upload.media_type, size_bytes=upload.size_bytes)
        return file_id

    async def _take_files(self, message: dict[str, Any]) -> None:
        """The files of a message. The new and the old form of the list may both be present, with the same file."""
        part, listed, single = message.get("text"), message.get("files"), message.get("file")
        text = part.get("text") if isinstance(part, dict) else ""
        inputs = [*(listed if isinstance(listed, list) else []), single]
        ids = dict.fromkeys(str(one.get("file_id")) for one in inputs if isinstance(one, dict))
        if not ids:
            await self._take_text(text)
            return
        await self._interrupt()
        self._delay.forget()
        said = text if isinstance(text, str) else ""
        self.record.tell("heard", text=said)
        if self._plan.converse:
            self._answer_turn(Turn(said, [self._files.get(one) for one in ids]))

    def _take_tool_result(self, message: dict[str, Any]) -> None:
        result = message.get("result")
        text = result if isinstance(result, str) else messages.as_text(result)
        is_error = bool(message.get("is_error") or message.get("error_type"))
        self.record.tell("tool_result", text=text, is_error=is_error)
        waiting = self._tool_results.pop(str(message.get("tool_call_id")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result((text, is_error))

    # ---------------------------------------------------------------- the beginning

    async def _begin_late(self) -> None:
        await asyncio.sleep(self._settings.opening_timeout_s)
        self._begin(None)

    def _begin(self, message: dict[str, Any] | None) -> None:
        if self._has_begun:
            if message is not None:
                self.record.add_deviation("a second or late conversation_initiation_client_data")
            return
        self._has_begun = True
        self.spawn(self._greet(message))

    async def _greet(self, message: dict[str, Any] | None) -> None:
        await asyncio.sleep(self._plan.metadata.delay_s)
        try:
            self._opening = opening.read(message, self._settings, self.conversation_id, datetime.now())
        except opening.RefusedError as error:
            if error.error_type is None:
                self.line.close(error.code, str(error))
            else:
                await self._fail(error.error_type, error.code, str(error))
            return
        if not self._plan.metadata.send:
            return
        self._mind.begins(self._opening)
        self._mouth.is_text_only = self._opening.is_text_only
        await self.line.send(self.metadata_message())
        self._ready.set()
        self.record.tell("ready", overrides=sorted(opening.names((message or {}).get("conversation_config_override"))))
        self._last_words_s = self._last_activity_s = time.monotonic()
        await self._script.fire("ready")
        if self._settings.ping_interval_s:
            self.spawn(self._ping())
        if self._opening.first_message and self._plan.converse and self._answer is None:
            self._start_answer(self._say(self._opening.first_message))

    # ---------------------------------------------------------------- listening

    async def _hear(self, data: bytes) -> None:
        pcm = sound.decode(self._input_format, data)
        self.record.add_received_audio(pcm)
        self._script.audio_arrived()
        for event in self._hearing.push(pcm):
            match event:
                case SpeechStarted():
                    self._nobody_speaks.clear()
                    self._last_words_s = self._last_activity_s = time.monotonic()
                    await self._script.fire("speech")
                    if self._doubt.started(is_answering=self._is_answering()):
                        await self._interrupt()
                case SpeechGoesOn(so_far):
                    if self.line.sends("tentative_user_transcript"):
                        self._utterances.put_nowait(Utterance(so_far, is_final=False))
                case SpeechMayHaveEnded(so_far):
                    self._begin_guess(so_far)
                case SpeechResumed():
                    self._guesses.drop()
                case SpeechEnded(pcm=whole):
                    now_s = time.monotonic()
                    self._nobody_speaks.set()
                    self._last_words_s = self._last_activity_s = now_s
                    await self._script.fire("end_of_speech")
                    times, words = turn_delay.ended(self._settings.end_of_speech_ms), self._guesses.take()
                    self._utterances.put_nowait(Utterance(whole, True, words, times, self._doubt.ended()))
        if self._doubt.goes_on(self._hearing.speech_ms):
            await self._interrupt()

    def _begin_guess(self, pcm: bytes) -> None:
        if not self._scripted_transcripts and not self._doubt.is_open and self._ready.is_set():
            self._guesses.begin(pcm, self._answer_ahead)

    def _answer_ahead(self, text: str) -> None:
        if self._plan.converse:
            self._mind.guess(Turn(text))

    async def _recognise(self) -> None:
        await self._ready.wait()
        while True:
            utterance = await self._utterances.get()
            is_final = self._is_understanding = utterance.is_final
            was_understood = False
            if is_final and self._scripted_transcripts:
                text = self._scripted_transcripts.pop(0)
            elif utterance.guess is not None:
                was_understood = utterance.guess.done()
                text = await utterance.guess
            else:
                text = await self._workers.transcribe(utterance.pcm, final=is_final)
            if utterance.may_be_ignored:
                if self._doubt.is_ignored(text):
                    self.record.tell("ignored", text=text)
                    self._is_understanding = False
                    continue
                await self._interrupt()
            if utterance.times is not None:
                self._delay.understood(utterance.times, is_ahead=was_understood)
            if is_final:
                await self.line.send(messages.user_transcript(text, self._mouth.next_id()))
                await self._understood(text)
            elif text != NOT_UNDERSTOOD:
                await self.line.send(messages.tentative_user_transcript(text, self._mouth.last_id + 1))
            self._is_understanding = False

    async def _understood(self, text: str) -> None:
        self.record.tell("heard", text=text)
        await self._script.fire("transcript")
        if self._plan.converse:
            await self._interrupt()
            self._answer_turn(Turn(text))

    async def _interrupt(self) -> None:
        """The person speaks: the agent's present or next answer is given up."""
        # A client that has gone away need not be told; its earlier messages are still looked at.
        with contextlib.suppress(LineClosedError):
            await self._cut()

    async def _cut(self) -> None:
        """Raises LineClosedError."""
        if self._mouth.is_heard() and not self.line.sends("interruption"):
            return
        # Nothing was heard of an answer that has no sound yet; the one before it was heard to its end.
        is_known = not self._is_calling and not self._waits_to_say
        was_cut = await self._stop_answer()
        self._is_calling = self._waits_to_say = False
        if self._mouth.is_heard():
            heard = await self._mouth.interrupt()
            # A filler is no word of the mind.
            self._mind.heard("" if self._is_filling else heard)
            self._figures.interruptions += 1
            await self._script.fire("interruption")
        elif was_cut and is_known:
            self._mind.heard(self._mouth.written)

    # ---------------------------------------------------------------- answering

    def _start_answer(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Starts an answer, after the previous one if that could not be interrupted."""
        self._answer = self._task(in_turn.after(self._answer, coroutine))
        self._answer.add_done_callback(lambda _: coroutine.close())

    async def _stop_answer(self) -> bool:
        """Gives the present answer up; returns whether there was one."""
        answer = self._answer
        if answer is None or answer.done():
            return False
        answer.cancel()
        await asyncio.wait([answer])
        return True

    def _answer_turn(self, turn: Turn) -> None:
        self._figures.turns += 1
        # The mind has to know the turn, even if the person goes on speaking before the answer.
        self._start_answer(self._reply(self._mind.answer(turn)))

    async def _reply(self, parts: AsyncGenerator[Part, Result | None]) -> None:
        """Answers, but not while somebody speaks, because a better reply follows then."""
        await self._nobody_speaks.wait()
        await self._ready.wait()
        self._delay_s = self._settings.reply_delay_s
        async with contextlib.aclosing(parts):
            part = await self._awaited(parts)
            while part is not None:
                match part:
                    case Say():
                        self._delay.words()
                        part = await self._speak(part, parts)
                    case Call(tool):
                        await self._take_the_floor()
                        self._is_calling = True
                        result = await self._call_tool(tool)
                        self._is_calling = False
                        part = await self._awaited(parts, result)
                    case HangUp():
                        await self._hang_up()
                        return

    async def _awaited(self, parts: AsyncGenerator[Part, Result | None], result: Result | None = None) -> Part | None:
        """See next_part. The fillers are spoken while the person waits for it."""
        after_s = self._settings.soft_timeout_s
        heard = self._mouth.wait_until_heard
        return await while_waiting(next_part(parts, result), self._opening.fillers, after_s, heard, self._fill)

    async def _fill(self, filler: str) -> None:
        with self._delay.goes_on():
            self._is_filling = True
            await self._mouth.say(filler)

    async def _speak(self, first: Say, parts: AsyncGenerator[Part, Result | None]) -> Part | None:
        """Speaks these words, and those that follow. Returns the next part that is not spoken."""
        await self._take_the_floor()
        if first.is_whole:
            await self._mouth.say(first.text)
            return await next_part(parts)
        then: Part | None = None

        async def pieces() -> AsyncIterator[str]:
            nonlocal then
            yield first.text
            while isinstance(then := await next_part(parts), Say):
                yield then.text

        await self._mouth.stream(pieces())
        return then

    async def _take_the_floor(self) -> None:
        await self._mouth.wait_until_heard()
        self._is_filling = False
        delay_s, self._delay_s = self._delay_s, 0.0
        await asyncio.sleep(delay_s)

    async def _say(self, text: str, *, end_call: bool = False) -> None:
        """Says something that nobody asked for."""
        self._delay.forget()
        self._waits_to_say = True
        await self._ready.wait()
        self._delay_s = self._settings.reply_delay_s
        await self._take_the_floor()
        self._waits_to_say = False
        if text:
            self._mind.greeted(text)
            await self._mouth.say(text)
        if end_call:
            await self._hang_up()

    async def _hang_up(self) -> None:
        # The client still has the goodbye in its queue, and plays the rest by itself.
        await self.line.send(messages.end_call(self.new_call_id(), self._mouth.next_id()))
        self.line.close(1000)

    async def _call_tool(self, tool: ToolSpec) -> Result:
        """Calls the client's tool."""
        call_id = self.new_call_id()
        waiting: asyncio.Future[tuple[str, bool]] = asyncio.get_running_loop().create_future()
        self._tool_results[call_id] = waiting
        self.record.tell("tool_call", name=tool.name, parameters=tool.parameters)
        call = messages.client_tool_call(
            tool.name, call_id, tool.parameters, self._mouth.next_id(), expects_response=tool.expects_response
        )
        await self.line.send(call)
        if not tool.expects_response:
            return Result("", is_error=False)
        if not self.line.sends("client_tool_call"):
            return Result("the agent's client events do not have client_tool_call", is_error=True)
        try:
            async with asyncio.timeout(self._settings.tool_timeout_s):
                return Result(*await waiting)
        except TimeoutError:
            return Result("no answer in time", is_error=True)
        finally:
            self._tool_results.pop(call_id, None)

    # ---------------------------------------------------------------- time

    async def _ping(self) -> None:
        while True:
            self._ping_count += 1
            self._pings[self._ping_count] = time.monotonic()
            await self.line.send(messages.ping(self._ping_count, self._ping_ms))
            await asyncio.sleep(self._settings.ping_interval_s)

    async def _watch(self) -> None:
        """Enforces the time limits, none of which needs to be exact."""
        limits = self._settings
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            oldest_ping_s = min(self._pings.values(), default=now_s)
            if now_s - self._began_s >= limits.max_duration_s:
                await self._fail("max_duration_exceeded", 1000, "Conversation exceeded the maximum duration.")
            elif not self._mouth.is_text_only and now_s - self._last_message_s >= limits.receive_timeout_s:
                text = f"No user input received for {limits.receive_timeout_s:g} seconds."
                await self._fail("transport_receive_timeout", 1002, text)
            elif limits.pong_timeout_s is not None and now_s - oldest_ping_s >= limits.pong_timeout_s:
                await self._fail("websocket_disconnect", 1002, "No pong received.")
            elif self._ready.is_set():
                await self._watch_silence(now_s)

    async def _watch_silence(self, now_s: float) -> None:
        if self._hearing.is_speech or self._mouth.is_heard() or not (self._answer is None or self._answer.done()):
            self._last_activity_s = now_s
            if self._hearing.is_speech:
                self._last_words_s = now_s
            return
        limits = self._settings
        if limits.silence_end_call_s is not None and now_s - self._last_words_s >= limits.silence_end_call_s:
            self.line.close(1000, "silence")
        elif limits.turn_timeout_s is not None and now_s - self._last_activity_s >= limits.turn_timeout_s:
            self._last_activity_s = now_s
            self._start_answer(self._say(limits.turn_timeout_message))
