"""The unit: is it installed, does it run, how did it last end?"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination, our_name
from parleyd.host import subprocesses
from parleyd.host.notify import FAILED

UNIT = "parleyd.service"
_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,ExecMainStatus,ExecMainCode,NRestarts,UnitFileState,MainPID,User,DynamicUser,"
    "SupplementaryGroups,StatusText,LoadError,PrivateUsers"
)
_MANY_RESTARTS = 5
_FIRST_CONFIGURATION = "fix first: configuration"
_BOTH = (
    "choose one: sudo systemctl enable --now parleyd; or, where a sound server (PipeWire, PulseAudio) runs for a user, "
    "as that user: systemctl --user enable --now parleyd"
)
_LINGER = Path("/var/lib/systemd/linger")

# systemd.service(5), Result=; systemd.exec(5), "Process Exit Codes"; sysexits, as the README gives them.
_RESULTS = {
    "timeout": "it did not become ready, or did not stop, in time",
    "watchdog": "it was stuck: the watchdog ended it",
    "oom-kill": "memory ran out",
    "start-limit-hit": "it was started too often in a short time",
    "resources": "systemd could not prepare it",
    "protocol": "it did not speak systemd's protocol",
    "core-dump": "it crashed",
}
_STATUSES = {
    64: "wrong usage",
    66: "a file is missing",
    69: "something it needs was missing: a sound device, a package",
    70: "a fault inside",
    78: "its configuration was refused",
    200: "its working directory is missing",
    203: "its program could not be started: is /opt/parleyd whole?",
    216: "its group does not exist",
    217: "its user does not exist",
    218: "a capability was refused",
    226: "its sandbox could not be set up",
    243: "its credential could not be read: see LoadCredential=",
}
# PrivateUsers= and CapabilityBoundingSet= of the user's unit.
_NO_NAMESPACES = "the kernel lets users have no namespaces of their own"
_STATUSES_OF_USER = {217: _NO_NAMESPACES, 218: _NO_NAMESPACES}
_WITHOUT_NAMESPACES = (
    "scripts/install --user, which sees that; or systemctl --user edit parleyd, and there: [Service] PrivateUsers=no, "
    "and CapabilityBoundingSet=~ (then all your files are open to the service)"
)


@dataclass(frozen=True)
class Unit:
    """A unit as systemd shows it. is_of_user: it belongs to the user's own systemd. properties: of `systemctl show`."""

    is_of_user: bool
    properties: Mapping[str, str]

    def get(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def is_installed(self) -> bool:
        return self.get("LoadState") not in ("", "not-found")

    @property
    def is_running(self) -> bool:
        return self.get("ActiveState") in ("active", "reloading")

    @property
    def is_idle(self) -> bool:
        """Whether the unit is stopped and does not start by itself."""
        return self.get("ActiveState") == "inactive" and self.get("UnitFileState") != "enabled"

    @property
    def main_pid(self) -> int:
        return _number(self.get("MainPID"))

    def order(self, verb: str) -> str:
        """The systemctl command."""
        return f"{'systemctl --user' if self.is_of_user else 'sudo systemctl'} {verb} parleyd"

    @property
    def user(self) -> str:
        """The user as whom it runs."""
        if self.is_of_user:
            return our_name()
        return self.get("User") or ("parleyd" if self.get("DynamicUser") == "yes" else "root")


def known_units() -> list[Unit]:
    """The units of all reachable instances of systemd, installed or not: the system's first, then the user's."""
    return [unit for is_of_user in (False, True) if (unit := _ask(is_of_user)) is not None]


def why_not_running(units: Sequence[Unit], *, is_up: bool = False) -> tuple[str, str] | None:
    """The reason why an installed unit does not run, and the hint; None if no unit has failed or is being started.
    is_up: the daemon answers that it is starting, so only earlier failures are worth telling."""
    for unit in units:
        whose, log = _whose(unit), log_command(unit)
        restarts = _number(unit.get("NRestarts"))
        times = f" {restarts + 1} times" if restarts else ""
        state = unit.get("ActiveState")
        if state == "activating" and unit.get("SubState") != "auto-restart" and not restarts:
            if is_up:
                continue
            return f"{whose} is starting", f"try again in a moment; {log}"
        if state == "failed" or state == "activating":
            # The text comes from the last try, until the next one begins; a daemon that was killed has left none.
            said = unit.get("StatusText")
            if state == "activating" and unit.get("SubState") != "auto-restart" and not said.startswith(FAILED):
                # The next try has begun, and with it systemd has forgotten how the last one ended.
                tries = "1 try" if restarts == 1 else f"{restarts} tries"
                return f"{whose} starts again, after {tries} that failed", f"`parleyd doctor` finds out more; {log}"
            reason = said.removeprefix(FAILED) if said.startswith(FAILED) else _last_end(unit)
            again = ", and is tried again" if state == "activating" else ""
            return f"{whose} has failed{times}{again}: {reason}", f"`parleyd doctor` finds out more; {log}"
    return None


def service(examination: Examination) -> Iterable[Finding]:
    units = known_units()
    examination.units = [unit for unit in units if unit.is_installed]
    if not units:
        return [note("systemd does not run here, or cannot be asked: nothing starts parleyd by itself")]
    lingers = (_LINGER / our_name()).exists()
    can_start = examination.config is not None
    return judge_units(units, lingers=lingers, is_root=os.geteuid() == 0, can_start=can_start)


def judge_units(
    units: Sequence[Unit], *, lingers: bool, is_root: bool = False, can_start: bool = True
) -> Iterator[Finding]:
    """units: the known units, installed or not. lingers: this user's services survive the login. can_start: the
    configuration is valid."""
    installed = [unit for unit in units if unit.is_installed]
    if not installed:
        seen = "as a service of the system; a user's own is seen without sudo" if is_root else "as a service"
        yield note(
            f"parleyd is not installed {seen}",
            "to have it started at boot: sudo scripts/install, in the checkout, or its Debian package",
        )
    chosen = [unit for unit in installed if not unit.is_idle]
    if len(installed) > 1 and not chosen:
        # The Debian package contains both units; each user needs only one of them.
        yield warning(
            "neither the system service nor the user's is started, nor enabled",
            _BOTH if can_start else _FIRST_CONFIGURATION,
        )
        return
    for unit in installed:
        if unit.is_idle and chosen:
            yield note(f"{_whose(unit)} is installed, too, and not used")
            continue
        yield from _judge(unit, can_start=can_start)
        if unit.is_of_user and not lingers and unit.get("UnitFileState") == "enabled":
            yield warning("the user's services end at logout", f"sudo loginctl enable-linger {our_name()}")
    if len([unit for unit in installed if unit.is_running]) > 1:
        yield warning(
            "it runs twice, as a system service and as the user's", "sudo systemctl disable --now parleyd, or the other"
        )


def _judge(unit: Unit, *, can_start: bool) -> Iterator[Finding]:
    log, whose = log_command(unit), _whose(unit)
    state, restarts = unit.get("ActiveState"), _number(unit.get("NRestarts"))
    if unit.get("LoadState") == "masked":
        yield warning(f"{whose} is masked: it can never be started", unit.order("unmask"))
    elif unit.get("LoadState") != "loaded":
        yield error(
            f"{whose} cannot be loaded: {unit.get('LoadError') or unit.get('LoadState')}",
            "systemd-analyze verify parleyd.service",
        )
    elif state in ("active", "reloading", "refreshing"):
        said = f": {unit.get('StatusText')}" if unit.get("StatusText") else ""
        if restarts >= _MANY_RESTARTS:
            yield warning(f"{whose} runs, after {restarts} restarts{said}", log)
        else:
            yield good(f"{whose} runs as {unit.user}{said}")
        if unit.get("UnitFileState") == "disabled":
            yield warning(f"{whose} is not started at boot", unit.order("enable"))
    elif state == "failed" or (state == "activating" and unit.get("SubState") == "auto-restart"):
        # Result describes the last run, also while the unit waits for the next one.
        again = f", and is tried again ({restarts} restarts so far)" if state == "activating" else ""
        said = unit.get("StatusText")
        reason = f": {said.removeprefix(FAILED)}" if said.startswith(FAILED) else ""
        text = f"{whose} has failed{again}: {_last_end(unit)}{reason}"
        if _number(unit.get("ExecMainStatus")) == os.EX_CONFIG:
            shows = f"`parleyd check` shows what is wrong, and if it is the key, {log}"
            yield misconfigured(text, f"{shows}; then {unit.order('restart')}")
        elif unit.is_of_user and _number(unit.get("ExecMainStatus")) in _STATUSES_OF_USER:
            yield error(text, _WITHOUT_NAMESPACES)
        else:
            yield error(text, f"{log} tells more; then {unit.order('restart')}")
    elif state == "activating" and restarts:
        ended = f"{restarts} time{'s' if restarts != 1 else ''}"
        yield error(f"{whose} is being started again: it has ended {ended} by itself", log)
    elif state == "activating":
        yield note(f"{whose} is starting")
    else:
        how = "and is not started at boot" if unit.get("UnitFileState") == "disabled" else "though it is enabled"
        verb = "enable --now" if unit.get("UnitFileState") == "disabled" else "start"
        yield warning(f"{whose} does not run, {how}", unit.order(verb) if can_start else _FIRST_CONFIGURATION)


def _whose(unit: Unit) -> str:
    return "the user's service" if unit.is_of_user else "the system service"


def log_command(unit: Unit | None) -> str:
    """The command that shows the unit's log; for None, the log of the system's service."""
    of_user = unit is not None and unit.is_of_user
    return f"{'journalctl --user' if of_user else 'sudo journalctl'} -u parleyd -n 30 --no-pager"


def _last_end(unit: Unit) -> str:
    result, status = unit.get("Result"), _number(unit.get("ExecMainStatus"))
    if result in _RESULTS:
        return _RESULTS[result]
    # ExecMainCode, as si_code of waitid(2): 2 killed, 3 dumped.
    if result == "signal" or unit.get("ExecMainCode") in ("2", "3"):
        try:
            return f"it was killed by {signal.Signals(status).name}"
        except ValueError:
            return "it was killed"
    known = _STATUSES | (_STATUSES_OF_USER if unit.is_of_user else {})
    return f"exit code {status}" + (f", {known[status]}" if status in known else "")


def _ask(is_of_user: bool) -> Unit | None:
    """Asks systemd for the unit. None: there is no systemd."""
    program = shutil.which("systemctl")
    if program is None:
        return None
    command = [program, *(["--user"] if is_of_user else []), "show", UNIT, "--no-pager", "-p", _PROPERTIES]
    try:
        said = subprocesses.ask(command, timeout_s=4.0).output
    except OSError:
        return None
    properties = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    return Unit(is_of_user, properties) if properties.get("LoadState") else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


# ---------------------------------------------------------------- the running daemon's rights


def rights(examination: Examination) -> Iterable[Finding]:
    """Whether the unit's user may use the sound devices."""
    return judge_rights([unit for unit in examination.units if not unit.is_of_user], _group_members("audio"))


def judge_rights(units: Sequence[Unit], audio_members: Sequence[str] | None) -> Iterator[Finding]:
    """audio_members: users in the group audio by /etc/group; None where there is no such group."""
    for unit in units:
        groups = unit.get("SupplementaryGroups").split()
        if unit.user == "root" or "audio" in groups or unit.user in (audio_members or ()):
            yield good(f"the service's user {unit.user} may use the sound devices")
        else:
            yield error(
                f"the service's user {unit.user} is not in the group audio",
                "sudo systemctl edit parleyd, and there: [Service] SupplementaryGroups=audio",
            )
    if not units:
        yield skipped("no system service is installed")


def _group_members(name: str) -> Sequence[str] | None:
    import grp

    try:
        return grp.getgrnam(name).gr_mem
    except KeyError:
        return None
