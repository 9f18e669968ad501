"""What each request of the control socket needs, and who has that.

A role is had by the client's groups (docs/control.md). Root and the daemon's own user have all of them.
"""

from __future__ import annotations

import grp
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from parleyd.config.schema import Control
from parleyd.control import messages
from parleyd.control.messages import AnyRequest, Request, RequestError
from parleyd.control.peer import Peer
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

Role = Literal["read", "operate", "approve"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Need:
    """role: None where every client of the socket may. asking: of a request that changes nothing, where there is such
    a form of it."""

    role: Role | None
    asking: Role | None = None


# The whole protocol. `mute` needs nothing: nobody is to be kept from switching the microphone off. `unmute` opens a
# microphone in a room that believes it closed, and `run_tool` does at once what a person would be asked about first:
# both are as much as an approval. A call that nobody answers is denied anyhow, so that `deny` need not be for more
# people than `approve` is.
NEEDS: Mapping[type[Request], Need] = {
    messages.Status: Need("read"),
    messages.Events: Need("read"),
    messages.Mute: Need(None),
    messages.Wake: Need("operate"),
    messages.Sleep: Need("operate"),
    messages.Volume: Need("operate", asking="read"),
    messages.Profile: Need("operate", asking="read"),
    messages.Say: Need("operate"),
    messages.Announce: Need("operate"),
    messages.Context: Need("operate"),
    messages.SendFile: Need("operate"),
    messages.Activity: Need("operate"),
    messages.Feedback: Need("operate"),
    messages.Reload: Need("operate"),
    messages.Stop: Need("operate"),
    messages.Unmute: Need("approve"),
    messages.Approve: Need("approve"),
    messages.Deny: Need("approve"),
    messages.RunTool: Need("approve"),
}


def needed(request: AnyRequest) -> Role | None:
    """Pure."""
    need = NEEDS[type(request)]
    match request:
        case messages.Volume(to=None, by=None) | messages.Profile(name=None):
            return need.asking
        case _:
            return need.role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the kernel told when they connected. by: root and the daemon's own user have all roles as that,
    others approve by the role approve."""

    uid: int
    pid: int
    roles: frozenset[Role]
    by: Literal["root", "daemon", "approve"]


class Roles:
    """groups: of each role the names, as configured, and the numbers of those that exist; None: everybody whom the
    socket admits. own_uid: the daemon's. Pure."""

    def __init__(self, groups: Mapping[Role, Mapping[str, int | None] | None], own_uid: int) -> None:
        self._groups = groups
        self._own_uid = own_uid

    def caller(self, peer: Peer, groups: frozenset[int]) -> Caller:
        """groups: all that the process has."""
        if peer.uid in (0, self._own_uid):
            return Caller(peer.uid, peer.pid, frozenset(ROLES), "root" if peer.uid == 0 else "daemon")
        roles = frozenset(role for role in ROLES if self._is_had(role, groups))
        if "approve" in roles:
            # Whoever approves has to see what it is, and may do all that needs no approval.
            roles = frozenset(ROLES)
        return Caller(peer.uid, peer.pid, roles, "approve")

    def _is_had(self, role: Role, groups: frozenset[int]) -> bool:
        named = self._groups[role]
        return named is None or not groups.isdisjoint(gid for gid in named.values() if gid is not None)

    def check(self, request: AnyRequest, caller: Caller) -> None:
        """Raises RequestError when the caller lacks the role that this needs."""
        role = needed(request)
        if role is None or role in caller.roles:
            return
        do = str(type(request).__struct_config__.tag)
        text = f"`{do}` needs the role {role}, which this user (uid {caller.uid}) does not have here"
        raise RequestError("role_missing", text, self._hint(role), request.id)

    def _hint(self, role: Role) -> str:
        there = [name for name, gid in (self._groups[role] or {}).items() if gid is not None]
        if not there:
            return f"root may; whoever else shall needs a group that control.{role} names in the configuration"
        named = f"control.{role} in the configuration names the groups"
        return f"sudo adduser $USER {there[0]}, then log in again ({named})"


def roles_of(section: Control, gid_of: Callable[[str], int] | None = None) -> Roles:
    """Looks the groups up. One that does not exist is told in the log, and nobody has a role by it."""
    names: dict[Role, list[str] | None] = {
        "read": section.read, "operate": section.operate, "approve": section.approve,
    }  # fmt: skip
    found: dict[Role, dict[str, int | None] | None] = {}
    for role, named in names.items():
        found[role] = None if named is None else {name: _gid(role, name, gid_of or _number) for name in named}
    return Roles(found, os.geteuid())


def _gid(role: Role, name: str, gid_of: Callable[[str], int]) -> int | None:
    try:
        return gid_of(name)
    except KeyError:
        hint = f"sudo addgroup {name}, then restart parleyd"
        log.warning(
            "control.%s: there is no group %s: nobody has the role by it; %s", role, name, hint, extra=fields(hint=hint)
        )
        return None


def _number(name: str) -> int:
    return grp.getgrnam(name).gr_gid
