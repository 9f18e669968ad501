"""The role that each request of the control socket needs, and the clients that have it.

A client has a role by its groups (docs/control.md). Root and the daemon's own user have all roles.
"""

from __future__ import annotations

import grp
import logging
import os
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from msgspec import Struct

from parleyd.config.schema import Control
from parleyd.control import messages
from parleyd.control.messages import AnyRequest, Request, RequestError
from parleyd.control.peer import Peer
from parleyd.core.log_fields import fields

log = logging.getLogger(__name__)

Role = Literal["read", "operate", "approve"]
ROLES: tuple[Role, ...] = get_args(Role)


class Need(Struct, frozen=True):
    """role: None: every client of the socket may. asking: the role for the request's form that changes nothing, if it
    has such a form."""

    role: Role | None
    asking: Role | None = None


# The requests of the whole protocol. `mute` needs no role, so that everybody can switch the microphone off. `unmute`
# opens a microphone in a room that believes it closed, and `run_tool` does at once what a person would be asked about
# otherwise: both need the role of an approval. Settings need it, too, because they decide about budgets, quiet hours
# and the agent. A call that nobody answers is denied in any case, so `deny` has the role of `approve`.
NEEDS: Mapping[type[Request], Need] = {
    messages.Status: Need("read"),
    messages.Usage: Need("read"),
    messages.Events: Need("read"),
    messages.Transcript: Need("read"),
    messages.Mute: Need(None),
    messages.Wake: Need("operate"),
    messages.Sleep: Need("operate"),
    messages.Volume: Need("operate", asking="read"),
    messages.Profile: Need("operate", asking="read"),
    messages.Say: Need("operate"),
    messages.Announce: Need("operate"),
    messages.AnnounceSound: Need("operate"),
    messages.Context: Need("operate"),
    messages.SendFile: Need("operate"),
    messages.Look: Need("operate"),
    messages.Activity: Need("operate"),
    messages.Feedback: Need("operate"),
    messages.Reload: Need("operate"),
    messages.Stop: Need("operate"),
    messages.ShowConfig: Need("read"),
    messages.Unmute: Need("approve"),
    messages.Approve: Need("approve"),
    messages.Deny: Need("approve"),
    messages.RunTool: Need("approve"),
    messages.PutConfig: Need("approve"),
    messages.KeepConfig: Need("approve"),
    messages.UndoConfig: Need("approve"),
}


def needed(request: AnyRequest) -> Role | None:
    """Returns the role that the request needs; None: none. Pure."""
    need = NEEDS[type(request)]
    match request:
        case messages.Volume(to=None, by=None) | messages.Profile(name=None):
            return need.asking
        case _:
            return need.role


class Caller(Struct, frozen=True):
    """The client, as the kernel reported it when it connected. by: the reason why it may approve: root and the daemon's
    own user have all roles as such, others need the role approve."""

    uid: int
    pid: int
    roles: frozenset[Role]
    by: Literal["root", "daemon", "approve"]


class Roles:
    """groups: for each role the names of its groups, as configured, and the ids of those that exist; None: everybody
    whom the socket admits has it. own_uid: the daemon's. Pure."""

    def __init__(self, groups: Mapping[Role, Mapping[str, int | None] | None], own_uid: int) -> None:
        self._groups = groups
        self._own_uid = own_uid

    def caller(self, peer: Peer, groups: frozenset[int]) -> Caller:
        """Returns the client with its roles. groups: all group ids of the process."""
        if peer.uid in (0, self._own_uid):
            return Caller(peer.uid, peer.pid, frozenset(ROLES), "root" if peer.uid == 0 else "daemon")
        roles = frozenset(role for role in ROLES if self._is_had(role, groups))
        if "approve" in roles:
            # A person who approves has to see the call, and may do everything that needs no approval.
            roles = frozenset(ROLES)
        return Caller(peer.uid, peer.pid, roles, "approve")

    def _is_had(self, role: Role, groups: frozenset[int]) -> bool:
        named = self._groups[role]
        return named is None or not groups.isdisjoint(gid for gid in named.values() if gid is not None)

    def check(self, request: AnyRequest, caller: Caller) -> None:
        """Raises RequestError if the caller lacks the role that this request needs."""
        role = needed(request)
        if role is None or role in caller.roles:
            return
        do = str(type(request).__struct_config__.tag)
        text = f"`{do}` needs the role {role}, which this user (uid {caller.uid}) does not have here"
        raise RequestError("role_missing", text, self._hint(role), request.id)

    def _hint(self, role: Role) -> str:
        there = [name for name, gid in (self._groups[role] or {}).items() if gid is not None]
        if not there:
            return f"only root may; to allow others, name a group with control.{role} in the configuration"
        named = f"control.{role} in the configuration names the groups"
        return f"sudo adduser $USER {there[0]}, then log in again ({named})"


def roles_of(section: Control, gid_of: Callable[[str], int] | None = None) -> Roles:
    """Looks the groups up. A group that does not exist is logged, and nobody has the role by it."""
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
