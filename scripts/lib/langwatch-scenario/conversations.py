"""Scenarios of langwatch-scenario with the embedded agent: BASE_URL MIND_URL MODELS_URL RECORD.

BASE_URL is of the scripted agent, MIND_URL of one with a mind, MODELS_URL of llmock, which is the mind, the simulated
person and the judge. RECORD has the events of the scripted agent. Prints a line for each step; ends with 1 if one is
missing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOOPBACK = ("127.0.0.1", "::1", "localhost")
elsewhere: set[str] = set()


def notice(event: str, arguments: tuple[Any, ...]) -> None:
    """Keeps the names of other machines that are looked up or connected to."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is not None and host not in LOOPBACK:
        elsewhere.add(host)


sys.addaudithook(notice)
base_url, mind_url, models_url, record = sys.argv[1:]
os.environ |= {
    # The speech of the person is asked of the embedded agent, too.
    "OPENAI_BASE_URL": f"{base_url}/v1",
    "OPENAI_API_KEY": "any",
    # litellm otherwise downloads a list of prices when it is imported.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "SCENARIO_DISABLE_SIMULATION_REPORT_INFO": "1",
}
# With a key each conversation would be reported to LangWatch's cloud.
os.environ.pop("LANGWATCH_API_KEY", None)

import scenario  # noqa: E402  # litellm reads the environment when it is imported

RESPONSE_TIMEOUT_S = 60.0
# A turn of the agent is over after so much silence, 0.6 s by default: too short for a busy machine, and after an
# interruption, since the agent itself waits for 0.7 s of silence before it answers.
RESPONSE_TAIL_SILENCE_S = 2.0
SILENCE = bytes(24_000 * 2)
# A turn that is cancelled by an interruption is cancelled in the middle of its span, which is logged with a traceback.
logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
SET_LIGHT = {
    "type": "function",
    "name": "set_light",
    "description": "Switches a lamp.",
    "parameters": {"type": "object", "properties": {"light": {"type": "string"}, "on": {"type": "boolean"}}},
}
CRITERION = "The agent tells the time"


class Realtime(scenario.OpenAIRealtimeAgentAdapter):
    """The adapter's address is OpenAI's."""

    @property
    def url(self) -> str:
        return f"ws{base_url.removeprefix('http')}/v1/realtime?model={self.model}"


class Told:
    """Speech to text that takes the words from the agent's own messages: nothing is recognised anew."""

    def __init__(self, adapter: scenario.ElevenLabsAgentAdapter) -> None:
        self._adapter = adapter

    async def transcribe(self, audio: scenario.AudioChunk) -> str:
        return self._adapter.last_agent_transcript or ""


def person() -> scenario.UserSimulatorAgent:
    return scenario.UserSimulatorAgent(
        model="openai/person",
        api_base=f"{models_url}/v1",
        api_key="any",
        voice="openai/nova",
        # The adapter for ElevenLabs sends no more silence once it has read sound of the agent, which may be the rest of
        # an answer that the person has interrupted. The agent waits for silence.
        audio_effects=[lambda pcm: pcm + SILENCE],
    )


def elevenlabs(url: str) -> scenario.ElevenLabsAgentAdapter:
    adapter = scenario.ElevenLabsAgentAdapter(agent_id="any", api_key="any", base_url=url)
    adapter.response_timeout = RESPONSE_TIMEOUT_S
    adapter.response_tail_silence = RESPONSE_TAIL_SILENCE_S
    scenario.set_stt_provider(Told(adapter))
    return adapter


def said(state: scenario.ScenarioState) -> str:
    """The words of the last message of the agent."""
    for message in reversed(state.messages):
        if message["role"] == "assistant" and isinstance(message.get("content"), list):
            return " ".join(part["text"] for part in message["content"] if part["type"] == "text")
    return ""


def says(words: str) -> Callable[[scenario.ScenarioState], None]:
    def check(state: scenario.ScenarioState) -> None:
        assert words in said(state), f"{words!r} is missing in {said(state)!r}"
        print(f"  agent: {said(state)}")

    return check


async def by_elevenlabs() -> None:
    print("ElevenLabs, a scripted person")
    agent = elevenlabs(base_url)

    def heard(_state: scenario.ScenarioState) -> None:
        assert agent.last_user_transcript == "What time is it?", agent.last_user_transcript

    def stopped(_state: scenario.ScenarioState) -> None:
        interrupted = [one for one in events() if one["event"] == "interrupted"]
        assert len(interrupted) == 1, interrupted
        assert len(interrupted[0]["heard"]) < len(interrupted[0]["text"]), interrupted
        print("  the story is interrupted")

    result = await scenario.run(
        name="ElevenLabs",
        description="A person asks for the time, orders rolls, interrupts a story and takes leave.",
        agents=[agent, person()],
        script=[
            scenario.agent(),
            says("Hello!"),
            scenario.user("What time is it?"),
            scenario.agent(),
            heard,
            says("It is "),
            # The adapter answers no client tool; this one expects no response.
            scenario.user("Turn on the light."),
            scenario.agent(),
            says("The light is on."),
            scenario.user("Tell me a story."),
            scenario.interrupt("Stop."),
            scenario.agent(),
            stopped,
            says("All right."),
            scenario.user("Goodbye."),
            scenario.agent(),
            says("Goodbye."),
            scenario.succeed(),
        ],
        verbose=False,
    )
    assert result.success, result.reasoning
    assert agent.audio_commit_count == 5, agent.audio_commit_count
    assert agent.agent_hung_up
    called = [one for one in events() if one["event"] == "tool_call"]
    assert [(one["name"], one["parameters"]) for one in called] == [("set_light", {"on": True})], called
    print("  client tool set_light, system tool end_call")


async def by_realtime() -> None:
    print("OpenAI Realtime, a scripted person")
    agent = Realtime(model="gpt-realtime-2.1", voice="marin", tools=[SET_LIGHT], mint=False)
    agent.response_timeout = RESPONSE_TIMEOUT_S
    agent.response_tail_silence = RESPONSE_TAIL_SILENCE_S
    before = len(events())

    def called(state: scenario.ScenarioState) -> None:
        assert state.has_tool_call("set_light")
        call = state.last_tool_call("set_light")
        assert json.loads(call["function"]["arguments"])["on"] is False, call
        print(f"  tool set_light {call['function']['arguments']}")

    async def begun(_state: scenario.ScenarioState) -> None:
        """Waits for the story. scenario.interrupt() takes the turn before it for its beginning, and cancels nothing."""
        while not any(one["event"] == "says" and one["text"].startswith("Once") for one in events()[before:]):
            await asyncio.sleep(0.1)

    def stopped(_state: scenario.ScenarioState) -> None:
        assert "cancelled" in [one.get("status") for one in events()[before:] if one["event"] == "response"]
        print("  the story is cancelled")

    result = await scenario.run(
        name="Realtime",
        description="A person asks for the time, wants it dark and interrupts a story.",
        agents=[agent, person()],
        script=[
            scenario.user("What time is it?"),
            scenario.agent(),
            says("It is "),
            scenario.user("Turn off the light."),
            scenario.agent(),
            called,
            scenario.user("Tell me a story."),
            scenario.agent(wait=False),
            begun,
            # The words of a person into an answer that is under way are an interruption.
            scenario.user("Stop."),
            scenario.agent(),
            stopped,
            says("All right."),
            scenario.succeed(),
        ],
        verbose=False,
    )
    assert result.success, result.reasoning


def models(method: str, path: str, body: object = None) -> Any:
    """Asks llmock's own interface."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(models_url + path, data, method=method)) as answer:
        return json.load(answer)


async def by_models(status: str) -> None:
    """The person, the judge and the agent's mind are language models. status: the judge's verdict."""
    print(f"ElevenLabs, a simulated person and a judge, who says: {status}")
    verdict = {"requirement": CRITERION, "reasoning": "As it was said.", "status": status}
    arguments = {"criteria": {"the_agent_tells_the_time": verdict}, "reasoning": "That is all."}
    models("POST", "/_llmock/reset")
    behaviors = [
        {"type": "reply", "text": "What time is it?", "match": {"model": "person"}},
        {"type": "reply", "text": "It is half past four.", "match": {"model": "mind"}, "times": None},
        {"type": "reply", "tool_calls": [{"name": "finish_test", "arguments": arguments}], "match": {"model": "judge"}},
    ]
    models("POST", "/_llmock/scenario", {"behaviors": behaviors})
    agent = elevenlabs(mind_url)
    judge = scenario.JudgeAgent(model="openai/judge", api_base=f"{models_url}/v1", api_key="any", criteria=[CRITERION])
    result = await scenario.run(
        name="models",
        description="A person asks for the time.",
        agents=[agent, person(), judge],
        script=[
            scenario.agent(),
            says("Hello!"),
            scenario.user(),
            scenario.agent(),
            says("It is half past four."),
            scenario.judge(),
        ],
        verbose=False,
    )
    asked = {one["model"]: json.dumps(one["body"]) for one in models("GET", "/_llmock/requests")["requests"]}
    assert "What time is it?" in asked["mind"], asked["mind"]
    assert "It is half past four." in asked["judge"], asked["judge"]
    assert result.success == (status == "passed"), result
    print(f"  success: {result.success}")


def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(record).read_text().splitlines()]


async def main() -> None:
    await by_elevenlabs()
    await by_realtime()
    await by_models("passed")
    await by_models("failed")
    assert not elsewhere, f"looked for {elsewhere}"
    print("no other machine was looked for")


asyncio.run(main())
