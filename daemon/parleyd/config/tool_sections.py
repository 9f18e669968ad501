"""The keys under `tools:`. schema.py explains the conventions, docs/tools.md explains tools."""

# ruff: noqa: RUF012 (msgspec copies mutable defaults)
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from parleyd.config.base import RunAs, Secret, Section, Text
from parleyd.config.secrets import masked

BuiltIn = Literal[
    "get_time",
    "set_volume",
    "mute",
    "end_conversation",
    "set_timer",
    "list_timers",
    "cancel_timer",
    "device_status",
    "look",
]
# The longest timeout of a tool: the agent's own limit is 120 s, and the daemon has to answer before that.
MAX_TIMEOUT_S = 115.0
# No program starts, and no server answers, in a shorter time on every board: the tool would always fail.
MIN_TIMEOUT_S = 0.1
# A person has to hear the question, and to press a button or to type.
MIN_ANSWER_S = 5.0

# The environment of a program that is a tool.
Environment = Annotated[
    dict[str, str],
    Meta(description="additional environment variables; otherwise it gets only PATH, HOME, LANG and TZ"),
]
SecretEnvironment = Annotated[dict[str, Secret], Meta(description="environment variables with secrets")]
# The time to make a picture ready for the agent, beside camera.timeout_s.
SEND_S = 10.0


class Tool(Section, frozen=True, kw_only=True):
    """The keys of every tool."""

    description: Annotated[Text, Meta(description="tells the agent the purpose of the tool, and when to use it")]
    parameters: Annotated[
        dict[str, object],
        Meta(description="JSON Schema (draft 2020-12) of its parameters; none: the tool has no parameters"),
    ] = {}
    timeout_s: Annotated[
        float,
        Meta(
            ge=MIN_TIMEOUT_S,
            le=MAX_TIMEOUT_S,
            description="from the call; then the tool is stopped, and the agent is told",
        ),
    ] = 10.0
    at_once: Annotated[int, Meta(ge=1, le=16, description="number of its calls that may run at the same time")] = 1
    cancel_on_speech: Annotated[bool, Meta(description="whether the tool is stopped when somebody begins to speak")] = (
        False
    )
    confirm: Annotated[
        bool, Meta(description="each call waits until a person allows it, by the button or by `parleyd approve`")
    ] = False


class CommandTool(Tool, frozen=True, kw_only=True):
    """A program on this device. No shell; every `{placeholder}` stays within its one argument."""

    run: Annotated[
        list[Text],
        Meta(description="the program and its arguments: {name} is a parameter, {names...} an argument per item"),
    ]
    may_be_option: Annotated[
        list[Text], Meta(description="parameters whose value may begin an argument with a dash")
    ] = []
    directory: Annotated[Text, Meta(description="its working directory")] = "/"
    stdin: Annotated[
        Literal["nothing", "parameters"],
        Meta(description="its standard input; parameters: all parameters as a JSON object"),
    ] = "nothing"
    environment: Environment = {}
    secrets: SecretEnvironment = {}
    run_as: RunAs = "apart"

    def __repr__(self) -> str:
        return f"CommandTool({masked(self)})"


FieldPath = Annotated[str, Meta(pattern=r"^[^.\s]+(\.[^.\s]+)*$(?!\s)")]


class HttpTool(Tool, frozen=True, kw_only=True):
    """A request to one host. Values are escaped; redirects are followed on that host only."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE"], Meta(description="the method of the request")
    ] = "GET"
    url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s/?#@{}]+([/?][^\s#]*)?$(?!\s)",
            extra={"expected": "a URL such as https://example.org/{place}?days={days}, the host without placeholders"},
            description="with {name} for parameters, behind the host only",
        ),
    ]
    headers: Annotated[dict[str, str], Meta(description="{secret:NAME} stands for one of the secrets")] = {}
    secrets: Annotated[dict[str, Secret], Meta(description="secrets for the headers, by name")] = {}
    body: Annotated[
        dict[str, object] | None,
        Meta(description="JSON to send; none: the parameters with POST, PUT and PATCH, and nothing otherwise"),
    ] = None
    allowed_status: Annotated[list[Annotated[int, Meta(ge=200, le=599)]], Meta(description="any other is an error")] = (
        msgspec.field(default_factory=lambda: [200, 201, 202, 204])
    )
    result: Annotated[
        FieldPath | None,
        Meta(
            extra={"expected": "names with dots between them, such as response.speech.plain.speech"},
            description="the field of the JSON answer that is the result, such as response.speech.plain.speech; a "
            "number is a place in a list, from 0; null: the whole answer",
        ),
    ] = None
    remember: Annotated[
        dict[str, FieldPath],
        Meta(description="fields of the answer that {name} in the body of the next request stands for"),
    ] = {}
    remember_s: Annotated[float, Meta(ge=1, le=86_400, description="for how long they are remembered")] = 300.0

    def __repr__(self) -> str:
        return f"HttpTool({masked(self)})"


class PythonTool(Tool, frozen=True, kw_only=True):
    """A function of an installed package, found by its entry point of the group `parleyd.tools`."""

    entry_point: Annotated[Text | None, Meta(description="the name of the entry point; null: the tool's own name")] = (
        None
    )
    environment: Environment = {}
    secrets: SecretEnvironment = {}
    run_as: RunAs = "apart"

    def __repr__(self) -> str:
        return f"PythonTool({masked(self)})"


class McpRule(Section, frozen=True, kw_only=True):
    """Globs (* and ?) on the names; the first rule that fits decides."""

    tool: Annotated[Text, Meta(description="name of the tool")] = "*"
    service: Annotated[Text, Meta(description="id of the MCP service")] = "*"
    decision: Annotated[Literal["allow", "deny", "ask"], Meta(description="ask: see tools.mcp.ask_s")]


class Mcp(Section, frozen=True, kw_only=True):
    """Calls of MCP tools that the agent wants approved by this device."""

    rules: Annotated[list[McpRule], Meta(description="the rules; the first match decides")] = []
    otherwise: Annotated[Literal["deny", "ask"], Meta(description="the decision if no rule matches")] = "deny"
    ask_s: Annotated[
        float, Meta(ge=MIN_ANSWER_S, le=295, description="ask: without `parleyd approve` within this time it is denied")
    ] = 30.0


class Tools(Section, frozen=True, kw_only=True):
    """The tools that the agent may use on this device: docs/tools.md."""

    built_in: Annotated[
        list[BuiltIn],
        Meta(description="the built-in tools that the agent may use; look exists only with camera.command"),
    ] = msgspec.field(
        default_factory=lambda: [
            "get_time",
            "set_volume",
            "end_conversation",
            "set_timer",
            "list_timers",
            "cancel_timer",
            "device_status",
            "look",
        ]
    )
    confirm_built_in: Annotated[
        list[BuiltIn], Meta(description="those of built_in of which each call waits until a person allows it")
    ] = []
    confirm_s: Annotated[
        float, Meta(ge=5, le=100, description="confirm: without an answer within this time the call is denied")
    ] = 20.0
    confirm_text: Annotated[
        Text | None,
        Meta(
            description="confirm: what the voice of announcements says, where there is one; {tool} is the tool's name; "
            "null: nothing"
        ),
    ] = "The agent asks for your permission to use: {tool}."
    at_once: Annotated[
        int, Meta(ge=1, le=16, description="number of calls of all tools that may run at the same time")
    ] = 4
    per_minute: Annotated[
        # Ten a second are more than any conversation needs; beyond that an agent that repeats itself floods the device.
        int, Meta(ge=1, le=600, description="so often the agent may call each of the tools within a minute")
    ] = 30
    per_session: Annotated[
        int, Meta(ge=1, le=100_000, description="so often the agent may call each of the tools in one session")
    ] = 200
    result_chars: Annotated[
        int, Meta(ge=100, le=50_000, description="characters of the longest result; longer ones are cut")
    ] = 4000
    audit_kib: Annotated[
        int,
        Meta(
            ge=16, le=65_536, description="KiB of the audit log after which a new file is begun; 3 old files are kept"
        ),
    ] = 512
    apart: Annotated[
        Literal["auto", "required"],
        Meta(description="required: where tools and hooks cannot be kept apart from the daemon, they are not run"),
    ] = "auto"
    timer_text: Annotated[
        Text | None,
        Meta(
            description="what the voice of announcements says when a timer goes off; {label} is what it is for; no "
            "session is opened then. null, or without such a voice: the agent is woken to say it"
        ),
    ] = "{label} is ready."
    timer_listens: Annotated[
        bool,
        Meta(description="in a session that a timer opens the room is heard at once; false: once the agent is woken"),
    ] = False
    command: Annotated[dict[str, CommandTool], Meta(description="tools that run a program, by name")] = {}
    http: Annotated[dict[str, HttpTool], Meta(description="tools that send a request, by name")] = {}
    python: Annotated[dict[str, PythonTool], Meta(description="tools from installed packages, by name")] = {}
    mcp: Mcp = Mcp()
