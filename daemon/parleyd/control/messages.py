"""The control socket's protocol, version 2: requests, answers, events. Pure. docs/control.md describes it.

One JSON object per line, UTF-8. A client sends requests, each answered in order by a line with the same `id`; after
`events` it also gets lines with `event`, at any time. Fields may be added to answers and events within a version.

The annotations are types and no text (`from __future__ import annotations`), which would be compiled at each start.
"""

import functools
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from parleyd.config.settings import LABEL
from parleyd.control.protocol import MAX_TEXT, PROTOCOL
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.plain import plain

# Version 1 is understood as long as version 2 is current: it called a hint a "mend", and answers carry both names.
_UNDERSTOOD = (1, PROTOCOL)
MAX_LINE_BYTES = 64 * 1024
# The longest text in an event: a megabyte from an agent must not get every client dropped for reading too slowly.
MAX_EVENT_TEXT = 32_000

Text = Annotated[str, Meta(pattern=r"\S", max_length=MAX_TEXT)]
Id = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=100)] | None


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """id: is repeated in the answer. protocol: the client's version; an unknown one is refused."""

    id: Id = None
    protocol: Literal[1, 2] = 2


class Status(Request, frozen=True, tag="status"):
    """Answer: the whole status, see parleyd.app.status. words: with the last sentences of the person and the agent."""

    words: bool = False


class Usage(Request, frozen=True, tag="usage"):
    """Answer: the use of sessions day by day, see parleyd.usage.statement. days: how many, today included."""

    days: Annotated[int, Meta(ge=1, le=62)] = 7


class Events(Request, frozen=True, tag="events"):
    """Answer: {}, then the event `snapshot` with the whole status, then all further events."""


class Wake(Request, frozen=True, tag="wake"):
    """Answer: {}. Opens a session as speech would, in quiet hours too; refused if a budget is spent, unless anyway."""

    anyway: bool = False


class Sleep(Request, frozen=True, tag="sleep"):
    """Answer: {}. Ends the session."""


class Mute(Request, frozen=True, tag="mute"):
    """Answer: {muted}, and a warning if that will not outlive a restart. The microphone counts as silent until
    `unmute`: docs/mute.md."""


class Unmute(Request, frozen=True, tag="unmute"):
    """Answer: {muted}, and a warning as for `mute`."""


class Volume(Request, frozen=True, tag="volume"):
    """Answer: {volume}. Sets the volume; without `to` and `by`, only tells it. by: is added to it, within 0 and 1."""

    to: Annotated[float, Meta(ge=0, le=1)] | None = None
    by: Annotated[float, Meta(ge=-1, le=1)] | None = None


class Profile(Request, frozen=True, tag="profile"):
    """Answer: {profile, chosen, profiles}. Chooses a profile; without a name, only tells; see parleyd.profiles."""

    name: Annotated[str, Meta(max_length=100)] | None = None


class Say(Request, frozen=True, tag="say"):
    """Answer: {}. Sends a text to the agent as if the person had said it; wakes if asleep; refused when a budget is
    spent."""

    text: Text


class Announce(Request, frozen=True, tag="announce"):
    """Answer: {announcement}: its number. Speaks a text without the agent; now: without waiting for a pause."""

    text: Text
    now: bool = False


class AnnounceSound(Request, frozen=True, tag="announce_sound"):
    """Answer: {announcement}, as with announce. Plays a WAV file in place of a text. The open file comes with the
    request (SCM_RIGHTS). name: what the events call it."""

    name: Annotated[str, Meta(pattern=r"\S", max_length=255)]
    now: bool = False


class Context(Request, frozen=True, tag="context"):
    """Answer: {}. Tells the agent something that it should know and not answer; refused while there is no session.

    context_id: a newer text with the same id replaces the older one.
    """

    text: Text
    context_id: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class SendFile(Request, frozen=True, tag="send_file"):
    """Answer: {upload}. The open file comes with the request (SCM_RIGHTS); the event `file_sent` or `file_failed` has
    the outcome. name: its ending tells the type. text: the person's words about it. Wakes if asleep."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    text: Text | None = None


class Look(Request, frozen=True, tag="look"):
    """Answer: {upload}, as with send_file. Takes a picture with the camera and sends it. text: the person's words about
    it. Wakes if asleep. Refused while the device is muted."""

    text: Text | None = None


class Activity(Request, frozen=True, tag="activity"):
    """Answer: {}. The person is using the device, so the agent should not speak yet. Refused without a session."""


class Feedback(Request, frozen=True, tag="feedback"):
    """Answer: {}. Rates the agent's last answer, or takes the rating back. Refused if there is no answer yet."""

    score: Literal["like", "dislike", "none"]


class Approve(Request, frozen=True, tag="approve"):
    """Answer: {approval, call_id, name}. Allows a call that waits for a person (events `confirmation_wanted` and, for
    MCP tools, `approval_wanted`). approval: the id from that event; without it, refused with the ids that wait."""

    approval: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class Deny(Approve, frozen=True, tag="deny"):
    """Answer: {approval, call_id, name}. Denies a call that waits for a person, see `approve`."""


class RunTool(Request, frozen=True, tag="run_tool"):
    """Answer: {result, fault}. Calls one of parleyd's own tools as the agent would; fault: null if done."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    parameters: dict[str, Any] = {}


class Reload(Request, frozen=True, tag="reload"):
    """Answer: {now, next_session, restart}: the keys that changed, by the time at which they take effect."""


class ShowConfig(Request, frozen=True, tag="config"):
    """Answer: {revision, values, probation, versions, label, changed_since, went_back, schema}: every key with its
    value, its origin, and whether a setting may change it. schema: with the JSON Schema of the configuration; else the
    field is null."""

    schema: bool = False


class PutConfig(Request, frozen=True, tag="put_config"):
    """Answer: {revision, now, next_session, restart, probation_s, confirm}. Changes settings, all of them or none.
    revision: the one that the change is based on; another one is refused. changes: values by the keys' dotted names;
    null takes a setting away. confirm: it goes back after probation_s unless `keep_config` confirms it. label: what the
    settings are called from now on, for the program that makes them."""

    changes: Annotated[dict[Annotated[str, Meta(max_length=200)], Any], Meta(min_length=1, max_length=200)]
    revision: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    confirm: bool = False
    label: Annotated[str, Meta(pattern=rf"^{LABEL}$(?!\s)")] | None = None


class KeepConfig(Request, frozen=True, tag="keep_config"):
    """Answer: {}. Confirms the settings that are on probation."""

    revision: Annotated[int, Meta(ge=0, le=2**53)]


class UndoConfig(Request, frozen=True, tag="undo_config"):
    """Answer: as for `put_config`. Brings the settings of an older revision back, by default those from before the last
    change, as a new revision."""

    revision: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    to: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class Transcript(Request, frozen=True, tag="transcript"):
    """Answer: {lines, after, more}: the next lines of the transcript's files, each a text with a JSON object; refused
    if none is written. since: leaves out older lines. after: the place at which the earlier answer ended."""

    since: Annotated[datetime, Meta(tz=True)] | None = None
    after: Annotated[str, Meta(max_length=100)] | None = None


class Stop(Request, frozen=True, tag="stop"):
    """Answer: {}. Ends the daemon; systemd may start it again."""


AnyRequest = (
    Status
    | Usage
    | Events
    | Wake
    | Sleep
    | Mute
    | Unmute
    | Volume
    | Profile
    | Say
    | Announce
    | AnnounceSound
    | Context
    | SendFile
    | Look
    | Activity
    | Feedback
    | Approve
    | Deny
    | RunTool
    | Reload
    | ShowConfig
    | PutConfig
    | KeepConfig
    | UndoConfig
    | Transcript
    | Stop
)

_encoder = msgspec.json.Encoder()


class RequestError(UserError):
    """A request cannot be carried out. kind: for programs; text and hint: for people."""

    def __init__(self, kind: str, text: str, hint: str | None = None, id_: Id = None) -> None:
        super().__init__(text, hint)
        self.kind = kind
        self.id = id_


def greeting(version: str) -> bytes:
    """Returns the first line of every connection."""
    return _line({"parleyd": version, "protocol": PROTOCOL})


@functools.cache
def _decoder() -> msgspec.json.Decoder[AnyRequest]:
    """Made for the first request: it takes as long as all else in this module, and the daemon is ready before."""
    return msgspec.json.Decoder(AnyRequest)


def request(line: bytes) -> AnyRequest:
    """Parses a line without its line feed. Raises RequestError of the kinds not_json, unknown_request, bad_request."""
    try:
        decoded: AnyRequest = _decoder().decode(line)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _refusal(line, error) from None
    return decoded


def _refusal(line: bytes, error: Exception) -> RequestError:
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return RequestError("not_json", "this line is not a JSON object in UTF-8", 'send lines like {"do": "status"}')
    id_: Id = None
    if isinstance(raw, dict):
        try:
            id_ = msgspec.convert(raw.get("id"), Id)
        except msgspec.ValidationError:
            id_ = None
        if raw.get("protocol", PROTOCOL) not in _UNDERSTOOD:
            return RequestError("protocol", f"this daemon speaks protocol {PROTOCOL}, and 1", "use its own client", id_)
        if raw.get("do") not in NAMES:
            hint = f"`do` is one of: {', '.join(NAMES)}"
            return RequestError("unknown_request", "there is no such request", hint, id_)
    return RequestError("bad_request", str(error), "see docs/control.md", id_)


NAMES = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyRequest))


def answer(id_: Id, result: object) -> bytes:
    return _line({"id": id_, "ok": True, "result": _with_old_name(plain(result))})


def refusal(error: RequestError) -> bytes:
    told = {"kind": error.kind, "text": str(error)} | ({"hint": error.hint} if error.hint else {})
    return _line({"id": error.id, "ok": False, "error": _with_old_name(told)})


def event(what: events.Event) -> bytes:
    """Returns a line. `event` is the event's name in lower case with underscores; its fields are as in core.events."""
    told: dict[str, Any] = plain(what)
    told = {name: value[:MAX_EVENT_TEXT] if isinstance(value, str) else value for name, value in told.items()}
    if "hint" in told:
        told["mend"] = told["hint"]
    return _line({"event": event_name(type(what))} | told)


def snapshot(status: object) -> bytes:
    return _line({"event": "snapshot", "status": _with_old_name(plain(status))})


def event_name(kind: type[events.Event]) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in kind.__name__).lstrip("_")


def _with_old_name(value: Any) -> Any:
    """Returns the value with a `mend` beside each `hint`. The parameters of a call stay as they are."""
    if isinstance(value, list):
        return [_with_old_name(one) for one in value]
    if not isinstance(value, dict):
        return value
    told = {name: one if name == "parameters" else _with_old_name(one) for name, one in value.items()}
    return told | {"mend": told["hint"]} if "hint" in told else told


def _line(told: dict[str, Any]) -> bytes:
    return _encoder.encode(told) + b"\n"
