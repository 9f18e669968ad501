"""Asks a language model by its address: any server of OpenAI's chat completions, and the backup after it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
import openai
from openai.types.chat import ChatCompletionChunk

from parleyd.config.secrets import resolve
from parleyd.embedded import part_url
from parleyd.embedded.mind.pieces import Pieces
from parleyd.embedded.settings import MindSettings, ModelSettings, ToolDefinition

log = logging.getLogger("parleyd.agent")

_HALF_SIGN = re.compile("[\ud800-\udfff]")


class ModelError(Exception):
    """The model gave no usable answer; the text says why. has_spoken: some of it was spoken already."""

    def __init__(self, text: str, *, has_spoken: bool) -> None:
        super().__init__(text)
        self.has_spoken = has_spoken


@dataclass
class Written:
    """The text and the calls of one response, as they come. said: its text. calls: by their index, [id, name,
    arguments]. ends_hidden: it has ended within a thought, code or a call, which was never closed."""

    said: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    ends_hidden: bool = False

    def why_silent(self) -> str:
        """Why nothing of it can be spoken, without its words."""
        if self.ends_hidden:
            return "its answer ends within a thought, code or a call that it has not closed"
        return "it has written only what is not spoken" if self.said.strip() else "it has written nothing"


@dataclass(frozen=True)
class Request:
    """A question to a model. messages: with the system's first. max_tokens: None for that of the settings. tool_choice:
    as OpenAI has it."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[ToolDefinition] = ()
    max_tokens: int | None = None
    tool_choice: Any = "auto"


def client_of(settings: ModelSettings) -> openai.AsyncOpenAI:
    """A client that keeps its connections. Raises UserError if the address is none, or the key cannot be read."""
    part_url.check(settings.base_url)
    key = None if settings.api_key is None else resolve(settings.api_key)
    return openai.AsyncOpenAI(base_url=settings.base_url, api_key=key or "none", max_retries=1, timeout=60.0)


class LanguageModel:
    """The models of an agent, shared by all its conversations. failed: called for each request that is not answered."""

    def __init__(self, settings: MindSettings, failed: Callable[[], None]) -> None:
        self.settings = settings
        self._failed = failed
        self._models: list[tuple[ModelSettings, openai.AsyncOpenAI]] = [(settings, client_of(settings))]
        if settings.backup is not None:
            self._models.append((settings.backup, client_of(settings.backup)))

    async def connect(self) -> None:
        """Opens a connection ahead of the first question, which then does not wait for it."""
        settings, client = self._models[0]
        # A fault is told with the first question.
        with contextlib.suppress(openai.OpenAIError, TimeoutError, ValueError):
            async with asyncio.timeout(settings.first_token_s):
                await client.models.list()

    async def close(self) -> None:
        for _, client in self._models:
            await client.close()

    async def pieces(self, request: Request, written: Written) -> AsyncGenerator[str, None]:
        """The pieces of one response that are spoken, from the first model that answers; also fills `written`. Closing
        the generator closes the stream. Raises ModelError."""
        reason = ""
        for number, (settings, client) in enumerate(self._models):
            pieces, has_spoken = Pieces(), False
            try:
                async with contextlib.aclosing(_text(client, settings, request, written)) as texts:
                    async for text in texts:
                        for piece in pieces.add(text):
                            has_spoken = True
                            yield piece
                written.ends_hidden = pieces.is_hidden
                for piece in pieces.end():
                    has_spoken = True
                    yield piece
                return
            except (openai.OpenAIError, TimeoutError, _BrokenError) as error:
                reason = _reason(error, settings)
                self._failed()
                if has_spoken:
                    raise ModelError(reason, has_spoken=True) from error
                written.said = ""
                written.calls.clear()
                if number + 1 < len(self._models):
                    log.warning("the mind does not answer, so its backup does: %s", reason)
        raise ModelError(reason, has_spoken=False)


class Ahead:
    """A response that a task reads, so that its words are there when they are wanted, and the model never waits."""

    def __init__(self, model: LanguageModel, request: Request) -> None:
        self.request = request
        self.written = Written()
        self._pieces: asyncio.Queue[str | ModelError | None] = asyncio.Queue()
        # The task does not hold this, since a task that was cancelled keeps what it held.
        self._task = asyncio.create_task(_read(model, request, self.written, self._pieces))
        # The end, also of a task that was cancelled.
        self._task.add_done_callback(lambda _: self._pieces.put_nowait(None))

    async def pieces(self) -> AsyncGenerator[str, None]:
        """See LanguageModel.pieces."""
        try:
            while (one := await self._pieces.get()) is not None:
                if isinstance(one, ModelError):
                    raise one
                yield one
            await self._task
        finally:
            self.cancel()

    def cancel(self) -> None:
        self._task.cancel()


async def _read(
    model: LanguageModel, request: Request, written: Written, read: asyncio.Queue[str | ModelError | None]
) -> None:
    try:
        async with contextlib.aclosing(model.pieces(request, written)) as pieces:
            async for piece in pieces:
                read.put_nowait(piece)
    except ModelError as error:
        read.put_nowait(error)


class Guess:
    """The response that is begun before it is certain that it is wanted; at most one."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._ahead: Ahead | None = None

    def begin(self, request: Request) -> None:
        """Replaces an earlier one."""
        self.drop()
        self._ahead = Ahead(self._model, request)

    def drop(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()

    def keep_only(self, request: Request) -> None:
        """Drops the response to any other request."""
        if self._ahead is not None and self._ahead.request != request:
            self.drop()

    def take(self) -> Ahead | None:
        ahead, self._ahead = self._ahead, None
        return ahead


async def _text(
    client: openai.AsyncOpenAI, settings: ModelSettings, request: Request, written: Written
) -> AsyncGenerator[str, None]:
    """The text of one response, as it arrives; also fills `written`. Raises OpenAIError, TimeoutError, and
    _BrokenError for a stream that stops without an end."""
    first_s, next_s = settings.first_token_s, settings.next_token_s
    asked: dict[str, Any] = {
        "model": settings.model,
        "messages": request.messages,
        "max_tokens": request.max_tokens or settings.max_tokens,
        "stream": True,
    }
    if request.tools:
        asked["tools"] = [_as_openai(tool) for tool in request.tools]
        if request.tool_choice != "auto":
            asked["tool_choice"] = request.tool_choice
    if settings.temperature is not None:
        asked["temperature"] = settings.temperature
    create: Any = client.chat.completions.create
    # Not by wait_for: in Python 3.11 it loses a cancellation that comes together with the result.
    async with asyncio.timeout(first_s):
        stream: openai.AsyncStream[ChatCompletionChunk] = await create(**asked)
    is_over = False
    async with stream:
        chunks = aiter(stream)
        limit_s = first_s
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                break
            except (ValueError, RecursionError) as error:
                # The SDK lets bad JSON in a stream through (openai 3.57).
                raise _BrokenError from error
            text, is_last = _take(chunk, written)
            is_over = is_over or is_last
            if text:
                limit_s = next_s
                yield text
    if not is_over:
        raise _BrokenError
    _tell_apart(written.calls)


def _take(chunk: Any, written: Written) -> tuple[str, bool]:
    """The text of one chunk, and whether it ends the answer; also fills `written`. Raises _BrokenError."""
    text, is_last = "", False
    try:
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            if delta is None:
                continue
            is_last = choice.finish_reason is not None
            for call in delta.tool_calls or ():
                _add_call(written.calls, call)
            text += _text_of(delta.content)
    except (AttributeError, TypeError) as error:
        # The SDK lets any JSON through, of any shape (openai 3.57).
        raise _BrokenError from error
    written.said += text
    return text, is_last


class _BrokenError(Exception):
    """The stream stopped without a finish_reason, or became unreadable."""


def _text_of(value: str | None) -> str:
    """The text without halves of signs, which servers send that cut a stream between the two halves: they cannot be
    sent on. Raises TypeError for what is no text."""
    return "" if not value else _HALF_SIGN.sub("", value)


def _add_call(calls: dict[int, list[str]], delta: Any) -> None:
    index, id_ = delta.index or 0, _text_of(None if delta.id is None else str(delta.id))
    name, arguments = "", ""
    if delta.function is not None:
        name, arguments = _text_of(delta.function.name), _text_of(delta.function.arguments)
    if id_ and index in calls and calls[index][0] != id_:
        # Some servers give all calls of an answer the index 0.
        index = next((at for at, call in calls.items() if call[0] == id_), max(calls) + 1)
    elif not id_ and index == 0 and calls:
        index = max(calls)
    is_complete = index in calls and calls[index][1] and parameters_of(calls[index][2] or "-") is not None
    if name and arguments and is_complete:
        # Some give them no ids either, or all the same.
        index = max(calls) + 1
    call = calls.setdefault(index, [id_ or f"call_{index}", "", ""])
    call[0] = id_ or call[0]
    # Some repeat the name with each part of the arguments.
    call[1] += "" if call[2] or name == call[1] else name
    call[2] += arguments


def _tell_apart(calls: Mapping[int, list[str]]) -> None:
    """Gives calls with the same id different ones: each has a result of its own, and a server refuses ids that stand
    twice."""
    known: set[str] = set()
    for index, call in calls.items():
        if call[0] in known:
            call[0] = next(id_ for number in count(index) if (id_ := f"call_{number}") not in known)
        known.add(call[0])


def parameters_of(arguments: str) -> dict[str, Any] | None:
    """The arguments of a call; None if they are no JSON object."""
    try:
        # Unlike Python's own reader it refuses what cannot be sent on: NaN, and halves of signs.
        parameters = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return parameters if isinstance(parameters, dict) else None


def _as_openai(tool: ToolDefinition) -> Mapping[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _reason(error: Exception, settings: ModelSettings) -> str:
    place = part_url.shown(settings.base_url)
    match error:
        case TimeoutError() | openai.APITimeoutError():
            return f"{place} took too long"
        case openai.APIConnectionError():
            return f"{place} cannot be reached"
        case openai.APIStatusError():
            return f"{place} answered {error.status_code}"
        case _BrokenError():
            return f"{place} stopped in the middle of the answer"
        case _:
            # The text of an error in the stream may repeat words of the conversation.
            return f"{place} reported an error in the answer"
