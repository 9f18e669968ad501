"""The race's figures as pictures: costs, residuals, and the curves of what grows."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

Values = dict[str, dict[str, list[float]]]


def draw(values: Values, folder: Path) -> None:
    """Writes race-NAME.png, one for each group of parts that was measured."""
    costs = [part for part in values if part in ("CPU, ms per s", "context switches per s", "resident memory, MiB")]
    if costs:
        _bars([(part, values[part]) for part in costs], folder / "race-cost.png")
    delays = [
        part
        for part in ("interruption", "wire to speaker", "end of speech to answer", "microphone to server")
        if part in values
    ]
    if delays:
        _bars([(f"{part}, ms", values[part]) for part in delays], folder / "race-delays.png")
    curves = {part: rows for part, rows in values.items() if part.startswith("curve: ")}
    if curves:
        _curves(curves, folder / "race-curves.png")


def _bars(groups: list[tuple[str, dict[str, list[float]]]], path: Path) -> None:
    heights = [max(2, len(rows)) for _, rows in groups]
    figure, axes = plt.subplots(
        len(groups), 1, figsize=(9, 0.32 * sum(heights) + 1.0 * len(groups)), height_ratios=heights, squeeze=False
    )
    for axis, (title, rows) in zip(axes[:, 0], groups, strict=True):
        names = list(rows)[::-1]
        middles = [statistics.median(rows[name]) for name in names]
        spread = [
            [max(0.0, middle - min(rows[name])) for name, middle in zip(names, middles, strict=True)],
            [max(0.0, max(rows[name]) - middle) for name, middle in zip(names, middles, strict=True)],
        ]
        colours = ["C0" if name.startswith("parleyd") else "C1" if name.startswith("SDK") else "C7" for name in names]
        axis.barh(names, middles, xerr=spread, color=colours, error_kw={"lw": 0.8})
        axis.set_title(f"{title}: medians, least and most", fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curves(curves: Values, path: Path) -> None:
    figure, axes = plt.subplots(len(curves), 2, figsize=(9, 2.1 * len(curves)), squeeze=False)
    for row, (part, rows) in zip(axes, curves.items(), strict=True):
        for axis, unit in zip(row, ("CPU", "MiB"), strict=True):
            points = [
                (float(name.split(":")[0]), statistics.median(found))
                for name, found in rows.items()
                if name.endswith(f": {unit}")
            ]
            axis.plot(*zip(*points, strict=True), "o-")
            axis.set_ylim(0, 1.15 * max(height for _, height in points))
            axis.set_xlabel(part.removeprefix("curve: "), fontsize=8)
            axis.set_ylabel("CPU, ms per s" if unit == "CPU" else "resident MiB", fontsize=8)
            axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
