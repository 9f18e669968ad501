"""The dashboard of packaging/fleet on a real Prometheus that has a day of invented devices. What Grafana's components
draw of it: scripts/check-dashboard --picture."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fleet.asked import DAY_S, Filled, dashboard, filled, resolved, step_s
from fleet.history import END_S, HOMES, base, statuses
from fleet.house import FLEET
from parleyd.app import prometheus as exporter

PANELS = dashboard()["panels"]
NAMES = [f"{panel['title']} ({panel['type']})" for panel in PANELS]
GRAPHS = [panel for panel in PANELS if panel["type"] == "timeseries"]
STATS = [panel for panel in PANELS if panel["type"] == "stat"]


def programs() -> Path | None:
    """The folder of Debian's prometheus and promtool: installed, or as scripts/lib/prometheus unpacks them."""
    cache = Path(os.environ.get("PARLEYD_TEST_CACHE") or Path.home() / ".cache" / "parleyd-test")
    path = os.pathsep.join([os.environ.get("PATH", ""), str(cache / "prometheus" / "usr" / "bin")])
    found = [shutil.which(name, path=path) for name in ("prometheus", "promtool")]
    return Path(found[0]).parent if found[0] and found[1] else None


@pytest.fixture(scope="module")
def day() -> Iterator[Filled]:
    where = programs()
    if where is None:
        pytest.skip("needs prometheus and promtool: scripts/lib/prometheus")
    with filled(where) as prometheus:
        yield prometheus


def panel(title: str) -> dict[str, Any]:
    return next(one for one in PANELS if one["title"] == title)


def name_of(answer: dict[str, Any]) -> str:
    """As Grafana writes it into the legend; a label that is missing is empty."""
    return re.sub(r"{{(\w+)}}", lambda found: answer["labels"].get(found[1], ""), answer["legend"])


def test_the_file_is_what_the_script_makes() -> None:
    subprocess.run([sys.executable, FLEET / "dashboard.py", "--check"], check=True)


def test_all_figures_of_the_dashboard_are_exported() -> None:
    exported = {family.name for family in exporter.figures(base())}
    asked = {
        re.sub(r"_(bucket|total)$", "", name)
        for panel in PANELS
        for target in panel["targets"]
        for name in re.findall(r"parleyd_\w+", target["expr"])
    }
    assert asked
    # A daemon that keeps no settings exports none of them.
    assert asked - exported == {"parleyd_settings_revision"}


def test_a_variable_of_grafanas_that_is_not_known_is_refused() -> None:
    assert resolved("rate(x[$__rate_interval])", 15, 15, DAY_S) == "rate(x[60s])"
    assert resolved("rate(x[$__rate_interval])", 120, 15, DAY_S) == "rate(x[135s])"
    with pytest.raises(ValueError, match=r"\$room"):
        resolved('x{room="$room"}', 15, 15, DAY_S)


def test_the_steps_are_those_of_grafana() -> None:
    """scripts/check-dashboard holds more of them against its library."""
    assert [step_s(range_s, 800) for range_s in (3600, 6 * 3600, DAY_S, 7 * DAY_S)] == [15, 30, 120, 900]


@pytest.mark.parametrize("range_s", [3600, DAY_S, 7 * DAY_S], ids=["an hour", "a day", "a week"])
@pytest.mark.parametrize("panel", PANELS, ids=NAMES)
def test_no_query_is_without_an_answer(day: Filled, panel: dict[str, Any], range_s: int) -> None:
    answers = day.answer(panel, range_s)
    for target in panel["targets"]:
        values = [value for one in answers if one["refId"] == target["refId"] for value in one["values"]]
        assert [value for value in values if value is not None], target["expr"]


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: str(panel["title"]))
def test_a_graph_of_an_hour_in_which_somebody_spoke_has_no_holes(day: Filled, panel: dict[str, Any]) -> None:
    """Where the devices are asked once a minute, and Grafana believes every 15 s."""
    answers = day.answer(panel, 3600)
    filled_at = {
        at_s for one in answers for at_s, value in zip(one["times_s"], one["values"], strict=True) if value is not None
    }
    step = answers[0]["step_s"]
    assert filled_at == set(range((END_S - 3600) // step * step, END_S + 1, step))


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: str(panel["title"]))
def test_each_line_has_a_name_of_its_own(day: Filled, panel: dict[str, Any]) -> None:
    names = [name_of(one) for one in day.answer(panel, DAY_S)]
    assert all(names)
    assert len(set(names)) == len(names)


def test_no_more_sessions_in_an_hour_than_there_were(day: Filled) -> None:
    began = base()
    opened = {home.name: {at_s: it.metrics.sessions for at_s, it in statuses(home, began)} for home in HOMES}
    # Within each hour, also over a restart, at which the counter begins at 0.
    at = sorted({at_s for several in opened.values() for at_s in several})
    more = dict.fromkeys(at, 0)
    for several in opened.values():
        times = sorted(several)
        for before_s, at_s in pairwise(times):
            was, now = several[before_s], several[at_s]
            more[at_s] += now - was if now >= was else now
    most = max(sum(more[one] for one in at if at_s - 3600 < one <= at_s) for at_s in at)
    sessions = [one for one in day.answer(panel("Sessions and failed tries per hour"), DAY_S) if one["refId"] == "A"]
    drawn = max(value for one in sessions for value in one["values"])
    # Prometheus extrapolates to the edges of the hour.
    assert most * 0.9 < drawn < most * 1.1


def test_the_height_of_all_versions_is_the_number_of_devices(day: Filled) -> None:
    height: dict[float, float] = {}
    for one in day.answer(panel("Devices by version and provider"), DAY_S):
        for at_s, value in zip(one["times_s"], one["values"], strict=True):
            height[at_s] = height.get(at_s, 0) + value
    assert set(height.values()) == {len(HOMES), len(HOMES) - 1}
    assert height[END_S] == len(HOMES)


@pytest.mark.parametrize("panel", STATS, ids=lambda panel: str(panel["title"]))
def test_a_number_is_gone_with_the_last_device(day: Filled, panel: dict[str, Any]) -> None:
    assert day.answer(panel, DAY_S)
    assert day.answer(panel, DAY_S, END_S + 3600) == []


@pytest.mark.parametrize("panel", STATS, ids=lambda panel: str(panel["title"]))
def test_the_colours_of_a_number_are_its_own(panel: dict[str, Any]) -> None:
    """Where a panel has no steps, Grafana turns every number from 80 on red."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert {"text", "green"} & {step["color"] for step in steps}
