"""The connection of one client of the Realtime protocol. Runs on the server's event loop.

One task reads, one carries out the protocol's actions in their order, and one speaks for each response.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Coroutine, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request

from parleyd.audio.pcm import BYTES_PER_SAMPLE
from parleyd.embedded import opening, turn_delay
from parleyd.embedded.api import key_bytes
from parleyd.embedded.figures import Figures
from parleyd.embedded.fillers import while_waiting
from parleyd.embedded.guesses import Guesses
from parleyd.embedded.line import Line, LineClosedError
from parleyd.embedded.realtime import actions, client_messages
from parleyd.embedded.realtime.actions import Action
from parleyd.embedded.realtime.client_messages import RefusedError
from parleyd.embedded.realtime.items import WIRE_RATE_HZ
from parleyd.embedded.realtime.protocol import Protocol
from parleyd.embedded.realtime.response import Event
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import ConnectionScript, ProtocolStep
from parleyd.embedded.script import Script
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.turn_delay import TurnDelay
from parleyd.embedded.turn_times import TurnTimes
from parleyd.embedded.voice import VoiceError
from parleyd.embedded.workers import Workers

if TYPE_CHECKING:
    from parleyd.embedded.mind.language_model import LanguageModel
    from parleyd.embedded.realtime.answering import Answers

REALTIME_PATH = "/v1/realtime"
KEY_PROTOCOL = "openai-insecure-api-key."
# The most actions that wait to be carried out before the next message of the client is read: of one that sends and
# never reads, they would wait for ever.
MOST_WAITING = 32

_log = logging.getLogger("parleyd.agent")


def _keys_in(headers: Headers) -> list[str]:
    """The keys that a client has sent: in a header, or as a browser does it in a sub-protocol."""
    kind, _, token = headers.get("Authorization", "").partition(" ")
    found = [token] if kind.lower() == "bearer" else []
    if "api-key" in headers:
        found.append(headers["api-key"])
    offered = [one.strip() for value in headers.get_all("Sec-WebSocket-Protocol") for one in value.split(",")]
    return found + [one.removeprefix(KEY_PROTOCOL) for one in offered if one.startswith(KEY_PROTOCOL)]


def has_key(headers: Headers, settings: AgentSettings) -> bool:
    """Whether the client has sent the key, or none is needed."""
    if settings.api_key is None:
        return not settings.require_auth or any(_keys_in(headers))
    right = key_bytes(settings.api_key)
    return any(secrets.compare_digest(key_bytes(key), right) for key in _keys_in(headers))


def _answers(model: LanguageModel) -> Answers:
    # These packages are an extra that most devices do not have.
    from parleyd.embedded.realtime.answering import Answers

    return Answers(model)


def _nothing() -> None:
    """Gives up the answer of a script, which is never begun ahead."""


class Front:
    """run() lasts as long as the connection. script.Actor is the part that the steps use.

    settings: of the agent that the client asks for. model: of settings.mind. agent_exists False: the client is refused.
    """

    def __init__(
        self,
        line: Line,
        settings: AgentSettings,
        plan: ConnectionScript,
        record: ConnectionRecord,
        workers: Workers,
        figures: Figures,
        request: Request,
        session_id: str,
        model: LanguageModel | None = None,
        *,
        agent_exists: bool = True,
    ) -> None:
        settings = opening.with_own_variables(settings, session_id, datetime.now())
        self.line = line
        self.record = record
        self._settings = settings
        self._plan = plan
        self._workers = workers
        self._request = request
        self._agent_exists = agent_exists
        self._answers = None if model is None else _answers(model)
        self._guesses = Guesses(workers, figures, _nothing if self._answers is None else self._answers.drop_guess)
        self._model = next(iter(parse_qs(urlsplit(request.path).query).get("model", [])), None)
        ends_at = int(time.time() + settings.realtime.max_session_s)
        self._protocol = Protocol(settings, plan, session_id, self._model, ends_at)
        self._script = Script(plan, self)
        self._delay = TurnDelay(figures, record)
        self._actions: asyncio.Queue[Action] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_over = False
        self._scripted_transcripts = list(plan.transcripts)
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            if not await self._is_refused():
                await self._script.fire("connect")
                self._start(self._begin()).add_done_callback(lambda _: self._read_the_rest())
                async for message in self.line.received():
                    if not self.line.is_closing:
                        self._receive(message)
                        await self._has_room.wait()
                await self._end_tasks()
                await self._note_the_rest()
        finally:
            await self._end_tasks()
            # After the tasks that could begin another one. A task that is cancelled keeps its variables: this session,
            # which would keep itself.
            self._guesses.drop()
            self._speaking.clear()

    def _read_the_rest(self) -> None:
        """Nothing can be sent any more, so nothing is carried out: what the client has sent by now is noted."""
        self._is_over = True
        self._has_room.set()

    async def _end_tasks(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._guesses.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _note_the_rest(self) -> None:
        """Carries out what is left of the messages that came before the end of the connection, but for answers: they
        would reach nobody."""
        while not self._actions.empty():
            action = self._actions.get_nowait()
            if isinstance(action, actions.Tell | actions.Deviation | actions.SoundArrived | actions.Fire):
                await self._carry_out(action)

    @property
    def is_busy(self) -> bool:
        """Whether a turn goes on: somebody speaks, is being understood, or is being answered."""
        return self._protocol.is_busy or not self._actions.empty()

    async def _is_refused(self) -> bool:
        """Refuses this client if it may not talk to the agent; the handshake is over, as with the real service."""
        if not has_key(self._request.headers, self._settings):
            self.line.close(3000, "invalid_request_error.invalid_api_key")
            return True
        code, message, param = None, "", None
        if "realtime=v1" in self._request.headers.get("OpenAI-Beta", ""):
            code = "beta_api_shape_disabled"
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
        elif not self._agent_exists:
            code, param, message = "agent_not_found", "agent_id", "The agent that the address names does not exist."
        elif self._model is not None and self._model not in self._settings.realtime.models:
            code, param = "model_not_found", "model"
            message = f"The model `{self._model}` does not exist or you do not have access to it."
        if code is None:
            return False
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param, "event_id": None}
        with contextlib.suppress(LineClosedError):
            await self.line.send(self._protocol.identified({"type": "error", "error": error}))
        self.line.close(4000, f"invalid_request_error.{code}")
        return True

    async def _begin(self) -> None:
        self.spawn(self._expire())
        # The session is told as it was before anything that the client has sent already.
        first = list(self._protocol.opening())
        await asyncio.sleep(self._plan.metadata.delay_s)
        if self._plan.metadata.send:
            for action in first:
                await self._carry_out(action)
        await self._work()

    async def _expire(self) -> None:
        await asyncio.sleep(self._settings.realtime.max_session_s)
        self._post(self._protocol.expired())

    # ---------------------------------------------------------------- for the script

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Starts a task that ends with the connection, at the latest."""
        self._start(coroutine)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        # A coroutine that is cancelled before it starts would warn that it was never awaited.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a defect in the embedded agent", exc_info=error)
            self.line.close(1011)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(LineClosedError):
            await coroutine

    async def say_unasked(self, text: str, *, end_call: bool) -> None:
        if text:
            self._post(self._protocol.say_unasked(text))
        if end_call:
            while self._speaking or not self._actions.empty():
                await asyncio.sleep(0.01)
            self.line.close(1000)

    async def act(self, step: ProtocolStep) -> None:
        for action in self._protocol.act(step):
            await self._carry_out(action)

    # ---------------------------------------------------------------- in

    def _receive(self, message: str | bytes) -> None:
        try:
            parsed = client_messages.parse(message)
        except RefusedError as error:
            self._post(self._protocol.refused(error))
            return
        kind = parsed.get("type")
        if kind != "input_audio_buffer.append":
            self.record.add_received(parsed)
            self._post([actions.Fire("message", str(kind))])
        self._post(self._protocol.receive(parsed, datetime.now(), time.monotonic()))

    def _post(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._actions.put_nowait(action)
        if self._actions.qsize() > MOST_WAITING and not self._is_over:
            self._has_room.clear()

    # ---------------------------------------------------------------- out

    async def _work(self) -> None:
        while True:
            action = await self._actions.get()
            try:
                await self._carry_out(action)
            finally:
                self._actions.task_done()
            if self._actions.qsize() <= MOST_WAITING:
                self._has_room.set()

    async def _carry_out(self, action: Action) -> None:
        match action:
            case Event(plain, note, heard):
                if self._plan.metadata.send:
                    await self.line.send(self._protocol.identified(plain), note, heard)
            case actions.Raw(content, noted):
                await self.line.send_raw(content, noted)
            case actions.Fire(trigger, type_):
                await self._script.fire(trigger, type_)
            case actions.Tell(kind, fields):
                self.record.tell(kind, **fields)
            case actions.Deviation(text):
                self.record.add_deviation(text)
            case actions.SoundArrived(pcm):
                self.record.add_received_audio(pcm)
                self._script.audio_arrived()
                # Steps that waited for this sound come before what follows from it.
                await asyncio.sleep(0)
            case actions.Guess(pcm):
                if not self._scripted_transcripts:
                    self._guesses.begin(pcm, self._answer_ahead)
            case actions.DropGuess():
                self._guesses.drop()
            case actions.Recognise(item_id, pcm, None):
                self.spawn(self._recognise(item_id, pcm, None, None))
            case actions.Recognise(item_id, pcm, silence_ms):
                assert silence_ms is not None
                self.spawn(self._recognise(item_id, pcm, self._guesses.take(), turn_delay.ended(silence_ms)))
            case actions.Understood(times, is_ahead):
                self._delay.understood(times, is_ahead=is_ahead)
            case actions.Remind(item_id, delay_s):
                self.spawn(self._remind(item_id, delay_s))
            case actions.Speak(response_id, sentences, is_text):
                self._speaking[response_id] = self._start(self._speak(response_id, sentences, is_text=is_text))
            case actions.Ask(response_id):
                self._speaking[response_id] = self._start(self._answer(action))
            case actions.Hush(response_id):
                task = self._speaking.pop(response_id, None)
                if task is not None:
                    task.cancel()
                    self._delay.forget()
            case actions.End(code, reason):
                self.line.close(code, reason)

    def _answer_ahead(self, text: str) -> None:
        if self._answers is not None:
            self._answers.guess(self._protocol.guessed(text))

    async def _recognise(
        self, item_id: str, pcm: bytes, guess: asyncio.Task[str] | None, times: TurnTimes | None
    ) -> None:
        is_ahead = guess is not None and guess.done()
        if self._scripted_transcripts:
            text = self._scripted_transcripts.pop(0)
        elif guess is not None:
            text = await guess
        else:
            text = await self._workers.transcribe(pcm, final=True)
        understood = None if times is None else actions.Understood(times, is_ahead)
        self._post(self._protocol.recognised(item_id, text, datetime.now(), understood))

    async def _remind(self, item_id: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._post(self._protocol.transcript_due(item_id))

    async def _speak(self, response_id: str, sentences: tuple[str, ...], *, is_text: bool) -> None:
        await asyncio.sleep(self._settings.reply_delay_s)
        try:
            for sentence in sentences:
                await self._say(response_id, sentence, is_text=is_text)
        except VoiceError as error:
            self._voice_failed(response_id, error)
            return
        self._speaking.pop(response_id, None)
        self._post(self._protocol.spoken(response_id))

    def _voice_failed(self, response_id: str, error: VoiceError) -> None:
        self._speaking.pop(response_id, None)
        self._post(self._protocol.voice_failed(response_id, str(error)))

    async def _answer(self, ask: actions.Ask) -> None:
        """Speaks the answer of the language model while it is written."""
        assert self._answers is not None
        response_id = ask.response_id
        await asyncio.sleep(self._settings.reply_delay_s)

        async def say(piece: str) -> None:
            self._post(self._protocol.begin_words(response_id))
            await self._say(response_id, piece, is_text=ask.is_text)

        async def fill(filler: str) -> None:
            with self._delay.goes_on():
                self._post(self._protocol.begin_words(response_id, is_filler=True))
                await self._say(response_id, filler, is_text=ask.is_text)
                self._post(self._protocol.filled(response_id))

        def wait(work: Coroutine[Any, Any, str | None]) -> Awaitable[str | None]:
            return while_waiting(work, ask.fillers, self._settings.soft_timeout_s, self._until_heard, fill)

        try:
            calls = await self._answers.answer(ask.asked, say, wait)
        except VoiceError as error:
            self._voice_failed(response_id, error)
            return
        self._speaking.pop(response_id, None)
        self._post(self._protocol.answered(response_id, calls))

    async def _until_heard(self) -> None:
        """Waits until the client has played all sound, if it plays at once and in real time."""
        while (left_s := self._protocol.heard_until_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    async def _say(self, response_id: str, sentence: str, *, is_text: bool) -> None:
        """Writes or speaks a sentence of a response. Raises VoiceError."""
        if is_text:
            self._delay.forget()
            self._post(self._protocol.sentence(response_id, sentence, 0.0))
            await self._actions.join()
            return
        self._delay.words()
        pcm = await self._workers.say(sentence, WIRE_RATE_HZ)
        seconds = len(pcm) / BYTES_PER_SAMPLE / WIRE_RATE_HZ
        self._post(self._protocol.sentence(response_id, sentence, seconds))
        chunk_bytes = self._settings.chunk_ms * WIRE_RATE_HZ // 1000 * BYTES_PER_SAMPLE
        for start in range(0, len(pcm), chunk_bytes):
            chunk = pcm[start : start + chunk_bytes]
            self._post(self._protocol.sound(response_id, chunk, time.monotonic()))
            # A client that reads slowly stops the voice.
            await self._actions.join()
            self._delay.sound()
            if self._settings.stream_speed:
                await asyncio.sleep(len(chunk) / BYTES_PER_SAMPLE / WIRE_RATE_HZ / self._settings.stream_speed)
