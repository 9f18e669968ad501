from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from local_client import Start

from parleyd.embedded import scenario
from parleyd.embedded.recognise import NoEars, SphinxEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.voice import Voice


@pytest.fixture(scope="session")
def sphinx() -> SphinxEars:
    return SphinxEars()


@pytest.fixture(scope="session")
def agent_voice() -> Iterator[Voice]:
    with Voice("slt") as voice:
        yield voice


@pytest.fixture
def start(sphinx: SphinxEars, agent_voice: Voice) -> Iterator[Start]:
    """Starts an agent from the YAML of a scenario; ends of speech are noticed early, so that tests are short."""
    with ExitStack() as stack:

        def start_agent(text: str = "") -> LocalAgent:
            script = scenario.parse(text, "test.yaml")
            settings = script.agent
            if "end_of_speech_ms" not in text:
                settings = msgspec.structs.replace(settings, end_of_speech_ms=300)
            ears = NoEars() if settings.ears == "none" else sphinx
            return stack.enter_context(LocalAgent(settings, script, ears=ears, voice=agent_voice))

        yield start_agent
