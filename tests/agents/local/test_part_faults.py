"""What a person hears, what the client gets and what the log says when a part of a mind fails: docs/mind.md."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
pytest.importorskip("wyoming")
from local_client import Client, spoken
from model_servers import Odd, call, words, wyoming
from realtime_client import RealtimeClient

from parleyd.embedded import scenario
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import MindSettings
from web_server import Answer, web_server

SORRY = MindSettings(base_url="http://127.0.0.1:9/v1").sorry
WRITTEN = {
    "type": "conversation_initiation_client_data",
    "conversation_config_override": {"conversation": {"text_only": True}},
}
QUESTION = "Is the kettle on?"
NEVER = threading.Event()
FIRST = words("The kettle is on. ")
# JSON that is no chunk.
SHAPES = ("[]", "null", '{"choices": 5}', '{"choices": [{"delta": {"content": 5}}]}', '{"choices": [{"delta": "x"}]}')
ERROR_EVENT = 'data: {"error": {"message": "Is the kettle on? cannot be answered", "type": "server_error"}}\n\n'


@contextmanager
def agent_of(mind: str, more: str = "", *, first_s: float = 60, next_s: float = 60) -> Iterator[LocalAgent]:
    """first_s, next_s: long, but where a silence is the fault."""
    text = (
        f'agent: {{first_message: "", ears: none, end_of_speech_ms: 300, stream_speed: 0, {more} '
        f"mind: {{first_token_s: {first_s}, next_token_s: {next_s}, {mind}}}}}"
    )
    script = scenario.parse(text, "test.yaml")
    with LocalAgent(script.agent, script) as agent:
        yield agent


def ask(client: Client, text: str = QUESTION) -> str:
    client.send({"type": "user_message", "text": text})
    return str(client.until("agent_response")["agent_response_event"]["agent_response"])


def errors(client: Client) -> list[str]:
    return [kind for kind in client.types() if "error" in kind]


def refused() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([401], "answered 401"),
        ([429], "took too long"),
        ([500], "answered 500"),
        ([NEVER], "took too long"),
        ([ERROR_EVENT], "reported an error"),
        (["data: {no JSON\n\n"], "stopped in the middle"),
        *((["data: " + shape + "\n\n"], "stopped in the middle") for shape in SHAPES),
    ],
    ids=[
        *("401", "429 and come again in half a minute", "500", "silence", "error", "garbage", *SHAPES),
    ],
)
def test_a_model_without_an_answer_is_an_apology(
    answer: list[Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    first_s = 0.6 if reason == "took too long" else 60
    with Odd(answer, answer) as server, agent_of(f'base_url: "{server.base_url}"', first_s=first_s) as agent:
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == SORRY
            assert errors(client) == []
        told = [record.getMessage() for record in caplog.records if "does not answer" in record.getMessage()]
        assert len(told) == 1
        assert server.base_url in told[0]
        assert reason in told[0]
        assert agent.figures.failures["mind"] == 1
    assert "kettle" not in caplog.text, "words stay out of the log"


# What a model writes of which nothing is spoken, and what the log says of it.
SILENT = {
    "nothing": ("", "it has written nothing"),
    "a thought": ("<think>The kettle? Hm.</think>", "it has written only what is not spoken"),
    "a thought that is never closed": ("<think>The kettle? Hm. It is on.", "its answer ends within a thought"),
    "code that is never closed": ("```\nkettle()", "its answer ends within a thought, code or a call"),
    "a call that is never closed": ('{"name": "kettle", "argum', "its answer ends within a thought, code or a call"),
}


@pytest.mark.parametrize(("written", "reason"), SILENT.values(), ids=list(SILENT))
def test_a_model_that_says_nothing_is_an_apology(written: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = [words(written), {"finish": "length"}]
    with Odd(answer) as server, agent_of(f'base_url: "{server.base_url}"') as agent:
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == SORRY
            ask(client, "And now?")
        said = [(one["role"], one["content"]) for one in server.asked[1]["messages"][1:]]
        assert said == [("user", QUESTION), ("assistant", SORRY), ("user", "And now?")], "what was heard, and no more"
        assert [one.getMessage() for one in caplog.records if "says nothing" in one.getMessage()]
        assert f"the mind says nothing: {reason}" in caplog.text
        assert agent.figures.failures["mind"] == 0
    assert "kettle" not in caplog.text, "words stay out of the log"


def test_words_before_a_thought_that_is_never_closed_are_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    answer = [words("The lamp is on. <think>Is it? Yes, the kettle"), {"finish": "length"}]
    with (
        Odd(answer) as server,
        agent_of(f'base_url: "{server.base_url}"') as agent,
        Client(agent, WRITTEN) as client,
    ):
        client.until("conversation_initiation_metadata")
        assert ask(client) == "The lamp is on."
    assert "says nothing" not in caplog.text


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ([NEVER], "took too long"),
        ([], "stopped in the middle"),
        ([ERROR_EVENT], "reported an error"),
        (["data: {no JSON\n\n"], "stopped in the middle"),
    ],
    ids=["stall", "truncated", "error", "garbage"],
)
def test_an_answer_that_breaks_off_is_heard_as_far_as_it_goes(
    rest: list[Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    next_s = 0.6 if reason == "took too long" else 60
    with Odd([FIRST, words("It will "), *rest]) as server:
        mind = f'base_url: "{server.base_url}"'
        with agent_of(mind, next_s=next_s) as agent, Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client).startswith("The kettle is on.")
            assert ask(client, "And now?") == "Yes.", "the conversation goes on"
            assert errors(client) == []
        assert agent.figures.failures["mind"] == 1
    assert reason in caplog.text
    assert "kettle" not in caplog.text


@pytest.mark.parametrize("first", [[NEVER], [500], [ERROR_EVENT]], ids=["silence", "500", "error"])
def test_the_backup_answers_in_its_place(first: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with Odd(first, first) as server, Odd() as backup:
        mind = f'base_url: "{server.base_url}", backup: {{base_url: "{backup.base_url}"}}'
        with agent_of(mind, first_s=0.6 if NEVER in first else 60) as agent, Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == "Yes."
        assert "so its backup does" in caplog.text


def test_a_tool_that_does_not_answer_in_time_is_told_to_the_model() -> None:
    tools = "tool_timeout_s: 0.3, tools: [{name: get_light}],"
    with Odd([call("a", "get_light", "{}"), {"finish": "tool_calls"}]) as server:
        with agent_of(f'base_url: "{server.base_url}"', tools) as agent, Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "The light?"})
            client.until("client_tool_call")
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
        assert server.asked[1]["messages"][-1]["content"] == "Error: no answer in time"


@pytest.mark.parametrize("fault", ["refused", "silent", "error", "leaves", "garbage", ""])
def test_ears_that_fail_are_words_that_were_not_understood(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    with Odd() as server, wyoming(fault) as place:
        at = f"tcp://{refused()}" if fault == "refused" else place
        ears = f'ears_at: {{wyoming: "{at}", timeout_s: 0.4}}, guess_after_ms: 10000,'
        with agent_of(f'base_url: "{server.base_url}"', ears) as agent, Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "..."
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
            assert errors(client) == []
            assert agent.figures.failures["ears"] == (1 if fault else 0)
        assert "was not understood" in server.asked[-1]["messages"][-1]["content"]
    # An empty transcript is no failure of the recogniser.
    assert ("the recogniser at" in caplog.text) == bool(fault)
    assert not fault or REASONS[fault] in caplog.text
    assert "too hard" not in caplog.text


REASONS = {
    "refused": "Connection refused", "silent": "it took too long", "error": "it reported an error",
    "leaves": "it closed the connection", "garbage": "",
}  # fmt: skip


def test_without_a_local_voice_in_its_place_the_call_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    voice = f'voice_at: {{wyoming: "tcp://{refused()}"}},'
    with Odd([FIRST, {"finish": "stop"}]) as server, agent_of(f'base_url: "{server.base_url}"', voice) as agent:
        monkeypatch.setenv("PATH", str(tmp_path))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": QUESTION})
            assert client.until("error")["error_event"]["error_type"] == "tts_cascade_error"
            assert client.until_closed()[0] == 1002
    assert "does not answer, and there is no local one: Connection refused" in caplog.text


@pytest.mark.parametrize("fault", ["refused", "silent", "error", "leaves", "garbage", "second sentence"])
def test_a_voice_that_fails_is_replaced_by_the_local_one(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = [FIRST, words("It will boil soon. "), words("Bye."), {"finish": "stop"}]
    is_second = fault == "second sentence"
    with Odd(answer) as server, wyoming("x" if is_second else fault, "1" if is_second else "1000") as place:
        at = f"tcp://{refused()}" if fault == "refused" else place
        voice = f'voice_at: {{wyoming: "{at}", timeout_s: 0.4}}, voice: slt,'
        with agent_of(f'base_url: "{server.base_url}"', voice) as agent, Client(agent) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == "The kettle is on. It will boil soon. Bye."
            assert sum(len(pcm) for _, pcm in client.audio) / 32_000 > 2
            assert errors(client) == []
            assert agent.figures.failures["voice"] == (2 if is_second else 3)
    assert f"so the local one speaks: {REASONS.get(fault, 'it closed')}" in caplog.text
    assert "kettle" not in caplog.text


# Answers of a server of OpenAI's API that are no words and no sound, and the reason that the log has.
NO_ANSWERS = {
    "a wrong key": (Answer(401, "{}"), "HTTP 401"),
    "too many requests": (Answer(429, "{}"), "HTTP 429"),
    "a defect": (Answer(500, "Is the kettle on?"), "HTTP 500"),
    "a page": (Answer(200, "<html>Is the kettle on?</html>", {"Content-Type": "text/html"}), ""),
    "another message": (Answer(200, '{"kettle": 1}', {"Content-Type": "application/json"}), ""),
    "nothing": (Answer(200), ""),
    "silence": (None, "it took too long"),
    "refused": (None, "it cannot be reached"),
}


@contextmanager
def openais(answer: Answer | None, reason: str) -> Iterator[str]:
    """The base URL of such a server."""
    never = threading.Event()

    def says(_path: str) -> Answer:
        if answer is None:
            never.wait(60)
        return answer or Answer(200)

    if reason == "it cannot be reached":
        yield f"http://{refused()}/v1"
        return
    with web_server(says) as server:
        yield f"{server.base_url}/v1"
        never.set()


@pytest.mark.parametrize(("answer", "reason"), NO_ANSWERS.values(), ids=list(NO_ANSWERS))
def test_ears_by_openais_api_that_fail_are_words_that_were_not_understood(
    answer: Answer | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    timeout_s = 0.4 if reason == "it took too long" else 20
    with Odd() as server, openais(answer, reason) as place:
        ears = f'ears_at: {{base_url: "{place}", timeout_s: {timeout_s}}}, guess_after_ms: 10000,'
        with agent_of(f'base_url: "{server.base_url}"', ears) as agent, Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "..."
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
            assert errors(client) == []
            assert agent.figures.failures["ears"] == 1
    assert f"the recogniser at {place} does not answer: {reason}" in caplog.text
    assert "kettle" not in caplog.text


@pytest.mark.parametrize(("answer", "reason"), NO_ANSWERS.values(), ids=list(NO_ANSWERS))
def test_a_voice_by_openais_api_that_fails_is_replaced_by_the_local_one(
    answer: Answer | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    timeout_s = 0.4 if reason == "it took too long" else 20
    with Odd([FIRST, {"finish": "stop"}]) as server, openais(answer, reason) as place:
        voice = f'voice_at: {{base_url: "{place}", timeout_s: {timeout_s}}}, voice: slt,'
        with agent_of(f'base_url: "{server.base_url}"', voice) as agent, Client(agent) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == "The kettle is on."
            assert client.audio
            assert errors(client) == []
            assert agent.figures.failures["voice"] == 1
    assert f"the voice at {place} does not answer, so the local one speaks: {reason}" in caplog.text
    assert "kettle" not in caplog.text


def test_a_tool_that_does_not_exist_and_one_that_fails_are_told_to_the_model() -> None:
    calls = [call("a", "no_such_tool", "{}"), call("b", "get_light", "{}"), {"finish": "tool_calls"}]
    with Odd(calls) as server:
        mind = f'base_url: "{server.base_url}"'
        with agent_of(mind, "tools: [{name: get_light}],") as agent, Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "The light?"})
            made = client.until("client_tool_call")["client_tool_call"]
            result = {"tool_call_id": made["tool_call_id"], "result": "no such lamp", "is_error": True}
            client.send({"type": "client_tool_result", **result})
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
        told = {one["tool_call_id"]: one["content"] for one in server.asked[1]["messages"] if one["role"] == "tool"}
        assert told["b"] == "Error: no such lamp"
        assert told["a"] == "There is no tool of this name."


def test_without_a_local_voice_a_response_of_the_realtime_protocol_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    voice = f'voice_at: {{wyoming: "tcp://{refused()}"}},'
    with Odd([FIRST, {"finish": "stop"}]) as server, agent_of(f'base_url: "{server.base_url}"', voice) as agent:
        monkeypatch.setenv("PATH", str(tmp_path))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.write(QUESTION)
            assert client.answer()["status"] == "failed"


PAGE = Path(__file__).parents[3] / "docs/mind.md"


def test_the_rows_of_the_page_name_their_tests() -> None:
    """docs/mind.md, `When a part fails`."""
    section = PAGE.read_text().partition("## When a part fails")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert len(named) > 10
    assert not [name for name in named if f"def {name}(" not in tests]


KEY = "sk_0123456789abcdef"
# What ElevenLabs' server does with each piece, and the words of it that the log has.
OF_ELEVENLABS: dict[str, tuple[str, str]] = {
    "a wrong key": ("{handshake: {status: 401}}", "the API key is not accepted"),
    "no credit": ("{handshake: {status: 402}}", "credit"),
    "too much at once": ("{handshake: {status: 429}}", "too much is being spoken at once"),
    "a defect": ("{handshake: {status: 500}}", "the server is in trouble"),
    "no WebSocket": ("{handshake: {garbage: hello}}", "cannot connect to"),
    "an error": ("{end: {error: voice_id_does_not_exist, message: 'Is the kettle on?'}}", "there is no such voice"),
    "a lost line in the middle": ("{end: {after_chunks: 1, drop: true}}", ""),
    "silence": ("{delay_s: 60}", "the server did not go on"),
    "no sound": ("{end: {after_chunks: 0, code: 1000}}", ""),
}


@pytest.mark.parametrize(("script", "reason"), OF_ELEVENLABS.values(), ids=list(OF_ELEVENLABS))
def test_a_voice_of_elevenlabs_that_fails_is_replaced_by_the_local_one(
    script: str, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)
    theirs = scenario.parse(f"{{agent: {{ears: none}}, speech: [{script}, {script}]}}", "theirs.yaml")
    answer = [FIRST, words("It will boil soon. "), {"finish": "stop"}]
    timeout_s = 0.5 if reason == "the server did not go on" else 20
    with LocalAgent(theirs.agent, theirs) as server, Odd(answer) as model:
        voice = (
            f'voice_at: {{elevenlabs: "{server.base_url}", voice: any, api_key: {{env: THEIR_KEY}}, '
            f"timeout_s: {timeout_s}}}, voice: slt,"
        )
        with agent_of(f'base_url: "{model.base_url}"', voice) as agent, Client(agent) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client) == "The kettle is on. It will boil soon."
            assert sum(len(pcm) for _, pcm in client.audio) / 32_000 > 1.5
            assert errors(client) == []
            assert agent.figures.failures["voice"] == 2
    assert f"the voice at {server.base_url} does not answer, so the local one speaks: " in caplog.text
    assert reason in caplog.text
    assert KEY not in caplog.text
    assert "kettle" not in caplog.text
