"""Finds the features of systemd that the units use and this machine's version does not have, and their effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from parleyd.checks.systemd_features import lacking, relied_on, running_version, shown
from parleyd.core.findings import Finding, good, note, warning
from parleyd.doctor.examination import Examination
from parleyd.doctor.service import Unit

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.config.schema import Config


def systemd(examination: Examination) -> Iterable[Finding]:
    return judge_systemd(running_version(), examination.units, examination.config)


def judge_systemd(version: int | None, units: Sequence[Unit], config: Config | None) -> Iterator[Finding]:
    """units: the installed ones. config: None if there is no valid configuration."""
    used = {unit.is_of_user for unit in units if not unit.is_idle} or {unit.is_of_user for unit in units}
    of_user = next(iter(used)) if len(used) == 1 else None
    # A feature that the configuration relies on is a warning, not a note.
    relied = {one.text for one in relied_on(config, version, of_user=of_user)} if config is not None else set()
    weaker = lacking(version, of_user=of_user)
    for feature in weaker:
        text = f"{shown(version)} lacks {feature.name}: {feature.without}"
        yield warning(text, feature.hint) if text in relied else note(text, feature.hint)
    is_open = any(unit.is_of_user and unit.get("PrivateUsers") == "no" for unit in units) and True in used
    if is_open:
        yield note(
            "the user's service has no namespace of its own: it can write all files of the user, and read all keys",
            "where the kernel allows user namespaces: scripts/install --user, or `systemctl --user edit parleyd`",
        )
    if not weaker and not is_open:
        yield good(f"{shown(version)} has all that the units use")
