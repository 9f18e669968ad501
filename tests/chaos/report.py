"""The tables: for a terminal of 80 columns, and for docs/measurements."""

from __future__ import annotations

import statistics
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.outcome import LifeOutcome, Outcome

WIDTH = 80


@dataclass(frozen=True)
class Row:
    """The sum of a row of kinds. tries: without those that were skipped."""

    name: str
    tries: int
    survived: int
    said: int
    lost: int
    told: int
    hangs: int
    failed: int
    median_s: float | None
    worst_s: float | None
    skipped: str

    @property
    def recovery(self) -> str:
        return "-" if self.median_s is None else f"{self.median_s:.1f} / {self.worst_s:.1f}"


def row(name: str, outcomes: Sequence[Outcome]) -> Row:
    tried = [one for one in outcomes if not one.skipped]
    times = [one.recovery_s for one in tried if one.recovery_s is not None]
    return Row(
        name,
        len(tried),
        sum(bool(one.survived) for one in tried),
        sum(one.said for one in tried),
        sum(one.lost for one in tried),
        sum(one.told + one.excused for one in tried),
        sum(one.hang for one in tried),
        sum(bool(one.failures) for one in tried),
        statistics.median(times) if times else None,
        max(times, default=None),
        next((one.skipped for one in outcomes if one.skipped), ""),
    )


def rows(lives: Iterable[LifeOutcome]) -> list[Row]:
    """The row with the most tries first."""
    by_row: dict[str, list[Outcome]] = {}
    for life in lives:
        for outcome in life.outcomes:
            by_row.setdefault(outcome.row, []).append(outcome)
    made = [row(name, outcomes) for name, outcomes in by_row.items()]
    return sorted(made, key=lambda one: -one.tries)


def indented(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="      ")


def table(made: Sequence[Row]) -> str:
    head = f"{'kind':<39} {'tries':>5} {'stayed':>6} {'lost':>4} {'hang':>4} {'fail':>4}  {'back after, s':>13}"
    lines = [head, "-" * WIDTH]
    for one in made:
        name = textwrap.shorten(one.name, 39, placeholder="…")
        figures = f"{one.tries:>5} {one.survived:>6} {one.lost:>4} {one.hangs:>4} {one.failed:>4}  {one.recovery:>13}"
        lines.append(f"{name:<39} {figures}")
        if one.skipped:
            lines.append(indented(f"skipped: {one.skipped}"))
    return "\n".join(lines)


def sums(lives: Sequence[LifeOutcome], seconds: float) -> list[tuple[str, str]]:
    outcomes = [one for life in lives for one in life.outcomes if not one.skipped]
    growths = [life.growth for life in lives if life.growth is not None]
    kinds = len({one.kind for one in outcomes})
    total = [
        ("faults", f"{len(outcomes)} of {kinds} kinds, in {sum(life.daemons for life in lives)} daemons"),
        ("time", f"{seconds / 60:.1f} min, {len(outcomes) / max(seconds, 1):.2f} faults a second"),
        ("utterances", f"{sum(life.said for life in lives)}"),
        ("of them not whole", f"{sum(one.lost for one in outcomes)}"),
        ("of these with a head cut", f"{sum(one.heads for one in outcomes)}"),
        ("given up, and told or due to the fault", f"{sum(one.told + one.excused for one in outcomes)}"),
        ("written too late by the harness, and excused", f"{sum(life.late for life in lives)}"),
        ("sound told to be missing from a microphone", f"{sum(life.gaps_ms for life in lives) / 1000:.1f} s"),
        ("never passed the gate", f"{sum(one.gate for one in outcomes)}"),
        (
            "answers due and heard",
            f"{sum(one.answers_heard for one in outcomes)} of {sum(one.answers_due for one in outcomes)}",
        ),
        ("hangs", f"{sum(one.hang for one in outcomes)}"),
        ("ends that no fault called for", f"{sum(one.crash for one in outcomes)}"),
        ("faults with a broken promise", f"{sum(bool(one.failures) for one in outcomes)}"),
        ("daemons with a broken promise", f"{sum(bool(life.failures) for life in lives)}"),
    ]
    if growths:
        parts = []
        for name, index in (("threads", 0), ("handles", 1), ("MiB", 2)):
            values = [growth[index] for growth in growths]
            parts.append(f"{name} {statistics.median(values):+g} (most {max(values):+g})")
        total.append((f"growth of {len(growths)} daemons", ", ".join(parts)))
        total.append(("highest memory", f"{max(life.most_rss_mib for life in lives):.0f} MiB"))
    return total


def failure_lines(outcome: Outcome) -> list[str]:
    head = f"FAILED {outcome.kind} (daemon {outcome.life})"
    lines = [head, *(indented(failure) for failure in outcome.failures[:4])]
    if len(outcome.failures) > 4:
        lines.append(f"    and {len(outcome.failures) - 4} more")
    return [*lines, f"    again: {outcome.repeat}"]


def terminal(lives: Sequence[LifeOutcome], seconds: float) -> str:
    lines = [table(rows(lives)), ""]
    for name, figure in sums(lives, seconds):
        lines.append(textwrap.fill(f"{name}: {figure}", WIDTH, subsequent_indent="    "))
    return "\n".join(lines)


def broken(lives: Sequence[LifeOutcome]) -> list[tuple[str, int, str]]:
    """Kinds with broken promises: name, how often, the first one in words."""
    counts: Counter[str] = Counter()
    first: dict[str, Outcome] = {}
    for life in lives:
        for outcome in life.outcomes:
            if outcome.failures:
                counts[outcome.kind] += 1
                first.setdefault(outcome.kind, outcome)
    return [(kind, many, f"{first[kind].failures[0]} (`{first[kind].repeat}`)") for kind, many in counts.most_common()]


def markdown(
    lives: Sequence[LifeOutcome],
    seconds: float,
    when: str,
    machine: str,
    commit: str,
    command: str,
    provider: str,
) -> str:
    lines = [
        f"# Chaos: what faults did to running daemons, with `provider: {provider}`",
        "",
        "*For maintainers: the last long run of `scripts/chaos` with this protocol, written by its option `--write`.",
        "[testing.md](../testing.md#scriptschaos) explains it.*",
        "",
        f"{when}, {machine}, commit {commit}:",
        "",
        f"    {command}",
        "",
        "| | figure |",
        "|---|---|",
        *(f"| {name} | {figure} |" for name, figure in sums(lives, seconds)),
        "",
        "`stayed`: the session itself outlived the fault. `lost`: utterances of which more than 3 % came up in no",
        "session. `told`: of all utterances, those that were given up and told, or that the fault itself had to cost",
        "(said while the process stood still, or was ended).",
        "`back after`: from the fault, or from the network's return, to the next usable session, median and worst,",
        "with `reconnect.max_s: 2` and `connect_timeout_s: 3`; faults of the handshake come in series: the worst are",
        "sums.",
        "",
        "| kind | tries | stayed | utterances | lost | told | hangs | broken promises | back after, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in rows(lives):
        figures = (one.tries, one.survived, one.said, one.lost, one.told, one.hangs, one.failed, one.recovery)
        lines.append(f"| {one.name} | {' | '.join(str(figure) for figure in figures)} |")
    skipped = {one.name: one.skipped for one in rows(lives) if one.skipped}
    if skipped:
        lines += ["", "Skipped:", "", *(f"* {name}: {why}" for name, why in skipped.items())]
    found = broken(lives)
    lines += ["", "## Broken promises", ""]
    lines += [f"* {kind}, {many} times; first: {words}" for kind, many, words in found] or ["None."]
    of_daemons = Counter(failure for life in lives for failure in life.failures)
    lines += [f"* a daemon, {many} times: {failure}" for failure, many in of_daemons.most_common(10)]
    return "\n".join(lines) + "\n"
