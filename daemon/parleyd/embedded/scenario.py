"""Scenario files: the settings of the agent, and the faults of each connection.

A script is a list of steps; each waits for its trigger (an event on the connection, not a time of day) and then does
one thing. docs/scenarios.md has an example of every key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from yaml.nodes import MappingNode, Node, SequenceNode

from parleyd.config.nodes import NodeError, Values, compose
from parleyd.config.problem import ConfigError, Problem
from parleyd.core.text import one_line
from parleyd.embedded.settings import AgentSettings, Milliseconds, Seconds, Section
from parleyd.host.files import read_file

Trigger = Literal[
    "connect",
    "opening",
    "ready",
    "speech",
    "end_of_speech",
    "transcript",
    "response",
    "speaking",
    "spoken",
    "interruption",
    "message",
]


# A tone at half the rate is certainly not speech.
TONE = b"\x00\x10\x00\xf0"


class Step(Section, tag_field="do", frozen=True, kw_only=True):
    """on: the trigger; nth: the number of its occurrence; type: of the client's message, for `on: message`.

    after_audio_ms counts received audio, after_s counts seconds, both from the trigger.
    """

    on: Trigger
    nth: Annotated[int, Meta(ge=1)] = 1
    type: str | None = None
    after_s: Seconds = 0.0
    after_audio_ms: Milliseconds = 0


class Drop(Step, tag="drop", frozen=True, kw_only=True):
    """The TCP connection ends without a close frame."""


class Reset(Step, tag="reset", frozen=True, kw_only=True):
    """The TCP connection is reset."""


class Stall(Step, tag="stall", frozen=True, kw_only=True):
    """Neither reads nor sends for this time."""

    seconds: Seconds


class Close(Step, tag="close", frozen=True, kw_only=True):
    """Any close frame."""

    code: Annotated[int, Meta(ge=1000, le=4999)] = 1000
    reason: Annotated[str, Meta(max_length=123)] = ""


class Error(Step, tag="error", frozen=True, kw_only=True):
    """An error event in one of the three shapes seen in the wild; usually followed by a `close` step."""

    shape: Literal["event", "client", "flat"] = "event"
    error_type: str = "unknown"
    code: int = 1011
    message: str = ""


class Malformed(Step, tag="malformed", frozen=True, kw_only=True):
    """An invalid frame."""

    kind: Literal["bad_json", "not_object", "missing_type", "missing_fields", "wrong_types", "bad_base64", "binary"]


class Oversized(Step, tag="oversized", frozen=True, kw_only=True):
    """One audio event with so much sound that the frame exceeds 1 MiB."""

    mebibytes: Annotated[float, Meta(gt=0, le=15)] = 1.5

    @property
    def samples(self) -> int:
        """The number of 16-bit samples that make so long a message: four base64 characters for three bytes."""
        return int(self.mebibytes * 1024 * 1024 * 3 / 4 / 2)


class DuplicateMetadata(Step, tag="duplicate_metadata", frozen=True, kw_only=True):
    """Sends the metadata again."""


class StaleAudio(Step, tag="stale_audio", frozen=True, kw_only=True):
    """Late sound of a turn that was interrupted: its id is below the last interruption's (or the current turn's)."""

    below: Annotated[int, Meta(ge=0)] = 1
    duration_ms: Annotated[int, Meta(ge=10, le=60_000)] = 500


class UnknownEvent(Step, tag="unknown_event", frozen=True, kw_only=True):
    """An event of a type that nobody knows."""

    name: str = "rainbow"


class QueueStatus(Step, tag="queue_status", frozen=True, kw_only=True):
    """The concurrency queue."""

    status: Literal["waiting", "admitted", "timed_out"] = "waiting"


class Interrupt(Step, tag="interrupt", frozen=True, kw_only=True):
    """An interruption without a cause; id: `turn` is that of the current answer, `reply` that of the next one."""

    id: Literal["turn", "reply"] | int = "turn"


class ToolCall(Step, tag="tool_call", frozen=True, kw_only=True):
    """A call of a tool on the client's side; its result is only recorded."""

    name: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    expects_response: bool = True


class McpToolCall(Step, tag="mcp_tool_call", frozen=True, kw_only=True):
    """A call of an MCP tool that needs the client's approval, which is only recorded."""

    name: str
    service: str = "mcp_1"
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    approval_timeout_s: Annotated[int, Meta(ge=1)] = 300


class Say(Step, tag="say", frozen=True, kw_only=True):
    """The agent says something of its own accord."""

    text: str


class EndCall(Step, tag="end_call", frozen=True, kw_only=True):
    """The agent says something, then hangs up with 1000."""

    text: str = ""


class Send(Step, tag="send", frozen=True, kw_only=True):
    """Sends messages unchanged, whatever the client events are: a text as it is, all other values as JSON. times: the
    whole list is sent so often."""

    messages: tuple[Any, ...]
    every_s: Seconds = 0.0
    times: Annotated[int, Meta(ge=1, le=100_000)] = 1


# The steps that are messages of the protocol; the others are the same for both protocols.
ProtocolStep = (
    Error
    | Malformed
    | Oversized
    | DuplicateMetadata
    | StaleAudio
    | UnknownEvent
    | QueueStatus
    | Interrupt
    | ToolCall
    | McpToolCall
)
AnyStep = Drop | Reset | Stall | Close | Say | EndCall | Send | ProtocolStep


class HttpAnswer(Section, frozen=True, kw_only=True):
    """The answer to an HTTP request; status None: a correct answer."""

    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    body: str = ""
    delay_s: Seconds = 0.0


class Handshake(HttpAnswer, frozen=True, kw_only=True):
    """The answer to the WebSocket handshake. garbage: bytes instead of HTTP; drop: no answer."""

    garbage: str | None = None
    drop: bool = False


class Metadata(Section, frozen=True, kw_only=True):
    """The first message of a session. send false: the agent accepts the connection and then sends nothing."""

    send: bool = True
    delay_s: Seconds = 0.0


class Transcription(Section, frozen=True, kw_only=True):
    """When the client of the Realtime protocol is sent the transcript of an utterance.

    come: before the answer; never (`missing`); as an event `failed`; after the whole answer; after the transcript of
    the next utterance. The agent itself has understood the utterance in every case.
    """

    come: Literal["normal", "missing", "failed", "after_answer", "after_next"] = "normal"
    delay_s: Seconds = 0.0


class ResponseEnd(Section, frozen=True, kw_only=True):
    """How a response of the Realtime protocol ends. error_type, code, message: of a failed one; reason: of an
    incomplete one. after_audio_ms: the sound of it that is sent before."""

    status: Literal["completed", "failed", "incomplete"] = "completed"
    error_type: str = "invalid_request_error"
    code: str = "rate_limit_exceeded"
    message: str = "Rate limit reached. Please try again in 1.5s."
    reason: Literal["max_output_tokens", "content_filter"] = "content_filter"
    after_audio_ms: Milliseconds = 0


class ConnectionScript(Section, frozen=True, kw_only=True):
    """One connection. converse false: no answers of its own. transcripts: the recognised texts, in order.

    transcription, responses: for the Realtime protocol, one entry for each utterance and each response, in order.
    """

    handshake: Handshake = Handshake()
    metadata: Metadata = Metadata()
    converse: bool = True
    transcripts: tuple[str, ...] = ()
    transcription: tuple[Transcription, ...] = ()
    responses: tuple[ResponseEnd, ...] = ()
    steps: tuple[AnyStep, ...] = ()


class SpeechEnd(Section, frozen=True, kw_only=True):
    """The connection ends after this number of audio messages. error, message: sent before; drop: without a close
    frame."""

    after_chunks: Annotated[int, Meta(ge=0)] = 0
    code: Annotated[int, Meta(ge=1000, le=4999)] = 1008
    error: str = ""
    message: str = ""
    drop: bool = False


class SpeechScript(Section, frozen=True, kw_only=True):
    """One connection for text to speech. delay_s: before the first sound. final false: no final message."""

    handshake: Handshake = Handshake()
    delay_s: Seconds = 0.0
    end: SpeechEnd | None = None
    final: bool = True


class Scenario(Section, frozen=True, kw_only=True):
    """A whole file. After the last of `connections` comes `default`; without it the last one is repeated.

    speech: the scripts of the connections for text to speech, in order.
    """

    agent: AgentSettings = AgentSettings()
    signed_url: tuple[HttpAnswer, ...] = ()
    connections: tuple[ConnectionScript, ...] = ()
    default: ConnectionScript | None = None
    speech: tuple[SpeechScript, ...] = ()

    @property
    def longest_handshake_s(self) -> float:
        """The longest delay of a handshake or an HTTP answer in the scenario."""
        answers: list[HttpAnswer] = [*self.signed_url, *(script.handshake for script in self.speech)]
        answers += [script.handshake for script in (*self.connections, self.default or ConnectionScript())]
        return max(answer.delay_s for answer in answers)

    def script_for(self, index: int) -> ConnectionScript:
        """The script of a connection. index: from 0."""
        if index < len(self.connections):
            return self.connections[index]
        if self.default is not None or not self.connections:
            return self.default or ConnectionScript()
        return self.connections[-1]

    def signed_url_for(self, index: int) -> HttpAnswer:
        return self.signed_url[min(index, len(self.signed_url) - 1)] if self.signed_url else HttpAnswer()

    def speech_for(self, index: int) -> SpeechScript:
        """The script of a connection for text to speech; after the last one, connections have no faults."""
        return self.speech[index] if index < len(self.speech) else SpeechScript()


# ---------------------------------------------------------------- reading

MAX_BYTES = 1024 * 1024


def load(path: Path) -> Scenario:
    """Reads a scenario file. Raises ConfigError with the line of the problem, and OSError if it cannot be read."""
    return parse(read_file(path, MAX_BYTES, pipes=True), str(path))


def parse(content: bytes | str, name: str) -> Scenario:
    """Checks a scenario's text. name: of the file, for errors only. Raises ConfigError."""
    file = one_line(name)
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        node = compose(text)
        plain = {} if node is None else Values().read(node)
    except UnicodeDecodeError:
        raise ConfigError([Problem(file, None, None, "", "this is not UTF-8 text", "save it as UTF-8")]) from None
    except NodeError as error:
        raise ConfigError([Problem(file, error.line, error.column, "", str(error), error.hint)]) from None
    try:
        scenario = msgspec.convert(plain, Scenario)
    except msgspec.ValidationError as error:
        assert node is not None
        raise ConfigError([_problem(file, node, str(error))]) from None
    for index, rule in enumerate(scenario.agent.replies):
        try:
            re.compile(rule.heard)
        except re.error as error:
            assert node is not None
            message = f"not a regular expression: {error} - at `$.agent.replies[{index}].heard`"
            raise ConfigError([_problem(file, node, message)]) from None
    return scenario


_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")


def _problem(file: str, root: Node, message: str) -> Problem:
    found = _WHERE.match(message)
    assert found is not None
    what, path = found["what"], found["path"] or ""
    steps = re.findall(r"\.([^.\[]+)|\[(\d+)\]", path)
    unknown = _UNKNOWN.match(what)
    if unknown is not None:
        steps.append((unknown["name"], ""))
        what = "unknown key here"
    node = _place(root, [name or int(index) for name, index in steps])
    mark = node.start_mark
    key = f"{path}.{unknown['name']}".lstrip(".") if unknown is not None else path.lstrip(".")
    text = what[0].lower() + what[1:]
    return Problem(file, mark.line + 1, mark.column + 1, one_line(key), one_line(text), "see docs/scenarios.md")


def _place(node: Node, path: list[str | int]) -> Node:
    """The node at the end of the path, or the nearest existing one; for an unknown key, the key itself."""
    for position, part in enumerate(path):
        if isinstance(node, MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == part), None)
            if entry is None:
                return node
            node = entry[0] if position == len(path) - 1 else entry[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return node
    return node
