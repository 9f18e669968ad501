"""The mind of a conversation with a language model: its prompt, its history, and the tools that it calls.

The prompt stays the same from turn to turn, so that a server can keep its work on it (prefix cache); new words only
come at the end. The history holds what the person heard, not what the model wrote.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from parleyd.embedded.mind import wordings
from parleyd.embedded.mind.language_model import Guess, LanguageModel, ModelError, Request, Written, parameters_of
from parleyd.embedded.mind.memory import shortened
from parleyd.embedded.mind.parts import Call, HangUp, Mind, Part, Result, Say, Turn
from parleyd.embedded.opening import Opening
from parleyd.embedded.settings import AgentSettings, ToolDefinition, ToolSpec

log = logging.getLogger("parleyd.agent")

END_CALL = "end_call"
# A model that calls tool after tool never comes to an answer.
MOST_ROUNDS = 8
_END_CALL_TOOL = ToolDefinition(
    name=END_CALL, description="Ends the conversation. Call it when the person says goodbye.", parameters={}
)


class LanguageMinds:
    """See choice.Minds."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def mind(self, settings: AgentSettings) -> Mind:
        return LanguageMind(self.model, settings.tools)

    async def close(self) -> None:
        await self.model.close()


class LanguageMind:
    """See parts.Mind. tools: of the client, which the model may call."""

    def __init__(self, model: LanguageModel, tools: Sequence[ToolDefinition]) -> None:
        self._model = model
        self._tools = (*tools, _END_CALL_TOOL)
        self._system = wordings.HABITS
        self._messages: list[dict[str, Any]] = []
        self._notes: dict[str, str] = {}
        # The messages that are spoken now, or were last: their places, and their words as they are spoken. These are
        # several if the model called only tools that do not exist in between.
        self._spoken: list[tuple[int, str]] = []
        self._guess = Guess(model)

    # ---------------------------------------------------------------- the interface

    def begins(self, opening: Opening) -> None:
        self._system = wordings.system(opening.prompt, wordings.HABITS)

    def guess(self, turn: Turn) -> None:
        self._guess.begin(self._request(self._with(turn)))

    def drop_guess(self) -> None:
        self._guess.drop()

    def answer(self, turn: Turn) -> AsyncGenerator[Part, Result | None]:
        self._messages = self._with(turn)
        self._notes.clear()
        self._spoken.clear()
        self._guess.keep_only(self._request(self._messages))
        return self._answer()

    def _request(self, messages: Sequence[Mapping[str, Any]]) -> Request:
        return Request([{"role": "system", "content": self._system}, *messages], self._tools)

    async def _answer(self) -> AsyncGenerator[Part, Result | None]:
        has_spoken = False
        for _ in range(MOST_ROUNDS):
            guess = self._guess.take()
            written = Written() if guess is None else guess.written
            pieces = self._model.pieces(self._request(self._messages), written) if guess is None else guess.pieces()
            is_whole = False
            said: list[str] = []
            try:
                async with contextlib.aclosing(pieces) as spoken:
                    async for piece in spoken:
                        has_spoken = True
                        said.append(piece)
                        yield Say(piece)
                is_whole = True
            except ModelError as error:
                log.warning("the mind does not answer: %s", error)
                break
            finally:
                if not is_whole:
                    # Calls that nobody carries out would be calls without a result.
                    written.calls.clear()
                self._keep_answer(written, " ".join(said), is_whole=is_whole)
            if not written.calls:
                if not has_spoken:
                    log.warning("the mind says nothing: %s", written.why_silent())
                break
            waiting = dict.fromkeys((id_ for id_, _, _ in written.calls.values()), "The person interrupted.")
            try:
                for id_, name, arguments in written.calls.values():
                    waiting[id_], call = self._prepared(name, arguments)
                    if call is not None:
                        result = yield call
                        assert result is not None, "a call has a result"
                        # The words before the calls were heard before these were made. Those of the next response are
                        # cut on their own.
                        self._spoken.clear()
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
            self._apologise()
            yield Say(self._model.settings.sorry, is_whole=True)

    def _prepared(self, name: str, arguments: str) -> tuple[str, Call | None]:
        """(the result as long as there is no other, the call of the client's tool); None: nothing is called."""
        if name == END_CALL:
            return "The conversation ends.", None
        tool = next((one for one in self._tools if one.name == name), None)
        if tool is None:
            return "There is no tool of this name.", None
        parameters = parameters_of(arguments)
        if parameters is None:
            return "The arguments are not a JSON object.", None
        spec = ToolSpec(name=name, parameters=parameters, expects_response=tool.expects_response)
        return "The person interrupted.", Call(spec)

    def greeted(self, text: str) -> None:
        self._messages.append({"role": "assistant", "content": text})
        self._spoken = [(len(self._messages) - 1, text)]

    def heard(self, text: str) -> None:
        words = text.split()
        unheard: list[int] = []
        is_cut = False
        for at, said in self._spoken:
            count = len(said.split())
            if is_cut:
                unheard.append(at)
            elif len(words) <= count or at == self._spoken[-1][0]:
                self._messages[at]["content"] = wordings.heard(" ".join(words))
                is_cut = True
            words = words[count:]
        for at in reversed(unheard):
            if "tool_calls" in self._messages[at]:
                self._messages[at]["content"] = ""
            else:
                del self._messages[at]
        self._spoken.clear()

    def note(self, text: str, context_id: str | None) -> None:
        self._notes[context_id or f"#{len(self._notes)}"] = text

    # ---------------------------------------------------------------- the history

    def _with(self, turn: Turn) -> list[dict[str, Any]]:
        """The history with what the person says now."""
        # Notes come with the next words, so that the beginning of the prompt stays as it was.
        content = wordings.said(turn.text, turn.files, self._notes.values())
        return shortened([*self._messages, {"role": "user", "content": content}])

    def _apologise(self) -> None:
        """The apology takes the place of words that were not spoken, such as thoughts."""
        last = self._messages[-1]
        if last["role"] == "assistant" and "tool_calls" not in last:
            del self._messages[-1]
        self.greeted(self._model.settings.sorry)

    def _keep_answer(self, written: Written, said: str, *, is_whole: bool) -> None:
        """Adds the text and the calls of a response to the history. said: what was spoken of its text. is_whole: it has
        come to its end; of any other only the words are kept that were spoken."""
        content = written.said if is_whole else said
        if not content and not written.calls:
            return
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if written.calls:
            message["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    # A strict server refuses a history with arguments that are no JSON object.
                    "function": {"name": name, "arguments": json.dumps(parameters_of(arguments) or {})},
                }
                for id_, name, arguments in written.calls.values()
            ]
        self._messages.append(message)
        if content:
            self._spoken.append((len(self._messages) - 1, said))
