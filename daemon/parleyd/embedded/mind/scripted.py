"""The mind without a model: a few fixed answers, and the rules of a scenario. For the demo, for tests, and offline."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

from parleyd.embedded import replies
from parleyd.embedded.mind.parts import Call, HangUp, Part, Result, Say, Turn
from parleyd.embedded.opening import Opening
from parleyd.embedded.settings import ReplyRule


class ScriptedMind:
    """See parts.Mind."""

    def __init__(self, rules: tuple[ReplyRule, ...]) -> None:
        self._rules = rules
        self._memory = replies.Memory()

    def begins(self, opening: Opening) -> None:
        """It has no prompt."""

    def answer(self, turn: Turn) -> AsyncGenerator[Part, Result | None]:
        if turn.files:
            reply = replies.answer_files(turn.files, turn.text, self._memory)
        else:
            reply = replies.answer(turn.text, self._memory, self._rules, datetime.now())
        return self._parts(reply)

    async def _parts(self, reply: replies.Reply) -> AsyncGenerator[Part, Result | None]:
        text = reply.say
        if reply.tool is not None:
            result = yield Call(reply.tool)
            assert result is not None, "a call has a result"
            text = reply.with_result(result.text, is_error=result.is_error)
        if text:
            self._memory.last_answer = text
            yield Say(text, is_whole=True)
        if reply.end_call:
            yield HangUp()

    def guess(self, turn: Turn) -> None:
        """Its answers cost no time."""

    def drop_guess(self) -> None:
        """It has none."""

    def greeted(self, text: str) -> None:
        self._memory.last_answer = text

    def heard(self, text: str) -> None:
        """It repeats the whole answer when it is asked to."""

    def note(self, text: str, context_id: str | None) -> None:
        self._memory.add_update(text, context_id)
