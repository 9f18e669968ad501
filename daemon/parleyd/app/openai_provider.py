"""OpenAI Realtime as the registry of providers knows it. Imported only where it is the provider: its messages are
hundreds of types, which take a megabyte and a half."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from parleyd.agents.openai import address as openai_address
from parleyd.agents.openai import session_settings as openai_settings
from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.openai.speech import OpenAISpeech
from parleyd.agents.provider import Agent, Server, ToolSpec
from parleyd.agents.speech import Speech
from parleyd.config.base import Secret
from parleyd.config.openai_section import Transcription
from parleyd.config.schema import Config
from parleyd.host.apart import Apart


class OpenAIProvider:
    """Implements Provider of app/agents.py."""

    about_tools = (
        "The agent is told of them in each session, so nothing has to be set up elsewhere:\n"
        "`parleyd tools --json` prints each as it is sent."
    )

    def is_configured(self, config: Config) -> bool:
        return True

    def api_key(self, config: Config) -> Secret | str | None:
        return config.openai.api_key

    def server(self, config: Config) -> Server:
        return openai_address.server(config.openai)

    def agent(self, config: Config, api_key: str | None, apart: Apart | None = None) -> Agent:
        return OpenAIAgent(config.openai, api_key, apart=apart)

    def speech(self, config: Config, api_key: str | None) -> Speech | None:
        voice = config.announce.voice_id or config.openai.voice
        if voice is None and config.openai.is_openais:
            voice = OpenAISpeech.VOICE
        return None if voice is None else OpenAISpeech(config.openai, config.announce, voice, api_key)

    def tool_form(self, tool: ToolSpec) -> Mapping[str, object]:
        return openai_settings.function(tool)

    def shown(self, config: Config) -> str:
        server = self.server(config).host
        return f"{openai_settings.model(config.openai) or 'the model of the server'} at {server}"


def embedded_agent(config: Config, base_url: str, key: str | None, apart: Apart | None) -> Agent:
    """A client of the embedded agent, which transcribes only when it is asked to. key: None if it needs none."""
    own = msgspec.structs.replace(config.openai, base_url=f"{base_url}/v1", transcription=Transcription(mode="on"))
    return OpenAIAgent(own, key, apart=apart)
