"""The running daemon: asked over its control socket how it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from parleyd.doctor.examination import Examination
from parleyd.doctor.findings import Finding, error, good, note, skipped, warning

_LOG = "see its log: journalctl -u parleyd"


def daemon(examination: Examination) -> Iterable[Finding]:
    from parleyd.control.client import Client, NotRunningError, RefusedError

    is_said_to_run = any(unit.is_running for unit in examination.units)
    try:
        with Client() as client:
            return judge_status(client.ask("status"))
    except RefusedError as refusal:
        return [warning(f"it does not tell how it is: {refusal}", refusal.mend or _LOG)]
    except NotRunningError as refusal:
        if isinstance(refusal.__cause__, PermissionError):
            return [note(str(refusal), refusal.mend)]
        if isinstance(refusal.__cause__, OSError):
            return [error(str(refusal), refusal.mend or _LOG)]
        if is_said_to_run:
            return [error("systemd says that it runs, but its control socket does not answer", _LOG)]
        return [skipped("it does not run, or not for this user")]


def judge_status(status: Mapping[str, Any]) -> Iterator[Finding]:
    """status: as `parleyd status --json`; a daemon of another version may leave out or add."""
    health = status.get("health")
    text = f"{status.get('state', 'in an unknown state')}, {health or 'of unknown health'}"
    findings = [each for each in status.get("findings") or () if isinstance(each, dict)]
    said = "; ".join(f"{each.get('part')}: {each.get('text')}" for each in findings)
    text = f"{text}: {said}" if said else text
    if health == "well":
        yield good(text)
    elif health == "sick":
        yield error(text, f"its watchdog restarts it; {_LOG}")
    else:
        yield warning(text, f"`parleyd status` follows it; {_LOG}")
