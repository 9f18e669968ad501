"""The keys under `openai:`. schema.py explains the conventions, docs/openai.md explains the section."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from parleyd.config.base import Secret, Section, Text
from parleyd.config.secrets import masked
from parleyd.config.variable_sections import Scalar, Variable

# The recommended names at OpenAI itself. Other servers are only sent what is configured.
MODEL = "gpt-realtime-2.1"
TRANSCRIPTION_MODEL = "gpt-transcribe"
OPENAI_HOST = "api.openai.com"

HeaderName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9-]+$(?!\s)", extra={"expected": "the name of a header, such as api-key"})
]


class InstructionsFile(Section, frozen=True):
    """Instructions that stand in a file of their own."""

    file: Annotated[Text, Meta(description="path of a text file, UTF-8; it is read again for each session")]


class Transcription(Section, frozen=True):
    """How the person's words are written down; the agent itself understands the sound."""

    mode: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="auto: on at OpenAI, and where a model is given; else the server decides"),
    ] = "auto"
    model: Annotated[Text | None, Meta(description="null: gpt-transcribe at OpenAI; else the server's own")] = None
    prompt: Annotated[Text | None, Meta(description="words that help, such as names")] = None


class TurnDetection(Section, frozen=True):
    """How the server finds the end of what the person says. null: the server's own setting."""

    type: Annotated[
        Literal["auto", "server", "semantic", "manual"],
        Meta(
            description="server: by silence; semantic: by the words; manual: push-to-talk, the gate's end is that of "
            "the turn; auto: the server's own kind, that is server where something has to be said of it"
        ),
    ] = "auto"
    # At 0 everything is speech, and no turn ever ends; at 1 nothing is.
    threshold: Annotated[
        Annotated[float, Meta(ge=0.01, le=0.99)] | None, Meta(description="server: how loud speech must be")
    ] = None
    prefix_padding_ms: Annotated[
        Annotated[int, Meta(ge=0, le=5000)] | None, Meta(description="server: sound kept from before the speech")
    ] = None
    # Within words there are silences of up to a tenth of a second: each would be the end of a turn, and an answer.
    silence_duration_ms: Annotated[
        Annotated[int, Meta(ge=100, le=10000)] | None, Meta(description="server: silence that ends a turn")
    ] = None
    eagerness: Annotated[
        Literal["low", "medium", "high", "auto"] | None,
        Meta(description="semantic: how soon a turn is over; high: after 2 s at the latest, medium 4 s, low 8 s"),
    ] = None


class Truncation(Section, frozen=True):
    """The fate of a conversation that grows too long for the server. null: its own setting."""

    mode: Annotated[
        Literal["auto", "disabled"] | None,
        Meta(description="disabled: an answer fails before words are lost"),
    ] = None
    retention_ratio: Annotated[
        Annotated[float, Meta(ge=0.01, le=1)] | None,
        Meta(description="share of the tokens that is kept when the oldest are dropped; 0.8 keeps the cache useful"),
    ] = None
    token_limit: Annotated[
        Annotated[int, Meta(ge=100, le=1_000_000)] | None,
        Meta(description="tokens of conversation at which the oldest are dropped; less makes long talks cheaper"),
    ] = None


class McpServer(Section, frozen=True):
    """A server of tools that the agent's server calls itself (MCP)."""

    url: Annotated[
        str, Meta(pattern=r"^https?://[^\s?#@]+$(?!\s)", extra={"expected": "a URL"}, description="its address")
    ]
    description: Annotated[Text | None, Meta(description="what it is good for, for the agent")] = None
    authorization: Annotated[Secret | Text | None, Meta(description="the access token for it")] = None
    allowed_tools: Annotated[
        list[Text] | None, Meta(description="the tools that the agent may know; null: all of them")
    ] = None
    approval: Annotated[
        Literal["always", "never"], Meta(description="always: a person allows each call: docs/tools.md")
    ] = "always"
    without_approval: Annotated[
        list[Text], Meta(description="tools that need no approval, with `approval: always`")
    ] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"McpServer({masked(self)})"


class OpenAI(Section, frozen=True):
    """The agent of a server that speaks the OpenAI Realtime protocol: docs/openai.md."""

    base_url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$(?!\s)",
            extra={"expected": "a URL such as https://api.openai.com/v1, without a user, a password or a query"},
            description="the server, with the path before /realtime: OpenAI, or http://127.0.0.1:PORT/v1 for a server "
            "of your own",
        ),
    ] = "https://api.openai.com/v1"
    model: Annotated[
        Text | None, Meta(description="null: gpt-realtime-2.1 at OpenAI, and none is named to other servers")
    ] = None
    voice: Annotated[Text | None, Meta(description="such as marin or cedar; null: the server's own")] = None
    speed: Annotated[Annotated[float, Meta(ge=0.25, le=1.5)] | None, Meta(description="speed of speech")] = None
    instructions: Annotated[
        InstructionsFile | Text | None,
        Meta(
            description="who the agent is and how it talks, at most 64 KiB: a text, or {file: PATH}",
            extra={"expected": "a text, or {file: PATH}"},
        ),
    ] = None
    dynamic_variables: Annotated[
        dict[str, Scalar | Variable],
        Meta(
            description="values for the {{placeholders}} in the instructions and the greeting: plain, or found anew "
            "for each session by {env: NAME}, {file: PATH} or {command: [PROGRAM, ARGUMENT]}"
        ),
    ] = field(default_factory=dict)
    greeting: Annotated[
        Text | None,
        Meta(description="how the agent begins a conversation that it may begin (wake.greeting), as an instruction"),
    ] = None
    language: Annotated[
        Text | None, Meta(description="language code such as en: for the transcription, and told to the agent")
    ] = None
    transcription: Transcription = Transcription()
    turn_detection: TurnDetection = TurnDetection()
    noise_reduction: Annotated[
        Literal["near_field", "far_field", "off"] | None,
        Meta(description="far_field: a device in the room; near_field: a headset; null: the server's own setting"),
    ] = None
    reasoning_effort: Annotated[
        Literal["minimal", "low", "medium", "high", "xhigh"] | None,
        Meta(description="of gpt-realtime-2 and newer; other models refuse it"),
    ] = None
    # Fewer are no word.
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=16, le=32000)] | None,
        Meta(description="of one answer; a minute of speech has 1200. null: the server's own limit"),
    ] = None
    truncation: Truncation = Truncation()
    audio_format: Annotated[
        Literal["pcm", "pcmu", "pcma"] | None,
        Meta(
            description="pcm: 24 kHz; pcmu, pcma: 8 kHz with a sixth of the data, for metered links; null: the "
            "server's own, which is pcm"
        ),
    ] = None
    mcp: Annotated[
        dict[str, McpServer], Meta(description="servers of tools, by a name of your own: docs/openai.md")
    ] = field(default_factory=dict)
    api_key: Annotated[Secret | Text | None, Meta(description="the API key; a server of your own may need none")] = None
    key_header: Annotated[
        HeaderName,
        Meta(description="the header with the key: `Bearer KEY` in Authorization, the key alone in any other"),
    ] = "Authorization"
    query: Annotated[dict[str, str], Meta(description="further parameters of the address, such as an API version")] = (
        field(default_factory=dict)
    )
    model_in: Annotated[
        Literal["query", "session", "both"], Meta(description="where the server wants the model's name")
    ] = "query"
    flat_session: Annotated[
        bool, Meta(description="voice and turn detection stand at the top of the session, as xAI wants it")
    ] = False
    keep_alive_s: Annotated[
        Annotated[float, Meta(ge=1, le=600)] | None,
        Meta(description="an empty message after such a silence, for servers that end sessions in which none comes"),
    ] = None

    @property
    def is_openais(self) -> bool:
        """Whether the server is OpenAI's own."""
        try:
            return urlsplit(self.base_url).hostname == OPENAI_HOST
        except ValueError:
            return False

    def __repr__(self) -> str:
        return f"OpenAI({masked(self)})"
