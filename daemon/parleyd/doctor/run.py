"""Makes the checks in their order. Each has a time limit, and none can end the doctor."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from parleyd.core.findings import Finding, Severity, failed, good, skipped, worst
from parleyd.core.text import one_line
from parleyd.doctor.examination import Examination

Probe = Callable[[Examination], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """needs: names of checks that must succeed before this one. deadline_s: after this time the check is given up.
    explains: an earlier check; if both fail, this one has found the cause."""

    name: str
    probe: Probe
    needs: tuple[str, ...] = ()
    deadline_s: float = 5.0
    explains: str = ""


@dataclass(frozen=True)
class Outcome:
    """findings: at least one. is_blocked: the check was skipped because a check that it needs has failed. explains: as
    of the check."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    is_blocked: bool = False
    explains: str = ""

    @property
    def severity(self) -> Severity:
        return worst(self.findings)

    @property
    def is_usable(self) -> bool:
        """Whether checks that need this one can be made. A check that had nothing to examine does not prevent them."""
        return not self.is_blocked and self.severity not in (Severity.ERROR, Severity.FAILED)


def examine(checks: Sequence[Check], examination: Examination) -> Iterator[Outcome]:
    """Yields the outcomes in the order of the checks, as they are made."""
    done: dict[str, Outcome] = {}
    for check in checks:
        reason = next((_why_skipped(done[name]) for name in check.needs if not done[name].is_usable), None)
        blocked = Outcome(check.name, (skipped(reason),), is_blocked=True) if reason else None
        outcome = blocked or _make(check, examination)
        done[check.name] = _shown(outcome, examination.key)
        yield done[check.name]


def _why_skipped(needed: Outcome) -> str:
    return needed.findings[0].text if needed.is_blocked else f"fix first: {needed.name}"


def _make(check: Check, examination: Examination) -> Outcome:
    found: list[Finding] = []
    faults: list[Exception] = []

    def work() -> None:
        try:
            found.extend(check.probe(examination))
        except Exception as fault:  # noqa: BLE001 - becomes a finding: one broken check must not hide the others
            faults.append(fault)

    began_s = time.monotonic()
    # A daemon thread, because a check that hangs in the kernel or in a library is abandoned.
    thread = threading.Thread(target=work, name=f"doctor: {check.name}", daemon=True)
    thread.start()
    thread.join(check.deadline_s)
    if thread.is_alive():
        late = failed(f"no result within {check.deadline_s:g} s", "something hangs: try again; if it stays so, reboot")
        found = [*found, late]
    elif faults:
        found = [*found, _fault(faults[0])]
    findings = tuple(found) or (good("nothing found"),)
    return Outcome(check.name, findings, time.monotonic() - began_s, explains=check.explains)


def _fault(fault: Exception) -> Finding:
    if isinstance(fault, ImportError):
        return failed(f"could not be made: {fault}", "see the check of the packages")
    place = traceback.extract_tb(fault.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    said = f": {fault}" if str(fault) else ""
    return failed(f"could not be made: {type(fault).__name__}{said} ({where})", "report it as a fault of the doctor")


def _shown(outcome: Outcome, key: str | None) -> Outcome:
    """Removes control characters and the key, which texts from servers and programs may contain."""

    def clean(text: str) -> str:
        return one_line(text.replace(key, "***") if key else text)

    findings = (replace(one, text=clean(one.text), hint=clean(one.hint)) for one in outcome.findings)
    return replace(outcome, findings=tuple(findings))
