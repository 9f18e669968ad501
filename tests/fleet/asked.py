"""The dashboard of packaging/fleet, asked of a real Prometheus as Grafana asks it.

python -m fleet.asked --prometheus FOLDER > ANSWERS.json      for each panel, on the invented day of history.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from fleet.history import END_S, EVERY_S, openmetrics
from fleet.house import FLEET, Part
from programs import free_port, until

WIDTH_PX = 1600
COLUMNS = 24
DAY_S = 86400
# Grafana takes this for the interval of scraping unless its data source or the query says another.
SCRAPED_S = 15
# The steps to which Grafana rounds, up to half a day. scripts/check-dashboard holds step_s() against its library.
_STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200)
# Some that Grafana offers.
_RANGES_S = (300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY_S, 2 * DAY_S, 7 * DAY_S, 30 * DAY_S, 90 * DAY_S)


def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((FLEET / "dashboard.json").read_text())
    return made


def step_s(range_s: int, points: int, least_s: int = SCRAPED_S) -> int:
    """Between two points of a graph of so many."""
    exact_s = range_s / points
    for step, following in pairwise(_STEPS_S):
        if exact_s < (step + following) / 2:
            return max(step, least_s)
    return _STEPS_S[-1]


def duration_s(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY_S}[text[-1]]


def resolved(expression: str, step: int, least_s: int, range_s: int) -> str:
    """With Grafana's own variables filled in; raises ValueError if one is left."""
    for name, value_s in (
        ("$__rate_interval", max(step + least_s, 4 * least_s)),
        ("$__interval", step),
        ("$__range", range_s),
    ):
        expression = expression.replace(name, f"{value_s}s")
    if "$" in expression:
        raise ValueError(f"a variable of Grafana's is left in {expression}")
    return expression


class Filled:
    """A real Prometheus whose storage has the lines of the file. folder: that of the programs."""

    def __init__(self, programs: Path, folder: Path, metrics: Path) -> None:
        blocks = folder / "blocks"
        subprocess.run(
            [programs / "promtool", "tsdb", "create-blocks-from", "openmetrics", metrics, blocks],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        where = f"127.0.0.1:{free_port()}"
        (folder / "prometheus.yaml").write_text("{}")
        self.part = Part(
            folder / "prometheus.log", programs / "prometheus", f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={blocks}", "--storage.tsdb.retention.time=100y", f"--web.listen-address={where}",
            # What is filled in has no marks where a series ends, as scraping leaves them; so this is how long it lasts.
            f"--query.lookback-delta={EVERY_S - 1}s",
        )  # fmt: skip
        self._url = f"http://{where}"

    def wait(self) -> None:
        until(self._is_ready, "Prometheus does not become ready")

    def _is_ready(self) -> bool:
        assert self.part.process.poll() is None, self.part.log.read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=10):
                return True
        except OSError:
            return False

    def ask(self, path: str, **words: object) -> list[dict[str, Any]]:
        """Raises OSError, also for an expression that Prometheus does not take."""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=60) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def answer(self, panel: dict[str, Any], range_s: int, end_s: int = END_S) -> list[dict[str, Any]]:
        """What the panel gets: for each series refId, legend, labels, times and values."""
        points = max(1, round(WIDTH_PX * panel["gridPos"]["w"] / COLUMNS))
        answers = []
        for target in panel["targets"]:
            least_s = duration_s(target.get("interval") or panel.get("interval") or f"{SCRAPED_S}s")
            step = step_s(range_s, points, least_s)
            text = resolved(target["expr"], step, least_s, range_s)
            if target.get("instant"):
                found = self.ask("query", query=text, time=end_s)
                samples = [[one["value"]] for one in found]
            else:
                # Both ends are rounded down to the step.
                ends = {"start": (end_s - range_s) // step * step, "end": end_s // step * step}
                found = self.ask("query_range", query=text, step=step, **ends)
                samples = [one["values"] for one in found]
            answers += [
                {
                    "refId": target["refId"], "legend": target["legendFormat"], "labels": one["metric"], "step_s": step,
                    "times_s": [at_s for at_s, _ in several],
                    "values": [None if math.isnan(float(text)) else float(text) for _, text in several],
                }
                for one, several in zip(found, samples, strict=True)
            ]  # fmt: skip
        return answers


@contextlib.contextmanager
def filled(programs: Path) -> Iterator[Filled]:
    with tempfile.TemporaryDirectory(prefix="parleyd-dashboard-") as name:
        folder = Path(name)
        metrics = folder / "metrics.txt"
        wanted = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
        metrics.write_text("\n".join(openmetrics(wanted)) + "\n")
        prometheus = Filled(programs, folder, metrics)
        try:
            prometheus.wait()
            yield prometheus
        finally:
            prometheus.part.end()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fleet.asked", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--prometheus", type=Path, required=True, help="the folder of prometheus and promtool")
    args = parser.parse_args()
    made = dashboard()
    with filled(args.prometheus) as prometheus:
        answers = {str(panel["id"]): prometheus.answer(panel, DAY_S) for panel in made["panels"]}
        version = subprocess.run([args.prometheus / "prometheus", "--version"], capture_output=True, text=True).stdout
    steps = [(range_s, points, step_s(range_s, points)) for range_s in _RANGES_S for points in (267, 800, 1600)]
    told = {
        "dashboard": made, "answers": answers, "steps": steps, "width_px": WIDTH_PX,
        "from_s": END_S - DAY_S, "to_s": END_S, "prometheus": version.split()[2].split("+")[0],
    }  # fmt: skip
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
