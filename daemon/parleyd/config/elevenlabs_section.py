"""The section `elevenlabs`: the agent of this provider, and the settings of it that this device changes."""

from typing import Annotated

from msgspec import Meta, field

from parleyd.config.agent_section import AgentWants
from parleyd.config.base import Secret, Section, Text
from parleyd.config.secrets import masked
from parleyd.config.variable_sections import Scalar, Variable

Share = Annotated[float, Meta(ge=0, le=1)]


class Overrides(Section, frozen=True):
    """Settings of the agent that this device changes; each must be allowed in the agent's Security settings."""

    prompt: Annotated[Text | None, Meta(description="system prompt")] = None
    first_message: Annotated[str | None, Meta(description="the agent's first words; empty: it waits")] = None
    language: Annotated[Text | None, Meta(description="language code such as en or pt-br")] = None
    llm: Annotated[Text | None, Meta(description="model id")] = None
    voice_id: Annotated[Text | None, Meta(description="voice")] = None
    stability: Annotated[Share | None, Meta(description="voice stability")] = None
    speed: Annotated[Annotated[float, Meta(ge=0.7, le=1.2)] | None, Meta(description="speed of speech")] = None
    similarity_boost: Annotated[Share | None, Meta(description="closeness to the original voice")] = None
    model_id: Annotated[
        Text | None, Meta(description="the model of the voice; another language than English may need another one")
    ] = None
    keywords: Annotated[
        list[Text] | None,
        Meta(description="names that the speech recogniser should know on this device: rooms, people, devices"),
    ] = None


class ElevenLabs(Section, frozen=True):
    """The ElevenLabs agent to talk to."""

    agent_id: Annotated[Text | None, Meta(description="the agent's id; required by this provider")] = None
    base_url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$(?!\s)",
            extra={"expected": "a URL such as https://api.elevenlabs.io, without a user, a password or a query"},
            description="the server of the agent: a residency host, or http://127.0.0.1:PORT for a server of your own",
        ),
    ] = "https://api.elevenlabs.io"
    api_key: Annotated[Secret | Text | None, Meta(description="the API key; a public agent needs none")] = None
    user_id: Annotated[
        Text,
        Meta(
            extra={"expected": "auto, off, or a name"},
            description="the name of this device in the agent's history; auto: the host name; off: none is sent",
        ),
    ] = "auto"
    branch_id: Annotated[Text | None, Meta(description="a branch of the agent; null: its main one")] = None
    environment: Annotated[
        Text | None,
        Meta(description="the set of the workspace's environment variables, such as staging; null: production"),
    ] = None
    overrides: Overrides = Overrides()
    agent: AgentWants = AgentWants()
    dynamic_variables: Annotated[
        dict[str, Scalar | Variable],
        Meta(
            description="values for the {{placeholders}} in the agent's prompt and first message: plain, or found anew "
            "for each session by {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}"
        ),
    ] = field(default_factory=dict)
    custom_llm_extra_body: Annotated[dict[str, object], Meta(description="passed unchanged to a custom LLM")] = field(
        default_factory=dict
    )

    def __repr__(self) -> str:
        return f"ElevenLabs({masked(self)})"
