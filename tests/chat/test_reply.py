"""Which of all that happens is the answer to a text."""

from __future__ import annotations

import os
from typing import Any

import pytest

from parleyd.chat.reply import AFTER_GREETING_S, NEXT_SESSION_S, WHOLE_S, Reply


def typed(text: str) -> dict[str, Any]:
    return {"event": "typed", "text": text}


def answer(text: str, *, corrected: bool = False, greeting: bool = False) -> dict[str, Any]:
    return {"event": "answer_text", "text": text, "corrected": corrected, "greeting": greeting}


def part(kind: str, text: str = "") -> dict[str, Any]:
    return {"event": "answer_part", "kind": kind, "text": text, "part_of": 1}


def state(after: str, trigger: str = "") -> dict[str, Any]:
    return {"event": "state_changed", "before": "live", "after": after, "trigger": trigger, "reason": "it hung up"}


def after(*happened: dict[str, Any], text: str = "mine", upload: int | None = None) -> Reply:
    reply = Reply(text, 60.0, upload)
    for number, event in enumerate(happened):
        reply.step(event, float(number))
    return reply


def test_what_was_said_before_ours_or_to_nobody_is_no_answer() -> None:
    reply = after(answer("to another"), part("start", "to"), part("stop"), typed("theirs"), answer("theirs"))
    assert reply.answer is None
    assert after(typed("mine"), answer("cut", corrected=True), answer(" "), answer("Yes.")).answer == "Yes."
    assert after(answer("no"), {"event": "file_sent", "upload": 3}, answer("A cat."), upload=3).answer == "A cat."
    assert after({"event": "file_sent", "upload": 2}, answer("A dog."), upload=3).answer is None


def test_a_greeting_is_the_answer_only_when_nothing_follows_it() -> None:
    greeted = after(typed("mine"), answer("Hello!", greeting=True))
    assert (greeted.answer, greeted.until_s) == (None, 1 + AFTER_GREETING_S)
    greeted.step(answer("It is noon."), 2.0)
    assert greeted.answer == "It is noon."
    greeted = after(typed("mine"), answer("Hello!", greeting=True))
    greeted.settle()
    assert greeted.answer == "Hello!"
    parts = part("start"), part("delta", "Hello! "), part("stop")
    for happened in ((*parts, answer("Hello!", greeting=True)), (answer("Hello!", greeting=True), *parts)):
        greeted = after(typed("mine"), *happened)
        assert greeted.until_s > 1 + WHOLE_S
        greeted.step(part("start"), 9.0)
        greeted.step(part("delta", "It is noon."), 9.0)
        greeted.step(part("stop"), 9.0)
        greeted.settle()
        assert greeted.answer == "It is noon."


def test_a_blank_greeting_answers_nothing() -> None:
    blank = after(typed("mine"), answer(" ", greeting=True))
    assert blank.until_s == 60.0
    blank.settle()
    assert blank.answer is None


def test_who_calls_a_tool_after_its_greeting_has_not_answered_yet() -> None:
    called = after(typed("mine"), answer("Hello!", greeting=True), {"event": "tool_called", "name": "slow"})
    assert called.until_s == 60.0
    called.step(answer("It is noon."), 50.0)
    assert called.answer == "It is noon."


def test_parts_are_the_answer_when_no_whole_text_comes_soon() -> None:
    reply = after(typed("mine"), part("start"), part("delta", "It is "), part("delta", "noon."), part("stop"))
    assert (reply.answer, reply.until_s) == (None, 4 + WHOLE_S)
    reply.settle()
    assert reply.answer == "It is noon."
    half = after(typed("mine"), part("start"), part("delta", "It is "))
    half.settle()
    assert (half.answer, half.until_s) == (None, 60.0)


def test_a_conversation_that_ends_is_waited_for_no_longer_unless_the_next_begins() -> None:
    reply = after(state("asleep"), typed("mine"), state("asleep"))
    assert reply.has_ended
    assert reply.until_s == 2 + NEXT_SESSION_S
    assert reply.why_none(60) == ("the conversation ended without an answer: it hung up", None)
    reply.step(state("connecting"), 3.0)
    assert (reply.has_ended, reply.until_s) == (False, 60.0)


def test_trouble_is_told_with_its_hint() -> None:
    trouble = {"event": "trouble", "text": "the key is wrong", "hint": "change it"}
    assert after(typed("mine"), trouble).why_none(9.5) == ("no answer within 9.5 s: the key is wrong", "change it")
    assert after().why_none(60) == ("no answer within 60 s", "see `parleyd status`")


def test_what_cannot_hint_itself_is_not_waited_for() -> None:
    trouble = {"event": "trouble", "text": "the key is wrong", "hint": "change it"}
    reply = after(typed("mine"), trouble, state("backing off", "refused"))
    assert reply.until_s == 2
    assert reply.why_none(60) == ("no answer: the key is wrong", "change it")
    assert reply.exit_code == os.EX_CONFIG
    assert after(typed("mine"), trouble).exit_code == os.EX_TEMPFAIL
    assert after(typed("mine"), state("backing off", "refused")).why_none(60) == ("no answer: it hung up", None)


@pytest.mark.parametrize("retry_after_s", [None, 2.0])
def test_an_answer_that_failed_for_good_is_not_waited_for(retry_after_s: float | None) -> None:
    failed = {"event": "answer_failed", "text": "no credit", "hint": "top up", "retry_after_s": retry_after_s}
    reply = after(typed("mine"), failed)
    if retry_after_s is None:
        assert reply.until_s == 1
        assert reply.why_none(60) == ("no answer: no credit", "top up")
        assert reply.exit_code == os.EX_UNAVAILABLE
    else:
        assert reply.until_s == 60.0
        assert reply.exit_code == os.EX_TEMPFAIL


def test_a_line_that_is_refused_before_the_agent_was_told_is_not_waited_for() -> None:
    assert after(state("backing off", "refused")).until_s == 0


def test_settling_keeps_an_answer() -> None:
    reply = after(typed("mine"), answer("Yes."))
    reply.settle()
    assert reply.answer == "Yes."
