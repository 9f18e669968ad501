"""The agent of a server that speaks the OpenAI Realtime protocol, of one configuration."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from parleyd.agents.commands import Prepared
from parleyd.agents.events import AgentError
from parleyd.agents.openai import address, checks, images, session_settings
from parleyd.agents.openai.codec import OpenAICodec
from parleyd.agents.openai.endings import judge_close, judge_http
from parleyd.agents.openai.reach import reach
from parleyd.agents.provider import (
    Address,
    Attachment,
    Capabilities,
    Check,
    Interrupts,
    Server,
    SessionWish,
)
from parleyd.agents.variables import Variables
from parleyd.config import openai_instructions
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Config
from parleyd.config.secrets import resolve_key
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.text import without
from parleyd.core.wall_clock import EARLIEST_S
from parleyd.host.apart import Apart

_INSTRUCTIONS = "openai.instructions"


class OpenAIAgent:
    """Implements agents.provider.Agent. api_key: None for a server that needs none."""

    name = "openai"

    def __init__(self, config: OpenAI, api_key: str | None, *, apart: Apart | None = None) -> None:
        """apart: see Variables. Raises ValueError when the instructions cannot be used, and SecretError."""
        self._config = config
        self._api_key = api_key
        self._variables = Variables(config.dynamic_variables, apart)
        self._tokens = {
            name: token
            for name, server in config.mcp.items()
            if (token := resolve_key(server.authorization, f"openai.mcp.{name}.authorization")) is not None
        }
        self._secrets = tuple(secret for secret in (api_key, *self._tokens.values()) if secret)
        try:
            self._instructions = openai_instructions.read(config)
        except openai_instructions.InstructionsError as problem:
            raise ValueError(f"{_INSTRUCTIONS}: {problem}; {problem.hint}") from None

    def __repr__(self) -> str:
        kind = "no key" if self._api_key is None else "with a key"
        return f"<OpenAIAgent {session_settings.model(self._config) or 'any model'}, {kind}>"

    @property
    def capabilities(self) -> Capabilities:
        return capabilities(self._config)

    def load(self) -> None:
        # Its sound has 24 kHz, which has no simple ratio to the pipeline's rate.
        import samplerate  # noqa: F401

    def dial(self, timeout_s: float) -> Address:
        self._variables.refresh()
        try:
            self._instructions = openai_instructions.read(self._config)
        except openai_instructions.InstructionsError as problem:
            raise DialError(Ending(EndingKind.FINAL, f"{_INSTRUCTIONS}: {problem}", problem.hint)) from None
        return address.session_address(self._config, self._api_key)

    def reach(self, timeout_s: float) -> None:
        reach(self._config, self._api_key, timeout_s)

    def session(self, wish: SessionWish) -> OpenAICodec:
        values = self._variables.values()
        unix_s = time.time()
        return OpenAICodec(
            self._config,
            wish,
            instructions=openai_instructions.render(self._instructions, values),
            greeting=openai_instructions.render(self._config.greeting or session_settings.GREETING, values),
            tokens=self._tokens,
            secrets=self._secrets,
            # A clock that is not set says nothing about the session's end.
            unix_s=unix_s if unix_s >= EARLIEST_S else 0.0,
        )

    def prepare(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> Prepared:
        return images.prepare(attachment)

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        if error is not None:
            error = msgspec.structs.replace(error, message=without(error.message, self._secrets))
        return judge_close(code, without(reason, self._secrets), error, has_key=self._api_key is not None)

    def judge_silence(self, waited_s: float) -> Ending:
        reason = f"the server did not confirm the session within {waited_s:g} s"
        return Ending(EndingKind.RETRY, reason, "see that it speaks the OpenAI Realtime protocol (openai.base_url)")

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        return judge_http(http_status, without(body, self._secrets), has_key=self._api_key is not None)

    def server(self) -> Server:
        return address.server(self._config)

    def checks(self, config: Config) -> Sequence[Check]:
        return checks.checks(self._config, self._api_key, config)


def capabilities(config: OpenAI) -> Capabilities:
    """The abilities of the protocol. A server that lacks one ignores it, or says so."""
    is_manual = config.turn_detection.type == "manual"
    interrupts = {Interrupts.CLIENT, Interrupts.NEVER} | (set() if is_manual else {Interrupts.SERVER})
    return Capabilities(
        speaks_first=False,
        interrupts=frozenset(interrupts),
        text_interrupts=False,
        truncates=True,
        corrects_text=False,
        transcribes=config.transcription.mode != "off",
        announces_speech=True,
        context="replaceable",
        history="items",
        attachments=images.MEDIA_TYPES,
        approvals=True,
        feedback=False,
        activity=False,
        tools="session",
        text_only=True,
        bills=frozenset({"tokens"}),
        manual_turns=is_manual,
        keep_alive_s=config.keep_alive_s,
    )
