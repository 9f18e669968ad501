"""The interface of every provider: an agent with its configuration, and the codec of each of its sessions.

A provider is an Agent (where to connect, what its endings mean, what it can do) and a Codec, which translates between
the provider's messages and the events and commands in common terms (events.py, commands.py). This module is independent
of all providers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from parleyd.agents.commands import Command, Prepared
from parleyd.agents.commands import ToolSpec as ToolSpec
from parleyd.agents.events import AgentError, AgentEvent
from parleyd.config.schema import Config
from parleyd.core.endings import Ending
from parleyd.core.errors import UserError
from parleyd.core.veiled import Veiled

if TYPE_CHECKING:
    from parleyd.core.findings import Finding

# ---------------------------------------------------------------- what a provider can do


class Interrupts(Enum):
    """The side that decides that the person interrupts the agent. SERVER: the provider, from the sound. CLIENT: this
    side, with the command Cut. NEVER: the agent speaks to its end."""

    SERVER = "server"
    CLIENT = "client"
    NEVER = "never"


# Stands for every media type in Capabilities.attachments.
ANY_MEDIA_TYPE = "*/*"


class Capabilities(Struct, frozen=True):
    """The abilities of a provider. The daemon does without those that are missing, or says that they are."""

    speaks_first: bool
    """The agent greets of its own accord. Otherwise the daemon asks for a greeting with the command SpeakNow."""
    interrupts: frozenset[Interrupts]
    """The wishes that the provider can fulfil."""
    text_interrupts: bool
    """The server breaks off its answer by itself when it gets the command Say, and tells so with Interrupted."""
    truncates: bool
    """The provider takes the command Cut, and keeps its own memory of the answer true to what was heard."""
    corrects_text: bool
    """The provider sends Corrected after an interruption."""
    transcribes: bool
    """The person's words are told with UserTranscript."""
    announces_speech: bool
    """PersonHeard, PersonPaused and SpeechTaken are sent; then speech is acknowledged by SpeechTaken alone."""
    context: Literal["replaceable", "appended", "none"]
    """The fate of the command Know: a key replaces the older text, or each text stays, or it has no effect."""
    history: Literal["items", "prose", "none"]
    """How a new session takes in what was said before. A codec with `prose` uses agents.history.prose()."""
    attachments: Mapping[str, int]
    """The media types that Say may carry, each with the most bytes. ANY_MEDIA_TYPE stands for all. Empty: none."""
    approvals: bool
    """The agent asks with ApprovalAsked."""
    feedback: bool
    """The command Rate has an effect."""
    activity: bool
    """The command Busy has an effect."""
    tools: Literal["session", "platform"]
    """Where the tools of this device are declared: in each session by its wish, or once on the provider's platform."""
    text_only: bool
    """Sessions in writing alone can be had."""
    bills: frozenset[Literal["minutes", "tokens"]]
    """How sessions are paid for; empty: they cost nothing."""
    manual_turns: bool = False
    """The server does not detect the end of a turn, as it is configured; the command EndOfTurn tells it."""
    keep_alive_s: float | None = None
    """The server ends a session in which nothing was sent for longer than this; the command KeepAlive prevents it."""


# ---------------------------------------------------------------- what a session is to be


class Said(Struct, frozen=True):
    """One line of the conversation so far, as it was really heard.

    ago_s: how long ago it was said. is_cut: the rest of it was not heard; the text is the part that was.
    """

    who: Literal["person", "agent"]
    text: str
    ago_s: float
    is_cut: bool = False


class SessionWish(Veiled, frozen=True):
    """The daemon's wishes for one session. A provider fulfils what it can, by its capabilities.

    greet: the agent may speak first. False: it is asked not to, if it would.
    text_only: the agent is asked for writing instead of sound.
    interrupts: the side that decides on interruptions.
    manual_turns: this side tells the end of each turn with EndOfTurn, also where the provider's settings do not ask for
    it.
    tools: for agents whose capability is `tools: session`.
    history: oldest first, only what was heard. With a resume handle the server knows it already.
    resume: the handle of the last Resumable, if this session continues that conversation.
    """

    hidden = ("resume",)

    greet: bool = True
    text_only: bool = False
    interrupts: Interrupts = Interrupts.SERVER
    manual_turns: bool = False
    tools: Sequence[ToolSpec] = ()
    history: Sequence[Said] = ()
    resume: str | None = None


# ---------------------------------------------------------------- a session


class Received(Struct, frozen=True):
    """The meaning of one message: events in order, and messages to be sent back at once, before the events are acted
    upon (pongs, and commands that were deferred until now)."""

    events: Sequence[AgentEvent] = ()
    replies: Sequence[bytes] = ()


class Codec(Protocol):
    """The messages of one session: a pure state machine without thread, lock, socket and clock.

    All calls come one at a time, under the session's lock, from several threads. now_s: monotonic. Messages are whole
    WebSocket text messages, UTF-8. The messages of one call are sent in their order, with no other message between.

    """

    @property
    def malformed(self) -> int:
        """The number of messages that could not be read."""

    @property
    def unknown(self) -> int:
        """The number of messages of unknown types."""

    @property
    def refused_calls(self) -> int:
        """The number of calls of tools that were answered with an error because of their form."""

    def opening(self) -> Sequence[bytes]:
        """The first messages of the session, sent as soon as the connection is open; perhaps none."""

    def receive(self, message: str | bytes, now_s: float) -> Received:
        """The meaning of a message. Never raises, whatever the message is."""

    def audio(self, data: bytes) -> bytes:
        """The message with sound of the room, in the session's input format. Only after Ready.

        The codec counts the sound for the positions in its events.
        """

    def send(self, command: Command, now_s: float) -> Sequence[bytes]:
        """The messages for a command; empty if the provider knows no such thing, or if they are deferred: then they are
        among the replies of a later receive(). Only after Ready."""


# ---------------------------------------------------------------- a provider


class Attachment(Veiled, frozen=True):
    """A file for the agent. media_type: such as image/png. read(n): up to n more bytes; its errors are passed on."""

    hidden = ("read",)

    name: str
    media_type: str
    size_bytes: int
    read: Callable[[int], bytes]


class UploadError(UserError):
    """The file did not reach the agent. hint: what to do about it."""

    hint: str


class Address(Veiled, frozen=True):
    """Where to connect. The URL and the headers may contain secrets: repr does not show them."""

    hidden = ("url", "headers")

    url: str
    headers: tuple[str, ...] = ()  # "Name: value"


class Server(Struct, frozen=True):
    """The provider's server, for the network checks and for hints.

    key: the configuration key that names it, such as elevenlabs.base_url; None: nobody has configured it, as with the
    embedded agent.
    """

    host: str
    port: int
    is_tls: bool
    key: str | None

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


class Check(Struct, frozen=True):
    """One examination by the doctor, of what only the provider knows. name: as the doctor shows it.

    probe(): blocks, within deadline_s; yields at least one finding, without secrets.
    """

    name: str
    probe: Callable[[], Iterable[Finding]]
    deadline_s: float = 10.0


class Agent(Protocol):
    """A provider with its configuration and its secrets. Thread-safe.

    name: as in the configuration's `provider`.
    """

    name: str

    @property
    def capabilities(self) -> Capabilities: ...

    def load(self) -> None:
        """Imports what a session needs and the start of the daemon does not. Before dial() and reach(). Raises OSError
        and ImportError, as where there is no file handle."""

    def dial(self, timeout_s: float) -> Address:
        """The address for a new connection; may ask a server for it (blocking). Raises DialError."""

    def reach(self, timeout_s: float) -> None:
        """Finds out whether a session could be opened, as far as that shows without one, which would cost something.
        Blocks for up to about twice timeout_s. Raises DialError: why not."""

    def session(self, wish: SessionWish) -> Codec:
        """A codec for a new session. After dial(); may block for a few seconds for the values of variables, and so is
        called without locks."""

    def prepare(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> Prepared:
        """Makes a file ready for the command Say; blocks. Only for media types in Capabilities.attachments.

        conversation_id: of the session that is open (Ready). timeout_s: for connecting, for each piece, and for the
        answer, where the file is uploaded. Raises UploadError, and the errors of attachment.read.
        """

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        """Judges the end of a session. code: the close code; None if the connection was lost without one. error: the
        last error event, if it is recent."""

    def judge_silence(self, waited_s: float) -> Ending:
        """Judges a session that the server does not begin although the connection is open."""

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        """Judges an HTTP error in place of the WebSocket handshake."""

    def server(self) -> Server:
        """The server to which dial() leads. Raises DialError if its address is not usable."""

    def checks(self, config: Config) -> Sequence[Check]:
        """The doctor's examinations beside the network and a session: the key, the settings on the platform, the model.
        config: the whole configuration, for settings elsewhere that cannot work with the agent's."""
