"""The first message of a session with an ElevenLabs agent: what the configuration asks of it. Pure.

Apart from codec.py: the start of the daemon tries whether the configuration has a JSON form, and is ready without the
rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from parleyd.agents.elevenlabs import client_messages as client
from parleyd.config.schema import ElevenLabs, Scalar


def opening(
    config: ElevenLabs,
    *,
    suppress_greeting: bool,
    text_only: bool,
    variables: Mapping[str, Scalar],
    user_id: str | None = None,
) -> bytes:
    """Contains only the fields that are set: a field that the agent does not allow ends the conversation, even if it is
    null.

    variables: the values of the dynamic variables. user_id: the name of this device; None: none is sent.

    Raises TypeError or UnicodeEncodeError if JSON cannot represent free-form values of the configuration."""
    wanted = config.overrides
    prompt = client.PromptOverride(prompt=wanted.prompt, llm=wanted.llm)
    agent = client.AgentOverride(
        prompt=None if prompt == client.PromptOverride() else prompt,
        first_message="" if suppress_greeting else wanted.first_message,
        language=wanted.language,
    )
    tts = client.TtsOverride(
        model_id=wanted.model_id,
        voice_id=wanted.voice_id,
        stability=wanted.stability,
        speed=wanted.speed,
        similarity_boost=wanted.similarity_boost,
    )
    override = client.ConfigOverride(
        agent=None if agent == client.AgentOverride() else agent,
        asr=None if wanted.keywords is None else client.AsrOverride(keywords=wanted.keywords),
        tts=None if tts == client.TtsOverride() else tts,
        conversation=client.ConversationOverride(text_only=True) if text_only else None,
    )
    message = client.ConversationInitiationClientData(
        conversation_config_override=None if override == client.ConfigOverride() else override,
        custom_llm_extra_body=config.custom_llm_extra_body or None,
        dynamic_variables=dict(variables) or None,
        user_id=user_id,
        branch_id=config.branch_id,
        environment=config.environment,
    )
    return client.encode(message)
