"""The keys under `elevenlabs.agent:`. schema.py explains the conventions, docs/platform.md explains their use."""

from typing import Annotated, Literal

from msgspec import Meta, field

from parleyd.config.base import Section, Text

Format = Literal["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]


class PromptFile(Section, frozen=True):
    """A prompt that stands in a file of its own."""

    file: Annotated[Text, Meta(description="path of the file whose text is the prompt")]


class AgentWants(Section, frozen=True):
    """Settings of the agent itself, which `parleyd platform apply` writes to the platform: docs/platform.md."""

    language: Annotated[Text | None, Meta(description="the agent's own language, such as en or de")] = None
    model_id: Annotated[
        Text | None,
        Meta(description="the model of its voice; null: unchanged, unless it does not speak the language"),
    ] = None
    voice_id: Annotated[Text | None, Meta(description="its voice")] = None
    prompt: Annotated[PromptFile | Text | None, Meta(description="its system prompt: the text, or {file: PATH}")] = None
    first_message: Annotated[str | None, Meta(description="its first words; empty: it waits")] = None
    llm: Annotated[Text | None, Meta(description="the id of its language model")] = None
    input_format: Annotated[Format | None, Meta(description="the format of the sound that it takes")] = None
    output_format: Annotated[Format | None, Meta(description="the format of the sound that it sends")] = None
    turn_eagerness: Annotated[
        Literal["patient", "normal", "eager"] | None,
        Meta(description="how soon it takes a pause for the end of a turn"),
    ] = None
    keywords: Annotated[
        list[Text] | None, Meta(description="names that its speech recogniser should know: rooms, people, devices")
    ] = None
    record_voice: Annotated[bool | None, Meta(description="whether the platform keeps recordings")] = None
    retention_days: Annotated[
        Annotated[int, Meta(ge=-1, le=36_500)] | None,
        Meta(description="how long the platform keeps conversations; -1: without a limit"),
    ] = None
    enable_auth: Annotated[bool | None, Meta(description="true: it talks only to clients with a key")] = None
    end_call: Annotated[bool | None, Meta(description="whether it may hang up by itself")] = None
    timezone: Annotated[Text | None, Meta(description="its time zone, such as Europe/Berlin")] = None
    extra: Annotated[
        dict[str, object],
        Meta(description="further fields in the platform's own form, such as {conversation_config: {turn: {...}}}"),
    ] = field(default_factory=dict)
