"""The figures of a board, as a page and as a row of the table in docs/measurements/boards.md. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = (
    "| board, system | sound device | packages | CPU asleep | live | agent talks | memory | start | wake to live | "
    "xruns | temperature |"
)


@dataclass(frozen=True)
class Figures:
    """cpu: per state the share of one core. rss_mib: at the end. start_ms: from exec to READY. wake_ms: from the order
    to the open session with the embedded agent. xruns: of the microphone, of the speaker, while it was measured.
    temperature_c: before and after; None: the board does not tell."""

    model: str
    system: str
    microphone: str
    speaker: str
    packages: dict[str, list[str]]
    cpu: dict[str, float]
    rss_mib: float
    start_ms: float
    wake_ms: float
    xruns: tuple[int, int]
    temperature_c: tuple[float | None, float | None]


def page(it: Figures) -> list[tuple[str, str]]:
    """A heading and its words for each line, for the owner of the board."""
    return [
        ("board", it.model),
        ("system", it.system),
        ("sound", _devices(it)),
        ("packages", _packages(it)),
        (
            "CPU",
            f"{it.cpu['asleep']:.1%} of one core asleep, {it.cpu['live']:.1%} in a session, "
            f"{it.cpu['agent talks']:.1%} while the agent talks",
        ),
        ("memory", f"{it.rss_mib:.0f} MiB"),
        (
            "time",
            f"{it.start_ms:.0f} ms from the start until it listens, {it.wake_ms:.0f} ms from the order to the session",
        ),
        ("xruns", f"{it.xruns[0]} of the microphone, {it.xruns[1]} of the speaker"),
        ("temperature", _temperature(it) or "this machine does not tell it"),
    ]


def row(it: Figures) -> str:
    """The line to paste."""
    shares = " | ".join(f"{it.cpu[state]:.1%}" for state in ("asleep", "live", "agent talks"))
    cells = (
        f"{it.model}, {it.system}",
        _devices(it),
        _packages(it),
        shares,
        f"{it.rss_mib:.0f} MiB",
        f"{it.start_ms:.0f} ms",
        f"{it.wake_ms:.0f} ms",
        f"{it.xruns[0]} / {it.xruns[1]}",
        _temperature(it) or "unknown",
    )
    # A device's name may have a bar in it.
    return f"| {' | '.join(shares if cell is shares else cell.replace('|', '/') for cell in cells)} |"


def _devices(it: Figures) -> str:
    return it.microphone if it.microphone == it.speaker else f"{it.microphone} / {it.speaker}"


def _packages(it: Figures) -> str:
    return "; ".join(f"{how}: {', '.join(names)}" for how, names in it.packages.items())


def _temperature(it: Figures) -> str | None:
    before, after = it.temperature_c
    return None if before is None or after is None else f"{before:.0f} → {after:.0f} °C"
