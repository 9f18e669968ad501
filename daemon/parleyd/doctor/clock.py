"""The clock: a board without a clock battery starts in the past, and no certificate is valid then."""

from __future__ import annotations

import ctypes
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from parleyd.core.findings import Finding, error, good, note, warning
from parleyd.doctor.examination import Examination
from parleyd.host import subprocesses

# The years in which the clock can be right: this program did not exist before the first one.
_FIRST_YEAR, _LAST_YEAR = 2025, 2100
_SWITCH_ON = "sudo timedatectl set-ntp true, with the network up"
_INSTALL = "sudo apt-get install systemd-timesyncd, with the network up"
_BY_HAND = "without any network: sudo date -s 'YYYY-MM-DD HH:MM'"
# adjtimex(2)
_STA_UNSYNC = 0x0040


TimeService = Literal["on", "off", "missing"]


class _Timex(ctypes.Structure):
    """The first fields of struct timex (adjtimex(2)); the kernel writes more fields."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def clock(_: Examination) -> Iterable[Finding]:
    return judge_clock(time.time(), _kernel_says(), _time_service(), any(Path("/dev").glob("rtc*")))


def judge_clock(
    now_s: float, is_synchronised: bool | None, service: TimeService | None, has_clock_chip: bool
) -> Iterator[Finding]:
    """is_synchronised: the kernel's flag. service: the program that asks a time server. None: not known."""
    hint = f"{_INSTALL if service == 'missing' else _SWITCH_ON}; {_BY_HAND}"
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now_s))
    if not _FIRST_YEAR <= time.gmtime(now_s).tm_year < _LAST_YEAR:
        yield error(f"it is said to be {moment}: TLS refuses every certificate", hint)
    elif is_synchronised:
        yield good(f"synchronised, {moment}")
    elif is_synchronised is None:
        yield note(f"{moment}; whether it is synchronised cannot be seen from here")
    elif service in ("off", "missing"):
        yield warning(f"{moment}, and nobody sets it", hint)
    else:
        chip = "" if has_clock_chip else "; without a clock chip it begins in the past at each start"
        text = f"{moment}, not synchronised{chip}"
        yield warning(text, "`timedatectl timesync-status` says why; is the network up, and NTP (UDP 123) let through?")


def _kernel_says() -> bool | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = _Timex()
        # With modes 0 the call only reads.
        if libc.adjtimex(ctypes.byref(state)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not state.status & _STA_UNSYNC


def _time_service() -> TimeService | None:
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        said = subprocesses.ask([program, "show", "-p", "CanNTP", "-p", "NTP"], timeout_s=4.0).output.split()
    except OSError:
        return None
    if "NTP=yes" in said:
        return "on"
    if "CanNTP=no" in said:
        return "missing"
    return "off" if "NTP=no" in said else None
