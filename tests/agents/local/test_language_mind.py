"""A mind by address, asked of llmock: a server of OpenAI's chat completions that we did not write, in its own process.

It streams, calls the tools that it is offered, and breaks its streams when it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Client, Start, spoken
from model_servers import Model, Odd, call, models, words

from parleyd.core.errors import UserError
from parleyd.embedded import scenario
from parleyd.embedded.mind import language_model
from parleyd.embedded.mind.language_mind import LanguageMind
from parleyd.embedded.mind.language_model import LanguageModel, ModelError, Request, Written
from parleyd.embedded.mind.memory import shortened
from parleyd.embedded.mind.parts import Say, Turn
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import MindSettings, ToolDefinition
from parleyd.embedded.voice import VoiceError

SORRY = MindSettings(base_url="http://127.0.0.1:9/v1").sorry
TEXT_ONLY = {
    "type": "conversation_initiation_client_data",
    "conversation_config_override": {"conversation": {"text_only": True}},
}
TOOL = (
    "tools: [{name: get_light, description: Tells whether a light is on., "
    "parameters: {type: object, properties: {room: {type: string}}, required: [room]}}]"
)


@pytest.fixture
def model() -> Iterator[Model]:
    """Starts llmock; returns its base URL."""
    with models() as start:
        yield start


def of(base_url: str, more: str = "", agent: str = "") -> str:
    return f'agent: {{first_message: "", {agent} mind: {{base_url: "{base_url}", {more}}}}}'


def ask(client: Client, text: str) -> dict[str, Any]:
    client.send({"type": "user_message", "text": text})
    answer: dict[str, Any] = client.until("agent_response")["agent_response_event"]
    return answer


def test_an_answer_is_written_in_pieces_and_told_whole(start: Start, model: Model) -> None:
    agent = start(of(model("--tool-mode", "off", "--response-style", "varied")))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        answer = ask(client, "What is the capital of France?")
        parts = [m["text_response_part"] for m in client.messages if m["type"] == "agent_chat_response_part"]
        assert parts[0]["type"] == "start"
        assert parts[-1]["type"] == "stop"
        assert "".join(part["text"] for part in parts).strip() == answer["agent_response"]
        assert answer["agent_response"] not in ("", SORRY)


def test_a_spoken_question_is_answered_aloud_before_the_answer_is_complete(start: Start, model: Model) -> None:
    agent = start(of(model("--tool-mode", "off", "--response-style", "varied", "--stream-chunk-delay-ms", "20")))
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.say(spoken("What time is it?"))
        client.until("agent_response")
        kinds = client.types()
        assert kinds.index("audio") < kinds.index("agent_response"), kinds


def test_a_tool_of_the_client_is_called_and_its_result_is_used(start: Start, model: Model) -> None:
    agent = start(of(model("--tool-mode", "auto"), agent=f"{TOOL},"))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": "Is the light on?"})
        call = client.until("client_tool_call")["client_tool_call"]
        assert call["tool_name"] == "get_light"
        assert isinstance(call["parameters"]["room"], str)
        client.send({
            "type": "client_tool_result", "tool_call_id": call["tool_call_id"], "result": "on", "is_error": False,
        })  # fmt: skip
        assert client.until("agent_response")["agent_response_event"]["agent_response"] not in ("", SORRY)


def test_a_model_may_end_the_call(start: Start, model: Model) -> None:
    """The only tool that is offered is the end of the call, which llmock calls."""
    agent = start(of(model("--tool-mode", "auto")))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        client.send({"type": "user_message", "text": "Goodbye."})
        assert client.until_closed()[0] == 1000


@pytest.mark.parametrize(
    "options",
    [
        ("--error-rate", "500=1"),
        ("--error-rate", "401=1"),
        ("--error-rate", "429=1"),
        ("--stream-fault", "stall=1", "--stream-stall-seconds", "30"),
        ("--latency-ms", "30000"),
    ],
    ids=["500", "401", "429", "stall", "latency"],
)
def test_what_the_person_hears_when_the_model_fails(options: tuple[str, ...], start: Start, model: Model) -> None:
    limits = "first_token_s: 0.6, next_token_s: 0.6"
    agent = start(of(model("--tool-mode", "off", *options), limits))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        answer = ask(client, "What is the capital of France?")["agent_response"]
        # A stream that stalls may have begun.
        assert answer == SORRY or "stall" in options[1]
        assert answer


@pytest.mark.parametrize("fault", ["truncate", "disconnect", "malformed"])
def test_a_broken_stream_ends_the_answer_and_not_the_conversation(fault: str, start: Start, model: Model) -> None:
    agent = start(of(model("--tool-mode", "off", "--stream-fault", f"{fault}=1")))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        for question in ("What is the capital of France?", "And of Spain?"):
            assert ask(client, question)["agent_response"]


def test_a_backup_answers_when_the_first_model_is_away(start: Start, model: Model) -> None:
    url = model("--tool-mode", "off", "--response-style", "hello")
    agent = start(of("http://127.0.0.1:9/v1", f'backup: {{base_url: "{url}"}}'))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        assert ask(client, "Hello?")["agent_response"] != SORRY


def test_no_model_at_all_is_an_apology(start: Start) -> None:
    agent = start(of("http://127.0.0.1:9/v1"))
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.say(spoken("What time is it?"))
        assert client.until("agent_response")["agent_response_event"]["agent_response"] == SORRY


def test_an_interruption_stops_the_model_and_tells_the_heard_words(start: Start, model: Model) -> None:
    slow = model("--tool-mode", "off", "--response-style", "varied", "--stream-chunk-delay-ms", "300")
    agent = start(of(slow, agent="stream_speed: 1,"))
    with Client(agent) as client:
        client.until("conversation_initiation_metadata")
        client.say(spoken("What time is it?"))
        client.until("audio")
        client.say(spoken("Stop."))
        client.until("interruption")
        correction = client.until("agent_response_correction")["agent_response_correction_event"]
        kinds = client.types()
        assert kinds.index("agent_response") < kinds.index("interruption"), kinds
        assert correction["original_agent_response"].startswith(correction["corrected_agent_response"])


def test_an_interruption_closes_the_stream_of_a_model_that_still_writes(start: Start) -> None:
    written = words("Once upon a time there was a house in a wood, and in it lived a bear. He told long stories. ")
    with Odd([written, threading.Event(), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url, "next_token_s: 60", agent="guess_after_ms: 0,"))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("audio")
            assert not server.left.is_set()
            client.say(spoken("Stop."))
            client.until("interruption")
            assert server.left.wait(60), "nobody reads it any more"


def test_what_was_written_of_an_answer_is_what_the_person_has_of_it(start: Start) -> None:
    """Without sound."""
    with Odd([words("Once upon a time, there was a house. "), words("In it "), threading.Event()]) as server:
        agent = start(of(server.base_url, "next_token_s: 60"))
        with Client(agent, TEXT_ONLY) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "A story."})
            client.until("agent_chat_response_part", lambda one: "house" in one["text_response_part"]["text"])
            assert ask(client, "Stop.")["agent_response"] == "Yes."
        told = next(one["content"] for one in server.asked[1]["messages"] if one["role"] == "assistant")
        assert told == "Once upon a time, there was a house. … (the person interrupted here)"


def test_an_interruption_of_what_waits_to_be_said_leaves_the_answer_before_alone(start: Start) -> None:
    with Odd([words("It is nine."), {"finish": "stop"}]) as server:
        text = of(server.base_url, agent="reply_delay_s: 0.5,")
        agent = start(text + "\nconnections: [{steps: [{on: spoken, do: say, text: Tick.}]}]")
        with Client(agent, TEXT_ONLY) as client:
            client.until("conversation_initiation_metadata")
            ask(client, "What time is it?")
            assert ask(client, "And now?")["agent_response"] == "Yes."
        assert {"role": "assistant", "content": "It is nine."} in server.asked[1]["messages"]


def test_a_key_that_cannot_be_read_is_told_at_the_start() -> None:
    script = scenario.parse(of("http://127.0.0.1:9/v1", "api_key: {env: NO_SUCH_VARIABLE}"), "test.yaml")
    with pytest.raises(UserError, match="NO_SUCH_VARIABLE"):
        LocalAgent(script.agent, script).start()


@pytest.mark.parametrize("part", ["mind", "ears_at", "voice_at"])
def test_an_address_that_is_none_is_told_at_the_start(part: str) -> None:
    script = scenario.parse(f'agent: {{ears: none, {part}: {{base_url: "http://127.0.0.1:99999/v1"}}}}', "test.yaml")
    with pytest.raises(UserError, match="99999"):
        LocalAgent(script.agent, script).start()


def test_a_password_in_an_address_is_not_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    agent = start(of("http://me:secret@127.0.0.1:9/v1"))
    with Client(agent, TEXT_ONLY) as client:
        client.until("conversation_initiation_metadata")
        assert ask(client, "Hello.")["agent_response"] == SORRY
    assert "http://127.0.0.1:9/v1 cannot be reached" in caplog.text
    assert "secret" not in caplog.text


def test_odd_chunks_end_no_conversation(start: Start) -> None:
    with Odd([{"choices": None}, {"choices": []}, words("Fine."), {"finish": "stop"}]) as server:
        agent = start(of(server.base_url))
        with Client(agent, TEXT_ONLY) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client, "How are you?")["agent_response"] == "Fine."


def test_several_calls_with_the_same_index_are_told_apart(start: Start) -> None:
    calls = [call("a", "get_light", '{"room": "hall"}'), call("b", "get_light", "no JSON"), {"finish": "tool_calls"}]
    with Odd(calls) as server:
        agent = start(of(server.base_url, agent=f"{TOOL},"))
        with Client(agent, TEXT_ONLY) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "The lights?"})
            asked = client.until("client_tool_call")["client_tool_call"]
            client.send({"type": "client_tool_result", "tool_call_id": asked["tool_call_id"], "result": "on"})
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
        history = server.asked[1]["messages"]
        made = next(message for message in history if message.get("tool_calls"))["tool_calls"]
        assert [json.loads(one["function"]["arguments"]) for one in made] == [{"room": "hall"}, {}]
        results = {one["tool_call_id"]: one["content"] for one in history if one["role"] == "tool"}
        assert results == {"a": "on", "b": "The arguments are not a JSON object."}


def test_a_note_before_the_opening_is_not_lost(start: Start) -> None:
    with Odd() as server:
        agent = start(of(server.base_url))
        with Client(agent, None) as client:
            client.send(TEXT_ONLY)
            client.send({"type": "contextual_update", "text": "The lamp is red."})
            client.until("conversation_initiation_metadata")
            ask(client, "What colour is the lamp?")
        assert "The lamp is red." in server.asked[0]["messages"][-1]["content"]


def test_an_interruption_leaves_no_call_without_a_result(start: Start) -> None:
    """The call has come with the last words, before these are spoken."""
    answer = [
        words("One moment please, I will look for it now. "),
        call("a", "get_light", "{}"),
        {"finish": "tool_calls"},
    ]
    with Odd(answer) as server:
        agent = start(of(server.base_url, agent=f"stream_speed: 1, {TOOL},"))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "The lights?"})
            client.until("audio")
            client.send({"type": "user_message", "text": "Never mind."})
            client.until("agent_response", lambda message: message["agent_response_event"]["agent_response"] == "Yes.")
        ids = {one["id"] for message in server.asked[-1]["messages"] for one in message.get("tool_calls") or ()}
        results = {one["tool_call_id"] for one in server.asked[-1]["messages"] if one["role"] == "tool"}
        assert ids == results


def test_a_voice_that_fails_in_the_middle_ends_the_answer(start: Start) -> None:
    """Nobody may wait for a piece that never comes."""
    with Odd(
        [words("The first one is fine. "), words("BROKEN is not. "), words("And more."), {"finish": "stop"}]
    ) as server:
        agent = start(of(server.base_url, agent="stream_speed: 20,"))
        assert agent._workers is not None
        whole = agent._workers._voice.say

        def say(text: str, rate_hz: int) -> bytes:
            if "BROKEN" in text:
                raise VoiceError("the voice is gone", "wait")
            return whole(text, rate_hz)

        agent._workers._voice = SimpleNamespace(say=say, close=lambda: None)
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "Hello."})
            assert client.until_closed()[0] == 1002


def part(index: int, id_: str | None, name: str | None, arguments: str) -> SimpleNamespace:
    return SimpleNamespace(index=index, id=id_, function=SimpleNamespace(name=name, arguments=arguments))


@pytest.mark.parametrize(
    "parts",
    [
        # OpenAI's way.
        [(0, "a", "f", ""), (0, None, None, '{"x": '), (0, None, None, "1}"), (1, "b", "g", ""), (1, None, None, "{}")],
        # All with the index 0, with ids in the first part, in each, all the same, or nowhere.
        [(0, "a", "f", ""), (0, None, None, '{"x": 1}'), (0, "b", "g", ""), (0, None, None, "{}")],
        [(0, "a", "f", ""), (0, "a", None, '{"x": 1}'), (0, "b", "g", ""), (0, "b", None, "{"), (0, "b", None, "}")],
        [(0, "a", "f", '{"x": 1}'), (0, "a", "g", "{}")],
        [(0, "", "f", '{"x": 1}'), (0, "", "g", "{}")],
        [(0, None, "f", '{"x": 1}'), (0, None, "g", "{}")],
        # Different indexes, and the same id.
        [(0, "a", "f", '{"x": 1}'), (1, "a", "g", "{}")],
        # The name again and again.
        [(0, "a", "f", '{"x": '), (0, "a", "f", "1}"), (0, "a", "f", ""), (1, "b", "g", ""), (1, "b", "g", "{}")],
    ],
)
def test_calls_are_told_apart_however_a_server_numbers_them(parts: list[tuple[int, str | None, str, str]]) -> None:
    calls: dict[int, list[str]] = {}
    for one in parts:
        language_model._add_call(calls, part(*one))
    language_model._tell_apart(calls)
    assert [call[1:] for call in calls.values()] == [["f", '{"x": 1}'], ["g", "{}"]]
    assert len({call[0] for call in calls.values()}) == 2


@pytest.mark.parametrize("arguments", ['{"x": ' * 50_000, '{"x": NaN}', '{"x": "\\ud83d"}', "[1]", "{"])
def test_arguments_that_cannot_be_sent_on_are_none(arguments: str) -> None:
    assert language_model.parameters_of(arguments) is None


def test_a_stream_of_brackets_and_halves_of_signs_ends_no_conversation(start: Start) -> None:
    deep = 'data: {"choices": ' + "[" * 100_000 + "\n\n"
    with Odd([words("Hi \ud83d"), words("\ude00 there."), {"finish": "stop"}], [deep]) as server:
        agent = start(of(server.base_url))
        with Client(agent, TEXT_ONLY) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client, "Hello.")["agent_response"] == "Hi there."
            assert ask(client, "How are you?")["agent_response"] == SORRY


Part = str | tuple[str, str] | ModelError


class Told:
    """The messages that a mind remembers."""

    def __init__(self, *answers: list[Part]) -> None:
        """answers: of the model, one after the other: pieces, calls as (name, arguments), and the end of the stream in
        the middle of a piece."""
        self._answers = list(answers)
        model = cast(LanguageModel, SimpleNamespace(pieces=self._pieces, settings=MindSettings(base_url="")))
        self.mind = LanguageMind(model, [ToolDefinition(name="get_light")])

    async def _pieces(self, request: Request, written: Written) -> AsyncGenerator[str, None]:
        for one in self._answers.pop(0):
            if isinstance(one, tuple):
                written.calls[len(written.calls)] = [f"call_{len(written.calls)}", *one]
            elif isinstance(one, ModelError):
                written.said += "Or t"
                raise one
            else:
                written.said += f"{one} "
                yield one

    def after(self, count: int, heard: str) -> list[tuple[str, str]]:
        """The history when so many parts of the answer were made, and this was heard of them."""

        async def interrupted() -> None:
            async with contextlib.aclosing(self.mind.answer(Turn("?"))) as parts:
                for _ in range(count):
                    await anext(parts)
            self.mind.heard(heard)

        asyncio.run(interrupted())
        return [(one["role"], one["content"]) for one in self.mind._messages[1:]]


UNKNOWN: list[list[Part]] = [["Let me look.", ("no_such_tool", "{}")], ["I have", "no eyes."]]
NO_TOOL = ("tool", "There is no tool of this name.")


@pytest.mark.parametrize(
    ("heard", "history"),
    [
        ("Let", [("assistant", "Let … (the person interrupted here)"), NO_TOOL]),
        ("Let me look.", [("assistant", "Let me look. … (the person interrupted here)"), NO_TOOL]),
        (
            "Let me look. I have no",
            [("assistant", "Let me look. "), NO_TOOL, ("assistant", "I have no … (the person interrupted here)")],
        ),
        ("", [("assistant", "(interrupted before a word was heard)"), NO_TOOL]),
    ],
)
def test_what_was_heard_stands_once_in_the_history_whatever_was_called(
    heard: str, history: list[tuple[str, str]]
) -> None:
    """The words before and after the call of a tool that does not exist are one answer for the ear."""
    assert Told(*UNKNOWN).after(3, heard) == history


def test_of_an_answer_that_breaks_off_the_history_has_what_was_spoken() -> None:
    """Not the words that the model has written ahead."""
    told = Told(["It is nine.", ModelError("it is gone", has_spoken=True)])

    async def answered() -> None:
        async with contextlib.aclosing(told.mind.answer(Turn("?"))) as parts:
            assert [part async for part in parts] == [Say("It is nine.")]

    asyncio.run(answered())
    assert told.mind._messages[-1] == {"role": "assistant", "content": "It is nine."}


def test_an_interruption_leaves_the_answer_before_alone() -> None:
    told = Told(["It is nine."])
    assert told.after(1, "It is") == [("assistant", "It is … (the person interrupted here)")]
    told.mind.heard("")
    assert told.mind._messages[-1]["content"] == "It is … (the person interrupted here)"


def as_messages(roles: str) -> list[dict[str, Any]]:
    names = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
    return [{"role": names[sign], "content": str(index)} for index, sign in enumerate(roles)]


@pytest.mark.parametrize(
    ("roles", "kept"),
    [
        ("ua" * 30, [*range(60)]),
        ("ua" * 30 + "u", [*range(30, 61)]),
        ("ua" * 45, [*range(30, 90)]),
        ("ua" * 45 + "u", [*range(60, 91)]),
        ("s" + "ua" * 30, [0, *range(31, 61)]),
        ("u" + "at" * 20 + "ua" * 15, [*range(41, 71)]),
        ("ua" * 10 + "u" + "at" * 30, [*range(20, 81)]),
        ("at" * 40, [*range(80)]),
    ],
)
def test_what_is_left_out_ends_before_words_of_the_person(roles: str, kept: list[int]) -> None:
    assert [int(message["content"]) for message in shortened(as_messages(roles))] == kept
