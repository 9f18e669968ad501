"""Carries out the requests of the control socket: the only module that knows both the protocol and the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never

from parleyd.agents.provider import UploadError
from parleyd.announce.announcer import AnnouncementRefusedError
from parleyd.announce.sound_file import SoundFileError
from parleyd.app.service import Service
from parleyd.app.settings import SettingsError, SettingsKeeper
from parleyd.audio.mixer import MixerError
from parleyd.config.changes import Changes
from parleyd.control import messages
from parleyd.control.messages import AnyRequest, RequestError
from parleyd.control.roles import Caller
from parleyd.core.text import name_text
from parleyd.profiles.profiles import ApplyError, Profiles, UnknownProfileError
from parleyd.tools.asking import Answerer
from parleyd.tools.built_in import BUILT_IN
from parleyd.usage.allowance import Refusal

if TYPE_CHECKING:
    from parleyd.transcript.reading import Page

# The time limit for one of parleyd's own tools. The first call of a daemon loads the checker of parameters, which takes
# seconds on a small board or a busy machine. A client takes a daemon for stuck after 10 s (client.ANSWER_S).
TOOL_S = 9.0
_NO_SESSION = ("no_session", "there is no session to tell it", "wake it first: parleyd wake")
_NO_ANSWER = ("no_session", "the agent has answered nothing yet in this session, or there is none", "ask it first")


class Commands:
    """Called with a request; returns the result or raises RequestError.

    reload: reads the configuration again; raises RequestError. stop: ends the daemon soon after it returns.
    """

    def __init__(
        self,
        service: Service,
        reload: Callable[[], Changes],
        stop: Callable[[], None],
        profiles: Profiles,
        settings: SettingsKeeper,
    ) -> None:
        self._service = service
        self._settings = settings
        self._profiles = profiles
        self._reload = reload
        self._stop = stop

    def __call__(self, request: AnyRequest, descriptor: int | None, caller: Caller) -> object:
        """descriptor: the open file that came with the request; the callee closes it. caller: has the role for it."""
        service = self._service
        match request:
            case messages.Status(words=words):
                return service.status(words=words)
            case messages.Usage(days=days):
                return service.usage_by_day(days)
            case messages.Wake(anyway=anyway):
                _allowed(service.wake(anyway=anyway))
            case messages.Sleep():
                service.sleep()
            case messages.Mute() | messages.Unmute():
                self._need_sound()
                on = isinstance(request, messages.Mute)
                warning = service.mute(on)
                return {"muted": on} | ({"warning": warning} if warning else {})
            case messages.Volume():
                return {"volume": self._volume(request)}
            case messages.Profile(name=name):
                return self._profile(name)
            case messages.Say(text=text):
                _allowed(service.say(text))
            case messages.Announce(text=text, now=now):
                return {"announcement": self._announce(text, now)}
            case messages.AnnounceSound(name=name, now=now):
                return {"announcement": self._announce_sound(descriptor, name, now, caller.uid)}
            case messages.Context(text=text, context_id=context_id):
                _in_session(service.context(text, context_id))
            case messages.SendFile(name=name, text=text):
                return {"upload": self._send_file(descriptor, name, text, caller.uid)}
            case messages.Look(text=text):
                return {"upload": self._look(text)}
            case messages.Activity():
                _in_session(service.user_active())
            case messages.Feedback(score=score):
                _in_session(service.feedback(None if score == "none" else score), _NO_ANSWER)
            case messages.Approve() | messages.Deny():
                return self._approve(request.approval, caller, allow=not isinstance(request, messages.Deny))
            case messages.RunTool(name=name, parameters=parameters):
                return self._run_tool(name, parameters)
            case messages.Reload():
                return self._reload()
            case messages.ShowConfig(schema=schema):
                return self._settings.listing(schema=schema)
            case messages.PutConfig() | messages.KeepConfig() | messages.UndoConfig():
                return self._change_settings(request)
            case messages.Transcript(since=since, after=after):
                return self._transcript(since, after)
            case messages.Stop():
                self._stop()
            case messages.Events():
                # The server itself answers these.
                pass
            case _:
                assert_never(request)
        return {}

    def _send_file(self, descriptor: int | None, name: str, text: str | None, uid: int) -> int:
        try:
            return self._service.send_file(_came(descriptor), name, text, uid)
        except UploadError as error:
            raise RequestError("bad_file", str(error), error.hint) from error

    def _look(self, text: str | None) -> int:
        try:
            return self._service.look(text)
        except UploadError as error:
            raise RequestError("no_picture", str(error), error.hint) from error

    def _need_sound(self) -> None:
        if not self._service.has_sound:
            raise RequestError("no_sound", "this daemon has no sound", "set audio.mode: on, and restart it")

    def _announce(self, text: str, now: bool) -> int:
        try:
            return self._service.announce(text, now=now)
        except AnnouncementRefusedError as error:
            raise RequestError(error.kind, str(error), error.hint) from error

    def _announce_sound(self, descriptor: int | None, name: str, now: bool, uid: int) -> int:
        try:
            return self._service.announce_sound(_came(descriptor), name, now=now, uid=uid)
        except SoundFileError as error:
            raise RequestError("bad_file", str(error), error.hint) from error
        except AnnouncementRefusedError as error:
            raise RequestError(error.kind, str(error), error.hint) from error

    def _volume(self, request: messages.Volume) -> float:
        self._need_sound()
        service, wanted = self._service, request.to
        try:
            if wanted is None:
                service.look_at_volume()
                wanted = service.volume
            if request.by is not None:
                wanted = round(min(1.0, max(0.0, wanted + request.by)), 3)
            if request.to is not None or request.by is not None:
                service.set_volume(wanted)
        except MixerError as error:
            raise RequestError("unavailable", str(error), error.hint) from error
        return wanted

    def _profile(self, name: str | None) -> dict[str, object]:
        profiles = self._profiles
        if name is not None:
            try:
                profiles.choose(name)
            except UnknownProfileError as error:
                raise RequestError("unknown_profile", str(error), error.hint) from error
            except ApplyError as error:
                raise RequestError("unavailable", str(error), error.hint) from error
        return {"profile": profiles.current, "chosen": profiles.chosen, "profiles": profiles.names}

    def _change_settings(self, request: messages.PutConfig | messages.KeepConfig | messages.UndoConfig) -> object:
        try:
            match request:
                case messages.PutConfig(revision=revision, changes=changes, confirm=confirm, label=label):
                    return self._settings.put(revision, changes, confirm=confirm, label=label)
                case messages.KeepConfig(revision=revision):
                    self._settings.keep(revision)
                    return {}
                case messages.UndoConfig(revision=revision, to=to):
                    return self._settings.undo(revision, to)
        except SettingsError as error:
            raise RequestError(error.kind, str(error), error.hint) from error

    def _transcript(self, since: datetime | None, after: str | None) -> Page:
        # Imported here, because the daemon is ready without it, and most have no transcript.
        from parleyd.transcript.reading import next_page

        directory = self._service.transcript_directory
        if directory is None:
            hint = "set transcript.enabled to true in the configuration, and restart the daemon"
            raise RequestError("no_transcript", "the transcript is switched off", hint)
        try:
            return next_page(directory, since, after)
        except ValueError as error:
            raise RequestError("bad_request", str(error), "see docs/control.md") from error
        except OSError as error:
            text = f"the transcript cannot be read: {error.strerror}"
            raise RequestError("unavailable", text, f"see {directory}") from error

    def _approve(self, approval: str | None, caller: Caller, *, allow: bool) -> dict[str, str]:
        tools = self._service.tools
        waiting = [(one.approval, one.name) for one in tools.waiting_approvals]
        waiting += [(one.approval, one.name) for one in tools.waiting_confirmations]
        if approval is None and waiting:
            # The names of MCP tools are the agent's; one must not look like a further entry of this list.
            listed = ", ".join(f"{id_} ({name_text(name)})" for id_, name in waiting)
            hint = "look at what it would do (parleyd status), then name its id: parleyd approve ID, or deny"
            raise RequestError("no_id", f"an answer names the call that it is about; there wait: {listed}", hint)
        who = Answerer(caller.uid, caller.pid, caller.by)
        settled = None if approval is None else tools.approve(approval, allow=allow, who=who)
        if settled is None:
            hint = "the question may have run out: tools.confirm_s, or tools.mcp.ask_s"
            text = "no call waits for a person" if approval is None else "no call waits for this approval"
            raise RequestError("nothing_waits", text, hint)
        return {"approval": settled.approval, "call_id": settled.call_id, "name": settled.name}

    def _run_tool(self, name: str, parameters: dict[str, Any]) -> dict[str, str | None]:
        tools = self._service.tools
        tool = tools.tools.get(name)
        if tool is None or tool.kind != BUILT_IN:
            hint = "tools.built_in lists them, and takes effect with a new start"
            raise RequestError("unknown_tool", f"this daemon has no tool {name!r} of its own", hint)
        if name == "look":
            hint = "`parleyd look` takes a picture and shows it to the agent"
            raise RequestError("unknown_tool", "a picture cannot be the result of a call by hand", hint)
        result = tools.by_hand(name, parameters, TOOL_S)
        return {"result": result.text, "fault": None if result.fault is None else result.fault.value}


def takes_time(request: AnyRequest) -> bool:
    """Returns whether the request may wait for a mixer, a file or a tool."""
    match request:
        case messages.Volume() | messages.RunTool() | messages.Reload() | messages.Transcript():
            return True
        case messages.AnnounceSound() | messages.SendFile():
            return True
        case messages.ShowConfig() | messages.PutConfig() | messages.KeepConfig() | messages.UndoConfig():
            return True
        case messages.Profile(name=name):
            return name is not None
        case _:
            return False


def _came(descriptor: int | None) -> int:
    if descriptor is None:
        hint = "open the file and pass its descriptor with the request (SCM_RIGHTS)"
        raise RequestError("no_file", "no open file came with the request", hint)
    return descriptor


def _allowed(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RequestError("budget_spent", refusal.text, f"{refusal.hint}; parleyd wake --anyway goes on all the same")


def _in_session(told: bool, refusal: tuple[str, str, str] = _NO_SESSION) -> None:
    if not told:
        raise RequestError(*refusal)
