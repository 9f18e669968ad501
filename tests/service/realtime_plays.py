"""The daemon against the embedded agent's front for the OpenAI Realtime protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from harness import Daemon

from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.speech import Speech
from parleyd.audio.devices.device import OutputDevice
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Config, Reconnect, Session
from parleyd.embedded import scenario
from parleyd.embedded.recognise import SphinxEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.voice import Voice

QUESTION = "What time is it?"
STORY = "Tell me a story."


@cache
def ears() -> SphinxEars:
    return SphinxEars()


@cache
def voice() -> Voice:
    return Voice("slt").__enter__()


@contextmanager
def embedded(text: str = "") -> Iterator[LocalAgent]:
    """An agent from the YAML of a scenario; ends of speech are noticed early, so that tests are short."""
    script = scenario.parse(text, "test.yaml")
    settings = script.agent
    if "end_of_speech_ms" not in text:
        settings = msgspec.structs.replace(settings, end_of_speech_ms=400)
    with LocalAgent(settings, script, ears=ears(), voice=voice()) as agent:
        yield agent


def config(agent: LocalAgent, *, openai: dict[str, Any] | None = None, **sections: Any) -> Config:
    section = OpenAI(base_url=f"http://127.0.0.1:{agent.port}/v1", instructions="Be brief.", **(openai or {}))
    settings: dict[str, Any] = {
        "provider": "openai",
        "openai": section,
        "session": Session(idle_timeout_s=60, false_wake_s=60),
        "reconnect": Reconnect(initial_s=0.1, max_s=1.0),
        **sections,
    }
    return Config(**settings)


def daemon(
    settings: Config,
    key: str | None = "k",
    speaker: OutputDevice | None = None,
    state_directory: Path | None = None,
    speech: Speech | None = None,
) -> Daemon:
    agent = OpenAIAgent(settings.openai, key)
    return Daemon(settings, speaker, state_directory=state_directory, speech=speech, agent=agent)


def scripted(*steps: str, agent: str = "", more: str = "") -> str:
    """The YAML of a scenario with these steps in its first connection, and none in the next ones. agent, more: further
    keys of both."""
    listed = "".join(f"\n  - {{{step}}}" for step in steps)
    return f"agent: {{{agent}}}\nconnections:\n- metadata: {{}}\n{more}  steps:{listed or ' []'}\ndefault: {{}}\n"
