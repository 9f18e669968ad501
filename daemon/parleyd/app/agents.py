"""The registry of providers: makes the agent and the voice of a configuration. The embedded agent is a child
process."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import msgspec

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.provider import Agent, Server, ToolSpec
from parleyd.agents.speech import Speech, StreamedSpeech
from parleyd.config.base import Secret
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Config
from parleyd.config.secrets import resolve_key
from parleyd.core.errors import UserError
from parleyd.host.apart import Apart

if TYPE_CHECKING:
    from parleyd.app.fallback import LocalFallback
    from parleyd.embedded.child import AgentChild

log = logging.getLogger(__name__)


# They bring websocket-client and TLS along, a fifteenth of the start.
_NEEDED_BY_EACH_SESSION = ("parleyd.conversation.session.session", "parleyd.conversation.session.speech_line")
_NEEDED_BY_ELEVENLABS = tuple(f"parleyd.agents.elevenlabs.{part}" for part in ("address", "codec", "endings"))
# It is imported when the daemon is ready, and a missing one is told before.
if find_spec("websocket") is None:
    raise ModuleNotFoundError("No module named 'websocket'", name="websocket")


class Provider(Protocol):
    """A provider as the configuration knows it: its section, its secret, and how its parts are made.

    about_tools: how its agents learn of the tools of this device, and what `parleyd tools --json` prints.
    """

    about_tools: str

    def is_configured(self, config: Config) -> bool:
        """Whether the configuration names an agent."""

    def api_key(self, config: Config) -> Secret | str | None:
        """The secret as it stands in the configuration."""

    def server(self, config: Config) -> Server:
        """The server that the configuration names. Raises DialError if its address is not usable."""

    def agent(self, config: Config, api_key: str | None, apart: Apart | None = None) -> Agent:
        """Raises ValueError when a value of the configuration cannot be sent."""

    def speech(self, config: Config, api_key: str | None) -> Speech | None:
        """The voice of announcements; None if none is configured."""

    def tool_form(self, tool: ToolSpec) -> Mapping[str, object]:
        """A tool in the provider's own form, as its platform or its sessions take it."""

    def shown(self, config: Config) -> str:
        """The agent in a few words, for `parleyd check` and `parleyd chat`."""


class ElevenLabsProvider:
    """Implements Provider."""

    about_tools = (
        "The agent knows only those that are set up on its page at ElevenLabs, as client tools:\n"
        "`parleyd tools --json` prints each as POST https://api.elevenlabs.io/v1/convai/tools takes it."
    )

    def is_configured(self, config: Config) -> bool:
        return config.elevenlabs.agent_id is not None

    def api_key(self, config: Config) -> Secret | str | None:
        return config.elevenlabs.api_key

    def server(self, config: Config) -> Server:
        from parleyd.agents.elevenlabs.address import server_of

        return server_of(config.elevenlabs.base_url, "elevenlabs.base_url")

    def agent(self, config: Config, api_key: str | None, apart: Apart | None = None) -> Agent:
        return ElevenLabsAgent(config.elevenlabs, api_key, apart=apart)

    def speech(self, config: Config, api_key: str | None) -> Speech | None:
        section, voice_id = config.announce, config.announce.voice_id
        if voice_id is None:
            return None
        from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech

        return ElevenLabsSpeech(section, config.elevenlabs.base_url, voice_id, api_key)

    def tool_form(self, tool: ToolSpec) -> Mapping[str, object]:
        from parleyd.agents.elevenlabs.platform_tools import client_tool

        return client_tool(tool)

    def shown(self, config: Config) -> str:
        return f"agent {config.elevenlabs.agent_id}"


def about_tools(config: Config) -> str:
    """How the agent of this configuration learns of the tools of this device; the embedded agent has no page."""
    if config.provider == "local":
        return (
            "The embedded agent sets timers by itself, and calls what local.scenario says. Nothing has to be set up "
            "elsewhere."
        )
    return provider_of(config).about_tools


def provider_of(config: Config) -> Provider:
    """The provider of this configuration; the embedded agent, which has no client of its own, is spoken with over
    the protocol of one."""
    if _protocol(config) == "openai":
        from parleyd.app.openai_provider import OpenAIProvider

        return OpenAIProvider()
    return ElevenLabsProvider()


def _protocol(config: Config) -> str:
    return config.local.protocol if config.provider == "local" else config.provider


class Agents:
    """A context manager: the embedded agent, where it is the provider, lives as long. apart: how commands of dynamic
    variables are kept apart from this process. fallback: None if none is configured. Raises UserError."""

    def __init__(self, config: Config, apart: Apart | None = None) -> None:
        self._apart = apart
        self._child = _child(config) if config.provider == "local" else None
        self._stack = contextlib.ExitStack()
        try:
            self.fallback = _fallback(config, self._client_of_fallback) if config.has_fallback else None
        except ValueError as error:
            raise UserError(str(error), None, os.EX_CONFIG) from error

    def __enter__(self) -> Agents:
        if self._child is not None:
            from parleyd.embedded.child import AgentChildError

            try:
                self._stack.enter_context(self._child)
            except AgentChildError as error:
                raise UserError(str(error), None, os.EX_UNAVAILABLE) from error
        if self.fallback is not None:
            self._stack.callback(self.fallback.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def agent(self, config: Config) -> Agent:
        """An agent of the same provider. Secrets are read again."""
        try:
            if self._child is not None:
                return self._embedded(config, self._child.base_url, None)
            provider = provider_of(config)
            return provider.agent(config, _key(config), self._apart)
        except ValueError as error:
            raise UserError(str(error), None, os.EX_CONFIG) from error

    def _embedded(self, config: Config, base_url: str, key: str | None) -> Agent:
        """The client of the embedded agent at base_url."""
        if config.local.protocol == "openai":
            from parleyd.app.openai_provider import embedded_agent

            return embedded_agent(config, base_url, key, self._apart)
        # It accepts any id.
        section = config.elevenlabs
        section = msgspec.structs.replace(section, agent_id=section.agent_id or "local", base_url=base_url)
        return ElevenLabsAgent(section, key, is_configured=False, apart=self._apart)

    def _client_of_fallback(self, config: Config, base_url: str, key: str) -> Agent:
        return self._embedded(_for_fallback(config), base_url, key)

    def speech(self, config: Config) -> Speech | None:
        """The voice of announcements; None if there is none."""
        if self._child is not None:
            from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech

            # The embedded agent has one voice, for every id.
            return ElevenLabsSpeech(config.announce, self._child.base_url, config.announce.voice_id or "local", None)
        if config.provider == "elevenlabs" and config.announce.voice_id is None:
            # The key is looked for only where it is used.
            return None
        return provider_of(config).speech(config, _key(config))

    def load_ahead(self, config: Config) -> None:
        """Imports what the first session needs, so that the first words do not wait for it, and so that a package that
        is upgraded meanwhile cannot break it."""
        try:
            for module in self._needed_later(config):
                importlib.import_module(module)
        except (OSError, ImportError) as error:
            # Such as without file handles. The first session tries it again.
            log.warning("a module that sessions need cannot be loaded: %s", error)

    def _needed_later(self, config: Config) -> Iterator[str]:
        yield from _NEEDED_BY_EACH_SESSION
        if _protocol(config) == "elevenlabs":
            yield from _NEEDED_BY_ELEVENLABS
        # The names of servers are looked up with it.
        yield "encodings.idna"
        if self._child is None and _by_http(config, provider_of(config).server(config)):
            yield "parleyd.host.requests"
        if _protocol(config) == "openai":
            # Its sound has 24 kHz, which has no simple ratio to the pipeline's rate.
            yield "samplerate"

    def local_speech(self, config: Config) -> StreamedSpeech | None:
        """The voice of this machine; None if there is none."""
        from parleyd.embedded.local_speech import local_speech

        return local_speech(config.announce.local_voice)


def _by_http(config: Config, server: Server) -> bool:
    """Whether the way to the agent needs HTTP: an agent of ElevenLabs with a key is asked for its address, and a proxy
    for the way."""
    if config.provider == "elevenlabs" and config.elevenlabs.api_key is not None:
        return True
    from parleyd.host.proxies import ProxyError, proxy_for

    try:
        return proxy_for(server.host, server.port, is_tls=server.is_tls) is not None
    except ProxyError:
        return False


# The embedded agent's modules are imported only where it is wanted.
def _child(config: Config) -> AgentChild:
    from parleyd.embedded.child import AgentChild

    return AgentChild(config.local.scenario)


def _fallback(config: Config, client: Callable[[Config, str, str], Agent]) -> LocalFallback:
    from parleyd.app.fallback import LocalFallback

    return LocalFallback(config, client)


def _for_fallback(config: Config) -> Config:
    """Without the settings for the server of the agent: that of the fallback may refuse them, and has no
    use for the tokens among them."""
    it = config.openai
    own = OpenAI(
        instructions=it.instructions,
        dynamic_variables=it.dynamic_variables,
        greeting=it.greeting,
        language=it.language,
        turn_detection=it.turn_detection,
    )
    return msgspec.structs.replace(config, openai=own)


def _key(config: Config) -> str | None:
    """The secret of the provider, read now. Raises SecretError."""
    return resolve_key(provider_of(config).api_key(config), f"{config.provider}.api_key")
