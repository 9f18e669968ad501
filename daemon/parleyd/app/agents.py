"""Makes the agent of the configuration; the embedded agent is a child process."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

import msgspec

from parleyd.agents.agent import Agent
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech
from parleyd.agents.speech import Speech
from parleyd.config.schema import Config
from parleyd.config.secrets import resolve_key
from parleyd.core.errors import UserError
from parleyd.embedded.child import AgentChild, AgentChildError
from parleyd.host.apart import Apart


class Agents:
    """A context manager: the embedded agent, where it is the provider, lives as long. apart: how commands of dynamic
    variables are kept apart from this process. Raises UserError."""

    def __init__(self, config: Config, apart: Apart | None = None) -> None:
        self._apart = apart
        self._child = AgentChild(config.local.scenario) if config.provider == "local" else None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Agents:
        if self._child is not None:
            try:
                self._stack.enter_context(self._child)
            except AgentChildError as error:
                raise UserError(str(error), None, os.EX_UNAVAILABLE) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def agent(self, config: Config) -> Agent:
        """An agent of the same provider. Secrets are read again."""
        section, key = config.elevenlabs, None
        try:
            if self._child is not None:
                # The embedded agent accepts any id, and needs no key.
                agent_id = section.agent_id or "local"
                section = msgspec.structs.replace(section, agent_id=agent_id, base_url=self._child.base_url)
            else:
                key = resolve_key(section.api_key)
            return ElevenLabsAgent(section, key, text_only=config.audio.mode == "off", apart=self._apart)
        except ValueError as error:
            raise UserError(str(error), None, os.EX_CONFIG) from error

    def speech(self, config: Config) -> Speech | None:
        """The voice of announcements; None if there is none."""
        section, voice_id = config.announce, config.announce.voice_id
        if self._child is not None:
            # The embedded agent has one voice, for every id.
            return ElevenLabsSpeech(section, self._child.base_url, voice_id or "local", None)
        if voice_id is None:
            return None
        key = resolve_key(config.elevenlabs.api_key)
        return ElevenLabsSpeech(section, config.elevenlabs.base_url, voice_id, key)
