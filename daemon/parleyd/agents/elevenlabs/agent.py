"""The ElevenLabs agent of one configuration."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from parleyd.agents.commands import Prepared
from parleyd.agents.elevenlabs.opening import opening
from parleyd.agents.events import AgentError
from parleyd.agents.provider import (
    ANY_MEDIA_TYPE,
    Address,
    Attachment,
    Capabilities,
    Check,
    Interrupts,
    Server,
    SessionWish,
)
from parleyd.agents.variables import Variables
from parleyd.config.schema import Config, ElevenLabs
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.host.apart import Apart

if TYPE_CHECKING:
    from parleyd.agents.elevenlabs.codec import ElevenLabsCodec

MOST_FILE_BYTES = 20 * 2**20
CAPABILITIES = Capabilities(
    speaks_first=True,
    interrupts=frozenset((Interrupts.SERVER,)),
    text_interrupts=True,
    truncates=False,
    corrects_text=True,
    transcribes=True,
    announces_speech=False,
    context="replaceable",
    history="prose",
    attachments={ANY_MEDIA_TYPE: MOST_FILE_BYTES},
    approvals=True,
    feedback=True,
    activity=True,
    tools="platform",
    text_only=True,
    bills=frozenset(("minutes",)),
)

_HINT_TEXT_ONLY = "enable the override 'text only' under Security in the agent's settings: speech costs more"


class ElevenLabsAgent:
    """Implements agents.provider.Agent. api_key: None for a public agent.

    A wish for writing alone is fulfilled as long as the agent allows the override.
    """

    name = "elevenlabs"
    capabilities = CAPABILITIES

    def __init__(
        self, config: ElevenLabs, api_key: str | None, *, is_configured: bool = True, apart: Apart | None = None
    ) -> None:
        """is_configured: False if the server is not the one that elevenlabs.base_url names, but this program's own.
        apart: see Variables. Raises ValueError when a value of the configuration cannot be sent."""
        self._config = config
        self._api_key = api_key
        self._is_configured = is_configured
        self._may_ask_for_text = True
        self._variables = Variables(config.dynamic_variables, apart)
        self._user_id = _device_name(config.user_id)
        overrides = config.overrides
        self._overrides = {name for name in overrides.__struct_fields__ if getattr(overrides, name) is not None}
        try:
            opening(
                config,
                suppress_greeting=False,
                text_only=False,
                variables=self._variables.plain,
                user_id=self._user_id,
            )
        except (TypeError, UnicodeEncodeError) as problem:
            raise ValueError(
                "elevenlabs: a value under overrides, dynamic_variables or custom_llm_extra_body has no JSON form; "
                "use text, numbers, true, false, lists and mappings with text keys"
            ) from problem

    def __repr__(self) -> str:
        kind = "public" if self._api_key is None else "with a key"
        return f"<ElevenLabsAgent {self._config.agent_id}, {kind}>"

    # The modules that dial, that speak with the server and that judge ends are imported where they are used: the daemon
    # is ready without them.
    def load(self) -> None:
        from parleyd.agents.elevenlabs import address, codec, endings  # noqa: F401

    def dial(self, timeout_s: float) -> Address:
        from parleyd.agents.elevenlabs.address import conversation_address, place_of, signed_address

        config = self._config
        self._variables.refresh()
        agent_id = self._named()
        if self._api_key is None:
            return conversation_address(config.base_url, agent_id, place_of(config))
        return signed_address(config.base_url, agent_id, self._api_key, timeout_s, place_of(config))

    def reach(self, timeout_s: float) -> None:
        from parleyd.agents.elevenlabs.address import place_of, reach_public, signed_address

        agent_id, place = self._named(), place_of(self._config)
        if self._api_key is None:
            reach_public(self._config.base_url, agent_id, timeout_s, place)
        else:
            # The address of a session is told to a key alone that may open it.
            signed_address(self._config.base_url, agent_id, self._api_key, timeout_s, place)

    def session(self, wish: SessionWish) -> ElevenLabsCodec:
        from parleyd.agents.elevenlabs.codec import ElevenLabsCodec

        return ElevenLabsCodec(
            self._config,
            wish,
            self._variables.values(),
            asks_for_text=wish.text_only and self._may_ask_for_text,
            user_id=self._user_id,
        )

    def prepare(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> Prepared:
        from parleyd.agents.elevenlabs.files import upload

        file_id = upload(self._config.base_url, conversation_id, attachment, self._api_key, timeout_s)
        return Prepared(attachment.name, attachment.media_type, reference=file_id)

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        from parleyd.agents.elevenlabs.endings import judge_close, refused_override

        if error:
            error = msgspec.structs.replace(error, message=self._without_key(error.message))
        reason = self._without_key(reason)
        ending = judge_close(code, reason, error, configured_overrides=self._overrides)
        refused = refused_override(code, reason, error, configured_overrides=self._overrides)
        if refused == "text_only" and self._may_ask_for_text:
            # A spoken conversation of which only the texts are used is better than no conversation.
            self._may_ask_for_text = False
            reason = "the agent does not allow conversations in writing alone; it speaks, and what it says is shown"
            return replace(ending, kind=EndingKind.RETRY, reason=reason, hint=_HINT_TEXT_ONLY)
        # The hint depends on whether the variable is missing in the configuration, or its value could not be read.
        unfound = [f"{name}: {why}" for name, why in self._variables.failures.items() if f"'{name}'" in ending.reason]
        if ending.kind is EndingKind.FINAL and unfound:
            return replace(ending, hint=f"correct where elevenlabs.dynamic_variables finds {'; '.join(unfound)}")
        return ending

    def judge_silence(self, waited_s: float) -> Ending:
        from parleyd.agents.elevenlabs.endings import one_line

        reason, language = f"the server did not begin the conversation within {waited_s:g} s", None
        if self._config.overrides.language is not None:
            language = one_line(self._config.overrides.language, 20)
        # Observed with languages that the agent does not have: the server accepts the connection and sends nothing.
        hint = f"see that the agent has the language {language}, or remove elevenlabs.overrides.language"
        return Ending(EndingKind.RETRY, reason, hint if language else None)

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        from parleyd.agents.elevenlabs.endings import judge_http

        return judge_http(http_status, self._without_key(body))

    def server(self) -> Server:
        from parleyd.agents.elevenlabs.address import server_of

        key = "elevenlabs.base_url" if self._is_configured else None
        return server_of(self._config.base_url, key)

    def checks(self, config: Config) -> Sequence[Check]:
        # Imported here, because only the doctor asks.
        from parleyd.agents.elevenlabs.examination import checks

        return checks(self._config, self._api_key)

    def _named(self) -> str:
        if not self._config.agent_id:
            raise DialError(Ending(EndingKind.FINAL, "no agent is configured", "set elevenlabs.agent_id"))
        return self._config.agent_id

    def _without_key(self, text: str) -> str:
        """A server may repeat the key in its error text."""
        return text.replace(self._api_key, "***") if self._api_key else text


def _device_name(user_id: str) -> str | None:
    """The name of this device for the agent's history; None: none."""
    if user_id == "auto":
        return socket.gethostname() or None
    return None if user_id == "off" else user_id
