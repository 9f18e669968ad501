"""The step `service`: starts parleyd as a service, where systemd and the unit are there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from parleyd.control.client import Client, NotRunningError
from parleyd.core.errors import UserError
from parleyd.doctor.examination import our_name
from parleyd.doctor.service import Unit, known_units, log_command, why_not_running
from parleyd.host import subprocesses
from parleyd.setup.state import Setup

_START_S = 60.0
_READY_S = 30.0
_LOOK_S = 0.3


def run(setup: Setup) -> str:
    page = setup.page
    page.say(setup.fit.text)
    units = known_units()
    if not units:
        page.note("systemd does not run here, so nothing can be started for good. By hand it runs in a terminal:")
        page.command(f"parleyd run -c {setup.file.path}")
        setup.next = f"parleyd run -c {setup.file.path}"
        return "there is no systemd"
    unit = next((one for one in units if one.is_of_user == setup.fit.of_user), None)
    if unit is None or not unit.is_installed:
        command = "scripts/install --user" if setup.fit.of_user else "sudo scripts/install"
        page.note("The service is not installed. In the checkout of parleyd (the Debian package has it, too):")
        page.command(command)
        setup.next = command
        return "not installed"
    other = next((one for one in units if one is not unit and one.is_running), None)
    if other is not None:
        page.problem(
            f"The {'user' if other.is_of_user else 'system'}'s service runs already, and would hold the sound card.",
            other.order("disable --now"),
        )
    if not unit.is_of_user and os.geteuid():
        page.note("Only root can start it:")
        page.command("sudo systemctl enable --now parleyd")
        setup.next = "sudo systemctl enable --now parleyd"
        return "to be started by root"
    verb = "Start it again" if unit.is_running else "Start it now"
    if not setup.dialog.yes("service", f"{verb}, and at every boot?"):
        setup.next = unit.order("enable --now")
        return "not started"
    _start(unit)
    _await(unit)
    page.good("The service runs.")
    if unit.is_of_user and not os.path.exists(f"/var/lib/systemd/linger/{our_name()}"):  # noqa: PTH110
        page.note("It starts when you log in. To have it start with the machine:")
        page.command(f"sudo loginctl enable-linger {our_name()}")
    return "runs"


def _start(unit: Unit) -> None:
    """Raises UserError."""
    words = ["systemctl", *(["--user"] if unit.is_of_user else [])]
    if (refusal := _systemctl([*words, "enable", "--quiet", "parleyd"])) is not None:
        raise refusal
    if (refusal := _systemctl([*words, "restart", "parleyd"])) is not None:
        # systemctl only says where to look; the unit knows the reason.
        raise _reason(unit) or refusal


def _systemctl(command: Sequence[str]) -> UserError | None:
    """Runs a command of systemctl. Returns its error; None if there was none."""
    hint = "parleyd doctor finds out more"
    try:
        done = subprocesses.ask(command, timeout_s=_START_S)
    except OSError as error:
        return UserError(f"{' '.join(command)}: {error.strerror}", hint)
    if not done.status:
        return None
    said = done.errors.strip().splitlines()
    return UserError(f"{' '.join(command)}: {said[0] if said else f'it ended with {done.status}'}", hint)


def _reason(unit: Unit) -> UserError | None:
    """Why the unit does not run; None if systemd knows of nothing."""
    found = why_not_running([one for one in known_units() if one.is_of_user == unit.is_of_user])
    return None if found is None else UserError(*found)


def _await(unit: Unit) -> None:
    """Waits until the daemon answers. Raises UserError with the reason if it does not."""
    until_s = time.monotonic() + _READY_S
    while time.monotonic() < until_s:
        with contextlib.suppress(NotRunningError), Client():
            return
        time.sleep(_LOOK_S)
    raise _reason(unit) or UserError("the service was started, and does not answer", log_command(unit))
