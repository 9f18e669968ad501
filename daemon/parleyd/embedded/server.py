"""The embedded agent as a whole: a WebSocket server on a separate thread.

with LocalAgent(AgentSettings(first_message="Hi.")) as agent:
    ...                                   # talk to agent.base_url
    record = agent.wait_connection()
    assert record.wait_transcript() == "What time is it?"
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.core.errors import UserError
from parleyd.embedded import posts, uploads
from parleyd.embedded.api import Api, json_response, scripted_response
from parleyd.embedded.conversation import Conversation
from parleyd.embedded.figures import Figures
from parleyd.embedded.line import ConvaiLine, Line
from parleyd.embedded.mind.choice import AgentMinds
from parleyd.embedded.operation import Operation
from parleyd.embedded.posts import Post, RefusedPostError
from parleyd.embedded.realtime.front import KEY_PROTOCOL, REALTIME_PATH, Front, has_key
from parleyd.embedded.realtime.http import Http
from parleyd.embedded.realtime.items import WIRE_RATE_HZ
from parleyd.embedded.recognise import Ears, make_ears
from parleyd.embedded.record import WAIT_S, Activity, ConnectionRecord
from parleyd.embedded.replica import Replica
from parleyd.embedded.scenario import ConnectionScript, Handshake, Scenario, SpeechScript
from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.speech import SPEECH_PATH, SpeechRecord, SpeechStream
from parleyd.embedded.uploads import Upload
from parleyd.embedded.voice import Speaking, Voice
from parleyd.embedded.workers import Workers
from parleyd.host import python_env, web_pages
from parleyd.host.packages import missing_module

CONVERSATION_PATH = "/v1/convai/conversation"
SUBPROTOCOLS = (Subprotocol("convai"), Subprotocol("realtime"))
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
START_TIMEOUT_S = 10.0
HANDSHAKE_S = 10.0
CLOSE_TIMEOUT_S = 0.6
_DRAIN_TICK_S = 0.05
_SECRET_HEADERS = frozenset({"xi-api-key", "authorization", "api-key"})

# Clients that send garbage are recorded; the library must not write about them on the user's terminal.
_silent = logging.getLogger("parleyd.agent.websockets")
_silent.propagate = False
_silent.addHandler(logging.NullHandler())


class LocalAgent:
    """A context manager; start() and stop() do the same. Raises UserError (VoiceError among them).

    settings: replace those of the scenario.
    ears, voice: loaded objects that several agents share (the voice is then not closed).
    origins: of web pages that may talk to it, besides those of this machine.
    agents: from files, see agent_file; then no others exist.
    keep False: ended connections are removed from `connections`.
    folder: for recordings of sound and messages.
    on_activity: called on the server's thread.
    replica: what makes it one of several servers.
    """

    def __init__(
        self,
        settings: AgentSettings | None = None,
        scenario: Scenario | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ears: Ears | None = None,
        voice: Speaking | None = None,
        origins: Sequence[str] = (),
        agents: Sequence[dict[str, Any]] = (),
        keep: bool = True,
        folder: Path | None = None,
        on_activity: Callable[[Activity], None] | None = None,
        replica: Replica | None = None,
    ) -> None:
        self.scenario = scenario or Scenario()
        self.settings = settings or self.scenario.agent
        self.host = host
        self.port = port
        self.connections: list[ConnectionRecord] = []
        self.speeches: list[SpeechRecord] = []
        self._ears = ears
        self._voice = voice
        self._owned_voice: Speaking | None = None
        self._origins = frozenset(origins)
        self._keep = keep
        self._folder = folder
        self._on_activity = on_activity
        self._replica = replica or Replica()
        self.figures = Figures()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._workers: Workers | None = None
        self._minds = AgentMinds(lambda: self.figures.failed("mind"))
        # Those whose handshake goes on; a client may go away in it.
        self._scripts: MutableMapping[ServerConnection, ConnectionScript] = WeakKeyDictionary()
        self._speech_scripts: MutableMapping[ServerConnection, SpeechScript] = WeakKeyDictionary()
        self._lines: set[Line] = set()
        self._sessions: set[Conversation | Front] = set()
        self._conversations: dict[str, Conversation] = {}
        tls = self._replica.tls
        self._api = Api(self.settings, self.scenario, agents, secret=self._replica.secret, has_tls=tls is not None)
        self._operation = Operation(self._replica, self.figures, self._places_taken, self._has_key)
        self._http = Http(self.settings)
        self._count = 0
        self._handshakes = 0
        self._speech_count = 0

    @property
    def base_url(self) -> str:
        return f"{'http' if self._replica.tls is None else 'https'}://{self._netloc}"

    @property
    def url(self) -> str:
        return f"{'ws' if self._replica.tls is None else 'wss'}://{self._netloc}"

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> LocalAgent:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the agent. Returns when it listens; `port` is then the real port."""
        ears = self._ears or self._make_ears()
        if self._voice is None:
            self._voice = self._owned_voice = self._make_voice()
        elsewhere = self.settings.ears_at is not None, self.settings.voice_at is not None
        self._workers = Workers(
            ears, self._voice, self.figures, ears_elsewhere=elsewhere[0], voice_elsewhere=elsewhere[1]
        )
        for settings in (self.settings, *self._api.settings_of_all()):
            self._minds.prepare(settings)
        self._thread = threading.Thread(target=self._run, name="agent-server", daemon=True)
        self._thread.start()
        started = self._started.wait(START_TIMEOUT_S)
        if self._failure is not None or not started:
            self.stop()
            raise self._address_error()

    def drain(self, within_s: float, done: Callable[[], None]) -> None:
        """Takes no more sessions, and closes each with 1001 when its turn is over, or after within_s. Then done() is
        called, on the server's thread, and stop() is to be called."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            asyncio.run_coroutine_threadsafe(self._drain(within_s, done), self._loop)

    def stop(self) -> None:
        """Closes every connection with 1001. May be called if it was never started."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        if self._workers is not None:
            self._workers.close()
        if self._owned_voice is not None:
            self._owned_voice.close()
            self._voice = self._owned_voice = None

    def _make_ears(self) -> Ears:
        at = self.settings.ears_at
        if at is None:
            return make_ears(self.settings.ears)
        ears: Ears = _elsewhere().ears_at(at, lambda: self.figures.failed("ears"))
        return ears

    def _make_voice(self) -> Speaking:
        at, name = self.settings.voice_at, self.settings.voice
        if at is None:
            return Voice(name)
        voice: Speaking = _elsewhere().VoiceByAddress(at, name, lambda: self.figures.failed("voice"))
        return voice

    def wait_connection(self, count: int = 1, timeout_s: float = WAIT_S) -> ConnectionRecord:
        """Waits for the count-th conversation after its handshake. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.connections) >= count, timeout_s):
                raise TimeoutError(f"no connection {count} within {timeout_s:g} s")
            return self.connections[count - 1]

    # ---------------------------------------------------------------- the server's thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._started.set()

    def _address_error(self) -> UserError:
        error = self._failure
        if error is not None and error.errno == errno.EADDRINUSE:
            text = f"port {self.port} on {self.host} is in use"
            return UserError(text, "end the other program, or choose another with --port (0: any free one)")
        if error is not None and error.errno == errno.EACCES:
            return UserError(f"port {self.port} is for root only", "choose one above 1023 with --port")
        reason = f": {error.strerror or error}" if error is not None else ""
        return UserError(f"cannot listen on {self.host}{reason}", "give an address of this machine with --host")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await serve(
            self._converse,
            self.host,
            self.port,
            process_request=self._answer_request,
            select_subprotocol=_select_subprotocol,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            # The time limit of a handshake, plus the delays of the scenario.
            open_timeout=HANDSHAKE_S + self.scenario.longest_handshake_s,
            # Faults may last long; the protocol's own pings check the connection.
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=_silent,
            create_connection=posts.connection_with_posts(self._answer_post),
            ssl=self._replica.tls,
        )
        self.port = next(iter(server.sockets)).getsockname()[1]
        self._started.set()
        connecting = asyncio.create_task(self._minds.connect())
        await self._stopping.wait()
        connecting.cancel()
        await self._shut_down(server)
        await self._minds.close()

    async def _drain(self, within_s: float, done: Callable[[], None]) -> None:
        self.figures.is_draining = True
        until_s = time.monotonic() + within_s
        while self._lines and time.monotonic() < until_s:
            for session in list(self._sessions):
                if not session.is_busy and not session.line.is_closing:
                    session.line.close(1001, "the server ends")
            await asyncio.sleep(_DRAIN_TICK_S)
        done()

    async def _shut_down(self, server: Server) -> None:
        server.close(close_connections=False)
        for line in list(self._lines):
            line.close(1001, "the agent ends")
        until_s = time.monotonic() + CLOSE_TIMEOUT_S
        while self._lines and time.monotonic() < until_s:
            await asyncio.sleep(0.01)
        for line in list(self._lines):
            line.drop()

    async def _converse(self, socket: ServerConnection) -> None:
        if (speech := self._speech_scripts.pop(socket, None)) is not None:
            await self._speak(socket, speech)
            return
        script = self._scripts.pop(socket, ConnectionScript())
        assert socket.request is not None
        settings = self._api.settings_for(socket.request)
        record = self._record(socket, settings)
        with self._changed:
            self.connections.append(record)
            self._changed.notify_all()
        record.tell("connected", client=_client_name(record))
        line = self._line(socket, record, settings)
        self._lines.add(line)
        self.figures.begun("convai" if isinstance(line, ConvaiLine) else "realtime")
        session: Conversation | Front | None = None
        try:
            if not isinstance(line, ConvaiLine):
                assert self._workers is not None
                session_id = self._replica.new_id("sess", record.number)
                session = Front(
                    line,
                    settings,
                    script,
                    record,
                    self._workers,
                    self.figures,
                    socket.request,
                    session_id,
                    self._minds.model(settings),
                    agent_exists=self._api.has_agent(socket.request),
                )
                self._sessions.add(session)
                await session.run()
            elif refusal := self._api.refusal(socket.request):
                # No error event: its codes and types, by the contract, have none for this.
                line.close(3000, refusal)
            else:
                assert self._workers is not None
                conversation_id = self._replica.new_id("conv", record.number)
                session = conversation = Conversation(
                    line, settings, script, record, self._workers, self._minds, self.figures, conversation_id
                )
                self._sessions.add(session)
                self._conversations[conversation_id] = conversation
                try:
                    await conversation.run()
                finally:
                    del self._conversations[conversation_id]
                    ended = f"the {'agent' if line.is_closing else 'client'} ended the conversation"
                    self._api.remember(socket.request, record, conversation_id, ended, conversation.user_id)
        except Exception:
            # The client would wait, and take a place, as long as it likes.
            line.close(1011)
            raise
        finally:
            record.end(await line.ended())
            self._lines.discard(line)
            if session is not None:
                self._sessions.discard(session)
            self.figures.ended()
            if not self._keep:
                with self._changed:
                    self.connections.remove(record)

    def _line(self, socket: ServerConnection, record: ConnectionRecord, settings: AgentSettings) -> Line:
        if _is_realtime(record.path):
            return Line(socket, record, frozenset(settings.omit_fields))
        return ConvaiLine(socket, settings, record, parse_format(settings.output_format))

    async def _speak(self, socket: ServerConnection, script: SpeechScript) -> None:
        assert self._workers is not None
        stream = SpeechStream(socket, self.settings, script, self._workers, self._api.is_key)
        self._add_speech(stream.record)
        await stream.run()
        self._tell_speech(stream.record)

    def _add_speech(self, record: SpeechRecord) -> None:
        if self._keep:
            with self._changed:
                self.speeches.append(record)
                self._changed.notify_all()

    def _tell_speech(self, record: SpeechRecord) -> None:
        if self._on_activity is not None:
            told = {"voice_id": record.voice_id, "text": "".join(record.texts).strip()}
            self._on_activity(Activity(self._speech_count, "speaks", time.monotonic(), told))

    def _record(self, socket: ServerConnection, settings: AgentSettings) -> ConnectionRecord:
        self._count += 1
        request = socket.request
        assert request is not None
        headers = {
            name: "***" if name.lower() in _SECRET_HEADERS or KEY_PROTOCOL in value else value
            for name, value in request.headers.raw_items()
        }
        is_realtime = _is_realtime(request.path)
        return ConnectionRecord(
            number=self._count,
            path=_masked(request.path),
            headers=headers,
            subprotocol=socket.subprotocol,
            input_rate_hz=WIRE_RATE_HZ if is_realtime else parse_format(settings.input_format).rate_hz,
            output_rate_hz=WIRE_RATE_HZ if is_realtime else parse_format(settings.output_format).rate_hz,
            keep=self._keep,
            on_activity=self._on_activity,
            folder=self._folder,
        )

    def _take_upload(self, upload: Upload) -> str:
        if upload.key is not None and not self._api.is_key(upload.key):
            raise RefusedPostError(401, "Invalid API key")
        # Without a key: the id of a conversation that goes on is known to its client alone. The official web client
        # uploads like this, also for a private agent.
        conversation = self._conversations.get(upload.conversation_id)
        if conversation is None:
            raise RefusedPostError(404, f"Conversation {upload.conversation_id} not found")
        return conversation.take_file(upload)

    # ---------------------------------------------------------------- HTTP

    async def _answer_post(self, post: Post, transport: asyncio.Transport) -> None:
        """Answers a request with a body. Raises RefusedPostError."""
        refusal = self._page_refusal(post.headers.get("Origin"), post.headers.get("Host"), is_upgrade=False)
        if refusal is not None:
            raise RefusedPostError(403, refusal, {"detail": refusal})
        if not _is_target(post.target):
            raise RefusedPostError(400, "Bad Request", {"detail": "Bad Request"})
        path = post.path.rstrip("/")
        is_post = post.method == "POST"
        if is_post and uploads.PATH.search(path):
            transport.write(posts.json_answer(200, uploads.answer(post, self._take_upload)))
        elif is_post and self._http.speaks(path):
            assert self._workers is not None
            record = self._http.speech_record(post)
            script = self.scenario.speech_for(self._speech_count)
            self._speech_count += 1
            self._add_speech(record)
            await self._http.speak(transport, script, self._workers, record)
            self._tell_speech(record)
        else:
            answer = self._api.change(post.method, post.target, post.header("xi-api-key") or None, post.body)
            transport.write(posts.json_answer(*(answer or (404, {"detail": "Not Found"}))))

    def _page_refusal(self, origin: str | None, host: str | None, *, is_upgrade: bool) -> str | None:
        """Why a web page may not send this request; None: no page has sent it, or one that may."""
        refusal = web_pages.origin_refusal(origin, self._origins)
        if refusal is None and web_pages.is_this_machine(self.host) and not is_upgrade:
            return web_pages.host_refusal(host)
        return refusal

    def _places_taken(self) -> int:
        """The number of sessions, with those whose handshake goes on. One whose handshake was refused, or whose client
        went away in it, is kept until the memory is tidied up."""
        return len(self._lines) + sum(map(_is_expected, self._scripts))

    def _has_key(self, headers: Headers) -> bool:
        """Whether a request may see what conversations need a key for."""
        return has_key(headers, self.settings) or self._api.is_key(headers.get("xi-api-key", ""))

    async def _answer_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answers an HTTP request; None: the WebSocket handshake goes on."""
        headers = request.headers
        is_upgrade = "Upgrade" in headers
        if not _is_target(request.path):
            return json_response(400, {"detail": "Bad Request"})
        refusal = self._page_refusal(headers.get("Origin"), headers.get("Host"), is_upgrade=is_upgrade)
        if refusal is not None:
            return json_response(403, {"detail": refusal})
        answer = self._operation.answer(request)
        answer = answer or await self._api.answer(request, self._netloc) or self._http.answer(request)
        if answer is not None:
            return answer
        path = urlsplit(request.path).path.rstrip("/")
        if SPEECH_PATH.search(path):
            speech = self.scenario.speech_for(self._speech_count)
            self._speech_count += 1
            self._speech_scripts[socket] = speech
            answer = await _handshake(socket, speech.handshake)
            if answer is not None:
                del self._speech_scripts[socket]
            return answer
        if not (path.endswith(CONVERSATION_PATH) or (is_upgrade and _is_realtime(path))):
            return json_response(404, {"detail": "Not Found"})
        if (answer := self._operation.refusal()) is not None:
            return answer
        with self._changed:
            index = self._handshakes
            self._handshakes += 1
        script = self.scenario.script_for(index)
        # Before the first wait: many clients come at once.
        self._scripts[socket] = script
        answer = await _handshake(socket, script.handshake)
        if answer is not None:
            del self._scripts[socket]
        return answer


def _elsewhere() -> ModuleType:
    """The module of ears and voices by address. Raises UserError if its packages are missing."""
    try:
        from parleyd.embedded import parts_by_address
    except ImportError as error:
        text = f"ears and voices by address need the package {missing_module(error)}"
        raise UserError(text, python_env.install("openai", "wyoming"), os.EX_UNAVAILABLE) from None
    return parts_by_address


async def _handshake(socket: ServerConnection, handshake: Handshake) -> Response | None:
    """The scenario's answer to the handshake; None: the correct one."""
    await asyncio.sleep(handshake.delay_s)
    if handshake.drop or handshake.garbage is not None:
        if handshake.garbage is not None:
            socket.transport.write(handshake.garbage.encode())
            socket.transport.close()
        else:
            socket.transport.abort()
        return json_response(500, {})  # goes nowhere any more
    return None if handshake.status is None else scripted_response(handshake)


def _is_expected(socket: ServerConnection) -> bool:
    """Whether a session may still follow from this handshake."""
    is_refused = socket.response is not None and socket.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS
    return not is_refused and not socket.transport.is_closing()


def _is_target(target: str) -> bool:
    """Whether this is the target of a request: RFC 9112, 3.2, has no signs beyond ASCII."""
    try:
        urlsplit(target)
    except ValueError:
        return False
    return target.isascii()


def _select_subprotocol(_socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((known for known in SUBPROTOCOLS if known in offered), None)


def _is_realtime(path: str) -> bool:
    return urlsplit(path).path.rstrip("/").endswith(REALTIME_PATH)


def _masked(path: str) -> str:
    parts = urlsplit(path)
    secret = ("conversation_signature", "token")
    query = [
        (name, "***" if name in secret else value)
        for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        for value in values
    ]
    return f"{parts.path}?{urlencode(query, safe='*')}" if query else parts.path


def _client_name(record: ConnectionRecord) -> str:
    if _is_realtime(record.path):
        return next((value for name, value in record.headers.items() if name.lower() == "user-agent"), "")
    query = parse_qs(urlsplit(record.path).query)
    return " ".join(value for name in ("source", "version") for value in query.get(name, []))
