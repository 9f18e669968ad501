"""The events of agents, in common terms: a codec makes them of a provider's messages. Pure.

**Answers and utterances have ids**, texts that the provider chose or that its codec invented. An id is meaningful
within one session only. Everything that belongs to one answer of the agent carries the same id, and no other answer of
the session has it; the same holds for the utterances of the person. The daemon numbers answers itself, and shows the
ids to nobody.

**Times** of events are not part of them: the codec is told the time at which a message came. **Positions** (`from_ms`,
`until_ms`) are milliseconds of the sound that this session has been sent through Codec.audio(), counted from its first
byte.

**Order.** Ready is the first event of a session that succeeds. AnswerBegins precedes everything else of its answer.
After AnswerEnds, AnswerFailed or Interrupted no sound of that answer comes, but its text may still come or be
corrected: a late text is recorded as far as it was heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec
from msgspec import Struct

from parleyd.audio.pcm import AudioFormat
from parleyd.core.veiled import Veiled

# The longest text that is kept. Half an hour of speech has a quarter of it, but a message may be a hundred times as
# long.
MAX_TEXT_CHARS = 100_000

# ---------------------------------------------------------------- the session


class Ready(Struct, frozen=True):
    """The session may begin: the formats are known.

    input_format: how the person's sound is to be encoded. output_format: how the agent's sound is encoded.
    ends_in_s: the server will end the session after this time, whatever happens; None: nothing is known about it. The
    daemon exchanges the session for a new one in a pause before that.
    """

    conversation_id: str
    input_format: AudioFormat
    output_format: AudioFormat
    ends_in_s: float | None = None


class EndsSoon(Struct, frozen=True):
    """The server announces that it will end the session in in_s seconds."""

    in_s: float


class Resumable(Veiled, frozen=True):
    """handle: a later session that has it in its wish continues this conversation with all that the server knows.

    None: the handles so far are void. From a provider that sends it, a wish may have the handle.
    """

    hidden = ("handle",)

    handle: str | None


class NotTaken(Struct, frozen=True):
    """The server goes on without something that it was asked for. key: of the configuration. wanted, got: one line, as
    a person may read it."""

    key: str
    wanted: str
    got: str


# ---------------------------------------------------------------- the agent


class AnswerBegins(Struct, frozen=True):
    """The agent begins an answer. is_greeting: it is the agent's first message, and no answer to anything.

    A codec that has to guess where one answer ends and the next begins repeats the event for the same id: with another
    is_greeting when it knows better, and after a pause in which somebody may have asked something new. Then it counts
    as another answer if the person has spoken in the meantime.
    """

    answer: str
    is_greeting: bool = False


class AgentAudio(Veiled, frozen=True):
    """A piece of the agent's voice, in the session's output format. It may end in the middle of a sample."""

    hidden = ("data",)

    answer: str
    data: bytes


class AnswerText(Struct, frozen=True):
    """The agent's words. final: the whole text of the answer; otherwise a further piece of it, to be put behind the
    pieces so far (an empty piece only says that pieces will come).

    The whole text may come before, during or after the sound. If it comes a second time for an answer, it is added to
    the first: some servers give an answer in several texts. can_be_rated: the command Rate has an effect for this
    answer.
    """

    answer: str
    text: str
    final: bool
    can_be_rated: bool = False


class AnswerTextEnds(Struct, frozen=True):
    """No further piece of this answer's text will come. Only after pieces; the whole text may come before or later."""

    answer: str


class Why(Enum):
    """How an answer ended. INCOMPLETE: the server cut it short; what came of it is to be heard, and the person is told.
    CANCELLED: the command Cut, or the person's speech, ended it."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"


class AnswerEnds(Struct, frozen=True):
    """No more sound of this answer will come. The sound that came already is still to be heard.

    reason, hint: of an incomplete one, one line without secrets, and what to do about it."""

    answer: str
    why: Why = Why.COMPLETE
    reason: str = ""
    hint: str | None = None


class AnswerFailed(Struct, frozen=True):
    """The agent could not answer; the session goes on. The person is told.

    answer: the id, if the answer had one. reason: one line without secrets. hint: what to do about it.
    retry_after_s: after this time the daemon asks the agent for the answer again, with the command SpeakNow; None:
    another try would fail in the same way. without_credit: because the account has none left.
    """

    answer: str | None
    reason: str
    hint: str | None = None
    retry_after_s: float | None = None
    without_credit: bool = False


class Interrupted(Struct, frozen=True):
    """The server has noticed that the person interrupts the agent. All sound that came so far is void.

    answer: the answer that was interrupted; None if the server does not tell. The daemon falls silent, and sends the
    command Cut with what was heard.
    """

    answer: str | None = None


class Corrected(Struct, frozen=True):
    """The server's own account of an interrupted answer: the words of it that were really said."""

    answer: str
    text: str


class AgentHangsUp(Struct, frozen=True):
    """The agent has decided to end the conversation; the close follows."""


# ---------------------------------------------------------------- the person


class PersonHeard(Struct, frozen=True):
    """The server's own speech detection hears the person, from this position in the sound sent."""

    from_ms: int


class PersonPaused(Struct, frozen=True):
    """The server's own speech detection hears the end of the person's speech, at this position in the sound sent."""

    until_ms: int


class SpeechTaken(Struct, frozen=True):
    """The server has taken all speech up to this position into the conversation: none of it has to be sent again.

    Only from providers whose capabilities say `announces_speech`. With them it is the only acknowledgement: transcripts
    come late, and would acknowledge speech that the server has not taken yet.
    """

    until_ms: int


class WordsExpected(Struct, frozen=True):
    """An utterance has its place in the conversation here, and its words come with UserTranscript or NotTranscribed:
    perhaps only after the answer, perhaps after those of a later utterance, perhaps never. At most once for each
    utterance, and before its words; an utterance whose words come without it has its place where they come."""

    utterance: str


class UserTranscript(Struct, frozen=True):
    """The person's words, as the agent understood them. final: they will not change any more.

    utterance: the same for all transcripts of one utterance, of which one is final, the last. is_understood: the text
    shows that the agent made words of the sound; False for texts that recognisers write for noise.
    """

    utterance: str
    text: str
    final: bool
    is_understood: bool = True


class NotTranscribed(Struct, frozen=True):
    """The utterance was taken, but no transcript is to be expected. reason: one line. A server that tries again may
    send a final transcript after it all the same."""

    utterance: str
    reason: str


# ---------------------------------------------------------------- tools


class ToolCall(Struct, frozen=True):
    """The agent calls a tool of this device. The command ToolDone gives the result, if expects_response."""

    name: str
    call_id: str
    parameters: Mapping[str, object]
    expects_response: bool = True


class ToolsCancelled(Struct, frozen=True):
    """Nobody waits for these calls any more: the calls that still run are stopped, and no result is sent."""

    call_ids: tuple[str, ...]


class ApprovalAsked(Struct, frozen=True):
    """The agent wants to use a tool elsewhere (MCP), and asks this side for permission: the command Approve.

    timeout_s: how long it waits; None: without end, and the patience of the configuration decides alone.
    """

    call_id: str
    service: str
    name: str
    description: str
    parameters: Mapping[str, object]
    timeout_s: float | None = None


# ---------------------------------------------------------------- costs


class Token(Enum):
    """The kinds of tokens that have prices of their own. No token is counted twice: the cached tokens are not part of
    the other input, and reasoning is part of the text output."""

    TEXT_IN = "text_in"
    AUDIO_IN = "audio_in"
    IMAGE_IN = "image_in"
    CACHED_TEXT_IN = "cached_text_in"
    CACHED_AUDIO_IN = "cached_audio_in"
    CACHED_IMAGE_IN = "cached_image_in"
    TEXT_OUT = "text_out"
    AUDIO_OUT = "audio_out"


class Spent(Struct, frozen=True):
    """The server has billed this since the last such event.

    model: the model that was used, as the price list names it. tokens: by kind; empty where the server counts none.
    seconds: of sound, where that is billed, such as for a transcription. The length of the session itself is measured
    by the daemon, and is not part of it.
    """

    model: str
    tokens: Mapping[Token, int] = msgspec.field(default_factory=dict)
    seconds: float = 0.0


# ---------------------------------------------------------------- the rest


class AgentError(Struct, frozen=True):
    """The server reports an error that may end the session: a close that follows soon is judged with it.

    An error that harms nothing (a command that came too late, a truncation of something that was over) is a Notice, for
    it must not explain a later close. message: in words, which may hold secrets. kind: the provider's machine-readable
    name. hopeless: the session cannot go on, whether or not the server closes it.
    """

    message: str
    kind: str | None = None
    code: int | None = None
    hopeless: bool = False


class Notice(Struct, frozen=True):
    """Any other message of the protocol, for logs and watchers: its type and its fields."""

    type: str
    fields: Mapping[str, object]


class Unknown(Struct, frozen=True):
    """A message of an unknown type; ignored, but counted."""

    type: str


class Malformed(Struct, frozen=True):
    """A message that could not be read; ignored, but counted. why: one line without the content."""

    why: str


AgentEvent = (
    Ready
    | EndsSoon
    | Resumable
    | NotTaken
    | AnswerBegins
    | AgentAudio
    | AnswerText
    | AnswerTextEnds
    | AnswerEnds
    | AnswerFailed
    | Interrupted
    | Corrected
    | AgentHangsUp
    | PersonHeard
    | PersonPaused
    | SpeechTaken
    | WordsExpected
    | UserTranscript
    | NotTranscribed
    | ToolCall
    | ToolsCancelled
    | ApprovalAsked
    | Spent
    | AgentError
    | Notice
    | Unknown
    | Malformed
)


def within_bounds(event: AgentEvent) -> AgentEvent:
    """The event, with texts of at most MAX_TEXT_CHARS: they wait in queues and stay in histories."""
    match event:
        case UserTranscript(text=text) | AnswerText(text=text) | Corrected(text=text):
            return event if len(text) <= MAX_TEXT_CHARS else msgspec.structs.replace(event, text=text[:MAX_TEXT_CHARS])
        case _:
            return event
