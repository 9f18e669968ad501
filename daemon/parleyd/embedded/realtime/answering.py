"""The responses of a language model in the Realtime protocol: asks, and hands its words over as they come. Runs on the
server's event loop."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine
from typing import Any

from parleyd.embedded.mind.language_model import (
    Ahead,
    Guess,
    LanguageModel,
    ModelError,
    Request,
    Written,
    parameters_of,
)
from parleyd.embedded.realtime.history import Asked
from parleyd.embedded.settings import ToolSpec

log = logging.getLogger("parleyd.agent")

# Hands one piece of the answer over; returns when the next one is wanted.
Say = Callable[[str], Awaitable[None]]
# Waits for the first piece, and may say something meanwhile; None: there is none.
Wait = Callable[[Coroutine[Any, Any, str | None]], Awaitable[str | None]]


class Answers:
    """The answers of the model in one session."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._guess = Guess(model)

    def guess(self, asked: Asked) -> None:
        """This will probably be asked: the answer may be begun. Replaces an earlier guess."""
        self._guess.begin(_request(asked))

    def drop_guess(self) -> None:
        self._guess.drop()

    async def answer(self, asked: Asked, say: Say, wait: Wait) -> list[ToolSpec]:
        """Says the answer piece by piece, and returns the calls at its end. Without any answer it says the apology of
        the settings. Cancelling it closes the model's stream."""
        request = _request(asked)
        self._guess.keep_only(request)
        ahead = self._guess.take() or Ahead(self._model, request)
        has_spoken = has_failed = False
        try:
            async with contextlib.aclosing(ahead.pieces()) as pieces:
                piece = await wait(_first(pieces))
                while piece is not None:
                    has_spoken = True
                    await say(piece)
                    piece = await anext(pieces, None)
        except ModelError as error:
            log.warning("the mind does not answer: %s", error)
            has_failed = True
            # Calls that were cut off cannot be carried out.
            ahead.written.calls.clear()
        calls = _calls(ahead.written, {tool.name for tool in asked.tools})
        if not has_spoken and not calls:
            if not has_failed:
                log.warning("the mind says nothing: %s", ahead.written.why_silent())
            await say(self._model.settings.sorry)
        return calls


async def _first(pieces: AsyncGenerator[str, None]) -> str | None:
    return await anext(pieces, None)


def _request(asked: Asked) -> Request:
    return Request(asked.messages, asked.tools, asked.max_tokens, asked.tool_choice)


def _calls(written: Written, known: Collection[str]) -> list[ToolSpec]:
    found = []
    for _, name, arguments in written.calls.values():
        parameters = parameters_of(arguments)
        if name in known and parameters is not None:
            found.append(ToolSpec(name=name, parameters=parameters))
        else:
            # Its name may be words of the conversation.
            log.warning("the mind has called a tool that does not exist, or with arguments that are no JSON")
    return found
