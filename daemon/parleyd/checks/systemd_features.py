"""The features of systemd that the units use, the versions that introduced them, and the effect of a missing one. The
table is pure.

Older versions ignore unknown lines of a unit: the service runs, with less protection.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.checks.this_machine import named_secrets
from parleyd.config.problem import KeyProblem
from parleyd.host import subprocesses

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.config.schema import Config

_ASK_S = 5.0


def _names_a_credential(config: Config) -> str | None:
    for key, secret in named_secrets(config):
        if secret is not None and not isinstance(secret, str) and secret.credential is not None:
            return key
    return None


def _logs_to_the_journal(config: Config) -> str | None:
    return "log.format" if config.log.format == "journal" else None


def _runs_programs(config: Config) -> str | None:
    if config.tools.command:
        return "tools.command"
    return "hooks" if config.hooks else None


@dataclass(frozen=True)
class Feature:
    """since: the version of systemd that introduced it; 1: every version. without: the effect of a missing feature.

    key: the key of a configuration that relies on it; None if no configuration does. of_user: whether it matters to the
    system's service (False), the user's (True), or both (None).
    """

    name: str
    since: int
    without: str
    hint: str
    key: Callable[[Config], str | None] = lambda _: None
    of_user: bool | None = None


_BY_HAND = "the program that starts parleyd has to set such limits: docs/service.md, What it may do"
_KEY_IN_A_FILE = "keep the key in a file that only the service reads, and name that: {file: PATH}"
FEATURES: Sequence[Feature] = (
    Feature(
        "restarts, the watchdog", 1, "nothing starts the daemon again after a crash, or when it is stuck", _BY_HAND
    ),
    Feature(
        "the limits of the units",
        1,
        "programs of tools and hooks may do all that the user may",
        _BY_HAND,
        _runs_programs,
    ),
    Feature("the journal", 1, "log.format: journal has nobody to write to", "log.format: text", _logs_to_the_journal),
    Feature("credentials", 1, "no credential reaches the daemon", _KEY_IN_A_FILE, _names_a_credential),
    Feature("RestrictSUIDSGID=, ProtectHostname=", 242, "set-user-id files can be made by the service", ""),
    Feature("OOMPolicy=", 243, "a tool that takes too much memory ends the whole service", ""),
    Feature("ProtectKernelLogs=", 244, "the kernel's log is not closed off", "", of_user=False),
    Feature("ProtectClock=", 245, "the clock is not closed off; the service lacks the capability to set it", ""),
    Feature("ProtectProc=, ProcSubset=", 247, "the service sees the processes of other users", "", of_user=False),
    Feature("LoadCredential=", 247, "no credential reaches the service", _KEY_IN_A_FILE, _names_a_credential),
    Feature(
        "LoadCredentialEncrypted=",
        250,
        "the key cannot be encrypted for this machine, and an encrypted one does not reach the service",
        _KEY_IN_A_FILE,
        _names_a_credential,
        of_user=False,
    ),
    Feature(
        "Type=notify-reload",
        253,
        "`systemctl reload` returns before the configuration is in force",
        "`parleyd reload` waits, and says what came of it",
    ),
    Feature(
        "RestartSteps=, RestartMaxDelaySec=",
        254,
        "after a crash it is started again after 5 s, not after 1 s growing to 30 s",
        "",
    ),
    Feature(
        "encrypted credentials of users",
        256,
        "the key of the user's service cannot be encrypted for this machine",
        "keep it in a file that only you read (`parleyd secret`), on an encrypted disk",
        _names_a_credential,
        of_user=True,
    ),
)


def lacking(version: int | None, *, of_user: bool | None = None) -> list[Feature]:
    """The features that are missing. version: of systemd; None if it does not run. of_user: the kind of unit; None for
    both."""
    return [
        feature
        for feature in FEATURES
        # Without systemd there are no units.
        if (feature.since == 1 if version is None else feature.since > version)
        and (of_user is None or feature.of_user is None or feature.of_user == of_user)
    ]


def relied_on(config: Config, version: int | None, *, of_user: bool | None) -> Iterator[KeyProblem]:
    """A warning for each key that this systemd does not support fully; the first reason is given."""
    told = set()
    for feature in lacking(version, of_user=of_user):
        key = feature.key(config)
        if key is not None and key not in told:
            told.add(key)
            yield KeyProblem(
                key, f"{shown(version)} lacks {feature.name}: {feature.without}", feature.hint, is_warning=True
            )


def shown(version: int | None) -> str:
    return f"systemd {version}" if version is not None else "a machine without systemd"


def version_of(said: str) -> int | None:
    """The version in the output of `systemctl --version`, such as `systemd 252 (252.39-1~deb12u2)`."""
    found = re.match(r"systemd (\d{1,5})\b", said)
    return int(found[1]) if found else None


def running_version() -> int | None:
    """The version of the running systemd; None if systemd is not process 1, or cannot be asked."""
    program = shutil.which("systemctl")
    if program is None or not Path("/run/systemd/system").is_dir():
        return None
    try:
        return version_of(subprocesses.ask([program, "--version"], timeout_s=_ASK_S).output)
    except OSError:
        return None
