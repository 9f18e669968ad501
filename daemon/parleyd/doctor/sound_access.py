"""The access to the sound devices: permissions, other programs, sound servers."""

from __future__ import annotations

import grp
import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parleyd.core.findings import Finding, error, good, note, skipped, warning
from parleyd.doctor.examination import Examination, our_name, user_name
from parleyd.doctor.service import Unit

_DEVICES = Path("/dev/snd")
_PROC = Path("/proc")
_SERVERS = ("pipewire", "pipewire-pulse", "pulseaudio", "wireplumber")


def wants_cards(examination: Examination) -> bool:
    """Whether the configuration uses sound cards at all."""
    audio = examination.configured().audio
    devices = (audio.input.device, audio.output.device) if audio.mode == "on" else ()
    return any(not spec.startswith("wav:") and spec != "null" for spec in devices)


# ---------------------------------------------------------------- permissions


@dataclass(frozen=True)
class Node:
    """A file of /dev/snd, such as pcmC0D0c. group: its name. is_open_to_us: it may be read and written."""

    name: str
    group: str
    is_open_to_us: bool


def permissions(examination: Examination) -> Iterable[Finding]:
    if not wants_cards(examination):
        return [skipped("the configuration uses no sound card")]
    groups = [_group_name(gid) for gid in {os.getegid(), *os.getgroups()}]
    has_sound = examination.sound_opens or our_socket() is not None
    return judge_permissions(_nodes(), our_name(), groups, has_sound=has_sound)


def judge_permissions(
    nodes: Sequence[Node] | None, user: str, groups: Sequence[str], *, has_sound: bool
) -> Iterator[Finding]:
    """nodes: None without /dev/snd. has_sound: there is sound in another way, through a sound server's socket."""
    if not nodes:
        text = "the kernel knows no sound card (/dev/snd is empty or missing)"
        hint = (
            "check that it is plugged in, `lsusb`, `dmesg | tail`; a HAT needs its dtoverlay= in "
            "/boot/firmware/config.txt"
        )
        # A container, or a machine with a sound server in the network, has no cards and may have sound.
        yield note(f"{text}, but sound comes by a sound server") if has_sound else error(text, hint)
        return
    shut = [node for node in nodes if not node.is_open_to_us]
    if not shut:
        yield good(f"{user} may use all {len(nodes)} files of /dev/snd")
        return
    group = shut[0].group
    text = f"{user} may not use {len(shut)} of the {len(nodes)} files of /dev/snd"
    if group == "root":
        yield error(f"{text}: root alone may", f"ls -l {_DEVICES}; a udev rule has taken them from the group audio")
    elif group in groups:
        yield error(f"{text}, though in the right group", f"ls -l {_DEVICES}; a udev rule has set other modes")
    elif has_sound:
        yield note(f"{text}, but a sound server answers; without it: sudo usermod -aG {group} {user}")
    else:
        hint = f"sudo usermod -aG {group} {user}, then log in anew"
        yield error(f"{text}: not in the group {group}", hint)


def _nodes() -> list[Node] | None:
    try:
        files = sorted(path for path in _DEVICES.iterdir() if stat.S_ISCHR(path.stat().st_mode))
    except OSError:
        return None
    # seq and timer exist without a card.
    files = [path for path in files if path.name.startswith(("pcm", "control"))]
    return [Node(path.name, _group_name(path.stat().st_gid), os.access(path, os.R_OK | os.W_OK)) for path in files]


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# ---------------------------------------------------------------- who holds them


@dataclass(frozen=True)
class Holder:
    """A program that has a sound device open. name: "" if this user cannot see it. is_daemon: it is parleyd itself."""

    device: str
    pid: int
    name: str
    is_daemon: bool = False


def holders(examination: Examination) -> Iterable[Finding]:
    if not wants_cards(examination):
        return [skipped("the configuration uses no sound card")]
    pids = {unit.main_pid for unit in examination.units if unit.is_running}
    examination.holders = found = find_holders(_PROC, pids)
    return judge_holders(found, sees_all=os.geteuid() == 0)


def judge_holders(found: Sequence[Holder], *, sees_all: bool) -> Iterator[Finding]:
    own = [holder for holder in found if holder.is_daemon]
    servers = [holder for holder in found if holder.name in _SERVERS and not holder.is_daemon]
    others = [holder for holder in found if holder not in own and holder not in servers]
    for holder in others:
        name = holder.name or "a program that this user cannot see"
        hint = f"end it (sudo kill {holder.pid}), if the configuration wants this very device"
        yield warning(f"{name} (pid {holder.pid}) holds {holder.device}", hint)
    if servers:
        names = ", ".join(sorted({f"{one.name} (pid {one.pid})" for one in servers}))
        yield note(
            f"{names} holds {', '.join(sorted({one.device for one in servers}))}",
            "share it (audio.*.device: default or pulse), or end the server to use the device itself",
        )
    if own:
        devices = ", ".join(sorted({holder.device for holder in own}))
        yield good(f"parleyd itself (pid {own[0].pid}) holds {devices}")
    if not found:
        yield good("free, as far as this user can see" if not sees_all else "no program holds a sound device")


def find_holders(proc: Path, daemon_pids: Iterable[int]) -> list[Holder]:
    """Finds them in the kernel's files (/proc/asound/card*/pcm*/sub*/status, which everybody can read), and in the list
    of open files, which shows other users' programs only to root. Only pcm devices count, because several programs may
    have a mixer open."""
    found: dict[tuple[str, int], Holder] = {}
    known = set(daemon_pids)

    def add(device: str, pid: int) -> None:
        name = _read(proc / str(pid) / "comm").strip()
        words = _read(proc / str(pid) / "cmdline").split("\0")
        is_daemon = pid in known or (_is_parleyd(words) and pid != os.getpid())
        found.setdefault((device, pid), Holder(device, pid, name, is_daemon))

    for status in sorted(proc.glob("asound/card*/pcm*/sub*/status")):
        owner = re.search(r"^owner_pid\s*:\s*(\d+)", _read(status), re.MULTILINE)
        place = re.search(r"card(\d+)/pcm(\d+)([pc])/sub\d+/status$", str(status))
        if owner and place:
            add(f"pcmC{place[1]}D{place[2]}{place[3]}", _process_of(proc, int(owner[1])))
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            targets = [str(link.readlink()) for link in (entry / "fd").iterdir()]
        except OSError:
            continue
        for target in targets:
            if target.startswith("/dev/snd/pcm"):
                add(target.removeprefix("/dev/snd/"), int(entry.name))
    return sorted(found.values(), key=lambda holder: (holder.device, holder.pid))


def _is_parleyd(words: Sequence[str]) -> bool:
    """Whether the command is `parleyd run` or `python -m parleyd run`, and not, for example, `vi parleyd.yaml`."""
    head = [word.rpartition("/")[2] for word in words[:4]]
    return "run" in words and "parleyd" in head


def _process_of(proc: Path, thread: int) -> int:
    """The process of a thread: the kernel names the thread that opened the device."""
    of = re.search(r"^Tgid:\s*(\d+)", _read(proc / str(thread) / "status"), re.MULTILINE)
    return int(of[1]) if of else thread


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


# ---------------------------------------------------------------- sound servers


@dataclass(frozen=True)
class Server:
    """A running sound server, and its user."""

    name: str
    uid: int


def sound_server(examination: Examination) -> Iterable[Finding]:
    if not wants_cards(examination):
        return [skipped("the configuration uses no sound card")]
    audio = examination.configured().audio
    return judge_servers(
        running_servers(),
        our_uid=os.geteuid(),
        reachable=our_socket(),
        runtime_directory=os.environ.get("XDG_RUNTIME_DIR"),
        units=examination.units,
        specs=(audio.input.device, audio.output.device),
    )


def judge_servers(
    servers: Sequence[Server],
    *,
    our_uid: int,
    reachable: str | None,
    runtime_directory: str | None,
    units: Sequence[Unit],
    specs: Sequence[str],
) -> Iterator[Finding]:
    """reachable: the socket of a server that answers this user. specs: the configured devices."""
    names = ", ".join(sorted({f"{server.name} of {user_name(server.uid)}" for server in servers}))
    own = [server for server in servers if server.uid == our_uid]
    if reachable:
        yield good(f"{names or 'a sound server'} answers at {reachable}")
    elif not servers:
        yield good("none runs: parleyd uses ALSA itself")
    elif own and not runtime_directory:
        yield warning(
            f"{names} runs, but XDG_RUNTIME_DIR is not set, as after su or in a cron job",
            f"export XDG_RUNTIME_DIR=/run/user/{our_uid}, or log in properly",
        )
    elif own:
        hint = "systemctl --user restart pipewire pipewire-pulse pulseaudio"
        yield warning(f"{names} runs, but does not answer here", hint)
    else:
        yield note(f"{names} runs, out of reach of the user {user_name(our_uid)}: a sound server serves its own user")
    for unit in units:
        # A system service can only use the sound card itself, and not while a server holds it.
        hidden = [server for server in servers if not unit.is_of_user and user_name(server.uid) != unit.user]
        if hidden and not all("hw:" in spec for spec in specs):
            owner = user_name(hidden[0].uid)
            yield warning(
                f"the system service (user {unit.user}) cannot see {hidden[0].name} of {owner}",
                f"run parleyd as the user's service of {owner} (and sudo loginctl enable-linger {owner}), or end the "
                "sound server and name the card itself (hw:, see `parleyd devices`)",
            )


def running_servers(proc: Path = _PROC) -> list[Server]:
    found = set()
    for entry in proc.iterdir():
        if entry.name.isdigit() and (name := _read(entry / "comm").strip()) in _SERVERS:
            try:
                found.add(Server(name, entry.stat().st_uid))
            except OSError:
                continue
    return sorted((server for server in found if server.name != "wireplumber"), key=lambda one: (one.uid, one.name))


def our_socket() -> str | None:
    """The socket of PulseAudio, or of PipeWire in its place: pulseaudio(1), PULSE_SERVER and the runtime directory."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    places = [
        place.removeprefix("unix:")
        for place in os.environ.get("PULSE_SERVER", "").split()
        if place.startswith(("unix:", "/"))
    ]
    # Only sockets that the libraries would find, too.
    if os.environ.get("XDG_RUNTIME_DIR"):
        places += [f"{runtime}/pulse/native", f"{runtime}/pipewire-0"]
    places.append("/run/pulse/native")
    for place in places:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(1)
            try:
                trial.connect(place)
            except OSError:
                continue
            return place
    return None
