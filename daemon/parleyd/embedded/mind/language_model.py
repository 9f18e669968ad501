"""A mind that asks a language model by its address: any server of OpenAI's chat completions.

The prompt stays the same from turn to turn, so that a server can keep its work on it (prefix cache); new words only
come at the end. The history holds what the person heard, not what the model wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

from parleyd.config.secrets import resolve
from parleyd.embedded.mind.parts import Call, HangUp, Mind, Part, Result, Say, Turn
from parleyd.embedded.mind.pieces import Pieces
from parleyd.embedded.opening import Opening
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import AgentSettings, MindSettings, ModelSettings, ToolDefinition, ToolSpec

log = logging.getLogger("parleyd.agent")

END_CALL = "end_call"
# A model that calls tool after tool never comes to an answer.
MOST_ROUNDS = 8
# The words of the person and the answers that are sent along; the oldest are left out together.
MOST_MESSAGES = 60
_HABITS = (
    "Your words are spoken aloud: answer in one to three short sentences of plain speech, without lists, markdown, "
    "emoji or code."
)
_END_CALL_TOOL = ToolDefinition(
    name=END_CALL, description="Ends the conversation. Call it when the person says goodbye.", parameters={}
)


class ModelError(Exception):
    """The model gave no usable answer; the text says why. has_spoken: some of it was spoken already."""

    def __init__(self, text: str, *, has_spoken: bool) -> None:
        super().__init__(text)
        self.has_spoken = has_spoken


@dataclass
class _Written:
    """The text and the calls of one response. said: its text. calls: by their index, [id, name, arguments]."""

    said: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)


def client_of(settings: ModelSettings) -> openai.AsyncOpenAI:
    """A client that keeps its connections. Raises UserError if the key cannot be read."""
    key = None if settings.api_key is None else resolve(settings.api_key)
    return openai.AsyncOpenAI(base_url=settings.base_url, api_key=key or "none", max_retries=1, timeout=60.0)


class LanguageModel:
    """The models of an agent, shared by all its conversations; see choice.Minds."""

    def __init__(self, settings: MindSettings) -> None:
        self.settings = settings
        self.models: list[tuple[ModelSettings, openai.AsyncOpenAI]] = [(settings, client_of(settings))]
        if settings.backup is not None:
            self.models.append((settings.backup, client_of(settings.backup)))

    def mind(self, settings: AgentSettings) -> Mind:
        return LanguageMind(self, settings.tools)

    async def close(self) -> None:
        for _, client in self.models:
            await client.close()


class LanguageMind:
    """See parts.Mind. tools: of the client, which the model may call."""

    def __init__(self, model: LanguageModel, tools: Sequence[ToolDefinition]) -> None:
        self._model = model
        self._tools = (*tools, _END_CALL_TOOL)
        self._system = _HABITS
        self._messages: list[dict[str, Any]] = []
        self._notes: dict[str, str] = {}
        self._answer_at: int | None = None

    # ---------------------------------------------------------------- the interface

    def begins(self, opening: Opening) -> None:
        self._system = "\n\n".join(part for part in (opening.prompt.strip(), _HABITS) if part)

    def answer(self, turn: Turn) -> AsyncGenerator[Part, Result | None]:
        self._take(turn)
        return self._answer()

    async def _answer(self) -> AsyncGenerator[Part, Result | None]:
        has_spoken = False
        for _ in range(MOST_ROUNDS):
            written, is_whole = _Written(), False
            try:
                async with contextlib.aclosing(self._spoken(written)) as spoken:
                    async for piece in spoken:
                        has_spoken = True
                        yield Say(piece)
                is_whole = True
            except ModelError as error:
                log.warning("the mind does not answer: %s", error)
                break
            finally:
                if not is_whole:
                    # Calls that nobody carries out would be calls without a result.
                    written.calls.clear()
                self._keep_answer(written)
            if not written.calls:
                break
            waiting = dict.fromkeys((id_ for id_, _, _ in written.calls.values()), "The person interrupted.")
            try:
                for id_, name, arguments in written.calls.values():
                    waiting[id_], call = self._prepared(name, arguments)
                    if call is not None:
                        result = yield call
                        assert result is not None, "a call has a result"
                        text = result.text or "Done."
                        waiting[id_] = f"Error: {text}" if result.is_error else text
            finally:
                # A server refuses a history in which a call has no result.
                for id_, text in waiting.items():
                    self._messages.append({"role": "tool", "tool_call_id": id_, "content": text})
            if any(name == END_CALL for _, name, _ in written.calls.values()):
                yield HangUp()
                return
        if not has_spoken:
            sorry = self._model.settings.sorry
            self._messages.append({"role": "assistant", "content": sorry})
            yield Say(sorry, is_whole=True)

    def _prepared(self, name: str, arguments: str) -> tuple[str, Call | None]:
        """(the result as long as there is no other, the call of the client's tool); None: nothing is called."""
        if name == END_CALL:
            return "The conversation ends.", None
        tool = next((one for one in self._tools if one.name == name), None)
        if tool is None:
            return "There is no tool of this name.", None
        parameters = _parameters(arguments)
        if parameters is None:
            return "The arguments are not a JSON object.", None
        spec = ToolSpec(name=name, parameters=parameters, expects_response=tool.expects_response)
        return "The person interrupted.", Call(spec)

    def greeted(self, text: str) -> None:
        self._messages.append({"role": "assistant", "content": text})
        self._answer_at = len(self._messages) - 1

    def heard(self, text: str) -> None:
        at = self._answer_at
        if at is not None and at < len(self._messages) and self._messages[at]["role"] == "assistant":
            heard = f"{text} … (the person interrupted here)" if text else "(interrupted before a word was heard)"
            self._messages[at]["content"] = heard

    def note(self, text: str, context_id: str | None) -> None:
        self._notes[context_id or f"#{len(self._notes)}"] = text

    # ---------------------------------------------------------------- the history

    def _take(self, turn: Turn) -> None:
        self._answer_at = None
        # Notes come with the next words, so that the beginning of the prompt stays as it was.
        parts = [f"[The device tells: {note}]" for note in self._notes.values()]
        self._notes.clear()
        parts += [
            f"[The person shows a file: {file.name}, {file.media_type}.]" if file else "[A file did not arrive.]"
            for file in turn.files
        ]
        said = turn.text if turn.text.strip() and turn.text != NOT_UNDERSTOOD else ""
        parts.append(said or ("" if turn.files else "[The person said something that was not understood.]"))
        self._messages.append({"role": "user", "content": "\n".join(part for part in parts if part)})
        if len(self._messages) > MOST_MESSAGES:
            # Half of them at once, so that the prefix stays the same for many turns; never a result without its call.
            del self._messages[: MOST_MESSAGES // 2]
            while self._messages and self._messages[0]["role"] != "user":
                del self._messages[0]

    def _keep_answer(self, written: _Written) -> None:
        """Adds the text and the calls of a response to the history."""
        if not written.said and not written.calls:
            return
        message: dict[str, Any] = {"role": "assistant", "content": written.said}
        if written.calls:
            message["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    # A strict server refuses a history with arguments that are no JSON object.
                    "function": {"name": name, "arguments": json.dumps(_parameters(arguments) or {})},
                }
                for id_, name, arguments in written.calls.values()
            ]
        self._messages.append(message)
        if written.said:
            self._answer_at = len(self._messages) - 1

    # ---------------------------------------------------------------- the model

    async def _spoken(self, written: _Written) -> AsyncGenerator[str, None]:
        """The pieces of one response, from the first model that answers. Raises ModelError."""
        reason = ""
        for number, (settings, client) in enumerate(self._model.models):
            pieces, has_spoken = Pieces(), False
            try:
                async with contextlib.aclosing(self._text(client, settings, written)) as texts:
                    async for text in texts:
                        for piece in pieces.add(text):
                            has_spoken = True
                            yield piece
                for piece in pieces.end():
                    has_spoken = True
                    yield piece
                return
            except (openai.OpenAIError, TimeoutError, _BrokenError) as error:
                reason = _reason(error, settings)
                if has_spoken:
                    raise ModelError(reason, has_spoken=True) from error
                written.said = ""
                written.calls.clear()
                if number + 1 < len(self._model.models):
                    log.warning("the mind does not answer, so its backup does: %s", reason)
        raise ModelError(reason, has_spoken=False)

    async def _text(
        self, client: openai.AsyncOpenAI, settings: ModelSettings, written: _Written
    ) -> AsyncGenerator[str, None]:
        """The text of one response, as it arrives; also fills `written`. Raises OpenAIError, TimeoutError, and
        _BrokenError for a stream that stops without an end."""
        first_s, next_s = settings.first_token_s, settings.next_token_s
        asked: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "system", "content": self._system}, *self._messages],
            "tools": [_as_openai(tool) for tool in self._tools],
            "max_tokens": settings.max_tokens,
            "stream": True,
        }
        if settings.temperature is not None:
            asked["temperature"] = settings.temperature
        create: Any = client.chat.completions.create
        stream: openai.AsyncStream[ChatCompletionChunk] = await asyncio.wait_for(create(**asked), first_s)
        is_over = False
        async with stream:
            chunks = aiter(stream)
            limit_s = first_s
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks), limit_s)
                except StopAsyncIteration:
                    break
                except ValueError as error:
                    # The SDK lets bad JSON in a stream through (openai 3.57).
                    raise _BrokenError from error
                for choice in (chunk.choices or ())[:1]:
                    delta: Any = choice.delta
                    if delta is None:
                        continue
                    is_over = is_over or choice.finish_reason is not None
                    for call in delta.tool_calls or ():
                        _add_call(written.calls, call)
                    if text := delta.content:
                        limit_s = next_s
                        written.said += text
                        yield text
        if not is_over:
            raise _BrokenError


class _BrokenError(Exception):
    """The stream stopped without a finish_reason, or became unreadable."""


def _add_call(calls: dict[int, list[str]], delta: Any) -> None:
    index = delta.index or 0
    if delta.id and index in calls and calls[index][0] != str(delta.id):
        # Some servers give all calls of an answer the index 0.
        index = len(calls)
    elif not delta.id and index == 0 and calls:
        index = max(calls)
    call = calls.setdefault(index, [f"call_{index}", "", ""])
    if delta.id:
        call[0] = str(delta.id)
    if delta.function is not None:
        call[1] += delta.function.name or ""
        call[2] += delta.function.arguments or ""


def _parameters(arguments: str) -> dict[str, Any] | None:
    try:
        parameters = json.loads(arguments or "{}")
    except ValueError:
        return None
    return parameters if isinstance(parameters, dict) else None


def _as_openai(tool: ToolDefinition) -> Mapping[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _reason(error: Exception, settings: ModelSettings) -> str:
    match error:
        case TimeoutError() | openai.APITimeoutError():
            return f"{settings.base_url} took too long"
        case openai.APIConnectionError():
            return f"{settings.base_url} cannot be reached"
        case openai.APIStatusError():
            return f"{settings.base_url} answered {error.status_code}"
        case _BrokenError():
            return f"{settings.base_url} stopped in the middle of the answer"
        case _:
            # The text of an error in the stream may repeat words of the conversation.
            return f"{settings.base_url} reported an error in the answer"
