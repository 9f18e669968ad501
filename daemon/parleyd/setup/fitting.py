"""Decides which service fits a machine: that of the system, or that of a user with a sound server. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parleyd.doctor.sound_access import Server

# Users below have no login: daemons of the system.
_FIRST_PERSON = 1000
_NAMES = {"pipewire": "PipeWire", "pipewire-pulse": "PipeWire", "pulseaudio": "PulseAudio"}


@dataclass(frozen=True)
class Fit:
    """of_user: the user's own service fits; otherwise the system's. text: why. instead: the command to run in place of
    this one, as another user; None: this is the right one."""

    of_user: bool
    text: str
    instead: str | None = None


def fitting(servers: Sequence[Server], our_uid: int, user_name: Callable[[int], str], *, answers: bool) -> Fit:
    """servers: the running ones. answers: one can be reached by this process."""
    own = [server for server in servers if server.uid == our_uid]
    people = [server for server in servers if server.uid >= _FIRST_PERSON]
    if our_uid and (own or (answers and not people)):
        name = _NAMES.get(own[0].name, own[0].name) if own else "A sound server"
        return Fit(True, f"{name} runs for {user_name(our_uid)}: the user's own service fits, which shares the sound.")
    if people:
        owner = user_name(people[0].uid)
        name = _NAMES.get(people[0].name, people[0].name)
        text = (
            f"{name} runs for {owner} and holds the sound card: the service of {owner} fits, because a service of the "
            "system cannot reach it."
        )
        return Fit(True, text, f"as {owner}, without sudo: parleyd setup")
    if own and answers:
        return Fit(
            False,
            "A sound server runs for root alone. That is unusual: a service of the system cannot reach it, and has to "
            "use the sound card itself.",
        )
    text = "No sound server runs here: the service of the system fits, which starts at boot and uses the sound card."
    return Fit(False, text, None if not our_uid else "sudo parleyd setup")
