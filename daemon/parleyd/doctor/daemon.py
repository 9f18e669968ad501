"""The running daemon: its status over the control socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from parleyd.core.findings import Finding, error, good, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.doctor.service import log_command


def daemon(examination: Examination) -> Iterable[Finding]:
    from parleyd.control.client import Client, NotRunningError, RefusedError

    running = [unit for unit in examination.units if unit.is_running]
    log = f"see its log: {log_command(running[0] if running else None)}"
    try:
        with Client() as client:
            return judge_status(client.ask("status"), log)
    except RefusedError as refusal:
        return [warning(f"it does not tell how it is: {refusal}", refusal.hint or log)]
    except NotRunningError as refusal:
        if isinstance(refusal.__cause__, PermissionError):
            return [note(str(refusal), refusal.hint)]
        if isinstance(refusal.__cause__, OSError):
            return [error(str(refusal), refusal.hint or log)]
        if running:
            return [error("systemd says that it runs, but its control socket does not answer", log)]
        return [skipped("it does not run, or not for this user")]


def judge_status(status: Mapping[str, Any], log: str) -> Iterator[Finding]:
    """status: as printed by `parleyd status --json`; another version of the daemon may have fewer or more fields. log:
    where its log is."""
    health = status.get("health")
    text = f"{status.get('state', 'in an unknown state')}, {health or 'of unknown health'}"
    troubles = [each for each in status.get("troubles") or () if isinstance(each, dict)]
    said = "; ".join(f"{each.get('part')}: {each.get('text')}" for each in troubles)
    text = f"{text}: {said}" if said else text
    if health == "well":
        yield good(text)
    elif health == "sick":
        yield error(text, f"its watchdog restarts it; {log}")
    elif health == "starting":
        yield warning(f"{status.get('state')}: {status.get('reason')}", "try again in a moment; if it stays so, " + log)
    else:
        yield warning(text, f"`parleyd status` follows it; {log}")
