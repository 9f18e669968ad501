"""The board: disk, file systems, memory, power."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from parleyd.core.findings import Finding, error, good, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.host import subprocesses
from parleyd.host.directories import SYSTEM_STATE, state_place

_MIB = 2**20
# Free space for a warning and for an error: soon no log, package or state file can be written.
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 200 * _MIB, 10 * _MIB
# Free memory for a warning; the daemon itself uses about 60 MiB.
_LITTLE_MEMORY_BYTES = 80 * _MIB
_ROOM = "sudo apt-get clean; sudo journalctl --vacuum-size=50M"

# `vcgencmd get_throttled`, documented with the firmware's tools (raspberrypi/documentation, vcgencmd): the bit for now,
# the bit for since boot.
_POWER_BITS = {
    0: ("the supply voltage is too low", "use the official power supply and a short, thick cable"),
    1: ("the CPU is slowed down", "mind the supply voltage and the temperature"),
    2: ("the CPU is throttled", "mind the supply voltage and the temperature"),
    3: ("the CPU is at its soft temperature limit", "give the board air, or a heat sink"),
}
_FIRMWARE_FILE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")


# ---------------------------------------------------------------- disk


def disk(examination: Examination) -> Iterable[Finding]:
    """Checks the file system of the state directory: the service's, or this user's if no service is installed."""
    of_service = any(unit.is_installed and not unit.is_of_user for unit in examination.units)
    try:
        place = SYSTEM_STATE if of_service else state_place()
    except OSError as problem:
        return [skipped(f"nothing would be remembered: {problem.strerror}")]
    there = next(path for path in (place, *place.parents) if path.exists())
    stat = os.statvfs(there)
    # systemd makes the service's directory, and this user may not be allowed to write there.
    is_writable = of_service or os.access(there, os.W_OK)
    return judge_disk(
        str(place),
        free_bytes=stat.f_bavail * stat.f_frsize,
        free_files=stat.f_favail if stat.f_files else None,
        is_read_only=bool(stat.f_flag & os.ST_RDONLY),
        is_writable=is_writable,
        mount=str(next(path for path in (there, *there.parents) if path.is_mount())),
    )


def judge_disk(
    place: str, *, free_bytes: int, free_files: int | None, is_read_only: bool, is_writable: bool, mount: str = "/"
) -> Iterator[Finding]:
    """free_files: free inodes; None if the file system does not count them. mount: the mount point."""
    free = f"{free_bytes / _MIB:.0f} MiB free for {place}"
    if is_read_only and mount in _LOOKED_AT:
        yield error(f"the file system of {place} is read-only", "see the check of the file systems")
    elif is_read_only:
        yield error(
            f"{place} is in {mount}, which is read-only: mute switch, volume, timers and usage are lost at a restart",
            f"mount -o remount,rw {mount}; or keep it elsewhere, with STATE_DIRECTORY in the daemon's environment",
        )
    elif not is_writable:
        yield warning(f"{place} cannot be written by this user", "run it as the user of the daemon, or fix the owner")
    if free_bytes < _NO_DISK_BYTES or free_files == 0:
        full = f"no files (inodes) are left for {place}" if free_files == 0 else free
        yield error(full, f"{_ROOM}; `df -h` and `df -i` show what is full")
    elif free_bytes < _LITTLE_DISK_BYTES:
        yield warning(free, _ROOM)
    elif is_writable and not is_read_only:
        yield good(free)


# ---------------------------------------------------------------- file systems


def file_systems(_: Examination) -> Iterable[Finding]:
    return judge_mounts(_text(Path("/proc/mounts")), _text(Path("/etc/fstab")))


_LOOKED_AT = ("/", "/var", "/etc", "/home")


def judge_mounts(mounts: str, fstab: str) -> Iterator[Finding]:
    """The kernel makes a worn-out SD card, or one whose power failed, read-only (errors=remount-ro)."""
    meant = {fields[1] for fields in _table(fstab) if "ro" in fields[3].split(",")}
    # The last one of several mounts on a mount point is visible.
    now = {fields[1]: fields for fields in _table(mounts)}
    looked_at = [fields for place in _LOOKED_AT if (fields := now.get(place))]
    is_well = True
    for device, place, _kind, options, *_rest in looked_at:
        if "ro" not in options.split(","):
            continue
        is_well = False
        if place in meant:
            yield note(f"{place} is read-only, as /etc/fstab wants it")
        else:
            yield error(
                f"{place} ({device}) is read-only, and /etc/fstab does not want that: the card may be worn out",
                "see `dmesg | grep -i -e mmc -e ext4 -e i/o`; save what matters, replace the card",
            )
    if is_well and looked_at:
        yield good("writable: " + ", ".join(fields[1] for fields in looked_at))
    elif not looked_at:
        yield skipped("the mounts are not known")


def _table(text: str) -> list[list[str]]:
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [fields for fields in lines if len(fields) >= 4]


# ---------------------------------------------------------------- memory


def memory(_: Examination) -> Iterable[Finding]:
    return judge_memory(_text(Path("/proc/meminfo")), _text(Path("/proc/vmstat")))


def judge_memory(meminfo: str, vmstat: str) -> Iterator[Finding]:
    sizes = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}
    available, total = sizes.get("MemAvailable"), sizes.get("MemTotal")
    if available is None or total is None:
        yield skipped("the kernel does not say how much memory there is")
        return
    text = f"{available / _MIB:.0f} of {total / _MIB:.0f} MiB available"
    if available < _LITTLE_MEMORY_BYTES:
        yield warning(text, "end what is not needed (a desktop?); `ps -eo rss,comm --sort -rss | head` tells")
    else:
        yield good(text)
    killed = re.search(r"^oom_kill (\d+)$", vmstat, re.MULTILINE)
    if killed and int(killed[1]):
        count = int(killed[1])
        yield warning(
            f"{count} process{'es' if count > 1 else ''} killed since boot because memory had run out",
            "`journalctl -k | grep -i oom` tells which",
        )


# ---------------------------------------------------------------- power


def power(_: Examination) -> Iterable[Finding]:
    if program := shutil.which("vcgencmd"):
        said = ""
        with contextlib.suppress(OSError):
            said = subprocesses.ask([program, "get_throttled"], timeout_s=4.0).output
        if "throttled=" in said:
            return judge_power(said)
    if text := _text(_FIRMWARE_FILE):
        return judge_power(f"throttled=0x{text.strip()}")
    if shutil.which("vcgencmd"):
        return [note("vcgencmd does not answer this user", "add the user to the group video, or run it as root")]
    return [skipped("no Raspberry Pi firmware here to ask about voltage and temperature")]


def judge_power(answer: str) -> Iterator[Finding]:
    """answer: of vcgencmd, such as `throttled=0x50005`."""
    found = re.search(r"throttled=(?:0x)?([0-9a-fA-F]+)", answer)
    if found is None:
        yield skipped("the firmware answered something else")
        return
    bits = int(found[1], 16)
    said: Mapping[int, tuple[str, str]] = _POWER_BITS
    for bit, (text, hint) in said.items():
        if bits >> bit & 1:
            yield warning(f"{text} now", hint)
        elif bits >> (bit + 16) & 1:
            yield warning(f"since boot, at some time: {text}", hint)
    if not any(bits >> bit & 1 or bits >> (bit + 16) & 1 for bit in said):
        yield good("voltage and temperature have been fine since boot")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
